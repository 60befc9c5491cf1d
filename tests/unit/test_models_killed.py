"""A fetch that is killed: nothing half-made is left, pip ends with it, and the next run starts again."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.unit.test_models_fetch import FETCH, SECONDS, Bench, bench

__all__ = ["bench"]  # the fixture
N_KILLS = 100 if os.environ.get("TOKENGLASS_FULL") == "1" else 6


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killed_fetch_takes_pip_with_it(bench: Bench) -> None:
    process = bench.start("slow")
    deadline = time.monotonic() + SECONDS
    while not bench.log.exists() or not bench.log.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = int(bench.log.read_text().split()[0])
    assert is_running(pid)
    process.kill()
    process.communicate()
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_kill_at_random_moments_leaves_nothing_half_made(bench: Bench) -> None:
    """After each kill -9 the model is absent or whole; the run after the last kill fetches and cleans up."""
    moments = random.Random(8)
    n_absent = 0
    for _ in range(N_KILLS):
        process = bench.start("slow")
        time.sleep(moments.uniform(0.0, 1.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if bench.kept.exists():
            assert bench.kept.read_bytes() == bench.model
            bench.kept.unlink()
        else:
            n_absent += 1
    assert n_absent, "every run finished before its kill: the moments are too late"
    assert bench.fetch() == (0, str(bench.kept), "")
    assert bench.kept.read_bytes() == bench.model and bench.leftovers() == []


DIE = """
import os
from tokenglass.files import cache, embedded
from tokenglass.files.progress import Bar
def dying(function, before):
    def wrapped(*arguments):
        if before:
            os._exit(9)
        function(*arguments)
        os._exit(9)
    return wrapped
module, name, before = {where!r}
setattr({{"cache": cache, "embedded": embedded, "os": os}}[module], name, dying(getattr({{"cache": cache,
    "embedded": embedded, "os": os}}[module], name), before))
"""


@pytest.mark.parametrize(
    ("module", "name", "before", "whole"),
    [
        ("embedded", "_run_pip", True, False),
        ("embedded", "_run_pip", False, False),
        ("embedded", "unpack", False, False),
        ("os", "fsync", True, False),
        ("os", "replace", True, False),
        ("os", "replace", False, True),
        ("cache", "place", False, True),
        ("cache", "remember_digest", True, True),
    ],
)
def test_death_at_each_stage(bench: Bench, module: str, name: str, before: bool, whole: bool) -> None:
    process = bench.start("good", script=DIE.format(where=(module, name, before)) + FETCH)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 9
    assert bench.kept.exists() is whole
    assert not whole or bench.kept.read_bytes() == bench.model
    assert bench.fetch() == (0, str(bench.kept), "")
    assert bench.leftovers() == []


def test_two_at_once_download_once(bench: Bench) -> None:
    both = [bench.start("slow") for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=SECONDS)
        assert (process.returncode, out.strip(), err) == (0, str(bench.kept), "")
    assert bench.n_downloads() == 1 and bench.leftovers() == []
