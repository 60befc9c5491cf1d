"""Rows: what a row remembers must be what a fresh row would compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenglass import numbers
from tokenglass.stages import (
    Context,
    EpsilonCutoff,
    EtaCutoff,
    LogitBias,
    MinP,
    RenormalizeLogits,
    RepetitionPenalty,
    Row,
    SuppressTokens,
    Temperature,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
    Xtc,
    run,
)
from tokenglass.stages.candidates import total
from tokenglass.stages.ranking import best_first, reach, top
from tokenglass.stages.row import MASKED

CONTEXT = Context((1, 5, 7), (2, 2), eos_ids=(0,))
STAGES: list[Any] = [
    *(
        Temperature(0.7),
        Temperature(3.0),
        Temperature(0.0),
        RepetitionPenalty(1.3),
        SuppressTokens((0, 3, 8)),
    ),
    *(
        LogitBias.of({1: 2.5, 4: -1.0}),
        LogitBias.of({2: -np.inf}),
        RenormalizeLogits(),
        Xtc(1.0, 0.05, seed=1),
    ),
    *(
        TopK(5),
        TopK(400, tie="lowest_id"),
        TopP(0.7),
        TopP(0.99, min_keep=3),
        MinP(0.02),
        MinP(0.5, min_keep=4),
    ),
    *(TypicalP(0.6), EpsilonCutoff(0.01), EtaCutoff(0.01), TopH(0.7), TopNSigma(1.5)),
]


def scores_for(seed: int, size: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=size) * 2 if kind == "smooth" else rng.integers(-3, 4, size)
    scores = scores.astype(np.float32)
    if kind == "holes":
        scores[rng.random(size) < 0.3] = MASKED
        scores[rng.integers(size)] = 1.0
    return scores


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    chain=st.lists(st.sampled_from(STAGES), min_size=1, max_size=7),
    ask=st.lists(st.sampled_from(["ranked", "moments", "probs"]), max_size=3),
    seed=st.integers(0, 10_000),
    size=st.sampled_from([12, 60, 1500, 5000, 20_000]),
    kind=st.sampled_from(["smooth", "ties", "holes"]),
)
def test_a_row_that_came_through_a_chain_equals_a_fresh_one(
    chain: list[Any], ask: list[str], seed: int, size: int, kind: str
) -> None:
    """Rankings and sums handed from row to row never change a stage's answer, whatever was asked before."""
    row = Row.of(scores_for(seed, size, kind))
    for stage in chain:
        for question in ask:
            {"ranked": lambda r: r.ranked(3), "moments": lambda r: r.moments, "probs": Row.probs}[question](
                row
            )
        fresh = Row.of(row.scores)
        new, _ = stage.apply(row, CONTEXT, stage.start())
        expected, _ = stage.apply(fresh, CONTEXT, stage.start())
        np.testing.assert_array_equal(new.scores, expected.scores)
        row = new
        assert_true_to_scores(row)


def assert_true_to_scores(row: Row) -> None:
    alive = np.flatnonzero(row.scores > MASKED)
    assert row.moments.alive == len(alive)
    assert row.argmax == (int(row.scores.argmax()) if len(alive) else -1)
    if not len(alive):
        return
    summary = numbers.summarize(row.scores)
    assert row.moments.logsumexp == pytest.approx(summary.logsumexp, abs=1e-5)
    assert row.moments.entropy_bits == pytest.approx(summary.entropy_bits, abs=1e-4)
    ranked = row.ranked(4)
    assert len(ranked) >= min(4, len(alive))
    best = alive[np.lexsort((alive, -row.scores[alive]))]
    assert ranked.tolist() == best[: len(ranked)].tolist()
    if len(ranked) < len(alive):
        assert row.scores[best[len(ranked)]] < row.scores[ranked[-1]]


def test_moments_survive_the_loss_of_nearly_everything() -> None:
    """Masking the token with all but e-20 of the mass: a difference of sums would have no digits left."""
    row = Row.of([20.0, 0.0, 0.0])
    assert row.moments.alive == 3
    left = row.masked(np.array([0]))
    assert left.moments.entropy_bits == pytest.approx(1.0, abs=1e-6)
    assert left.moments.logsumexp == pytest.approx(np.log(2.0), abs=1e-6)


def test_moments_follow_a_new_leader() -> None:
    """A bias of +100 makes a token the best by far: its weight, relative to the old best, would overflow."""
    row = Row.of([1.0, 0.0])
    assert row.moments.total > 0
    raised = row.replaced(np.array([1]), np.array([100.0], dtype=np.float32))
    assert raised.moments.logsumexp == pytest.approx(100.0)
    assert raised.moments.entropy_bits == pytest.approx(0.0, abs=1e-6)


def test_moments_of_rows_without_a_distribution() -> None:
    """Nothing alive: entropy 0 and -inf. A NaN or +inf among the scores: NaN, not an invented number."""
    dead = Row.of([-np.inf, -np.inf]).moments
    assert (dead.logsumexp, dead.entropy_bits, dead.alive) == (-np.inf, 0.0, 0)
    for broken in (np.nan, np.inf):
        moments = Row.of([broken, 0.0]).moments
        assert np.isnan(moments.logsumexp)
        assert np.isnan(moments.entropy_bits)


def test_a_row_protects_its_scores_but_not_its_makers_array() -> None:
    mine = np.zeros(3, dtype=np.float32)
    row = Row.of(mine)
    with pytest.raises(ValueError, match="read-only"):
        row.scores[0] = 1.0
    mine[0] = 1.0  # once the row is done with, the buffer is free again


@pytest.mark.parametrize("scores", [[], [[1.0]]])
def test_a_row_needs_one_dimension(scores: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"scores must have shape \(V,\)"):
        Row.of(scores)


def test_equal_after_scaling_ranks_by_id() -> None:
    """The float below 1 equals 1 after a division by 3e38 (denormals): then the lower id is first."""
    row = Row.of([np.nextafter(np.float32(1), np.float32(0)), 1.0, -1.0])
    ranked, _ = TopK(2).apply(row, CONTEXT, None)
    assert ranked.ranked(2).tolist() == [1, 0]
    scaled, _ = Temperature(3e38).apply(ranked, CONTEXT, None)
    assert scaled.scores[0] == scaled.scores[1]
    assert scaled.ranked(2).tolist() == [0, 1]


def test_candidate_lists_keep_llama_cpps_order() -> None:
    """Sorting reorders, truncation shortens, a bias leaves the order stale."""
    row = Row.of([1.0, 3.0, 2.0, 0.0], candidates=True)
    cut = run([TopK(3, tie="candidate_order"), LogitBias.of({0: 9.0})], row, CONTEXT).row
    assert cut.order is not None
    assert cut.order.tolist() == [1, 2, 0]
    assert cut.is_sorted
    assert cut.scores.tolist() == [10.0, 3.0, 2.0, -np.inf]
    assert run([TopK(1, tie="candidate_order")], cut, CONTEXT).row.order.tolist() == [1]  # type: ignore[union-attr]
    lowest = run([TopK(2, tie="lowest_id")], Row.of([0.0, 5.0, 5.0, 5.0], candidates=True), CONTEXT).row
    assert lowest.order.tolist() == [1, 2]  # type: ignore[union-attr]


def values_with_ties(seed: int, size: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=size) * rng.choice([0.01, 1.0, 1e4])).astype(np.float32)
    values[rng.integers(0, size, size // 4)] = values[0]
    values[rng.integers(0, size, size // 8)] = rng.choice([-np.inf, 0.0, -0.0])
    return values


@pytest.mark.parametrize("size", [1, 5, 2048, 2049, 30_000])
def test_best_first_equals_a_stable_sort(size: int) -> None:
    """Also past the size at which it sorts by radix, and with both zeros, which are equal."""
    for seed in range(4):
        values = values_with_ties(seed, size)
        assert best_first(values).tolist() == np.argsort(-values, kind="stable").tolist()


def test_best_first_of_mostly_masked_values_equals_a_stable_sort() -> None:
    """The masked ones, which it does not sort, stand last by index."""
    values = values_with_ties(3, 30_000)
    values[np.random.default_rng(3).random(30_000) < 0.8] = -np.inf
    assert best_first(values).tolist() == np.argsort(-values, kind="stable").tolist()


@pytest.mark.parametrize("n", [1, 7, 300, 4000])
def test_top_is_a_head_of_the_full_order_cut_between_unequal_values(n: int) -> None:
    for seed in range(6):
        values = values_with_ties(seed, 20_000)
        if seed % 2:
            values[np.random.default_rng(seed).random(20_000) < 0.95] = -np.inf
        full, found = best_first(values), top(values, n)
        assert len(found) >= n
        assert found.tolist() == full[: len(found)].tolist()
        assert len(found) == 20_000 or values[full[len(found)]] < values[found[-1]]


def test_rows_too_long_to_sort_are_narrowed_by_id() -> None:
    """3,000 of 20,000 stay: too many to rank, few enough for a list, which later stages share."""
    scores = np.random.default_rng(5).normal(size=20_000).astype(np.float32)
    least = np.sort(scores)[-3000]
    row = Row.of(scores).kept_where(None, scores >= least)
    assert row.few is not None
    assert row.few.tolist() == np.flatnonzero(scores >= least).tolist()
    for stage in (TopP(0.99), TypicalP(0.9), MinP(0.1), TopK(2000), SuppressTokens((0, 1, 2))):
        row, _ = stage.apply(row, CONTEXT, None)
        fresh, _ = stage.apply(Row.of(row.scores), CONTEXT, None)
        again, _ = stage.apply(row, CONTEXT, None)
        np.testing.assert_array_equal(again.scores, fresh.scores)
        assert_true_to_scores(row)


def test_running_sums_are_those_of_a_plain_loop() -> None:
    """Float32, one after another: the order of additions decides llama.cpp's last bits."""
    values = (np.random.default_rng(6).normal(size=10_000) * 100).astype(np.float32)
    expected = np.float32(0.0)
    for value in values:
        expected += value
    assert total(values) == expected
    assert total(values[:0]) == 0.0


def test_huge_scores_do_not_overflow_in_silence_or_with_a_warning() -> None:
    """A repetition penalty grown past float32's range: sigma is inf, so every token is near enough."""
    row = Row.of([1.0, 2.0, -3e38] * 2000, candidates=True)
    assert np.isfinite(TopNSigma(1.0).apply(row, CONTEXT, None)[0].scores).all()
    assert TopP(0.9).apply(Row.of(row.scores), CONTEXT, None)[0].argmax == 1


def test_reach_finds_where_a_running_sum_passes_its_mark() -> None:
    """Against a full sort: the mark lies inside the stretch, and everything before it is counted."""
    rng = np.random.default_rng(9)
    for scale in (0.01, 1.0, 30.0):
        key = np.abs(rng.normal(size=20_000) * scale).astype(np.float32)
        key[rng.integers(0, 20_000, 3000)] = np.float32(scale)
        key[:50] = np.inf
        weights = np.exp(-key) / np.exp(-key).sum()
        order = np.argsort(key, kind="stable")
        sums = np.cumsum(weights[order], dtype=np.float64)
        for mark in (1e-9, 0.3, 0.9, 0.9999):
            segment = reach(key, weights.astype(np.float32), mark)
            crossing = int(np.searchsorted(sums, mark))
            n_before = int(np.count_nonzero(segment.smaller))
            assert n_before <= crossing < n_before + len(segment.indexes)
            assert segment.indexes.tolist() == order[n_before : n_before + len(segment.indexes)].tolist()
            assert segment.before == pytest.approx(sums[n_before - 1] if n_before else 0.0, abs=1e-6)
