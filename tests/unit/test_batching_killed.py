"""Runs that are killed and resumed: the folder ends as if nobody had touched it, byte for byte."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import batch_model
from tests.conftest import FULL

ROWS, PART_ROWS, KILLS = (10_000, 200, 20) if FULL else (240, 20, 2)


def begun(*words: str | Path) -> subprocess.Popen[str]:
    argv, environment = batch_model.command(*words)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(argv, env=environment | {"OMP_NUM_THREADS": "1"}, **quiet)  # type: ignore[call-overload,no-any-return]


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*"))}


def killed(process: subprocess.Popen[str], out: Path, moments: random.Random) -> bool:
    """Kill a run while it loads, or a little after some more parts came; False where it was done before."""
    wanted = len(list(out.glob("part-*"))) + moments.randint(0, 2)
    while process.poll() is None and len(list(out.glob("part-*"))) < wanted:
        time.sleep(0.002)
    time.sleep(moments.uniform(0, 0.2 if wanted else 2))
    if process.poll() is not None:
        process.communicate()
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return True


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_kill_9_loses_and_doubles_no_row(tmp_path: Path) -> None:
    model = batch_model.make(tmp_path / "m")
    rows = batch_model.write_jsonl(tmp_path / "in.jsonl", batch_model.prompts(ROWS))
    words = ("batch", rows, "-m", model, "-n", "3", "--part-rows", str(PART_ROWS))
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert begun(*words, "-o", whole).communicate()[1] == ""
    torn.mkdir()
    moments, kills = random.Random(5), 0
    while kills < KILLS and not (torn / "_SUCCESS").exists():
        kills += killed(begun(*words, "-o", torn), torn, moments)
    print(f"{kills} kills, {len(parts(torn))} of {-(-ROWS // PART_ROWS)} parts were there after the last")
    assert kills == KILLS
    last = begun(*words, "-o", torn)
    assert (last.communicate()[1], last.returncode) == ("", 0)
    assert parts(torn) == parts(whole) and len(parts(whole)) == -(-ROWS // PART_ROWS)
    left = {path.name for path in torn.iterdir()} - set(parts(torn))
    assert left == {"_SUCCESS", "_manifest.json", ".lock-1-of-1"}
    assert json.loads((torn / "_SUCCESS").read_text())["rows"] == ROWS
    table = pytest.importorskip("pyarrow.parquet").read_table([str(p) for p in sorted(torn.glob("part-*"))])
    assert table["row"].to_pylist() == list(range(ROWS)) and table["error"].null_count == ROWS
