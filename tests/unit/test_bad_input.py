"""Bad input everywhere: an answer, or one line that says what is wrong; never a traceback, never a guess.

Most of it runs on a table engine over bytes, a token for each byte; what depends on a real vocabulary runs on
the embedded model. Models that are none and command lines that are wrong have files of their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.support import EOS, SIZE, model, shown, writes
from tokenglass.errors import (
    ContextOverflow,
    EngineError,
    NoTokenAllowed,
    Unsupported,
)

NAN, INF = float("nan"), float("inf")

# ------------------------------------------------------------------- texts

TEXTS = {
    "one space": " ",
    "only spaces": " " * 40,
    "NUL": "\0",
    "NUL inside": "a\0b",
    "ESC": "\x1b[31mred\x1b]52;c;x\x07",
    "all C0 and C1": "".join(map(chr, [*range(32), *range(127, 160)])),
    "bidi": "\u202eabc\u2066",
    "tag": "\U000e0041",
    "replacement": "\ufffd",
    "no character": "\uffff\U0010ffff",
    "byte order mark": "\ufeffHi",
    "line ends": "a\r\nb\rc\u2028d",
    "500 marks": "e" + "\u0301" * 500,
    "control token": "<|im_end|>",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_text_has_an_answer(text: str) -> None:
    """Read, predicted after, written on, printed and turned into JSON; the text comes back as it was."""
    table_model = model(writes("ab"))
    tokens = table_model.tokenize(text)
    assert table_model.detokenize(tokens.ids) == text
    out = table_model.generate(text, max_new_tokens=2)
    for result in (tokens, table_model.next_tokens(text), out):
        for drawn in (str(result), repr(result)):
            assert all(character == "\n" or character.isprintable() for character in drawn)
        assert json.dumps(result.to_dict(), allow_nan=False)
    assert out.text == "ab" and out.prompt_text == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_text_has_an_answer_from_a_real_model(smollm2: Any, text: str) -> None:
    tokens = smollm2.tokenize(text)
    missing = smollm2.tokenizer.missing_bytes
    assert smollm2.detokenize(tokens.ids) == text.encode().translate(None, missing).decode()
    lost = sum(byte in missing for byte in text.encode())
    assert (f"{lost} bytes left out" in str(tokens)) == (lost > 0), "nothing is dropped in silence"
    assert {token.kind for token in tokens.tokens} == {"normal"}, "a typed control token is text"
    shown = str(smollm2.next_tokens(text, n=3))
    assert all(character == "\n" or character.isprintable() for character in shown)


def test_a_control_token_only_when_asked_for(smollm2: Any) -> None:
    end = smollm2.tokenize("<|im_end|>", parse_special=True)
    assert [token.kind for token in end.tokens] == ["control"]
    assert end.ids[0] not in smollm2.tokenize("<|im_end|>").ids
    chat = smollm2.tokenize([{"role": "user", "content": "x"}])
    assert end.ids[0] in chat.ids, "a template's own control tokens are control tokens"


def test_long_texts(smollm2: Any) -> None:
    """43,000 letters and 100,000 newlines in seconds; one is longer than the context and refused by count."""
    started = time.perf_counter()
    assert smollm2.detokenize(smollm2.tokenize("A" * 43_000).ids) == "A" * 43_000
    newlines = smollm2.tokenize("\n" * 100_000)
    assert smollm2.detokenize(newlines.ids) == "\n" * 100_000
    assert time.perf_counter() - started < 60, "linear time takes about two seconds"
    context = smollm2.info.context_length
    for call in (smollm2.next_tokens, smollm2.generate, smollm2.logits):
        with pytest.raises(ContextOverflow) as refused:
            call("\n" * 100_000)
        assert f"{len(newlines):,}" in str(refused.value) and f"{context:,}" in str(refused.value)


def test_the_context_may_be_filled_and_not_exceeded() -> None:
    small = model(writes("z" * 20), context_length=8)
    assert small.generate("1234567", max_new_tokens=5).finish_reason == "context"
    assert len(small.generate("1234567", max_new_tokens=5).ids) == 1
    assert small.next_tokens("12345678").position == 7
    with pytest.raises(ContextOverflow, match="9 tokens but the model's context holds 8"):
        small.next_tokens("123456789")


@pytest.mark.parametrize("text", ["\ud800", "a\udce2b", "\udfff" * 3])
def test_half_characters_are_refused(smollm2: Any, text: str) -> None:
    for call in (smollm2.tokenize, smollm2.next_tokens, smollm2.generate, smollm2.next_tokens("Hi").lookup):
        with pytest.raises(ValueError, match="lone surrogate"):
            call(text)


def test_an_empty_prompt_begins_a_text() -> None:
    begins = model(writes("ab"), bos_id=EOS)
    for empty in ("", [], ()):
        assert begins.next_tokens(empty).prompt_ids == (EOS,)
    assert begins.generate([EOS], max_new_tokens=2).ids == begins.generate("", max_new_tokens=2).ids
    with pytest.raises(ValueError, match="the prompt is empty and this model has no begin-of-text token"):
        model(writes("ab")).next_tokens("")


# ------------------------------------------------------------------- numbers

REFUSED: list[tuple[str, list[Any], type[Exception], str]] = [
    ("max_new_tokens", [0, -1, NAN, INF, 1.5, True, "3", [1], b"1"], ValueError, "max_new_tokens"),
    ("max_length", [0, -1, NAN, INF, 1.5, True, "3", 2], ValueError, "max_length"),
    ("max_time", [0, -1, NAN, INF, -INF, True, "1"], ValueError, "max_time"),
    ("seed", [-1, 1 << 64, 1.5, NAN, True, "1"], ValueError, "seed"),
    ("eos_token_id", [-1, SIZE, 10**30, "a", True, NAN, {}, [1, [2]], [None]], ValueError, "eos_token_id"),
    ("stop_strings", ["", [""], ["a", ""], [1], [None], b"a"], ValueError, "stop_strings"),
    ("num_beams", [0, -1, 1.5, NAN, "2"], ValueError, "num_beams"),
    ("num_beam_groups", [0, -1, NAN], ValueError, "num_beam_groups"),
    ("do_sample", [1, 0, "no"], ValueError, "do_sample"),
    ("temperature", [-0.1, NAN, INF, True, "hot"], ValueError, "temperature"),
    ("top_k", [-1, 0.5, NAN, INF, "3"], ValueError, "top_k"),
    ("top_p", [-0.1, 1.1, 1e9, NAN, "1"], ValueError, "top_p"),
    ("repetition_penalty", [0, NAN, -1, INF, 10**400], ValueError, "repetition_penalty"),
    ("bad_words_ids", [[], "a", [""], [[-1]], [[SIZE]], [5]], ValueError, "bad_words_ids"),
    ("bad_words", ["", [""], [3]], ValueError, "bad_words"),
    ("watermarking_config", [5, {"bias": "x"}, {"x": 1}], ValueError, "watermarking_config"),
    ("prefix_allowed_tokens_fn", [5, lambda ids: [1]], ValueError, "prefix_allowed_tokens_fn"),
    ("logits_processor", [5, abs], ValueError, "logits_processor"),
    ("logits_processor", [[5], ["f"], [lambda a, b, c: a]], TypeError, "logits_processor"),
    ("constraints", [["a"]], Unsupported, "constraints"),
    ("custom_generate", ["a"], Unsupported, "custom_generate"),
    ("max_new_token", [1], TypeError, "did you mean max_new_tokens"),
    ("frobnicate", [1], TypeError, "frobnicate"),
]
CASES = [(name, value, kind, says) for name, values, kind, says in REFUSED for value in values]


@pytest.mark.parametrize(
    ("name", "value", "kind", "says"), CASES, ids=[f"{name}={shown(value)}" for name, value, *_ in CASES]
)
def test_bad_values_are_refused_by_name(name: str, value: Any, kind: type[Exception], says: str) -> None:
    """At the call, before a single token is written, also for a stream and a session."""
    table_model = model(writes("ab"))
    for call in (table_model.generate, table_model.stream, table_model.session, table_model.next_tokens):
        with pytest.raises(kind, match=says) as refused:
            call("Hi", **{name: value})
        assert "\n" not in str(refused.value)


IDLE_IN_GREEDY = {
    "temperature": [0, 1e-9, 1, 1e9],
    "top_p": [0, 1e-9, 1],
    "top_k": [0, 1, 10**9],
    "min_p": [0, 1e-9, 1],
    "typical_p": [1e-9, 1],
    "seed": [0, 2**64 - 1],
    "rng": ["tokenglass", "torch"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in IDLE_IN_GREEDY.items() for value in values]
)
def test_sampling_values_change_nothing_in_a_greedy_run(name: str, value: Any) -> None:
    """Within their intervals; outside they are refused all the same, as listed above."""
    table_model = model(writes("ab"))
    plain = table_model.generate("Hi", max_new_tokens=2)
    assert table_model.generate("Hi", max_new_tokens=2, **{name: value}).ids == plain.ids
    assert table_model.session("Hi", **{name: value}).config.no_effect == (name,)


@pytest.mark.parametrize(
    "result",
    [None, "a", 5, 1.7, [1.7], [None], [[1], [2, 3]], [-1], [SIZE], [300, 1], [10**30], [True]],
    ids=str,
)
def test_what_a_prefix_function_returns_is_checked(result: Any) -> None:
    """At the step at which it returns it, in one line that names the keyword and the interval."""
    says = rf"^prefix_allowed_tokens_fn must return a list of ids in \[0, {SIZE - 1}\], got "
    with pytest.raises(ValueError, match=says) as refused:
        model(writes("ab")).generate("Hi", prefix_allowed_tokens_fn=lambda batch, ids: result)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "result", [[65, 66], (65, 66), {65, 66}, range(65, 67), np.array([65, 66]), [np.int64(65)]], ids=str
)
def test_lists_that_a_prefix_function_may_return(result: Any) -> None:
    out = model(writes("ab")).generate(
        "Hi", max_new_tokens=1, prefix_allowed_tokens_fn=lambda batch, ids: result
    )
    assert out.text == "A", "of two equal scores the lower id"


def test_a_prefix_function_that_allows_nothing_is_named() -> None:
    with pytest.raises(NoTokenAllowed, match="prefix_allowed_tokens_fn"):
        model(writes("ab")).generate("Hi", prefix_allowed_tokens_fn=lambda batch, ids: [])


@pytest.mark.parametrize(
    "result", [None, "a", 5, [1.0], [[0.0] * SIZE], ["x"] * SIZE], ids=lambda r: str(r)[:20]
)
def test_what_a_stage_of_the_users_returns_is_checked(result: Any) -> None:
    with pytest.raises(ValueError, match=r"^logits_processor stage '<lambda>' must return 257 numbers"):
        model(writes("ab")).generate("Hi", logits_processor=[lambda scores: result])


@pytest.mark.parametrize("n", [0, -1, 1.5, NAN, "3", None])
def test_rows_and_positions_outside(n: Any) -> None:
    table_model = model(writes("ab"))
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
        table_model.next_tokens("Hi", n=n)
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
        table_model.session("Hi").step(n)
    for position in (2, -3, 10**30, 1.5, NAN, "0", None):
        with pytest.raises(ValueError, match=r"position must be in \[-2, 1\]"):
            table_model.next_tokens("Hi", position=position)
    assert len(table_model.next_tokens("Hi", n=10**30).rows) == SIZE


@pytest.mark.parametrize("token_id", [-1, SIZE, 10**30])
def test_ids_outside_the_vocabulary(token_id: int) -> None:
    table_model = model(writes("ab"))
    calls: list[Callable[[], Any]] = [
        lambda: table_model.generate([token_id]),
        lambda: table_model.logits([1, token_id]),
        lambda: table_model.session("Hi").step(token=token_id),
        lambda: table_model.next_tokens("Hi").lookup(token_id),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=rf"token id must be in \[0, {SIZE - 1}\]"):
            call()


@pytest.mark.parametrize("prompt", [["a"], [1.5], [NAN], [True], [[]], [None]], ids=str)
def test_prompts_of_a_wrong_kind(prompt: Any) -> None:
    for call in (model(writes("ab")).generate, model(writes("ab")).next_tokens, model(writes("ab")).logits):
        with pytest.raises(TypeError, match="a prompt is a text, a list of token ids or a list of messages"):
            call(prompt)


# ------------------------------------------------------------------- logits


@pytest.mark.parametrize("value", [NAN, INF])
def test_broken_logits_are_named_and_the_session_is_kept(value: float) -> None:
    """Two good steps, then a broken row: both steps stay, and the way back is open."""
    rule = writes("abcd")

    def breaks(ids: tuple[int, ...]) -> Any:
        row = rule(ids).copy()
        if ids[-1:] == (ord("b"),):
            row[7] = value
        return row

    session = model(breaks).session("x")
    session.step(2)
    for _ in range(2):
        with pytest.raises(EngineError, match=r"logits at position 3 hold NaN or \+inf"):
            session.step()
    assert session.text == "xab"
    session.undo()
    assert session.step(token="c").text == "c"
    written = []
    with pytest.raises(EngineError, match="position 3"):
        for step in model(breaks).stream("x"):
            written.append(step.text)
    assert written == ["a", "b"]


def test_nothing_allowed_is_said_at_its_step() -> None:
    barren = model(lambda ids: [-INF] * SIZE)
    with pytest.raises(NoTokenAllowed, match="no token allowed at position 2"):
        barren.generate("Hi")
    with pytest.raises(NoTokenAllowed, match="no token allowed at position 2"):
        _ = barren.session("Hi").next


def test_one_allowed_token_makes_finite_json() -> None:
    """All logits but one are -inf: a probability of 1, an infinite margin, and still plain JSON."""
    single = model(lambda ids: [-INF] * 65 + [3.0] + [-INF] * (SIZE - 66))
    out = single.generate("Hi", max_new_tokens=1)
    assert out.text == "A" and out.steps[0].p == 1.0
    table = single.next_tokens("Hi")
    assert table.rows[0].p == 1.0 and table.rest_p == 0.0 and table.entropy_bits == 0.0
    for result in (out, table):
        assert json.dumps(result.to_dict(), allow_nan=False)
        assert "nan" not in str(result).lower()
