"""A text written by hand: nothing is lost, and every number is the model's own."""

from __future__ import annotations

import random
from typing import Any

import pytest

import tokenglass as tg
from tests.support import EOS, SIZE, model, writes


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
