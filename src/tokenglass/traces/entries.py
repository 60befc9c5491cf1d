"""Single positions of foreign records: an entry of any of the forms, as a `ForeignStep`.

Every number is checked to be one that a probability can have; the error says where in the record it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, inf, isfinite, log
from typing import Any

from tokenglass.errors import TraceError
from tokenglass.traces.foreign import Distribution, ForeignStep, ForeignToken, Part, same_token

FLOOR = -9999.0  # what stands for "very unlikely" (OpenAI) or for minus infinity (vLLM); llama.cpp goes lower
SLACK = 1e-3  # what rounding may add to a sum of probabilities
_PLACEHOLDER = re.compile(r"token_id:([0-9]{1,10})")


def entry_step(entry: Any, where: str, token_id: Any = None) -> ForeignStep:
    """An entry of chat logprobs, or of llama.cpp's."""
    entry = as_object(entry, where)
    sampled = "prob" in entry or "top_probs" in entry
    name = "top_probs" if sampled else "top_logprobs"
    top = [
        _token(as_object(one, f"{where}.{name}[{n}]"), f"{where}.{name}[{n}]")
        for n, one in enumerate(as_list(entry.get(name) or [], f"{where}.{name}"))
    ]
    chosen = _token(entry, where)
    if chosen.id is None and type(token_id) is int:
        chosen = replace(chosen, id=token_id)
    distribution: Distribution = "post_sampling" if sampled else "model" if "id" in entry else "unknown"
    return _step(chosen, top, distribution, "completion", where)


def old_llama_step(entry: Mapping[str, Any], temperature: Any, where: str) -> ForeignStep:
    """An entry of llama.cpp's older form: the chosen token's text, and candidates after sampling."""
    top = []
    for n, one in enumerate(as_list(entry["probs"], f"{where}.probs")):
        one = as_object(one, f"{where}.probs[{n}]")
        top.append(_token({**one, "token": one.get("tok_str")}, f"{where}.probs[{n}]"))
    text = _text(entry.get("content"), f"{where}.content")
    matching = [token for token in top if token.text == text]
    # the form gives the chosen token's text only; two candidates with that text leave its number open
    chosen = matching[0] if len(matching) == 1 else ForeignToken(text=text)
    warm = isinstance(temperature, int | float) and temperature >= 0
    return _step(chosen, top, "post_sampling" if warm else "unknown", "completion", where)


def legacy_steps(logprobs: Mapping[str, Any], usage: Any, where: str) -> list[ForeignStep]:
    """The parallel lists of the completions form, which begin with the prompt where it was echoed."""
    tokens = as_list(logprobs["tokens"], f"{where}.tokens")
    numbers = as_list(logprobs.get("token_logprobs") or [None] * len(tokens), f"{where}.token_logprobs")
    tops = as_list(logprobs.get("top_logprobs") or [None] * len(tokens), f"{where}.top_logprobs")
    if not len(tokens) == len(numbers) == len(tops):
        counts = f"{len(tokens)} tokens, {len(numbers)} token_logprobs and {len(tops)} top_logprobs"
        raise wrong(where, f" has {counts}")
    echoed = bool(numbers) and numbers[0] is None  # the first token of a prompt has nothing before it
    prompt = usage.get("prompt_tokens") if echoed and isinstance(usage, Mapping) else None
    steps = []
    for n, (text, number, top) in enumerate(zip(tokens, numbers, tops, strict=True)):
        here = f"{where}.top_logprobs[{n}]"
        found = [] if top is None else list(as_object(top, here).items())
        chosen = _token({"token": text, "logprob": number}, f"{where}.token_logprobs[{n}]")
        candidates = [_token({"token": t, "logprob": value}, here) for t, value in found]
        part: Part | None = "completion"
        if echoed:
            part = None if type(prompt) is not int else "prompt" if n < prompt else "completion"
        steps.append(_step(chosen, candidates, "unknown", part, here))
    return steps


def prompt_steps(entries: Sequence[Any], ids: Any, where: str) -> list[ForeignStep]:
    """VLLM's prompt: at each position a map of ids, the prompt's own token first."""
    given = ids if isinstance(ids, list) and len(ids) == len(entries) else [None] * len(entries)
    steps = []
    for n, (entry, token_id) in enumerate(zip(entries, given, strict=True)):
        here = f"{where}[{n}]"
        top = []
        for text, one in ({} if entry is None else as_object(entry, here)).items():
            if not re.fullmatch(r"[0-9]{1,10}", text):
                raise wrong(here, f" must have token ids for keys, got {brief(text)}")
            one = as_object(one, f"{here}.{text}")
            top.append(_token({**one, "id": int(text), "token": one.get("decoded_token")}, f"{here}.{text}"))
        own = token_id if type(token_id) is int else None
        named = top[0] if top and own is None else next((t for t in top if t.id == own), ForeignToken(id=own))
        steps.append(_step(named, top, "unknown", "prompt", here))
    return steps


def _step(
    chosen: ForeignToken, top: list[ForeignToken], distribution: Distribution, part: Part | None, where: str
) -> ForeignStep:
    different = top if any(same_token(token, chosen) for token in top) else [*top, chosen]
    known = [token.p for token in different if token.p is not None]
    total = sum(known) if known else None
    if total is not None and total > 1.0 + SLACK:
        raise wrong(where, f": its probabilities sum to {total:.4g}; were these logits?")
    missing = None if total is None else max(0.0, 1.0 - total)
    return ForeignStep(0, part, chosen, tuple(top), distribution, total, missing)


def _token(entry: Mapping[str, Any], where: str) -> ForeignToken:
    text = None if entry.get("token") is None else _text(entry["token"], f"{where}.token")
    token_id = entry.get("id")
    if token_id is not None and (type(token_id) is not int or token_id < 0):
        raise wrong(where, f".id must be a whole number of at least 0, got {brief(token_id)}")
    if text is not None and (
        placeholder := _PLACEHOLDER.fullmatch(text)
    ):  # vLLM's return_tokens_as_token_ids
        return ForeignToken(int(placeholder[1]), None, None, *_numbers(entry, where))
    return ForeignToken(token_id, text, _bytes(entry.get("bytes"), text, where), *_numbers(entry, where))


def _numbers(entry: Mapping[str, Any], where: str) -> tuple[float | None, float | None, int | None, bool]:
    """logprob, p, rank, and whether "very unlikely" was all that was said."""
    rank = entry.get("rank")
    if rank is not None and (type(rank) is not int or rank < 1):
        raise wrong(where, f".rank must be a whole number of at least 1, got {brief(rank)}")
    p, logprob = _number(entry, "prob", where), _number(entry, "logprob", where)
    if p is not None:
        if not 0.0 <= p <= 1.0 + SLACK:
            raise wrong(where, f".prob must be in [0, 1], got {p:.6g}")
        return (log(p) if p else -inf), p, rank, False
    if logprob is None:
        return None, None, rank, False
    if logprob > SLACK:
        raise wrong(where, f".logprob must be at most 0, got {logprob:.6g}; were these logits?")
    return (None, None, rank, True) if logprob <= FLOOR else (logprob, exp(logprob), rank, False)


def _bytes(values: Any, text: str | None, where: str) -> bytes | None:
    if values is None:
        return None
    if not isinstance(values, list) or not all(type(v) is int and 0 <= v <= 255 for v in values):
        raise wrong(where, ".bytes must be a list of numbers in [0, 255]")
    data = bytes(values)
    # bytes that were made from a text with a replacement character are that character's, not the token's
    return None if text is not None and "\ufffd" in text and data == text.encode() else data


def _number(entry: Mapping[str, Any], name: str, where: str) -> float | None:
    value = entry.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise wrong(where, f".{name} must be a number, got {brief(value)}")


def as_object(value: Any, where: str) -> Mapping[str, Any]:
    """`value`, which must be a JSON object."""
    if not isinstance(value, Mapping):
        raise wrong(where, f" must be an object, got {brief(value)}")
    return value


def as_list(value: Any, where: str) -> list[Any]:
    """`value`, which must be a JSON list."""
    if not isinstance(value, list):
        raise wrong(where, f" must be a list, got {brief(value)}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise wrong(where, f" must be a text, got {brief(value)}")
    return value


def brief(value: Any) -> str:
    """A value in a few ASCII signs, or its kind."""
    if isinstance(value, str):
        return json.dumps(value[:60])
    return json.dumps(value) if value is None or isinstance(value, bool | float) else type(value).__name__


def wrong(where: str, problem: str) -> TraceError:
    """The error for a record that says something at a place."""
    return TraceError(f"this record cannot be read: {where}{problem}")
