"""Penalties, masks, biases, forcing, scaling and watermarks against transformers' own classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from tests.parity.stage_rows import Scores, rows
from tokenglass.stages import (
    BadWords,
    BeginSuppressTokens,
    Context,
    EncoderNoRepeatNgram,
    EncoderRepetitionPenalty,
    EpsilonCutoff,
    EtaCutoff,
    ExponentialDecayLengthPenalty,
    ForcedBos,
    ForcedEos,
    GuidanceScale,
    MinLength,
    MinNewTokens,
    MinP,
    NoRepeatNgram,
    PrefixAllowedTokens,
    RemoveInvalidValues,
    RenormalizeLogits,
    RepetitionPenalty,
    Row,
    SequenceBias,
    Stage,
    SuppressTokens,
    Temperature,
    TopK,
    TopP,
    TypicalP,
    Watermark,
    run,
)

torch = pytest.importorskip("torch")
process = pytest.importorskip("transformers.generation.logits_process")

Rng = np.random.Generator
Pair = tuple[Stage, Any]
MAX_LENGTH = 12


def reference(processor: Any, scores: Scores, context: Context) -> Scores:
    ids = torch.tensor([[int(i) for i in context.ids]])
    return np.asarray(processor(ids, torch.from_numpy(scores.copy())[None])[0])


def history(rng: Rng, size: int) -> Context:
    """Tokens that repeat themselves, and one or two ends of text."""
    alphabet = rng.integers(0, size, 4)
    just_begun = rng.random() < 0.15
    prompt = tuple(int(i) for i in rng.choice(alphabet, 1 if just_begun else rng.integers(1, 9)))
    written = tuple(int(i) for i in rng.choice(alphabet, 0 if just_begun else rng.integers(0, 9)))
    eos = tuple(int(i) for i in rng.integers(0, size, rng.integers(1, 3)))
    return Context(prompt, written, max_length=MAX_LENGTH, eos_ids=eos)


def sequences(rng: Rng, size: int, context: Context) -> list[list[int]]:
    """Distinct sequences, most of which the history has begun."""
    found = [[int(i) for i in rng.integers(0, size, rng.integers(1, 4))] for _ in range(3)]
    tail = [int(i) for i in context.ids[-2:]]
    found += [[*tail, int(rng.integers(size))], [tail[-1], int(rng.integers(size))]]
    return [list(ids) for ids in dict.fromkeys(tuple(ids) for ids in found)]


def sequence_bias(rng: Rng, size: int, context: Context) -> Pair:
    biased = [[ids, float(np.float32(rng.normal()))] for ids in sequences(rng, size, context)]
    ours = SequenceBias(tuple((tuple(ids), bias) for ids, bias in biased))
    return ours, process.SequenceBiasLogitsProcessor(biased)


def bad_words(rng: Rng, size: int, context: Context) -> Pair:
    banned = sequences(rng, size, context)
    # entries that are one end-of-text token are dropped; transformers refuses a list of nothing else
    banned += [[i] for i in context.eos_ids if [i] not in banned]
    banned += [[size - 1, size - 1]] if [size - 1, size - 1] not in banned else []
    ours = BadWords(tuple(tuple(ids) for ids in banned))
    return ours, process.NoBadWordsLogitsProcessor(banned, list(context.eos_ids))


def suppress(rng: Rng, size: int, context: Context) -> Pair:
    ids = tuple(int(i) for i in rng.integers(0, size + 3, 3))  # ids outside the vocabulary do nothing
    return SuppressTokens(ids), process.SuppressTokensLogitsProcessor(ids)


def begin_suppress(rng: Rng, size: int, context: Context) -> Pair:
    ids, step = tuple(int(i) for i in rng.integers(0, size, 3)), int(rng.integers(0, 2))
    begin = len(context.prompt_ids) + step
    return BeginSuppressTokens(ids, step), process.SuppressTokensAtBeginLogitsProcessor(ids, begin)


def decay(rng: Rng, size: int, context: Context) -> Pair:
    first, factor = int(rng.integers(0, 5)), float(rng.choice([0.5, 1.01, 1.5]))
    theirs = process.ExponentialDecayLengthPenalty(
        (first, factor), list(context.eos_ids), len(context.prompt_ids)
    )
    return ExponentialDecayLengthPenalty(first, factor), theirs


def prefix_allowed(rng: Rng, size: int, context: Context) -> Pair:
    allowed = [int(i) for i in rng.integers(0, size, 2)]

    def function(batch: int, ids: Any) -> list[int]:
        assert [int(i) for i in ids.tolist()] == [int(i) for i in context.ids]
        return allowed

    return PrefixAllowedTokens(function), process.PrefixConstrainedLogitsProcessor(function, 1)


@lru_cache(maxsize=64)
def green_lists(size: int, ratio: float) -> Any:
    return process.WatermarkLogitsProcessor(size, "cpu", ratio, 2.5)  # shuffles a million numbers


def number(rng: Rng) -> float:
    return float(rng.choice([0.5, 0.9, 1.0, 1.3, 2.0]))


def n_gram(rng: Rng) -> int:
    return int(rng.integers(1, 5))


EXACT: dict[str, Callable[[Rng, int, Context], Pair]] = {
    "sequence_bias": sequence_bias,
    "bad_words_ids": bad_words,
    "suppress_tokens": suppress,
    "begin_suppress_tokens": begin_suppress,
    "exponential_decay_length_penalty": decay,
    "prefix_allowed_tokens_fn": prefix_allowed,
    "temperature": lambda r, v, c: (Temperature(x := number(r)), process.TemperatureLogitsWarper(x)),
    "repetition_penalty": lambda r, v, c: (
        RepetitionPenalty(x := number(r)),
        process.RepetitionPenaltyLogitsProcessor(x),
    ),
    "encoder_repetition_penalty": lambda r, v, c: (
        EncoderRepetitionPenalty(x := number(r)),
        process.EncoderRepetitionPenaltyLogitsProcessor(x, torch.tensor([c.prompt_ids])),
    ),
    "no_repeat_ngram_size": lambda r, v, c: (
        NoRepeatNgram(n := n_gram(r)),
        process.NoRepeatNGramLogitsProcessor(n),
    ),
    "encoder_no_repeat_ngram_size": lambda r, v, c: (
        EncoderNoRepeatNgram(n := n_gram(r)),
        process.EncoderNoRepeatNGramLogitsProcessor(n, torch.tensor([c.prompt_ids])),
    ),
    "min_length": lambda r, v, c: (
        MinLength(n := int(r.integers(0, 18))),
        process.MinLengthLogitsProcessor(n, list(c.eos_ids)),
    ),
    "min_new_tokens": lambda r, v, c: (
        MinNewTokens(n := int(r.integers(0, 9))),
        process.MinNewTokensLengthLogitsProcessor(len(c.prompt_ids), n, list(c.eos_ids)),
    ),
    "forced_bos_token_id": lambda r, v, c: (
        ForcedBos(n := int(r.integers(v))),
        process.ForcedBOSTokenLogitsProcessor(n),
    ),
    "forced_eos_token_id": lambda r, v, c: (
        ForcedEos(c.eos_ids),
        process.ForcedEOSTokenLogitsProcessor(MAX_LENGTH, list(c.eos_ids)),
    ),
    "remove_invalid_values": lambda r, v, c: (RemoveInvalidValues(), process.InfNanRemoveLogitsProcessor()),
    "watermarking_config": lambda r, v, c: (
        Watermark(ratio := float(r.choice([0.25, 0.5])), 2.5),
        green_lists(v, ratio),
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_stage_gives_the_very_scores_of_transformers(name: str) -> None:
    """Same float32 operations on the same numbers: equal bit by bit."""
    rng = np.random.default_rng(21)
    acted = 0
    for scores in rows(seed=22):
        context = history(rng, len(scores))
        ours, theirs = EXACT[name](rng, len(scores), context)
        found, expected = ours(scores, context), reference(theirs, scores, context)
        np.testing.assert_array_equal(found, expected)
        acted += not np.array_equal(expected, scores)
    assert acted >= 10  # the rows are such that the stage has something to do


def test_a_whole_chain_equals_transformers_list() -> None:
    """Thirteen stages in transformers' own order over text-like rows, rankings handed from stage to stage."""
    rng = np.random.default_rng(28)
    chain = [
        *(RepetitionPenalty(1.2), NoRepeatNgram(2), BadWords(((3,), (5, 6))), MinNewTokens(4)),
        *(SuppressTokens((7, 8)), Temperature(0.9), TopK(80), TopP(0.95), MinP(0.01), TypicalP(0.97)),
        *(EpsilonCutoff(1e-3), EtaCutoff(1e-3), RenormalizeLogits()),
    ]
    for i in range(len(list(rows(seed=29))) // 5):
        scores = (-1.3 * np.log1p(rng.permutation(2000)) + rng.normal(size=2000) * 0.3).astype(np.float32)
        context = history(rng, 12)
        eos = list(context.eos_ids)
        theirs = process.LogitsProcessorList(
            [
                process.RepetitionPenaltyLogitsProcessor(1.2),
                process.NoRepeatNGramLogitsProcessor(2),
                process.NoBadWordsLogitsProcessor([[3], [5, 6]], eos),
                process.MinNewTokensLengthLogitsProcessor(len(context.prompt_ids), 4, eos),
                process.SuppressTokensLogitsProcessor([7, 8]),
                process.TemperatureLogitsWarper(0.9),
                process.TopKLogitsWarper(80),
                process.TopPLogitsWarper(0.95),
                process.MinPLogitsWarper(0.01),
                process.TypicalLogitsWarper(0.97),
                process.EpsilonLogitsWarper(1e-3),
                process.EtaLogitsWarper(1e-3),
                process.LogitNormalization(),
            ]
        )
        found = run(chain, Row.of(scores), context).row.scores
        np.testing.assert_allclose(
            found, reference(theirs, scores, context), rtol=1e-6, atol=4e-6, err_msg=str(i)
        )


def test_remove_invalid_values_equals_transformers_on_broken_rows() -> None:
    """NaN, both infinities, and masks that earlier stages made."""
    broken = np.array([np.nan, np.inf, -np.inf, 1.0, -0.0], dtype=np.float32)
    expected = reference(process.InfNanRemoveLogitsProcessor(), broken, Context((0,)))
    np.testing.assert_array_equal(RemoveInvalidValues()(broken), expected)


def test_selfhash_watermark_equals_transformers() -> None:
    """40 green lists a step; the products of the hash wrap at 64 bits."""
    rng = np.random.default_rng(23)
    theirs = {
        w: process.WatermarkLogitsProcessor(60, "cpu", 0.5, 2.0, 15485863, "selfhash", w) for w in (1, 3)
    }
    for scores in rows(seed=24, count=5):
        scores = np.resize(scores, 60) + np.arange(60, dtype=np.float32) / 64  # no ties among the 40 best
        for width, processor in theirs.items():
            context = Context(tuple(int(i) for i in rng.integers(0, 60, rng.integers(1, 6))))
            found = Watermark(0.5, scheme="selfhash", width=width)(scores, context)
            np.testing.assert_array_equal(found, reference(processor, scores, context))


def test_renormalize_logits_equals_transformers_to_a_few_units_in_the_last_place() -> None:
    """The reference sums the exponentials in float32, ours in float64; 4e-6 is 4 units of a log of 10."""
    for scores in rows(seed=25):
        expected = reference(process.LogitNormalization(), scores, Context((0,)))
        np.testing.assert_allclose(RenormalizeLogits()(scores), expected, rtol=3e-7, atol=4e-6)


def test_guidance_equals_transformers_to_the_rounding_of_two_log_softmaxes() -> None:
    """The formula g (a - b) + b amplifies the last places of both by about 2 g."""

    class Fixed:
        """A "model" whose next logits are given."""

        def __init__(self, logits: Scores) -> None:
            self.logits = torch.from_numpy(logits)[None, None]

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self

        def get(self, *args: Any) -> None:
            return None

    rng = np.random.default_rng(26)
    for scores in rows(seed=27, masked=False):
        other = (scores + rng.normal(size=len(scores))).astype(np.float32)
        scale = float(rng.choice([0.5, 1.0, 1.5, 7.5]))
        theirs = process.UnbatchedClassifierFreeGuidanceLogitsProcessor(scale, Fixed(other))
        context = Context((0,), unconditional=other)
        expected = reference(theirs, scores, context)
        largest = float(np.abs(scores).max()) + 12.0
        np.testing.assert_allclose(
            GuidanceScale(scale)(scores, context), expected, rtol=0, atol=2e-6 * scale * largest
        )
