"""What came of writing a trace again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenglass.types.shown import Shown


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that did not come out as recorded.

    Attributes:
        node: the place.
        name: which number, or "token", or "error".
        recorded: what the trace says.
        now: what came out; safe text where it is one.
        size: by how much they differ; None where that is no number.
    """

    node: int
    name: str
    recorded: Any
    now: Any
    size: float | None


@dataclass(frozen=True, repr=False)
class Replay(Shown):
    """A trace written again and compared.

    Attributes:
        n_places: tokens in the trace.
        n_done: tokens that were written again.
        first_difference: the first number that is not the same to the last bit, or None.
        first_mismatch: the first other token, or number off by more than the tolerance, or None.
        largest: the largest difference of a number.
        tolerance: how far numbers may differ and count as equal: engines round differently in batches.
        recorded: what computed then.
        now: what computed now.
    """

    n_places: int
    n_done: int
    first_difference: Difference | None
    first_mismatch: Difference | None
    largest: float
    tolerance: float
    recorded: Mapping[str, Any]
    now: Mapping[str, Any]

    def __post_init__(self) -> None:
        import tokenglass.views.replays  # noqa: F401 - teaches the views this type

    @property
    def identical(self) -> bool:
        """Every id and number came out the same to the last bit."""
        return self.first_difference is None and self.n_done == self.n_places

    @property
    def equal(self) -> bool:
        """Every id came out the same, and every number within the tolerance."""
        return self.first_mismatch is None and self.n_done == self.n_places
