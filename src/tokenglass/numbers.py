"""Numbers over a full vocabulary: float32 in, float64 sums.

Knows nothing about tokens or models: every function takes a row of logits, shape (V,), natural-log units
unless a name says `_bits`. Masked entries are -inf; a row that is all -inf has no distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log

import numpy as np
from numpy.typing import NDArray

LN2 = log(2.0)
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Summary:
    """What one pass over a row of logits yields.

    Attributes:
        logsumexp: ln of the sum of exp(logits) over the full vocabulary.
        entropy_bits: Shannon entropy of softmax(logits) in bits.
        argmax: id of the largest logit; the lowest id on ties.
    """

    logsumexp: float
    entropy_bits: float
    argmax: int


def summarize(logits: Floats) -> Summary:
    """Log-sum-exp, entropy and argmax of a row of logits (V,).

    >>> s = summarize(np.zeros(8, dtype=np.float32))
    >>> round(s.entropy_bits, 6), s.argmax
    (3.0, 0)
    """
    best = int(logits.argmax())
    top = float(logits[best])
    if top == -inf:
        return Summary(-inf, 0.0, best)
    shifted = logits - logits[best]
    weights = np.exp(shifted)
    total = float(weights.sum(dtype=np.float64))
    if shifted.min() == -inf:
        # 0 * -inf would be NaN: a masked token adds nothing to the entropy, so its shift is clipped to a
        # finite value, far below the smallest float32 exponent, so that no other term changes.
        np.maximum(shifted, np.float32(-1e4), out=shifted)
    mean_shift = float(np.dot(weights, shifted)) / total
    return Summary(top + log(total), max(0.0, (log(total) - mean_shift) / LN2), best)


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Natural-log probabilities of a row of logits (V,), float64.

    >>> np.exp(log_softmax(np.array([0.0, 0.0], dtype=np.float32))).tolist()
    [0.5, 0.5]
    """
    return logits.astype(np.float64) - summarize(logits).logsumexp


def softmax(logits: Floats) -> NDArray[np.float64]:
    """Probabilities of a row of logits (V,), float64, summing to 1."""
    return np.exp(log_softmax(logits))


def top_n(logits: Floats, n: int) -> NDArray[np.int64]:
    """Ids of the n largest logits, best first; equal logits in order of id.

    >>> top_n(np.array([1.0, 3.0, 3.0, 2.0], dtype=np.float32), 3).tolist()
    [1, 2, 3]
    """
    size = logits.shape[0]
    n = min(n, size)
    if n <= 0:
        return np.empty(0, dtype=np.int64)
    if n == size:
        return np.argsort(-logits, kind="stable")
    cut = np.partition(logits, size - n)[size - n]
    ids = np.flatnonzero(
        logits >= cut
    )  # ties at the cut make this longer than n; the stable sort settles them
    return ids[np.argsort(-logits[ids], kind="stable")][:n]


def rank(logits: Floats, token_id: int) -> int:
    """Rank of one token from 1; of equal logits the lower id ranks first, as in `top_n`.

    >>> rank(np.array([1.0, 3.0, 3.0], dtype=np.float32), 2)
    2
    """
    value = logits[token_id]
    better = int(np.count_nonzero(logits > value))
    return better + int(np.count_nonzero(logits[:token_id] == value)) + 1
