"""A model server that does as it is told: the answers of four kinds of servers over a table, and any fault.

It is a real HTTP server on loopback with a thread for each connection. `fault` takes over the answers to
questions about next tokens; everything else is answered as the kind of server does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import numpy as np

from tests.support import EOS, SIZE
from tokenglass.numbers import log_softmax

Rule = Callable[[tuple[int, ...]], Any]
KINDS = ("llama.cpp", "vllm", "sglang", "openai")
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


class Answer:
    """One question about next tokens, and what a healthy server would say.

    Attributes:
        handler: to write with.
        number: of the question, from 1, since the fault was set.
        document: the healthy answer.
    """

    def __init__(self, handler: _Handler, number: int, document: dict[str, Any]) -> None:
        self.handler, self.number, self.document = handler, number, document

    def send(self, body: Any, status: int = 200, **headers: str) -> None:
        """A whole answer; anything but bytes as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.start(status, **{"Content-Length": str(len(data)), **headers})
        self.write(data)

    def start(self, status: int = 200, **headers: str) -> None:
        """The head of an answer."""
        self.handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self.handler.wfile.write(data)
        self.handler.wfile.flush()

    def hang_up(self) -> None:
        """Close the connection."""
        self.handler.close_connection = True


Fault = Callable[[Answer], None]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body that follows its head in a packet of its own would wait 40 ms
    peer: ScriptedPeer

    def log_message(self, *_: Any) -> None:
        """Tests print nothing."""

    def do_GET(self) -> None:
        self._answered(None)

    def do_POST(self) -> None:
        self._answered(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answered(self, body: dict[str, Any] | None) -> None:
        try:
            self.peer.answer(self, self.path, body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the other side has had enough


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that hung up is no error here."""


class ScriptedPeer:
    """The server.

    Args:
        rule: ids -> logits (SIZE,).
        kind: how it speaks.
        key: asked for where not empty.
        listed: most tokens it lists; more are refused, as vLLM does. None for no limit.
        processed: its probabilities are those after its temperature.
        tells: how it says how probable a prompt's own tokens are: "prompt_logprobs", "echo" or "".
    """

    def __init__(
        self,
        rule: Rule,
        kind: str = "llama.cpp",
        *,
        key: str = "",
        listed: int | None = None,
        processed: bool = False,
        tells: str = "",
    ) -> None:
        self.rule, self.kind, self.key, self.listed, self.processed = rule, kind, key, listed, processed
        self.tells = tells
        self.amiss: Callable[[float], float] = lambda logprob: logprob  # what becomes of a prompt's numbers
        self.fault: Fault | None = None
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str | None] = []
        self._lock = Lock()
        self._since = 0
        self.server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"peer": self}))
        self._thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """As a user types it."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def break_with(self, fault: Fault | None) -> None:
        """From now on questions about next tokens are answered by a fault, its count begun anew."""
        self.fault, self._since = fault, 0

    def close(self) -> None:
        """No further connection is taken."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    # ------------------------------------------------------------------------------------------- answers

    def answer(self, handler: _Handler, path: str, body: dict[str, Any] | None) -> None:
        with self._lock:
            self.asked.append((path, body))
            self.keys.append(handler.headers.get("Authorization"))
        plain = Answer(handler, 0, {})
        if self.key and handler.headers.get("Authorization") != f"Bearer {self.key}":
            return plain.send({"error": {"message": "Invalid API Key"}}, 401)
        document = self._document(path, body)
        if document is None:
            return plain.send({"error": {"message": f"no {path} here"}}, 404)
        status = document.pop("status", 200)
        if self.fault is not None and path in ("/completion", "/v1/completions", "/generate"):
            with self._lock:
                self._since += 1
                number = self._since
            return self.fault(Answer(handler, number, document))
        plain.send(document, status)

    def _document(self, path: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        if path == "/v1/models":
            return self._models()
        llama = self.kind == "llama.cpp"
        if path == "/props" and llama:
            settings = {"n_ctx": 65}  # one of them for the answer
            return {"default_generation_settings": settings, "eos_token": "<end>", "chat_template": TEMPLATE}
        if body is None:
            return None
        if path == "/completion" and llama:
            return self._llama(body)
        if path == "/generate" and self.kind == "sglang":
            return self._sglang(body)
        if path == "/v1/completions" and self.kind in ("vllm", "openai"):
            return self._completions(body)
        if path == "/tokenize" and llama:
            return {"tokens": [{"id": i, "piece": _piece(i)} for i in self._cut(body)]}
        if path == "/detokenize" and llama:
            return {"content": "".join("<end>" if i == EOS else chr(i) for i in body["tokens"])}
        if path == "/tokenize" and self.kind == "vllm":
            return {"tokens": list(body["prompt"].encode())}
        return None

    def _cut(self, body: dict[str, Any]) -> list[int]:
        text = body["content"]
        return [EOS] if text == "<end>" and body.get("parse_special") else list(text.encode())

    def _models(self) -> dict[str, Any]:
        owner = {"llama.cpp": "llamacpp", "openai": "somebody"}.get(self.kind, self.kind)
        card: dict[str, Any] = {"id": "scripted", "owned_by": owner}
        if self.kind == "llama.cpp":
            card["meta"] = {"n_vocab": SIZE, "n_params": 7, "ftype": "table"}
        if self.kind in ("vllm", "sglang"):
            card["max_model_len"] = 64
        return {"data": [card]}

    def top(self, ids: Sequence[int], n: int, temperature: float = 1.0) -> list[tuple[int, float]]:
        """(id, log-probability) of the n likeliest tokens."""
        logits = np.asarray(self.rule(tuple(ids)), dtype=np.float32)
        heat = temperature if self.processed and temperature > 0 else 1.0
        logprobs = log_softmax(logits / np.float32(heat))
        order = np.argsort(-logprobs, kind="stable")[:n]
        return [(int(i), float(logprobs[i])) for i in order]

    def _refused(self, n: int) -> dict[str, Any] | None:
        if self.listed is None or n <= self.listed:
            return None
        message = f"logprobs of {n} is greater than max allowed: {self.listed}"
        return {"status": 400, "error": {"message": message}}

    def _llama(self, body: dict[str, Any]) -> dict[str, Any]:
        ids = body["prompt"]
        top = self.top(ids, body["n_probs"], body.get("temperature", 1.0))
        table = [
            {"id": i, "token": _text(i), "bytes": [] if i == EOS else [i], "logprob": value}
            for i, value in top
        ]
        biased = {i: b for i, b in body.get("logit_bias", [])}
        chosen = max(self.top(ids, SIZE), key=lambda pair: pair[1] + biased.get(pair[0], 0.0))[0]
        listed = {"id": chosen, "logprob": table[0]["logprob"], "top_logprobs": table}
        return {"tokens_evaluated": len(ids), "completion_probabilities": [listed]}

    def _sglang(self, body: dict[str, Any]) -> dict[str, Any]:
        ids, n = body["input_ids"], body["top_logprobs_num"]
        if refused := self._refused(n):
            return refused
        heat = body["sampling_params"]["temperature"]
        top = [[value, i, None] for i, value in self.top(ids, n, heat)]
        return {"text": "", "meta_info": {"prompt_tokens": len(ids), "output_top_logprobs": [top]}}

    def _completions(self, body: dict[str, Any]) -> dict[str, Any]:
        strict = self.kind == "openai"
        prompt = body["prompt"]
        if strict and ("return_tokens_as_token_ids" in body or not isinstance(prompt, str)):
            return {"status": 400, "error": {"message": "unknown or unsupported argument"}}
        ids = list(prompt.encode()) if isinstance(prompt, str) else prompt
        if refused := self._refused(body.get("logprobs") or 0):
            return refused
        top = self.top(ids, body.get("logprobs") or 1, body.get("temperature", 1.0))
        named = {_text(i) if strict else f"token_id:{i}": value for i, value in top}
        bias = {int(i): b for i, b in body.get("logit_bias", {}).items()}
        chosen = max(self.top(ids, SIZE), key=lambda pair: pair[1] + bias.get(pair[0], 0.0))[0]
        if self.tells == "echo" and body.get("echo"):
            return self._echoed(ids, body.get("logprobs") or 1)
        told = {"prompt_logprobs": self._prompt(ids, n)} if (n := self._asked(body)) else {}
        logprobs = {"tokens": [next(iter(named))], "token_logprobs": [top[0][1]], "top_logprobs": [named]}
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        return {"choices": [{"text": _text(chosen), "logprobs": logprobs, **told}], "usage": usage}

    def _asked(self, body: dict[str, Any]) -> int:
        return int(body.get("prompt_logprobs") or 0) if self.tells == "prompt_logprobs" else 0

    def _place(self, ids: Sequence[int], i: int, n: int) -> dict[int, dict[str, Any]]:
        """The n likeliest in a place of the prompt and the token that stands there, with ranks."""
        every = self.top(ids[:i], SIZE)
        return {
            token: {"logprob": self.amiss(value), "rank": rank}
            for rank, (token, value) in enumerate(every, start=1)
            if rank <= n or token == ids[i]
        }

    def _prompt(self, ids: Sequence[int], n: int) -> list[Any]:
        """As vLLM: by id, with the rank among all."""
        places = [self._place(ids, i, n) for i in range(1, len(ids))]
        return [None, *({str(token): each for token, each in place.items()} for place in places)]

    def _echoed(self, ids: Sequence[int], n: int) -> dict[str, Any]:
        """As OpenAI's first servers: the prompt, and a token behind it; ranks are not said."""
        places = [self._place(ids, i, n) for i in range(1, len(ids))]
        chosen, value = self.top(ids, 1)[0]
        named = [{f"token_id:{t}": each["logprob"] for t, each in place.items()} for place in places]
        own = [place[token]["logprob"] for place, token in zip(places, ids[1:], strict=True)]
        logprobs = {
            "tokens": [f"token_id:{t}" for t in (*ids, chosen)],
            "token_logprobs": [None, *own, value],
            "top_logprobs": [None, *named, {f"token_id:{chosen}": value}],
        }
        usage = {"prompt_tokens": len(ids), "completion_tokens": 1}
        return {"choices": [{"text": _text(chosen), "logprobs": logprobs}], "usage": usage}


def _text(token_id: int) -> str:
    """A token as servers name it: half a character becomes U+FFFD."""
    return "<end>" if token_id == EOS else bytes([token_id]).decode("utf-8", "replace")


def _piece(token_id: int) -> str | list[int]:
    return "<end>" if token_id == EOS else chr(token_id) if token_id < 128 else [token_id]
