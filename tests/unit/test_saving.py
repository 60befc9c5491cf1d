"""Sessions on disk lose nothing: what is opened is what was closed, and goes on as if it had never been.

Random walks are gone twice: by a session that is saved at some moment, closed and opened again, and by a twin
that never sees a disk. Places are compared in their order, since a save leaves out what was pruned before it.
"""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.conftest import FULL
from tests.contract.test_tree_walks import NEUTRAL, PLAIN, PROMPT, REMEMBERING, Quiet, table_model
from tests.unit.trace_samples import bits, contents
from tokenglass.errors import TokenglassError, TraceError
from tokenglass.model import Model
from tokenglass.saving import open_session
from tokenglass.traces import TraceInUse, read

ROOT = Path(__file__).resolve().parents[2]
CHAINS = [PLAIN, *REMEMBERING.values()]  # a walk stays within one list
USED = (97, 98, 99, 0xC3, 0xA9)
N_WALKS = 500 if FULL else 40
MOVES = (
    *("step", "step", "step", "step", "force", "reroll", "undo", "undo_redo", "goto", "fork"),
    *("set", "name", "note", "prune", "expand", "sample"),
)


def places(session: tg.Session) -> list[Any]:
    """The places that were not pruned, oldest first."""
    return list(session.tree)


def snapshot(session: tg.Session, *, numbers: bool = False) -> dict[str, Any]:
    """All that a session is, every number by its bits."""
    nodes = places(session)
    order = {node.id: index for index, node in enumerate(nodes)}
    rows = [
        (
            node.id if numbers else order[node.id],
            None if node.parent is None else order[node.parent.id],
            None if node.step is None else contents(node.step),
            bits(dict(session.tree.configs[node.config])) if node.parent else None,
            (node.name, tuple(node.notes), node.count, node.pending),
            session.samples_at(node),
        )
        for node in nodes
    ]
    return {
        "places": rows,
        "prompt": session.prompt_ids,
        "here": order[session.node.id],
        "ids": session.ids,
        "text": session.text,
        "given": bits(dict(session.writer.given)),
        "config": bits(session.config.to_dict()),
        "finish_reason": session.finish_reason,
    }


def assert_same(got: dict[str, Any], want: dict[str, Any]) -> None:
    for key, value in want.items():
        if key != "places":
            assert got[key] == value, key
    assert len(got["places"]) == len(want["places"])
    for mine, theirs in zip(got["places"], want["places"], strict=True):
        assert mine == theirs


class Walker:
    """Makes moves that depend on small numbers and the session alone, so that twins go the same way."""

    def __init__(self, session: tg.Session, chains: list[dict[str, Any]]) -> None:
        self.hands, self.chains = [session], chains

    def move(self, kind: str, who: int, x: int) -> Any:
        """Make a move; returns what came of it, comparable between twins."""
        session = self.hands[who % len(self.hands)]
        try:
            return getattr(self, kind)(session, x)
        except (ValueError, TokenglassError) as error:
            assert not isinstance(error, TraceError), error
            return type(error).__name__

    def place(self, session: tg.Session, x: int) -> Any:
        nodes = places(session)
        return nodes[x % len(nodes)]

    def step(self, session: tg.Session, x: int) -> Any:
        return contents(session.step())  # type: ignore[arg-type]

    def force(self, session: tg.Session, x: int) -> Any:
        return contents(session.step(token=USED[x % len(USED)]))

    def reroll(self, session: tg.Session, x: int) -> Any:
        return contents(session.step(reroll=True))  # type: ignore[arg-type]

    def undo(self, session: tg.Session, x: int) -> Any:
        undone = session.undo(1 + x % 3)
        return undone and contents(undone)

    def undo_redo(self, session: tg.Session, x: int) -> Any:
        n = min(1 + x % 3, len(session.steps))
        session.undo(n)
        return [contents(step) for step in session.steps if session.redo(n)]

    def goto(self, session: tg.Session, x: int) -> Any:
        session.goto(self.place(session, x))
        return session.ids

    def fork(self, session: tg.Session, x: int) -> None:
        if len(self.hands) < 4:
            self.hands.append(session.fork())

    def set(self, session: tg.Session, x: int) -> Any:
        return bits(session.set(**self.chains[x % len(self.chains)]).to_dict())

    def name(self, session: tg.Session, x: int) -> None:
        session.name(f"n{x % 4}")

    def note(self, session: tg.Session, x: int) -> None:
        session.note(f"note {x}\n\u202e")

    def prune(self, session: tg.Session, x: int) -> int:
        return session.prune(self.place(session, x) if x % 3 else None)

    def expand(self, session: tg.Session, x: int) -> Any:
        found = session.expand(depth=1 + x % 2, mass=0.7, limit=5)
        return found.n_new, bits(list(found.probabilities))

    def sample(self, session: tg.Session, x: int) -> Any:
        found = session.sample(1 + x % 3, max_new_tokens=2)
        return found.n_new, found.counts


def moves(rng: random.Random, n: int) -> list[tuple[str, int, int]]:
    return [(rng.choice(MOVES), rng.randrange(4), rng.randrange(1000)) for _ in range(n)]


def both(walkers: list[Walker], todo: list[tuple[str, int, int]]) -> None:
    for move in todo:
        first, second = (walker.move(*move) for walker in walkers)
        assert first == second, move


@pytest.mark.parametrize("seed", range(N_WALKS))
def test_a_walk_with_a_disk_is_a_walk_without(seed: int, tmp_path: Path) -> None:
    rng, path = random.Random(seed), tmp_path / "walk.jsonl"
    chains = CHAINS[seed % len(CHAINS)]
    given = rng.choice(chains)
    kept, twin = (table_model().session(list(PROMPT), **given) for _ in range(2))
    walkers = [Walker(kept, chains), Walker(twin, chains)]
    both(walkers, moves(rng, rng.randrange(20)))
    kept.save(path)
    both(walkers, moves(rng, rng.randrange(25)))
    assert_same(snapshot(kept), snapshot(twin))
    kept.close()
    opened = open_session(path, table_model())
    assert_same(snapshot(opened), snapshot(twin))
    walkers = [Walker(opened, chains), Walker(twin, chains)]
    both(walkers, moves(rng, 12))
    assert_same(snapshot(opened), snapshot(twin))
    opened.close()
    again = open_session(path, table_model())
    assert_same(snapshot(again), snapshot(twin))
    again.close()


def test_places_keep_their_numbers(tmp_path: Path) -> None:
    """From the save on a place is known by one number, also after others were pruned."""
    rng, path = random.Random(5), tmp_path / "t.jsonl"
    session = table_model().session(list(PROMPT), **NEUTRAL)
    session.step(3)
    session.save(path)
    walker = Walker(session, PLAIN)
    for move in moves(rng, 40):
        walker.move(*move)
    assert any(node.pruned for node in session.tree._nodes.values())
    want = snapshot(session, numbers=True)
    session.close()
    with_numbers = open_session(path, table_model())
    assert_same(snapshot(with_numbers, numbers=True), want)
    assert len(with_numbers.tree) == len(session.tree)
    with_numbers.close()


# ------------------------------------------------------------------ chains that remember


NAMED: dict[str, dict[str, Any]] = {
    "mirostat": {"mirostat": 2},
    "mirostat 1 of llama.cpp": {"preset": "llama.cpp", "rng": "llama.cpp", "mirostat": 1},
    "adaptive-p": {"adaptive_target": 0.3},
    "xtc of llama.cpp": {"preset": "llama.cpp", "rng": "llama.cpp", "xtc_probability": 0.5},
    "dist of llama.cpp": {"preset": "llama.cpp", "rng": "llama.cpp"},
    "torch": {"rng": "torch"},
    "dry": {"dry_multiplier": 0.8},
    **({"regex": {"regex": "([ab]c?)+"}} if find_spec("llguidance") else {}),
}


@pytest.mark.parametrize("config", NAMED.values(), ids=NAMED)
def test_memory_goes_on_after_opening(config: dict[str, Any], tmp_path: Path) -> None:
    """Against `generate`, which knows no session: 6 tokens, a forced detour, closed, opened, 6 more."""
    given = NEUTRAL | config
    want = table_model().generate(list(PROMPT), max_new_tokens=12, **given)
    session = table_model().session(list(PROMPT), **given)
    session.step(3)
    session.save(tmp_path / "t")
    session.step(3)
    session.step(token=97)
    session.undo()
    session.close()
    opened = open_session(tmp_path / "t", table_model())
    while len(opened.steps) < 12 and opened.finish_reason is None:
        opened.step()
    n = len(opened.steps)
    assert n == len(want.ids) > 6
    assert opened.ids[len(PROMPT) :] == want.ids
    for got, step in zip(opened.steps, want.steps, strict=True):
        assert (got.draw, got.cdf, got.p_final) == (step.draw, step.cdf, step.p_final)
        assert [bits(stage) for stage in got.stages] == [bits(stage) for stage in step.stages]
    opened.close()


def test_a_seed_that_was_drawn_is_kept(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), do_sample=True)
    session.save(tmp_path / "t")
    session.close()
    opened = open_session(tmp_path / "t", table_model())
    assert opened.config.seed == session.config.seed
    assert opened.config.to_dict() == session.config.to_dict()
    assert [s.id for s in opened.step(8)] == [s.id for s in session.step(8)]  # type: ignore[union-attr]
    opened.close()
    assert read(tmp_path / "t").header.config["seed"] == session.config.seed


def test_samples_after_opening_are_new_ones(tmp_path: Path) -> None:
    """`sample` takes the next samples of the seed: after three, the fourth, whatever was closed between."""
    session, twin = (table_model().session(list(PROMPT), **NEUTRAL) for _ in range(2))
    session.save(tmp_path / "t")
    session.sample(3, max_new_tokens=3)
    session.close()
    opened = open_session(tmp_path / "t", table_model())
    opened.sample(3, max_new_tokens=3)
    twin.sample(6, max_new_tokens=3)
    count = lambda s: sorted((s.tree.ids(node), node.count) for node in s.tree)  # noqa: E731
    assert count(opened) == count(twin)
    opened.close()


def test_redo_leads_on_after_opening(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), **NEUTRAL)
    ids = [step.id for step in session.step(4)]  # type: ignore[union-attr]
    session.undo()
    session.save(tmp_path / "t")
    session.undo(2)
    session.close()
    opened = open_session(tmp_path / "t", table_model())
    opened.redo(3)
    assert list(opened.ids[len(PROMPT) :]) == ids
    opened.close()


# ------------------------------------------------------------------ forks


def closed(session: tg.Session, path: Path) -> tg.Session:
    """What is in the file of a session, opened anew."""
    session.close()
    return open_session(path, table_model())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_steps_of_a_fork_are_kept_but_not_its_moves(moment: str, tmp_path: Path) -> None:
    path = tmp_path / "t"
    session = table_model().session(list(PROMPT), **NEUTRAL)
    session.step(2)
    other = session.fork()
    if moment == "after":
        other = session.fork()
    session.save(path)
    if moment == "after":
        other = session.fork()
    here, given = session.node.id, dict(session.writer.given)
    other.undo()
    other.set(top_k=3, temperature=0.7)
    other.step(2)
    other.step(token=99)
    other.name("theirs")
    far, ids = other.node.id, other.ids
    opened = closed(session, path)
    assert (opened.node.id, dict(opened.writer.given)) == (here, given)
    assert opened.config["top_k"] == 0
    assert opened.tree.ids(opened.tree.node("theirs")) == ids
    assert opened.tree.node("theirs").id == far
    opened.goto("theirs")
    opened.close()


def test_a_session_visits_what_an_older_fork_wrote(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), **NEUTRAL)
    other = session.fork()
    session.save(tmp_path / "t")
    other.step(token=97)
    other.step(token=98)
    session.goto(other.node)
    session.step(token=99)
    ids = session.ids
    opened = closed(session, tmp_path / "t")
    assert opened.ids == ids
    opened.close()


def test_a_fork_goes_on_unkept_when_the_file_is_let_go(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), **NEUTRAL)
    session.save(tmp_path / "t")
    other = session.fork()
    session.close()
    before = (tmp_path / "t").read_bytes()
    other.step(token=97)
    session.step(token=98)
    assert (tmp_path / "t").read_bytes() == before


# ------------------------------------------------------------------ where a session stands


def test_stepping_to_a_place_that_is_there(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), **NEUTRAL)
    session.save(tmp_path / "t")
    session.step(2)
    session.undo()
    session.step()
    opened = closed(session, tmp_path / "t")
    assert opened.ids == session.ids and len(opened.steps) == 2
    opened.close()


@pytest.mark.parametrize("back", [0, 1])
def test_a_session_whose_place_was_pruned(tmp_path: Path, back: int) -> None:
    """It stands at the place before; in the file as in memory."""
    session = table_model().session(list(PROMPT), **NEUTRAL)
    session.step(3)
    session.save(tmp_path / "t")
    session.fork().prune(session.tree.node(3 - back))
    opened = closed(session, tmp_path / "t")
    assert len(opened.steps) == 2 - back and opened.ids == session.ids
    opened.step()
    opened.close()


def test_saving_elsewhere_lets_go_of_the_first_file(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), **NEUTRAL)
    session.save(tmp_path / "one")
    session.step()
    session.save(tmp_path / "two")
    session.step()
    first = open_session(tmp_path / "one", table_model())
    assert len(first.steps) == 1
    first.close()
    assert len(closed(session, tmp_path / "two").steps) == 2


# ------------------------------------------------------------------ what open_session refuses


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    """Seeded models on the disk, whose weights have a checksum."""
    pytest.importorskip("transformers")
    from tests.parity import families

    def make(name: str) -> Model:
        folder = tmp_path_factory.mktemp("models") / name
        families.make(name, folder)
        tokenizer: Any = Quiet(families.VOCAB)
        return Model(families.engine(folder, threads=1), tokenizer)

    return make


def refused(call: Callable[[], Any], kind: type[Exception] = TraceError) -> str:
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 500
    return text


def test_other_weights_and_no_weights(tiny: Callable[[str], Model], tmp_path: Path) -> None:
    right, wrong = tiny("llama"), tiny("llama-grouped")
    session = right.session(list(PROMPT), do_sample=True, seed=3)
    session.save(tmp_path / "t")
    session.step(3)
    want = snapshot(session)
    session.close()
    text = refused(lambda: open_session(tmp_path / "t", wrong))
    assert right.info.sha256[:12] in text and wrong.info.sha256[:12] in text
    assert right.info.name in text and wrong.info.name in text
    text = refused(lambda: open_session(tmp_path / "t"))
    assert right.info.sha256[:12] in text and "open_session(path, model=...)" in text
    opened = open_session(tmp_path / "t", right)  # refusals let go of the file
    assert_same(snapshot(opened), want)
    opened.close()


def double(ids: Any, scores: Any) -> Any:
    return scores * 2.0


def test_a_function_has_to_be_given_again(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), **NEUTRAL, logits_processor=[double])
    session.save(tmp_path / "t")
    session.step(2)
    want = snapshot(session)["places"]
    session.close()
    text = refused(lambda: open_session(tmp_path / "t", table_model()))
    assert "open_session(path, logits_processor=...)" in text
    opened = open_session(tmp_path / "t", table_model(), logits_processor=[double])
    assert [row[2] for row in snapshot(opened)["places"]] == [row[2] for row in want]
    assert contents(opened.step()) == contents(session.step())  # type: ignore[arg-type]
    opened.close()


def test_one_writer(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT))
    session.save(tmp_path / "t")
    refused(lambda: open_session(tmp_path / "t", table_model()), TraceInUse)
    refused(lambda: table_model().session(list(PROMPT)).save(tmp_path / "t", replace=True), TraceInUse)
    session.step()
    assert len(closed(session, tmp_path / "t").steps) == 1


def test_an_existing_file_is_replaced_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "t"
    session = table_model().session(list(PROMPT))
    session.step(3)
    session.save(path)
    session.close()
    before, other = path.read_bytes(), table_model().session(list(PROMPT))
    text = refused(lambda: other.save(path))
    assert "exists already" in text and path.read_bytes() == before
    other.step()  # unkept still
    assert path.read_bytes() == before
    other.save(path, replace=True)
    assert len(closed(other, path).steps) == 1


def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "t"
    session = table_model().session(list(PROMPT))
    session.save(path)
    session.close()
    first, _, rest = path.read_text().partition("\n")
    header = json.loads(first)
    del header["crc"]
    path.write_text(json.dumps({**header, "schema": "tokenglass.trace/2"}) + "\n" + rest)
    before = path.read_bytes()
    text = refused(lambda: open_session(path, table_model()))
    assert "tokenglass.trace/2" in text and "install a newer tokenglass" in text
    assert path.read_bytes() == before


def test_a_torn_tail(tmp_path: Path) -> None:
    """A last line that is cut anywhere is left out; the session stands before it and writes it again."""
    path = tmp_path / "t"
    session = table_model().session(list(PROMPT), **NEUTRAL)
    session.step(3)
    session.save(path)
    before = len(path.read_bytes())
    last = contents(session.step())  # type: ignore[arg-type]
    whole = path.read_bytes()
    session.close()
    for cut in (before + 1, (before + len(whole)) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        opened = open_session(path, table_model())
        assert len(opened.steps) == 3
        assert contents(opened.step()) == last  # type: ignore[arg-type]
        opened = closed(opened, path)
        assert len(opened.steps) == 4
        opened.close()


# ------------------------------------------------------------------ disks that are full


FAILING: dict[str, Callable[[tg.Session], Any]] = {
    "step": lambda s: s.step(),
    "force": lambda s: s.step(token=99),
    "reroll": lambda s: s.step(reroll=True),
    "undo": lambda s: s.undo(2),
    "redo": lambda s: s.redo(),
    "goto": lambda s: s.goto(1),
    "set": lambda s: s.set(top_k=3),
    "name": lambda s: s.name("x"),
    "note": lambda s: s.note("x"),
    "prune": lambda s: s.prune(4),
    "expand": lambda s: s.expand(depth=2, mass=0.95),
    "sample": lambda s: s.sample(3, max_new_tokens=2),
    "fork": lambda s: s.fork().step(token=99),
}


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("kind", FAILING)
def test_a_full_disk(kind: str, short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move fails, the session and the file are as before, and it works once there is room."""
    path, act = tmp_path / "t", FAILING[kind]
    session, twin = (table_model().session(list(PROMPT), **NEUTRAL) for _ in range(2))
    for each in (session, twin):
        each.step(3)
        each.step(token=97)
        each.undo()
    session.save(path)
    if kind != "redo":  # known from before the save, so that all of it is in the file
        session.goto(3)
        twin.goto(3)
    before, in_file, write = snapshot(session), path.read_bytes(), os.write

    def full(fd: int, data: bytes) -> int:
        if not short or len(path.read_bytes()) > len(in_file):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[:20])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        text = refused(lambda: act(session))
    assert "No space left on device" in text and "free some space" in text
    assert path.read_bytes() == in_file
    assert_same(snapshot(session), before)
    act(session)
    act(twin)
    assert_same(snapshot(session), snapshot(twin))
    session.step()
    twin.step()
    opened = closed(session, path)
    assert_same(snapshot(opened), snapshot(twin))
    opened.close()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a Unix")
def test_a_real_size_limit(tmp_path: Path) -> None:
    """The kernel refuses bytes in the middle of a step; with more room the same session goes on."""
    code = """
import resource, signal, sys
from tests.contract.test_tree_walks import NEUTRAL, PROMPT, table_model
from tokenglass.errors import TraceError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
session = table_model().session(list(PROMPT), **NEUTRAL, min_new_tokens=99)
session.save(sys.argv[1])
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_001, most))
n = 0
try:
    while True:
        session.step()
        n += 1
except TraceError as error:
    assert len(session.steps) == n == len(session.tree) - 1, "the step is in the tree"
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
session.step(3)
print(n, *session.ids)
session.close()
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(tg.__file__).parents[1]), str(ROOT)])}
    command = [sys.executable, "-c", code, str(tmp_path / "t")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    message, last = done.stdout.splitlines()
    assert "cannot be written (File too large); free some space" in message
    n, *ids = map(int, last.split())
    opened = open_session(tmp_path / "t", table_model())
    assert n > 3 and list(opened.ids) == ids and len(opened.steps) == n + 3
    opened.close()


def test_a_full_disk_at_the_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left, and the session goes on unkept."""
    session = table_model().session(list(PROMPT))
    session.step(3)

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        refused(lambda: session.save(tmp_path / "t"))
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []
    session.step()
    session.save(tmp_path / "t")
    assert len(closed(session, tmp_path / "t").steps) == 4


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root writes anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT))
    tmp_path.chmod(0o500)
    try:
        assert "cannot be written" in refused(lambda: session.save(tmp_path / "t"))
        session.step()
    finally:
        tmp_path.chmod(0o700)


def test_numbers_that_are_none_survive(tmp_path: Path) -> None:
    """Infinite margins, masked rows and tokens of probability 0 come back bit for bit."""
    row = np.full(257, -np.inf, np.float32)
    row[97] = 0.0
    from tests.support import model

    make = lambda: model(lambda ids: row)  # noqa: E731
    session = make().session("a")
    session.save(tmp_path / "t")
    session.step(2)
    session.step(token=99)
    want = snapshot(session)
    session.close()
    opened = open_session(tmp_path / "t", make())
    assert opened.steps[-1].p_final == 0.0 and opened.steps[0].margin == np.inf
    assert_same(snapshot(opened), want)
    opened.close()


def test_what_is_read_after_a_prune_is_of_the_place_before() -> None:
    """A table that was asked for at a place that is gone says nothing of where the session stands now."""
    session, twin = (table_model().session(list(PROMPT), **NEUTRAL) for _ in range(2))
    session.step(3)
    twin.step(2)
    assert len(session.next.rows) and len(session.ids) == 5
    session.prune()
    assert session.ids == twin.ids
    assert session.next.rows == twin.next.rows
    session.fork().step(token=98)
    other = session.fork()
    other.step(token=99)
    assert other.next.rows
    session.prune(other.node.id)
    assert contents(other.step(token=97)) == contents(twin.step(token=97))  # type: ignore[arg-type]


def test_a_step_that_was_read_can_be_asked_about_any_token(tmp_path: Path) -> None:
    """As on the day it was written, also where the selector cuts by what it remembers."""
    session = table_model().session(list(PROMPT), do_sample=True, seed=3, top_k=50, mirostat=2)
    session.step(4)
    session.save(tmp_path / "t")
    before = [step.account(token_id) for step in session.steps for token_id in (97, 120)]
    opened = closed(session, tmp_path / "t")
    after = [step.account(token_id) for step in opened.steps for token_id in (97, 120)]
    assert [account.effects for account in after] == [account.effects for account in before]
    assert [account.removed for account in after] == [account.removed for account in before]
    assert len(before[0].effects) == 2  # the model and mirostat
    opened.close()


def test_the_collector_rests_while_a_session_is_opened_and_no_longer(tmp_path: Path) -> None:
    """Also where opening fails."""
    import gc

    (tmp_path / "none.tg.jsonl").write_text("{}\n")
    with pytest.raises(TraceError):
        open_session(tmp_path / "none.tg.jsonl", table_model())
    assert gc.isenabled()
