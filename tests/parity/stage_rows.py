"""Rows of scores for the parity tests: random ones, and those that break careless code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tests.conftest import FULL

COUNT = 2000 if FULL else 150
Scores = np.ndarray
NEG_INF = np.float32(-np.inf)


def rows(seed: int, count: int = COUNT, *, masked: bool = True, least: int = 1) -> Iterator[Scores]:
    """`count` float32 rows, the same for the same seed.

    Args:
        seed: of the generator.
        count: how many.
        masked: some rows have -inf entries.
        least: smallest vocabulary.
    """
    rng = np.random.default_rng(seed)
    kinds: list[Callable[[np.random.Generator, int], Scores]] = [
        lambda r, v: r.normal(size=v) * r.choice([0.1, 1.0, 3.0, 10.0]),
        lambda r, v: r.integers(-3, 4, size=v),  # ties everywhere
        lambda r, v: np.full(v, r.normal()),  # nothing but ties
        lambda r, v: np.log(r.dirichlet(np.full(v, r.choice([0.05, 0.3, 1.0]))) + 1e-12),
        lambda r, v: r.normal(size=v) * 1e4,  # huge: softmax is one-hot, the rest underflows
        lambda r, v: -2.0 * np.log1p(np.arange(v)) + r.normal(size=v) * 1e-3,  # Zipf
        lambda r, v: np.where(np.arange(v) == r.integers(v), 50.0, r.normal(size=v)),  # nearly one-hot
    ]
    for i in range(count):
        size = max(least, int(rng.choice([1, 2, 3, 5, 8, 20, 100, 101, 500, 3000])))
        scores = np.asarray(kinds[i % len(kinds)](rng, size), dtype=np.float32)
        if masked and i % 3 == 2:
            scores[rng.random(size) < rng.choice([0.2, 0.9])] = NEG_INF
            scores[rng.integers(size)] = np.float32(rng.normal())  # one at least is alive
        yield scores


def same(ours: Scores, theirs: Scores) -> bool:
    """Equal scores, or equal probabilities above 0 in float32.

    The second where the reference promises no order of equal tokens; and tokens whose probability is 0 in
    float32 are equal to it, whatever their scores.
    """
    return bool(np.array_equal(ours, theirs) or np.array_equal(_probabilities(ours), _probabilities(theirs)))


def _probabilities(scores: Scores) -> Scores:
    p = np.exp(scores - scores.max())
    return np.sort(p[p > 0])
