"""Parquet through pyarrow: rows of prompts read, rows of results written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenglass.errors import MissingDependency

if TYPE_CHECKING:
    from tokenglass.batching.tasks import Kind, Row

ROWS_AT_ONCE = 1024


def count(path: Path) -> int:
    """The rows of a file, by its own footer."""
    return int(_opened(path).metadata.num_rows)


def read(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a file as plain values, some in memory at a time."""
    for batch in _opened(path).iter_batches(batch_size=ROWS_AT_ONCE):
        yield from batch.to_pylist()


def write(columns: Mapping[str, Kind], rows: Sequence[Row], path: Path) -> None:
    """Rows as a file that another run with the same rows would write byte for byte."""
    pyarrow, parquet = _pyarrow()
    whole = pyarrow.BufferOutputStream()  # a full disk is better told by Python than by Arrow
    parquet.write_table(table(columns, rows), whole, compression="zstd")
    with open(path, "xb") as file:
        file.write(whole.getvalue())


def table(columns: Mapping[str, Kind], rows: Sequence[Row]) -> Any:
    """Rows as a pyarrow.Table."""
    pyarrow, _ = _pyarrow()
    schema = pyarrow.schema([(name, _arrow(pyarrow, kind)) for name, kind in columns.items()])
    return pyarrow.Table.from_pylist(list(rows), schema=schema)


def _opened(path: Path) -> Any:
    pyarrow, parquet = _pyarrow()
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise OSError(f"no Parquet file: {str(error).partition(':')[0]}") from error


def _arrow(pyarrow: Any, kind: Kind) -> Any:
    if isinstance(kind, list):
        return pyarrow.list_(_arrow(pyarrow, kind[0]))
    if isinstance(kind, dict):
        return pyarrow.struct([(name, _arrow(pyarrow, part)) for name, part in kind.items()])
    kinds = {"int": pyarrow.int64, "float": pyarrow.float64, "text": pyarrow.string, "bytes": pyarrow.binary}
    return kinds[kind]()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("Parquet", "pip install 'tokenglass[data]'") from error
    return pyarrow, parquet
