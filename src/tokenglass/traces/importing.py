"""Responses of other servers as records: OpenAI's two forms, vLLM's prompt, llama.cpp's three.

What its numbers are of is not always said in a record:

- `choices[].logprobs` (OpenAI, vLLM): not said. llama.cpp's, which have ids: the model's own.
- `prompt_logprobs[]` (vLLM): not said; older versions applied the temperature to them.
- `completion_probabilities[]` with `logprob` (llama.cpp): the model's own.
- entries with `prob` and `top_probs` (llama.cpp, `post_sampling_probs`): after its sampling stages.
- `completion_probabilities[].probs[]` (llama.cpp before December 2024): after them; with a temperature below
  0 or none in the record, not said.

Knows formats, not networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from tokenglass.traces.entries import (
    as_list,
    as_object,
    brief,
    entry_step,
    legacy_steps,
    old_llama_step,
    prompt_steps,
    wrong,
)
from tokenglass.traces.foreign import Distribution, ForeignRecord, ForeignSequence, ForeignStep
from tokenglass.traces.lines import Budget, parse_json


@dataclass
class _Draft:
    """One sequence while its pieces are put together."""

    text: str | None = None
    finish_reason: str | None = None
    steps: list[ForeignStep] = field(default_factory=list)


def import_responses(
    source: str | bytes | Mapping[str, Any] | Sequence[Any], *, distribution: Distribution | None = None
) -> ForeignRecord:
    """Read what a server answered; numbers it does not give stay None.

    Args:
        source: a response as parsed JSON, or several, such as the chunks of a stream; or their text: JSON,
            JSON Lines, or a stream of `data:` lines.
        distribution: what the numbers are of, where you know and the record does not say.

    Raises:
        TraceError: no such response, no logprobs in it, or numbers that cannot be probabilities; says where.
        ValueError: `distribution` is none of "model", "post_sampling", "unknown".
    """
    if distribution not in (None, *get_args(Distribution)):
        raise ValueError(
            f"distribution must be one of {', '.join(get_args(Distribution))}, got {distribution!r}"
        )
    responses = _responses(source)
    drafts: dict[tuple[str, int], _Draft] = {}
    for number, response in enumerate(responses):
        where = f"response {number + 1}: " if len(responses) > 1 else ""
        _take(as_object(response, f"{where}the response"), where, drafts, number)
    if not any(draft.steps for draft in drafts.values()):
        raise wrong("", "it has no logprobs; ask the server for them (logprobs, n_probs or prompt_logprobs)")
    sequences = []
    for index, draft in enumerate(drafts.values()):
        steps = (_settled(step, n, distribution) for n, step in enumerate(draft.steps))
        sequences.append(ForeignSequence(index, draft.text, draft.finish_reason, tuple(steps)))
    model = next((r["model"] for r in responses if isinstance(r.get("model"), str)), None)
    return ForeignRecord(model, tuple(sequences))


def _settled(step: ForeignStep, index: int, distribution: Distribution | None) -> ForeignStep:
    named = distribution if step.distribution == "unknown" and distribution is not None else step.distribution
    return replace(step, index=index, distribution=named)


# ------------------------------------------------------------------------------------------ whole responses


def _responses(source: Any) -> list[Mapping[str, Any]]:
    if isinstance(source, str | bytes):
        source = _parsed(source)
    found = list(source) if isinstance(source, list | tuple) else [source]
    if not found:
        raise wrong("", "it is empty")
    return found


def _parsed(source: str | bytes) -> Any:
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source
    budget = Budget()
    try:
        budget.spend(data)
        return parse_json(data)
    except ValueError as error:
        lines = [line.removeprefix(b"data:").strip() for line in data.splitlines()]
        lines = [line for line in lines if line and line != b"[DONE]"]
        if not data.lstrip().startswith(b"data:") and not _is_json(lines):
            raise wrong("", str(error)) from None
    budget, parsed = Budget(), []
    for number, line in enumerate(lines, start=1):
        try:
            budget.spend(line)
            parsed.append(parse_json(line))
        except ValueError as error:
            raise wrong(f"line {number:,}: ", str(error)) from None
    return parsed


def _is_json(lines: list[bytes]) -> bool:
    """Whether the first of several lines is a document of its own."""
    try:
        parse_json(lines[0])
    except (ValueError, IndexError):
        return False
    return len(lines) > 1


def _take(
    response: Mapping[str, Any], where: str, drafts: dict[tuple[str, int], _Draft], number: int
) -> None:
    """Add a response, or a chunk of one, to the sequences it belongs to."""
    if (error := response.get("error")) is not None:
        said = error.get("message") if isinstance(error, Mapping) else error
        raise wrong(where, f"the server answered with an error, {brief(said)}")
    if "completion_probabilities" in response or ("stop" in response and "choices" not in response):
        whole = response.get("stop") is not False and "completion_probabilities" in response
        draft = drafts.setdefault((str(number) if whole else "stream", 0), _Draft())
        _take_llama(response, where, draft)
        return
    key = str(response.get("id") or number)
    for position, choice in enumerate(as_list(response.get("choices", []), f"{where}choices")):
        here = f"{where}choices[{position}]"
        choice = as_object(choice, here)
        index = choice.get("index", position)
        draft = drafts.setdefault((key, index if type(index) is int else position), _Draft())
        prompt = choice.get("prompt_logprobs", response.get("prompt_logprobs"))
        if prompt is not None and not draft.steps:
            ids = choice.get("prompt_token_ids", response.get("prompt_token_ids"))
            draft.steps += prompt_steps(
                as_list(prompt, f"{here}.prompt_logprobs"), ids, f"{here}.prompt_logprobs"
            )
        _take_choice(choice, response.get("usage"), here, draft)


def _take_choice(choice: Mapping[str, Any], usage: Any, where: str, draft: _Draft) -> None:
    message = choice.get("message") or choice.get("delta") or {}
    text = choice.get("text", message.get("content") if isinstance(message, Mapping) else None)
    if isinstance(text, str):
        draft.text = (draft.text or "") + text
    if isinstance(choice.get("finish_reason"), str):
        draft.finish_reason = choice["finish_reason"]
    logprobs = choice.get("logprobs")
    if logprobs is None:
        return
    logprobs = as_object(logprobs, f"{where}.logprobs")
    ids = choice.get("token_ids")
    if "tokens" in logprobs:
        draft.steps += legacy_steps(logprobs, usage, f"{where}.logprobs")
        return
    for name in ("content", "refusal"):
        entries = as_list(logprobs.get(name) or [], f"{where}.logprobs.{name}")
        known = ids if isinstance(ids, list) and len(ids) == len(entries) else [None] * len(entries)
        for n, (entry, token_id) in enumerate(zip(entries, known, strict=True)):
            draft.steps.append(entry_step(entry, f"{where}.logprobs.{name}[{n}]", token_id))


def _take_llama(response: Mapping[str, Any], where: str, draft: _Draft) -> None:
    if isinstance(response.get("content"), str):
        draft.text = (draft.text or "") + response["content"]
    if isinstance(response.get("stop_type"), str):
        draft.finish_reason = response["stop_type"]
    settings = response.get("generation_settings")
    temperature = settings.get("temperature") if isinstance(settings, Mapping) else None
    where = f"{where}completion_probabilities"
    for n, entry in enumerate(as_list(response.get("completion_probabilities", []), where)):
        entry = as_object(entry, f"{where}[{n}]")
        if "probs" in entry:
            draft.steps.append(old_llama_step(entry, temperature, f"{where}[{n}]"))
        else:
            draft.steps.append(entry_step(entry, f"{where}[{n}]"))
