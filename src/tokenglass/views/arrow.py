"""Columns as Arrow arrays, numbers over their own memory; the one place that names pyarrow for results.

Strings travel as Arrow's string views: sixteen bytes a row that hold a short text or point to a long one, so
that all tables of a vocabulary share its texts. Arrays are put together from their buffers, because pyarrow's
own constructors import pandas, which takes longer than everything else here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.errors import MissingDependency
from tokenglass.views.columns import Blobs, Columns, Entries, Named, Texts
from tokenglass.views.entries import entries_of

_INLINE = 12  # bytes that a view holds itself


def to_table(columns: Columns) -> Any:
    """A pyarrow.Table, its texts as string views.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingDependency("an Arrow table", "pip install 'tokenglass[data]'") from error
    return pyarrow.Table.from_arrays([_array(column) for column in columns.values()], list(columns))


def plain(table: Any) -> Any:
    """The same with texts as usual strings, which every function of pyarrow takes."""
    import pyarrow

    usual = {pyarrow.string_view(): pyarrow.string(), pyarrow.binary_view(): pyarrow.binary()}
    fields = [field.with_type(usual.get(field.type, field.type)) for field in table.schema]
    return table.cast(pyarrow.schema(fields))


def _array(column: Any) -> Any:
    match column:
        case Texts():
            return texts([None if each is None else utf8(each) for each in column.values])
        case Blobs():
            return blobs(column.values)
        case Named():
            return _taken(texts([name.encode() for name in column.names]), column.places)
        case Entries():
            known, places = entries_of(column)
            if column.what == "kind":
                return _taken(known.array("kind", texts), known.kinds[places])
            return _taken(known.array(column.what, texts if column.what == "token" else blobs), places)
        case np.ma.MaskedArray():
            return _numbers(column.data, np.ma.getmaskarray(column))
    return _numbers(column)


def _numbers(values: NDArray[Any], unknown: NDArray[np.bool_] | None = None) -> Any:
    import pyarrow

    is_flag = values.dtype == np.bool_
    data = np.packbits(values, bitorder="little") if is_flag else np.ascontiguousarray(values)
    buffers = [_validity(unknown), pyarrow.py_buffer(data)]
    return pyarrow.Array.from_buffers(pyarrow.from_numpy_dtype(values.dtype), len(values), buffers)


def _validity(unknown: NDArray[np.bool_] | None) -> Any:
    """A bit for each row, set where it is known; None where all are."""
    import pyarrow

    if unknown is None or not unknown.any():
        return None
    return pyarrow.py_buffer(np.packbits(~unknown, bitorder="little"))


def texts(pieces: Sequence[bytes | None]) -> Any:
    """UTF-8 as an array of string views."""
    import pyarrow

    return _viewed(pieces, pyarrow.string_view())


def blobs(pieces: Sequence[bytes | None]) -> Any:
    """Bytes as an array of binary views."""
    import pyarrow

    return _viewed(pieces, pyarrow.binary_view())


def utf8(text: str) -> bytes:
    """Text that every library takes: a lone surrogate, which a name may hold, as its escape."""
    return str(text).encode("utf-8", "backslashreplace")


def _viewed(pieces: Sequence[bytes | None], kind: Any) -> Any:
    """Length, then the text itself, or its first bytes, the number of a buffer and where it stands there."""
    import pyarrow

    known = [piece or b"" for piece in pieces]
    data = b"".join(known)
    lengths = np.fromiter(map(len, known), dtype="<i4", count=len(known))
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    if len(data) > np.iinfo(np.int32).max:
        raise ValueError(f"{len(data):,} bytes of text are too many for one column; take fewer rows")
    views = np.zeros((len(known), 16), dtype=np.uint8)
    views[:, :4] = lengths.view(np.uint8).reshape(-1, 4)
    inside = np.arange(_INLINE)
    padded = np.frombuffer(data + bytes(_INLINE), dtype=np.uint8)
    views[:, 4:] = np.where(inside < lengths[:, None], padded[starts[:, None] + inside], 0)
    is_long = lengths > _INLINE
    views[is_long, 8:12] = 0
    views[is_long, 12:] = starts[is_long].astype("<i4").view(np.uint8).reshape(-1, 4)
    unknown = np.fromiter((piece is None for piece in pieces), dtype=np.bool_, count=len(known))
    buffers = [_validity(unknown), pyarrow.py_buffer(views), pyarrow.py_buffer(data)]
    return pyarrow.Array.from_buffers(kind, len(known), buffers)


def _taken(array: Any, places: NDArray[Any]) -> Any:
    """The views of those that are wanted, over the shared texts; nothing where a place is -1."""
    import pyarrow

    _, views, *data = array.buffers()
    pool = np.append(np.frombuffer(views, dtype="V16"), np.zeros(1, dtype="V16"))  # -1 is an empty one
    buffers = [_validity(places < 0), pyarrow.py_buffer(pool[places]), *data]
    return pyarrow.Array.from_buffers(array.type, len(places), buffers)
