"""Searches and settings, as columns: one row for each continuation that a step weighed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tokenglass.types.searching import SearchRecords
from tokenglass.types.settings import Settings
from tokenglass.views.columns.base import Columns, Texts, columns, count, entry_columns, real, whole
from tokenglass.views.values import shown

Pairs = Sequence[tuple[Any, Any]]  # (step, one of what it weighed)


@columns.register
def _(result: SearchRecords) -> Columns:
    """Which columns there are hangs on the kind of search."""
    if not result:
        return {"step": count(()), "position": count(())}
    weighed, own = _KINDS[type(result[0]).__name__]
    pairs = [(step, each) for step in result for each in weighed(step)]
    ids = np.array([each.token_id for _, each in pairs], dtype=np.int64)
    return {
        "step": count(step.step for step, _ in pairs),
        "position": count(step.position for step, _ in pairs),
        **own(pairs),
        **entry_columns(ids, result.vocabulary),
    }


def _beams(pairs: Pairs) -> Columns:
    found = [candidate for _, candidate in pairs]
    return {
        "group": count(each.group for each in found),
        "beam": count(each.parent for each in found),
        "rank": count(each.rank for each in found),
        "logprob": real(each.logprob for each in found),
        "total": real(each.total for each in found),
        "fate": Texts([each.fate for each in found]),
        "becomes": whole(each.becomes for each in found),
        "finish_reason": Texts([each.finish_reason for each in found]),
        "why": Texts([each.why for each in found]),
    }


def _contrastive(pairs: Pairs) -> Columns:
    found = [row for _, row in pairs]
    return {
        "rank": count(row.rank for row in found),
        **{name: real(getattr(row, name) for row in found) for name in ("p", "cosine", "score")},
        "nearest": count(row.nearest for row in found),
        "chosen": np.array([row.chosen for row in found], dtype=bool),
    }


def _dola(pairs: Pairs) -> Columns:
    found = [step for step, _ in pairs]
    return {
        "layer": count(step.layer for step in found),
        "alive": count(step.alive for step in found),
        **{
            name: real(getattr(step, name) for step in found)
            for name in ("contrast", "final_logprob", "layer_logprob", "margin")
        },
        "finish_reason": Texts([step.finish_reason for step in found]),
    }


def _drafts(pairs: Pairs) -> Columns:
    found = [draft for _, draft in pairs]
    return {
        "draft_position": count(draft.position for draft in found),
        "verdict": Texts([draft.verdict for draft in found]),
        **{name: real(getattr(draft, name) for draft in found) for name in ("p", "q", "ratio", "draw")},
        "wanted": whole(draft.wanted for draft in found),
    }


# Kind of record -> what a step weighed, and the columns of those.
_KINDS: dict[str, tuple[Callable[[Any], Sequence[Any]], Callable[[Pairs], Columns]]] = {
    "BeamStep": (lambda step: step.candidates, _beams),
    "ContrastiveStep": (lambda step: step.rows, _contrastive),
    "DolaStep": (lambda step: (step,), _dola),
    "DraftStep": (lambda step: step.drafts, _drafts),
}


@columns.register
def _(result: Settings) -> Columns:
    return {
        "keyword": Texts([row.name for row in result.rows]),
        "value": Texts([shown(row.value) for row in result.rows]),
        "source": Texts([row.source for row in result.rows]),
    }
