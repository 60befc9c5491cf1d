"""How far two distributions lie apart at least and at most, where a server shows only its likeliest tokens.

Let the outcomes that both sides know stand alone, and put all others into one or two. No divergence is below
that of these coarser distributions (the data processing inequality), which gives the least. Most is what it
would be if the masses that remain lay on different outcomes. KL has no such end where b may give next to
nothing to what a allows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import e, inf, log, log2
from typing import Any, NamedTuple

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
        at_most: probability that none of those exceeds. It may be 0.0: some servers list what they rule out.
    """

    logs: LogProbs
    at_most: float = 0.0

    @classmethod
    def listed(cls, listing: Listing, size: int) -> Known:
        """Of a server's list."""
        logs = np.full(size, np.nan)
        logs[listing.ids] = listing.logprobs
        return cls(logs, listing.p_at_most)

    @cached_property
    def is_whole(self) -> bool:
        """Whether every probability is known."""
        return not np.isnan(self.logs).any()

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
    rest_a, rest_b = _rest(p), _rest(q)
    loose = min(1.0, (rest_a + rest_b) / 2 + ROUNDING)
    apart, known = float(np.abs(p - q).sum()) / 2, js_bits(log_a, log_b)
    ways = _ways(a, b, rest_a, rest_b)
    nearest = [[cell.nearest for cell in cells] for cells in ways]
    tv = max(sum(abs(x - y) for x, y in cells) / 2 for cells in nearest)
    js = max(sum(_js_of(x, y) for x, y in cells) for cells in nearest)
    return Bounds(
        (_kl_least(log_a, log_b, ways), _kl_most(a, b, both)),
        (_kl_least(log_b, log_a, [[cell.turned for cell in cells] for cells in ways]), _kl_most(b, a, both)),
        (_within(known + js), _within(known + loose)),
        (_within(apart + tv), _within(apart + loose)),
        a.coverage,
        b.coverage,
    )


def _rest(p: NDArray[Any]) -> float:
    return max(0.0, 1.0 - float(p.sum()))


class Cell(NamedTuple):
    """Several outcomes as one: between which ends its probability lies under a, and under b."""

    p: tuple[float, float]
    q: tuple[float, float]

    @property
    def turned(self) -> Cell:
        """With the sides exchanged."""
        return Cell(self.q, self.p)

    @property
    def nearest(self) -> tuple[float, float]:
        """Two probabilities as near to each other as they can be."""
        p, q = self.p, self.q
        if p[0] > q[1]:
            return p[0], q[1]
        return (p[1], q[0]) if q[0] > p[1] else (max(p[0], q[0]),) * 2


def _about(x: float, slack: float = 0.0) -> tuple[float, float]:
    """A mass that is one minus others, the lower end `slack` below it besides."""
    return max(0.0, x - slack - ROUNDING), max(0.0, x) + ROUNDING


def _ways(a: Known, b: Known, rest_a: float, rest_b: float) -> list[list[Cell]]:
    """Ways to put all outcomes that are not known to both into one or two; each gives a least of its own.

    What a alone lists can be told apart from the remaining ones: b gives each of them no more than the last
    that it lists. Likewise for b.
    """
    own_a, most_b = _alone(a, b)
    own_b, most_a = _alone(b, a)
    return [
        [Cell(_about(rest_a), _about(rest_b))],
        [Cell((own_a, own_a), (0.0, most_b)), Cell(_about(rest_a - own_a), _about(rest_b, most_b))],
        [Cell((0.0, most_a), (own_b, own_b)), Cell(_about(rest_a, most_a), _about(rest_b - own_b))],
    ]


def _alone(a: Known, b: Known) -> tuple[float, float]:
    """What a gives to the outcomes that it alone knows, and the most that b can."""
    alone = np.isnan(b.logs) & ~np.isnan(a.logs)
    unlisted = max(0.0, 1.0 - b.coverage)
    return float(np.exp(a.logs[alone]).sum()), min(unlisted, float(alone.sum()) * b.at_most) + ROUNDING


def _within(x: float) -> float:
    return min(1.0, max(0.0, x))


def _js_of(p: float, q: float) -> float:
    """What one outcome adds to the Jensen-Shannon divergence, in bits."""
    halves = (x * log2(2.0 * x / (p + q)) for x in (p, q) if x > 0.0)
    return sum(halves) / 2.0


def _kl_least(log_p: LogProbs, log_q: LogProbs, ways: Sequence[Sequence[Cell]]) -> float:
    """KL in bits with all outcomes that are not known to both put into cells."""
    alive = log_p > -inf
    if log_q[alive].size and log_q[alive].min() == -inf:
        return inf
    known = float(np.dot(np.exp(log_p[alive]), (log_p - log_q)[alive])) / LN2
    return max(0.0, known + max(sum(map(_least_term, cells)) for cells in ways))


def _least_term(cell: Cell) -> float:
    """The least of p log2(p / q): q as large as it can be, p where that is smallest, at q / e."""
    (low, high), most = cell.p, cell.q[1]
    p = min(max(most / e, low), high)
    return p * log2(p / most) if p > 0.0 else 0.0


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
    farthest = log(max(a.at_most, sys.float_info.min)) - float(b.logs[~both].min())
    return max(0.0, known + rest * max(0.0, farthest)) / LN2


def _surely_moved(a: Known, b: Known) -> NDArray[Any]:
    """How far each outcome's probability has moved at least."""
    p, q = np.exp(a.logs), np.exp(b.logs)
    moved = np.abs(p - q)
    moved = np.where(np.isnan(q), np.maximum(0.0, p - b.at_most), moved)
    moved = np.where(np.isnan(p), np.maximum(0.0, q - a.at_most), moved)
    return np.nan_to_num(moved, nan=0.0)
