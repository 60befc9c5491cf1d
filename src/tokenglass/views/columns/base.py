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


@dataclass(frozen=True)
class Texts:
    """Text, row by row; None where there is none."""

    values: Sequence[str | None]


@dataclass(frozen=True)
class Blobs:
    """Bytes, row by row; None where there are none."""

    values: Sequence[bytes | None]


@dataclass(frozen=True)
class Named:
    """One of a few names, row by row.

    Attributes:
        names: each once.
        places: (N,) which of them; -1 for none.
    """

    names: Sequence[str]
    places: NDArray[np.int64]


# What a column holds does not hang on its values: numbers are a masked array wherever one may be unknown.
Column = NDArray[Any] | Entries | Texts | Blobs | Named
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
    known = np.array([0 if value is None else value for value in found], dtype=np.int64)
    return np.ma.masked_array(known, [value is None for value in found])


def real(values: Iterable[float | None]) -> NDArray[Any]:
    """Numbers, masked where one is unknown."""
    found = list(values)
    known = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    return np.ma.masked_array(known, [value is None for value in found])


def count(values: Iterable[int]) -> NDArray[np.int64]:
    """Whole numbers that are all known."""
    return np.fromiter(values, dtype=np.int64)


def token_columns(tokens: Sequence[Token]) -> Columns:
    """A token's own columns, of tokens that are there."""
    return {
        "id": count(token.id for token in tokens),
        "token": Texts([token.text for token in tokens]),
        "bytes": Blobs([token.bytes for token in tokens]),
        "kind": Texts([token.kind for token in tokens]),
    }


def entry_columns(ids: NDArray[np.int64], vocabulary: Vocabulary) -> Columns:
    """The same of ids, read only where they are looked at."""
    return {"id": ids, **{what: Entries(ids, vocabulary, what) for what in ("token", "bytes", "kind")}}
