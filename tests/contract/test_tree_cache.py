"""The cache as a token tree: whatever was forked, rewound, evicted or moved, numbers equal a cold run's.

Tolerance 5e-4 on logits: other batch shapes sum in another order, see `test_engine_transformers`.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity import families
from tokenglass.engines import cache
from tokenglass.engines.base import Prefix
from tokenglass.errors import ContextOverflow

pytest.importorskip("transformers")
TOLERANCE = 5e-4
WALKS = 40 if FULL else 6


@pytest.fixture(scope="module", params=["llama-grouped", "gpt2", "mistral-window", "neox-20-of-80"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp(request.param)
    return folder, families.make(request.param, folder)


def small_engine(folder: Any, nodes: int) -> Any:
    """An engine whose cache holds about `nodes` tokens besides what runs."""
    probe = families.engine(folder, threads=1)
    return families.engine(folder, threads=1, cache_bytes=nodes * probe._tree.node_bytes)


def walk(engine: Any, theirs: Any, rng: np.random.Generator, steps: int) -> None:
    """Random extensions, forks, rewinds and fresh prompts, in batches, each row checked."""
    known: list[Prefix] = [Prefix((1,))]
    for _ in range(steps):
        batch = []
        for _ in range(int(rng.integers(1, 5))):
            base = known[int(rng.integers(len(known)))]
            cut = int(rng.integers(1, len(base.ids) + 1)) if rng.random() < 0.4 else len(base.ids)
            more = rng.integers(0, families.VOCAB, int(rng.integers(0, 12))).tolist()
            ids = (*base.ids[:cut], *more)[:240]
            batch.append(Prefix(ids, base.node if cut == len(base.ids) else None))
        forward = engine.forward(batch)
        for prefix, row, node in zip(batch, forward.logits, forward.nodes, strict=True):
            want = families.reference(theirs, list(prefix.ids))[-1]
            assert np.abs(row[0] - want).max() < TOLERANCE
            known.append(Prefix(prefix.ids, node))
        known = known[-30:]


@pytest.mark.parametrize("nodes", [40, 400, 1 << 20], ids=["evicting", "tight", "roomy"])
def test_random_walks_equal_cold_runs(model: tuple[Any, Any], nodes: int) -> None:
    folder, theirs = model
    for seed in range(WALKS // 2):
        walk(small_engine(folder, nodes), theirs, np.random.default_rng(seed), steps=25)


def test_the_bound_is_kept(model: tuple[Any, Any]) -> None:
    """Beyond the running prefix (at most 240 tokens) the cache holds what it was told, one block more."""
    folder, theirs = model
    engine = small_engine(folder, 300)
    walk(engine, theirs, np.random.default_rng(7), steps=60)
    tree = engine._tree
    assert tree.store.rows <= 300 + 4 * 240 + cache.STORE_BLOCK
    assert tree.count <= 300 + 4 * 240 + 240


def test_a_fork_computes_only_what_is_new(model: tuple[Any, Any]) -> None:
    folder, _ = model
    engine = families.engine(folder, threads=1)
    base = engine.forward([Prefix(tuple(range(50)))])
    before = engine._tree.count
    engine.forward([Prefix((*range(50), t), base.nodes[0]) for t in (60, 61, 62)])
    assert engine._tree.count == before + 3


def test_an_evicted_handle_is_harmless(model: tuple[Any, Any]) -> None:
    folder, theirs = model
    engine = small_engine(folder, 1)
    ids = tuple(range(30))
    old = engine.forward([Prefix(ids)]).nodes[0]
    for seed in range(12):
        engine.forward([Prefix(tuple(np.random.default_rng(seed).integers(0, 200, 90).tolist()))])
    row = engine.forward([Prefix((*ids, 7), old)]).logits[0, 0]
    assert np.abs(row - families.reference(theirs, [*ids, 7])[-1]).max() < TOLERANCE


def test_another_engines_handle_is_not_believed(model: tuple[Any, Any]) -> None:
    """Its numbers would be another text's: the ids decide."""
    folder, theirs = model
    foreign = families.engine(folder, threads=1).forward([Prefix((9, 8, 7))]).nodes[0]
    row = families.engine(folder, threads=1).forward([Prefix((1, 2, 7, 5), foreign)]).logits[0, 0]
    assert np.abs(row - families.reference(theirs, [1, 2, 7, 5])[-1]).max() < TOLERANCE


def test_interrupted_runs_leave_nothing_behind(
    model: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, theirs = model
    engine = families.engine(folder, threads=1)
    ids = tuple(range(40))
    engine.forward([Prefix(ids[:10])])

    def broken(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_execute", broken)
        with pytest.raises(KeyboardInterrupt):
            engine.forward([Prefix(ids)])
    assert engine._tree.count == 10
    row = engine.forward([Prefix(ids)]).logits[0, 0]
    assert np.abs(row - families.reference(theirs, list(ids))[-1]).max() < TOLERANCE


def test_growing_copies_rarely(model: tuple[Any, Any]) -> None:
    """Capacity doubles: 250 single steps move the buffers at most once, not 250 times."""
    folder, _ = model
    engine = families.engine(folder, threads=1)
    seen = set()
    prefix = Prefix((1,))
    for i in range(250):
        forward = engine.forward([prefix])
        seen.add(engine._tree.window.capacity)
        prefix = prefix.extended(i % 200, forward.nodes[0])
    assert seen <= {cache.FIRST_WINDOW, 2 * cache.FIRST_WINDOW}


def test_several_callers_at_once(model: tuple[Any, Any]) -> None:
    folder, theirs = model
    engine = small_engine(folder, 200)
    failures: list[str] = []

    def caller(seed: int) -> None:
        rng = np.random.default_rng(seed)
        ids: tuple[int, ...] = (seed + 1,)
        for _ in range(12):
            row = engine.forward([Prefix(ids)]).logits[0, 0]
            if np.abs(row - wanted[ids]).max() >= TOLERANCE:
                failures.append(f"caller {seed} at {len(ids)}")
            ids = (*ids, int(rng.integers(0, families.VOCAB)))

    wanted = {}
    for seed in range(4):  # the reference first: it is not what is tested for threads
        rng, ids = np.random.default_rng(seed), (seed + 1,)
        for _ in range(12):
            wanted[ids] = families.reference(theirs, list(ids))[-1]
            ids = (*ids, int(rng.integers(0, families.VOCAB)))
    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_same_call_gives_the_same_bits(model: tuple[Any, Any]) -> None:
    folder, _ = model
    rows = [families.engine(folder, threads=1).forward([Prefix(tuple(range(33)))]).logits for _ in range(2)]
    assert np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize(
    ("prefix", "message"),
    [((), "at least one token"), ((5, 211), "token id must be in [0, 210], got 211"), ((-1,), "got -1")],
)
def test_bad_prefixes_are_named(model: tuple[Any, Any], prefix: tuple[int, ...], message: str) -> None:
    engine = families.engine(model[0], threads=1)
    with pytest.raises(ValueError, match=message.replace("[", r"\[").replace("]", r"\]")):
        engine.forward([Prefix(prefix)])


def test_a_prefix_beyond_the_context_is_refused_with_both_counts(model: tuple[Any, Any]) -> None:
    engine = families.engine(model[0], threads=1)
    engine.forward([Prefix((1,) * 256)])
    with pytest.raises(ContextOverflow, match="257 tokens but the model's context holds 256"):
        engine.forward([Prefix((1,) * 257)])
