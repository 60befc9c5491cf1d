"""Prompts, tables and lookups of a model, on tables whose numbers are known."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.support import EOS, SIZE, model, writes


def test_next_tokens_rows_and_rest_sum_to_one() -> None:
    table = model(writes("ab")).next_tokens("a", n=7)
    assert [row.id for row in table.rows[:3]] == [ord("b"), ord("c"), 0]
    assert [row.rank for row in table.rows] == list(range(1, 8))
    assert sum(row.p for row in table.rows) + table.rest_p == pytest.approx(1, abs=1e-6)  # exp() is float32
    assert table.coverage == 1.0


def test_a_table_of_everything_has_no_rest() -> None:
    assert model(writes("ab")).next_tokens("a", n=SIZE).rest_p == 0.0
    assert len(model(writes("ab")).next_tokens("a", n=10_000).rows) == SIZE


def test_any_token_can_be_looked_up() -> None:
    table = model(writes("ab")).next_tokens("a", n=1)
    total = exp(2) + exp(1) + 255
    row = table.lookup("c")
    assert (row.id, row.rank) == (ord("c"), 2)
    assert row.p == pytest.approx(exp(1) / total, rel=1e-6)
    assert table.lookup(ord("z")).rank == ord("z") + 1  # zeros rank by id; b and c stand before them
    assert table.lookup(EOS).token.kind == "control"


@pytest.mark.parametrize("bad", [-1, SIZE, "nope"])
def test_a_lookup_of_nothing_is_a_clear_error(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"token id must be in \[0, 256\]|no single token"):
        model(writes("ab")).next_tokens("a").lookup(bad)


def test_positions_count_like_a_python_list() -> None:
    m = model(writes("abcdef"))
    assert m.next_tokens("abcd", position=-3).rows[0].text == "c"
    assert m.next_tokens("abcd", position=1).rows[0].text == "c"
    assert m.next_tokens("abcd", position=-1).rows[0].text == "e"
    assert m.next_tokens("abcd", position=1).prompt_ids == (97, 98)
    for position in (4, -5):
        with pytest.raises(ValueError, match=r"position must be in \[-4, 3\]"):
            m.next_tokens("abcd", position=position)


def test_logits_have_a_row_for_each_position() -> None:
    m = model(writes("abcdef"))
    logits = m.logits("abc")
    assert logits.shape == (3, SIZE) and logits.dtype == np.float32
    assert [chr(i) for i in logits.argmax(axis=1)] == ["b", "c", "d"]


def test_prompts_of_ids_and_text_are_one_thing() -> None:
    m = model(writes("abcdef"))
    assert m.generate([97, 98], max_new_tokens=2).ids == m.generate("ab", max_new_tokens=2).ids
    assert m.generate(np.array([97, 98]), max_new_tokens=2).ids == (99, 100)


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        ("", ValueError, "the prompt is empty and this model has no begin-of-text token"),
        ([], ValueError, "the prompt is empty"),
        ([1, SIZE], ValueError, r"token id must be in \[0, 256\], got 257"),
        ([1, -2], ValueError, "got -2"),
        ([1, "a"], TypeError, "a list of token ids or a list of messages"),
        ([True], TypeError, "got True"),
    ],
)
def test_bad_prompts_are_named(prompt: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        model(writes("ab")).next_tokens(prompt)


def test_an_empty_prompt_begins_with_bos_where_there_is_one() -> None:
    assert model(writes("ab"), bos_id=EOS).next_tokens("").prompt_ids == (EOS,)


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_n_must_be_at_least_one(n: Any) -> None:
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
        model(writes("ab")).next_tokens("a", n=n)


def test_unbuilt_engines_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="engine must be"):
        tg.load("smollm2", engine="tensorrt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision must be 'exact' or 'fast', got 'int4'"):
        tg.load("smollm2", precision="int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"threads must be a whole number in \[1, 1024\], got 0"):
        tg.load("smollm2", threads=0)


@pytest.mark.parametrize("prompt", [b"abc", None, 3, {"role": "user", "content": "x"}, {}], ids=repr)
def test_prompts_that_are_no_prompts(prompt: Any) -> None:
    with pytest.raises(TypeError, match="a prompt is a text, a list of token ids or a list of messages"):
        model(writes("ab")).next_tokens(prompt)


@pytest.mark.parametrize("token", [True, None, 1.5, b"a"])
def test_a_lookup_is_by_id_or_text(token: Any) -> None:
    with pytest.raises(ValueError, match="a token is looked up by its id or its text"):
        model(writes("ab")).next_tokens("a").lookup(token)


def test_keywords_without_effect_are_listed() -> None:
    config = model(writes("ab")).generate("a", temperature=0.7, use_cache=True).config
    assert config["no_effect"] == ["temperature", "use_cache"]


def test_a_source_is_a_name_or_a_path() -> None:
    with pytest.raises(TypeError, match="source must be a name or a path, got None"):
        tg.load(None)  # type: ignore[arg-type]
