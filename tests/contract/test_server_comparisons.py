"""Comparisons with servers: what both list is exact, everything else lies within the bounds that are given.

Numbers are compared with scipy's over the whole distributions, which the servers here hide. Tolerance 1e-6
for float32 log-probabilities on either side; 5e-4 against another implementation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.contract.scripted_peer import ScriptedPeer
from tests.contract.server_subjects import NamedTokenizer, llama_server, rule
from tests.support import SIZE
from tokenglass.comparing import change_one_word
from tokenglass.comparing.bounds import Known, bounds
from tokenglass.connecting import _model, connect
from tokenglass.engines.server import Transport
from tokenglass.engines.table import TableEngine
from tokenglass.errors import TokenglassError, Unsupported
from tokenglass.model import Model
from tokenglass.numbers import log_softmax
from tokenglass.types import Listing

pytest.importorskip("httpx")
scipy_special = pytest.importorskip("scipy.special")
scipy_distance = pytest.importorskip("scipy.spatial.distance")
NEAR = 1e-6
MEASURES = ("kl_ab_bits", "kl_ba_bits", "js_bits", "tv")


def measured(p: np.ndarray, q: np.ndarray) -> dict[str, float]:
    return {
        "kl_ab_bits": float(scipy_special.rel_entr(p, q).sum() / np.log(2)),
        "kl_ba_bits": float(scipy_special.rel_entr(q, p).sum() / np.log(2)),
        "js_bits": float(scipy_distance.jensenshannon(p, q, base=2) ** 2),
        "tv": float(0.5 * np.abs(p - q).sum()),
    }


def listed(p: np.ndarray, k: int) -> Known:
    ids = np.argsort(-p, kind="stable")[:k]
    own = p[ids]
    return Known.listed(Listing(ids, np.log(own).astype(np.float32), float(own.sum())), len(p))


def test_the_truth_lies_within_the_bounds() -> None:
    """Random pairs, from nearly alike to nearly disjoint, lists from one token to all, one side or both."""
    rng = np.random.default_rng(3)
    tight = 0
    for _ in range(3000):
        size = int(rng.integers(3, 60))
        base = rng.normal(size=size) * rng.choice([0.5, 2.0, 5.0])
        p = np.exp(log_softmax(base.astype(np.float32)).astype(np.float64))
        moved = base + rng.normal(size=size) * rng.choice([0.01, 0.5, 4.0])
        q = np.exp(log_softmax(moved.astype(np.float32)).astype(np.float64))
        a = listed(p, int(rng.integers(1, size + 1)))
        b = listed(q, int(rng.integers(1, size + 1))) if rng.random() < 0.7 else Known(np.log(q))
        found, true = bounds(a, b), measured(p / p.sum(), q / q.sum())
        for name in MEASURES:
            least, most = getattr(found, name)
            assert least - NEAR <= true[name] <= most + NEAR, name
        assert found.tv[1] - found.tv[0] <= 1 - min(a.coverage, b.coverage) + 1 + 1e-9
        assert found.kl_ab_bits[1] < inf or not b.is_whole or q.min() == 0.0
        tight += found.tv[1] - found.tv[0] < 0.1 and not (a.is_whole and b.is_whole)
    assert tight > 300  # bounds that say nothing would pass the rest


def test_lists_without_a_token_in_common_are_known_to_lie_far_apart() -> None:
    """Each gives the other's tokens no more than its own last one: TV and JS of at least 0.9 then."""
    p, q = np.full(100, 1e-4), np.full(100, 1e-4)
    p[:3], q[3:6] = (1 - 97e-4) / 3, (1 - 97e-4) / 3
    a, b = listed(p, 4), listed(q, 4)
    found, true = bounds(a, b), measured(p, q)
    for name in ("js_bits", "tv", "kl_ab_bits"):
        least, most = getattr(found, name)
        assert least <= true[name] <= most and least > (4 if name == "kl_ab_bits" else 0.9 * true[name])


def test_a_list_that_ends_in_a_token_without_probability_is_not_the_whole() -> None:
    """-9999 is what some servers say of a token that they rule out: its probability is 0 to a float."""
    p, q = np.array([0.6, 0.4, 0.0, 0.0, 0.0]), np.array([0.3, 0.3, 0.2, 0.1, 0.1])
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(p[:3]), -9999.0).astype(np.float32)
    a = Known.listed(Listing(np.arange(3), logs, 1.0), 5)
    assert not a.is_whole and a.at_most == 0.0
    true = measured(p, q)
    for b in (Known(np.log(q)), listed(q, 2)):
        found = bounds(a, b)
        for name in MEASURES:
            least, most = getattr(found, name)
            assert least - NEAR <= true[name] <= most + NEAR, name


@pytest.fixture(params=["llama.cpp", "vllm"])
def served(request: pytest.FixtureRequest) -> Iterator[Any]:
    peer = ScriptedPeer(rule, request.param, listed=None if request.param == "llama.cpp" else 20)
    with connect(peer.address, None if request.param == "llama.cpp" else NamedTokenizer()) as model:
        yield model
    peer.close()


def require_true(found: Any, other: Any, ids_a: tuple[int, ...], ids_b: tuple[int, ...]) -> None:
    """One position against the rules of both sides."""
    logs = log_softmax(rule(ids_a[: found.index_a + 1])), log_softmax(other(ids_b[: found.index_b + 1]))
    p, q = (np.exp(each.astype(np.float64)) for each in logs)
    true = measured(p / p.sum(), q / q.sum())
    for name in MEASURES:
        if found.bounds is None:
            assert getattr(found, name) == pytest.approx(true[name], rel=1e-4, abs=1e-5)
        else:
            assert getattr(found, name) is None
            least, most = getattr(found.bounds, name)
            assert least - 1e-5 <= true[name] <= most + 1e-5
    assert (found.top_a.token.id, found.top_b.token.id) == (p.argmax(), q.argmax())
    assert found.agree == (p.argmax() == q.argmax())
    for row in (found.top_a, found.top_b, *found.movers):
        for mine, own in ((row.p_a, p), (row.p_b, q)):
            assert mine is None or mine == pytest.approx(own[row.token.id], rel=1e-4)


def test_two_prompts(served: Any) -> None:
    found = tg.compare("Hello", "Goodbye", model=served, max_new_tokens=4)
    for row in found.positions:
        ids = [(*side.prompt_ids, *side.generation.ids) for side in (found.a, found.b)]
        require_true(row, rule, *ids)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    end = document["positions"][0]
    assert ("bounds" in end) == (end["tv"] is None) == (served.info.peer["listed"] < SIZE)
    assert "least and the most" in " ".join(str(found).split()) or found.prompt_end.bounds is None
    frame = found.to_pandas()
    assert (frame["tv_least"] <= frame["tv_most"]).all() or "tv_least" not in frame


def test_a_server_and_an_engine_that_shows_all(served: Any) -> None:
    """KL(server||engine) has an end then; the other way round it has none."""

    def other(ids: tuple[int, ...]) -> np.ndarray:
        return rule(ids) + np.random.default_rng(ids[-1]).normal(size=SIZE).astype(np.float32) / 2

    native = Model(TableEngine(other, SIZE, context_length=64), served.tokenizer)
    found = tg.compare(served, native, prompt="Hello you", max_new_tokens=2)
    assert len(found.positions) >= 9 and 0.0 < found.agreement < 1.0
    for row in found.positions:
        ids = [(*side.prompt_ids, *side.generation.ids) for side in (found.a, found.b)]
        require_true(row, other, *ids)
        if row.bounds is not None:
            assert row.bounds.kl_ab_bits[1] < inf and row.bounds.kl_ba_bits[1] == inf
            assert row.bounds.coverage_b == 1.0 >= row.bounds.coverage_a


def test_what_would_be_wrong_is_refused_with_the_reason(served: Any) -> None:
    with pytest.raises(Unsupported, match=r"comparing configurations on a server .*does not list"):
        tg.compare({"top_k": 2}, {}, model=served, prompt="a")
    words = Model(TableEngine(lambda ids: np.zeros(5, np.float32), 5), Small())  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="the next byte is a sum over every token"):
        tg.compare(served, words, prompt="a")
    with pytest.raises(TokenglassError):
        change_one_word(served, "a b", "b", ["c"])


class Small(NamedTokenizer):
    """Another vocabulary."""

    def __len__(self) -> int:
        return 5


def test_a_real_server_beside_the_native_engine(tmp_path: Path) -> None:
    """A seeded float32 model: nearly the same distributions at every place; 5e-4 on log-probabilities.

    TV is at most half of what that moves probabilities by: 5e-4 / 2.
    """
    from tests.parity import gguf_models

    path = tmp_path / "small.gguf"
    gguf_models.write("LlamaConfig", path, "F32", vocabulary=True)
    with llama_server(path, context=128) as child, tg.load(path) as native:
        served = _model(Transport(child.address), None)
        native_named = Model(native.engine, served.tokenizer)
        ids = [int(i) for i in np.random.default_rng(6).integers(3, native.info.vocab_size, 20)]
        found = tg.compare(served, native_named, prompt=ids, max_new_tokens=2)
        for row in found.positions:
            least, most = (row.tv, row.tv) if row.bounds is None else row.bounds.tv
            assert least <= 2.5e-4 and most <= 1.0
            assert row.agree or abs((row.top_a.p_a or 0) - (row.top_a.p_b or 0)) < 1e-4
        served.close()
