"""A run over a file of prompts: part by part, each made from a cold start, so that a part is always the same.

The unit is the part: a range of rows that is computed in one go and written whole. A run that was killed
makes the missing parts; since each begins with an empty cache, they come out as they would have without it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenglass import errors
from tokenglass.batching import openai, parquet
from tokenglass.batching.inputs import Input, Record
from tokenglass.batching.mapping import Request, outcomes
from tokenglass.batching.tasks import Kind, Row, Task
from tokenglass.engines.base import Batches

if TYPE_CHECKING:
    from tokenglass.model import Model

PART_ROWS = 512  # a kill costs at most their work; a cold cache at each costs their common beginning once
BASE: Mapping[str, Kind] = {"row": "int", "id": "text", "prompt": "text", "error": "text"}
# what is wrong with a row, not with the engine; everything else counts as a failure of the engine
OF_THE_ROW = (ValueError, TypeError, errors.ContextOverflow, errors.NoTokenAllowed, errors.Unsupported)


@dataclass(frozen=True)
class Batch:
    """What is to be done, apart from where the results go.

    Attributes:
        input: the rows.
        task: what is asked of each.
        keywords: of all rows; a row's own win.
        format: of the parts.
        part_rows: rows in a part.
        seed: from which rows that name none get their own, by place.
        created: when the run was begun, in seconds since 1970.
        chat: a text is given as a user's message.
    """

    input: Input
    task: Task
    keywords: Mapping[str, Any] = field(default_factory=dict)
    format: str = "parquet"
    part_rows: int = PART_ROWS
    seed: int = 0
    created: int = 0
    chat: bool = False

    @property
    def n_parts(self) -> int:
        """Parts of the whole input."""
        return -(-self.input.rows // self.part_rows)

    def range_of(self, part: int) -> tuple[int, int]:
        """The rows [start, stop) of a part."""
        return part * self.part_rows, min((part + 1) * self.part_rows, self.input.rows)

    def parts_of_shard(self, shard: int, shards: int) -> range:
        """The parts of one shard, from 1: every n-th."""
        return range(shard - 1, self.n_parts, shards)

    @property
    def columns(self) -> Mapping[str, Kind]:
        """Of the rows of results."""
        return {**BASE, **self.task.columns}


def run_part(
    model: Model, batch: Batch, records: Sequence[Record], seen: Callable[[], None] | None = None
) -> list[Row]:
    """The rows of a part, in their order.

    Args:
        model: what is asked.
        batch: what is asked of it.
        records: the part's rows.
        seen: called for each row that is done.

    Raises:
        Exception: every row of several failed in the engine; the last one's error.
    """
    if isinstance(model.engine, Batches):
        model.engine.begin_batch()
    rows, draws = [_begun(record) for record in records], _draws(model, batch)
    requests: list[Request] = []
    places: list[int] = []
    for place, record in enumerate(records):
        try:
            if record.error:
                raise ValueError(record.error)
            requests.append(_request(batch, record, draws))
            places.append(place)
        except (ValueError, TypeError, errors.TokenglassError) as error:
            rows[place]["error"] = _utf8(said(error))
            if seen:
                seen()
    broken: list[Exception] = []
    finish = openai.body if batch.format == "openai" else batch.task.row
    for index, result in outcomes(model, batch.task, requests, finish):
        row = rows[places[index]]
        if isinstance(result, Exception):
            row["error"] = _utf8(said(result))
            broken += [] if isinstance(result, OF_THE_ROW) else [result]
        else:
            row.update(result)
        if seen:
            seen()
    if broken and len(broken) == len(rows):
        raise broken[-1]
    if batch.format == "openai":
        return [openai.line(batch, model.info.name, *pair) for pair in zip(records, rows, strict=True)]
    return [{name: row.get(name) for name in batch.columns} for row in rows]


def _begun(record: Record) -> Row:
    prompt = (
        record.prompt if record.body is None else (record.body.get("messages") or record.body.get("prompt"))
    )
    text = prompt if isinstance(prompt, str) else json.dumps(prompt, default=str)
    return {"row": record.row, "id": _utf8(record.id), "prompt": None if prompt is None else _utf8(text)}


def _draws(model: Model, batch: Batch) -> bool:
    """Whether the keywords of all rows ask for luck; a row's own may all the same."""
    if batch.task.name not in ("next", "generate"):
        return batch.task.configured
    own = batch.task.own | {"chat_template_kwargs"}
    config = {name: value for name, value in batch.keywords.items() if name not in own}
    return model.plan(config, (model.info.bos_id or 0,)).config.seed is not None


def _request(batch: Batch, record: Record, draws: bool) -> Request:
    if record.body is not None:
        prompt, own = openai.request(record.body, record.url)
    else:
        prompt, own = record.prompt, dict(record.keywords)
        if batch.chat and isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}]
    keywords = {**batch.keywords, **own}
    if batch.task.configured and (draws or own) and keywords.get("seed") is None:
        keywords["seed"] = seed_of(batch.seed, record.row)
    return Request(prompt, keywords)


def seed_of(seed: int, row: int | str) -> int:
    """A row's own seed, below 2**32 as every preset takes it: the same in every run, shard and order."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {row}".encode(), digest_size=4).digest(), "big")


def said(error: Exception) -> str:
    """An error as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    known = isinstance(error, (errors.TokenglassError, ValueError, TypeError, OSError))
    return text if known else f"unexpected {type(error).__name__}: {text}"


def write_rows(batch: Batch, rows: Sequence[Row], path: Path) -> None:
    """The rows of a part as a file."""
    if batch.format == "parquet":
        parquet.write(batch.columns, rows, path)
        return
    with open(path, "x", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(_plain(row), allow_nan=False) + "\n" for row in rows)


def _plain(value: Any) -> Any:
    """A value as JSON: bytes in hexadecimal, what is no number null."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value.hex() if isinstance(value, bytes) else value


def _utf8(text: str) -> str:
    """Text that every file takes: a lone surrogate as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def ranges(batch: Batch, parts: Sequence[int]) -> Iterator[tuple[int, list[Record]]]:
    """Each of some parts, ascending, with its rows."""
    return zip(parts, batch.input.parts([batch.range_of(part) for part in parts]), strict=True)
