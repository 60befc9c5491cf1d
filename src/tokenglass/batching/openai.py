"""OpenAI's batch file: requests in, responses out, with the chain and the defaults of a vLLM server.

Every field of a body is honoured, of no effect here, or refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tokenglass.errors import Unsupported
from tokenglass.types import Generation
from tokenglass.types import Sequence as Written

if TYPE_CHECKING:
    from tokenglass.batching.inputs import Record
    from tokenglass.batching.running import Batch
    from tokenglass.batching.tasks import Row

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
MAX_TOKENS = 16  # of a completion that does not say; a chat may fill the context
# body -> keyword; both sides mean the same in the preset of vLLM
_SAME = (
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "min_p",
    "top_k",
)
_OTHER = {"n": "num_return_sequences", "stop": "stop_strings", "max_tokens": "max_new_tokens"}
_OTHER |= {"max_completion_tokens": "max_new_tokens", "repetition_penalty": "repetition_penalty"}
_READ = frozenset({"prompt", "messages", "logprobs", "top_logprobs", "echo"})
_NO_EFFECT = frozenset({"model", "user", "metadata", "store", "service_tier", "safety_identifier"})
_OFF: Mapping[str, tuple[Any, ...]] = {
    "stream": (False,),
    "stream_options": (),
    "suffix": ("",),
    "best_of": (1,),
    "tools": ([],),
    "tool_choice": ("none",),
    "response_format": ({"type": "text"},),
}
_REASONS = {"eos": "stop", "stop_string": "stop", "grammar": "stop"}


def request(body: Mapping[str, Any], url: str) -> tuple[Any, dict[str, Any]]:
    """The prompt and the keywords that a body stands for.

    Raises:
        ValueError: another endpoint, a prompt that is missing or not one prompt, or a wrong value.
        Unsupported: a field that means something, and is not done here.
    """
    if url not in (COMPLETIONS, CHAT):
        raise ValueError(f"url must be {COMPLETIONS} or {CHAT}, got {url!r}")
    keywords: dict[str, Any] = {"preset": "vllm"}
    for name, value in body.items():
        if value is None or name in _READ | _NO_EFFECT:
            continue
        if name in _SAME:
            keywords[name] = value
        elif name in _OTHER:
            keywords[_OTHER[name]] = [value] if name == "stop" and isinstance(value, str) else value
        elif value not in _OFF.get(name, ()):
            raise Unsupported(f"the field {name!r}", "leave it out")
    if "logit_bias" in keywords:
        keywords["logit_bias"] = {int(token): bias for token, bias in keywords["logit_bias"].items()}
    if url == COMPLETIONS:
        keywords.setdefault("max_new_tokens", MAX_TOKENS)
    else:
        keywords.setdefault("max_new_tokens", 1 << 20)  # ends at the context
    return _prompt(body, url), keywords


def _prompt(body: Mapping[str, Any], url: str) -> Any:
    name = "messages" if url == CHAT else "prompt"
    prompt = body.get(name)
    if prompt is None or prompt == []:
        raise ValueError(f"a request to {url} must have {name!r}")
    if url == COMPLETIONS and isinstance(prompt, list) and not all(isinstance(i, int) for i in prompt):
        if len(prompt) != 1:
            raise Unsupported("a request with several prompts", "give each a line of its own")
        prompt = prompt[0]
    return prompt


def body(generation: Generation) -> Row:
    """What of a generation its response may need."""
    return {"generation": generation}


def line(batch: Batch, model: str, record: Record, row: Row) -> Row:
    """One line of the output: the response to a request, or what was wrong with it."""
    name = f"batch_req_{record.row}"
    shown: Row = {"id": name, "custom_id": record.id, "response": None, "error": None}
    if row.get("error"):
        return shown | {"error": {"code": "invalid_request", "message": row["error"]}}
    made = _RESPONSES[record.url](record.body or {}, row["generation"])
    generation: Generation = row["generation"]
    written = sum(len(sequence.ids) for sequence in generation.sequences)
    usage = {"prompt_tokens": len(generation.prompt_ids), "completion_tokens": written}
    usage["total_tokens"] = sum(usage.values())
    whole = {"id": f"cmpl-{record.row}", "created": batch.created, "model": model, **made, "usage": usage}
    return shown | {"response": {"status_code": 200, "request_id": name, "body": whole}}


def _text(sequence: Written, stops: Any) -> str:
    """The text up to a stop string, which OpenAI leaves out."""
    text = sequence.text
    if sequence.finish_reason != "stop_string":
        return text
    found = [text.find(stop) for stop in ([stops] if isinstance(stops, str) else stops or ())]
    return text[: min((place for place in found if place >= 0), default=len(text))]


def _reason(sequence: Written) -> str:
    return _REASONS.get(sequence.finish_reason, "length")


def _completion(body: Mapping[str, Any], generation: Generation) -> Row:
    echo = generation.prompt_text if body.get("echo") else ""
    wanted = body.get("logprobs")
    choices = [
        {
            "index": index,
            "text": echo + _text(sequence, body.get("stop")),
            "finish_reason": _reason(sequence),
            "logprobs": None if wanted in (None, False) else _columns(sequence, int(wanted), len(echo)),
        }
        for index, sequence in enumerate(generation.sequences)
    ]
    return {"object": "text_completion", "choices": choices}


def _columns(sequence: Written, n: int, start: int) -> Row:
    """Log-probabilities as the older endpoint has them; of written tokens only, also under echo."""
    offsets, place = [], start
    for step in sequence.steps:
        offsets.append(place)
        place += len(step.text)
    return {
        "tokens": [step.token.text for step in sequence.steps],
        "token_logprobs": [step.logprob for step in sequence.steps],
        "top_logprobs": [{row.text: row.logprob for row in step.top[:n]} for step in sequence.steps],
        "text_offset": offsets,
    }


def _chat(body: Mapping[str, Any], generation: Generation) -> Row:
    n = int(body.get("top_logprobs") or 0)
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": _text(sequence, body.get("stop"))},
            "finish_reason": _reason(sequence),
            "logprobs": {"content": [_entry(step, n) for step in sequence.steps]}
            if body.get("logprobs")
            else None,
        }
        for index, sequence in enumerate(generation.sequences)
    ]
    return {"object": "chat.completion", "choices": choices}


def _entry(step: Any, n: int) -> Row:
    own = {"token": step.token.text, "logprob": step.logprob, "bytes": list(step.token.bytes)}
    top = [{"token": r.text, "logprob": r.logprob, "bytes": list(r.token.bytes)} for r in step.top[:n]]
    return own | {"top_logprobs": top}


_RESPONSES: Mapping[str, Callable[[Mapping[str, Any], Generation], Row]] = {
    COMPLETIONS: _completion,
    CHAT: _chat,
}
