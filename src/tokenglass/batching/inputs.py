"""Rows of a file as prompts: text lines, JSON Lines, CSV, Parquet, and OpenAI's batch file.

A row is numbered by its place, from 0; that number is what a resumed run knows it by. What is wrong with a
row is said of that row. Knows nothing about models.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from tokenglass.batching import parquet
from tokenglass.errors import BatchError
from tokenglass.files.tensors import cause, shown

Format = Literal["txt", "jsonl", "csv", "parquet", "openai"]
SUFFIXES: Mapping[str, Format] = {
    ".txt": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
PROMPTS = ("prompt", "text", "messages", "ids")  # columns that may hold the prompt; the first there is wins
KNOWN = (*PROMPTS, "id", "options", "config")
MOST_LINE = 64 << 20  # bytes of one line; a hundred times what the longest context holds
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Record:
    """One row of an input.

    Attributes:
        row: its place in the file, from 0.
        id: the file's own name for it, or its place.
        prompt: a text, ids or messages.
        keywords: of its own.
        error: what is wrong with it, or "".
        body: an OpenAI request as it stands, else None.
        url: which of OpenAI's endpoints it is for.
    """

    row: int
    id: str
    prompt: Any = None
    keywords: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    body: Mapping[str, Any] | None = None
    url: str = ""

    @property
    def luck(self) -> str:
        """What its seed is made from where its place means nothing: its name, or else its prompt."""
        return self.id if self.id != str(self.row) else json.dumps(self.prompt, default=str)


@dataclass(frozen=True)
class Input:
    """A file of prompts, opened once to count and digest it.

    Attributes:
        path: where it is.
        format: how it is read.
        rows: how many there are.
        size: bytes of the file.
        sha256: of the file.
    """

    path: Path
    format: Format
    rows: int
    size: int
    sha256: str

    def parts(self, ranges: Sequence[tuple[int, int]]) -> Iterator[list[Record]]:
        """The rows [start, stop) of each range; they ascend, and rows between them are not parsed.

        Raises:
            BatchError: the file cannot be read any more.
        """
        read = _PARSERS[self.format]
        with _said(self.path):
            raw, place = _RAW[self.format](self.path), 0
            for start, stop in ranges:
                items = islice(raw, start - place, stop - place)
                yield [read(row, item) for row, item in enumerate(items, start=start)]
                place = stop


def open_input(path: str | Path) -> Input:
    """Count and digest a file of prompts.

    Raises:
        BatchError: an unknown ending, or the file cannot be read.
        MissingDependency: Parquet without pyarrow.
    """
    path = Path(path)
    if "\0" in str(path):  # what the system says of it differs from place to place
        raise BatchError("no file has a NUL in its name; check the path")
    found = SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise BatchError(f"the input must end in {', '.join(SUFFIXES)}, got {shown(path.name)}")
    with _said(path):
        if found == "jsonl" and _is_openai(path):
            found = "openai"
        rows = parquet.count(path) if found == "parquet" else sum(1 for _ in _RAW[found](path))
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Input(path, found, rows, path.stat().st_size, digest)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """What a system says of a file that it does not let us read, in one line."""
    try:
        yield
    except OSError as error:
        raise BatchError(
            f"{shown(str(path), 200)} cannot be read ({cause(error)}); check the path"
        ) from error


# --------------------------------------------------------------------------------------------- raw rows


def _lines(path: Path) -> Iterator[bytes | None]:
    """The lines of a file without their ends; None for one beyond all bounds."""
    with open(path, "rb") as file:
        file.seek(len(BOM) if file.read(len(BOM)) == BOM else 0)
        while line := file.readline(MOST_LINE):
            if len(line) == MOST_LINE and not line.endswith(b"\n"):
                _pass_over(file)
                yield None
            else:
                yield line.removesuffix(b"\n").removesuffix(b"\r")


def _pass_over(file: BinaryIO) -> None:
    while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
        pass


def _filled_lines(path: Path) -> Iterator[bytes | None]:
    return (line for line in _lines(path) if line is None or line.strip())


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any] | Exception]:
    csv.field_size_limit(MOST_LINE)
    # what is no UTF-8 stays visible as lone surrogates, and is refused with its row
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file)
        while True:
            try:
                yield next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield error


_RAW: Mapping[Format, Callable[[Path], Iterator[Any]]] = {
    "txt": _lines,
    "jsonl": _filled_lines,
    "openai": _filled_lines,
    "csv": _csv_rows,
    "parquet": parquet.read,
}


# -------------------------------------------------------------------------------------------- as records


def _is_openai(path: Path) -> bool:
    first = next(_filled_lines(path), None)
    with suppress(ValueError, RecursionError):
        values = json.loads(first or b"")
        return isinstance(values, dict) and {"custom_id", "url", "body"} <= set(values)
    return False


def _refusing(parse: Callable[[int, Any], Record]) -> Callable[[int, Any], Record]:
    """A parser whose complaints become the row's own."""

    def parsed(row: int, raw: Any) -> Record:
        try:
            if raw is None:
                raise ValueError(f"the line has more than {MOST_LINE >> 20} MiB")
            if isinstance(raw, Exception):
                raise ValueError(str(raw))
            return parse(row, raw)
        except UnicodeError:
            return Record(row, str(row), error="not UTF-8; convert it first, for example with iconv -t UTF-8")
        except json.JSONDecodeError as error:
            return Record(row, str(row), error=f"not JSON: {error.msg} at character {error.pos + 1}")
        except RecursionError:
            return Record(row, str(row), error="nested too deeply")
        except (ValueError, TypeError) as error:
            return Record(row, str(row), error=str(error))

    return parsed


def _from_text(row: int, line: bytes) -> Record:
    return Record(row, str(row), str(line, "utf-8"))


def _from_json(row: int, line: bytes) -> Record:
    values = json.loads(str(line, "utf-8"))
    if isinstance(values, str | list):
        return Record(row, str(row), values)
    if not isinstance(values, dict):
        raise ValueError(f"a line is a text, a list of ids or an object, got {type(values).__name__}")
    return _from_values(row, values)


def _from_csv(row: int, values: Mapping[Any, Any]) -> Record:
    if None in values:
        raise ValueError(f"{len(values) - 1} columns are named, the row has {len(values[None])} more")
    cells = {name: text for name, text in values.items() if text not in (None, "")}
    for text in cells.values():
        text.encode("utf-8")
    for name in {"messages", "ids", "options", "config"} & set(cells):
        cells[name] = json.loads(cells[name])
    if not any(name in cells for name in PROMPTS):
        empty = next((name for name in PROMPTS if name in values), None)
        cells |= {} if empty is None else {empty: ""}
    return _from_values(row, cells)


def _from_parquet(row: int, values: Mapping[str, Any]) -> Record:
    present = {name: value for name, value in values.items() if value is not None}
    config = present.get("config")
    if isinstance(config, dict):  # a struct has every field in every row
        present["config"] = {name: value for name, value in config.items() if value is not None}
    return _from_values(row, present)


def _from_values(row: int, values: Mapping[str, Any]) -> Record:
    """A row of named values; columns besides the known ones are the file's own business."""
    column = next((name for name in PROMPTS if name in values), None)
    name = str(values.get("id", row))
    if column is None:
        return Record(row, name, error=f"no prompt: none of {', '.join(PROMPTS)} is there")
    config = values.get("config", {})
    config = json.loads(config) if isinstance(config, str) else config
    if not isinstance(config, dict):
        return Record(row, name, error=f"config must be an object of keywords, got {type(config).__name__}")
    own = {"options": values["options"]} if "options" in values else {}
    return Record(row, name, values[column], {**config, **own})


def _from_openai(row: int, line: bytes) -> Record:
    values = json.loads(str(line, "utf-8"))
    if not isinstance(values, dict) or not isinstance(values.get("body"), dict):
        raise ValueError('a line is an object with "custom_id", "method", "url" and "body"')
    name, url = str(values.get("custom_id", row)), str(values.get("url", ""))
    if values.get("method", "POST") != "POST":
        return Record(row, name, error=f"method must be POST, got {values['method']!r}", url=url)
    return Record(row, name, body=values["body"], url=url)


def record_of(row: int, values: Mapping[str, Any]) -> Record:
    """A row of named values that comes from no file of ours; what is wrong with it is said of it."""
    return _PARSERS["parquet"](row, values)


_PARSERS: Mapping[Format, Callable[[int, Any], Record]] = {
    "txt": _refusing(_from_text),
    "jsonl": _refusing(_from_json),
    "csv": _refusing(_from_csv),
    "parquet": _refusing(_from_parquet),
    "openai": _refusing(_from_openai),
}
