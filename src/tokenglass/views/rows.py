"""Results as plain JSON values, and the sentence that says why a token was written.

Knows what results hold, not how they look. Every value is a str, int, float, bool, None, list or dict; a
number that JSON cannot hold becomes None, and `<name>_nonfinite` beside it says which it was ("inf", "-inf",
"nan"). Bytes are hexadecimal. A token's "token" is its safe display text; the truth is in "id" and "bytes".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import singledispatch
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.numbers import summarize
from tokenglass.types import (
    Candidate,
    EngineInfo,
    Generation,
    NextTokens,
    Sequence,
    Shown,
    Stage,
    Step,
    Token,
    Tokenization,
)
from tokenglass.views.figures import ordinal, percent, significant

JsonDict = dict[str, Any]


@singledispatch
def to_dict(result: Shown) -> JsonDict:
    """A result as one JSON object, valid for every JSON reader.

    Raises:
        TypeError: `result` is none of the result types.
    """
    raise TypeError(f"no rows for a {type(result).__name__}")


@to_dict.register
def _(result: Tokenization) -> JsonDict:
    return {
        "text": result.text,
        "n_tokens": len(result.tokens),
        "ids": list(result.ids),
        "tokens": [
            {"index": index, **_token(token), "span": None if token.span is None else list(token.span)}
            for index, token in enumerate(result.tokens)
        ],
    }


@to_dict.register
def _(result: NextTokens) -> JsonDict:
    return _plain_items(
        {
            "prompt_ids": result.prompt_ids,
            "position": result.position,
            "vocab_size": len(result.logits),
            "entropy_bits": result.entropy_bits,
            "effective_choices": effective_choices(result.entropy_bits),
            "coverage": result.coverage,
            "rows": [candidate(row) for row in result.rows],
            "rest_n": len(result.logits) - len(result.rows),
            "rest_p": result.rest_p,
            "rest_p_final": rest_p_final(result, [row.id for row in result.rows]),
            "stages": [_stage(stage) for stage in result.stages],
            "config": result.config,
        }
    )


@to_dict.register
def _(result: Step) -> JsonDict:
    return _plain_items(
        {
            "position": result.position,
            **_token(result.token),
            "text": result.text,
            "logit": result.logit,
            "logprob": result.logprob,
            "p": result.p,
            "p_final": result.p_final,
            "rank": result.rank,
            "entropy_bits": result.entropy_bits,
            "margin": result.margin,
            "origin": result.origin,
            "draw": result.draw,
            "cdf": result.cdf,
            "finish_reason": result.finish_reason,
            "why": why(result),
            "logsumexp": result.logsumexp,
            "top": [candidate(row) for row in result.top],
            "stages": [_stage(stage) for stage in result.stages],
        }
    )


@to_dict.register
def _(result: Sequence) -> JsonDict:
    return _plain_items(
        {
            "text": result.text,
            "ids": result.ids,
            "finish_reason": result.finish_reason,
            "score": result.score,
            "steps": [to_dict(step) for step in result.steps],
        }
    )


@to_dict.register
def _(result: Generation) -> JsonDict:
    return _plain_items(
        {
            "prompt_text": result.prompt_text,
            "prompt_ids": result.prompt_ids,
            "text": result.text,
            "ids": result.ids,
            "finish_reason": result.finish_reason,
            "sequences": [to_dict(sequence) for sequence in result.sequences],
            "config": result.config,
        }
    )


@to_dict.register
def _(result: EngineInfo) -> JsonDict:
    fields = (
        "name",
        "family",
        "engine",
        "precision",
        "parameters",
        "vocab_size",
        "context_length",
        "eos_ids",
    )
    more = ("bos_id", "layers", "hidden_size", "weights", "sha256", "threads", "capabilities", "source")
    return {name: plain(getattr(result, name)) for name in fields + more}


def candidate(row: Candidate) -> JsonDict:
    """One row of a next-token table."""
    return _plain_items(
        {
            "rank": row.rank,
            **_token(row.token),
            "logit": row.logit,
            "logprob": row.logprob,
            "p": row.p,
            "p_final": row.p_final,
            "removed_by": row.removed_by,
        }
    )


def _token(token: Token) -> JsonDict:
    return {"id": int(token.id), "token": token.text, "bytes": token.bytes.hex(), "kind": token.kind}


def _stage(stage: Stage) -> JsonDict:
    return _plain_items(
        {
            "name": stage.name,
            "params": stage.params,
            "alive": stage.alive,
            "mass_kept": stage.mass_kept,
            "entropy_bits": stage.entropy_bits,
            "argmax": stage.argmax,
        }
    )


def effective_choices(entropy_bits: float) -> float:
    """How many equally likely tokens would be as uncertain: 2 to the power of the entropy."""
    return float(2.0**entropy_bits)


def rest_p(result: NextTokens, shown_ids: Iterable[int]) -> float:
    """The model's own probability of every token but `shown_ids`, summed token by token."""
    return _rest(result.logits, shown_ids)


def rest_p_final(result: NextTokens, shown_ids: Iterable[int]) -> float:
    """Probability after the chain of every token but `shown_ids`, summed token by token."""
    return _rest(result.logits if result.final is None else result.final, shown_ids)


def _rest(logits: NDArray[np.float32], shown_ids: Iterable[int]) -> float:
    others = np.delete(logits, list(shown_ids)).astype(np.float64)
    return float(np.exp(others - summarize(logits).logsumexp).sum()) if len(others) else 0.0


def plain(value: Any) -> Any:
    r"""`value` as plain JSON values; what has no JSON form appears by its type's name.

    >>> plain({"a": (1, float("-inf")), "b": b"\x00", "c": float("nan")})
    {'a': [1, {'nonfinite': '-inf'}], 'b': '00', 'c': None, 'c_nonfinite': 'nan'}
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if isfinite(value) else {"nonfinite": str(float(value))}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return _plain_items(value)
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=lambda item: (str(type(item)), item))
    if isinstance(value, (Iterable, np.ndarray)):
        return [plain(item) for item in value]
    # repr() of a function or a model holds memory addresses, which differ from run to run
    return getattr(value, "__qualname__", type(value).__qualname__)


def _plain_items(items: Mapping[Any, Any]) -> JsonDict:
    row: JsonDict = {}
    for key, value in items.items():
        if isinstance(value, (float, np.floating)) and not isfinite(value):
            row[str(key)] = None
            row[f"{key}_nonfinite"] = str(float(value))
        else:
            row[str(key)] = plain(value)
    return row


def why(step: Step) -> str:
    """One sentence, made of the step's numbers, that says why its token was written."""
    sentence = _CAUSES[step.origin](step)
    return sentence + _ENDINGS.get(step.finish_reason or "", ".")


def _why_greedy(step: Step) -> str:
    name, rival = step.token.text, _rival(step)
    if step.rank == 1:
        ahead = f", ahead of {rival.token.text} with {percent(rival.p)}" if rival else ""
        return f"{name} was the likeliest token: {percent(step.p)}{ahead}{_closeness(step)}"
    return (
        f"{name} was the likeliest token after the chain ({percent(step.p_final)}); "
        f"the model itself ranked it {ordinal(step.rank)} with {percent(step.p)}{_closeness(step)}"
    )


def _why_sampled(step: Step) -> str:
    name = step.token.text
    how = f"{name} was drawn by chance"
    if step.draw is not None and step.cdf is not None:
        low, high = step.cdf
        how = f"The draw {step.draw:.4f} fell between {low:.4f} and {high:.4f}, the share of {name}"
    return f"{how}: {_by_the_model(step)}, {percent(step.p_final)} after the chain"


def _why_forced(step: Step) -> str:
    rival = _rival(step)
    first = (
        f", whose first choice was {rival.token.text} ({percent(rival.p)})" if rival and step.rank > 1 else ""
    )
    return f"{step.token.text} was put there by hand: {_by_the_model(step)}{first}"


def _why_draft(step: Step) -> str:
    return f"{step.token.text} was guessed ahead and accepted: {_by_the_model(step)}"


_CAUSES = {"greedy": _why_greedy, "sampled": _why_sampled, "forced": _why_forced, "draft": _why_draft}
_ENDINGS = {
    "eos": "; it ends the text.",
    "length": "; then the number of tokens asked for was reached.",
    "stop_string": "; it completes a stop string.",
    "time": "; then the time was up.",
    "context": "; then the model's context was full.",
    "cancelled": "; then the run was stopped.",
}


def _by_the_model(step: Step) -> str:
    place = "the likeliest" if step.rank == 1 else f"{ordinal(step.rank)} likeliest"
    return f"{place} by the model ({percent(step.p)})"


def _rival(step: Step) -> Candidate | None:
    """The likeliest other token by the model's own numbers."""
    return next((row for row in step.top if row.id != step.id), None)


def _closeness(step: Step) -> str:
    # below 0.05 the two probabilities differ by less than 5 %: worth a warning that little decided
    return f" (a near tie: {significant(step.margin)} in logits)" if step.margin < 0.05 else ""
