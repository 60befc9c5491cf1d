"""How far two distributions lie apart at least and at most, where a server shows only its likeliest tokens.

Let the outcomes that both sides know stand alone, and put all others into one. No divergence is below that
of these coarser distributions (the data processing inequality), which gives the least. Most is what it would
be if the masses that remain lay on different outcomes. KL has no such end where b may give next to nothing to
what a allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, inf, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.comparing.measures import LN2, LogProbs, Namer, difference, js_bits, shift
from tokenglass.types import Listing, Token
from tokenglass.types.comparison import Bounds, Difference

# What is not listed is one minus what is: off by as much as sums of listed probabilities are, which servers
# compute in float32 (docs/servers.md: 5e-4 on log-probabilities).
ROUNDING = 5e-4


@dataclass(frozen=True)
class Known:
    """What is known of a distribution.

    Attributes:
        logs: (outcomes,) natural logs of probabilities, NaN where nobody says.
        at_most: probability that none of those exceeds; 0.0 where all are known.
    """

    logs: LogProbs
    at_most: float = 0.0

    @classmethod
    def listed(cls, listing: Listing, size: int) -> Known:
        """Of a server's list."""
        logs = np.full(size, np.nan)
        logs[listing.ids] = listing.logprobs
        return cls(logs, listing.p_at_most if len(listing.ids) < size else 0.0)

    @property
    def is_whole(self) -> bool:
        """Whether every probability is known."""
        return self.at_most == 0.0

    @property
    def coverage(self) -> float:
        """Share of the probability that is known."""
        return 1.0 if self.is_whole else min(1.0, float(np.nansum(np.exp(self.logs))))


def differing(
    indices: tuple[int, int],
    token: Token,
    a: Known,
    b: Known,
    name: Namer,
    n: int,
    offset: int | None = None,
) -> Difference:
    """All numbers of one position; see `measures.difference`, which has them where both sides are whole."""
    if a.is_whole and b.is_whole:
        return difference(indices, token, a.logs, b.logs, name, n, offset)
    moved = _surely_moved(a, b)
    movers = [int(i) for i in numbers.top_n(moved, n) if moved[i] > 0.0]
    tops = (int(np.nanargmax(side.logs)) for side in (a, b))
    top_a, top_b = (shift(i, a.logs, b.logs, name) for i in tops)
    found = tuple(shift(i, a.logs, b.logs, name) for i in movers)
    none = (None, None, None, None)
    return Difference(*indices, token, *none, top_a, top_b, found, offset, bounds(a, b))


def bounds(a: Known, b: Known) -> Bounds:
    """The least and the most that each measure can be.

    >>> even = Known(np.log([0.5, 0.3, np.nan, np.nan]), 0.3)
    >>> other = Known(np.log([0.5, 0.4, np.nan, np.nan]), 0.4)
    >>> [round(x, 3) for x in bounds(even, other).tv]
    [0.1, 0.2]
    """
    both = ~(np.isnan(a.logs) | np.isnan(b.logs))
    log_a, log_b = a.logs[both], b.logs[both]
    p, q = np.exp(log_a), np.exp(log_b)
    rest_a, rest_b = max(0.0, 1.0 - float(p.sum())), max(0.0, 1.0 - float(q.sum()))
    loose = min(1.0, (rest_a + rest_b) / 2 + ROUNDING)
    apart = float(np.abs(p - q).sum()) / 2
    close_a, close_b = _closest(rest_a, rest_b)
    known = js_bits(log_a, log_b)
    return Bounds(
        (_kl_least(p, q, log_a, log_b, rest_a, rest_b), _kl_most(a, b, both)),
        (_kl_least(q, p, log_b, log_a, rest_b, rest_a), _kl_most(b, a, both)),
        (_within(known + _js_of(close_a, close_b)), _within(known + loose)),
        (_within(apart + abs(close_a - close_b) / 2), _within(apart + loose)),
        a.coverage,
        b.coverage,
    )


def _within(x: float) -> float:
    return min(1.0, max(0.0, x))


def _closest(a: float, b: float) -> tuple[float, float]:
    """Two masses as near to each other as rounding allows."""
    if abs(a - b) <= 2 * ROUNDING:
        return max(a, b), max(a, b)
    return (a - ROUNDING, b + ROUNDING) if a > b else (a + ROUNDING, b - ROUNDING)


def _js_of(p: float, q: float) -> float:
    """What one outcome adds to the Jensen-Shannon divergence, in bits."""
    halves = (x * log2(2.0 * x / (p + q)) for x in (p, q) if x > 0.0)
    return sum(halves) / 2.0


def _kl_least(
    p: NDArray[Any], q: NDArray[Any], log_p: LogProbs, log_q: LogProbs, rest_p: float, rest_q: float
) -> float:
    """KL in bits with all outcomes that are not known to both put into one."""
    alive = p > 0.0
    if not (q[alive] > 0.0).all():
        return inf
    known = float(np.dot(p[alive], (log_p - log_q)[alive])) / LN2
    most = rest_q + ROUNDING
    rest = min(max(most / e, rest_p - ROUNDING, 0.0), rest_p + ROUNDING)  # where x log(x / most) is smallest
    return max(0.0, known + rest * log2(rest / most))


def _kl_most(a: Known, b: Known, both: NDArray[np.bool_]) -> float:
    """KL(a||b) at most: endless unless all of b is known, and then as if a's rest lay where b has least."""
    if not b.is_whole:
        return inf
    listed = a.logs[both]
    alive = listed > -inf
    known = float(np.dot(np.exp(listed[alive]), (listed - b.logs[both])[alive]))
    if a.is_whole:
        return max(0.0, known) / LN2
    rest = max(0.0, 1.0 - float(np.exp(listed).sum())) + ROUNDING
    farthest = float(np.log(a.at_most)) - float(b.logs[~both].min())
    return max(0.0, known + rest * max(0.0, farthest)) / LN2


def _surely_moved(a: Known, b: Known) -> NDArray[Any]:
    """How far each outcome's probability has moved at least."""
    p, q = np.exp(a.logs), np.exp(b.logs)
    moved = np.abs(p - q)
    moved = np.where(np.isnan(q), np.maximum(0.0, p - b.at_most), moved)
    moved = np.where(np.isnan(p), np.maximum(0.0, q - a.at_most), moved)
    return np.nan_to_num(moved, nan=0.0)
