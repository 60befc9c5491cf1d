"""The tasks of `Model.map` on a Ray cluster, as `map_batches` of Ray Data over actors that hold an engine.

Ray places, restarts and orders the work; nothing here schedules. What a worker makes of some rows depends on
those rows alone, so that work done again after a worker's death comes out the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tokenglass.batching import task_named
from tokenglass.batching.inputs import record_of
from tokenglass.batching.parquet import table
from tokenglass.batching.running import PART_ROWS, Batch, run_part, seed_of, write_rows
from tokenglass.batching.tasks import Task, check_names
from tokenglass.errors import EngineError, MissingDependency
from tokenglass.loading import is_address
from tokenglass.random import fresh_seed

if TYPE_CHECKING:
    from tokenglass.batching.folder import Folder
    from tokenglass.model import Model

LOCAL, AUTO = "local", "auto or local"  # AUTO: the cluster that the program is connected to, or a local one
STARTS = 4
MOST_BLOCKS = 1000  # pieces that Ray keeps account of; a worker's death costs at most one of them
# Unless told otherwise Ray reports usage and opens its ports to the network.
_PRIVATE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def map(
    dataset: Any,
    task: str = "next",
    *,
    model: str = "smollm2",
    load: Mapping[str, Any] | None = None,
    workers: int = 1,
    threads: int | None = None,
    num_gpus: float | None = None,
    batch_rows: int = PART_ROWS,
    **keywords: Any,
) -> Any:
    """A Ray dataset with the results of a task beside each row, in the dataset's order.

    Args:
        dataset: a `ray.data.Dataset` with a column "prompt", "text", "messages" or "ids"; "options" and
            "config" hold keywords of a row's own, as in the files of `tokenglass batch`.
        task: "next", "score", "generate", "strategies" or "candidates".
        model: what each worker loads: as for `tokenglass.load`, a server's address included.
        load: more arguments of `tokenglass.load`, such as `{"engine": "hf"}`.
        workers: engines, each in an actor of its own.
        threads: of each engine; None shares the cluster's cores among the workers. A server has its own.
        num_gpus: that each worker holds.
        batch_rows: rows that are given to an engine at a time.
        **keywords: of the task and of generation. Rows that draw and name no seed draw by their "id", or
            by their prompt where there is none: the same prompt has the same luck.

    Returns:
        A lazy dataset with the columns of the task and "error"; a column that the dataset has already gets
        the task's name in front, as in "next_ids".

    Raises:
        ValueError: no such task, or a wrong value.
        TypeError: an unknown keyword.
        MissingDependency: Ray is not installed.
    """
    chosen = task_named(task)
    check_names(chosen, keywords)
    if threads is not None and is_address(model):
        raise ValueError("threads: settled by the server; leave out")
    started(AUTO)
    given = {} if threads is None else {"threads": threads}
    arguments, cores = worker_load({"source": model, **given, **(load or {})}, _threads(workers))
    options = {"num_gpus": num_gpus} if num_gpus else {}
    lazy = dataset.map_batches(
        RowWorker,
        fn_constructor_kwargs={
            "load": arguments,
            "task": task,
            "keywords": keywords,
            "seed": fresh_seed(),
        },
        batch_size=batch_rows,
        batch_format="pyarrow",
        num_cpus=cores,
        concurrency=workers,
        **options,
    )
    lazy.context.execution_options.preserve_order = True
    return lazy


def run_parts(
    batch: Batch,
    folder: Folder,
    missing: Sequence[int],
    load: Mapping[str, Any],
    *,
    address: str,
    workers: int,
) -> Iterator[tuple[int, int]]:
    """Make the missing parts of a folder that all nodes share; yields (rows, rows with an error) of each.

    Args:
        batch: what is to be done.
        folder: where the parts go.
        missing: their numbers.
        load: arguments of `tokenglass.load`.
        address: of a cluster; "local" starts one here that ends with this process.
        workers: engines.

    Raises:
        EngineError: a worker failed; says with what.
    """
    if not missing:
        return
    ray, ours = started(address, workers)
    try:
        load, cores = worker_load(load, _threads(workers))
        gpus = worker_gpus(load, workers, ray.cluster_resources())
        parts = ray.data.from_items([{"part": p} for p in missing], override_num_blocks=_blocks(missing))
        done = parts.map_batches(
            PartWorker,
            fn_constructor_kwargs={"load": load, "batch": batch, "folder": folder},
            batch_size=1,
            num_cpus=cores,
            concurrency=workers,
            **gpus,  # Ray hides a machine's GPUs from workers that ask for none
        )
        for row in done.iter_rows():
            if row["failed"]:
                raise EngineError(row["failed"])
            yield int(row["rows"]), int(row["errors"])
    except ray.exceptions.RayError as error:
        cause = " ".join(str(getattr(error, "cause", None) or error).split())
        raise EngineError(f"Ray gave up: {cause[:300]}") from error
    finally:
        if ours:
            ray.shutdown()


def worker_load(load: Mapping[str, Any], cores: int) -> tuple[dict[str, Any], int]:
    """What each worker loads, and the cores that Ray sets aside for it: never more than there are.

    Args:
        load: arguments of `tokenglass.load`.
        cores: each worker's share of the cluster.
    """
    if is_address(load["source"]):
        return dict(load), 1  # it waits for answers, and the server has settled its threads
    threads = load.get("threads") or cores
    return {**load, "threads": threads}, min(threads, cores)


def worker_gpus(load: Mapping[str, Any], workers: int, there: Mapping[str, float]) -> dict[str, int]:
    """A GPU for each worker that computes on one.

    Raises:
        EngineError: there are fewer, and Ray would wait for them without end.
    """
    if not str(load.get("device")).startswith("cuda"):
        return {}
    if there.get("GPU", 0) < workers:
        raise EngineError(
            f"{workers} workers with device cuda need as many GPUs, and the cluster has "
            f"{int(there.get('GPU', 0))}; take fewer workers or another device"
        )
    return {"num_gpus": 1}


def _blocks(parts: Sequence[int]) -> int:
    return min(len(parts), MOST_BLOCKS)


class PartWorker:
    """Holds an engine and makes one part after another; a part that is made twice is the same twice."""

    def __init__(self, load: Mapping[str, Any], batch: Batch, folder: Folder) -> None:
        self.model, keywords = _loaded(load, batch.keywords)
        self.batch, self.folder = replace(batch, keywords=keywords), folder

    def __call__(self, asked: dict[str, Any]) -> dict[str, list[Any]]:
        """Make the parts asked for."""
        from tokenglass.batching.running import said

        done: dict[str, list[Any]] = {"rows": [], "errors": [], "failed": []}
        for part in asked["part"].tolist():
            rows, failed = [], ""
            try:
                records = next(self.batch.input.parts([self.batch.range_of(part)]))
                rows = run_part(self.model, self.batch, records)
                self.folder.put(part, partial(write_rows, self.batch, rows))
            except Exception as error:  # as a value: Ray would wrap it in pages of its own frames
                failed = said(error)
            done["rows"].append(len(rows))
            done["errors"].append(sum(bool(row["error"]) for row in rows))
            done["failed"].append(failed)
        return done


class RowWorker:
    """Holds an engine and answers rows, whatever batches they come in."""

    def __init__(self, load: Mapping[str, Any], task: str, keywords: Mapping[str, Any], seed: int) -> None:
        self.model, keywords = _loaded(load, keywords)
        self.rows = Rows(task_named(task), keywords, seed)

    def __call__(self, asked: Any) -> Any:
        """The rows of a pyarrow table with their results."""
        return self.rows.answered(self.model, asked)


@dataclass(frozen=True)
class Rows:
    """What is asked of rows that come from no file."""

    task: Task
    keywords: Mapping[str, Any]
    seed: int

    def answered(self, model: Model, asked: Any) -> Any:
        """A pyarrow table with columns added."""
        records = [record_of(place, values) for place, values in enumerate(asked.to_pylist())]
        if self.task.configured and self.keywords.get("seed") is None:
            records = [
                replace(r, keywords={"seed": seed_of(self.seed, r.luck), **r.keywords}) for r in records
            ]
        batch = Batch(None, self.task, self.keywords)  # type: ignore[arg-type]
        rows = run_part(model, batch, records)
        columns = {"error": batch.columns["error"], **self.task.columns}
        results = table(columns, [{name: row[name] for name in columns} for row in rows])
        for name in columns:
            free = name if name not in asked.column_names else f"{self.task.name}_{name}"
            asked = asked.append_column(free, results[name])
        return asked


def _loaded(load: Mapping[str, Any], keywords: Mapping[str, Any]) -> tuple[Model, dict[str, Any]]:
    """A worker's model, and the keywords with the model that drafts in the place of its name."""
    from tokenglass.loading import load as loaded

    keywords = dict(keywords)
    if isinstance(drafter := keywords.get("assistant_model"), str):
        keywords["assistant_model"] = loaded(**{**load, "source": drafter})
    return loaded(**load), keywords


def started(address: str, workers: int = 1) -> tuple[Any, bool]:
    """The package `ray`, connected, and whether the connection was made here.

    It reports nothing and draws nothing, and a cluster that it starts listens to this machine alone.

    Raises:
        MissingDependency: Ray is not installed.
        EngineError: there is no cluster at that address.
    """
    for name, value in _PRIVATE.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependency("Ray", "pip install 'tokenglass[ray]'") from error
    ours = not ray.is_initialized()
    if ours:
        _start(ray, address, workers)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray, ours


def _start(ray: Any, address: str, workers: int) -> None:
    """Connect to a cluster, or start one on this machine."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    local = address in (LOCAL, AUTO)
    n_cores = max(workers, os.cpu_count() or 1)
    for attempt in range(1, STARTS + 1):
        try:
            if local:
                ray.init(address=LOCAL, num_cpus=n_cores, include_dashboard=False, **quiet)
            else:
                ray.init(address=address, **quiet)
            return
        except Exception as error:  # Ray raises plain ones, too
            ray.shutdown()
            # it allows its helpers 15 seconds to begin, which a busy machine may not keep
            if not (local and "timed out during startup" in str(error)) or attempt == STARTS:
                said = " ".join(str(error).split())[:200]
                raise EngineError(f"there is no Ray cluster at {address!r}: {said}") from error


def _threads(workers: int) -> int:
    """Cores for each worker, at least one, and no more than a single machine has."""
    import ray

    sizes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return max(1, min(sum(sizes) // workers, max(sizes, default=1)))
