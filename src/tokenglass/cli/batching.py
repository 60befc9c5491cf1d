"""`tokenglass batch`: every row of a file; Ctrl-C or a kill costs the part under way and nothing else."""

from __future__ import annotations

import itertools
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tokenglass.batching import check, task_named
from tokenglass.batching.folder import SCHEMA, Folder
from tokenglass.batching.inputs import Input, open_input
from tokenglass.batching.running import PART_ROWS, Batch, ranges, run_part, write_rows
from tokenglass.cli.app import load_model
from tokenglass.cli.engine_options import engine_facts, load_arguments
from tokenglass.cli.outcome import INTERRUPTED, OK
from tokenglass.cli.routing import UsageError
from tokenglass.cli.screen import Screen, note, print_json
from tokenglass.files.progress import bar
from tokenglass.random import fresh_seed
from tokenglass.text import safe_line
from tokenglass.version import __version__
from tokenglass.views.blocks import Line
from tokenglass.views.figures import count

if TYPE_CHECKING:
    from tokenglass.model import Model

# option -> the task that takes it and its keyword there
_OPTIONS: Mapping[str, tuple[str, str]] = {
    "n": ("next", "n"),
    "position": ("next", "position"),
    "top": ("score", "top"),
    "options": ("candidates", "options"),
    "only": ("strategies", "names"),
}


@dataclass
class Count:
    """Rows of this run: done now, there before, and with an error among those done now."""

    done: int = 0
    before: int = 0
    errors: int = 0


def run(given: Namespace) -> int:
    """Do what is missing of a run; returns the exit code, 130 when it was stopped by hand."""
    source = open_input(given.input)
    form = given.format or ("openai" if source.format == "openai" else "parquet")
    task = task_named(_task_of(given, source, form))
    own = _own(given, task.name)
    _refuse_keywords(given, task.configured, task.name)
    named = {**given.config, **own}  # before a model that drafts stands in the place of its name
    model = load_model(given)
    keywords = {**given.config, **own}
    check(model, task, keywords)
    asked = Batch(
        source, task, keywords, form, given.part_rows or PART_ROWS, fresh_seed(), int(time.time()), given.chat
    )
    folder = Folder(given.output, form, asked.n_parts)
    shard = given.shard or (1, 1)
    with folder.locked("{}-of-{}".format(*shard)):
        manifest = folder.settled(_manifest(asked, named, given, model))
        batch = _as_begun(asked, manifest)
        return _run(given, model, batch, named, folder, shard)


def _run(
    given: Namespace,
    model: Model,
    batch: Batch,
    named: Mapping[str, Any],
    folder: Folder,
    shard: tuple[int, int],
) -> int:
    done, stopped, started = Count(), False, time.perf_counter()
    mine = batch.parts_of_shard(*shard)
    missing = [part for part in mine if not folder.has(part)]
    total = sum(stop - start for start, stop in map(batch.range_of, mine))
    done.before = total - sum(stop - start for start, stop in map(batch.range_of, missing))
    with bar(batch.task.name, unit="rows") as progress:
        seen = itertools.count(done.before + 1)
        if given.ray:
            work = _on_ray(given, replace(batch, keywords=named), folder, missing)
        else:
            work = _here(model, batch, folder, missing, lambda: progress.advance(next(seen), total))
        try:
            for rows, errors in work:
                done.done, done.errors = done.done + rows, done.errors + errors
                progress.advance(done.before + done.done, total)
        except KeyboardInterrupt:
            stopped = True
    seconds = time.perf_counter() - started
    complete = not stopped and folder.finish({"rows": batch.input.rows, "parts": batch.n_parts})
    _report(given, model, batch, done, complete, stopped, seconds)
    return INTERRUPTED if stopped else OK


def _here(
    model: Model, batch: Batch, folder: Folder, missing: list[int], seen: Callable[[], None]
) -> Iterator[tuple[int, int]]:
    """Make parts in this process; yields (rows, rows with an error) as each part is on the disk."""
    for part, records in ranges(batch, missing):
        rows = run_part(model, batch, records, seen)
        folder.put(part, lambda path, rows=rows: write_rows(batch, rows, path))  # type: ignore[misc]
        yield len(rows), sum(bool(row["error"]) for row in rows)


def _on_ray(given: Namespace, batch: Batch, folder: Folder, missing: list[int]) -> Iterator[tuple[int, int]]:
    from tokenglass.ray import run_parts

    load = {"source": given.model, **load_arguments(given, given.model)}
    return run_parts(batch, folder, missing, load, address=given.ray, workers=given.workers or 1)


def _task_of(given: Namespace, source: Input, form: str) -> str:
    """The task; OpenAI's requests are for text, and only they have responses.

    Raises:
        UsageError: formats and task do not go together.
    """
    if (source.format == "openai") != (form == "openai"):
        if form == "openai":
            raise UsageError("--format openai answers OpenAI's batch requests; write parquet or jsonl")
        return given.task or "generate"
    task: str = given.task or ("generate" if source.format == "openai" else "next")
    if source.format == "openai" and task != "generate":
        raise UsageError(f"OpenAI's requests are for task generate, got {task}; leave --task out")
    return task


def _own(given: Namespace, task: str) -> dict[str, Any]:
    """The task's own keywords among the options.

    Raises:
        UsageError: an option of another task, or a task without what it needs.
    """
    own = {}
    for option, (owner, keyword) in _OPTIONS.items():
        value = getattr(given, option)
        if value is None:
            continue
        if owner != task:
            dashes = "-" if len(option) == 1 else "--"
            raise UsageError(f"{dashes}{option} is an option of --task {owner}, and the task is {task}")
        own[keyword] = value
    if given.workers and not given.ray:
        raise UsageError("--workers counts the engines that Ray starts; add --ray local")
    if given.ray and (given.device or "").startswith("cuda:"):
        raise UsageError("--ray gives each worker a GPU of its own; say --device cuda, without a number")
    return own


def _refuse_keywords(given: Namespace, configured: bool, task: str) -> None:
    if given.config and not configured:
        name = "--" + next(iter(given.config)).replace("_", "-")
        raise UsageError(f"{name} is a decoding option, and --task {task} decodes nothing; leave it out")


def _manifest(batch: Batch, keywords: Mapping[str, Any], given: Namespace, model: Model) -> dict[str, Any]:
    """What makes the parts, as values."""
    info = model.info
    return {
        "schema": SCHEMA,
        "tokenglass": __version__,
        "created": batch.created,
        "input_path": str(batch.input.path),
        "input": {
            "format": batch.input.format,
            "rows": batch.input.rows,
            "bytes": batch.input.size,
            "sha256": batch.input.sha256,
        },
        "task": batch.task.name,
        "config": {name: keywords[name] for name in sorted(keywords)},
        "chat": batch.chat,
        "format": batch.format,
        "part_rows": batch.part_rows,
        "seed": batch.seed,
        "model": {
            "name": given.model,
            "sha256": info.sha256,
            "engine": info.engine,
            "precision": info.precision,
        },
    }


def _as_begun(asked: Batch, manifest: Mapping[str, Any]) -> Batch:
    """The run as its manifest has it: with the seed and the date of its beginning."""
    return replace(asked, seed=int(manifest["seed"]), created=int(manifest["created"]))


def _report(
    given: Namespace,
    model: Model,
    batch: Batch,
    done: Count,
    complete: bool,
    stopped: bool,
    seconds: float,
) -> None:
    if given.json:
        document: dict[str, Any] = {
            **engine_facts(model.info),
            "output": given.output,
            "task": batch.task.name,
            "rows": batch.input.rows,
            "rows_done": done.done,
            "rows_before": done.before,
            "errors": done.errors,
            "complete": complete,
            "seconds": seconds,
        }
        print_json(document)
        return
    speed = f", {done.done / seconds:,.1f} a second" if done.done and seconds > 0 else ""
    wrong = f", {count(done.errors, 'row')} with an error" if done.errors else ""
    before = f", {done.before:,} there before" if done.before else ""
    if stopped:
        note("stopped; the same command goes on where it was")
    state = "" if complete or stopped else "; other shards are not done yet"
    Screen().show(
        [Line(f"{count(done.done, 'row')} in {safe_line(given.output)}{wrong}{before}{speed}{state}")]
    )
