"""Selectors: which token, which cell, which state; the arithmetic by hand."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from tokenglass.errors import MissingDependency, NoTokenAllowed
from tokenglass.numbers import softmax
from tokenglass.random import Mt19937, Philox
from tokenglass.select import (
    AdaptiveP,
    Draw,
    Greedy,
    LlamaDraw,
    Mirostat,
    MirostatV2,
    TorchDraw,
    choose_by_id,
    margin,
)
from tokenglass.stages import Context, Row, TopK, run
from tokenglass.stages.base import scores_of

HALVES = [0.5, 0.25, 0.125, 0.0625, 0.0625]
SEEDED = Context((0,), source=Philox(7))
ALL: list[Any] = [
    Greedy(),
    Draw(),
    LlamaDraw(1),
    Mirostat(),
    Mirostat(seed=1),
    MirostatV2(),
    MirostatV2(seed=1),
    AdaptiveP(0.3),
    AdaptiveP(0.3, seed=1),
    AdaptiveP(-1.0),
]


class Fixed:
    """A source that always gives one number."""

    def __init__(self, u: float) -> None:
        self.u = u

    def uniform(self, position: int, purpose: str, k: int = 0) -> float:
        return self.u


def given(u: float) -> Context:
    return Context((0,), source=Fixed(u))


@pytest.mark.parametrize("masked", [0.0, 0.3, 0.95])
def test_draw_from_a_long_row_takes_the_cell_of_the_plain_running_sum(masked: float) -> None:
    """Longer than what is summed at once, and with holes: against one running sum over all, in float64."""
    rng = np.random.default_rng(4)
    scores = (rng.normal(size=50_000) * 2).astype(np.float32)
    scores[rng.random(50_000) < masked] = -np.inf
    ends = np.cumsum(np.exp(scores.astype(np.float64) - float(scores.max())))
    ends /= ends[-1]
    for u in (0.0, *rng.random(40), 1.0 - 2.0**-53):
        choice = choose_by_id(Row.of(scores), u)
        index = min(int(np.searchsorted(ends, u, side="right")), int(np.flatnonzero(scores > -np.inf)[-1]))
        assert choice.token_id == index
        assert choice.cdf == pytest.approx((ends[index - 1] if index else 0.0, ends[index]), abs=1e-12)


@pytest.mark.parametrize(
    ("u", "token_id", "cell"),
    [
        (0.0, 0, (0.0, 0.5)),
        (0.4999, 0, (0.0, 0.5)),
        (0.5001, 1, (0.5, 0.75)),
        (0.95, 4, (0.9375, 1.0)),
        (1.0 - 2.0**-53, 4, (0.9375, 1.0)),
    ],
)
def test_draw_takes_the_cell_that_holds_the_number(
    u: float, token_id: int, cell: tuple[float, float]
) -> None:
    choice = Draw().select(Row.of(scores_of(HALVES)), given(u))
    assert choice.token_id == token_id
    assert choice.cdf == pytest.approx(cell, abs=1e-7)
    assert choice.draw == u
    assert choice.p == pytest.approx(cell[1] - cell[0], abs=1e-7)
    assert choice.origin == "sampled"


def test_cells_stand_in_order_of_id_whatever_the_ranking() -> None:
    """A truncated row keeps its best ids as a ranking; the draw goes by id all the same."""
    row = run([TopK(2)], Row.of([0.0, -5.0, 1.0]), Context()).row
    assert row.ranked(2).tolist() == [2, 0]
    low = float(softmax(row.scores)[0])
    assert choose_by_id(row, low - 1e-6).token_id == 0
    assert choose_by_id(row, low + 1e-6).token_id == 2


@pytest.mark.parametrize("size", [3, 8192, 8193, 40_000])
def test_cells_of_a_whole_vocabulary_tile_the_interval(size: int) -> None:
    """Across the pieces that the sum is made in: each cell starts where the one before ends."""
    rng = np.random.default_rng(3)
    scores = (rng.normal(size=size) * 2).astype(np.float32)
    scores[rng.random(size) < 0.3] = -np.inf
    scores[[0, size - 1]] = 0.0
    row, weights = Row.of(scores), np.exp(scores.astype(np.float64))
    p = weights / weights.sum()
    ends = np.cumsum(p)
    for u in (*rng.random(30), 0.0, 1.0 - 2.0**-53):
        choice = choose_by_id(row, float(u))
        assert choice.cdf is not None
        assert choice.cdf[0] <= u < choice.cdf[1]
        assert choice.cdf[1] == pytest.approx(ends[choice.token_id], abs=1e-12)
        assert choice.p == pytest.approx(p[choice.token_id], rel=1e-9)
        assert choice.p > 0


def test_a_token_without_probability_is_never_drawn() -> None:
    """Its cell is empty, also at the very ends of the interval."""
    row = Row.of([-np.inf, 0.0, -2000.0, 0.0, -np.inf])
    for u in (0.0, 0.5, 1.0 - 2.0**-53):
        assert choose_by_id(row, u).token_id in (1, 3)


def test_a_draw_depends_on_seed_sample_and_position_alone() -> None:
    """Same place, same number: after undo, in a branch, in any batch; a redraw raises the sample."""
    row = Row.of(np.zeros(10_000, dtype=np.float32))
    here = Context((1, 2), (3,), source=Philox(7))
    elsewhere = Context((9,), (9, 9), source=Philox(7))  # other tokens, same position
    assert Draw().select(row, here) == Draw().select(row, elsewhere)
    again = Draw().select(row, Context((1, 2), (3,), source=Philox(7, sample=1)))
    later = Draw().select(row, Context((1, 2), (3, 4), source=Philox(7)))
    assert len({Draw().select(row, here).draw, again.draw, later.draw}) == 3


def test_a_draw_without_a_source_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="'draw' needs random numbers: give the context a source"):
        Draw().select(Row.of([0.0]), Context())


def test_greedy_breaks_ties_by_id_or_by_candidate_order() -> None:
    assert Greedy().select(Row.of([1.0, 3.0, 3.0]), Context()).token_id == 1
    reordered = Row(scores_of([0.4, 0.2, 0.4]), np.array([2, 1, 0]), is_sorted=False)
    choice = Greedy().select(reordered, Context())
    assert (choice.token_id, choice.origin, choice.draw) == (2, "greedy", None)
    assert choice.p == pytest.approx(0.4)


@pytest.mark.parametrize("selector", ALL, ids=repr)
def test_selectors_are_pure_and_refuse_an_empty_row(selector: Any) -> None:
    row = Row.of(scores_of(HALVES), candidates=True)
    state = selector.start()
    assert selector.select(row, SEEDED, state) is not None
    first, again = (selector.select(row, SEEDED, state) for _ in range(2))
    assert (first.token_id, first.draw, first.state) == (again.token_id, again.draw, again.state)
    assert selector.select(row, SEEDED).token_id == first.token_id  # no state: the one before the first step
    assert row.scores.tolist() == scores_of(HALVES).tolist()
    with pytest.raises(NoTokenAllowed, match="position 1"):
        selector.select(Row.of([-np.inf] * 3), SEEDED)


def test_mirostat_2_by_hand() -> None:
    """For tau 1: mu 2 bits; surprises 1 2 3 4 4: two tokens; drawing id 0: e = .585 - 1, mu = 2.0415."""
    selector = MirostatV2(1.0, 0.1)
    choice = selector.select(Row.of(scores_of(HALVES)), given(0.6))
    assert softmax(choice.row.scores)[:2] == pytest.approx([2 / 3, 1 / 3], abs=1e-6)
    assert choice.row.moments.alive == 2
    assert choice.token_id == 0
    assert choice.facts["surprise_bits"] == pytest.approx(0.58496, abs=1e-4)
    assert choice.state.mu == pytest.approx(2.0415, abs=1e-4)


def test_mirostat_1_by_hand() -> None:
    """With p ~ 1 / rank^2 exactly: s = 2, k = sqrt(2^mu / (1 - 1/V)); tau 1, V 16: sqrt(64 / 15) = 2."""
    p = 1.0 / np.arange(1, 17) ** 2
    choice = Mirostat(1.0, 0.1).select(Row.of(np.log(p).astype(np.float32)), given(0.1))
    assert choice.row.moments.alive == 2


def test_mirostat_keeps_something_when_its_fit_has_no_exponent() -> None:
    """Equal tokens have slope 0, one token has none: C++ makes a least int of it, and one token stays."""
    for scores in ([0.0] * 5, [1.0], [3.0, -np.inf]):
        assert Mirostat().select(Row.of(scores), given(0.3)).row.moments.alive == 1


def test_adaptive_p_by_hand() -> None:
    """Target .25: logits 1.2121 5 3.7745 2.5962 2.5962; the average then counts the chosen p."""
    choice = AdaptiveP(0.25).select(Row.of(scores_of(HALVES)), given(0.5))
    assert choice.row.scores == pytest.approx([1.2121, 5.0, 3.7745, 2.5962, 2.5962], abs=1e-4)
    assert softmax(choice.row.scores) == pytest.approx([0.0151, 0.6680, 0.1961, 0.0604, 0.0604], abs=6e-5)
    assert choice.token_id == 1
    assert choice.state.weighted == pytest.approx(0.25 + 0.9 * 2.5, abs=1e-5)
    assert choice.state.weight == pytest.approx(1 + 0.9 * 10, abs=1e-5)
    steered = AdaptiveP(0.25).select(Row.of(scores_of(HALVES)), given(0.0), choice.state)
    assert steered.facts["target"] == pytest.approx(0.25, abs=1e-6)


def test_states_are_small_values() -> None:
    """A generator's place, not its 624 words: it fits into a trace."""
    assert LlamaDraw(42).select(Row.of([0.0, 0.0]), Context()).state == Mt19937(42, taken=2)
    assert MirostatV2(seed=3).start().generator == Mt19937(3)


def test_margin_is_the_lead_of_the_best() -> None:
    assert margin(Row.of([1.0, 3.0, 2.5])) == 0.5
    assert margin(Row.of([2.0, 2.0])) == 0.0
    assert margin(Row.of([2.0, -np.inf])) == np.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LlamaDraw(2**32).start(), r"seed must be in \[0, 2\*\*32\)"),
        (lambda: Mirostat(tau=-1.0), "mirostat_tau must be >= 0 and finite, got -1.0"),
        (lambda: MirostatV2(eta=float("nan")), "mirostat_eta must be >= 0 and finite, got nan"),
        (lambda: Mirostat(m=1), "mirostat_m must be a whole number >= 2, got 1"),
        (lambda: AdaptiveP(1.5), "adaptive_target must be at most 1"),
        (lambda: AdaptiveP(0.5, decay=1.0), r"adaptive_decay must be in \[0, 0.99\], got 1.0"),
    ],
)
def test_wrong_parameters_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_torch_draw_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_torch(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(MissingDependency, match=r"pip install 'tokenglass\[hf\]'"):
        TorchDraw(1).start()
