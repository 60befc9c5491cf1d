"""Sessions whose process is killed: every acknowledged step is in the file, which opens and replays."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tokenglass as tg
from tests.conftest import FULL
from tests.contract.test_tree_walks import NEUTRAL, PLAIN, PROMPT, table_model
from tests.unit.test_saving import Walker, assert_same, snapshot
from tokenglass.replaying import replay
from tokenglass.saving import open_session

ROOT = Path(__file__).resolve().parents[2]
N_KILLS = 200 if FULL else 8

WALKING = """
import random, sys
from tests.contract.test_tree_walks import PROMPT, REMEMBERING, table_model
from tests.unit.test_saving import Walker, moves
from tokenglass.saving import open_session
path, seed = sys.argv[1], int(sys.argv[2])
chains = REMEMBERING["transformers"]
if seed:
    session = open_session(path, table_model())
else:
    session = table_model().session(list(PROMPT), **chains[0])
    session.save(path)
print("ready", flush=True)
walker, rng = Walker(session, chains), random.Random(seed)
while len(session.tree) < 4000:
    for move in moves(rng, 8):
        walker.move(*move)
        here = walker.hands[move[1] % len(walker.hands)]
        print(here.node.id, here.node.step and here.node.step.draw, *here.ids, flush=True)
    walker.hands = walker.hands[:2]
"""


def child(code: str, path: Path, seed: int) -> subprocess.Popen[str]:
    folders = [str(Path(tg.__file__).parents[1]), str(ROOT)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(path), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_every_acknowledged_step_survives_kill_9(tmp_path: Path) -> None:
    """One session, killed again and again at random moments, each time opened where it was."""
    path, moments = tmp_path / "t.jsonl", random.Random(21)
    seen: dict[int, list[str]] = {}
    n_seen = 0
    for seed in range(N_KILLS):
        if seed % 10 == 9:  # begin anew, so that files stay small
            path.unlink()
            seen.clear()
        process = child(WALKING, path, seed if path.exists() else 0)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.25))
        process.send_signal(signal.SIGKILL)
        lines = process.communicate()[0].splitlines(keepends=True)
        for line in lines:
            number, *rest = line.split()
            if line.endswith("\n"):
                seen[int(number)] = rest
        n_seen += len(lines)
        session = open_session(path, table_model())
        nodes = session.tree._nodes
        for number, (draw, *ids) in seen.items():
            step = nodes[number].step
            assert [*map(str, session.tree.ids(nodes[number]))] == ids
            assert str(step and step.draw) == draw
        found = replay(table_model(), session.tree)
        assert found.identical, found.first_difference
        assert len(session.tree) >= max(seen, default=0)
        journal = session._file[0]
        assert journal is not None
        journal.journal.__exit__()  # let go of the file as a killed process does
    assert n_seen > 10 * N_KILLS, "hardly anything was done before the kills"


SINGLE = """
import random, sys
from tests.contract.test_tree_walks import NEUTRAL, PLAIN, PROMPT, table_model
from tests.unit.test_saving import Walker
from tests.unit.test_saving_killed import single_moves
session = table_model().session(list(PROMPT), **NEUTRAL)
session.save(sys.argv[1])
print("ready", flush=True)
walker = Walker(session, PLAIN)
for move in single_moves(int(sys.argv[2])):
    walker.move(*move)
    print("moved", flush=True)
"""
SINGLE_MOVES = ("step", "step", "step", "force", "undo", "goto", "set", "name", "note", "prune")


def single_moves(seed: int) -> list[tuple[str, int, int]]:
    """Moves of one session that are one thing each."""
    rng = random.Random(seed)
    return [(rng.choice(SINGLE_MOVES), 0, rng.randrange(1000)) for _ in range(2000)]


def without_counts(session: tg.Session) -> dict[str, Any]:
    """A session but for how often it drew where, which is written before the step."""
    found = snapshot(session)
    return found | {"places": [row[:-1] for row in found["places"]]}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal")
def test_a_killed_session_is_its_twin_of_that_moment(tmp_path: Path) -> None:
    """Opened, it is what an unkept twin is after as many moves as were acknowledged, or one more."""
    moments, n_moves = random.Random(22), 0
    for seed in range(30 if FULL else 3):
        path = tmp_path / f"{seed}.jsonl"
        process = child(SINGLE, path, seed)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.02, 0.15))
        process.send_signal(signal.SIGKILL)
        n_acknowledged = process.communicate()[0].count("moved\n")
        n_moves += n_acknowledged
        opened = open_session(path, table_model())
        got = without_counts(opened)
        opened.close()
        twin = Walker(table_model().session(list(PROMPT), **NEUTRAL), PLAIN)
        todo = single_moves(seed)
        for move in todo[:n_acknowledged]:
            twin.move(*move)
        if got != without_counts(twin.hands[0]):
            twin.move(*todo[n_acknowledged])
            assert_same(got, without_counts(twin.hands[0]))
    assert n_moves > 30, "hardly anything was done before the kills"
