"""Exclude top choices: now and then drop the most likely tokens, so that the text leaves the beaten track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenglass.random import Mt19937
from tokenglass.stages import candidates
from tokenglass.stages.base import BaseStage, require, require_whole
from tokenglass.stages.context import Context
from tokenglass.stages.row import Mask, Row


@dataclass(frozen=True)
class Xtc(BaseStage):
    """With a chance, remove all tokens of at least a threshold's probability but the least likely of them.

    Probabilities are those of the candidates left by earlier stages. With threshold above 0.5, or fewer than
    two candidates, nothing happens and no random number is used.

    Args:
        probability: the chance at each step, in [0, 1].
        threshold: in [0, 1].
        min_keep: do nothing where fewer would remain; >= 0.
        seed: None draws from the context's source, purpose "xtc"; a number in [0, 2**32) draws from a
            generator of the stage's own, as llama.cpp does, whose place is the state.

    Raises:
        ValueError: a parameter outside its range.

    Source: p-e-w 2024, oobabooga/text-generation-webui pull request 6335; as in llama.cpp.

    >>> from tokenglass.numbers import softmax
    >>> from tokenglass.stages.base import scores_of
    >>> softmax(Xtc(1.0, 0.25, seed=0)(scores_of([0.5, 0.3, 0.2]))).round(3).tolist()
    [0.0, 0.6, 0.4]
    """

    probability: float
    threshold: float
    min_keep: int = 0
    seed: int | None = None
    name = "xtc"

    def __post_init__(self) -> None:
        require(0.0 <= self.probability <= 1.0, "xtc_probability", "in [0, 1]", self.probability)
        require(0.0 <= self.threshold <= 1.0, "xtc_threshold", "in [0, 1]", self.threshold)
        require_whole("min_keep", self.min_keep, 0)

    def start(self) -> Mt19937 | None:
        """The generator before its first draw, or None without a seed."""
        return None if self.seed is None else Mt19937(self.seed)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row, with or without its top choices."""
        if self.probability <= 0.0 or self.threshold > 0.5 or row.n_candidates < 2 or row.argmax < 0:
            return row, state
        if self.seed is None:
            draw = context.uniform("xtc")
        else:
            generator: Mt19937 = state if state is not None else Mt19937(self.seed)
            draw, state = generator.single()
        if draw > np.float32(self.probability):
            return row.noted({"draw": draw}), state
        return self._without_top(row, draw), state

    def _without_top(self, row: Row, draw: float) -> Row:
        threshold = np.float32(self.threshold)
        if row.order is not None:
            ids = candidates.best_first_of(row)
            gone = self._excess(candidates.softmax_of(row.scores[ids]) >= threshold)
            return row.kept(ids[gone:], ranked=True, facts={"draw": draw})
        gone = self._excess(row.probs()[1] >= threshold)
        return (
            row.masked(row.ranked(gone)[:gone], facts={"draw": draw}) if gone else row.noted({"draw": draw})
        )

    def _excess(self, above: Mask) -> int:
        """How many of the best go: all that are above the threshold but one, if enough remain."""
        gone = max(0, int(np.count_nonzero(above)) - 1)
        return gone if len(above) - gone >= self.min_keep else 0
