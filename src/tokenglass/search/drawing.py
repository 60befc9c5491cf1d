"""Who draws the continuations of several beams: what a drawer is, tokenglass's own, and torch's.

Knows nothing about what becomes of the drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tokenglass.errors import MissingDependency
from tokenglass.random import Source
from tokenglass.stages.row import Row
from tokenglass.stages.sums import Doubles

_STRETCH = 1024


class Drawer(Protocol):
    """Draws without replacement from the continuations of all beams together."""

    def draw(
        self, rows: Sequence[Row], totals: Sequence[np.float32], count: int, position: int
    ) -> list[tuple[int, int]]:
        """(beam, token) of each draw, in order of drawing.

        Args:
            rows: B rows of scores after the chain.
            totals: B running scores, which are added to the rows.
            count: how many; fewer come back where fewer have any probability.
            position: of the token about to be chosen.
        """
        ...


class Urn:
    """The cells of cumulative distributions, taken out one after the other.

    Of what is left, the k-th draw takes a beam by the number (position, "beam", 2k) and one of its tokens by
    the next, each as the cell of a cumulative sum, in order of beam or of id, that holds the number. Float64
    throughout. Weights are summed by stretches of ids, so that a draw looks through one stretch of them.

    Args:
        source: the uniform numbers.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._weights: Doubles = np.zeros((0, 0, _STRETCH))  # kept from step to step: fresh memory is slow

    def draw(
        self, rows: Sequence[Row], totals: Sequence[np.float32], count: int, position: int
    ) -> list[tuple[int, int]]:
        """(beam, token) of each draw, as `Drawer.draw`."""
        stretches = self._filled(rows, totals).sum(axis=2)  # (B, stretches of a beam)
        beams = stretches.sum(axis=1)
        chosen: list[tuple[int, int]] = []
        while len(chosen) < count and (total := float(beams.sum())) > 0.0:
            u, v = (self._source.uniform(position, "beam", 2 * len(chosen) + i) for i in range(2))
            beam, _ = _cell(beams, u * total)
            stretch, rest = _cell(stretches[beam], v * float(beams[beam]))
            weights = self._weights[beam, stretch]
            place, _ = _cell(weights, rest)
            chosen.append((beam, stretch * _STRETCH + place))
            weights[place] = 0.0
            stretches[beam, stretch] = weights.sum()
            beams[beam] = stretches[beam].sum()
        return chosen

    def _filled(self, rows: Sequence[Row], totals: Sequence[np.float32]) -> Doubles:
        """(B, stretches, ids of one) weights; a row's last stretch ends in zeros."""
        sums = [row.scores + total for row, total in zip(rows, totals, strict=True)]
        best, size = max(float(part.max()) for part in sums), len(rows[0])
        shape = (len(rows), -(-size // _STRETCH), _STRETCH)
        if self._weights.shape != shape:
            self._weights = np.zeros(shape)
        for weights, part in zip(self._weights.reshape(len(rows), -1), sums, strict=True):
            np.subtract(part, best, out=weights[:size], dtype=np.float64)
            np.exp(weights[:size], out=weights[:size])
        return self._weights


class TorchRace:
    """`torch.multinomial` without replacement over the softmax of all beams, on CPU.

    Each continuation's probability is divided by an exponential number of its own, and the largest quotients
    win, so there is no single number to show. The generator runs on from step to step.

    Args:
        seed: what `torch.manual_seed` would be given.

    Raises:
        MissingDependency: torch is not installed.
    """

    def __init__(self, seed: int) -> None:
        try:
            import torch
        except ImportError as error:
            raise MissingDependency("rng='torch'", "pip install 'tokenglass[hf]'") from error
        self._generator = torch.Generator().manual_seed(seed)

    def draw(
        self, rows: Sequence[Row], totals: Sequence[np.float32], count: int, position: int
    ) -> list[tuple[int, int]]:
        """(beam, token) of each draw, as `Drawer.draw`."""
        import torch

        sums = np.concatenate([row.scores + total for row, total in zip(rows, totals, strict=True)])
        probs = torch.softmax(torch.from_numpy(sums), dim=-1)
        drawn = torch.multinomial(probs, count, generator=self._generator).tolist()
        return [divmod(index, len(rows[0])) for index in drawn if probs[index] > 0.0]


def _cell(weights: Doubles, target: float) -> tuple[int, float]:
    """Which cell of the cumulative sum holds the target, and how far into it; never an empty cell."""
    ends = np.cumsum(weights)
    target = min(target, float(np.nextafter(ends[-1], 0.0)))  # rounding may put it at the end, or beyond
    index = int(np.searchsorted(ends, target, side="right"))
    return index, target - float(ends[index - 1]) if index else target
