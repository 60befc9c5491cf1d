"""Results as data frames: columns handed to pandas and to Arrow, their types whatever the values are."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokenglass.types import Shown
from tokenglass.types.shown import frame
from tokenglass.views import arrow
from tokenglass.views.columns import Blobs, Column, Entries, Named, Texts, columns
from tokenglass.views.entries import KINDS, entries_of


def to_arrow(result: Shown) -> Any:
    """A result's rows as a pyarrow.Table: numbers over the result's own arrays, texts as usual strings.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    return arrow.plain(arrow.to_table(columns(result)))


def to_stream(result: Shown, requested_schema: object = None) -> object:
    """The same as an Arrow C stream, its texts as views of those that the vocabulary has once.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    stream: object = arrow.to_table(columns(result)).__arrow_c_stream__(requested_schema)
    return stream


def to_pandas(result: Shown) -> Any:
    """A result's rows as a pandas.DataFrame.

    Raises:
        MissingDependency: pandas is not installed.
    """
    found = columns(result)
    whole = frame({})  # says what is missing
    for name, column in found.items():
        whole[name] = _in_pandas(column)
    return whole


def _in_pandas(column: Column) -> Any:
    import pandas

    match column:
        case Texts():
            return _texts([None if each is None else arrow.utf8(each).decode() for each in column.values])
        case Blobs():
            return pandas.Series(list(column.values), dtype=object)
        case Named():
            return _texts([None if place < 0 else column.names[place] for place in column.places.tolist()])
        case Entries():
            return _entries(column)
        case np.ma.MaskedArray() if np.issubdtype(column.dtype, np.integer):
            return pandas.arrays.IntegerArray(column.data.copy(), np.ma.getmaskarray(column).copy())
        case np.ma.MaskedArray():
            return column.filled(np.nan)
    return column


def _entries(column: Entries) -> Any:
    import pandas

    known, places = entries_of(column)
    if column.what == "bytes":
        return pandas.Series([known.bytes[place] for place in places.tolist()], dtype=object)
    if column.what == "token":
        return _texts([known.texts[place] for place in places.tolist()])
    return _texts([KINDS[kind] for kind in known.kinds[places].tolist()])


def _texts(values: list[str | None]) -> Any:
    """As pandas keeps text: its own type from pandas 3 on, objects before."""
    import pandas

    has_own_type = int(pandas.__version__.split(".")[0]) >= 3
    return pandas.Series(values, dtype="str" if has_own_type else object)
