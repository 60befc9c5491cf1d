"""Ten thousand draws of every selector against the exact distribution, by chi-square, with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tokenglass.numbers import softmax
from tokenglass.random import Philox, uniform
from tokenglass.select import AdaptiveP, Draw, LlamaDraw, Mirostat, MirostatV2, TorchDraw
from tokenglass.stages import Context, MinP, Row, Temperature, TopK, TopP, TypicalP, Xtc, run

stats = pytest.importorskip("scipy.stats")
DRAWS = 10_000
# A true distribution fails with this probability; with fixed seeds a test that passes goes on passing.
REJECT_BELOW = 1e-3


def row_of(kind: str, candidates: bool) -> Row:
    rng = np.random.default_rng(5)
    scores = rng.normal(size=60) * 2 if kind == "uneven" else np.zeros(60)
    row = Row.of(scores.astype(np.float32), candidates=candidates)
    if kind == "truncated":
        chain = [Temperature(0.9), TopK(20, tie="candidate_order"), TopP(0.95), MinP(0.01), TypicalP(0.9)]
        scores = (np.random.default_rng(6).normal(size=60) * 2).astype(np.float32)
        row = run(chain, Row.of(scores, candidates=candidates), Context()).row
    return row


def p_value(counts: np.ndarray, p: np.ndarray) -> float:
    """Chi-square over the tokens, those expected fewer than five times taken together."""
    assert counts[p == 0].sum() == 0  # what is masked is never drawn
    often = p * counts.sum() >= 5
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(p[often], p[~often].sum()) * counts.sum()
    kept = expected > 0
    return float(stats.chisquare(observed[kept], expected[kept]).pvalue)


def counts_of(selector: Any, row: Row, contexts: list[Context]) -> np.ndarray:
    state, counts = selector.start(), np.zeros(len(row))
    for context in contexts:
        choice = selector.select(row, context, state)
        counts[choice.token_id] += 1
        state = choice.state
    return counts


def places(seed: int, along: str) -> list[Context]:
    """Ten thousand places: one text's positions, or many samples of one position, as a batch would draw."""
    if along == "positions":
        prompt = np.zeros(DRAWS, dtype=np.int64)
        return [Context(prompt[:i], source=Philox(seed)) for i in range(1, DRAWS + 1)]
    return [Context((0,), source=Philox(seed, sample=i)) for i in range(DRAWS)]


@pytest.mark.parametrize("kind", ["uneven", "uniform", "truncated"])
@pytest.mark.parametrize("along", ["positions", "samples"])
def test_counter_based_draws_follow_the_distribution(kind: str, along: str) -> None:
    row = row_of(kind, candidates=False)
    assert p_value(counts_of(Draw(), row, places(11, along)), softmax(row.scores)) > REJECT_BELOW


@pytest.mark.parametrize("kind", ["uneven", "uniform", "truncated"])
def test_llama_cpp_draws_follow_the_distribution(kind: str) -> None:
    row = row_of(kind, candidates=True)
    counts = counts_of(LlamaDraw(12), row, [Context()] * DRAWS)
    assert p_value(counts, softmax(row.scores)) > REJECT_BELOW


def test_torch_draws_follow_the_distribution() -> None:
    pytest.importorskip("torch")
    row = row_of("uneven", candidates=False)
    selector, state, counts = TorchDraw(13), None, np.zeros(len(row))
    for _ in range(DRAWS // 100):
        choices = selector.select_batch([row] * 100, [Context()] * 100, state)
        state = choices[0].state
        for choice in choices:
            counts[choice.token_id] += 1
    assert p_value(counts, softmax(row.scores)) > REJECT_BELOW


STEADY: dict[str, Callable[[int | None], Any]] = {
    # with eta 0 mirostat's limit stays where it is; adaptive-p turned off draws from the row as it is
    "mirostat": lambda seed: Mirostat(2.0, 0.0, seed),
    "mirostat_v2": lambda seed: MirostatV2(2.0, 0.0, seed),
    "adaptive_p off": lambda seed: AdaptiveP(-1.0, seed=seed),
}


@pytest.mark.parametrize("name", STEADY)
@pytest.mark.parametrize("seed", [None, 14], ids=["own numbers", "llama.cpp's"])
def test_steady_selectors_follow_their_truncated_distribution(name: str, seed: int | None) -> None:
    """The distribution is that of the row which the selector itself reports."""
    selector, row = STEADY[name](seed), row_of("uneven", candidates=True)
    contexts = places(15, "samples")
    final = selector.select(row, contexts[0]).row
    assert p_value(counts_of(selector, row, contexts), softmax(final.scores)) > REJECT_BELOW


@pytest.mark.parametrize("seed", [None, 16], ids=["own numbers", "llama.cpp's"])
def test_adaptive_p_follows_the_distribution_of_each_step(seed: int | None) -> None:
    """Its row changes from step to step: the sum of the chosen cells' positions must be uniform instead.

    Each draw falls into the cell of its token, so u is uniform over [0, 1): ten bins of a thousand.
    """
    selector, row = AdaptiveP(0.2, seed=seed), row_of("uneven", candidates=True)
    state, draws, surprise = selector.start(), [], 0.0
    for context in places(17, "samples"):
        choice = selector.select(row, context, state)
        assert choice.cdf[0] - 1e-6 <= choice.draw <= choice.cdf[1] + 1e-6
        draws.append(choice.draw)
        surprise += 1.0 / choice.p
        state = choice.state
    assert stats.chisquare(np.histogram(draws, bins=10, range=(0, 1))[0]).pvalue > REJECT_BELOW
    # the mean of 1 / p over true draws is the number of tokens that can be drawn
    assert surprise / DRAWS == pytest.approx(60, rel=0.5)


def test_mirostat_keeps_the_mean_surprise_at_its_target() -> None:
    """Its whole point: tau bits on average, whatever the row."""
    for kind in ("uneven", "uniform"):
        selector, row = MirostatV2(3.0, 0.1), row_of(kind, candidates=False)
        state, total = selector.start(), 0.0
        for context in places(18, "samples")[:3000]:
            choice = selector.select(row, context, state)
            total += choice.facts["surprise_bits"]
            state = choice.state
        assert total / 3000 == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("seed", [None, 19], ids=["own numbers", "llama.cpp's"])
def test_xtc_fires_as_often_as_it_should(seed: int | None) -> None:
    stage, row = Xtc(0.3, 0.05, seed=seed), row_of("uneven", candidates=True)
    state, fired = stage.start(), 0
    for context in places(20, "samples"):
        new, state = stage.apply(row, context, state)
        fired += new.moments.alive < len(row)
    assert stats.binomtest(fired, DRAWS, 0.3).pvalue > REJECT_BELOW


@pytest.mark.parametrize("purpose", ["draw", "xtc", "accept", "beam"])
def test_uniform_numbers_are_uniform_and_independent_of_their_neighbours(purpose: str) -> None:
    """Chi-square over 100 cells of pairs (u at a position, u at the next), along each counter."""
    steps: dict[str, Callable[[int], float]] = {
        "position": lambda i: uniform(1, 0, i, purpose),
        "sample": lambda i: uniform(1, i, 0, purpose),
        "k": lambda i: uniform(1, 0, 0, purpose, i),
        "seed": lambda i: uniform(i, 0, 0, purpose),
    }
    for along in steps.values():
        numbers = [along(i) for i in range(DRAWS)]
        cells = np.histogram2d(numbers[::2], numbers[1::2], bins=10, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(cells.ravel()).pvalue > REJECT_BELOW
