"""Stages whose threshold follows the entropy: locally typical, eta and top-H sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenglass.stages import candidates
from tokenglass.stages.base import BaseStage, Tie, require, require_whole
from tokenglass.stages.context import Context
from tokenglass.stages.ranking import best_first, reach
from tokenglass.stages.row import MASKED, Floats, Ids, Row
from tokenglass.stages.truncation import drop_below


@dataclass(frozen=True)
class TypicalP(BaseStage):
    """Keep the tokens whose surprise is nearest to the entropy, until they hold probability p.

    The most likely token may be dropped: it can be too predictable.

    Args:
        p: in (0, 1). Usual range 0.2-0.95.
        min_keep: keep at least this many, >= 1.
        tie: "keep_all" stops at the first token with which the sum reaches p and keeps all equally typical
            ones, as transformers does; "candidate_order" stops at the first with which it exceeds p and
            leaves the list in order of typicality, as llama.cpp does.

    Raises:
        ValueError: a parameter outside its range.

    Source: Meister et al. 2022, arXiv:2202.00666.

    >>> from tokenglass.numbers import softmax
    >>> from tokenglass.stages.base import scores_of
    >>> softmax(TypicalP(0.5)(scores_of([0.4, 0.2, 0.2, 0.2]))).round(3).tolist()
    [0.0, 0.333, 0.333, 0.333]
    """

    p: float
    min_keep: int = 1
    tie: Tie = "keep_all"
    name = "typical_p"

    def __post_init__(self) -> None:
        require(0.0 < self.p < 1.0, "typical_p", "in (0, 1)", self.p)
        require_whole("min_keep", self.min_keep, 1)
        require(
            self.tie in ("keep_all", "candidate_order"), "tie", "'keep_all' or 'candidate_order'", self.tie
        )

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The typical ones."""
        if row.argmax < 0:
            return row, state
        return (self._with_ties(row) if self.tie == "keep_all" else self._in_order(row)), state

    def _with_ties(self, row: Row) -> Row:
        known = row.weights
        p, surprise = known.probs, np.log(np.float32(known.total)) - (known.values - known.best)
        with np.errstate(invalid="ignore"):
            terms = p * surprise
        np.fmax(terms, np.float32(0.0), out=terms)  # a masked token's, which is 0 * inf, is 0
        entropy = np.float32(terms.sum(dtype=np.float64))
        distance = np.abs(surprise - entropy)
        segment = reach(distance, p, self.p)
        running = (segment.before + np.cumsum(p[segment.indexes], dtype=np.float64)).astype(np.float32)
        last = min(int(np.count_nonzero(running < np.float32(self.p))), len(running) - 1)
        keep = distance <= distance[segment.indexes[last]]
        if int(np.count_nonzero(keep)) < self.min_keep:
            keep[np.argsort(distance, kind="stable")[: self.min_keep]] = True
        return row.kept_where(
            known.ids, keep & (known.values > MASKED), facts={"entropy_nats": float(entropy)}
        )

    def _in_order(self, row: Row) -> Row:
        ids = candidates.best_first_of(row)
        p = candidates.softmax_of(row.scores[ids])
        entropy = candidates.entropy_of(p)
        likely = np.flatnonzero(p > 0.0)
        typical = likely[best_first(-np.abs(-candidates.logs_of(p[likely]) - entropy))]
        running = np.cumsum(p[typical], dtype=np.float32)
        n = len(ids)
        if running[-1] > np.float32(self.p):
            n = max(int(np.count_nonzero(running <= np.float32(self.p))) + 1, self.min_keep)
        if n > len(typical):  # tokens of probability 0 are the least typical, and equally so
            typical = np.concatenate([typical, np.flatnonzero(p <= 0.0)])
        return row.kept(ids[typical[:n]], ranked=False, facts={"entropy_nats": float(entropy)})


@dataclass(frozen=True)
class EtaCutoff(BaseStage):
    """Drop tokens less likely than min(epsilon, sqrt(epsilon) exp(-entropy)), but not the most likely one.

    Args:
        epsilon: in (0, 1). Usual range 3e-4-2e-3.
        min_keep: the best this many, and all that equal the last of them, are never dropped.

    Raises:
        ValueError: a parameter outside its range.

    Source: Hewitt et al. 2022, arXiv:2210.15191.

    >>> from tokenglass.numbers import softmax
    >>> from tokenglass.stages.base import scores_of
    >>> softmax(EtaCutoff(0.0625)(scores_of([0.01, 0.04, 0.9, 0.05]))).round(3).tolist()
    [0.0, 0.0, 1.0, 0.0]
    """

    epsilon: float
    min_keep: int = 1
    name = "eta_cutoff"

    def __post_init__(self) -> None:
        require(0.0 < self.epsilon < 1.0, "eta_cutoff", "in (0, 1)", self.epsilon)
        require_whole("min_keep", self.min_keep, 1)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The likely enough."""
        nats = np.float32(row.moments.entropy_bits * np.log(2.0))
        epsilon = np.float32(self.epsilon)
        eta = min(epsilon, np.sqrt(epsilon) * np.exp(-nats))
        return drop_below(row, eta, self.min_keep), state


@dataclass(frozen=True)
class TopH(BaseStage):
    """Keep the most likely tokens while their share of the entropy stays within h.

    Of the best 100, renormalised among themselves, tokens stay while the running sum of -p ln p is at most h
    times their entropy; the first always stays, and nothing past the hundredth does. That is what
    transformers computes. The paper bounds the entropy of the renormalised kept tokens, which keeps more.

    Args:
        h: in (0, 1].

    Raises:
        ValueError: h outside its range.

    Source: Potraghloo et al. 2025, arXiv:2509.02510.

    >>> from tokenglass.numbers import softmax
    >>> from tokenglass.stages.base import scores_of
    >>> softmax(TopH(0.6)(scores_of([0.5, 0.3, 0.1, 0.1]))).round(3).tolist()
    [1.0, 0.0, 0.0, 0.0]
    """

    h: float
    name = "top_h"
    _BEST = 100

    def __post_init__(self) -> None:
        require(0.0 < self.h <= 1.0, "top_h", "in (0, 1]", self.h)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The best that stay within the share."""
        if row.argmax < 0:
            return row, state
        ids = _best(row, self._BEST)
        scores = row.scores[ids]
        # the steps and roundings of torch's Categorical, because h = 1 stands at a boundary by itself
        with np.errstate(over="ignore"):
            total = np.exp(scores - scores[0]).sum(dtype=np.float64)
            logprobs = scores - (scores[0] + np.float32(np.log(total)))
        weights = np.exp(logprobs - logprobs[0])
        p = weights / np.float32(weights.sum(dtype=np.float64))
        # a token of probability 0 has no -p ln p in float32, and neither has anything after it
        p = p[: int(np.count_nonzero(p))]
        share = np.cumsum(-p * np.log(p), dtype=np.float64).astype(np.float32)
        entropy = np.float32(-(p * logprobs[: len(p)]).sum(dtype=np.float64))
        keep = share <= entropy * np.float32(self.h)
        keep[0] = True
        return row.kept(ids[: len(p)][keep], ranked=True, facts={"entropy_nats": float(entropy)}), state


def _best(row: Row, n: int) -> Ids:
    """Exactly the n best, or all there are."""
    ids = row.ranked(n)[:n]
    scores: Floats = row.scores[ids]
    return ids[scores > MASKED]
