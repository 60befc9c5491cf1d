"""Results as data frames: columns handed to pandas and to Arrow, numbers without a copy.

The one place that names pyarrow for results. Strings travel as Arrow's string views: sixteen bytes a row that
point to one copy of each different text, which all tables of a vocabulary share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tokenglass.errors import MissingDependency
from tokenglass.types import Shown, Token, Vocabulary
from tokenglass.types.shown import frame
from tokenglass.views.columns import Column, Entries, columns

_PIECES: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()  # vocabulary -> its texts as Arrow
_WORTH_ALL = 8  # a table of an eighth of the vocabulary is worth preparing all of it, once


def to_pandas(result: Shown) -> Any:
    """A result's rows as a pandas.DataFrame.

    Raises:
        MissingDependency: pandas is not installed.
    """
    return frame({name: _in_pandas(column) for name, column in columns(result).items()})


def _in_pandas(column: Column) -> Any:
    if isinstance(column, Entries):
        return [_piece(column.vocabulary.token(i), column.what) for i in column.ids.tolist()]
    if isinstance(column, np.ma.MaskedArray):
        whole = np.issubdtype(column.dtype, np.integer)
        return _nullable(column) if whole else column.filled(np.nan)
    return column


def _nullable(column: NDArray[Any]) -> Any:
    import pandas

    return pandas.array(column.tolist(), dtype="Int64")


def _piece(token: Token, what: str) -> Any:
    return {"token": token.text, "bytes": token.bytes, "kind": str(token.kind)}[what]


def to_arrow(result: Shown) -> Any:
    """A result's rows as a pyarrow.Table over the result's own arrays.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingDependency("an Arrow table", "pip install 'tokenglass[data]'") from error
    return pyarrow.table({name: _in_arrow(column) for name, column in columns(result).items()})


def _in_arrow(column: Column) -> Any:
    import pyarrow

    if isinstance(column, Entries):
        return _taken(column)
    if isinstance(column, np.ma.MaskedArray):
        return pyarrow.array(column.data, mask=np.ma.getmaskarray(column))
    if isinstance(column, np.ndarray):
        return pyarrow.array(column)
    first = next((value for value in column if value is not None), None)
    if first is None:
        return pyarrow.nulls(len(column), _view(False))
    bytes_ = isinstance(first, bytes)
    return pyarrow.array(column if bytes_ else list(map(_utf8, column)), _view(bytes_))


def _view(bytes_: bool) -> Any:
    import pyarrow

    return pyarrow.binary_view() if bytes_ else pyarrow.string_view()


def _utf8(text: Any) -> Any:
    """Text that every library takes: a lone surrogate, which a name may hold, as its escape."""
    return None if text is None else str(text).encode("utf-8", "backslashreplace").decode()


def _taken(column: Entries) -> Any:
    """A column of a vocabulary's texts: the views of those that are wanted, over the shared texts."""
    import pyarrow

    if len(column.ids) * _WORTH_ALL >= len(column.vocabulary):
        texts, places = _all_pieces(column.vocabulary, column.what), column.ids
    else:
        distinct, places = np.unique(column.ids, return_inverse=True)
        texts = _pieces([column.vocabulary.token(i) for i in distinct.tolist()], column.what)
    _, views, *data = texts.buffers()
    taken = np.frombuffer(views, dtype="V16")[places]
    return pyarrow.Array.from_buffers(texts.type, len(taken), [None, pyarrow.py_buffer(taken), *data])


def _all_pieces(vocabulary: Vocabulary, what: str) -> Any:
    known = _PIECES.setdefault(vocabulary, {})
    if what not in known:
        known[what] = _pieces([vocabulary.token(i) for i in range(len(vocabulary))], what)
    return known[what]


def _pieces(tokens: Sequence[Token], what: str) -> Any:
    import pyarrow

    return pyarrow.array([_piece(token, what) for token in tokens], _view(what == "bytes"))
