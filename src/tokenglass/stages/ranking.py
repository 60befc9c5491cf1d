"""Orders of values without sorting more than is needed.

Knows nothing about rows or stages: arrays in, indexes out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Indexes = NDArray[np.int64]
_SMALL = 2048
_STRIPES = 4
_BINS = 1024
_PIECE = 8192
_REACH = 104.0


def best_first(values: NDArray[np.float32], ids: Indexes | None = None) -> Indexes:
    """Indexes of all values, largest first; equal values by index, or by `ids` where given.

    >>> best_first(np.array([1, 3, 3, 2], dtype=np.float32)).tolist()
    [1, 2, 3, 0]
    """
    if ids is not None:
        return np.lexsort((ids, -values))
    if len(values) <= _SMALL:
        return np.argsort(-values, kind="stable")
    alive = np.flatnonzero(values != -np.inf)
    if 2 * len(alive) < len(values):
        return np.concatenate([alive[best_first(values[alive])], np.flatnonzero(values == -np.inf)])
    # numpy sorts 16-bit integers by radix: twice over the value's bits, made monotonic and turned round, is
    # four times as fast as a stable sort of floats. Adding 0.0 makes -0.0 equal 0.0 here too.
    bits = (values + np.float32(0.0)).view(np.uint32)
    keys = np.where(bits >> 31, bits, bits ^ np.uint32(0x7FFFFFFF))
    by_low = np.argsort((keys & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    by_high = np.argsort((keys >> np.uint32(16)).astype(np.uint16)[by_low], kind="stable")
    return by_low[by_high]


def top(values: NDArray[np.float32], n: int) -> Indexes:
    """Indexes of at least the n largest values, as `best_first`; all others are less than the last of them.

    >>> top(np.array([3, 3] + [1] * 8, dtype=np.float32), 1).tolist()
    [0, 1]
    """
    size, stripes = len(values), _STRIPES * n
    if 2 * stripes > size:
        return best_first(values)
    # at least n values reach the n-th largest of the stripes' maxima, and seldom many more
    rows = size // stripes
    maxima = values[: rows * stripes].reshape(rows, stripes).max(axis=0)
    least = np.partition(maxima, stripes - n)[stripes - n]
    if np.isnan(maxima.max()):
        return best_first(values)
    if least > -np.inf:
        indexes = np.flatnonzero(values >= least)
        return indexes[best_first(values[indexes])]
    alive = np.flatnonzero(values > -np.inf)  # fewer than n, or they lie close together
    masked = np.flatnonzero(values == -np.inf) if len(alive) <= n else alive[:0]
    return np.concatenate([alive[best_first(values[alive])], masked])


def _bins(distance: NDArray[np.float32]) -> NDArray[np.int16]:
    """Which of _BINS equal stretches each distance from 0 lies in; inf, and what is far away, in one more."""
    # what is further away weighs nothing in float32, so that one bin may take it all
    furthest = float(distance.max())
    width = max(1e-6, min(_REACH, furthest))
    with np.errstate(over="ignore"):
        scaled = distance * np.float32((_BINS - 1) / width)
    if furthest > width:
        np.minimum(scaled, np.float32(_BINS), out=scaled)
    bins: NDArray[np.int16] = scaled.astype(np.int16)
    return bins


def _running_sums(bins: NDArray[np.int16], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sum of the weights of each bin and all before it."""
    sums = np.zeros(_BINS + 1)
    for i in range(0, len(bins), _PIECE):  # small pieces stay in the cache, and bincount widens what it gets
        sums += np.bincount(bins[i : i + _PIECE], weights[i : i + _PIECE], _BINS + 1)
    return np.cumsum(sums)


def _stretch(bins: NDArray[np.int16], here: int, key: NDArray[np.float32]) -> Indexes:
    """Indexes of the finite keys in one bin."""
    inside = np.flatnonzero(bins == here)
    return inside if here < _BINS else inside[key[inside] < np.inf]


class Segment(NamedTuple):
    """The stretch of a key's ascending order in which a running sum of weights reaches its mark.

    Attributes:
        indexes: the stretch, by key, equal keys by index.
        before: sum of the weights of all smaller keys.
        smaller: (V,) which keys are smaller than the stretch.
    """

    indexes: Indexes
    before: float
    smaller: NDArray[np.bool_]


def reach(key: NDArray[np.float32], weights: NDArray[np.float32], mark: float) -> Segment:
    """Where, by ascending key, the running sum of weights comes to `mark`; without sorting everything.

    Counts the weights in bins of the key and sorts only the bin that holds the mark. Keys of inf must have
    weight 0; they are never in the stretch.

    >>> reach(np.array([3, 1, 2], dtype=np.float32), np.array([0.2, 0.5, 0.3], dtype=np.float32), 0.6).indexes
    array([1, 2, 0])
    """
    if len(key) <= _SMALL:
        order = np.argsort(key, kind="stable")
        return Segment(order[: int(np.count_nonzero(key < np.inf))], 0.0, np.zeros(len(key), dtype=np.bool_))
    bins = _bins(key - key.min())
    sums = _running_sums(bins, weights)
    here = min(int(np.searchsorted(sums, mark, side="left")), int(bins.max()))
    while not (inside := _stretch(bins, here, key)).size:
        here -= 1  # rounding put the mark past the last weight
    before = float(sums[here - 1]) if here else 0.0
    return Segment(inside[np.argsort(key[inside], kind="stable")], before, bins < here)
