"""Which kind of server it is and what it can do, found out by asking once, as data.

An ability is "yes", "no" or "unknown": "unknown" where asking gave no clear answer. A server is asked with
prompts of one token, so that probing a large model costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tokenglass.engines.server import answers
from tokenglass.engines.server.answers import Entry
from tokenglass.engines.server.peers import Completions, LlamaCpp, Peer, Sglang
from tokenglass.engines.server.telling import ByEcho, ByPrompt, ByStep, Way
from tokenglass.engines.server.transport import JsonDict, Refused, Transport
from tokenglass.errors import ModelNotFound, ModelUnsupported, RemoteError
from tokenglass.text import safe_line

MOST_LISTED = 256  # tokens asked for: more than any usual top_k, and still little to send and to read
_FEWER = (MOST_LISTED, 128, 100, 64, 50, 32, 20, 10, 5, 2, 1)  # servers have caps of their own
_PROBE = (1,)  # a prompt; every vocabulary has this id
_VLLM = {
    "return_tokens_as_token_ids": True,
    "skip_special_tokens": False,
    "ignore_eos": True,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
_SAME = 0.02  # of log-probabilities in two answers to one question: batches differ by rounding

Ability = str  # "yes", "no" or "unknown"


@dataclass(frozen=True)
class Probed:
    """What a server is.

    Attributes:
        peer: how to talk with it.
        model: the name it has for the model.
        abilities: name -> "yes", "no" or "unknown".
        listed: how many tokens it lists.
        first: what it listed when it was probed.
        vocab_size: or None where it does not say.
        context_length: or None where it does not say.
        parameters: number of weights, 0 where it does not say.
        weights: how they are stored, as far as it says.
        specials: "bos" and "eos" as texts, as far as it says.
        chat_template: or None where it does not say.
        way: how it says how probable a text's tokens are; None where it does not.
    """

    peer: Peer
    model: str
    abilities: Mapping[str, Ability]
    listed: int
    first: tuple[Entry, ...] = ()
    vocab_size: int | None = None
    context_length: int | None = None
    parameters: int = 0
    weights: str = ""
    specials: Mapping[str, str] = field(default_factory=dict)
    chat_template: str | None = None
    way: Way | None = None


def probe(
    line: Transport,
    named: Callable[[str], int | None] | None = None,
    spelled: Callable[[Sequence[int]], str] | None = None,
) -> Probed:
    """Ask a server what it is and what it can do.

    Args:
        line: to the server.
        named: the id of a token named by its text, where a tokenizer is known.
        spelled: the text of ids, where a tokenizer is known.

    Raises:
        ModelNotFound: it does not have the model.
        ModelUnsupported: it lists no probabilities, or only of texts while no tokenizer is known.
        RemoteError: it failed.
    """
    card = _card(line)
    model = str(card.get("id", ""))
    properties = _tried(line, "/props")
    if properties is not None and "default_generation_settings" in properties:
        return _probed_llama(line, model, card, properties)
    context = card.get("max_model_len")
    context = context if type(context) is int and context > 0 else None
    owner = str(card.get("owned_by", ""))
    if owner == "sglang":
        found = _listed(line, Sglang())
        if found is not None:
            return _probed(line, *found, model=model, context_length=context)
    kind = "vllm" if owner == "vllm" else "openai"
    for peer in _completions(kind, model, named, spelled):
        found = _listed(line, peer)
        if found is not None:
            return _probed(line, *found, model=model, context_length=context)
    raise ModelUnsupported(
        f"the server at {safe_line(line.address.root)} answers /v1/completions without the "
        "log-probabilities of its likeliest tokens; start it with logprobs on, or use another server"
    )


def _card(line: Transport) -> JsonDict:
    """What the server says of the model that is meant."""
    found = answers.member(line.ask("/v1/models"), "data")
    cards = [card for card in found if isinstance(card, dict) and isinstance(card.get("id"), str)]
    wanted = line.address.model
    names = [card["id"] for card in cards]
    match = [card for card in cards if card["id"] == wanted or (not wanted and len(cards) == 1)]
    if not match:
        have = ", ".join(safe_line(name)[:60] for name in names[:8]) or "none"
        which = f"no model {safe_line(wanted)!r}" if wanted else "more than one model"
        raise ModelNotFound(f"{which} at {safe_line(line.address.root)}, which has: {have}; name one after #")
    card: JsonDict = match[0]
    return card


def _completions(
    kind: str,
    model: str,
    named: Callable[[str], int | None] | None,
    spelled: Callable[[Sequence[int]], str] | None,
) -> Iterator[Completions]:
    """Ways of asking, the best first: ids both ways, ids in and texts out, texts both ways."""
    plain = Completions(kind, model)
    yield replace(plain, extras=_VLLM)
    if named is not None:
        yield replace(plain, named=named)
        yield replace(plain, named=named, takes_ids=False, spelled=spelled)


def _listed(line: Transport, peer: Peer) -> tuple[Peer, list[Entry]] | None:
    """What a way of asking brings, with as many tokens as the server gives; None where it does not work."""
    for n in _FEWER:
        try:
            entries = peer.likeliest(line, _PROBE, n)
        except Refused as refused:
            if refused.status in (401, 403):
                raise
            continue
        except RemoteError as error:
            if "its answer was not used" not in str(error):
                raise
            return None
        return (peer, entries) if any(entry.id is not None for entry in entries) else None
    return None


def _probed(line: Transport, peer: Peer, entries: list[Entry], **facts: Any) -> Probed:
    abilities = {
        "ids": "yes" if getattr(peer, "takes_ids", True) else "no",
        "token_ids": "no" if getattr(peer, "extras", True) == {} else "yes",
        "bytes": "yes" if any(entry.spelt for entry in entries) else "no",
        "raw": _is_raw(line, peer, entries),
        "n_probs": "yes" if peer.kind == "llama.cpp" else "no",
        "vllm_extras": "yes" if getattr(peer, "extras", {}) else "no",
        "logit_bias": _ability(lambda: _takes_bias(line, peer, entries)),
        "echo": _ability(lambda: _echoes(line, facts["model"])),
        "prompt_logprobs": _ability(lambda: _scores_prompts(line, facts["model"])),
        "tokenize": _ability(lambda: isinstance(_tokens(line, peer.kind, facts["model"]), list)),
        "detokenize": _ability(
            lambda: "content" in (a := line.ask("/detokenize", _ids(peer, facts))) or "prompt" in a
        ),
    }
    way = _way(line, peer, entries, abilities)
    abilities["told"] = "no" if way is None else "yes"
    return Probed(peer=peer, abilities=abilities, listed=len(entries), first=tuple(entries), way=way, **facts)


def _way(
    line: Transport, peer: Peer, entries: Sequence[Entry], abilities: Mapping[str, Ability]
) -> Way | None:
    """How the tokens of a text are told, tried on one: its number must be the one that was listed.

    A server that scores a prompt by other numbers than it lists is not asked for scores.
    """
    if peer.kind == "llama.cpp":
        return ByStep(peer)
    if not isinstance(peer, Completions):
        return None
    ways: dict[str, Way] = {"prompt_logprobs": ByPrompt(peer), "echo": ByEcho(peer)}
    token, logprob = next((e.id, e.logprob) for e in entries if e.id is not None)
    size = max(e.id for e in entries if e.id is not None) + 1
    for name, way in ways.items():
        if abilities[name] != "yes":
            continue
        try:
            (told,) = way.told(line, (*_PROBE, token), len(_PROBE), len(entries), max(size, 1 << 20))
        except RemoteError:
            continue
        if abs(told.logprob - logprob) < _SAME:
            return way
    return None


def _ability(asked: Callable[[], bool]) -> Ability:
    """Yes or no by a question's answer, no where it is refused, unknown where the answer makes no sense."""
    try:
        return "yes" if asked() else "no"
    except Refused as refused:
        return "no" if refused.status in (400, 404, 405, 422, 501) else "unknown"
    except RemoteError:
        return "unknown"


def _is_raw(line: Transport, peer: Peer, entries: Sequence[Entry]) -> Ability:
    """Whether probabilities are the model's own: asked anew with another temperature."""
    heat: dict[str, Any] = {"temperature": 0.25}
    if peer.kind == "sglang":
        heat = {"sampling_params": {"max_new_tokens": 1, **heat}}
    try:
        other = peer.likeliest(line, _PROBE, len(entries), **heat)
    except RemoteError:
        return "unknown"
    cool = {entry.id: entry.logprob for entry in other}
    pairs = [(e.logprob, cool[e.id]) for e in entries[:8] if e.id in cool]
    if not pairs:
        return "unknown"
    return "yes" if all(abs(a - b) < _SAME for a, b in pairs) else "no"


def _takes_bias(line: Transport, peer: Peer, entries: Sequence[Entry]) -> bool:
    """Whether a bias against the likeliest token changes which one is written."""
    best = max((e for e in entries if e.id is not None), key=lambda e: e.logprob).id
    if peer.kind == "llama.cpp":
        body = {
            "prompt": list(_PROBE),
            "n_predict": 1,
            "n_probs": 1,
            "temperature": 0.0,
            "logit_bias": [[best, -100]],
        }
        answer = line.ask("/completion", body)
        return bool(answers.member(answer, "completion_probabilities", 0, "id") != best)
    if peer.kind == "sglang":
        return False  # its own endpoint takes none
    question = {"max_tokens": 1, "temperature": 0.0, "logprobs": 1, **getattr(peer, "extras", {})}
    question |= {"model": getattr(peer, "model", ""), "prompt": list(_PROBE)}
    texts = [
        answers.member(line.ask("/v1/completions", question | more), "choices", 0).get("text")
        for more in ({}, {"logit_bias": {str(best): -100}})
    ]
    return bool(texts[0] != texts[1])


def _echoes(line: Transport, model: str) -> bool:
    """Whether the prompt comes back with its own log-probabilities, as OpenAI's first servers did."""
    body = {"model": model, "prompt": [1, 2], "max_tokens": 1, "logprobs": 1, "echo": True}
    values = answers.member(line.ask("/v1/completions", body), "choices", 0, "logprobs").get("token_logprobs")
    return isinstance(values, list) and len(values) > 2


def _scores_prompts(line: Transport, model: str) -> bool:
    """Whether vLLM's `prompt_logprobs` is answered."""
    body = {"model": model, "prompt": [1, 2], "max_tokens": 1, "prompt_logprobs": 1}
    return answers.member(line.ask("/v1/completions", body), "choices", 0).get("prompt_logprobs") is not None


def _tokens(line: Transport, kind: str, model: str) -> Any:
    field = "content" if kind == "llama.cpp" else "prompt"
    return line.ask("/tokenize", {"model": model, field: "a"}).get("tokens")


def _ids(peer: Peer, facts: Mapping[str, Any]) -> JsonDict:
    return {"model": facts["model"], "tokens": list(_PROBE)}


def _tried(line: Transport, path: str) -> JsonDict | None:
    """What a path answers, or None where the server has no such path."""
    try:
        return line.ask(path)
    except Refused as refused:
        if refused.status in (401, 403):
            raise
        return None
    except RemoteError:
        return None


def _probed_llama(line: Transport, model: str, card: JsonDict, properties: JsonDict) -> Probed:
    meta = card["meta"] if isinstance(card.get("meta"), dict) else {}
    settings = properties["default_generation_settings"]
    counts = {name: meta.get(name) for name in ("n_vocab", "n_params")}
    places = _count(settings.get("n_ctx")) if isinstance(settings, dict) else None
    texts = {role: properties.get(f"{role}_token") for role in ("bos", "eos")}
    template = properties.get("chat_template")
    peer = LlamaCpp(whole=_whole_token(line))
    return _probed(
        line,
        peer,
        peer.likeliest(line, _PROBE, MOST_LISTED),
        model=model,
        vocab_size=_count(counts["n_vocab"]),
        context_length=places and places - 1,  # one is kept for the token it writes
        parameters=_count(counts["n_params"]) or 0,
        weights=str(meta.get("ftype") or ""),
        specials={role: text for role, text in texts.items() if isinstance(text, str) and text},
        chat_template=template if isinstance(template, str) and template else None,
    )


def _whole_token(line: Transport) -> int | None:
    """A token that is whole characters: one that a plain text is cut into."""
    answer = line.ask("/tokenize", {"content": "a", "add_special": False, "with_pieces": True})
    for each in answers.member(answer, "tokens"):
        if isinstance(answers.member(each, "piece"), str):
            return answers.whole(answers.member(each, "id"))
    return None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 62 else None
