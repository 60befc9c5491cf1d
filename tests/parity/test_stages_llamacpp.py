"""Stages against llama.cpp's own samplers: which candidates are left, in which order, with which logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity.llamacpp import Candidates, Sampler
from tests.parity.stage_rows import Scores, rows
from tokenglass.stages import (
    BaseStage,
    Context,
    Dry,
    DynamicTemperature,
    LogitBias,
    MinP,
    Penalties,
    Row,
    Temperature,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
    Window,
    Xtc,
    run,
)

Rng = np.random.Generator
SEEDS = 20 if FULL else 3


def pick(rng: Rng, *values: float) -> float:
    """One of the values, or sometimes a random number between 0 and 1."""
    return float(rng.choice(values) if rng.random() < 0.7 else rng.random())


def keep(rng: Rng) -> int:
    return int(rng.choice([1, 1, 2, 5]))


STAGES: dict[str, Callable[[Rng], tuple[BaseStage, Sampler]]] = {
    "top_k": lambda r: (
        TopK(k := int(r.choice([1, 2, 5, 40, 200, 5000])), tie="candidate_order"),
        Sampler("top_k", k),
    ),
    "top_p": lambda r: (
        TopP(p := pick(r, 0.0, 0.1, 0.5, 0.9, 0.95, 1.0), n := keep(r), compare="head"),
        Sampler("top_p", p, n),
    ),
    "min_p": lambda r: (
        MinP(p := pick(r, 0.0, 0.05, 0.5, 1.0), n := keep(r), compare="logits"),
        Sampler("min_p", p, n),
    ),
    "typical_p": lambda r: (
        TypicalP(p := pick(r, 0.2, 0.5, 0.9), n := keep(r), tie="candidate_order"),
        Sampler("typical", p, n),
    ),
    "temperature": lambda r: (Temperature(t := pick(r, 0.0, 0.5, 1.0, 1.5)), Sampler("temp", t)),
    "dynamic_temperature": lambda r: (
        DynamicTemperature(t := pick(r, 0.5, 1.0), d := pick(r, 0.1, 0.5, 2.0), e := pick(r, 0.5, 1.0, 2.0)),
        Sampler("temp_ext", t, d, e),
    ),
    "top_n_sigma": lambda r: (TopNSigma(n := pick(r, 0.5, 1.0, 3.0)), Sampler("top_n_sigma", n)),
    "xtc": lambda r: (
        Xtc(
            p := pick(r, 0.5, 1.0),
            t := float(r.choice([0.0, 0.05, 0.1, 0.3, 0.5])),
            n := int(r.integers(3)),
            7,
        ),
        Sampler("xtc", p, t, n, 7),
    ),
}
# A score of -inf, or one more than 103 below the best, has probability 0 in float32, and llama.cpp computes
# 0 * ln 0 = NaN there: its typical sampler then leaves an order that depends on the sort's internals.
LIVELY = {"typical_p"}
# For scores far below the best, a tiny dynamic temperature overflows to infinity in llama.cpp.
NARROW = {"dynamic_temperature"}


def candidates_rows(name: str, seed: int) -> Iterator[Scores]:
    for scores in rows(seed, masked=name not in LIVELY):
        yield np.clip(scores, -40, 40) if name in LIVELY | NARROW else scores


def assert_same_candidates(ours: Row, theirs: Candidates, rtol: float = 0.0) -> bool:
    """The same list; equal logits may stand in another order, as std::sort promises none. True if equal."""
    entries = theirs.entries
    assert ours.order is not None
    assert ours.is_sorted == theirs.is_sorted
    logits = ours.scores[ours.order]
    if np.array_equal(ours.order, entries["id"]):
        np.testing.assert_allclose(logits, entries["logit"], rtol=rtol)
        return True
    np.testing.assert_allclose(np.sort(logits), np.sort(entries["logit"]), rtol=rtol)
    np.testing.assert_allclose(logits, entries["logit"], rtol=1e-5)
    return False


def assert_same_typical(ours: Row, theirs: Candidates, before: Scores) -> bool:
    """The same weights; only tokens as typical as one another, to a float32 sum, change places."""
    entries = theirs.entries
    assert ours.order is not None
    np.testing.assert_array_equal(np.sort(ours.scores[ours.order]), np.sort(entries["logit"]))
    logprobs = before - np.log(np.exp(before.astype(np.float64)).sum())
    alive = logprobs[logprobs > -np.inf]
    distance = np.abs(logprobs - (np.exp(alive) * alive).sum())
    np.testing.assert_allclose(distance[ours.order], distance[entries["id"]], rtol=0, atol=1e-4)
    return np.array_equal(ours.order, entries["id"])


def assert_same(name: str, ours: Row, theirs: Candidates, before: Scores) -> bool:
    if name == "typical_p":
        return assert_same_typical(ours, theirs, before)
    if name == "dynamic_temperature" and np.isinf(theirs.entries["logit"]).any():
        return True  # it overflowed there, and the candidates' order says nothing more
    return assert_same_candidates(ours, theirs, 5e-7 if name == "dynamic_temperature" else 0.0)


@pytest.mark.parametrize("name", STAGES)
def test_stage_leaves_the_candidates_that_llama_cpp_leaves(name: str) -> None:
    """Bit by bit, but for a dynamic temperature, whose powf may differ in the last place."""
    rng = np.random.default_rng(31)
    equal = []
    for scores in candidates_rows(name, seed=32):
        stage, sampler = STAGES[name](rng)
        ours, _ = stage.apply(Row.of(scores, candidates=True), Context(), stage.start())
        equal.append(assert_same(name, ours, sampler(scores), scores))
    assert np.mean(equal) > 0.5  # the rest has ties


@pytest.mark.parametrize("name", STAGES)
def test_stage_treats_a_sorted_list_as_llama_cpp_does(name: str) -> None:
    """After top-k the list counts as sorted, and several samplers take another path."""
    rng = np.random.default_rng(33)
    for scores in candidates_rows(name, seed=34):
        scores = np.unique(scores[scores > -np.inf])
        rng.shuffle(scores)
        stage, sampler = STAGES[name](rng)
        row, _ = TopK(30, tie="candidate_order").apply(Row.of(scores, candidates=True), Context(), None)
        ours, _ = stage.apply(row, Context(), stage.start())
        assert_same(name, ours, sampler(Sampler("top_k", 30)(scores)), row.scores)


def history(rng: Rng, size: int) -> tuple[int, ...]:
    return tuple(int(i) for i in rng.integers(0, min(size, 4), rng.integers(0, 40)))


def test_penalties_equal_llama_cpp() -> None:
    """Same window, same signs, same float32 operations."""
    rng = np.random.default_rng(35)
    for scores in rows(seed=36):
        ids, last_n = history(rng, len(scores)), int(rng.choice([0, 1, 3, 64]))
        repeat, frequency, presence = (
            pick(rng, 1.0, 1.1, 2.0) + 1e-3,
            pick(rng, 0.0, -0.5),
            pick(rng, 0.0, 1.5),
        )
        stage = Penalties(repeat, frequency, presence, Window(last_n=last_n))
        ours, _ = stage.apply(Row.of(scores, candidates=True), Context(ids[:5], ids[5:]), None)
        sampler = Sampler("penalties", len(scores), last_n, repeat, frequency, presence).accept(ids)
        assert assert_same_candidates(ours, sampler(scores))


def test_dry_equals_llama_cpp() -> None:
    """Histories of few distinct tokens, breakers of one to three tokens, up to the exponent's clamp."""
    rng = np.random.default_rng(37)
    acted = 0
    for scores in rows(seed=38):
        ids = history(rng, len(scores))
        ids = ids * int(rng.choice([1, 1, 2, 8]))
        multiplier, base = pick(rng, 0.8, 1.0) + 0.01, 1.0 + pick(rng, 0.75, 0.0, 4.0)
        allowed, last_n = int(rng.choice([0, 1, 2, 4])), int(rng.choice([3, 64, 300]))
        breakers = tuple(
            tuple(int(i) for i in rng.integers(0, 5, rng.integers(1, 4))) for _ in range(rng.integers(1, 4))
        )
        stage = Dry(multiplier, base, allowed, last_n, breakers)
        ours, _ = stage.apply(Row.of(scores, candidates=True), Context(ids[:5], ids[5:]), None)
        sampler = Sampler.dry(multiplier, base, allowed, last_n, breakers).accept(ids)
        assert assert_same_candidates(ours, sampler(scores))
        acted += not np.array_equal(ours.scores, scores)
    assert acted > 0.2 * len(list(rows(seed=38)))


def test_logit_bias_equals_llama_cpp_also_on_a_shortened_list() -> None:
    """The list keeps its order and its flag, although the bias may have made them untrue."""
    rng = np.random.default_rng(39)
    for scores in rows(seed=40):
        biases = {int(i): float(np.float32(rng.normal() * 3)) for i in rng.integers(0, len(scores), 4)}
        biases[int(rng.integers(len(scores)))] = -np.inf
        sampler = Sampler.logit_bias(len(scores), biases)
        ours, _ = LogitBias.of(biases).apply(Row.of(scores, candidates=True), Context(), None)
        assert assert_same_candidates(ours, sampler(scores))
        distinct = np.arange(len(scores), dtype=np.float32)
        row, _ = TopK(3, tie="candidate_order").apply(Row.of(distinct, candidates=True), Context(), None)
        ours, _ = LogitBias.of(biases).apply(row, Context(), None)
        assert assert_same_candidates(ours, sampler(Sampler("top_k", 3)(distinct)))


def default_chain(rng: Rng, size: int) -> tuple[list[Any], list[Sampler]]:
    """llama.cpp's default order with every stage on."""
    k, p, m, t = int(rng.integers(20, 200)), pick(rng, 0.95), pick(rng, 0.05), 0.5 + pick(rng, 0.3)
    ours = [
        Penalties(1.1, 0.1, 0.2),
        Dry(0.8),
        TopNSigma(5.0),  # leaves more than k: top-k drops its -inf entries, a NaN for llama.cpp's typical
        TopK(k, tie="candidate_order"),
        TypicalP(0.9, tie="candidate_order"),
        TopP(p, compare="head"),
        MinP(m / 10, compare="logits"),
        Xtc(0.5, 0.1, seed=11),
        DynamicTemperature(t, 0.4),
    ]
    theirs = [
        Sampler("penalties", size, 64, 1.1, 0.1, 0.2),
        Sampler.dry(0.8, 1.75, 2, 64),
        Sampler("top_n_sigma", 5.0),
        Sampler("top_k", k),
        Sampler("typical", 0.9, 0),
        Sampler("top_p", p, 0),
        Sampler("min_p", m / 10, 0),
        Sampler("xtc", 0.5, 0.1, 0, 11),
        Sampler("temp_ext", t, 0.4, 1.0),
    ]
    return ours, theirs


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whole_chain_equals_a_chain_of_llama_cpp_samplers(seed: int) -> None:
    """Twenty steps with state: XTC's generator and the history go on from step to step."""
    rng = np.random.default_rng(seed)
    size = 2000
    chain, samplers = default_chain(rng, size)
    ids = [int(i) for i in rng.integers(0, 9, 30)]
    for sampler in samplers:
        sampler.accept(ids)
    states = None
    for step in range(20):
        scores = (rng.normal(size=size) * 3).astype(np.float32)
        scores[:9] += 6  # tokens of the history matter
        ledger = run(chain, Row.of(scores, candidates=True), Context(ids[:30], ids[30:]), states)
        theirs = Candidates(scores)
        for sampler in samplers:
            sampler(theirs)
        assert_same_candidates(ledger.row, theirs, rtol=5e-7)
        states = ledger.states
        ids.append(step % 9)
        for sampler in samplers:
            sampler.accept(ids[-1:])
