"""Tokens and what may come next, as columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.types import Account, Candidate, Chain, NextTokens, Step, Tokenization
from tokenglass.views.columns.base import (
    Columns,
    Named,
    Texts,
    columns,
    entry_columns,
    real,
    token_columns,
    whole,
)
from tokenglass.views.values import parameters


@columns.register
def _(result: Tokenization) -> Columns:
    spans = [token.span or (None, None) for token in result.tokens]
    return {
        "index": np.arange(len(result.tokens), dtype=np.int64),
        **token_columns(result.tokens),
        "start": whole(start for start, _ in spans),
        "end": whole(end for _, end in spans),
    }


@columns.register
def _(result: NextTokens) -> Columns:
    """From the logits themselves, so that a table of the whole vocabulary costs no object for each row."""
    if result.listing is not None:  # a server's few rows, with what it leaves unknown
        return _candidates(result.rows)
    ids = np.asarray(numbers.top_n(result.logits, result.n), dtype=np.int64)
    logits = result.logits[ids]
    logprobs = logits.astype(np.float64) - numbers.summarize(result.logits).logsumexp
    p = np.exp(logprobs)
    return {
        "rank": np.arange(1, len(ids) + 1, dtype=np.int64),
        **entry_columns(ids, result.vocabulary),
        "logit": logits.astype(np.float64),
        "logprob": logprobs,
        "p": p,
        "p_final": p if result.final is None else _shares(result.final, ids),
        "removed_by": _removers(result, ids),
    }


def _shares(scores: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.exp(scores[ids].astype(np.float64) - numbers.summarize(scores).logsumexp)
    return shares


def _removers(result: NextTokens, ids: NDArray[np.int64]) -> Named:
    """Who removed each; a token that a chain left alive was removed by nobody."""
    books = result.books
    if books is None or result.final is None:
        return Named((), np.full(len(ids), -1, dtype=np.int64))
    return Named(books.names, books.removers(ids))


@columns.register
def _(result: Step) -> Columns:
    return _candidates(result.top)


def _candidates(found: Sequence[Candidate]) -> Columns:
    return {
        "rank": whole(row.rank for row in found),
        **token_columns([row.token for row in found]),
        "logit": real(row.logit for row in found),
        "logprob": real(row.logprob for row in found),
        "p": real(row.p for row in found),
        "p_final": real(row.p_final for row in found),
        "removed_by": Texts([row.removed_by for row in found]),
    }


@columns.register
def _(result: Account) -> Columns:
    return {
        "stage": Texts([effect.stage for effect in result.effects]),
        "score": real(effect.score for effect in result.effects),
        "p": real(effect.p for effect in result.effects),
        "rank": whole(effect.rank for effect in result.effects),
    }


@columns.register
def _(result: Chain) -> Columns:
    stages = (*result.stages, result.selection)
    return {
        "stage": Texts([stage.name for stage in stages]),
        "params": Texts([parameters(stage.params) for stage in stages]),
        "paper": Texts([stage.paper or None for stage in stages]),
    }
