"""Sums over a candidate list as llama.cpp's C++ makes them: float32, one after another, in list order.

The order of the additions decides the last bits, and they decide which token stands at a boundary. C's `expf`
and `logf` are correctly rounded nearly always; so is a float64 result rounded to float32.
"""

from __future__ import annotations

import numpy as np

from tokenglass.stages.ranking import best_first
from tokenglass.stages.row import MASKED, Floats, Ids, Row


def total(values: Floats) -> np.float32:
    """The float32 running sum, as 0 - v - v ... turned round: numpy adds in pairs, but subtracts in turn."""
    summed: np.float32 = -np.subtract.reduce(values, dtype=np.float32, initial=np.float32(0.0))
    return summed


def weights_of(values: Floats, *, is_sorted: bool = False) -> Floats:
    """exp(value - reference) in float32; the first value is the reference in a list that counts as sorted."""
    reference = values[0] if is_sorted else values.max()
    with np.errstate(over="ignore"):
        if values.min() == MASKED:  # a float64 exponential is slow where it is 0
            weights: Floats = np.zeros(len(values), dtype=np.float32)
            alive = np.flatnonzero(values > MASKED)
            weights[alive] = np.exp((values[alive] - reference).astype(np.float64))
        else:
            weights = np.exp((values - reference).astype(np.float64)).astype(np.float32)
    return weights


def softmax_of(values: Floats, *, is_sorted: bool = False) -> Floats:
    """Float32 softmax with a running sum in the order given."""
    weights = weights_of(values, is_sorted=is_sorted)
    return weights / total(weights)


def softmax(row: Row) -> Floats:
    """Probabilities of `row.candidates`, in that order."""
    return softmax_of(row.listed, is_sorted=counts_as_sorted(row))


def counts_as_sorted(row: Row) -> bool:
    """Whether `row.candidates` stand best first, or count as if they did."""
    return row.order is not None and row.is_sorted


def logs_of(values: Floats) -> Floats:
    """Natural logarithms, correctly rounded to float32; -inf for 0."""
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(values.astype(np.float64)).astype(np.float32)
    return logs


def entropy_of(p: Floats) -> np.float32:
    """Entropy in nats as a float32 running sum; tokens of probability 0 add nothing."""
    p = p[np.flatnonzero(p > 0.0)]
    return total(-p * logs_of(p))


def entropy_share(p: Floats) -> np.float32:
    """Entropy as a share of the most that so many candidates could have."""
    most = -np.float32(np.log(float(np.float32(1.0) / np.float32(len(p)))))
    return entropy_of(p) / most


def deviation(values: Floats) -> np.float32:
    """Population standard deviation, both sums in float32."""
    n = np.float32(len(values))
    with np.errstate(over="ignore"):  # a penalty may have made a score huge
        mean = total(values) / n
        return np.float32(np.sqrt(total((values - mean) ** 2) / n))


def best_first_of(row: Row) -> Ids:
    """The candidates, best first; as they stand where the row counts as sorted."""
    ids = row.candidates
    if counts_as_sorted(row):
        return ids
    return ids[best_first(row.listed)]
