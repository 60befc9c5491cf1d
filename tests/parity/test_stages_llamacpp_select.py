"""Selectors against llama.cpp's own: a thousand seeded draws each, the state going on from draw to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity.llamacpp import Candidates, Sampler
from tests.parity.stage_rows import Scores, rows
from tokenglass.select import AdaptiveP, Greedy, LlamaDraw, Mirostat, MirostatV2
from tokenglass.stages import Context, MinP, Row, Temperature, TopK, TopP

DRAWS = 1000
SIZE = 400  # every row's, because mirostat 1 is told the size of the vocabulary once
NOWHERE = Context()


def distinct_rows(seed: int, count: int) -> list[Scores]:
    """Peaked, flat and Zipf-like rows without ties."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        base = (rng.normal(size=SIZE) * rng.choice([0.1, 1.0, 4.0]), -1.2 * np.log1p(rng.permutation(SIZE)))[
            i % 2
        ]
        found.append((base + rng.normal(size=SIZE) * 1e-3).astype(np.float32))
    return found


def shortened(scores: Scores, i: int) -> tuple[Row, Candidates]:
    """The candidates as they are, sorted and cut by top-k, or cut in place by min-p."""
    row, theirs = Row.of(scores, candidates=True), Candidates(scores)
    if i % 3 == 1:
        row, _ = TopK(37, tie="candidate_order").apply(row, NOWHERE, None)
        Sampler("top_k", 37)(theirs)
    elif i % 3 == 2:
        row, _ = MinP(0.02, compare="logits").apply(row, NOWHERE, None)
        Sampler("min_p", 0.02, 0)(theirs)
    return row, theirs


def follow(selector: Any, sampler: Sampler, seed: int) -> None:
    """Draw `DRAWS` tokens in step; the probability that llama.cpp reports must agree, too."""
    state = selector.start()
    for i, scores in enumerate(distinct_rows(seed, DRAWS)):
        row, theirs = shortened(scores, i)
        choice = selector.select(row, NOWHERE, state)
        sampler(theirs)
        assert choice.token_id == theirs.selected, (i, choice.draw, choice.cdf)
        if choice.draw is not None:
            start, end = choice.cdf
            assert start - 1e-6 <= choice.draw <= end + 1e-6
            p = theirs.entries["p"][theirs.entries["id"] == choice.token_id][0]
            assert choice.p == pytest.approx(p, rel=1e-5, abs=2e-7)  # theirs need not sum to 1
        state = choice.state
        sampler.accept([choice.token_id])


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 2])
def test_a_thousand_draws_equal_llama_cpps(seed: int) -> None:
    follow(LlamaDraw(seed), Sampler("dist", seed), 51)


SELECTORS: dict[str, Callable[[int], tuple[Any, Sampler]]] = {
    "mirostat, low": lambda s: (Mirostat(2.0, 0.1, s), Sampler("mirostat", SIZE, s, 2.0, 0.1, 100)),
    "mirostat, high, short fit": lambda s: (
        Mirostat(6.0, 0.3, s, m=10),
        Sampler("mirostat", SIZE, s, 6.0, 0.3, 10),
    ),
    "mirostat_v2, low": lambda s: (MirostatV2(1.0, 0.1, s), Sampler("mirostat_v2", s, 1.0, 0.1)),
    "mirostat_v2, high": lambda s: (MirostatV2(5.0, 0.2, s), Sampler("mirostat_v2", s, 5.0, 0.2)),
    "adaptive_p": lambda s: (AdaptiveP(0.3, 0.9, s), Sampler("adaptive_p", 0.3, 0.9, s)),
    "adaptive_p, small target": lambda s: (AdaptiveP(0.02, 0.5, s), Sampler("adaptive_p", 0.02, 0.5, s)),
    "adaptive_p, off": lambda s: (AdaptiveP(-1.0, 0.9, s), Sampler("adaptive_p", -1.0, 0.9, s)),
}


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("seed", range(5 if FULL else 1))
def test_a_thousand_choices_with_memory_equal_llama_cpps(name: str, seed: int) -> None:
    """One token off, and mu or the moving average would part for good."""
    selector, sampler = SELECTORS[name](seed)
    follow(selector, sampler, 52 + seed)


def test_greedy_takes_llama_cpps_first_best() -> None:
    """Of equal logits the first in the list, which is not the lowest id once something has been sorted."""
    for scores in rows(seed=53):
        theirs = Sampler("greedy")(scores)
        assert Greedy().select(Row.of(scores, candidates=True), NOWHERE).token_id == theirs.selected


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_chain_and_draw_equal_llama_cpps(temperature: float) -> None:
    """The last links of the default chain together: top-k, top-p, min-p, temperature, dist."""
    stages = [
        TopK(40, tie="candidate_order"),
        TopP(0.95, compare="head"),
        MinP(0.05, compare="logits"),
        Temperature(temperature),
    ]
    samplers = [
        Sampler("top_k", 40),
        Sampler("top_p", 0.95, 0),
        Sampler("min_p", 0.05, 0),
        Sampler("temp", temperature),
        Sampler("dist", 1234),
    ]
    selector = LlamaDraw(1234)
    state = selector.start()
    for scores in distinct_rows(54, DRAWS):
        row, theirs = Row.of(scores, candidates=True), Candidates(scores)
        for stage in stages:
            row, _ = stage.apply(row, NOWHERE, None)
        for sampler in samplers:
            sampler(theirs)
        choice = selector.select(row, NOWHERE, state)
        state = choice.state
        assert choice.token_id == theirs.selected
