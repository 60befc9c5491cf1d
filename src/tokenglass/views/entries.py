"""What the entries of a vocabulary say, all at once and kept: thousands of rows ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tokenglass.text import safe_texts
from tokenglass.types import Vocabulary
from tokenglass.views.columns import Entries

KINDS = ("normal", "control", "byte", "unknown")
_WORTH_ALL = 8  # a table of an eighth of the vocabulary is worth reading all of it, once


class Pool:
    """Some entries.

    Args:
        entries: (bytes, kind) of each.

    Attributes:
        bytes: of each.
        kinds: (N,) of each, as an index into `KINDS`.
    """

    def __init__(self, entries: Sequence[tuple[bytes, str]]) -> None:
        self.bytes = [data for data, _ in entries]
        number = {kind: index for index, kind in enumerate(KINDS)}
        self.kinds: NDArray[np.int8] = np.fromiter(
            (number[kind] for _, kind in entries), np.int8, len(entries)
        )
        self._arrays: dict[str, Any] = {}

    @cached_property
    def texts(self) -> list[str]:
        """Display text of each."""
        return safe_texts(self.bytes)

    def array(self, what: str, make: Callable[[Sequence[bytes]], Any]) -> Any:
        """Texts, bytes or the names of kinds in the form of a library, which is kept."""
        if what not in self._arrays:
            named = {
                "token": lambda: [text.encode() for text in self.texts],
                "bytes": lambda: self.bytes,
                "kind": lambda: [kind.encode() for kind in KINDS],
            }
            self._arrays[what] = make(named[what]())
        return self._arrays[what]


_POOLS: WeakKeyDictionary[Any, Pool] = WeakKeyDictionary()  # vocabulary -> all of it


def entries_of(column: Entries) -> tuple[Pool, NDArray[np.int64]]:
    """Entries that hold those of a column, and which of them each row is."""
    vocabulary = column.vocabulary
    if vocabulary in _POOLS or len(column.ids) * _WORTH_ALL >= len(vocabulary):
        if vocabulary not in _POOLS:
            _POOLS[vocabulary] = Pool(_all_of(vocabulary))
        return _POOLS[vocabulary], column.ids
    distinct, places = np.unique(column.ids, return_inverse=True)
    return Pool([_entry(vocabulary, token_id) for token_id in distinct.tolist()]), places


def _all_of(vocabulary: Vocabulary) -> list[tuple[bytes, str]]:
    whole = getattr(vocabulary, "entries", None)
    return whole() if whole else [_entry(vocabulary, token_id) for token_id in range(len(vocabulary))]


def _entry(vocabulary: Vocabulary, token_id: int) -> tuple[bytes, str]:
    token = vocabulary.token(token_id)
    return token.bytes, token.kind
