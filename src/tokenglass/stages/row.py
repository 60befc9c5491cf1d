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
from math import inf, isfinite, log, nan
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenglass.numbers import LN2
from tokenglass.stages.ranking import best_first, top

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Domain = Literal["logits", "logprobs"]

MASKED = np.float32(-np.inf)
NO_FACTS: Mapping[str, float] = MappingProxyType({})
_FIRST_HEAD = 128
_FEW = 1024  # so many alive are worth sorting: later stages then look at nothing else


class Head(NamedTuple):
    """The best ids of a plain row, best first, equal scores by id.

    Every id outside scores strictly less than the last one here; `complete`: every id outside is masked.
    """

    ids: Ids
    complete: bool


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over a row from which its normaliser and entropy follow.

    Attributes:
        reference: the score whose weight is 1.
        total: sum of exp(score - reference).
        weighted: sum of exp(score - reference) * (score - reference).
        alive: number of scores above -inf.
    """

    reference: float
    total: float
    weighted: float
    alive: int

    @property
    def logsumexp(self) -> float:
        """Ln of the sum of exp(score); -inf when nothing is alive, NaN when a score is NaN or +inf."""
        return self.reference + log(self.total) if self.total > 0.0 else self.reference

    @property
    def entropy_bits(self) -> float:
        """Entropy of the softmax in bits; 0 when nothing is alive, NaN when a score is NaN or +inf."""
        if not self.total > 0.0:
            return self.total
        return max(0.0, (log(self.total) - self.weighted / self.total) / LN2)

    def probs(self, scores: ArrayLike) -> Doubles:
        """Float64 probabilities of tokens with these scores; NaN where there is no distribution.

        Not by way of `logsumexp`, in which the logarithm would vanish beside a reference of 1e38.
        """
        scores = np.asarray(scores, dtype=np.float64)
        if not self.total > 0.0:
            return np.full(scores.shape, self.total)
        return np.exp(scores - self.reference) / self.total


def _moments(values: Floats) -> Moments:
    reference = float(values.max()) if len(values) else -inf
    if reference == -inf:
        return Moments(-inf, 0.0, 0.0, 0)
    if not isfinite(reference):
        return Moments(nan, nan, nan, int(np.count_nonzero(values > MASKED)))
    shift = values - np.float32(reference)
    weights = np.exp(shift)
    # 0 * -inf would be NaN; far below float32's smallest exponent a shift adds nothing, whatever its value
    np.maximum(shift, np.float32(-1e4), out=shift)
    return Moments(
        reference,
        float(weights.sum(dtype=np.float64)),
        float(np.dot(weights, shift)),
        int(np.count_nonzero(values > MASKED)),
    )


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
    _moments: Moments | None = field(default=None, repr=False)
    _origin: tuple[weakref.ref[Row], Ids] | None = field(default=None, repr=False)

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
        """The only ids that can be alive, where a list shorter than the vocabulary is at hand, else None."""
        ids = self._head.ids if self._head is not None and self._head.complete else self.order
        return ids if ids is not None and len(ids) < len(self.scores) else None

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

    def probs(self) -> tuple[Ids | None, Floats]:
        """(ids, p) as `values`: softmax with float32 exponentials and a float64 sum rounded to float32."""
        ids, values = self.values()
        weights = np.exp(values - values.max())
        return ids, weights / np.float32(weights.sum(dtype=np.float64))

    @property
    def moments(self) -> Moments:
        """Sums over the row, computed once."""
        if self._moments is None:
            object.__setattr__(self, "_moments", _moments(self.values()[1]))
        assert self._moments is not None
        return self._moments

    @property
    def argmax(self) -> int:
        """Id of the largest score, the lowest id on ties; -1 when nothing is alive."""
        best = int(self.scores.argmax())
        return -1 if self.scores[best] == MASKED else best

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
        ids = top(self.scores, n)
        if self.scores[ids[-1]] == MASKED:
            ids = ids[: np.searchsorted(-self.scores[ids], np.inf)]
            return Head(ids, True)
        return Head(ids, len(ids) == len(self.scores))

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
        head = self._head if same_ranking and self._head is not None and self._head.complete else None
        if head is not None:
            # rounding can make scores equal that were not, and then the lower id ranks first
            ids = head.ids[scores[head.ids] > MASKED]
            head = Head(ids[best_first(scores[ids], ids)], True)
        is_sorted = self.is_sorted and same_ranking
        return Row(_frozen(scores), self.order, is_sorted, domain or self.domain, facts, head)

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
        return Row(
            _frozen(scores),
            self.order,
            self.is_sorted if is_sorted is None else is_sorted,
            self.domain,
            facts,
            None,
            self._moments_after(ids, values),
            (weakref.ref(self), ids),
        )

    def masked(self, ids: Ids, facts: Mapping[str, float] = NO_FACTS) -> Row:
        """Distinct `ids` at -inf; they stay candidates where there is an order."""
        row = self.replaced(ids, np.full(len(ids), MASKED), facts=facts)
        if self._head is not None:
            left = self._head.ids[row.scores[self._head.ids] > MASKED]
            if len(left) or self._head.complete:
                object.__setattr__(row, "_head", Head(left, self._head.complete))
        return row

    def kept(self, ids: Ids, *, ranked: bool, facts: Mapping[str, float] = NO_FACTS) -> Row:
        """Only `ids` stay, all others are dropped; `ranked`: they are given best first.

        In a row with candidates they become the order.
        """
        scores = np.full(len(self.scores), MASKED)
        scores[ids] = self.scores[ids]
        if self.order is not None:
            return Row(_frozen(scores), ids, ranked, self.domain, facts)
        head = Head(ids, True) if ranked else None
        return Row(_frozen(scores), None, False, self.domain, facts, head)

    def kept_where(self, ids: Ids | None, keep: Mask, facts: Mapping[str, float] = NO_FACTS) -> Row:
        """What `values` listed stays where `keep` is true; the candidates keep their order."""
        if ids is not None:
            return self.kept(ids[keep], ranked=self.order is None or self.is_sorted, facts=facts)
        if self.order is None and int(np.count_nonzero(keep)) <= _FEW:
            left = np.flatnonzero(keep & (self.scores > MASKED))
            return self.kept(left[best_first(self.scores[left])], ranked=True, facts=facts)
        scores = np.where(keep, self.scores, MASKED)
        if self.order is not None:
            return Row(_frozen(scores), self.order[keep[self.order]], self.is_sorted, self.domain, facts)
        head = self._head
        if head is not None:
            left = head.ids[keep[head.ids]]
            # where the last of the head went, ids outside may have gone too: what is left is still the best
            head = Head(left, head.complete) if len(left) else None
        return Row(_frozen(scores), None, False, self.domain, facts, head)

    def _moments_after(self, ids: Ids, values: Floats) -> Moments | None:
        """Moments with a few scores changed, or None where a fresh sum is needed to be exact."""
        was = self._moments
        if was is None or not was.total > 0.0 or len(ids) > len(self.scores) // 8:
            return None
        old, new = self.scores[ids] - np.float32(was.reference), values - np.float32(was.reference)
        if len(ids) and not new.max() < 20.0:  # also NaN: a new leader needs a new reference
            return None
        old_w, new_w = np.exp(old), np.exp(new)
        total = was.total - float(old_w.sum(dtype=np.float64)) + float(new_w.sum(dtype=np.float64))
        if total < 0.01 * was.total:  # the difference of near-equal sums has lost its digits
            return None
        low = np.float32(-1e4)
        weighted = was.weighted - float(np.dot(old_w, np.maximum(old, low)))
        weighted += float(np.dot(new_w, np.maximum(new, low)))
        gone = int(np.count_nonzero(old > MASKED)) - int(np.count_nonzero(new > MASKED))
        return Moments(was.reference, total, weighted, was.alive - gone)


def _frozen(scores: Floats) -> Floats:
    scores.flags.writeable = False
    return scores
