"""The loop: when it stops, what it streams, what it records. Expected values are worked out by hand."""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.support import EOS, SIZE, model, writes
from tokenglass.decode import decode, decode_samples

# softmax over one 2, one 1 and 255 zeros
TOTAL = exp(2) + exp(1) + 255


def test_greedy_writes_until_eos_and_keeps_it() -> None:
    out = model(writes("hello world")).generate("hello", max_new_tokens=50)
    assert out.text == " world"
    assert out.ids[-1] == EOS and len(out.ids) == 7
    assert out.finish_reason == "eos"
    assert out.full_text == "hello world"
    assert len(out.sequences) == 1 and out.sequences[0].ids == out.ids


def test_numbers_of_a_step() -> None:
    step = model(writes("ab")).generate("a", max_new_tokens=1).steps[0]
    assert (step.id, step.position, step.rank, step.origin) == (ord("b"), 1, 1, "greedy")
    assert step.logit == 2.0
    assert step.p == pytest.approx(exp(2) / TOTAL, rel=1e-6)
    assert step.logprob == pytest.approx(2 - log(TOTAL), rel=1e-6)
    assert step.margin == 1.0
    probabilities = np.array([exp(2), exp(1)] + [1.0] * 255) / TOTAL
    assert step.entropy_bits == pytest.approx(-(probabilities * np.log2(probabilities)).sum(), rel=1e-6)
    assert [row.id for row in step.top[:3]] == [ord("b"), ord("c"), 0]
    assert step.top[1].p == pytest.approx(exp(1) / TOTAL, rel=1e-6)
    assert len(step.top) == 64


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({}, 20),
        ({"max_new_tokens": 3}, 3),
        ({"max_length": 9}, 4),
        ({"max_length": 6, "max_new_tokens": 2}, 2),
    ],
    ids=["default-20", "max_new_tokens", "max_length-counts-the-prompt", "max_new_tokens-wins"],
)
def test_length_limits_mean_what_they_do_in_transformers(config: dict[str, Any], count: int) -> None:
    out = model(writes("hello" + "x" * 40)).generate("hello", **config)
    assert len(out.ids) == count
    assert out.finish_reason == "length"


def test_max_length_below_the_prompt_is_an_error_as_in_transformers() -> None:
    with pytest.raises(ValueError, match="max_length counts the prompt: it must be above 5, got 5"):
        model(writes("")).generate("hello", max_length=5)


def test_a_models_own_max_length_does_not_make_a_long_prompt_an_error() -> None:
    m = model(writes("hello" + "x" * 40), generation_defaults={"max_length": 4})
    assert len(m.generate("hello").ids) == 20


def test_eos_can_be_switched_off_or_replaced() -> None:
    m = model(writes("ab", then=EOS))
    assert m.generate("a", max_new_tokens=3, eos_token_id=None).finish_reason == "length"
    assert m.generate("a", max_new_tokens=3, eos_token_id=[ord("b")]).ids == (ord("b"),)


def test_generation_config_of_the_model_is_used_and_can_be_overruled() -> None:
    m = model(writes("a" + "b" * 30), generation_defaults={"max_new_tokens": 4, "eos_token_id": 7})
    assert len(m.generate("a").ids) == 4
    assert len(m.generate("a", max_new_tokens=2).ids) == 2
    assert m.generate("a").config["eos_token_id"] == [7]


@pytest.mark.parametrize("stop", ["wor", "o w", "lo wo", "d"])
def test_stop_strings_end_with_the_token_that_completes_them(stop: str) -> None:
    """Matched on bytes, across the edge of the prompt too, and kept in the text."""
    out = model(writes("hello world")).generate("hel", max_new_tokens=50, stop_strings=stop)
    assert out.finish_reason == "stop_string"
    assert out.full_text.endswith(stop)


def test_a_stop_string_in_the_prompt_alone_does_not_stop() -> None:
    out = model(writes("hello world")).generate("hello", max_new_tokens=50, stop_strings=["hell", "xyz"])
    assert out.finish_reason == "eos"


def test_a_stop_string_inside_a_character_made_of_two_tokens() -> None:
    """Because "é" is C3 A9, the stop string is complete only with the second byte."""
    out = model(writes("café au lait")).generate("caf", max_new_tokens=50, stop_strings=["é"])
    assert out.ids == (0xC3, 0xA9)
    assert out.text == "é"


def test_streaming_never_emits_half_a_character() -> None:
    pieces = [step.text for step in model(writes("a€😀é")).stream("a", max_new_tokens=20)]
    assert pieces == ["", "", "€", "", "", "", "😀", "", "é", ""]


def test_bytes_that_never_become_a_character_come_out_at_the_end() -> None:
    out = model({ord("a"): [0.0] * 0xE2 + [1.0] + [0.0] * (SIZE - 0xE3), 0xE2: [0.0] * SIZE}).generate(
        "a", max_new_tokens=1
    )
    assert out.ids == (0xE2,)
    assert out.text == "\N{REPLACEMENT CHARACTER}"


def test_the_context_ends_the_text() -> None:
    out = model(writes("a" + "b" * 40), context_length=6).generate("aaa", max_new_tokens=30)
    assert out.finish_reason == "context"
    assert len(out.prompt_ids) + len(out.ids) == 6


@pytest.mark.parametrize(("prompt", "total"), [("aaa", 6), ("aaaaa", 6), ("aaaaaa", 7)])
def test_a_prompt_that_fills_the_context_still_gets_one_token(prompt: str, total: int) -> None:
    out = model(writes("a" + "b" * 40), context_length=6).generate(prompt, max_new_tokens=30)
    assert (len(out.prompt_ids) + len(out.ids), out.finish_reason) == (total, "context")


def test_a_prompt_longer_than_the_context_is_refused_with_both_counts() -> None:
    with pytest.raises(tg.ContextOverflow, match="7 tokens but the model's context holds 6"):
        model(writes(""), context_length=6).generate("aaaaaaa")


def test_max_time_is_checked_after_each_token() -> None:
    out = model(writes("a" + "b" * 40)).generate("a", max_new_tokens=30, max_time=1e-9)
    assert (len(out.ids), out.finish_reason) == (1, "time")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_logits_are_named(value: float) -> None:
    row = [0.0] * SIZE
    row[3] = value
    with pytest.raises(tg.EngineError, match=r"position 1 hold NaN or \+inf"):
        model({ord("a"): row}).generate("a")


def test_no_token_allowed_is_named() -> None:
    with pytest.raises(tg.NoTokenAllowed, match="no token allowed at position 1"):
        model({ord("a"): [float("-inf")] * SIZE}).generate("a")


def test_equal_logits_are_settled_by_the_lowest_id() -> None:
    assert model({ord("a"): [0.0] * SIZE}).generate("a", max_new_tokens=1).ids == (0,)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"max_new_token": 3}, TypeError, "unknown keyword 'max_new_token'; did you mean max_new_tokens?"),
        ({"zzz": 3}, TypeError, "unknown keyword 'zzz'$"),
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens must be a whole number of at least 1, got 0"),
        ({"max_new_tokens": 2.5}, ValueError, "got 2.5"),
        ({"max_new_tokens": True}, ValueError, "got True"),
        ({"eos_token_id": SIZE}, ValueError, r"eos_token_id must be ids in \[0, 256\], got 257"),
        ({"stop_strings": [""]}, ValueError, "stop_strings must be texts of at least one character"),
        ({"stop_strings": 1}, ValueError, "stop_strings must be a text or a list of texts, got 1"),
        ({"stop_strings": {}}, ValueError, "stop_strings must be a text or a list of texts, got {}"),
        ({"stop_strings": "\ud800"}, ValueError, "stop_strings must be texts"),
        ({"max_time": 0}, ValueError, "max_time must be a number of seconds above 0"),
        ({"max_time": float("nan")}, ValueError, "max_time must be"),
        ({"seed": -1}, ValueError, "seed must be a whole number of at least 0, got -1"),
        ({"seed": 1 << 64}, ValueError, r"seed must be a whole number in \[0, 2\*\*64 - 1\]"),
        (
            {"seed": 1 << 32, "do_sample": True, "rng": "llama.cpp"},
            ValueError,
            "seed must be at most 4294967295",
        ),
    ],
)
def test_bad_arguments_name_the_parameter(
    config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model(writes("ab")).generate("a", **config)


def test_bad_arguments_are_found_before_the_first_token_is_asked_for() -> None:
    with pytest.raises(TypeError):
        model(writes("ab")).stream("a", nonsense=1)


def test_whole_floats_count_as_integers() -> None:
    assert len(model(writes("a" + "b" * 9)).generate("a", max_new_tokens=3.0).ids) == 3


def plain(logits: dict[int, float]) -> np.ndarray:
    row = np.full(SIZE, -np.inf, dtype=np.float32)
    row[list(logits)] = list(logits.values())
    return row


def test_the_loop_itself_takes_an_engine_a_vocabulary_ids_and_a_plan() -> None:
    m = model(writes("hello world"))
    plan = m.plan({"max_new_tokens": 3}, (ord("l"), ord("l")))
    steps = list(decode(m.engine, m.tokenizer, tuple(b"hell"), plan))
    assert "".join(step.text for step in steps) == "o w"
    assert [step.position for step in steps] == [4, 5, 6]
    assert [step.finish_reason for step in steps] == [None, None, "length"]


def test_samples_are_read_in_one_run_of_the_model_a_round_and_leave_when_they_end() -> None:
    """Each token is the end with probability one half: the runs shrink as texts finish."""
    m, sizes = model(lambda ids: plain({ord("x"): 0.0, EOS: 0.0})), []
    forward = m.engine.forward

    def counted(prefixes: Any, **more: Any) -> Any:
        sizes.append(len(prefixes))
        return forward(prefixes, **more)

    m.engine.forward = counted  # type: ignore[method-assign]
    plan = m.plan({"do_sample": True, "seed": 5, "max_new_tokens": 12}, (1,))
    texts: dict[int, list[tg.Step]] = {}
    for sample, step in decode_samples(m.engine, m.tokenizer, (1,), plan, 8):
        texts.setdefault(sample, []).append(step)
    lengths = sorted(map(len, texts.values()))
    assert sizes == [sum(n > i for n in lengths) for i in range(lengths[-1])]
    assert lengths[0] < lengths[-1]
    for steps in texts.values():
        assert steps[-1].finish_reason == ("eos" if steps[-1].id == EOS else "length")
        assert all(step.finish_reason is None and step.id != EOS for step in steps[:-1])


def test_samples_come_in_order_and_with_their_own_records() -> None:
    m = model(writes(""), eos_ids=())
    out = m.generate("a", do_sample=True, seed=1, num_return_sequences=5, max_new_tokens=2)
    assert len(out.sequences) == 5
    assert out.config["num_return_sequences"] == 5
    for sequence in out.sequences:
        assert sequence.finish_reason == "length" and len(sequence.steps) == 2
        assert sequence.ids == tuple(step.id for step in sequence.steps)
        assert all(step.origin == "sampled" for step in sequence.steps)


def test_the_stage_that_banned_the_last_token_is_named() -> None:
    m = model(lambda ids: plain({3: 1.0}))
    with pytest.raises(tg.NoTokenAllowed, match=r"position 1.*suppress_tokens"):
        m.generate("a", suppress_tokens=[3])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_logits_can_be_repaired_when_asked(value: float) -> None:
    """As transformers' remove_invalid_values does: NaN becomes 0, +inf the largest float."""
    row = plain({3: value, 4: -1.0})
    out = model(lambda ids: row).generate("a", remove_invalid_values=True, max_new_tokens=1)
    assert out.ids == (3,)


def test_the_margin_is_that_of_the_row_drawn_from() -> None:
    """Surprises of .45 and 1.9 bits under a limit of 2 * .5: mirostat leaves one token, without a rival."""
    m = model(lambda ids: plain({3: 2.0, 4: 1.0}))
    step = m.generate("a", preset="llama.cpp", mirostat=2, mirostat_tau=0.5, seed=1, max_new_tokens=1).steps[
        0
    ]
    assert (step.id, step.margin, step.p_final) == (3, np.inf, 1.0)


def test_a_prefix_function_is_told_which_sample_it_is() -> None:
    """As transformers numbers the rows of `num_return_sequences`; all beams of a prompt are one."""
    m = model(writes(""), eos_ids=())

    def own_letter(batch: int, ids: Any) -> list[int]:
        return [ord("A") + batch]

    more: dict[str, Any] = {"prefix_allowed_tokens_fn": own_letter, "max_new_tokens": 2}
    drawn = m.generate("x", do_sample=True, seed=1, num_return_sequences=3, **more)
    assert [sequence.text for sequence in drawn.sequences] == ["AA", "BB", "CC"]
    assert m.generate("x", num_beams=3, **more).text == "AA"


def test_numbers_of_a_drawn_step() -> None:
    """Of 2 and 1 at temperature 0.5: e^4 and e^2; the cell of the lower id comes first."""
    m = model(lambda ids: plain({7: 2.0, 9: 1.0}))
    share = exp(4) / (exp(4) + exp(2))
    for seed in range(20):
        step = m.generate("a", do_sample=True, temperature=0.5, seed=seed, max_new_tokens=1).steps[0]
        assert step.draw is not None and step.cdf is not None
        token_id, cell = (7, (0.0, share)) if step.draw < share else (9, (share, 1.0))
        assert step.id == token_id
        assert step.cdf == pytest.approx(cell, abs=1e-6)
        assert step.p_final == pytest.approx(share if step.id == 7 else 1 - share, abs=1e-6)
        assert step.p == pytest.approx(exp(2 if step.id == 7 else 1) / (exp(2) + exp(1)), abs=1e-6)
        assert [s.name for s in step.stages] == ["model", "temperature", "top_k"]
