"""How candidates left the chain, as columns of arrays; a step of 64 candidates may hold 63 of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenglass.traces.values import pack, unpack
from tokenglass.types import Removal

_COLUMNS = (("ids", "<i4"), ("stages", "<u2"), ("ranks", "<i4"), ("p", "<f8"))
_UNCOUNTED = 0  # a rank is at least 1


class Removals(Mapping[int, Removal]):
    """Id -> removal, in order; made from its columns when it is first looked at, since most never are."""

    def __init__(self, names: list[str], columns: list[Any]) -> None:
        self._names, self._columns = names, columns
        self._made: dict[int, Removal] | None = None

    @property
    def _all(self) -> dict[int, Removal]:
        if self._made is None:
            rows = zip(*(column.tolist() for column in self._columns), strict=True)
            self._made = {
                token_id: Removal(self._names[place], None if rank == _UNCOUNTED else rank, p)
                for token_id, place, rank, p in rows
            }
        return self._made

    def __getitem__(self, token_id: int) -> Removal:
        return self._all[token_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def encode_removed(removed: Mapping[int, Removal]) -> dict[str, Any] | None:
    """Removals as JSON; None where there are none."""
    if not removed:
        return None
    removals = removed.values()
    names = sorted({removal.stage for removal in removals})
    place = {name: index for index, name in enumerate(names)}
    ranks = [_UNCOUNTED if removal.rank is None else removal.rank for removal in removals]
    columns = (list(removed), [place[r.stage] for r in removals], ranks, [r.p for r in removals])
    packed = {key: pack(column, dtype) for (key, dtype), column in zip(_COLUMNS, columns, strict=True)}
    return {"names": names, **packed}


def decode_removed(data: Mapping[str, Any] | None) -> Mapping[int, Removal]:
    """Removals from `encode_removed`'s form.

    Raises:
        ValueError, TypeError, KeyError: not that form.
    """
    if data is None:
        return {}
    names = data["names"]
    columns = [unpack(data[key], dtype) for key, dtype in _COLUMNS]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("the columns of its removals differ in length")
    if not all(isinstance(name, str) for name in names) or (columns[1] >= len(names)).any():
        raise ValueError("a removal names no stage")
    return Removals(names, columns)
