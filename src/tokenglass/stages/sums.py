"""One pass of exponentials over scores, and the sums that follow from it.

Knows nothing about rows or stages: arrays in, numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, nan
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenglass.numbers import LN2

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]

_MASKED = np.float32(-np.inf)
_FLOOR = np.float32(-1e4)  # far below float32's smallest exponent: a shift past it has weight 0


class Weights(NamedTuple):
    """Weights of the scores that can be alive, relative to the best one.

    Attributes:
        ids: which ids they belong to; None for all.
        values: the scores.
        best: the largest score, whose weight is 1.
        shift: score - best, float32.
        weights: exp(shift), float32.
        total: float64 sum of the weights.
    """

    ids: Ids | None
    values: Floats
    best: np.float32
    shift: Floats
    weights: Floats
    total: float

    @property
    def probs(self) -> Floats:
        """Softmax: the weights over their sum rounded to float32."""
        return self.weights / np.float32(self.total)


def weigh(ids: Ids | None, values: Floats, best: np.float32) -> Weights:
    """The weights of scores of which `best` is the largest, and finite."""
    with np.errstate(over="ignore"):  # scores as far apart as float32 goes: the lower weighs nothing
        shift = values - best
        weights = np.exp(shift)
    return Weights(ids, values, best, shift, weights, float(weights.sum(dtype=np.float64)))


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
        # the sum is one of float32 weights: where the reference went (`after`), the weight that is nearly
        # all of it is off by less than 1e-6
        return np.minimum(np.exp(scores - self.reference) / self.total, 1.0)

    def after(self, old: Floats, new: Floats) -> Moments | None:
        """Moments with a few scores changed, or None where only a fresh sum is exact enough."""
        if not self.total > 0.0:
            return None
        with np.errstate(over="ignore"):
            old, new = old - np.float32(self.reference), new - np.float32(self.reference)
        if len(new) and not new.max() < 8.0:  # also NaN: a new leader needs a new reference
            return None
        old_w, new_w = np.exp(old), np.exp(new)
        total = self.total - float(old_w.sum(dtype=np.float64)) + float(new_w.sum(dtype=np.float64))
        if total < 0.01 * self.total:  # the difference of near-equal sums has lost its digits
            return None
        weighted = self.weighted - float(np.dot(old_w, np.maximum(old, _FLOOR)))
        weighted += float(np.dot(new_w, np.maximum(new, _FLOOR)))
        gone = int(np.count_nonzero(old > _MASKED)) - int(np.count_nonzero(new > _MASKED))
        return Moments(self.reference, total, weighted, self.alive - gone)


def no_moments(values: Floats, best: np.float32) -> Moments:
    """The moments of scores without a distribution: none is alive, or `best` is NaN or +inf."""
    if best == _MASKED:
        return Moments(-inf, 0.0, 0.0, 0)
    return Moments(nan, nan, nan, int(np.count_nonzero(values > _MASKED)))


def moments_of(weighed: Weights) -> Moments:
    """The moments that follow from the weights of scores with a distribution."""
    shift, alive = weighed.shift, len(weighed.shift)
    lowest = float(shift.min())
    if lowest < float(_FLOOR):  # 0 * -inf would be NaN
        if lowest == _MASKED:
            alive = int(np.count_nonzero(weighed.values > _MASKED))
        shift = np.maximum(shift, _FLOOR)
    return Moments(float(weighed.best), weighed.total, float(np.dot(weighed.weights, shift)), alive)
