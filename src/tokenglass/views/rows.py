"""Results as plain JSON values.

Knows what results hold, not how they look. Every value is a str, int, float, bool, None, list or dict; a
number that JSON cannot hold becomes None, and `<name>_nonfinite` beside it says which it was ("inf", "-inf",
"nan"). Bytes are hexadecimal. A token's "token" is its safe display text; the truth is in "id" and "bytes".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import singledispatch
from math import isfinite
from typing import Any

import numpy as np

from tokenglass.types import (
    Account,
    Candidate,
    Chain,
    ChainStage,
    EngineInfo,
    Generation,
    NextTokens,
    Removal,
    Sequence,
    Shown,
    Stage,
    Step,
    Token,
    Tokenization,
    Vocabulary,
)
from tokenglass.types.searching import SearchRecords
from tokenglass.views.reasons import why
from tokenglass.views.stages import fate

__all__ = ["candidate", "effective_choices", "plain", "search_row", "to_dict", "why"]

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
    row = _plain_items(
        {
            "prompt_ids": result.prompt_ids,
            "position": result.position,
            "vocab_size": len(result.logits),
            "entropy_bits": result.entropy_bits,
            "effective_choices": effective_choices(result.entropy_bits),
            **({} if result.listing is None else {"entropy_bounds": result.entropy_bounds}),
            "coverage": result.coverage,
            "rows": (),
            "rest_n": len(result.logits) - len(result.rows),
            "rest_p": result.rest_p,
            "rest_p_final": result.rest_of([row.id for row in result.rows], final=True),
            "stages": (),
            "config": result.config,
        }
    )
    # what is plain already is not gone through again
    row["rows"] = [candidate(each) | _removal(each, result.removed) for each in result.rows]
    row["stages"] = [_stage(stage, result.vocabulary) for stage in result.stages]
    return row


@to_dict.register
def _(result: Step) -> JsonDict:
    row = _plain_items(
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
            **_bounds(result),
            "margin": result.margin,
            "origin": result.origin,
            "draw": result.draw,
            "cdf": result.cdf,
            "finish_reason": result.finish_reason,
            "why": why(result),
            "logsumexp": result.logsumexp,
            "top": (),
            "stages": (),
        }
    )
    row["top"] = [
        candidate(each) | _removal(each, result.removed) | _trail(result, index)
        for index, each in enumerate(result.top)
    ]
    row["stages"] = [_stage(stage, result.vocabulary) for stage in result.stages]
    return row


@to_dict.register
def _(result: Sequence) -> JsonDict:
    named = ("text", "ids", "finish_reason", "score")
    row = _plain_items({name: getattr(result, name) for name in named})
    return row | {"steps": [to_dict(step) for step in result.steps]}


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
            "search": [search_row(record) for record in result.search],
            "warnings": result.warnings,
            "healing": None if result.healing is None else _healing(result.healing),
        }
    )


@to_dict.register
def _(result: SearchRecords) -> JsonDict:
    return {"search": [search_row(record) for record in result]}


@to_dict.register
def _(result: Account) -> JsonDict:
    return {
        **_token(result.token),
        "effects": [_record(effect) for effect in result.effects],
        "removed": _record(result.removed),
        "fate": fate(result),
    }


@to_dict.register
def _(result: Chain) -> JsonDict:
    return _plain_items(
        {
            "mode": result.mode,
            "preset": result.preset,
            "stages": [_chain_stage(stage) for stage in result.stages],
            "selection": _chain_stage(result.selection),
            "config": result.config,
            "sources": result.sources,
            "no_effect": result.no_effect,
            "warnings": result.warnings,
            "code": result.code,
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
    known = {name: plain(getattr(result, name)) for name in fields + more}
    return known | ({"peer": plain(result.peer)} if result.peer else {})


@to_dict.register
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
            **({} if row.p_at_most is None else {"p_at_most": row.p_at_most}),
        }
    )


def _bounds(step: Step) -> JsonDict:
    """What a server's list leaves open at a step, where that is something."""
    if not step.is_listed_only:
        return {}
    bounds = {"coverage": step.coverage, "entropy_bounds": step.entropy_bounds}
    return bounds if step.p_at_most is None else bounds | {"p_at_most": step.p_at_most}


def _token(token: Token) -> JsonDict:
    return {"id": int(token.id), "token": token.text, "bytes": token.bytes.hex(), "kind": token.kind}


def _removal(row: Candidate, removed: Mapping[int, Removal]) -> JsonDict:
    """How a candidate left the chain, or None."""
    found = removed.get(row.id) if row.removed_by is not None else None
    return {"removed": _record(found)}


def _trail(step: Step, index: int) -> JsonDict:
    """A candidate's probability after each of the stages, where that was kept."""
    return {} if step.trail is None else {"trail": plain(step.trail[:, index].astype(np.float64))}


def _stage(stage: Stage, vocabulary: Vocabulary) -> JsonDict:
    favourite = None if stage.argmax < 0 else vocabulary.token(stage.argmax).text
    return {**_record(stage), "argmax_token": favourite}


def _chain_stage(stage: ChainStage) -> JsonDict:
    sources = {name: {"value": value, "source": source} for name, (value, source) in stage.sources.items()}
    return _plain_items(
        {"name": stage.name, "params": stage.params, "sources": sources, "paper": stage.paper}
    )


def search_row(record: Any) -> JsonDict:
    """A record of a search by its fields; its kind, such as "beam", is what its class is called."""
    return {"kind": type(record).__name__.removesuffix("Step").lower(), **_record(record)}


def _healing(healing: Any) -> JsonDict:
    return {**_record(healing), "summary": healing.summary}


def _record(value: Any) -> Any:
    """A record of plain values by its fields, and the records in it."""
    if isinstance(value, Token):
        return _token(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain_items({f.name: _record(getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, tuple):
        return [_record(item) for item in value]
    return value


def effective_choices(entropy_bits: float | None) -> float | None:
    """How many equally likely tokens would be as uncertain: 2 to the power of the entropy."""
    return None if entropy_bits is None else float(2.0**entropy_bits)


_AS_THEY_ARE = frozenset({str, int, bool, type(None)})


def plain(value: Any) -> Any:
    r"""`value` as plain JSON values; what has no JSON form appears by its type's name.

    >>> plain({"a": (1, float("-inf")), "b": b"\x00", "c": float("nan")})
    {'a': [1, {'nonfinite': '-inf'}], 'b': '00', 'c': None, 'c_nonfinite': 'nan'}
    """
    if type(value) in _AS_THEY_ARE:  # nearly all
        return value
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if isfinite(value) else {"nonfinite": str(float(value))}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return _plain_items(value)
    if is_dataclass(value) and not isinstance(value, type) and (small := _small(value)) is not None:
        return small
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=lambda item: (str(type(item)), item))
    if isinstance(value, (Iterable, np.ndarray)):
        return [plain(item) for item in value]
    # repr() of a function or a model holds memory addresses, which differ from run to run
    return getattr(value, "__qualname__", type(value).__qualname__)


def _small(value: Any) -> JsonDict | None:
    """A record that holds nothing but single values, such as a window; None for anything larger."""
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    single = all(v is None or isinstance(v, bool | int | float | str) for v in found.values())
    return _plain_items(found) if single and found else None


def _plain_items(items: Mapping[Any, Any]) -> JsonDict:
    row: JsonDict = {}
    for key, value in items.items():
        if type(value) in _AS_THEY_ARE:
            row[str(key)] = value
        elif isinstance(value, (float, np.floating)) and not isfinite(value):
            row[str(key)] = None
            row[f"{key}_nonfinite"] = str(float(value))
        else:
            row[str(key)] = plain(value)
    return row
