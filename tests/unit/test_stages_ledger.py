"""The books of a run: what each stage kept, changed and removed, against plain float64 arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tokenglass.errors import NoTokenAllowed
from tokenglass.numbers import rank
from tokenglass.stages import (
    AllowedTokens,
    BadWords,
    Context,
    Dry,
    DynamicTemperature,
    ForcedEos,
    LogitBias,
    MinP,
    Penalties,
    PrefixAllowedTokens,
    RemoveInvalidValues,
    RenormalizeLogits,
    RepetitionPenalty,
    Row,
    SuppressTokens,
    Temperature,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
    Xtc,
    as_stage,
    run,
)
from tokenglass.stages.row import MASKED

CONTEXT = Context((1, 5, 7), (2, 2, 9), max_length=7, eos_ids=(0, 4))
CHAINS: dict[str, tuple[bool, list[Any]]] = {
    "transformers": (
        False,
        [RepetitionPenalty(1.3), BadWords(((3,), (9, 6))), Temperature(0.8), TopK(50), TopP(0.9), MinP(0.05)],
    ),
    "wide": (False, [Temperature(1.5), TypicalP(0.95), TopP(0.98), TopNSigma(1.0), RenormalizeLogits()]),
    "llama.cpp": (
        True,
        [
            *(Penalties(1.2, 0.3, 0.1), Dry(1.0), TopNSigma(2.0), TopK(40, tie="candidate_order")),
            *(TypicalP(0.9, tie="candidate_order"), TopP(0.9, compare="head"), MinP(0.05, compare="logits")),
            *(Xtc(1.0, 0.1, seed=3), DynamicTemperature(0.8, 0.3)),
        ],
    ),
    "forcing": (
        False,
        [SuppressTokens((1, 2)), PrefixAllowedTokens(lambda b, i: [1, 2, 3]), ForcedEos((0,))],
    ),
    "back from the dead": (
        False,
        [AllowedTokens((3,)), SuppressTokens((3,)), RemoveInvalidValues(), TopK(2)],
    ),
    "bias": (False, [LogitBias.of({0: 30.0, 1: -np.inf}), SuppressTokens((0,)), TopP(0.5), TopP(0.5)]),
}


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores.astype(np.float64) - float(scores.max()))
    return weights / weights.sum()


def expected_record(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    alive, was = after > MASKED, before > MASKED
    p = softmax(after) if alive.any() else np.zeros(len(after))
    kept = softmax(before)[alive].sum() if was.any() else 0.0
    return {
        "alive": int(alive.sum()),
        "mass_kept": kept if (was & ~alive).any() else 1.0,
        "entropy_bits": float(-(p[p > 0] * np.log2(p[p > 0])).sum()),
        "argmax": int(after.argmax()) if alive.any() else -1,
        "removed": int((was & ~alive).sum()),
        "changed": int((alive & (after != before)).sum()),
    }


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("size", [12, 300, 5000])
def test_records_equal_plain_arithmetic(name: str, size: int) -> None:
    """Shortcuts through few candidates and updated sums give the numbers of a full float64 computation."""
    candidates, chain = CHAINS[name]
    for seed in range(5):
        scores = (np.random.default_rng(seed).normal(size=size) * 2).astype(np.float32)
        ledger = run(chain, Row.of(scores, candidates=candidates), CONTEXT)
        assert [record.name for record in ledger.stages] == ["model", *(stage.name for stage in chain)]
        for record, before, after in zip(ledger.stages[1:], ledger.rows, ledger.rows[1:], strict=False):
            for field, value in expected_record(before.scores, after.scores).items():
                tolerance = {"mass_kept": 2e-6, "entropy_bits": 2e-4}.get(field, 0)
                assert getattr(record, field) == pytest.approx(value, abs=tolerance), (record.name, field)
        model = ledger.stages[0]
        assert (model.alive, model.mass_kept, model.removed) == (size, 1.0, 0)


@pytest.mark.parametrize("name", CHAINS)
def test_recording_changes_nothing(name: str) -> None:
    candidates, chain = CHAINS[name]
    scores = np.random.default_rng(1).normal(size=300).astype(np.float32)
    recorded = run(chain, Row.of(scores, candidates=candidates), CONTEXT)
    bare = run(chain, Row.of(scores, candidates=candidates), CONTEXT, record=False)
    np.testing.assert_array_equal(recorded.row.scores, bare.row.scores)
    assert bare.stages == ()
    assert [(i, r.stage, r.rank) for i, r in bare.removed.items()] == [
        (i, r.stage, r.rank) for i, r in recorded.removed.items()
    ]


def test_a_tiny_mass_is_kept_with_all_its_digits() -> None:
    """Suppressing the one likely token keeps e-25 of the mass: 1 minus the rest would be 0."""
    row = Row.of([25.0, 0.0, 0.0])
    record = run([SuppressTokens((0,))], row, Context()).stages[1]
    assert record.mass_kept == pytest.approx(2 * np.exp(-25.0), rel=1e-5)


@pytest.mark.parametrize("name", CHAINS)
def test_every_masked_token_is_blamed_on_the_stage_that_masked_it(name: str) -> None:
    """The last stage before which it was alive; and its rank and probability just before."""
    candidates, chain = CHAINS[name]
    scores = (np.random.default_rng(2).normal(size=400) * 3).astype(np.float32)
    scores[17] = MASKED
    ledger = run(chain, Row.of(scores, candidates=candidates), CONTEXT)
    removed = ledger.removed
    masked = np.flatnonzero(ledger.row.scores == MASKED).tolist()
    assert list(removed) == masked
    assert len(removed) == len(masked)
    for token_id in masked:
        index = max([0] + [i + 1 for i, row in enumerate(ledger.rows[:-1]) if row.scores[token_id] > MASKED])
        removal = removed[token_id]
        assert removal.stage == ledger.names[index]
        if index:
            before = ledger.rows[index - 1].scores
            assert removal.rank == rank(before, token_id)
            assert removal.p == pytest.approx(softmax(before)[token_id], rel=1e-4)
        else:
            assert (removal.rank, removal.p) == (None, 0.0)
    survivor = ledger.row.argmax
    assert survivor not in removed
    assert removed.get(survivor) is None
    assert removed.get(10**6) is None
    with pytest.raises(KeyError):
        removed[survivor]


def test_a_view_of_chosen_tokens_lines_up_over_the_stages() -> None:
    """Rows: the model and each stage; columns: the ids asked for."""
    ledger = run([Temperature(0.5), TopK(1)], Row.of([1.0, 2.0]), Context())
    expected = [[0.2689, 0.7311], [0.1192, 0.8808], [0.0, 1.0]]
    assert ledger.probs([0, 1]).round(4).tolist() == expected


def test_stages_put_their_own_numbers_on_record() -> None:
    """XTC its draw, fired or not; the dynamic temperature what it arrived at."""
    chain = [Xtc(0.5, 0.1, seed=7), DynamicTemperature(1.0, 0.5)]
    ledger = run(chain, Row.of([3.0, 2.0, 1.0]), Context())
    xtc, temperature = ledger.stages[1:]
    assert 0.0 <= xtc.facts["draw"] < 1.0
    assert (xtc.removed > 0) == (xtc.facts["draw"] <= 0.5)
    assert 0.5 <= temperature.facts["temperature"] <= 1.5


def test_the_stage_that_removed_the_last_token_is_named() -> None:
    chain = [AllowedTokens((1,)), SuppressTokens((1,)), TopK(5)]
    ledger = run(chain, Row.of([0.0, 1.0]), Context((0,)))
    assert ledger.stages[-1].alive == 0
    assert ledger.stages[-1].argmax == -1
    with pytest.raises(NoTokenAllowed, match=r"no token allowed at position 1 \(banned by suppress_tokens\)"):
        ledger.require_alive(1)
    run([TopK(1)], Row.of([0.0, 1.0]), Context()).require_alive(0)


def test_a_broken_row_gets_records_without_invented_numbers() -> None:
    """NaN from a model: its entropy is NaN; after the repair it is a number again."""
    ledger = run([Temperature(0.5), RemoveInvalidValues()], Row.of([np.nan, 1.0, 0.0]), Context())
    assert np.isnan(ledger.stages[0].entropy_bits)
    assert np.isfinite(ledger.stages[2].entropy_bits)


def test_the_first_stage_that_made_a_score_no_number_is_named() -> None:
    """Stages that judge a distribution leave what is none alone; the user's and the repair may mend it."""

    def broken(scores: np.ndarray) -> np.ndarray:
        scores[2] = np.nan
        return scores

    def mending(scores: np.ndarray) -> np.ndarray:
        return np.nan_to_num(scores, nan=7.0)

    row, breaks = Row.of([3.0, 2.0, 1.0, 0.0]), as_stage(broken)
    for judges in (TopK(2), TypicalP(0.5), TopP(0.5), MinP(0.1), TopNSigma(1.0), Temperature(0.5)):
        ledger = run([TopK(3), breaks, judges], row, Context())
        with pytest.raises(
            ValueError, match=r"stage 'broken' made a score NaN or \+inf at position 9; mend it"
        ):
            ledger.require_alive(9)
    with pytest.raises(ValueError, match="stage 'repetition_penalty' made"):  # 3e38 / 0.1
        chain = [LogitBias.of({1: 3e38}), RepetitionPenalty(0.1), TopK(2)]
        run(chain, row, Context((1,))).require_alive(0)
    with pytest.raises(ValueError, match="mend it, remove_invalid_values stands before it"):
        run([RemoveInvalidValues(), breaks], row, Context()).require_alive(0)
    for mends in (as_stage(mending), RemoveInvalidValues()):
        ledger = run([breaks, SuppressTokens((3,)), mends, TopK(1)], row, Context())
        ledger.require_alive(0)
        assert ledger.row.argmax == (2 if mends.name == "mending" else 0)  # 7 above 3, or 0 below it


def test_no_probability_exceeds_one() -> None:
    """The likelier of two goes, or is overtaken: one is certain, and sums are right to float32's rounding."""
    for seed in range(300):
        scores = (np.random.default_rng(seed).normal(size=300) * 3).astype(np.float32)
        best, second = (-scores).argsort()[:2].tolist()
        for last in (SuppressTokens((best,)), LogitBias.of({best: -np.inf, second: 7.5})):
            ledger = run([TopK(2), last], Row.of(scores), Context())
            assert 1.0 - 1e-6 < ledger.probs([second])[-1, 0] <= 1.0
            alone = float(ledger.row.scores[second])
            assert ledger.row.moments.logsumexp == pytest.approx(alone, abs=1e-6)


def test_states_go_from_step_to_step() -> None:
    """XTC's generator: two steps by hand equal two draws in a row; a step run again draws the same."""
    chain = [Xtc(1.0, 0.1, seed=7), TopK(2)]
    row = Row.of([3.0, 2.0, 1.0])
    first = run(chain, row, Context())
    second = run(chain, row, Context(), first.states)
    assert first.states[0].taken == 1
    assert second.states[0].taken == 2
    assert run(chain, row, Context(), first.states).stages == second.stages
    with pytest.raises(ValueError, match="states must hold one entry for each of the 2 stages, got 1"):
        run(chain, row, Context(), [None])
