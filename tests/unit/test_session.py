"""A text written by hand: nothing is lost, and every number is the model's own."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.support import EOS, SIZE, model, writes
from tokenglass.session import Session


def session(text: str = "hello world", prompt: str = "hel", **config: Any) -> tg.Session:
    return model(writes(text)).session(prompt, **config)


def test_step_undo_redo() -> None:
    s = session()
    assert [step.text for step in s.step(3)] == ["l", "o", " "]
    assert s.text == "hello "
    undone = s.undo()
    assert undone is not None and undone.text == " "
    assert s.text == "hello"
    assert s.undo(5).text == "l"  # type: ignore[union-attr]
    assert s.undo() is None
    assert s.ids == s.prompt_ids
    s.redo(2)
    assert s.text == "hello"
    assert s.redo().text == " "  # type: ignore[union-attr]
    assert s.redo() is None


def test_a_single_step_is_a_step_and_equals_generate() -> None:
    s = session()
    step = s.step()
    want = model(writes("hello world")).generate("hel", max_new_tokens=1).steps[0]
    assert isinstance(step, tg.Step)
    assert (step.id, step.logprob, step.rank, step.position) == (
        want.id,
        want.logprob,
        want.rank,
        want.position,
    )


def test_forcing_by_id_and_by_text() -> None:
    s = session()
    step = s.step(token=ord("z"))
    assert isinstance(step, tg.Step)
    assert (step.origin, step.rank, s.text) == ("forced", ord("z") + 1, "helz")
    forced = s.step(token="p me")
    assert [f.text for f in forced] == list("p me")
    assert s.text == "helzp me"


def test_forcing_half_a_character_shows_nothing_until_it_is_whole() -> None:
    s = session()
    assert s.step(token=0xC3).text == ""
    assert s.text == "hel"
    assert s.step(token=0xA9).text == "é"
    assert s.text == "helé"
    s.undo()
    assert s.text == "hel"
    assert s.step(token=0xA8).text == "è"


def test_another_token_beside_an_undone_one_keeps_both() -> None:
    s = session()
    s.step(2)
    s.undo(2)
    s.step(token="x")
    assert s.text == "helx"
    s.undo()
    s.step()
    assert s.text == "hell"
    s.redo()  # the first branch is still below
    assert s.text == "hello"


def test_a_text_that_ended_says_so_and_can_be_forced_on() -> None:
    s = session()
    s.step(100)
    assert s.finish_reason == "eos"
    with pytest.raises(ValueError, match=r"the text has ended \(eos\); undo, or force a token"):
        s.step()
    s.step(token="!")
    assert s.text == "hello world!"


def test_a_session_has_no_length_limit_of_its_own() -> None:
    s = model(writes("a" + "b" * 60)).session("a")
    assert len(s.step(50)) == 50
    assert len(model(writes("a" + "b" * 60)).session("a", max_new_tokens=3).step(50)) == 3


def test_next_is_the_table_after_the_last_token() -> None:
    s = session()
    assert s.next.rows[0].text == "l"
    s.step()
    assert s.next.rows[0].text == "o"
    s.undo()
    assert s.next.rows[0].text == "l"
    assert s.next.prompt_ids == s.ids


@pytest.mark.parametrize("bad", [-1, SIZE, True, "", 1.5, b" a", []])
def test_bad_tokens_change_nothing(bad: Any) -> None:
    s = session()
    with pytest.raises(ValueError, match="token"):
        s.step(token=bad)
    assert s.text == "hel"


def test_random_walks_equal_a_list_of_ids() -> None:
    """The session against the simplest model of itself: a list of ids and a list of undone ones."""
    for seed in range(30):
        rng = random.Random(seed)
        s, ids, undone = session("hello world" * 4), list(b"hel"), []
        for _ in range(60):
            action = rng.choice(["step", "force", "undo", "redo"])
            if action == "undo" and len(ids) > 3:
                undone.append(ids.pop())
                s.undo()
            elif action == "redo" and undone:
                ids.append(undone.pop())
                s.redo()
            elif action in ("step", "force") and s.finish_reason is None:
                token = rng.randrange(256) if action == "force" else None
                step = s.step(token=token) if token is not None else s.step()
                assert isinstance(step, tg.Step)
                ids.append(step.id)
                undone = undone[:-1] if undone and undone[-1] == step.id else []
                if s.redo():  # the same token again leads to the branch that was there
                    s.undo()
            assert list(s.ids) == ids
            assert list(s.ids[len(s.prompt_ids) :]) == [step.id for step in s.steps]


def test_eos_ids_come_from_the_model() -> None:
    assert session().model.info.eos_ids == (EOS,)


ROWS = np.random.default_rng(1).normal(size=(SIZE, SIZE)).astype(np.float32) * 2
CHANGES: dict[str, dict[str, Any]] = {
    "a longer chain": {"top_p": 0.5, "temperature": 0.7},
    "no chain": {"top_k": 0},
    "mirostat": {"mirostat": 2},
    "adaptive-p": {"adaptive_target": 0.3},
    "greedy": {"do_sample": False},
    "another seed": {"seed": 99},
}


def drawing(**config: Any) -> tg.Session:
    m = model(lambda ids: ROWS[ids[-1]], eos_ids=())
    return m.session("ab", **{"do_sample": True, "seed": 3, **config})


def fresh(s: tg.Session, config: dict[str, Any]) -> tg.Step:
    """What a session that never knew another configuration writes after the same ids."""
    begun = s.model.session("ab", **{"do_sample": True, "seed": 3, **config})
    for token_id in s.ids[2:]:
        begun.step(token=token_id)
    return begun.step()  # type: ignore[return-value]


def same_record(got: Any, want: Any) -> None:
    assert (got.id, got.draw, got.cdf, got.p_final) == (want.id, want.draw, want.cdf, want.p_final)
    assert got.stages == want.stages
    np.testing.assert_array_equal(got.trail, want.trail)


def test_a_session_is_made_of_a_model_ids_and_keywords() -> None:
    s = Session(model(writes("hello")), tuple(b"he"), {"max_new_tokens": 2})
    assert s.config["max_new_tokens"] == 2
    assert [step.text for step in s.step(9)] == ["l", "l"]  # type: ignore[union-attr]
    assert s.finish_reason == "length"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_beams": 3}, "beam search cannot; use model.search"),
        ({"prompt_lookup_num_tokens": 3}, "prompt lookup cannot; use model.search"),
        ({"do_sample": True, "num_return_sequences": 2}, "a session writes one text"),
        ({"max_time": 1.0}, "a session has no clock for max_time"),
    ],
)
def test_what_a_session_cannot_do_is_refused_and_changes_nothing(
    config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        session(**config)
    s = session()
    with pytest.raises(ValueError, match=message):
        s.set(**config)
    assert s.step().text == "l"  # type: ignore[union-attr]
    assert s.config["num_beams"] == 1


@pytest.mark.parametrize("config", CHANGES.values(), ids=CHANGES)
def test_set_then_step(config: dict[str, Any]) -> None:
    s = drawing()
    s.step(3)
    s.set(**config)
    want = fresh(s, config)
    if (
        "mirostat" not in config and "adaptive_target" not in config
    ):  # those began anew here, not at the prompt
        same_record(s.step(), want)
    assert s.step().position == len(s.ids) - 1  # type: ignore[union-attr]


@pytest.mark.parametrize("config", CHANGES.values(), ids=CHANGES)
def test_set_then_undo_and_redo(config: dict[str, Any]) -> None:
    """Places made under another configuration can be left and come back to."""
    s = drawing()
    ids = [step.id for step in s.step(4)]  # type: ignore[union-attr]
    s.undo()
    s.set(**config)
    s.undo()
    s.redo(2)
    assert list(s.ids[2:]) == ids
    s.undo(3)
    s.step(2)
    s.undo(3)
    assert s.ids == s.prompt_ids
    same_record(s.step(), s.model.session("ab", **{"do_sample": True, "seed": 3, **config}).step())


@pytest.mark.parametrize("config", CHANGES.values(), ids=CHANGES)
def test_a_step_after_set_is_recorded_anew(config: dict[str, Any]) -> None:
    """Also where the same token comes out of the same random number: the chain was another."""
    s = drawing()
    s.step()
    s.undo()
    s.set(**config)
    same_record(s.step(), fresh(drawing(), config))
    s.undo()
    s.set(**{name: {"top_k": 50, "do_sample": True, "seed": 3}.get(name) for name in config})
    same_record(s.step(), drawing().step())


def test_a_fork_does_not_rewrite_the_history_it_comes_from() -> None:
    s = drawing()
    s.step(3)
    before = s.steps
    other = s.fork()
    other.undo(3)
    for step in before:  # the same tokens, but by hand, and under another chain
        other.set(temperature=0.6)
        other.step(token=step.id)
    assert [step.origin for step in other.steps] == ["forced"] * 3
    assert all(mine is kept for mine, kept in zip(s.steps, before, strict=True))
    assert [len(step.stages) for step in other.steps] == [3] * 3  # the model, temperature, top-k
    s.undo(2)
    s.redo(2)
    assert [step.origin for step in s.steps] == ["sampled"] * 3


def test_the_same_token_by_hand_is_a_place_of_its_own() -> None:
    """Nothing is rewritten: the first place keeps its record and its branch, and can be visited."""
    s = session()
    s.step(3)
    first = s.tree.node(1)
    s.undo(3)
    s.step(token="l")
    assert s.steps[0].origin == "forced"
    assert s.node is not first
    assert s.redo() is None
    s.goto(first)
    assert s.steps[0].origin == "greedy"
    assert s.redo(2).text == " "  # type: ignore[union-attr]
    assert s.text == "hello "


def test_a_fork_goes_its_own_way() -> None:
    s = session()
    s.step(2)
    other = s.fork()
    other.step(token="p")
    other.set(max_new_tokens=9)
    assert (s.text, other.text) == ("hello", "hellop")
    assert s.redo() is None
    assert s.step().text == " "  # type: ignore[union-attr]
    other.undo(3)
    assert (s.text, other.text) == ("hello ", "hel")
    assert "max_new_tokens" not in s.writer.given


def test_a_chain_that_remembers_goes_back_with_undo() -> None:
    """Llama.cpp's XTC and dist take words of a generator each step: undo gives them back."""
    m = model(lambda ids: ROWS[ids[-1]], eos_ids=())
    given: dict[str, Any] = {"preset": "llama.cpp", "rng": "llama.cpp", "seed": 5, "xtc_probability": 0.5}
    want = m.generate("ab", max_new_tokens=12, **given).ids
    s = m.session("ab", **given)
    for n in (5, 3, 8):
        s.step(n)
        s.undo(n - 1)
    assert s.ids[2:] == want[:3]
    s.step(9)
    assert s.ids[2:] == want


def test_the_table_of_a_session_knows_the_chain() -> None:
    s = drawing(top_k=2)
    assert [row.removed_by for row in s.next.rows[:3]] == [None, None, "top_k"]
    s.set(top_k=1)
    assert [row.removed_by for row in s.next.rows[:3]] == [None, "top_k", "top_k"]
