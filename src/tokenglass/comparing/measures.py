"""How far two distributions lie apart: divergences, and the outcomes that moved most.

Knows nothing about where the distributions came from. Everything is float64 over all outcomes, computed from
log-probabilities, so that a probability too small for a float still counts; nothing is clipped away.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.types import Token
from tokenglass.types.comparison import Difference, Shift

LN2 = log(2.0)
LogProbs = NDArray[Any]  # (outcomes,) float64, natural logs, -inf where ruled out
Namer = Callable[[int], Token]
_ENOUGH = 40.0  # a term e**40 times smaller than its partner is below float64's rounding of the sum


def log_probs(scores: NDArray[Any]) -> LogProbs:
    """Scores (V,) as log-probabilities, summed in float64.

    >>> np.exp(log_probs(np.array([0.0, 0.0, -np.inf]))).tolist()
    [0.5, 0.5, 0.0]
    """
    shifted = scores.astype(np.float64) - float(scores.max())
    found: LogProbs = shifted - np.log(np.exp(shifted).sum())
    return found


def kl_bits(log_a: LogProbs, log_b: LogProbs) -> float:
    """Kullback-Leibler divergence KL(a||b) = sum of p_a log2(p_a / p_b), in bits.

    inf where a gives a probability to what b rules out; what a rules out adds nothing.

    >>> even, sure = np.log([0.5, 0.5]), np.array([0.0, -np.inf])
    >>> kl_bits(sure, even), kl_bits(even, sure)
    (1.0, inf)
    """
    if log_a.min() == -inf:
        alive = log_a > -inf
        log_a, log_b = log_a[alive], log_b[alive]
    if log_b.min() == -inf:
        return inf
    return max(0.0, float(np.dot(np.exp(log_a), log_a - log_b))) / LN2


def js_bits(log_a: LogProbs, log_b: LogProbs) -> float:
    """Jensen-Shannon divergence in bits: mean KL of both to their mixture, in [0, 1].

    Of some of the outcomes: what they add to it, which is never below 0.

    >>> round(js_bits(np.array([0.0, -np.inf]), np.array([-np.inf, 0.0])), 12)
    1.0
    """
    with np.errstate(invalid="ignore"):
        apart = np.clip(log_b - log_a, -_ENOUGH, _ENOUGH)
    apart[np.isnan(apart)] = 0.0  # ruled out by both
    # ln(m / p_a) for the mixture m = (p_a + p_b) / 2, exact also where the two are nearly equal
    to_mixture = np.log1p(np.expm1(apart) / 2.0)
    nats = np.dot(np.exp(log_b), apart - to_mixture) - np.dot(np.exp(log_a), to_mixture)
    return min(1.0, max(0.0, float(nats) / (2.0 * LN2)))


def tv(log_a: LogProbs, log_b: LogProbs) -> float:
    """Total variation distance: half the sum of |p_a - p_b|, in [0, 1].

    >>> round(tv(np.log([0.5, 0.5]), np.log([0.8, 0.2])), 12)
    0.3
    """
    return min(1.0, float(np.abs(np.exp(log_a) - np.exp(log_b)).sum()) / 2.0)


def shift(outcome: int, log_a: LogProbs, log_b: LogProbs, name: Namer) -> Shift:
    """One outcome with its probability and rank under both; NaN is unknown."""
    p_a, p_b = (None if isnan(logs[outcome]) else float(np.exp(logs[outcome])) for logs in (log_a, log_b))
    return Shift(name(outcome), p_a, p_b, _rank(log_a, outcome), _rank(log_b, outcome))


def _rank(logs: LogProbs, outcome: int) -> int | None:
    if logs[outcome] == -inf or isnan(logs[outcome]):
        return None
    return numbers.rank(np.nan_to_num(logs, nan=-inf, posinf=inf, neginf=-inf), outcome)


def difference(
    indices: tuple[int, int],
    token: Token,
    log_a: LogProbs,
    log_b: LogProbs,
    name: Namer,
    n: int,
    offset: int | None = None,
) -> Difference:
    """All numbers of one position.

    Args:
        indices: after which token of a and of b.
        token: the last that a had read.
        log_a: a's log-probabilities.
        log_b: b's, over the same outcomes.
        name: outcome -> its token.
        n: movers at most; an outcome that did not move is none.
        offset: see `Difference`.
    """
    moved = np.abs(np.exp(log_a) - np.exp(log_b))
    movers = [int(i) for i in numbers.top_n(moved, n) if moved[i] > 0.0]
    return Difference(
        *indices,
        token,
        kl_bits(log_a, log_b),
        kl_bits(log_b, log_a),
        js_bits(log_a, log_b),
        tv(log_a, log_b),
        shift(int(log_a.argmax()), log_a, log_b, name),
        shift(int(log_b.argmax()), log_a, log_b, name),
        tuple(shift(i, log_a, log_b, name) for i in movers),
        offset,
    )
