"""The scores that a step does not keep one by one: how many of them lie where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 256
_WIDEST, _NARROWEST = 1e30, 1e-30  # beyond these float32 cannot tell the bins apart


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """A histogram of the scores below the likeliest tokens, in bins of equal width.

    A score may stand in the bin beside its own where it lies within a thousandth of a bin from the edge.

    Attributes:
        low: the least finite score.
        high: the least score of the likeliest tokens; none of these lies above it.
        counts: (BINS,) how many lie in each bin from `low` to `high`; (0,) where there are none at all.
            Scores of -inf are not counted: their tokens have no probability.
    """

    low: float
    high: float
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, scores: NDArray[np.float32], head: NDArray[np.float32]) -> Tail | None:
        """The tail of a row.

        Args:
            scores: (V,) all of them.
            head: (M,) the largest, best first.

        Returns:
            The histogram, or None where the scores lie too far apart for one, or are no numbers.

        >>> tail = Tail.of(np.array([0, 3, 9, 1, -np.inf], np.float32), np.array([9, 3], np.float32))
        >>> tail.low, tail.high, int(tail.counts.sum())
        (0.0, 3.0, 2)
        """
        low = float(scores.min())
        if low == -np.inf:
            scores, head = scores[scores > -np.inf], head[head > -np.inf]
            low = float(scores.min())
        high = float(head[-1])
        if len(scores) == len(head):
            return cls(high, high, np.zeros(0, np.int64))
        width = high - low
        if not width < _WIDEST:
            return None
        scaled = scores - np.float32(low)
        scaled *= np.float32(BINS / width if width > _NARROWEST else 0.0)
        last = np.float32(BINS - 1 if width > _NARROWEST else 0)
        np.minimum(scaled, last, out=scaled)  # puts the head into the last bin, from which it is taken again
        counts = np.bincount(scaled.astype(np.intp), minlength=BINS)
        counts[int(last)] -= len(head)
        return cls(low, high, counts)
