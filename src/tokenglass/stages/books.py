"""What a step keeps of a row of scores: its likeliest ids and its sums, read off a plain row once.

Knows nothing about tokens or models. The row remembers its order and its sums, so whoever asks it next, the
chain or a selector, does not compute them again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokenglass import numbers
from tokenglass.stages.row import Row
from tokenglass.stages.sums import Doubles, Floats, Ids


@dataclass(frozen=True, slots=True)
class Overview:
    """A row in short.

    Attributes:
        row: the row.
        top_ids: (M,) ids of its largest scores, best first, equal scores by id.
        top_scores: (M,) float32, their scores.
        logsumexp: ln of the sum of exp(score) over the full vocabulary.
        entropy_bits: entropy of the softmax in bits.
    """

    row: Row
    top_ids: Ids
    top_scores: Floats
    logsumexp: float
    entropy_bits: float

    @property
    def top_p(self) -> Doubles:
        """(M,) probabilities of the top ids."""
        p: Doubles = np.exp(self.top_scores.astype(np.float64) - self.logsumexp)
        return p

    @property
    def margin(self) -> float:
        """Score of the best id minus the runner-up's; inf where there is no other."""
        return float(self.top_scores[0] - self.top_scores[1]) if len(self.top_scores) > 1 else float("inf")

    def rank(self, token_id: int) -> int:
        """Rank of one token from 1, as `numbers.rank`; read off the top ids where it is among them."""
        place = np.flatnonzero(self.top_ids == token_id)
        return int(place[0]) + 1 if len(place) else numbers.rank(self.row.scores, token_id)


def overview(row: Row, n: int) -> Overview:
    """The `n` best ids of a plain row, as `numbers.top_n` lists them, and its sums, as `numbers.summarize`.

    Args:
        row: without candidates; some score must be finite.
        n: how many ids, fewer where the vocabulary has fewer.

    >>> short = overview(Row.of([1.0, 3.0, 3.0, 2.0]), 3)
    >>> short.top_ids.tolist(), short.rank(3), round(short.entropy_bits, 3)
    ([1, 2, 3], 3, 1.692)
    """
    moments = row.moments  # before the ranking, which may shorten the row and so reorder the sum
    ids = row.ranked(n)[:n]
    if len(ids) < min(n, len(row)):  # a ranking leaves masked ids out
        masked = np.flatnonzero(row.scores == -np.inf)
        ids = np.concatenate([ids, masked[: n - len(ids)]])
    return Overview(row, ids, row.scores[ids], moments.logsumexp, moments.entropy_bits)
