"""How the cost of a batch grows: with prompts, with tokens, with workers on a Ray cluster of this machine.

Every line has wall time and, for work in this process, CPU time, which says more on a shared machine.
The cost of a worker's row is the slope between two numbers of rows, so that Ray's start is not in it.

    python benchmarks/scale.py [--rows 128] [--rounds 3] [--ray]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from batch import prompts

import tokenglass as tg

PARAGRAPH = "It was a bright day in April, and all of the town was out in the streets to see a parade. "
HEAD = ("task", "rows", "wall", "CPU", "a row", "rows an hour", "tokens an hour")


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def line(what: str, rows: int, tokens: int, runs: list[tuple[float, float]]) -> None:
    """One row of the table: medians."""
    wall, cpu = (statistics.median(run[i] for run in runs) for i in (0, 1))
    print(
        f"| {what} | {rows} | {wall:.2f} s | {cpu:.2f} s | {wall / rows * 1e3:.1f} ms "
        f"| {rows / wall * 3600:,.0f} | {tokens / wall * 3600:,.0f} |",
        flush=True,
    )


def in_process(rows: int, rounds: int) -> None:
    model = tg.load("smollm2")
    engine: Any = model.engine

    def runs(ask: Callable[[], Iterable[Any]]) -> list[tuple[float, float]]:
        def once() -> None:
            engine.begin_batch()
            for _ in ask():
                pass

        return [timed(once) for _ in range(rounds)]

    engine.begin_batch()
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    for count in (rows // 4, rows // 2, rows):
        some = prompts(count, 1)
        tokens = sum(len(model.tokenize(p).ids) for p in some)
        line("next", count, tokens, runs(lambda: model.map(some, lookahead=len(some))))  # noqa: B023
    for new in (5, 10, 20):
        some, options = prompts(rows // 4, 2), {"max_new_tokens": new, "eos_token_id": None}
        found = runs(lambda: model.map(some, "generate", lookahead=len(some), **options))  # noqa: B023
        line(f"generate, {new} new tokens", len(some), new * len(some), found)
    for times in (1, 2, 4):
        texts = [f"{number}. {PARAGRAPH * times}" for number in range(rows // 8)]
        tokens = sum(len(model.tokenize(t).ids) for t in texts)
        found = runs(lambda: model.map(texts, "score", lookahead=len(texts)))  # noqa: B023
        line(f"score, {tokens // len(texts)} tokens", len(texts), tokens, found)


def on_ray(rows: int) -> None:
    print("\n| workers | rows | wall | slope, a row |\n|---|---|---|---|")
    for workers in (1, 2):
        walls = [ray_seconds(count, workers) for count in (rows, 4 * rows)]
        slope = (walls[1] - walls[0]) / (3 * rows)
        for count, wall in zip((rows, 4 * rows), walls, strict=True):
            print(f"| {workers} | {count} | {wall:.1f} s | {slope * 1e3:.1f} ms |", flush=True)


def ray_seconds(rows: int, workers: int) -> float:
    """Wall time of a run on a local cluster, its start included."""
    with tempfile.TemporaryDirectory(prefix="tg-") as folder:
        source = Path(folder) / "in.jsonl"
        source.write_text("".join(json.dumps(p) + "\n" for p in prompts(rows, 3)), encoding="utf-8")
        words = ["batch", str(source), "-o", f"{folder}/out", "--part-rows", "64", "--json"]
        command = [sys.executable, "-m", "tokenglass", *words, "--ray", "local", "--workers", str(workers)]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return float(json.loads(done.stdout)["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="measure workers on a local cluster instead")
    options = parser.parse_args()
    if options.ray:
        on_ray(options.rows)
    else:
        in_process(options.rows, options.rounds)


if __name__ == "__main__":
    main()
