"""The n-best list of transformers 4.56.2's `BeamHypotheses`, on which group and constrained beams rest.

Unlike the newer bank, only end-of-text tokens put a hypothesis here; what still runs is added at the end.
Source: https://github.com/huggingface/transformers, generation/beam_search.py, release 4.56.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenglass.reading.paths import Link
from tokenglass.search.options import BeamOptions
from tokenglass.search.records import Hypothesis


@dataclass(frozen=True, slots=True)
class Finished:
    """One place of the list.

    Attributes:
        score: what places are ranked by.
        found: the hypothesis; None for what a dead beam finished.
        written: its tokens.
    """

    score: float
    found: Hypothesis | None
    written: Link | None


@dataclass(frozen=True, slots=True)
class NBest:
    """At most `size` hypotheses, in order of arrival.

    Attributes:
        size: how many.
        places: the hypotheses.
        worst: the score a new one must beat once the list is full.
    """

    size: int
    places: tuple[Finished, ...] = ()
    worst: float = 1e9

    @property
    def full(self) -> bool:
        """Whether `size` hypotheses are here."""
        return len(self.places) >= self.size

    def added(self, new: Finished) -> NBest:
        """The list with one more, the worst dropped where there are too many."""
        if self.full and not new.score > self.worst:
            return self
        places = (*self.places, new)
        if len(places) <= self.size:
            return NBest(self.size, places, min(new.score, self.worst))
        order = sorted(range(len(places)), key=lambda i: (places[i].score, i))
        kept = tuple(p for i, p in enumerate(places) if i != order[0])
        return NBest(self.size, kept, places[order[1]].score)

    def best_possible(self, total: float, length: int, most: int, options: BeamOptions) -> float | None:
        """The score a running beam is taken to be able to reach; None where that is not asked.

        Args:
            total: the best running score of the step.
            length: tokens written with this step.
            most: tokens that could be written.
            options: the search's.
        """
        if not self.full or options.early_stopping is True:
            return None
        far = options.early_stopping == "never" and options.length_penalty > 0.0
        return float(total / (most if far else length) ** options.length_penalty)

    def done(self, possible: float | None, options: BeamOptions) -> bool:
        """Whether nothing that still runs can matter."""
        if not self.full:
            return False
        return possible is None or self.worst >= possible

    @property
    def real(self) -> tuple[Finished, ...]:
        """The hypotheses, best first."""
        return ranked([self])


def ranked(lists: Sequence[NBest]) -> tuple[Finished, ...]:
    """All hypotheses of several lists, best first; of equals the last to arrive, as 4.56.2 pops them."""
    places = [p for one in lists for p in one.places if p.found is not None]
    return tuple(reversed(sorted(places, key=lambda p: p.score)))
