"""What the model and the chain said at one place, as compactly as a browser can read it.

Arrays are base64, little-endian, as in a trace: ids int32, logits float32, probabilities after the chain
float64, the trail (stages x candidates) float32, the tail's counts uint32. `named` lists the ids of them all.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tokenglass.types import Candidate, NextTokens, Step, Tail
from tokenglass.views.rows import to_dict

JsonDict = dict[str, Any]
KEPT = 64  # candidates of a table that no step recorded; as many as a step keeps


def written_reading(step: Step) -> JsonDict:
    """What stood before a token was written."""
    row = to_dict(step)
    return {
        "named": [step.id, *step.top_ids.tolist()],
        "ids": _packed(step.top_ids, "<i4"),
        "logits": _packed(step.top_logits, "<f4"),
        "final": _packed(step.top_final, "<f8"),
        "trail": None if step.trail is None else _packed(step.trail, "<f4"),
        "logsumexp": row["logsumexp"],
        "entropy_bits": row["entropy_bits"],
        "tail": None if step.tail is None else _tail(step.tail),
        "removed": {str(each["id"]): each["removed"] for each in row["top"] if each["removed"] is not None},
        "stages": row["stages"],
    }


def table_reading(table: NextTokens, trail: ArrayLike | None) -> JsonDict:
    """What stands at a place where nothing was written; `trail` as a step's, for the first `KEPT` rows."""
    shown = replace(table, n=KEPT)
    row = to_dict(shown)
    logits = np.array([each.logit for each in shown.rows], dtype=np.float32)
    tail = Tail.of(table.logits, logits)
    return {
        "named": [each.id for each in shown.rows],
        "ids": _packed([each.id for each in shown.rows], "<i4"),
        "logits": _packed(logits, "<f4"),
        "final": _packed(np.array([each.p_final for each in shown.rows], dtype=np.float64), "<f8"),
        "trail": None if trail is None else _packed(trail, "<f4"),
        "logsumexp": _logsumexp(shown.rows[0]),
        "entropy_bits": row["entropy_bits"],
        "tail": None if tail is None else _tail(tail),
        "removed": {str(each["id"]): each["removed"] for each in row["rows"] if each["removed"] is not None},
        "stages": row["stages"],
    }


def _logsumexp(row: Candidate) -> float:
    assert row.logit is not None and row.logprob is not None  # a hand-out is made of full rows only
    return row.logit - row.logprob


def _tail(tail: Tail) -> JsonDict:
    return {"low": tail.low, "high": tail.high, "counts": _packed(tail.counts, "<u4")}


def _packed(values: ArrayLike, dtype: str) -> str:
    return str(base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()), "ascii")
