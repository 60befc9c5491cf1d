"""A row of scores on its way through the chain: immutable, full width, masked entries -inf.

Knows nothing about tokens, models or any system's rules. Every change makes a new row through one of a few
operations (`replaced`, `masked`, `kept`, `with_scores` ...), which hand on what is still true of the order
and the sums, so that one sort and one pass of exponentials serve a whole chain.

Two kinds of row:

- plain: every id is a candidate until its score is -inf; of equal scores the lower id ranks first;
- with candidates: `order` lists the ids as llama.cpp's candidate array does. Truncation removes ids from it
  (their scores are -inf too), sorting reorders it, and `is_sorted` is llama.cpp's flag of the same meaning:
  the order is taken for a ranking, even where a later stage made that untrue, because llama.cpp does so.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import isfinite
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenglass.stages.ranking import best_first, top
from tokenglass.stages.sums import Moments, Weights, moments_of, no_moments, weigh

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Domain = Literal["logits", "logprobs"]

MASKED = np.float32(-np.inf)
NO_FACTS: Mapping[str, float] = MappingProxyType({})
_FIRST_HEAD = 128
_FEW = 1024  # so many alive are worth sorting
_THIN = 4  # one alive in so many is worth a list


class Head(NamedTuple):
    """The best ids of a plain row, best first, equal scores by id.

    Every id outside scores strictly less than the last one here; `complete`: every id outside is masked.
    """

    ids: Ids
    complete: bool

    def rescored(self, scores: Floats) -> Head | None:
        """The head under new scores that let no id overtake another; None where nothing of it is sure."""
        # rounding can make scores equal that were not, and then the lower id ranks first
        ids = self.ids[scores[self.ids] > MASKED]
        ids = ids[best_first(scores[ids], ids)]
        if not self.complete and len(ids):  # an id outside may have come up to the last of it
            ids = ids[scores[ids] > scores[ids[-1]]]
        return Head(ids, self.complete) if len(ids) or self.complete else None


@lru_cache(maxsize=8)
def every_id(size: int) -> Ids:
    """The ids 0 .. size - 1, read-only, one array for each vocabulary size."""
    ids = np.arange(size, dtype=np.int64)
    ids.flags.writeable = False
    return ids


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Row:
    """Scores of one step. Make one with `Row.of`; treat every array in it as read-only.

    Attributes:
        scores: (V,) float32, full width; masked and dropped entries are -inf.
        order: candidate ids in llama.cpp's order, dropped ones absent; None in a plain row.
        is_sorted: the order counts as best first.
        domain: "logits", or "logprobs" where the scores are log-probabilities (beam search, renormalised).
        facts: numbers the last stage wants on record, such as the temperature it arrived at.
    """

    scores: Floats
    order: Ids | None = None
    is_sorted: bool = False
    domain: Domain = "logits"
    facts: Mapping[str, float] = field(default_factory=lambda: NO_FACTS)
    _head: Head | None = field(default=None, repr=False)
    _alive: Ids | None = field(default=None, repr=False)  # in a plain row: ascending, all others are masked
    _moments: Moments | None = field(default=None, repr=False)
    _origin: tuple[weakref.ref[Row], Ids] | None = field(default=None, repr=False)
    _weights: Weights | None = field(default=None, init=False, repr=False)
    _argmax: int | None = field(default=None, init=False, repr=False)

    @classmethod
    def of(cls, scores: ArrayLike, *, candidates: bool = False, domain: Domain = "logits") -> Row:
        """A fresh row from (V,) scores; `candidates` gives it an order, which starts as 0 .. V - 1.

        A float32 array is not copied: it must not change while the row is in use.

        Raises:
            ValueError: not one-dimensional, or empty.
        """
        array = np.asarray(scores, dtype=np.float32).view()
        if array.ndim != 1 or not len(array):
            raise ValueError(f"scores must have shape (V,) with V >= 1, got {array.shape}")
        array.flags.writeable = False
        return cls(array, every_id(len(array)) if candidates else None, domain=domain)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        candidates = "" if self.order is None else f", {len(self.order)} candidates"
        return f"<Row of {len(self.scores)} {self.domain}{candidates}, best id {self.argmax}>"

    # What is known of the row ---------------------------------------------------------------------------

    @property
    def few(self) -> Ids | None:
        """The only ids that can be alive, where a list shorter than the vocabulary is at hand, else None.

        Best first where the row has a complete ranking, in candidate order where it has one, else ascending.
        """
        ids = self._head.ids if self._head is not None and self._head.complete else self.order
        ids = self._alive if ids is None else ids
        return ids if ids is not None and len(ids) < len(self.scores) else None

    def ranks(self, ids: Ids | None) -> bool:
        """Whether `ids`, as `values` or `probs` gave them, stand best first in a plain row."""
        return self._head is not None and self._head.complete and ids is self._head.ids

    @property
    def candidates(self) -> Ids:
        """The candidate ids: the order of a row that has one, else the ids alive, ascending."""
        if self.order is not None:
            return self.order
        return np.flatnonzero(self.scores > MASKED)

    @property
    def listed(self) -> Floats:
        """The scores of `candidates`, in that order."""
        if self.order is None or self.order is every_id(len(self.scores)):
            return self.scores if self.order is not None else self.scores[self.candidates]
        return self.scores[self.order]

    @property
    def n_candidates(self) -> int:
        """How many candidates there are."""
        return self.moments.alive if self.order is None else len(self.order)

    def values(self) -> tuple[Ids | None, Floats]:
        """(ids, their scores) of the few that can be alive, or (None, all scores)."""
        ids = self.few
        return (None, self.scores) if ids is None else (ids, self.scores[ids])

    @property
    def weights(self) -> Weights:
        """Exponentials of `values`, computed once; of a row in which something is alive."""
        if self._weights is None:
            object.__setattr__(self, "_weights", weigh(*self.values(), self._best))
        assert self._weights is not None
        return self._weights

    def probs(self) -> tuple[Ids | None, Floats]:
        """(ids, p) as `values`: softmax with float32 exponentials and a float64 sum rounded to float32."""
        return self.weights.ids, self.weights.probs

    @property
    def moments(self) -> Moments:
        """Sums over the row, computed once."""
        if self._moments is None:
            best = self._best
            found = moments_of(self.weights) if isfinite(best) else no_moments(self.values()[1], best)
            object.__setattr__(self, "_moments", found)
        assert self._moments is not None
        return self._moments

    @property
    def argmax(self) -> int:
        """Id of the largest score, the lowest id on ties; -1 when nothing is alive."""
        if self._argmax is None:
            best = int(self.scores.argmax())
            object.__setattr__(self, "_argmax", -1 if self.scores[best] == MASKED else best)
        assert self._argmax is not None
        return self._argmax

    @property
    def _best(self) -> np.float32:
        """The largest score, or a NaN among the scores; -inf when nothing is alive."""
        return MASKED if self.argmax < 0 else self.scores[self.argmax]

    def ranked(self, n: int) -> Ids:
        """At least n ids best first, or all candidates; every id outside scores less than the last.

        Equal scores stand in order of id in a plain row, in candidate order in a row that has one. In a row
        that counts as sorted the whole order is returned, as it stands.
        """
        if self.order is not None:
            return self.order if self.is_sorted else self.order[top(self.listed, n)]
        if self._head is None or not (self._head.complete or len(self._head.ids) >= n):
            object.__setattr__(self, "_head", self._ranking(max(n, _FIRST_HEAD)))
        assert self._head is not None
        return self._head.ids

    def _ranking(self, n: int) -> Head:
        listed, values = self.values()
        best = top(values, n)
        complete = len(best) == len(values)
        if values[best[-1]] == MASKED:
            best, complete = best[: np.searchsorted(-values[best], np.inf)], True
        return Head(best if listed is None else listed[best], complete)

    def touched_since(self, before: Row) -> Ids | None:
        """The only ids whose scores can differ from `before`'s, where this row was made so, else None."""
        return self._origin[1] if self._origin is not None and self._origin[0]() is before else None

    # New rows -------------------------------------------------------------------------------------------

    def noted(self, facts: Mapping[str, float]) -> Row:
        """The same row with facts to record."""
        return Row(
            self.scores,
            self.order,
            self.is_sorted,
            self.domain,
            facts,
            self._head,
            self._alive,
            self._moments,
            (weakref.ref(self), np.empty(0, dtype=np.int64)),
        )

    def with_scores(
        self,
        scores: Floats,
        *,
        domain: Domain | None = None,
        same_ranking: bool = False,
        facts: Mapping[str, float] = NO_FACTS,
    ) -> Row:
        """New scores for all ids; candidates stay. `same_ranking`: no id overtook another."""
        head = self._head.rescored(scores) if same_ranking and self._head is not None else None
        alive = self._alive if same_ranking else None
        is_sorted = self.is_sorted and same_ranking
        return Row(_frozen(scores), self.order, is_sorted, domain or self.domain, facts, head, alive)

    def replaced(
        self,
        ids: Ids,
        values: Floats,
        *,
        is_sorted: bool | None = None,
        facts: Mapping[str, float] = NO_FACTS,
    ) -> Row:
        """New scores for distinct `ids`; candidates and, unless said otherwise, the sorted flag stay."""
        scores = self.scores.copy()
        scores[ids] = values
        sums = self._moments
        if sums is not None:
            sums = sums.after(self.scores[ids], values) if len(ids) <= len(scores) // 8 else None
        return Row(
            _frozen(scores),
            self.order,
            self.is_sorted if is_sorted is None else is_sorted,
            self.domain,
            facts,
            None,
            None,
            sums,
            (weakref.ref(self), ids),
        )

    def masked(self, ids: Ids, facts: Mapping[str, float] = NO_FACTS) -> Row:
        """Distinct `ids` at -inf; they stay candidates where there is an order."""
        row = self.replaced(ids, np.full(len(ids), MASKED), facts=facts)
        if self._head is not None:
            left = self._head.ids[row.scores[self._head.ids] > MASKED]
            if len(left) or self._head.complete:
                object.__setattr__(row, "_head", Head(left, self._head.complete))
        object.__setattr__(row, "_alive", self._alive)
        return row

    def kept(self, ids: Ids, *, ranked: bool, facts: Mapping[str, float] = NO_FACTS) -> Row:
        """Only `ids` stay, all others are dropped; `ranked`: they are given best first.

        In a row with candidates they become the order.
        """
        scores = np.full(len(self.scores), MASKED)
        scores[ids] = self.scores[ids]
        if self.order is not None:
            return Row(_frozen(scores), ids, ranked, self.domain, facts)
        row = Row(_frozen(scores), None, False, self.domain, facts, Head(ids, True) if ranked else None)
        if ranked and len(ids) and isfinite(scores[ids[0]]):
            object.__setattr__(row, "_argmax", int(ids[0]))
        return row

    def kept_where(self, ids: Ids | None, keep: Mask, facts: Mapping[str, float] = NO_FACTS) -> Row:
        """What `values` listed stays where `keep` is true; the candidates keep their order."""
        if self.order is not None:
            left = self.order[keep[self.order]] if ids is None else ids[keep]
            return self.kept(left, ranked=self.is_sorted, facts=facts)
        if ids is None and _THIN * int(np.count_nonzero(keep)) > len(keep) > _THIN * _FEW:
            scores, alive = np.where(keep, self.scores, MASKED), None
        else:
            alive = np.flatnonzero(keep)
            alive = alive if ids is None else ids[alive]
            if self.ranks(ids):
                return self.kept(alive, ranked=True, facts=facts)
            alive = alive[self.scores[alive] > MASKED]
            values = self.scores[alive]
            if len(alive) <= _FEW:
                return self.kept(alive[best_first(values)], ranked=True, facts=facts)
            scores = np.full(len(self.scores), MASKED)
            scores[alive] = values
        head = self._head
        if head is not None:
            left = head.ids[scores[head.ids] > MASKED]
            # where the last of the head went, ids outside may have gone too: what is left is still the best
            head = Head(left, head.complete) if len(left) else None
        return Row(_frozen(scores), None, False, self.domain, facts, head, alive)


def _frozen(scores: Floats) -> Floats:
    scores.flags.writeable = False
    return scores
