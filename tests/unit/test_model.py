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


SAMPLING: dict[str, Any] = {"do_sample": True, "seed": 1, "max_new_tokens": 4}


def test_a_plan_is_what_the_keywords_mean() -> None:
    m = model(writes("ab"))
    plan = m.plan({"do_sample": True, "temperature": 0.5, "top_p": 0.9}, (97,))
    assert [stage.name for stage in plan.stages] == ["temperature", "top_k", "top_p"]  # top_k 50 is silent
    assert (plan.config.mode, plan.config["top_k"], plan.config.sources["top_k"]) == ("sample", 50, "default")
    assert m.plan({}, (97,)).stages == ()
    assert m.plan({"preset": "vllm"}, (97,)).stages == ()
    llama = [stage.name for stage in m.plan({"preset": "llama.cpp"}, (97,)).stages]
    assert llama == ["top_k", "top_p", "min_p", "temperature"]


def test_a_chain_is_shown_with_where_each_value_is_from() -> None:
    m = model(writes("ab"), generation_defaults={"top_p": 0.7})
    chain = m.chain(do_sample=True, min_p=0.1)
    assert [stage.name for stage in chain.stages] == ["top_k", "top_p", "min_p"]
    found = [source for stage in chain.stages for source in stage.sources.values()]
    assert found == [(50, "default"), (0.7, "generation_config.json"), (0.1, "you")]
    assert (chain.mode, chain.preset, chain.selection.name) == ("sample", "transformers", "sample")


def test_num_return_sequences_gives_that_many_texts() -> None:
    out = model(writes("ab")).generate("a", num_return_sequences=3, **SAMPLING)
    assert len(out.sequences) == 3
    assert out.sequences[0].ids == out.ids


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_beams": 2}, "beam search settles its text at the end; use model.search or model.generate"),
        ({"num_return_sequences": 2, "do_sample": True}, "stream writes one text; use model.generate"),
        ({"num_return_sequences": 2}, "num_return_sequences must be 1 in a greedy run: set do_sample=True"),
        ({"num_beams": 2, "num_return_sequences": 3}, "num_return_sequences must be at most num_beams = 2"),
    ],
)
def test_what_stream_cannot_write_is_refused_at_the_call(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(writes("ab")).stream("a", **config)


def test_a_search_is_a_film_with_texts_at_its_end() -> None:
    m = model(writes("abcdef"))
    film = m.search("ab", num_beams=2, max_new_tokens=3)
    assert film.sequences == ()
    records = tuple(film)
    assert len(records) == 3
    want = m.generate("ab", num_beams=2, max_new_tokens=3)
    assert film.sequences[0].ids == want.ids == tuple(b"cde")
    assert len(want.search) == 3
    assert tuple(film) == () and film.sequences[0].ids == want.ids  # a film that has ended stays ended
    with pytest.raises(ValueError, match="these keywords ask for no search; set num_beams"):
        m.search("ab")


def test_a_table_after_a_chain_says_who_removed_what() -> None:
    """Logits 2, 1, 0, 0 ... at top_k=2: e^2 and e^1 share everything."""
    table = model(writes("ab")).next_tokens("a", n=4, do_sample=True, top_k=2)
    share = exp(2) / (exp(2) + exp(1))
    assert [row.p_final for row in table.rows] == pytest.approx([share, 1 - share, 0, 0], rel=1e-6)
    assert [row.removed_by for row in table.rows] == [None, None, "top_k", "top_k"]
    assert len(table.removed) == SIZE - 2
    account = table.account("z")
    assert [(e.stage, e.p > 0, e.rank) for e in account.effects] == [
        ("model", True, ord("z") + 1),
        ("top_k", False, None),
    ]
    assert account.removed is not None and account.removed.stage == "top_k"


def test_a_greedy_table_has_no_chain() -> None:
    """Sampling keywords change nothing where the best token is taken."""
    table = model(writes("ab")).next_tokens("a", n=2, top_k=1, temperature=0.1)
    assert [row.p_final for row in table.rows] == [row.p for row in table.rows]
    assert table.removed == {} or len(table.removed) == 0
    assert table.stages == ()


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"preset": "openai"}, ValueError, "preset must be one of transformers, llama.cpp, vllm"),
        ({"preset": "vllm", "typical_p": 0.5}, ValueError, "typical_p is not part of preset 'vllm'"),
        ({"preset": "llama.cpp", "num_beams": 2}, ValueError, "num_beams is not part of preset 'llama.cpp'"),
        ({"rng": "numpy"}, ValueError, "rng must be one of tokenglass, llama.cpp, torch"),
        ({"order": ["top_p"]}, ValueError, "order must name every active stage once"),
        ({"top_k": -1}, ValueError, "top_k must be a whole number of at least 0"),
        ({"top_p": 1.5}, ValueError, r"top_p must be in \[0, 1\]"),
        ({"temperature": 0.0, "do_sample": True}, ValueError, "temperature must be above 0 when sampling"),
        ({"num_beams": 2, "penalty_alpha": 0.6, "top_k": 4}, ValueError, "penalty_alpha must be absent with"),
        ({"use_mtp": True}, tg.Unsupported, "use_mtp"),
        ({"prompt_lookup_num_tokens": 3, "rng": "torch", "do_sample": True}, ValueError, "rng must be"),
    ],
)
def test_keywords_that_cannot_be_meant_are_refused(
    config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model(writes("ab")).generate("a", **config)


def test_order_moves_the_stages() -> None:
    """Temperature 2 before top_p 0.9 keeps more than after it: worked example 1 of the strategies."""
    row = np.full(SIZE, -np.inf, dtype=np.float32)
    row[:3] = [3.0, 2.0, 1.0]
    m = model(lambda ids: row)
    given: dict[str, Any] = {"do_sample": True, "top_k": 0, "temperature": 2.0, "top_p": 0.9}
    before = m.next_tokens("a", n=3, **given)
    after = m.next_tokens("a", n=3, order=["top_p", "temperature"], **given)
    assert [r.p_final for r in before.rows] == pytest.approx([0.5065, 0.3072, 0.1863], abs=1e-4)
    assert [r.p_final for r in after.rows] == pytest.approx([0.6225, 0.3775, 0.0], abs=1e-4)
