"""Stages that keep the best tokens: top-k, top-p, min-p, epsilon, top-n-sigma.

Each keeps a prefix of the ranking, so they share one sort. Systems differ in what happens to equal scores
(`tie`) and in which number is compared with the threshold (`compare`); both are parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tokenglass.stages import candidates
from tokenglass.stages.base import TIES, BaseStage, Tie, require, require_whole
from tokenglass.stages.context import Context
from tokenglass.stages.ranking import best_first, reach, top
from tokenglass.stages.row import MASKED, Floats, Ids, Mask, Row

_SHORT = 512  # most nuclei are shorter


@dataclass(frozen=True)
class TopK(BaseStage):
    """Keep the k most likely tokens.

    Args:
        k: how many, >= 1; more than there are keeps all.
        min_keep: keep at least this many, >= 1.
        tie: "keep_all" keeps every token as likely as the k-th, as transformers and vLLM's CPU path do;
            "lowest_id" and "candidate_order" keep exactly k, as vLLM's Triton path and llama.cpp do.

    Raises:
        ValueError: a parameter outside its range.

    Source: Fan et al. 2018, arXiv:1805.04833.

    >>> TopK(2)([1.0, 1.0, 1.0, 0.0]).tolist(), TopK(2, tie="lowest_id")([1.0, 1.0, 1.0, 0.0]).tolist()
    ([1.0, 1.0, 1.0, -inf], [1.0, 1.0, -inf, -inf])
    """

    k: int
    min_keep: int = 1
    tie: Tie = "keep_all"
    name = "top_k"

    def __post_init__(self) -> None:
        require_whole("top_k", self.k, 1)
        require_whole("min_keep", self.min_keep, 1)
        require(self.tie in TIES, "tie", f"one of {TIES}", self.tie)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The k best."""
        k = max(self.k, self.min_keep)
        ids = row.ranked(k)
        if self.tie == "keep_all":
            # the k-th may have equals further on; a ranking that stops earlier holds everything alive
            worst = row.scores[ids[min(k, len(ids)) - 1]] if len(ids) else MASKED
            ids = ids[: int(np.searchsorted(-row.scores[ids], -worst, side="right"))]
        else:
            if self.tie == "lowest_id" and row.order is not None:
                ids = ids[best_first(row.scores[ids], ids)]
            ids = ids[:k]
        return row.kept(ids, ranked=True), state


@dataclass(frozen=True)
class TopP(BaseStage):
    """Keep the most likely tokens that together reach probability p: the nucleus.

    A token stays when the tokens ranked above it hold less than p, so the one that crosses p stays.

    Args:
        p: in [0, 1]; 0 keeps the most likely token only.
        min_keep: keep at least this many, >= 1.
        compare: "tail": the mass of a token and all ranked below it must exceed 1 - p, in float32, as
            transformers compares; "tail_float32": with 1 - p computed in float32 too, as in vLLM; "head": the
            running sum from the top, in float32, must reach p, as in llama.cpp, where p >= 1 does nothing.

    Raises:
        ValueError: a parameter outside its range.

    Source: Holtzman et al. 2019, arXiv:1904.09751. Of equal tokens at the boundary the lowest ids stay, or
    those first in candidate order; transformers promises no order there.

    >>> TopP(0.7)([2.0, 1.0, 0.0]).tolist()
    [2.0, 1.0, -inf]
    """

    p: float
    min_keep: int = 1
    compare: Literal["tail", "tail_float32", "head"] = "tail"
    name = "top_p"

    def __post_init__(self) -> None:
        require(0.0 <= self.p <= 1.0, "top_p", "in [0, 1]", self.p)
        require_whole("min_keep", self.min_keep, 1)
        require(self.compare in ("tail", "tail_float32", "head"), "compare", "tail or head", self.compare)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The nucleus."""
        if row.argmax < 0:
            return row, state
        if self.compare == "head":
            return row if self.p >= 1.0 else self._by_head(row), state
        return self._by_tail(row), state

    def _by_head(self, row: Row) -> Row:
        ids, p = row.candidates, candidates.softmax(row)
        if not candidates.counts_as_sorted(row):
            scores = row.listed
            for n in (256, 4096, len(ids)):  # most nuclei are short, and a full sort is the dearest part
                best = top(scores, n)
                if self._reached(p[best]):
                    break
            ids, p = ids[best], p[best]
        return row.kept(ids[: self._reached(p) or len(ids)], ranked=True)

    def _reached(self, p: Floats) -> int:
        """How many of p, best first, it takes to reach the mark; 0 when these do not."""
        enough = np.cumsum(p, dtype=np.float32) >= np.float32(self.p)
        enough[: self.min_keep - 1] = False
        return int(enough.argmax()) + 1 if enough.any() else 0

    def _by_tail(self, row: Row) -> Row:
        ids, p = row.probs()
        if self._cut == 0.0:  # no sum needed, and the difference of two would not come out as exactly 0
            keep = p > 0.0
            if int(np.count_nonzero(keep)) < self.min_keep:
                keep |= _among_best(row, ids, self.min_keep)
            return row.kept_where(ids, keep)
        total = float(p.sum(dtype=np.float64))
        places, are_all = _best_places(row, ids)
        n = max(self.min_keep, self._count(p[places], 0.0, total))
        if are_all or n < len(places):
            return row.kept(places[:n] if ids is None else ids[places[:n]], ranked=True)
        segment = reach(-(row.scores if ids is None else row.scores[ids]), p, total - float(self._cut))
        keep = segment.smaller
        keep[segment.indexes[: self._count(p[segment.indexes], segment.before, total)]] = True
        if int(np.count_nonzero(keep)) < self.min_keep:
            keep = _among_best(row, ids, self.min_keep)
        return row.kept_where(ids, keep)

    @property
    def _cut(self) -> np.float32:
        if self.compare == "tail_float32":
            return np.float32(1.0) - np.float32(self.p)
        return np.float32(1.0 - self.p)

    def _count(self, p: Floats, before: float, total: float) -> int:
        """How many of p, best first, stay: those with more than 1 - p from themselves downwards."""
        above = before + np.cumsum(p, dtype=np.float64) - p
        return int(np.count_nonzero((total - above).astype(np.float32) > self._cut))


@dataclass(frozen=True)
class MinP(BaseStage):
    """Drop tokens less likely than p times the most likely one.

    Args:
        p: relative threshold in [0, 1]; 0 is off. Usual range 0.01-0.2.
        min_keep: keep at least this many, >= 1.
        compare: "probs": probabilities are compared, as in transformers; "logits": the score with the best
            score plus ln p, as in llama.cpp, whose unsorted candidates keep their order.

    Raises:
        ValueError: a parameter outside its range.

    Source: Nguyen et al. 2024, arXiv:2407.01082.

    >>> from tokenglass.numbers import softmax
    >>> from tokenglass.stages.base import scores_of
    >>> softmax(MinP(0.5)(scores_of([0.5, 0.3, 0.2]))).round(3).tolist()
    [0.625, 0.375, 0.0]
    """

    p: float
    min_keep: int = 1
    compare: Literal["probs", "logits"] = "probs"
    name = "min_p"

    def __post_init__(self) -> None:
        above = self.compare == "logits" and self.p > 1.0  # llama.cpp: only the best stays
        require(above or 0.0 <= self.p <= 1.0, "min_p", "in [0, 1]", self.p)
        require_whole("min_keep", self.min_keep, 1)
        require(self.compare in ("probs", "logits"), "compare", "'probs' or 'logits'", self.compare)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The likely enough."""
        if self.p <= 0.0 or row.argmax < 0:
            return row, state
        if self.compare == "probs":
            ids, p = row.probs()
            keep = p >= np.float32(self.p) * p.max()
        else:
            ids, scores = row.values()
            with np.errstate(divide="ignore"):
                keep = scores >= scores.max() + np.log(np.float32(self.p))
        if int(np.count_nonzero(keep)) >= self.min_keep:
            return row.kept_where(ids, keep), state
        if self.compare == "probs":
            return row.kept_where(ids, keep | _among_best(row, ids, self.min_keep)), state
        # llama.cpp sorts when its first pass leaves too few, and the list stays sorted
        return row.kept(row.ranked(self.min_keep)[: self.min_keep], ranked=True), state


@dataclass(frozen=True)
class EpsilonCutoff(BaseStage):
    """Drop tokens less likely than epsilon, but not the most likely one.

    Args:
        epsilon: in (0, 1). Usual range 3e-4-9e-4.
        min_keep: the best this many, and all that equal the last of them, are never dropped.

    Raises:
        ValueError: a parameter outside its range.

    Source: Hewitt et al. 2022, arXiv:2210.15191.

    >>> from tokenglass.numbers import softmax
    >>> from tokenglass.stages.base import scores_of
    >>> softmax(EpsilonCutoff(0.25)(scores_of([0.5, 0.3, 0.2]))).round(3).tolist()
    [0.625, 0.375, 0.0]
    """

    epsilon: float
    min_keep: int = 1
    name = "epsilon_cutoff"

    def __post_init__(self) -> None:
        require(0.0 < self.epsilon < 1.0, "epsilon_cutoff", "in (0, 1)", self.epsilon)
        require_whole("min_keep", self.min_keep, 1)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The likely enough."""
        return drop_below(row, np.float32(self.epsilon), self.min_keep), state


@dataclass(frozen=True)
class TopNSigma(BaseStage):
    """Drop tokens whose score is more than n standard deviations below the best score.

    Which tokens stay does not depend on the temperature. Dropped tokens stay in the candidate list, at -inf.

    Args:
        n: > 0 and finite; how many population standard deviations of the scores above -inf.

    Raises:
        ValueError: n outside its range.

    Source: Tang et al. 2024, arXiv:2411.07641; where there is a candidate order, summed along it in
    float32, as llama.cpp does.

    >>> TopNSigma(1.0)([3.0, 2.5, 0.0, 0.0]).tolist()
    [3.0, 2.5, -inf, -inf]
    """

    n: float
    name = "top_n_sigma"

    def __post_init__(self) -> None:
        require(0.0 < self.n < np.inf, "top_n_sigma", "> 0 and finite", self.n)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The scores near enough to the best."""
        if row.argmax < 0 or row.n_candidates <= 1:
            return row, state
        alive = row.listed
        if alive.min() == MASKED:
            alive = alive[np.flatnonzero(alive > MASKED)]
        in_order = row.order is not None
        sigma = candidates.deviation(alive) if in_order else np.float32(alive.std(dtype=np.float64))
        low = alive.max() - np.float32(self.n) * sigma
        if in_order:
            near = np.flatnonzero(row.scores >= low)
            scores = np.full(len(row), MASKED)
            scores[near] = row.scores[near]
            return row.with_scores(scores, same_ranking=True, facts={"sigma": float(sigma)}), state
        ids, scores = row.values()
        return row.kept_where(ids, scores >= low, facts={"sigma": float(sigma)}), state


def drop_below(row: Row, least: np.float32, min_keep: int) -> Row:
    """Drop what is less likely than `least`, except the best `min_keep` and their equals."""
    if row.argmax < 0:
        return row
    worst = row.scores[row.argmax]
    if min_keep > 1:
        best = row.ranked(min_keep)
        worst = row.scores[best[min(min_keep, len(best)) - 1]]
    ids, p = row.probs()
    scores = row.scores if ids is None else row.scores[ids]
    return row.kept_where(ids, (p >= least) | (scores >= worst))


def _best_places(row: Row, ids: Ids | None) -> tuple[Ids, bool]:
    """Where the best of `values` stand in it, best first, and whether these are all of them."""
    if ids is not None and row.order is not None:
        return best_first(row.scores[ids]), True
    if ids is not None and row.ranks(ids):
        return np.arange(len(ids)), True
    if row.order is not None:
        return np.arange(0), False
    best = row.ranked(_SHORT)
    return best if ids is None else np.searchsorted(ids, best), False


def _among_best(row: Row, ids: Ids | None, n: int) -> Mask:
    """Which of `values` are the n best."""
    best = np.zeros(len(row), dtype=np.bool_)
    best[row.ranked(n)[:n]] = True
    return best if ids is None else best[ids]
