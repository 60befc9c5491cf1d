"""What a configuration does: combinations, origins, presets and orders, against numbers worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import EOS, SIZE, model, writes
from tokenglass.config import NO_EFFECT, REFUSED
from tokenglass.errors import Unsupported
from tokenglass.types import Chain

PLAIN = model(writes("ab"))
OPINIONS = {"do_sample": True, "top_k": 20, "temperature": 0.7, "eos_token_id": [65, 66]}
OPINIONATED = model(writes("ab"), generation_defaults=OPINIONS)


def names(found: Chain) -> list[str]:
    return [stage.name for stage in found.stages]


# ------------------------------------------------------------------ what cannot go together

TWO_STRATEGIES: list[tuple[dict[str, Any], str]] = [
    ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences must be at most num_beams = 2"),
    ({"num_return_sequences": 2}, "num_return_sequences must be 1 in a greedy run"),
    (
        {"num_return_sequences": 2, "prompt_lookup_num_tokens": 3},
        "num_return_sequences must be 1 in prompt lookup",
    ),
    ({"num_beams": 2, "dola_layers": "low"}, "dola_layers must be absent with num_beams=2"),
    (
        {"num_beams": 2, "prompt_lookup_num_tokens": 3},
        "prompt_lookup_num_tokens must be absent with num_beams=2",
    ),
    ({"num_beams": 2, "assistant_model": PLAIN}, "assistant_model must be absent with num_beams=2"),
    ({"num_beams": 2, "top_k": 4, "penalty_alpha": 0.5}, "penalty_alpha must be absent with num_beams=2"),
    ({"num_beams": 2, "do_sample": True, "mirostat": 2}, "mirostat must be 0 with beams"),
    ({"num_beams": 2, "do_sample": True, "adaptive_target": 0.5}, "adaptive_target must be off with beams"),
    (
        {"num_beams": 4, "num_beam_groups": 2, "do_sample": True},
        "do_sample must be False with group beam search",
    ),
    ({"force_words_ids": [[1]]}, "num_beams must be above 1 with force_words_ids, got 1"),
    ({"dola_layers": "low", "prompt_lookup_num_tokens": 3}, "dola_layers and prompt_lookup_num_tokens"),
    (
        {"assistant_model": PLAIN, "prompt_lookup_num_tokens": 3},
        "assistant_model and prompt_lookup_num_tokens",
    ),
    ({"penalty_alpha": 0.5, "top_k": 4, "dola_layers": "low"}, "dola_layers and penalty_alpha"),
    (
        {"prompt_lookup_num_tokens": 3, "do_sample": True, "rng": "torch"},
        "rng must be 'tokenglass' in prompt lookup",
    ),
    ({"regex": "a", "choice": ["a"]}, "regex and choice"),
    ({"json_schema": {}, "grammar": 'root ::= "a"'}, "json_schema and grammar"),
    (
        {"guidance_scale": 2.0, "negative_prompt": "a", "negative_prompt_ids": [1]},
        "negative_prompt and negative",
    ),
    (
        {"do_sample": True, "rng": "llama.cpp", "seed": 2**32},
        "seed must be at most 4294967295 with rng='llama.cpp'",
    ),
    ({"do_sample": True, "rng": "torch", "seed": 2**63}, "seed must be at most 9223372036854775807"),
    (
        {"do_sample": True, "num_return_sequences": 2, "token_healing": True},
        "num_return_sequences must be 1 with",
    ),
    ({"max_length": 1}, "max_length counts the prompt: it must be above 1, got 1"),
]


@pytest.mark.parametrize(("config", "message"), TWO_STRATEGIES, ids=lambda part: str(part)[:50])
def test_what_cannot_go_together_is_refused_by_name(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLAIN.chain(**config)


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("temprature", "temperature"),
        ("topk", "top_k"),
        ("top-p", "top_p"),
        ("max_new_token", "max_new_tokens"),
        ("numbeams", "num_beams"),
        ("repitition_penalty", "repetition_penalty"),
        ("eos_token_ids", "eos_token_id"),
    ],
)
def test_an_unknown_keyword_names_the_nearest(typo: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"unknown keyword '{typo}'; did you mean {meant}?"):
        PLAIN.chain(**{typo: 1})


def test_an_unknown_keyword_that_is_like_nothing() -> None:
    with pytest.raises(TypeError, match=r"^unknown keyword 'qqqq'$"):
        PLAIN.chain(qqqq=1)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_keywords_say_what_to_do(name: str) -> None:
    off, advice = REFUSED[name]
    with pytest.raises(Unsupported, match=name) as refused:
        PLAIN.chain(**{name: "something"})
    assert advice in str(refused.value)
    for value in off:
        assert PLAIN.chain(**{name: value}).mode == "greedy"


# ------------------------------------------------------------------ without effect


def test_keywords_without_effect_are_listed() -> None:
    assert PLAIN.chain(**dict.fromkeys(sorted(NO_EFFECT))).no_effect == tuple(sorted(NO_EFFECT))
    found = PLAIN.chain(temperature=0.5, top_k=3, length_penalty=2.0, seed=3, repetition_penalty=1.1)
    assert set(found.no_effect) >= {"temperature", "top_k", "length_penalty"}
    assert "repetition_penalty" not in found.no_effect and names(found) == ["repetition_penalty"]
    sampled = PLAIN.chain(do_sample=True, temperature=0.5, early_stopping=True, negative_prompt="a")
    assert sampled.no_effect == ("early_stopping", "negative_prompt")
    beams = PLAIN.chain(num_beams=2, early_stopping=True, diversity_penalty=0.5, max_matching_ngram_size=2)
    assert beams.no_effect == ("diversity_penalty", "max_matching_ngram_size")
    adaptive = PLAIN.chain(
        do_sample=True, mirostat=2, top_p=0.9, top_k=5, temperature=0.5, adaptive_decay=0.5
    )
    assert names(adaptive) == ["temperature"]
    assert set(adaptive.no_effect) == {"top_p", "top_k", "adaptive_decay"}


def test_what_has_no_effect_changes_nothing() -> None:
    config = {"temperature": 0.2, "top_k": 1, "length_penalty": 2.0, "use_cache": False, "num_beam_groups": 2}
    assert PLAIN.generate("a", **config).ids == PLAIN.generate("a").ids


# ------------------------------------------------------------------ where values come from


def test_sources() -> None:
    found = PLAIN.chain(do_sample=True, temperature=0.5)
    assert [(s.name, dict(s.sources)) for s in found.stages] == [
        (
            "temperature",
            {
                "temperature": (0.5, "you"),
                "dynatemp_range": (0.0, "default"),
                "dynatemp_exponent": (1.0, "default"),
            },
        ),
        ("top_k", {"top_k": (50, "default")}),
    ]
    assert found.sources["eos_token_id"] == "model" and found.config["eos_token_id"] == [EOS]
    own = OPINIONATED.chain(temperature=0.5)
    assert own.mode == "sample" and own.config["eos_token_id"] == [65, 66]
    assert own.sources["temperature"] == "you"
    for name in ("do_sample", "top_k", "eos_token_id"):
        assert own.sources[name] == "generation_config.json"
    assert own.stages[1].sources == {"top_k": (20, "generation_config.json")}
    assert OPINIONATED.chain(eos_token_id=None).config["eos_token_id"] == []
    llama = OPINIONATED.chain(preset="llama.cpp")
    assert llama.sources["top_k"] == "preset" and llama.sources["preset"] == "you"
    assert llama.sources["eos_token_id"] == "model", "presets of other systems ignore generation_config.json"


def test_a_bad_value_in_a_models_own_file_says_where_it_stands() -> None:
    broken = model(writes("ab"), generation_defaults={"top_p": 7, "do_sample": True})
    with pytest.raises(
        ValueError, match=r"top_p .* in the model's generation_config.json; give top_p yourself"
    ):
        broken.chain()
    assert "top_p" not in names(broken.chain(top_p=1.0))


# ------------------------------------------------------------------ presets

DEFAULTS = {
    # read in each system's source; see the table of silent defaults
    "transformers": (["top_k"], {"top_k": 50, "temperature": 1.0, "top_p": 1.0}, 20),
    "llama.cpp": (
        ["top_k", "top_p", "min_p", "temperature"],
        {"top_k": 40, "top_p": 0.95, "min_p": 0.05, "temperature": 0.8, "repeat_last_n": 64},
        None,
    ),
    "vllm": ([], {"top_k": 0, "top_p": 1.0, "temperature": 1.0}, 16),
}


@pytest.mark.parametrize("preset", DEFAULTS)
def test_silent_defaults(preset: str) -> None:
    stages, values, tokens = DEFAULTS[preset]
    asked = {"do_sample": True} if preset == "transformers" else {}
    found = PLAIN.chain(preset=preset, **asked)
    assert found.mode == "sample" and names(found) == stages
    assert {name: found.config[name] for name in values} == values
    if tokens is not None:
        assert found.config["max_new_tokens"] == tokens


def test_temperature_zero_is_the_best_token_where_the_system_says_so() -> None:
    assert PLAIN.chain(preset="vllm", temperature=0.0).mode == "greedy"
    assert PLAIN.generate("a", preset="llama.cpp", temperature=0.0, max_new_tokens=2).ids == (98, EOS)
    with pytest.raises(ValueError, match="temperature must be above 0 when sampling"):
        PLAIN.chain(do_sample=True, temperature=0.0)


# ------------------------------------------------------------------ order, as numbers


def left(logits: list[float], **config: Any) -> list[float]:
    """Probabilities of the first ids after the chain, to four digits; all others are ruled out."""
    row = np.full(SIZE, -np.inf, np.float32)
    row[: len(logits)] = logits
    table = model(lambda ids: row).next_tokens("a", n=len(logits), **config)
    found = {candidate.id: candidate.p_final for candidate in table.rows}
    return [round(found[i], 4) for i in range(len(logits))]


HF = {"do_sample": True, "top_k": 0}
LLAMA = {"preset": "llama.cpp", "top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1.0}
VLLM = {"preset": "vllm"}
LOGS = [float(x) for x in np.log([0.5, 0.3, 0.1, 0.06, 0.04])]
KEPT = [0.5556, 0.3333, 0.1111, 0.0, 0.0]  # .5, .3, .1 of .9
TWO = [0.625, 0.375, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("system", "logits", "config", "order", "expected"),
    [
        # temperature before top_p sharpens [.6652, .2447, .09] to [.8668, .1173, .0159]: one token reaches .8
        (HF, [3, 2, 1], {"top_p": 0.8, "temperature": 0.5}, None, [1, 0, 0]),
        (VLLM, [3, 2, 1], {"top_p": 0.8, "temperature": 0.5}, None, [1, 0, 0]),
        (LLAMA, [3, 2, 1], {"top_p": 0.8, "temperature": 0.5}, None, [0.8808, 0.1192, 0]),
        (HF, [3, 2, 1], {"top_p": 0.8, "temperature": 0.5}, ("top_p", "temperature"), [0.8808, 0.1192, 0]),
        (HF, [3, 2, 1], {"top_p": 0.8, "temperature": 0.5}, ("temperature", "top_p"), [1, 0, 0]),
        (LLAMA, [3, 2, 1], {"top_p": 0.8, "temperature": 0.5}, ("temperature", "top_p"), [1, 0, 0]),
        (HF, [3, 2, 1], {"top_p": 0.9, "temperature": 2.0}, None, [0.5065, 0.3072, 0.1863]),
        (HF, [3, 2, 1], {"top_p": 0.9, "temperature": 2.0}, ("top_p", "temperature"), [0.6225, 0.3775, 0]),
        # min_p compares 1, .135, .018 before and 1, .368, .135 after a temperature of 2
        (HF, [4, 2, 0], {"min_p": 0.1, "temperature": 2.0}, None, [0.6652, 0.2447, 0.09]),
        (VLLM, [4, 2, 0], {"min_p": 0.1, "temperature": 2.0}, None, [0.6652, 0.2447, 0.09]),
        (LLAMA, [4, 2, 0], {"min_p": 0.1, "temperature": 2.0}, None, [0.7311, 0.2689, 0]),
        (HF, [4, 2, 0], {"min_p": 0.1, "temperature": 2.0}, ("min_p", "temperature"), [0.7311, 0.2689, 0]),
        # min_p first leaves .5556, .3333, .1111, of which two reach .85
        (HF, LOGS, {"top_p": 0.85, "min_p": 0.15}, None, KEPT),
        (LLAMA, LOGS, {"top_p": 0.85, "min_p": 0.15}, None, KEPT),
        (VLLM, LOGS, {"top_p": 0.85, "min_p": 0.15}, None, TWO),
        (HF, LOGS, {"top_p": 0.85, "min_p": 0.15}, ("min_p", "top_p"), TWO),
        (VLLM, LOGS, {"top_p": 0.85, "min_p": 0.15}, ("top_p", "min_p"), KEPT),
    ],
)
def test_orders(
    system: dict[str, Any],
    logits: list[float],
    config: dict[str, Any],
    order: tuple[str, ...] | None,
    expected: list[float],
) -> None:
    given = {**system, **config, **({} if order is None else {"order": order})}
    assert left(logits, **given) == pytest.approx(expected, abs=1.01e-4)  # of the fourth digit
    if order is not None:
        assert names(PLAIN.chain(**given)) == list(order)
        assert PLAIN.chain(**given).sources["order"] == "you"


@pytest.mark.parametrize(
    "order",
    [
        [],
        ["top_p"],
        ["top_p", "temperature", "top_k"],
        ["top_p", "top_p"],
        ["temperature", "min_p"],
        ["x", "y"],
    ],
    ids=str,
)
def test_an_order_names_every_active_stage_once(order: list[str]) -> None:
    with pytest.raises(ValueError, match=r"order must name every active stage once \(temperature, top_p\)"):
        PLAIN.chain(**HF, temperature=0.5, top_p=0.9, order=order)


def test_penalties_before_and_after_log_softmax_choose_differently() -> None:
    """Of [6, 5], id 0 seen, r = 1.5: greedy has 6 / 1.5 = 4 < 5; a beam -.3133 * 1.5 = -.47 > -1.3133."""
    row = np.full(SIZE, -np.inf, np.float32)
    row[:2] = 6, 5
    seen = model(lambda ids: row)
    assert seen.generate([0], repetition_penalty=1.5, max_new_tokens=1).ids == (1,)
    assert seen.generate([0], repetition_penalty=1.5, max_new_tokens=1, num_beams=2).ids == (0,)


def test_windows_of_penalties() -> None:
    """Of [2, -1, .5] after [0, 0, 1], r = 2, f = .5, pr = 1: llama.cpp counts the prompt, vLLM does not."""
    penalties = {"repetition_penalty": 2.0, "frequency_penalty": 0.5, "presence_penalty": 1.0}
    row = np.full(SIZE, -np.inf, np.float32)
    row[:3] = 2, -1, 0.5
    for system, scores in ((LLAMA, [-1, -3.5, 0.5]), (VLLM, [1, -2, 0.5]), (HF, [1, -2, 0.5])):
        table = model(lambda ids: row).next_tokens([0, 0, 1], n=3, **system, **penalties)
        p = {candidate.id: candidate.p_final for candidate in table.rows}
        whole = np.exp(scores).sum()
        assert [p[i] for i in range(3)] == pytest.approx([np.exp(s) / whole for s in scores], rel=1e-5)
