"""The records of a search, step by step, as one result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, overload

from tokenglass.types.shown import Tabular
from tokenglass.types.tokens import Vocabulary


@dataclass(frozen=True, repr=False, eq=False)
class SearchRecords(Tabular):
    """What a search left behind at each step: taken, counted and compared like a tuple of its records.

    It is none, since libraries of data frames look at a tuple's items before they ask for its columns.

    Attributes:
        records: of one kind: `BeamStep`, `ContrastiveStep`, `DolaStep` or `DraftStep`.
        vocabulary: names the ids in them.
    """

    records: tuple[Any, ...]
    vocabulary: Vocabulary = field(compare=False)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.records)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Any, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.records[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchRecords | tuple):
            return NotImplemented
        return self.records == tuple(other)

    def __hash__(self) -> int:
        return hash(self.records)
