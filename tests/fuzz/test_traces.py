"""Broken traces and records: cut anywhere, flipped anywhere, or built to waste memory and time.

A child process takes all cases of a kind. A case must end with a result or with a `TraceError` of one line,
within seconds of CPU time, and the child's memory may not grow by more than 200 MB. Seeds are fixed; a
failing case is named by its number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.test_headers import broken, memory_mb

FULL = os.environ.get("TOKENGLASS_FULL") == "1"
N_CASES = 2_000 if FULL else 200
MAX_SECONDS = 2.0
MAX_GROWTH_MB = 200

CHILD = """
import json, sys
from tests.fuzz import test_traces
print(json.dumps(test_traces.run(sys.argv[1], int(sys.argv[2]))))
"""


def unsealed(data: bytes) -> bytes:
    """The same lines without their checksums, so that a flip reaches the readers behind them."""
    lines = [json.loads(line) for line in data.splitlines()]
    return b"".join(
        json.dumps({k: v for k, v in line.items() if k != "crc"}).encode() + b"\n" for line in lines
    )


def small_trace() -> bytes:
    from tests.unit.trace_samples import written

    with tempfile.TemporaryDirectory() as folder:
        return written(Path(folder) / "t.jsonl").read_bytes()


def traces(n_cases: int) -> Iterator[tuple[str, bytes]]:
    sealed = small_trace()
    for case in range(n_cases):
        yield f"sealed {case}", broken(sealed, case)
        yield f"unsealed {case}", broken(unsealed(sealed), case)


def bombs(_: int) -> Iterator[tuple[str, bytes]]:
    sound = small_trace()
    head, first = sound.splitlines(keepends=True)[:2]
    event = b'{"n":2,"event":"dream","x":'
    for name, body in [
        ("lists", b"[" + b"[]," * 5_000_000 + b"0]"),
        ("numbers", b"[" + b"1.5," * 3_900_000 + b"0]"),
        ("depth", b"[" * 4_000_000 + b"]" * 4_000_000),
        ("digits", b"9" * 10_000_000),
        ("text", b'"' + b"x" * (17 << 20) + b'"'),
        ("just allowed", b"[" + b"1.5," * 1_900_000 + b"0]"),
    ]:
        yield name, head + first + event + body + b"}\n" + b'{"n":3,"event":"close"}\n'
    yield "newlines", head + b"\n" * 30_000_000
    yield (
        "prunes",
        head + first + b"".join(b'{"n":%d,"event":"prune","node":1}\n' % n for n in range(2, 100_002)),
    )
    yield "no newline", b'{"schema":"tokenglass.trace/1' + b"x" * 30_000_000


def records(n_cases: int) -> Iterator[tuple[str, bytes]]:
    folder = Path(__file__).resolve().parents[1] / "unit" / "foreign_records"
    seeds = [path.read_bytes() for path in sorted(folder.iterdir())]
    assert len(seeds) > 4
    for case in range(n_cases):
        yield f"record {case}", broken(seeds[case % len(seeds)], case)


def open_trace(data: bytes) -> None:
    """Read a trace, its tree, every step of it and its tables."""
    from tokenglass.traces import candidate_table, tree_of, tree_table
    from tokenglass.traces.reading import parse

    trace = parse(data, "t.jsonl")
    tree_of(trace)
    for table in (tree_table({"t": trace.nodes}), candidate_table({"t": trace.nodes})):
        for _ in table:
            pass


def open_record(data: bytes) -> None:
    from tokenglass.traces import foreign_table, import_responses

    for _ in foreign_table(import_responses(data)):
        pass


KINDS: dict[str, tuple[Callable[[int], Iterator[tuple[str, bytes]]], Callable[[bytes], None]]] = {
    "traces": (traces, open_trace),
    "bombs": (bombs, open_trace),
    "records": (records, open_record),
}


def run(kind: str, n_cases: int) -> dict[str, Any]:
    """Open broken data one after the other; returns counts, the slowest case and the growth of memory."""
    import time

    from tokenglass.errors import TraceError

    make, attempt = KINDS[kind]
    attempt_once = next(make(1))[1]
    _quietly(attempt, attempt_once)  # what is imported on the way is not the case's memory
    outcome: dict[str, Any] = {"sound": 0, "refused": 0, "slowest": [0.0, ""], "wrong": [], "growth_mb": 0.0}
    for name, data in make(n_cases):
        start, began = memory_mb(peak=False), time.process_time()
        try:
            attempt(data)
            outcome["sound"] += 1
        except TraceError as error:
            outcome["refused"] += 1
            if not str(error).isprintable() or len(str(error)) > 500:
                outcome["wrong"].append(f"{name}: {error!r}")
        except Exception as error:
            outcome["wrong"].append(f"{name}: {error!r}"[:300])
        outcome["slowest"] = max(outcome["slowest"], [time.process_time() - began, name])
        outcome["growth_mb"] = max(outcome["growth_mb"], memory_mb(peak=True) - start)
    return outcome


def _quietly(attempt: Callable[[bytes], None], data: bytes) -> None:
    from tokenglass.errors import TraceError

    try:
        attempt(data)
    except TraceError:
        return


@pytest.mark.parametrize("kind", KINDS)
def test_broken_data_is_refused_in_one_line(kind: str) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    command = [sys.executable, "-c", CHILD, kind, str(N_CASES)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, timeout=600)
    assert result.returncode == 0, result.stderr
    outcome = json.loads(result.stdout)
    print(outcome)
    assert outcome["wrong"] == []
    assert outcome["refused"] > 0 and outcome["sound"] > 0
    assert outcome["slowest"][0] < MAX_SECONDS
    assert outcome["growth_mb"] < MAX_GROWTH_MB
