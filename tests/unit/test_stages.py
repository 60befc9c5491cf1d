"""Stages as tables: probabilities in, parameters, probabilities out; and what every stage has in common."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest

import tokenglass.select
import tokenglass.stages
from tokenglass.errors import NoTokenAllowed
from tokenglass.numbers import softmax
from tokenglass.stages import (
    AllowedTokens,
    BadWords,
    BaseStage,
    Context,
    Dry,
    DynamicTemperature,
    EpsilonCutoff,
    EtaCutoff,
    ForcedBos,
    ForcedEos,
    FrequencyPenalty,
    GuidanceScale,
    LogitBias,
    MinP,
    Penalties,
    PrefixAllowedTokens,
    PresencePenalty,
    RenormalizeLogits,
    RepetitionPenalty,
    Row,
    SequenceBias,
    SuppressTokens,
    Temperature,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
    Watermark,
    Window,
    Xtc,
    run,
)
from tokenglass.stages.base import scores_of
from tokenglass.stages.words import words_from_text

HF, LLAMA = False, True
EIGHT = [0.5, 0.25, 0.125, 0.0625, 0.0625]

# name, system (whether the row has candidates), scores in, chain, probabilities out (in order of id).
# Comments give the arithmetic; the llama.cpp columns were checked against its own code.
TABLE: list[tuple[str, bool, list[float], list[BaseStage], list[float]]] = [
    # temperature before or after top-p: p = .6652 .2447 .0900; at T .5 it is .8668 .1173 .0159
    ("T .5 then top_p .8", HF, [3, 2, 1], [Temperature(0.5), TopP(0.8)], [1, 0, 0]),
    (
        "top_p .8 then T .5",
        LLAMA,
        [3, 2, 1],
        [TopP(0.8, compare="head"), Temperature(0.5)],
        [0.8808, 0.1192, 0],
    ),
    ("T 2 then top_p .9", HF, [3, 2, 1], [Temperature(2.0), TopP(0.9)], [0.5065, 0.3072, 0.1863]),
    (
        "top_p .9 then T 2",
        LLAMA,
        [3, 2, 1],
        [TopP(0.9, compare="head"), Temperature(2.0)],
        [0.6225, 0.3775, 0],
    ),
    # min-p and temperature: ratios 1 .135 .018; after T = 2 they are 1 .368 .135
    ("min_p then T", LLAMA, [4, 2, 0], [MinP(0.1, compare="logits"), Temperature(2.0)], [0.7311, 0.2689, 0]),
    ("T then min_p", HF, [4, 2, 0], [Temperature(2.0), MinP(0.1)], [0.6652, 0.2447, 0.0900]),
    # ties of the k-th
    ("top_k ties kept", HF, [1, 1, 1, 0], [TopK(2)], [1 / 3, 1 / 3, 1 / 3, 0]),
    ("top_k exactly", LLAMA, [1, 1, 1, 0], [TopK(2, tie="candidate_order")], [0.5, 0.5, 0, 0]),
    ("top_k lowest ids", HF, [0, 1, 1, 1], [TopK(2, tie="lowest_id")], [0, 0.5, 0.5, 0]),
    # typical: a uniform row, all equally typical
    ("typical keeps ties", HF, [0, 0, 0, 0], [TypicalP(0.5)], [0.25] * 4),
    # log domain of the repetition penalty: 6 / 1.5 = 4 < 5
    ("repetition on logits", HF, [6, 5], [RepetitionPenalty(1.5)], [0.2689, 0.7311]),
    # T = 0 keeps the first of the best
    ("T 0", HF, [1, 2, 2], [Temperature(0.0)], [0, 1, 0]),
    # dynamic temperature: H / ln 3 = .7577, T' = 1.2577
    ("dynamic T", LLAMA, [3, 2, 1], [DynamicTemperature(1.0, 0.5)], [0.6041, 0.2728, 0.1232]),
    ("dynamic T, plain row", HF, [3, 2, 1], [DynamicTemperature(1.0, 0.5)], [0.6041, 0.2728, 0.1232]),
]
# probabilities in, chain, probabilities out; thresholds stand off the boundaries, never on one
ROWS: list[tuple[str, bool, list[float], list[BaseStage], list[float]]] = [
    # min_p and top_p in either order: .9 and .8889 cross .85 at the third and at the second token
    (
        "top_p, min_p",
        HF,
        [0.5, 0.3, 0.1, 0.06, 0.04],
        [TopP(0.85), MinP(0.15)],
        [0.5556, 0.3333, 0.1111, 0, 0],
    ),
    ("min_p, top_p", HF, [0.5, 0.3, 0.1, 0.06, 0.04], [MinP(0.15), TopP(0.85)], [0.625, 0.375, 0, 0, 0]),
    ("top_p .49", HF, [0.5, 0.3, 0.2], [TopP(0.49)], [1, 0, 0]),
    ("top_p .51", HF, [0.5, 0.3, 0.2], [TopP(0.51)], [0.625, 0.375, 0]),
    ("top_p .51, llama", LLAMA, [0.5, 0.3, 0.2], [TopP(0.51, compare="head")], [0.625, 0.375, 0]),
    ("top_p 0", HF, [0.5, 0.3, 0.2], [TopP(0.0)], [1, 0, 0]),
    ("top_p 0 keeps two", HF, [0.5, 0.3, 0.2], [TopP(0.0, min_keep=2)], [0.625, 0.375, 0]),
    ("min_p .59", HF, [0.5, 0.3, 0.2], [MinP(0.59)], [0.625, 0.375, 0]),
    ("min_p .61", HF, [0.5, 0.3, 0.2], [MinP(0.61)], [1, 0, 0]),
    ("min_p .61, two kept", HF, [0.5, 0.3, 0.2], [MinP(0.61, min_keep=2)], [0.625, 0.375, 0]),
    ("epsilon .19", HF, [0.5, 0.3, 0.2], [EpsilonCutoff(0.19)], [0.5, 0.3, 0.2]),
    ("epsilon .21", HF, [0.5, 0.3, 0.2], [EpsilonCutoff(0.21)], [0.625, 0.375, 0]),
    ("epsilon above all", HF, [0.5, 0.3, 0.2], [EpsilonCutoff(0.99)], [1, 0, 0]),
    # eta: H = .4194, cutoff = min(.0625, .25 e^-.4194 = .1644)
    ("eta", HF, [0.01, 0.04, 0.9, 0.05], [EtaCutoff(0.0625)], [0, 0, 1, 0]),
    # typical drops the most likely token: its surprise .92 is further from H = 1.33 than 1.61 is
    ("typical", HF, [0.4, 0.2, 0.2, 0.2], [TypicalP(0.5)], [0, 1 / 3, 1 / 3, 1 / 3]),
    (
        "typical, llama",
        LLAMA,
        [0.4, 0.2, 0.2, 0.2],
        [TypicalP(0.5, tie="candidate_order")],
        [0, 1 / 3, 1 / 3, 1 / 3],
    ),
    # a uniform row at m = .4: two tokens hold .5, more than .4; all four are equally typical
    ("typical ties, llama", LLAMA, [0.25] * 4, [TypicalP(0.4, tie="candidate_order")], [0.5, 0.5, 0, 0]),
    # top-H: terms .3466 .3612 pass .6 H = .7010 at the second token
    ("top_h .6", HF, [0.5, 0.3, 0.1, 0.1], [TopH(0.6)], [1, 0, 0, 0]),
    ("top_h .62", HF, [0.5, 0.3, 0.1, 0.1], [TopH(0.62)], [0.625, 0.375, 0, 0]),
    # XTC: one token above .3 alone stays; after top_p .6 both (.556 .444) are, and the best goes
    ("xtc, one above", LLAMA, [0.35, 0.28, 0.2, 0.17], [Xtc(1.0, 0.3, seed=0)], [0.35, 0.28, 0.2, 0.17]),
    (
        "top_p, xtc",
        LLAMA,
        [0.35, 0.28, 0.2, 0.17],
        [TopP(0.6, compare="head"), Xtc(1.0, 0.3, seed=0)],
        [0, 1, 0, 0],
    ),
    ("xtc, all but one", HF, EIGHT, [Xtc(1.0, 0.1, seed=0)], [0, 0, 0.5, 0.25, 0.25]),
    ("xtc, min_keep", HF, EIGHT, [Xtc(1.0, 0.1, min_keep=4, seed=0)], EIGHT),
    ("xtc above .5", HF, [0.6, 0.4], [Xtc(1.0, 0.51, seed=0)], [0.6, 0.4]),
]


@pytest.mark.parametrize(
    ("label", "system", "scores", "chain", "expected"), TABLE, ids=[row[0] for row in TABLE]
)
def test_scores_table(
    label: str, system: bool, scores: list[float], chain: list[BaseStage], expected: list[float]
) -> None:
    row = run(chain, Row.of(scores, candidates=system), Context((0,))).row
    assert softmax(row.scores) == pytest.approx(expected, abs=6e-5)  # four printed decimals


@pytest.mark.parametrize(("label", "system", "p", "chain", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_probabilities_table(
    label: str, system: bool, p: list[float], chain: list[BaseStage], expected: list[float]
) -> None:
    row = run(chain, Row.of(scores_of(p), candidates=system), Context()).row
    assert softmax(row.scores) == pytest.approx(expected, abs=6e-5)


def test_windows_of_the_penalties_differ_between_systems() -> None:
    """Scores 2 -1 .5, prompt 0 0 1: all three penalties, or the repetition penalty alone."""
    scores, prompt = [2.0, -1.0, 0.5], Context((0, 0, 1))
    assert Penalties(2.0, 0.5, 1.0)(scores, prompt).tolist() == [-1.0, -3.5, 0.5]
    vllm = [RepetitionPenalty(2.0), FrequencyPenalty(0.5), PresencePenalty(1.0)]
    assert run(vllm, Row.of(scores), prompt).row.scores.tolist() == [1.0, -2.0, 0.5]
    last_two = Penalties(2.0, 0.5, 1.0, Window(last_n=2))(scores, prompt)
    assert last_two.tolist() == [2.0 / 2 - 1.5, -2.0 - 1.5, 0.5]
    assert Penalties(2.0, 0.5, 1.0, Window(last_n=0))(scores, prompt).tolist() == scores


def test_repetition_penalty_on_log_probabilities_multiplies_always() -> None:
    """Logprobs -.3133 -1.3133: -.47 > -1.3133, so the repeated token wins where logits would let it lose."""
    logprobs = RenormalizeLogits()([6.0, 5.0])
    assert RepetitionPenalty(1.5)(logprobs, Context((0,))) == pytest.approx([-0.46989, -1.31326], abs=1e-5)


def test_dry_breakers_end_a_passage_and_are_spared() -> None:
    """After a b c a b, c would extend "a b", unless a breaker stands between or c is one itself."""
    history = Context((0, 1, 2, 0, 1))
    zeros = [0.0, 0.0, 0.0]
    assert Dry(1.0, 2.0, 1)(zeros, history).tolist() == [0.0, 0.0, -2.0]
    assert Dry(1.0, 2.0, 1, breakers=((0,),))(zeros, history).tolist() == [0.0, 0.0, -1.0]  # "b" is left
    assert Dry(1.0, 2.0, 1, breakers=((2,),))(zeros, history).tolist() == zeros
    assert Dry(1.0, 2.0, 1, breakers=((0, 1),))(zeros, history).tolist() == zeros
    assert Dry(1.0, 2.0, 3)(zeros, history).tolist() == zeros
    assert Dry(0.0)(zeros, history).tolist() == Dry(1.0, last_n=0)(zeros, history).tolist() == zeros


def test_top_n_sigma_ignores_the_temperature() -> None:
    """Population deviation of 3 2 1 0 is 1.118: within 1.5 of them from 3 are 3 and 2, at any temperature."""
    for t in (0.25, 1.0, 8.0):
        scores = TopNSigma(1.5)(Temperature(t)([3.0, 2.0, 1.0, 0.0]))
        assert np.isfinite(scores).tolist() == [True, True, False, False]


def test_top_n_sigma_keeps_the_candidate_list() -> None:
    row, _ = TopNSigma(0.5).apply(Row.of([3.0, 2.0, 1.0], candidates=True), Context(), None)
    assert row.order is not None
    assert row.order.tolist() == [0, 1, 2]
    assert row.scores.tolist() == [3.0, -np.inf, -np.inf]


@pytest.mark.parametrize("t", [1e-9, 1e-38, 1e9])
def test_extreme_temperatures_give_an_answer(t: float) -> None:
    """30 / 1e-38 overflows float32; the distribution is one token all the same."""
    p = softmax(Temperature(t)([30.0, 29.0, -30.0]))
    expected = [1, 0, 0] if t < 1 else [1 / 3] * 3
    assert p == pytest.approx(expected, abs=1e-6)


def test_guidance_leaves_ruled_out_tokens_ruled_out() -> None:
    """-inf in one row would make NaN of (a - b) + b."""
    context = Context(unconditional=np.array([0.0, -np.inf, 0.0], dtype=np.float32))
    guided = GuidanceScale(2.0)([1.0, 1.0, -np.inf], context)
    assert np.isfinite(guided[:2]).all()
    assert guided[2] == -np.inf
    with pytest.raises(ValueError, match="needs a second row of logits"):
        GuidanceScale(2.0)([1.0])


def test_prefix_function_may_revive_a_dead_row_or_leave_it_to_the_search() -> None:
    """All allowed tokens masked: they come back at 0, unless the stage is told not to."""
    masked = [-np.inf, 1.0]
    assert PrefixAllowedTokens(lambda batch, ids: [0])(masked).tolist() == [0.0, -np.inf]
    assert PrefixAllowedTokens(lambda batch, ids: [0], revive=False)(masked).tolist() == [-np.inf] * 2
    with pytest.raises(NoTokenAllowed, match=r"position 2 \(banned by prefix_allowed_tokens_fn\)"):
        PrefixAllowedTokens(lambda batch, ids: [])(masked, Context((1, 1)))


@pytest.mark.parametrize(
    "stage",
    [
        AllowedTokens((9,)),
        SequenceBias((((9,), 1.0),)),
        LogitBias.of({9: 1.0}),
        ForcedBos(9),
        ForcedEos((9,)),
    ],
    ids=lambda stage: stage.name,
)
def test_an_id_outside_the_vocabulary_is_named(stage: BaseStage) -> None:
    with pytest.raises(ValueError, match=r"token ids must be in \[0, 1\], got 9"):
        stage([0.0, 1.0], Context((0,), max_length=2))


WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (TopK, {"k": 0}, r"top_k must be a whole number >= 1, got 0"),
    (TopK, {"k": 2.5}, r"top_k must be a whole number >= 1, got 2.5"),
    (TopK, {"k": 1, "tie": "coin"}, r"tie must be one of"),
    (TopP, {"p": 1.2}, r"top_p must be in \[0, 1\], got 1.2"),
    (TopP, {"p": float("nan")}, r"top_p must be in \[0, 1\], got nan"),
    (MinP, {"p": -0.1}, r"min_p must be in \[0, 1\], got -0.1"),
    (MinP, {"p": 0.1, "min_keep": 0}, r"min_keep must be a whole number >= 1, got 0"),
    (TypicalP, {"p": 1.0}, r"typical_p must be in \(0, 1\), got 1.0"),
    (EpsilonCutoff, {"epsilon": 0.0}, r"epsilon_cutoff must be in \(0, 1\), got 0.0"),
    (EtaCutoff, {"epsilon": 1.0}, r"eta_cutoff must be in \(0, 1\), got 1.0"),
    (TopH, {"h": 0.0}, r"top_h must be in \(0, 1\], got 0.0"),
    (TopNSigma, {"n": 0.0}, r"top_n_sigma must be > 0 and finite, got 0.0"),
    (Temperature, {"t": -1.0}, r"temperature must be >= 0 and finite, got -1.0"),
    (Temperature, {"t": float("inf")}, r"temperature must be >= 0 and finite, got inf"),
    (RepetitionPenalty, {"penalty": 0.0}, r"repetition_penalty must be > 0 and finite, got 0.0"),
    (FrequencyPenalty, {"penalty": float("nan")}, r"frequency_penalty must be finite, got nan"),
    (Dry, {"multiplier": 1.0, "base": 0.5}, r"dry_base must be >= 1 and finite, got 0.5"),
    (Xtc, {"probability": 2.0, "threshold": 0.1}, r"xtc_probability must be in \[0, 1\], got 2.0"),
    (SuppressTokens, {"ids": (-1,)}, r"suppress_tokens must be a whole number >= 0, got -1"),
    (BadWords, {"sequences": ((),)}, r"bad_words_ids must be sequences of at least one token id, got \(\)"),
    (SequenceBias, {"sequences": (((1,), float("nan")),)}, r"sequence_bias must be numbers or -inf, got nan"),
    (Watermark, {"ratio": 1.0}, r"greenlist_ratio must be in \(0, 1\), got 1.0"),
    (Window, {"last_n": -1}, r"last_n must be >= 0 or None, got -1"),
]


@pytest.mark.parametrize(("make", "arguments", "message"), WRONG)
def test_wrong_parameters_are_refused_by_name(make: Any, arguments: dict[str, Any], message: str) -> None:
    """Parameter, allowed interval, value given."""
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def letters(text: str) -> list[int]:
    """One id for each byte, a space and the letter after it together: a tokenizer with twins."""
    return [ord(c) + 1000 * (before == " ") for before, c in zip(" " + text, text, strict=False) if c != " "]


def test_words_given_as_text_become_sequences_and_name_their_free_twins() -> None:
    """Here " ab" and "ab" are the same ids at the beginning of a text, so only other cases are free."""
    words = words_from_text(["ab", "AB", "ab"], letters)
    assert words.sequences == ((1097, 98), (1065, 66))
    assert words.warnings == (
        "'ab' is listed, but these twins are not: 'Ab', ' Ab'",
        "'AB' is listed, but these twins are not: 'Ab', ' Ab'",
    )
    assert words_from_text(["1"], letters).warnings == ()
    with pytest.raises(ValueError, match="words must be texts of at least one character"):
        words_from_text([""], letters)


def test_warnings_about_words_are_safe_to_print() -> None:
    """A word may come from anywhere: no escape sequence reaches the screen."""
    warning = words_from_text(["\x1b[31ma"], lambda text: list(text.encode())).warnings[0]
    assert "\x1b" not in warning
    assert warning.startswith("'⟨ESC⟩[31ma' is listed")


MODULES = ["tokenglass.random"] + [
    f"{package.__name__}.{module.name}"
    for package in (tokenglass.stages, tokenglass.select)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
