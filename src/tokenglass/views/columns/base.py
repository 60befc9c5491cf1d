"""What a column is, and the columns that many results have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.types import Shown, Token, Vocabulary


@dataclass(frozen=True)
class Entries:
    """What the entries of a vocabulary are, row by row: "token" (display text), "bytes" or "kind".

    Attributes:
        ids: (N,) one id a row.
        vocabulary: names them.
        what: which of the three.
    """

    ids: NDArray[np.int64]
    vocabulary: Vocabulary
    what: str


Column = NDArray[Any] | Entries | list[Any]  # a masked array, or None in a list, where something is unknown
Columns = dict[str, Column]


@singledispatch
def columns(result: Shown) -> Columns:
    """Name -> one value for each row.

    Raises:
        TypeError: the result has no rows.
    """
    raise TypeError(f"a {type(result).__name__} has no rows; use to_dict()")


def whole(values: Iterable[int | None]) -> NDArray[Any]:
    """Whole numbers, masked where one is unknown."""
    found = list(values)
    unknown = [value is None for value in found]
    known = np.array([0 if value is None else value for value in found], dtype=np.int64)
    return np.ma.masked_array(known, unknown) if any(unknown) else known


def real(values: Iterable[float | None]) -> NDArray[Any]:
    """Numbers, masked where one is unknown."""
    found = list(values)
    unknown = [value is None for value in found]
    known = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    return np.ma.masked_array(known, unknown) if any(unknown) else known


def token_columns(tokens: Sequence[Token]) -> Columns:
    """A token's own columns, of tokens that are there."""
    return {
        "id": whole(token.id for token in tokens),
        "token": [token.text for token in tokens],
        "bytes": [token.bytes for token in tokens],
        "kind": [str(token.kind) for token in tokens],
    }


def entry_columns(ids: NDArray[np.int64], vocabulary: Vocabulary) -> Columns:
    """The same of ids, read only where they are looked at."""
    return {"id": ids, **{what: Entries(ids, vocabulary, what) for what in ("token", "bytes", "kind")}}
