"""What a configuration does: combinations, origins, presets and orders, against numbers worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support import EOS, SIZE, model, writes
from tokenglass.config import NO_EFFECT, REFUSED
from tokenglass.errors import Unsupported
from tokenglass.stages import TopK
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
    (
        {"force_words_ids": [[1]], "num_beams": 4, "num_beam_groups": 2},
        "num_beam_groups must be 1 with force_words_ids, got 2",
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


DRAWS = {"do_sample": True, "top_k": 0}
COLD = {"preset": "llama.cpp", "do_sample": False}
NOTHING: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # what the run needs, and what changes nothing in it
    ({}, {"seed": 3, "rng": "torch"}),
    ({"num_beams": 2}, {"seed": 3}),
    ({"penalty_alpha": 0.6, "top_k": 4}, {"seed": 3, "temperature": 0.5}),
    ({"preset": "llama.cpp", "temperature": 0.0}, {"seed": 3}),
    ({"preset": "llama.cpp", "temperature": 0.0, "xtc_probability": 0.5, "seed": 3}, {}),
    ({**COLD, "xtc_probability": 0.5, "seed": 3, "rng": "llama.cpp"}, {}),
    (COLD, {"temperature": 0.5, "dynatemp_range": 0.5, "dynatemp_exponent": 2.0}),
    (COLD, {"seed": 3, "mirostat": 2, "mirostat_tau": 3.0, "adaptive_target": 0.5, "adaptive_decay": 0.5}),
    ({**COLD, "top_k": 5, "xtc_probability": 0.1}, {}),
    ({"preset": "llama.cpp", "mirostat": 2}, {"dynatemp_range": 0.5, "dynatemp_exponent": 2.0}),
    (
        {"preset": "llama.cpp", "mirostat": 2, "temperature": 0.5, "logit_bias": {1: 2.0}},
        {"top_k": 3, "repetition_penalty": 1.2, "dry_multiplier": 1.0, "xtc_probability": 0.5},
    ),
    ({"do_sample": True, "mirostat": 2}, {"adaptive_target": 0.5, "adaptive_decay": 0.5}),
    ({**DRAWS, "mirostat": 0}, {"mirostat_tau": 3.0}),
    ({}, {"dry_base": 2.0, "dry_allowed_length": 3, "dry_penalty_last_n": 9, "dry_sequence_breakers": ["x"]}),
    ({"dry_penalty_last_n": 0}, {"dry_multiplier": 1.0, "dry_base": 2.0}),
    ({"dry_multiplier": 1.0, "dry_penalty_last_n": 64, "dry_base": 2.0}, {}),
    (DRAWS, {"xtc_threshold": 0.2}),
    ({**DRAWS, "xtc_threshold": 0.2, "xtc_probability": 0.5}, {}),
    (DRAWS, {"dynatemp_exponent": 2.0}),
    ({**DRAWS, "dynatemp_exponent": 2.0, "dynatemp_range": 0.5}, {}),
    ({"preset": "llama.cpp"}, {"repeat_last_n": 9}),
    ({"preset": "llama.cpp", "repeat_last_n": 9, "presence_penalty": 0.5}, {}),
    ({"preset": "llama.cpp", "repeat_last_n": 0}, {"presence_penalty": 0.5, "repetition_penalty": 1.2}),
    ({"preset": "vllm", "temperature": 0.0}, {"top_p": 0.5, "seed": 3}),
    ({"preset": "vllm", "do_sample": False}, {"temperature": 0.5}),
    ({"max_new_tokens": 3}, {"max_length": 9}),
    ({"min_new_tokens": 0}, {"min_length": 9}),
    ({"max_length": 9, "min_length": 3}, {}),
]


@pytest.mark.parametrize(("run", "idle"), NOTHING, ids=lambda part: str(part)[:60])
def test_every_keyword_without_effect_is_listed(run: dict[str, Any], idle: dict[str, Any]) -> None:
    """And none that has one: with them and without them the same stages run."""
    found = PLAIN.chain(**run, **idle)
    assert set(found.no_effect) == set(idle)
    assert [(s.name, s.params) for s in found.stages] == [
        (s.name, s.params) for s in PLAIN.chain(**run).stages
    ]
    for name in idle:
        assert f"{name}=" not in found.code


def test_mirostat_in_llama_cpp_takes_the_plain_temperature() -> None:
    """`common_sampler_init`: logit bias, then `llama_sampler_init_temp`, then mirostat."""
    found = PLAIN.chain(preset="llama.cpp", mirostat=2, temperature=0.5, dynatemp_range=0.3)
    assert [(s.name, dict(s.params)) for s in found.stages] == [("temperature", {"t": 0.5})]


def test_contrastive_search_uses_top_k() -> None:
    found = PLAIN.chain(penalty_alpha=0.6, top_k=4)
    assert found.mode == "contrastive_search" and found.no_effect == ()
    assert "    top_k=4,\n" in found.code and "    penalty_alpha=0.6,\n" in found.code


def test_the_code_overrules_what_the_preset_passes_over() -> None:
    """Transformers' `generate` would fill each keyword left out from the model's generation_config.json."""
    own = {**OPINIONS, "repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "max_length": 99, "top_k": None}
    opinionated = model(writes("ab"), generation_defaults=own)
    lines = opinionated.chain(preset="vllm", repetition_penalty=1.0).code.splitlines()
    for line in ("temperature=1.0", "repetition_penalty=1.0", "no_repeat_ngram_size=0", "do_sample=True"):
        assert f"    {line}," in lines
    assert f"    eos_token_id=[{EOS}]," in lines
    assert [line for line in opinionated.chain(preset="vllm", top_p=0.9).code.splitlines() if "p=" in line]
    assert "temperature" not in PLAIN.chain(preset="vllm").code, "no opinion, nothing to overrule"
    assert "repetition_penalty=1.3" in opinionated.chain().code, "in transformers' own preset it is in force"


def test_stages_of_one_name_are_numbered() -> None:
    """So that `order` can be satisfied, and the books tell them apart; a keyword keeps its own name."""
    double = [lambda scores: scores * 2, lambda scores: scores + 1, TopK(9)]
    given = {**DRAWS, "top_k": 5, "logits_processor": double}
    found = PLAIN.chain(**given)
    assert names(found) == ["<lambda>", "<lambda>#2", "top_k#2", "top_k"]
    order = ("top_k", "<lambda>#2", "top_k#2", "<lambda>")
    assert names(PLAIN.chain(**given, order=order)) == list(order)
    assert [s.params.get("k") for s in PLAIN.chain(**given, order=order).stages] == [5, None, 9, None]
    step = PLAIN.generate("a", **given, order=order, seed=1, max_new_tokens=1).steps[0]
    assert [stage.name for stage in step.stages] == ["model", *order]
    with pytest.raises(ValueError, match=r"once \(<lambda>, <lambda>#2\)"):
        PLAIN.chain(logits_processor=double[:2], order=["<lambda>", "<lambda>"])


def test_a_numbered_stage_is_named_in_its_errors() -> None:
    with pytest.raises(ValueError, match="logits_processor stage '<lambda>#2' must return"):
        PLAIN.generate("a", logits_processor=[lambda scores: scores, lambda scores: None])


def test_breakers_are_looked_up_once_for_each_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    table = model(writes("ab"))
    reads = []
    token = type(table.tokenizer).token
    monkeypatch.setattr(type(table.tokenizer), "token", lambda self, i: reads.append(i) or token(self, i))
    first = table.plan({"dry_multiplier": 1.0}, (1,)).stages
    assert len(reads) >= SIZE
    del reads[:]
    assert (
        table.plan({"dry_multiplier": 2.0}, (1,)).stages[0].params["breakers"] == first[0].params["breakers"]
    )
    assert not reads
    other = table.plan({"dry_multiplier": 1.0, "dry_sequence_breakers": ["a"]}, (1,)).stages[0]
    assert other.params["breakers"] == ((97,),)


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
