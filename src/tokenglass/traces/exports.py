"""Tables as files: CSV, JSON Lines, Parquet, and trees drawn as DOT, SVG and Markdown.

A file appears whole or not at all, and an old one stays until the new one is complete.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from tokenglass.traces import drawings
from tokenglass.traces.arrow import write_parquet
from tokenglass.traces.rows import Row, Table
from tokenglass.traces.storage import replacing

# What spreadsheets take for the beginning of a formula, in their full-width forms too.
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
SUFFIXES = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".dot": "dot",
    ".gv": "dot",
    ".svg": "svg",
    ".md": "markdown",
}
_TREES = {"dot": drawings.dot, "svg": drawings.svg, "markdown": drawings.markdown}
FORMATS = ("csv", "jsonl", "parquet", *_TREES)


def export(table: Table, path: str | Path, format: str | None = None, *, raw: bool = False) -> None:
    """Write a table to a file.

    Args:
        table: from `tree_table` or `candidate_table`; drawings want the first.
        path: of the file; one that is there is replaced when the new one is complete.
        format: one of `FORMATS`; None goes by the ending of the path.
        raw: in CSV, leave texts that a spreadsheet would take for formulas as they are.

    Raises:
        ValueError: no such format, or a drawing of what is no tree.
        MissingDependency: Parquet without pyarrow.
        TraceError: the file cannot be written, or the table comes from a damaged trace.
    """
    path = Path(path)
    chosen = format or SUFFIXES.get(path.suffix.lower())
    if chosen not in FORMATS:
        asked = repr(format) if format else f"a name that ends in {path.suffix!r}"
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {asked}")
    if chosen in _TREES and not table.is_tree:
        raise ValueError(f"{chosen} draws a tree, got a table of candidates; give a tree_table")
    with replacing(path) as part:
        if chosen == "parquet":
            write_parquet(table.columns, table, part)
            return
        with open(part, "x", encoding="utf-8", newline="") as file:
            _WRITERS[chosen](table, file, raw)


def _write_csv(table: Table, file: TextIO, raw: bool) -> None:
    writer = csv.writer(file)  # ends lines with CR LF, as RFC 4180 has it, and so quotes both inside cells
    writer.writerow(table.columns)
    for row in table:
        writer.writerow([_cell(row[name], raw) for name in table.columns])


def _cell(value: Any, raw: bool) -> Any:
    """A cell: bytes as hexadecimal after `0x`, no number; no text that acts as a formula."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and not raw and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _write_jsonl(table: Table, file: TextIO, raw: bool) -> None:
    for row in table:
        file.write(json.dumps(_plain(row), allow_nan=False) + "\n")


def _plain(row: Row) -> Row:
    """A row as JSON: bytes in hexadecimal; infinities are null, with `<name>_nonfinite` to say which."""
    plain: Row = {}
    for name, value in row.items():
        if isinstance(value, float) and not isfinite(value):
            plain[name], plain[f"{name}_nonfinite"] = None, str(float(value))
        else:
            plain[name] = value.hex() if isinstance(value, bytes) else value
    return plain


def _drawn(draw: Callable[[Table], Any]) -> Callable[[Table, TextIO, bool], None]:
    def write(table: Table, file: TextIO, raw: bool) -> None:
        for line in draw(table):
            file.write(line + "\n")

    return write


_WRITERS: dict[str, Callable[[Table, TextIO, bool], None]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    **{name: _drawn(draw) for name, draw in _TREES.items()},
}
