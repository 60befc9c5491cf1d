"""Every generation keyword: what it takes, what it refuses and how, where its value comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.support import SIZE, model, shown, writes
from tokenglass.config import BY_NAME, PRESETS
from tokenglass.types import Chain

NAN, INF = float("nan"), float("inf")
NO_NUMBER: tuple[Any, ...] = ("1", [1], True, NAN)
NO_IDS: tuple[Any, ...] = (-1, SIZE, 1.5, True, "a", [0, SIZE], [[1], [2]], [None])
NO_TEXTS: tuple[Any, ...] = ("", [""], 5, [5], ["a", ""])
SAMPLE = {"do_sample": True}
BEAMS = {"num_beams": 4}
GROUPS = {"num_beams": 4, "num_beam_groups": 2}
LOOKUP = {"prompt_lookup_num_tokens": 3}
CONTRAST = {"top_k": 4}
GUIDED = {"guidance_scale": 2.0}


class Ran(AssertionError):
    """The model was read."""


def unread(ids: tuple[int, ...]) -> np.ndarray:
    raise Ran


UNREAD = model(unread)  # configurations are refused before the model is read
OTHER = model(writes("ab"))


@dataclass(frozen=True)
class Takes:
    """What a keyword takes.

    Attributes:
        right: values it accepts, the edges of its interval among them.
        wrong: values it refuses: other types, and beyond each edge.
        beside: keywords of a run in which it acts.
        preset: in which it is known.
    """

    right: tuple[Any, ...]
    wrong: tuple[Any, ...] = ()
    beside: Mapping[str, Any] = field(default_factory=dict)
    preset: str = "transformers"


def whole(least: int, *more: Any, beside: Mapping[str, Any] = {}, preset: str = "transformers") -> Takes:
    """Whole numbers from `least`; 3.0 is one of them, 1.5 and True are none."""
    wrong = (least - 1, least + 0.5, -INF, INF, *NO_NUMBER)
    return Takes((least, least + 1, float(least + 2), *more), wrong, beside, preset)


def number(*right: Any, wrong: tuple[Any, ...] = (), beside: Mapping[str, Any] = {}) -> Takes:
    return Takes(right, (*wrong, *NO_NUMBER), beside)


def ids(beside: Mapping[str, Any] = {}) -> Takes:
    return Takes((0, SIZE - 1, [1, 2], (3,), np.array([1, 2])), NO_IDS, beside)


def flag(beside: Mapping[str, Any] = {}) -> Takes:
    return Takes((True, False), (1, 0, "true", "yes", [True]), beside)


UNIT = {"right": (0.0, 0.5, 1.0, 0, 1), "wrong": (-0.01, 1.01, INF, -INF)}
NO_SEQUENCES: tuple[Any, ...] = (5, "", [], [[]], [5], [[-1]], [[SIZE]], [[1.5]], {})


def unit(beside: Mapping[str, Any] = SAMPLE) -> Takes:
    return number(*UNIT["right"], wrong=UNIT["wrong"], beside=beside)


def finite(beside: Mapping[str, Any] = {}) -> Takes:
    return number(-2.5, 0.0, 3, 1e6, wrong=(INF, -INF), beside=beside)


POSITIVE = number(1e-6, 1, 2.5, 1e6, wrong=(0, -1.0, INF, -INF))

TABLE: dict[str, Takes] = {
    "max_new_tokens": whole(1, 10**6),
    "max_length": Takes((2, 10, 5.0), (0, -1, 1.5, INF, *NO_NUMBER)),
    "min_length": whole(0),
    "min_new_tokens": whole(0),
    "eos_token_id": ids(),
    "ignore_eos": flag(),
    "stop_strings": Takes(("a", ["a", "bc"], ("ü",)), (*NO_TEXTS, "\ud800")),
    "max_time": number(1e-9, 1, 60.0, wrong=(0, -1.0, INF)),
    "do_sample": flag(),
    "num_return_sequences": whole(1, beside=SAMPLE),
    "seed": Takes((0, 2**64 - 1, 7.0), (-1, 2**64, 0.5, INF, *NO_NUMBER), SAMPLE),
    "rng": Takes(("tokenglass", "llama.cpp", "torch"), ("numpy", "", 5, True), SAMPLE),
    "temperature": number(1e-6, 0.7, 1, 2, 100.0, wrong=(0, 0.0, -0.1, INF), beside=SAMPLE),
    "dynatemp_range": number(0.0, 0.5, 1, wrong=(-0.1, INF), beside=SAMPLE),
    "dynatemp_exponent": number(0.1, 1, 3.0, wrong=(0, -1.0, INF), beside={**SAMPLE, "dynatemp_range": 0.5}),
    "top_h": number(0.1, 1.0, 1, wrong=(0, -0.1, 1.01), beside=SAMPLE),
    "top_n_sigma": number(-1.0, 0, 1.5, 10.0, wrong=(INF,), beside=SAMPLE),
    "top_k": whole(0, 10**6, beside=SAMPLE),
    "top_p": unit(),
    "min_p": unit(),
    "typical_p": number(0.1, 0.9, 1.0, 1, wrong=(0.0, -0.1, 1.01), beside=SAMPLE),
    "epsilon_cutoff": number(0.0, 3e-4, 0.999, 0, wrong=(-0.1, 1.01), beside=SAMPLE),
    "eta_cutoff": number(0.0, 3e-4, 0.999, 0, wrong=(-0.1, 1.01), beside=SAMPLE),
    "xtc_probability": unit(),
    "xtc_threshold": unit({**SAMPLE, "xtc_probability": 0.5}),
    "mirostat": Takes((0, 1, 2, 2.0), (-1, 3, 0.5, "2", [2], True), SAMPLE),
    "mirostat_tau": number(0.0, 5, 8.5, wrong=(-0.1, INF), beside={**SAMPLE, "mirostat": 2}),
    "mirostat_eta": number(0.0, 0.1, 1, wrong=(-0.1, INF), beside={**SAMPLE, "mirostat": 2}),
    "adaptive_target": number(-1.0, 0.0, 0.5, 1.0, wrong=(1.01, INF), beside=SAMPLE),
    "adaptive_decay": number(0.0, 0.5, 0.99, wrong=(-0.1, 1.0), beside={**SAMPLE, "adaptive_target": 0.5}),
    "repetition_penalty": POSITIVE,
    "encoder_repetition_penalty": POSITIVE,
    "frequency_penalty": finite(),
    "presence_penalty": finite(),
    "repeat_last_n": whole(0, beside={"repetition_penalty": 1.1}, preset="llama.cpp"),
    "dry_multiplier": finite(),
    "dry_base": number(1.0, 1.75, 4, wrong=(0.99, -1.0, INF), beside={"dry_multiplier": 1.0}),
    "dry_allowed_length": whole(0, beside={"dry_multiplier": 1.0}),
    "dry_penalty_last_n": whole(0, beside={"dry_multiplier": 1.0}),
    "dry_sequence_breakers": Takes((["\n"], "x", []), NO_TEXTS, {"dry_multiplier": 1.0}),
    "no_repeat_ngram_size": whole(0),
    "encoder_no_repeat_ngram_size": whole(0),
    "exponential_decay_length_penalty": Takes(
        ((0, 1.1), [5, 2], (3, 0.5)),
        (5, "ab", (1,), (1, 2, 3), (-1, 1.1), (1.5, 1.1), (1, "2"), (1, True), (1, NAN)),
    ),
    "bad_words_ids": Takes(([[1]], [[1, 2], (SIZE - 1,)]), NO_SEQUENCES),
    "bad_words": Takes((["a"], "bc"), NO_TEXTS),
    "sequence_bias": Takes(
        ([[[1], 2.0]], {(1, 2): -3, (4,): -INF}, [([1, 2], 0.5)]),
        (
            5,
            "a",
            [],
            {},
            [[1, 2.0]],
            [[[1]]],
            [[[1], "2"]],
            [[[-1], 1.0]],
            [[[SIZE], 1.0]],
            [[[], 1.0]],
            [[[1], NAN]],
        ),
    ),
    "logit_bias": Takes(
        ({1: 2.0}, [[1, -3]], {"7": 1.0, 3: False}, {0: -INF}),
        (5, "a", {"a": 1.0}, {-1: 1.0}, {SIZE: 1.0}, {1: "2"}, {1: NAN}, [[1]], [5], {1.5: 1.0}),
    ),
    "allowed_token_ids": ids(),
    "suppress_tokens": ids(),
    "begin_suppress_tokens": ids(),
    "forced_bos_token_id": Takes((0, SIZE - 1), (-1, SIZE, 1.5, "a", True, [1])),
    "forced_eos_token_id": ids(),
    "remove_invalid_values": flag(),
    "prefix_allowed_tokens_fn": Takes((lambda batch, ids: [1],), (5, "f", [1])),
    "logits_processor": Takes(([], [lambda scores: scores]), (5, "f", lambda scores: scores, [5], ["f"])),
    "regex": Takes((), (5, ["a"], True)),
    "choice": Takes((), NO_TEXTS),
    "json_schema": Takes((), (5, ["a"])),
    "grammar": Takes((), (5, ["a"], True)),
    "token_healing": flag(),
    "num_beams": whole(1),
    "length_penalty": finite(BEAMS),
    "early_stopping": Takes((True, False, "never"), ("always", 2, [], ""), BEAMS),
    "num_beam_groups": Takes((1, 2, 4, 2.0), (0, -1, 1.5, 3, 5, *NO_NUMBER), BEAMS),
    "diversity_penalty": number(0.0, 0.5, 2, wrong=(-0.1, INF), beside=GROUPS),
    "force_words_ids": Takes(([[1]], [[[1, 2], [3]]], [[1], [2, 3]]), (*NO_SEQUENCES, [[[]]]), BEAMS),
    "pad_token_id": Takes((0, SIZE - 1), (-1, SIZE, 1.5, "a", True), GROUPS),
    "renormalize_logits": flag(),
    "penalty_alpha": number(1e-6, 0.5, 1.0, 1, wrong=(-0.01, 1.01, INF), beside=CONTRAST),
    "dola_layers": Takes(("low", "high"), ("middle", 5, [], [-1], [1.5], ["1"])),
    "assistant_model": Takes((OTHER,), (5, "gpt2", OTHER.engine)),
    "num_assistant_tokens": whole(1, beside={"assistant_model": OTHER}),
    "num_assistant_tokens_schedule": Takes(
        ("constant", "heuristic", "heuristic_transient"), ("linear", 5, ""), {"assistant_model": OTHER}
    ),
    "assistant_confidence_threshold": unit({"assistant_model": OTHER}),
    "prompt_lookup_num_tokens": whole(1),
    "max_matching_ngram_size": whole(1, beside=LOOKUP),
    "guidance_scale": finite(),
    "negative_prompt_ids": Takes((0, [1, 2], [[1, 2]], np.array([[3, 4]])), NO_IDS, GUIDED),
    "negative_prompt": Takes(("a", "no"), (5, ["a"], "\ud800"), GUIDED),
    "watermarking_config": Takes(
        (
            {},
            {"greenlist_ratio": 0.5, "bias": 1, "hashing_key": 3},
            {"seeding_scheme": "selfhash", "context_width": 2},
        ),
        (
            5,
            "kgw",
            [1],
            {"ratio": 0.5},
            {"greenlist_ratio": 0.0},
            {"greenlist_ratio": 1.0},
            {"greenlist_ratio": "x"},
            {"greenlist_ratio": None},
            {"bias": INF},
            {"bias": "x"},
            {"bias": [1]},
            {"bias": True},
            {"hashing_key": -1},
            {"hashing_key": 2**63},
            {"hashing_key": "x"},
            {"seeding_scheme": "x"},
            {"seeding_scheme": [1]},
            {"context_width": 0},
            {3: 1},
        ),
    ),
    "preset": Takes(PRESETS, ("hf", "", 5)),
    "order": Takes((["min_length"],), (5, ["min_length", "min_length"], [], ["top_k"]), {"min_length": 5}),
}


def chain(name: str, value: Any, takes: Takes) -> Chain:
    return UNREAD.chain(**{"preset": takes.preset, **takes.beside, name: value})


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(BY_NAME)


RIGHT = [(name, value) for name, takes in TABLE.items() for value in takes.right]
WRONG = [(name, value) for name, takes in TABLE.items() for value in takes.wrong]


@pytest.mark.parametrize(("name", "value"), RIGHT, ids=shown)
def test_accepted(name: str, value: Any) -> None:
    """A value within the interval, its edges included, is in force and does something or is off."""
    found = chain(name, value, TABLE[name])
    assert found.sources[name] == "you"
    assert name not in found.no_effect


@pytest.mark.parametrize(("name", "value"), WRONG, ids=shown)
def test_refused(name: str, value: Any) -> None:
    """A wrong type or a value outside the interval: an error that names the keyword, before any run."""
    with pytest.raises((ValueError, TypeError), match=name) as refused:
        chain(name, value, TABLE[name])
    assert not isinstance(refused.value, Ran)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"preset"}))
def test_none_is_absent_or_off(name: str) -> None:
    """None never fails, and never makes a stage of that name."""
    found = chain(name, None, TABLE[name])
    assert name not in [stage.name for stage in found.stages]


FOREIGN = [
    (preset, name, next(v for v in TABLE[name].right if v != BY_NAME[name].default))
    for preset in PRESETS
    for name in TABLE
    if preset not in BY_NAME[name].presets
]


@pytest.mark.parametrize(("preset", "name", "value"), FOREIGN, ids=shown)
def test_what_a_system_does_not_have_is_refused_by_name(preset: str, name: str, value: Any) -> None:
    """A keyword of another system cannot mean anything; its off value is let pass."""
    with pytest.raises(ValueError, match=f"{name} is not part of preset '{re.escape(preset)}'; leave it out"):
        UNREAD.chain(preset=preset, **{name: value})
    if name != "repeat_last_n":  # 64 is no off value, and every off value of it is another
        assert UNREAD.chain(preset=preset, **{name: None}).preset == preset


# ------------------------------------------------------------------ numpy's scalars

SCALARS: list[tuple[str, Any, Any]] = [
    ("seed", np.int64(7), 7),
    ("seed", np.uint64(2**64 - 1), 2**64 - 1),
    ("temperature", np.float32(0.5), 0.5),
    ("temperature", np.array(0.5), 0.5),
    ("top_k", np.int32(5), 5),
    ("do_sample", np.bool_(True), True),
    ("max_new_tokens", np.int64(3), 3),
    ("eos_token_id", [np.int64(1), np.int32(2)], (1, 2)),
    ("suppress_tokens", np.array([1, 2], np.uint8), (1, 2)),
    ("logit_bias", {np.int64(1): np.float32(0.5)}, {1: 0.5}),
    ("bad_words_ids", [[np.int64(1)], np.array([2, 3])], [[1], [2, 3]]),
]


@pytest.mark.parametrize(("name", "given", "expected"), SCALARS, ids=shown)
def test_numpys_scalars_are_pythons(name: str, given: Any, expected: Any) -> None:
    config = {"do_sample": True, name: given}
    found = UNREAD.plan(config, (1,)).config
    assert found[name] == expected and type(found[name]) is type(expected)
    assert UNREAD.plan(config, (1,)).stages == UNREAD.plan({**config, name: expected}, (1,)).stages


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", np.float32(0.5)),
        ("seed", np.bool_(True)),
        ("do_sample", np.int64(1)),
        ("temperature", np.nan),
    ],
    ids=shown,
)
def test_numpys_scalars_outside(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        UNREAD.chain(**{"do_sample": True, name: value})


# ------------------------------------------------------------------ intervals of other systems


@pytest.mark.parametrize(
    ("preset", "top_k"), [("llama.cpp", 0), ("llama.cpp", -1), ("llama.cpp", -40), ("vllm", 0), ("vllm", -1)]
)
def test_top_k_below_one_is_off_elsewhere(preset: str, top_k: int) -> None:
    """`llama_sampler_top_k` returns for k <= 0; vLLM's SamplingParams takes 0 and -1."""
    found = UNREAD.chain(preset=preset, top_k=top_k)
    assert "top_k" not in [stage.name for stage in found.stages] and found.config["top_k"] == top_k


@pytest.mark.parametrize(("preset", "top_k"), [("transformers", -1), ("vllm", -2), ("llama.cpp", 1.5)])
def test_top_k_that_no_system_takes(preset: str, top_k: float) -> None:
    with pytest.raises(ValueError, match="top_k must be a whole number"):
        UNREAD.chain(preset=preset, do_sample=True, top_k=top_k)


@pytest.mark.parametrize("min_p", [1.0, 1.5, 1e9, INF])
def test_min_p_above_one_leaves_the_best_in_llama_cpp(min_p: float) -> None:
    """The bar is the best score plus ln p: above 1 nobody reaches it, and one token is always kept."""
    off = {"top_k": 0, "top_p": 1.0, "temperature": 1.0}
    table = OTHER.next_tokens("x", n=3, preset="llama.cpp", min_p=min_p, **off)
    assert [row.p_final for row in table.rows] == [1.0, 0.0, 0.0]
    for preset in ("transformers", "vllm"):
        if min_p > 1.0:
            with pytest.raises(ValueError, match="min_p"):
                UNREAD.chain(preset=preset, do_sample=True, min_p=min_p)


def test_min_p_below_zero_is_off_in_llama_cpp() -> None:
    found = UNREAD.chain(preset="llama.cpp", min_p=-0.5)
    assert "min_p" not in [stage.name for stage in found.stages]
