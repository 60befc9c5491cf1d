"""Given text and two sides of a comparison, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.types import Comparison, OptionScores, Score
from tokenglass.types.comparison import Difference, WordChanges, WordOrder
from tokenglass.types.scores import UNKNOWN
from tokenglass.views.columns.base import (
    Columns,
    Texts,
    columns,
    count,
    entry_columns,
    real,
    token_columns,
    whole,
)

LN2 = log(2.0)


@columns.register
def _(result: Score) -> Columns:
    """The score's own arrays; only what is unknown gets a mask, and only what is derived is computed."""
    own = result.columns
    unscored = own.ranks == 0

    def known(values: NDArray[Any], unknown: Any = False) -> NDArray[Any]:
        masked = unscored | unknown
        return np.ma.masked_array(values, masked)

    partly = own.partly
    open_ended = (
        {}
        if partly is None
        else {
            "coverage": known(partly.coverages),
            "entropy_least_bits": known(partly.least),
            "entropy_most_bits": known(partly.most),
        }
    )

    return {
        "index": np.arange(len(own.ids), dtype=np.int64),
        **entry_columns(own.ids, result.vocabulary),
        "logprob": known(own.logprobs),
        "p": known(np.exp(own.logprobs)),
        "surprisal_bits": known(own.logprobs / -LN2),
        "rank": known(own.ranks, own.ranks == UNKNOWN),
        "entropy_bits": known(own.entropies, np.isnan(own.entropies)),
        "context": own.contexts,
        **open_ended,
    }


@columns.register
def _(result: OptionScores) -> Columns:
    names = ("p", "logprob", "share", "mean_logprob", "mean_share", "logprob_per_byte")
    return {
        "text": Texts([row.text for row in result.rows]),
        **{name: real(getattr(row, name) for row in result.rows) for name in names},
        "n_tokens": count(len(row.tokens) for row in result.rows),
        "n_bytes": count(row.n_bytes for row in result.rows),
    }


def _differences(found: Sequence[Difference]) -> Columns:
    names = ("kl_ab_bits", "kl_ba_bits", "js_bits", "tv")
    tops: Columns = {}
    for side in "ab":
        shifts = [getattr(row, f"top_{side}") for row in found]
        tops[f"top_{side}"] = Texts([shift.token.text for shift in shifts])
        tops[f"top_{side}_p"] = real(getattr(shift, f"p_{side}") for shift in shifts)
    ends: Columns = {}
    if any(row.bounds for row in found):
        for place, end in enumerate(("least", "most")):
            for name in names:
                known = ((getattr(row, name), row.bounds) for row in found)
                ends[f"{name}_{end}"] = real(x if b is None else getattr(b, name)[place] for x, b in known)
    return {
        **{name: real(getattr(row, name) for row in found) for name in names},
        **ends,
        "agree": np.array([row.agree for row in found], dtype=bool),
        **tops,
    }


@columns.register
def _(result: Comparison) -> Columns:
    found = result.positions
    places = {name: whole(getattr(row, name) for row in found) for name in ("index_a", "index_b", "offset")}
    return {**places, **token_columns([row.token for row in found]), **_differences(found)}


@columns.register
def _(result: WordChanges) -> Columns:
    return {
        "replacement": Texts([row.replacement for row in result.rows]),
        "prompt_text": Texts([row.prompt_text for row in result.rows]),
        **_differences([row.difference for row in result.rows]),
    }


@columns.register
def _(result: WordOrder) -> Columns:
    return {
        "text": Texts([row.text for row in result.rows]),
        "logprob": real(row.logprob for row in result.rows),
        "scored": whole(row.scored for row in result.rows),
        **_differences([row.difference for row in result.rows]),
    }
