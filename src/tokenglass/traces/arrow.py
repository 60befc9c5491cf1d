"""Rows as Arrow, through pyarrow: the one place that names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from tokenglass.errors import MissingDependency

ROWS_AT_ONCE = 10_000


def batches(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> Any:
    """A pyarrow.RecordBatchReader that takes rows as they are needed.

    Args:
        columns: name -> "text", "int", "float", "bytes" or "bool".
        rows: with those keys; a missing one is null.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    pyarrow = _pyarrow("an Arrow table")
    kinds = {
        "text": pyarrow.string(),
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "bytes": pyarrow.binary(),
        "bool": pyarrow.bool_(),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])

    def taken() -> Iterator[Any]:
        source = iter(rows)
        while some := list(islice(source, ROWS_AT_ONCE)):
            yield pyarrow.RecordBatch.from_pylist(some, schema=schema)

    return pyarrow.RecordBatchReader.from_batches(schema, taken())


def capsule(reader: Any, requested_schema: object) -> object:
    """The reader's Arrow C stream."""
    return reader.__arrow_c_stream__(requested_schema)


def write_parquet(columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Rows as a Parquet file, some at a time.

    Raises:
        MissingDependency: pyarrow is not installed.
    """
    _pyarrow("Parquet")
    from pyarrow import parquet

    reader = batches(columns, rows)
    with parquet.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def _pyarrow(purpose: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingDependency(purpose, "pip install 'tokenglass[data]'") from error
    return pyarrow
