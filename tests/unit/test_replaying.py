"""Replays: a tree written again is found equal where it is, and a lie is found where it stands.

Traces are changed on the disk, line by line and sealed anew, as another program would; weights are changed by
one unit in the last place in a copy of a model's folder.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contract.test_tree_walks import NEUTRAL, PLAIN, PROMPT, REMEMBERING, Quiet, table_model
from tests.unit.test_saving import Walker, moves
from tokenglass.errors import TraceError
from tokenglass.model import Model
from tokenglass.replaying import TOLERANCE, replay
from tokenglass.saving import open_session
from tokenglass.traces import read, tree_of
from tokenglass.traces.lines import parse_line, write_line
from tokenglass.types import Tree

CHAINS = [PLAIN, *REMEMBERING.values()]


def saved(path: Path, n: int = 6, **config: Any) -> Path:
    """A trace of a text of `n` tokens."""
    session = table_model().session(list(PROMPT), **NEUTRAL | config)
    session.save(path)
    session.step(n)
    assert len(session.steps) == n
    session.close()
    return path


def edited(path: Path, change: Callable[[dict[str, Any]], None], *, kind: str | None, node: int = 0) -> Tree:
    """The tree of a trace of which one line was changed and sealed again; kind None is the header."""
    lines = path.read_bytes().splitlines(keepends=True)
    n_changed = 0
    for index, line in enumerate(lines):
        data = parse_line(line)
        data.pop("crc")
        if data.get("event") == kind and (not node or data.get("node") == node):
            change(data)
            lines[index] = write_line(data)
            n_changed += 1
    assert n_changed == 1
    path.write_bytes(b"".join(lines))
    return tree_of(read(path))


@pytest.mark.parametrize("seed", range(9))
def test_a_walk_is_written_again_to_the_last_bit(seed: int, tmp_path: Path) -> None:
    rng, chains = random.Random(seed), CHAINS[seed % 3]
    session = table_model().session(list(PROMPT), **chains[seed % len(chains)])
    walker = Walker(session, chains)
    for move in moves(rng, 20):
        walker.move(*move)
    session.save(tmp_path / "t")
    for move in moves(rng, 20):
        walker.move(*move)
    n_places = len(list(session.tree)) - 1
    session.close()
    told: list[tuple[int, int]] = []
    trees = [session.tree, tree_of(read(tmp_path / "t"))]
    trees.append(tree_of(read(tmp_path / "t"), table_model().tokenizer))
    for tree in trees:
        found = replay(table_model(), tree, told=lambda *done: told.append(done))
        assert (found.identical, found.equal, found.largest) == (True, True, 0.0), found.first_difference
        assert found.n_done == found.n_places == n_places
    assert told == [(n + 1, n_places) for n in range(n_places)] * 3


def test_more_samples_than_a_few_hundred_are_found() -> None:
    session = table_model().session(list(PROMPT), **NEUTRAL | {"mirostat": 2})
    session.sample(700, max_new_tokens=2)
    assert replay(table_model(), session.tree).identical


def test_an_unseeded_session_replays(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), do_sample=True)
    session.save(tmp_path / "t")
    session.step(6)
    session.close()
    assert replay(table_model(), session.tree).identical
    assert replay(table_model(), tree_of(read(tmp_path / "t"))).identical


# ------------------------------------------------------------------ a changed record


@pytest.mark.parametrize("name", ["logit", "logprob", "entropy_bits", "p_final", "logsumexp", "draw"])
@pytest.mark.parametrize("by", ["bit", "much"])
def test_a_changed_number_is_found_where_it_stands(name: str, by: str, tmp_path: Path) -> None:
    """Node 4 of 6, one number: off by one unit in the last place, or by 0.01."""
    values: list[float] = []

    def change(data: dict[str, Any]) -> None:
        was = float(data["step"][name])
        now = float(np.nextafter(was, np.inf)) if by == "bit" else was + 0.01
        data["step"][name] = now
        values.extend((was, now))

    tree = edited(saved(tmp_path / "t"), change, kind="step", node=4)
    found = replay(table_model(), tree)
    true, false = values
    first = found.first_difference
    assert first is not None and not found.identical
    if name == "draw":  # no sample has that number: what sample 0 draws is another number, or another token
        assert first.node == 4 and first.name in ("draw", "token")
        return
    assert (first.node, first.name, first.recorded, first.now) == (4, name, false, true)
    assert first.size == abs(true - false) == found.largest
    assert found.equal is (by == "bit")
    assert found.first_mismatch == (None if by == "bit" else first)
    assert found.n_done == 6


def test_a_changed_token_is_found_where_it_stands(tmp_path: Path) -> None:
    """The token of node 4 says another one; after it nothing can be compared."""
    names: list[str] = []

    def change(data: dict[str, Any]) -> None:
        step, vocabulary = data["step"], table_model().tokenizer
        other = next(i for i in (97, 98, 99) if i != step["id"])
        names.extend((vocabulary.token(other).text, vocabulary.token(step["id"]).text))
        step["id"] = other

    tree = edited(saved(tmp_path / "t"), change, kind="step", node=4)
    found = replay(table_model(), tree)
    first = found.first_mismatch
    assert first is not None and first == found.first_difference
    assert (first.node, first.name, first.size) == (4, "token", None)
    assert [first.recorded, first.now] == names
    assert (found.n_done, found.n_places, found.equal) == (4, 6, False)


def test_a_changed_candidate_is_found(tmp_path: Path) -> None:
    session = table_model().session(list(PROMPT), **NEUTRAL)
    session.step(5)
    node = session.tree.node(3)
    assert node.step is not None
    logits = node.step.top_logits.copy()
    was = float(logits[2])
    logits[2] = np.nextafter(logits[2], np.float32(-np.inf))
    token_id = int(node.step.top_ids[2])
    node.step = replace(node.step, top_logits=logits)
    found = replay(table_model(), session.tree)
    first = found.first_difference
    assert first is not None
    assert (first.node, first.name) == (3, f"logit of token {token_id}")
    assert (first.recorded, first.now) == (float(logits[2]), was)
    assert found.equal and not found.identical


def test_a_changed_chain_is_found(tmp_path: Path) -> None:
    """The header says another top_p: the first place where it removes something does not come out."""
    path = saved(tmp_path / "t", top_p=0.95)
    before = tree_of(read(path))
    assert replay(table_model(), before).identical

    def change(data: dict[str, Any]) -> None:
        data["given"]["top_p"] = 0.6

    tree = edited(path, change, kind=None)
    found = replay(table_model(), tree)
    first = found.first_mismatch
    assert first is not None and first.name in ("p_final", "token")
    want = table_model().session(list(PROMPT), **NEUTRAL | {"top_p": 0.6})
    for number in range(1, first.node):  # all before it are equal under both
        step = want.step(token=before.node(number).step.id)  # type: ignore[union-attr]
        recorded = before.node(number).step
        assert recorded is not None and abs(step.p_final - recorded.p_final) <= TOLERANCE
    if first.name == "p_final":
        step = want.step(token=before.node(first.node).step.id)  # type: ignore[union-attr]
        recorded = before.node(first.node).step
        assert recorded is not None
        assert (first.recorded, first.now) == (recorded.p_final, step.p_final)


def test_what_cannot_be_written_again_is_an_error_at_its_place(tmp_path: Path) -> None:
    """A model that knows fewer tokens than the trace used."""
    tree = tree_of(read(saved(tmp_path / "t")))
    from tokenglass.engines.table import TableEngine

    tokenizer: Any = Quiet(98)
    small = Model(TableEngine(lambda ids: np.zeros(98, np.float32), 98), tokenizer)
    found = replay(small, tree)
    first = found.first_mismatch
    assert first is not None and not found.equal
    assert first.name in ("error", "token") and found.n_done <= first.node


# ------------------------------------------------------------------ other weights


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny model, and a copy in which one weight is the next float32 above."""
    pytest.importorskip("transformers")
    from tests.parity import families

    root = tmp_path_factory.mktemp("models")
    families.make("llama", root / "one")
    shutil.copytree(root / "one", root / "other")
    (file,) = (root / "other").glob("*.safetensors")
    data = bytearray(file.read_bytes())
    size = int.from_bytes(data[:8], "little")  # of the JSON header, after which the tensors begin
    start, _ = json.loads(data[8 : 8 + size])["model.norm.weight"]["data_offsets"]
    weight = np.frombuffer(data, np.float32, 1, 8 + size + start)  # a view; every logit depends on it
    weight[0] = np.nextafter(weight[0], np.float32(np.inf))
    file.write_bytes(data)
    return root / "one", root / "other"


def opened(folder: Path) -> Model:
    from tests.parity import families

    tokenizer: Any = Quiet(families.VOCAB)
    return Model(families.engine(folder, threads=1), tokenizer)


def test_weights_off_by_one_unit_in_the_last_place(folders: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = map(opened, folders)
    assert one.info.sha256 != other.info.sha256
    session = one.session(list(PROMPT), do_sample=True, seed=4, top_p=0.9)
    session.save(tmp_path / "t")
    session.step(12)
    session.undo(6)
    session.step(token=40)
    session.expand(mass=0.3)
    session.close()
    same = replay(opened(folders[0]), tree_of(read(tmp_path / "t")))
    assert same.equal, same.first_mismatch
    tree = tree_of(read(tmp_path / "t"))
    found = replay(other, tree)
    first = found.first_difference
    assert first is not None and not found.identical
    recorded = tree.node(first.node).step
    assert recorded is not None
    if hasattr(recorded, first.name):
        assert first.recorded == getattr(recorded, first.name) != first.now
    assert 0.0 < found.largest < TOLERANCE and found.equal
    assert found.now["sha256"] == other.info.sha256
    with pytest.raises(TraceError, match="was written by"):
        open_session(tmp_path / "t", other)
