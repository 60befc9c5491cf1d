"""What every stage has in common: purity, documentation, parameters as data."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import is_dataclass

import numpy as np
import pytest

import tokenglass.select
import tokenglass.stages
from tokenglass.stages import (
    BUILT_IN,
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
    Stage,
    SuppressTokens,
    Temperature,
    TopH,
    TopK,
    TopNSigma,
    TopP,
    TypicalP,
    Watermark,
    Xtc,
)
from tokenglass.stages.base import Renamed, params, renamed, start
from tokenglass.stages.grammar import Grammar
from tokenglass.stages.watermark import is_green, permutation

HF, LLAMA = False, True

# one sensible instance of every built-in stage
EXAMPLES: list[BaseStage] = [
    *(
        TopK(3),
        TopP(0.8),
        MinP(0.1),
        TypicalP(0.8),
        EpsilonCutoff(0.1),
        EtaCutoff(0.1),
        TopH(0.5),
        TopNSigma(1.0),
    ),
    *(
        Temperature(0.7),
        DynamicTemperature(1.0, 0.5),
        RenormalizeLogits(),
        GuidanceScale(1.5),
        Xtc(1.0, 0.1, seed=1),
    ),
    *(
        RepetitionPenalty(1.2),
        FrequencyPenalty(0.5),
        PresencePenalty(0.5),
        Penalties(1.2, 0.5, 0.5),
        Dry(1.0),
    ),
    *(SequenceBias((((1,), 1.0),)), LogitBias.of({1: -1.0}), BadWords(((1,),)), AllowedTokens((0, 1, 2))),
    *(
        SuppressTokens((1,)),
        ForcedBos(1),
        ForcedEos((1,)),
        Watermark(),
        PrefixAllowedTokens(lambda b, i: [0, 1]),
    ),
    BUILT_IN["encoder_repetition_penalty"](1.2),  # type: ignore[call-arg]
    BUILT_IN["no_repeat_ngram_size"](2),  # type: ignore[call-arg]
    BUILT_IN["encoder_no_repeat_ngram_size"](2),  # type: ignore[call-arg]
    BUILT_IN["begin_suppress_tokens"]((1,)),  # type: ignore[call-arg]
    BUILT_IN["min_length"](50),  # type: ignore[call-arg]
    BUILT_IN["min_new_tokens"](50),  # type: ignore[call-arg]
    BUILT_IN["exponential_decay_length_penalty"](0, 1.5),  # type: ignore[call-arg]
    BUILT_IN["remove_invalid_values"](),
]
EVERYTHING_KNOWN = Context(
    (3, 1, 3, 1), (0, 1, 0), max_length=8, eos_ids=(2,), unconditional=np.zeros(6, dtype=np.float32)
)


def test_the_list_of_built_in_stages_is_complete() -> None:
    """Every class that has a stage's two halves is in the list, under its name, and has an example here."""
    found = set()
    for module in pkgutil.iter_modules(tokenglass.stages.__path__):
        for value in vars(importlib.import_module(f"tokenglass.stages.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, BaseStage) and hasattr(value, "apply"):
                found.add(value)
    # these have no name of their own, and tests of their own
    found -= {tokenglass.stages.UserStage, Renamed, Grammar}
    assert found == set(BUILT_IN.values()) == {type(stage) for stage in EXAMPLES}


@pytest.mark.parametrize("stage", EXAMPLES, ids=lambda stage: stage.name)
@pytest.mark.parametrize("system", [HF, LLAMA], ids=["plain", "candidates"])
def test_every_stage_is_pure_and_documented(stage: BaseStage, system: bool) -> None:
    """Input untouched, the same answer twice, frozen, hashable, an example and a source in the docstring."""
    scores = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -np.inf], dtype=np.float32)
    row = Row.of(scores, candidates=system)
    state = stage.start()
    first, _ = stage.apply(row, EVERYTHING_KNOWN, state)  # type: ignore[attr-defined]
    again, _ = stage.apply(Row.of(scores, candidates=system), EVERYTHING_KNOWN, state)  # type: ignore[attr-defined]
    assert row.scores.tolist() == scores.tolist()
    assert row.order is None or row.order.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(first.scores, again.scores)
    assert first.scores.dtype == np.float32
    assert isinstance(stage, Stage)
    assert is_dataclass(stage)
    assert hash(stage) == hash(stage)
    with pytest.raises(AttributeError):
        stage.name = "other"  # type: ignore[misc]
    documentation = type(stage).__doc__ or ""
    assert "Source:" in documentation
    assert ">>>" in documentation


@pytest.mark.parametrize("stage", EXAMPLES, ids=lambda stage: stage.name)
@pytest.mark.parametrize("system", [HF, LLAMA], ids=["plain", "candidates"])
def test_a_row_with_nothing_alive_passes_through(stage: BaseStage, system: bool) -> None:
    """No stage invents a token or trips; only three bring tokens back, as in transformers."""
    dead = Row.of(np.full(6, -np.inf, dtype=np.float32), candidates=system)
    row, _ = stage.apply(dead, EVERYTHING_KNOWN, stage.start())  # type: ignore[attr-defined]
    revives = {"remove_invalid_values", "forced_eos_token_id", "prefix_allowed_tokens_fn"}
    if stage.name not in revives:
        assert row.argmax == -1


def test_stages_without_anything_to_do_hand_back_the_same_row() -> None:
    row = Row.of([1.0, 0.0])
    idle = [Temperature(1.0), RepetitionPenalty(1.0), ForcedBos(1), TopP(1.0, compare="head"), MinP(0.0)]
    for stage in idle:
        assert stage.apply(row, Context((1, 1)), None)[0] is row


def test_parameters_are_data() -> None:
    assert dict(TopK(5).params) == {"k": 5, "min_keep": 1, "tie": "keep_all"}


@pytest.mark.parametrize("system", [HF, LLAMA], ids=["plain", "candidates"])
def test_long_lists_of_ids(system: bool) -> None:
    """Repeated, unordered and, where they are only forbidden, outside the vocabulary: as one id at a time."""
    rng = np.random.default_rng(4)
    scores = rng.normal(size=5000).astype(np.float32)
    scores[rng.integers(0, 5000, 500)] = -np.inf
    for count in (1, 300, 4000):
        ids = rng.integers(0, 5000, count).tolist()
        listed = np.array([i in set(ids) for i in range(5000)])
        row = Row.of(scores, candidates=system)
        for again in (1, 2):
            allowed, _ = AllowedTokens(tuple(ids)).apply(row, Context((1,)), None)
            assert allowed.scores.tolist() == np.where(listed, scores, -np.inf).tolist(), again
            free, _ = SuppressTokens((*ids, 5000, 9999)).apply(row, Context((1,)), None)
            assert free.scores.tolist() == np.where(listed, -np.inf, scores).tolist(), again
        assert allowed.argmax == int(np.where(listed, scores, -np.inf).argmax()) or allowed.argmax == -1


def test_a_renamed_stage_does_what_the_stage_does() -> None:
    stage = renamed(Xtc(0.5, 0.1, seed=1), "xtc#2")
    plain = Xtc(0.5, 0.1, seed=1)
    assert stage.name == "xtc#2" and dict(params(stage)) == dict(plain.params)
    row, state = Row.of([1.0, 0.9, 0.0]), start(stage)
    mine, theirs = state, plain.start()
    for _ in range(5):
        renamed_row, mine = stage.apply(row, Context(), mine)
        plain_row, theirs = plain.apply(row, Context(), theirs)
        assert renamed_row.scores.tolist() == plain_row.scores.tolist() and mine == theirs


def test_who_is_green_is_read_off_the_permutation() -> None:
    """Following one token gives what torch's whole permutation holds, which its own tests compare."""
    for size, first in ((1, 1), (5, 1), (50, 12), (50, 49), (50, 50)):
        for seed in range(20):
            followed = [token for token in range(size) if is_green(size, seed, first, token)]
            assert followed == sorted(permutation(size, seed, first))
