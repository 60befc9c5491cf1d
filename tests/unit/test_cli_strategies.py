"""`tokenglass strategies` and the library function behind it."""

from __future__ import annotations

import json
from itertools import takewhile
from math import log
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.unit import cli_world
from tokenglass.cli import run
from tokenglass.showcase import STRATEGIES, parted, strategies
from tokenglass.types import Showcase, Strategy
from tokenglass.views.showcase import MARK, why

PROMPT = "Once upon a time, generative models"
COMMON = {"seed": 3, "max_new_tokens": 6}
NOT_ON_A_TABLE = {"contrastive", "dola"}  # they need hidden states


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tg, "load", cli_world.load, raising=False)


@pytest.fixture(scope="module")
def shown() -> Showcase:
    return strategies(cli_world.load(), PROMPT, **COMMON)


def test_each_row_is_the_generate_call_it_says(shown: Showcase) -> None:
    model = cli_world.load()
    assert [row.name for row in shown.rows] == list(STRATEGIES)
    for row in shown.rows:
        if row.name in NOT_ON_A_TABLE:
            assert row.generation is None and "hidden states" in row.reason
            continue
        assert row.generation is not None and row.reason == "" and row.seconds is not None
        assert row.generation.ids == model.generate(PROMPT, **COMMON, **row.keywords).ids


def test_parting_is_the_first_different_id(shown: Showcase) -> None:
    greedy = shown["greedy"].generation
    assert greedy is not None and shown["greedy"].parting is None
    parted = 0
    for row in shown.rows:
        if row.generation is None:
            continue
        same = len(
            list(
                takewhile(lambda pair: pair[0] == pair[1], zip(row.generation.ids, greedy.ids, strict=False))
            )
        )
        if row.generation.ids == greedy.ids:
            assert row.parting is None
            continue
        parted += 1
        assert row.parting is not None and row.parting.index == same
        own = row.parting.step
        assert own is None or own.id == row.generation.ids[same]
    assert parted >= 3


def test_the_sentence_is_made_of_the_steps_own_numbers(shown: Showcase) -> None:
    """The world's rows give the greedy token a probability that percent() shows with three digits."""
    row = next(r for r in shown.rows if r.parting is not None and r.parting.step and r.parting.step.draw)
    assert row.parting is not None and row.parting.step is not None and row.parting.greedy is not None
    sentence = why(row, shown["greedy"])
    assert f"parts at token {row.parting.index + 1}: the draw {row.parting.step.draw:.4f} gave" in sentence
    assert f"greedy took {row.parting.greedy.token.text} (" in sentence
    assert why(shown["prompt_lookup"], shown["greedy"]).startswith("all 4 tokens are greedy's")


def test_views(shown: Showcase) -> None:
    text, html, document = str(shown), shown._repr_html_(), shown.to_dict()
    json.dumps(document, allow_nan=False)
    for row, as_dict in zip(shown.rows, document["strategies"], strict=True):
        assert row.name in text and row.name in html
        assert as_dict["why"] == why(row, shown["greedy"])
        assert (as_dict["generation"] is None) == (row.generation is None)
        if row.parting is not None:
            assert as_dict["parting"]["index"] == row.parting.index
    assert text.count(MARK) == 1 + sum(row.parting is not None for row in shown.rows)
    assert max(map(len, text.split("\n"))) <= 80 and "could not run: hidden states" in text


def test_names_and_shared_keywords() -> None:
    model = cli_world.load()
    few = strategies(model, PROMPT, ["vllm", "top_k"], **COMMON)
    assert [row.name for row in few.rows] == ["greedy", "top_k", "vllm"]
    with pytest.raises(ValueError, match="there is no strategy 'beams'; did you mean beam_search"):
        strategies(model, PROMPT, ["beams"])
    for theirs in (
        {"top_k": 3},
        {"do_sample": True},
        {"num_return_sequences": 2},
        {"assistant_model": model},
    ):
        with pytest.raises(ValueError, match="what the strategies differ in"):
            strategies(model, PROMPT, **theirs)
    with pytest.raises(ValueError, match="max_new_tokens must be"):
        strategies(model, PROMPT, max_new_tokens=0)
    afresh = strategies(model, PROMPT, ["top_k"])
    assert afresh.config["max_new_tokens"] == 20 and isinstance(afresh.config["seed"], int)
    again = strategies(model, PROMPT, ["top_k"], seed=afresh.config["seed"])
    assert again.rows[1].generation is not None and afresh.rows[1].generation is not None
    assert again.rows[1].generation.ids == afresh.rows[1].generation.ids


def test_a_keyword_that_a_system_lacks_is_that_rows_reason() -> None:
    few = strategies(cli_world.load(), PROMPT, ["llama.cpp", "top_k"], min_length=1, **COMMON)
    assert few["top_k"].generation is not None
    assert few["llama.cpp"].generation is None and "not part of preset 'llama.cpp'" in few["llama.cpp"].reason


def test_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["strategies", PROMPT, "--seed", "3", "--max-new-tokens", "6", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == "" and captured.out.count("\n") == 1
    expected = strategies(cli_world.load(), PROMPT, **COMMON)
    for row, as_dict in zip(expected.rows, document["strategies"], strict=True):
        assert as_dict["name"] == row.name
        ids = None if row.generation is None else list(row.generation.ids)
        assert (as_dict["generation"] or {"ids": None})["ids"] == ids


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_shows_what_is_done(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Interrupted in the third strategy: the first two are there."""
    from tokenglass.model import Model

    real, calls = Model.generate, []

    def generate(self: Model, *args: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Model, "generate", generate)
    assert run(["strategies", PROMPT, "--seed", "3", *(["--json"] if as_json else [])]) == 130
    captured = capsys.readouterr()
    if as_json:
        assert [row["name"] for row in json.loads(captured.out)["strategies"]] == ["greedy", "temperature"]
    else:
        assert "\ntemperature" in captured.out and "\ntop_k" not in captured.out
    assert captured.err == f"stopped after 2 of {len(STRATEGIES)} strategies\n"


def _rows(ids: tuple[int, ...]) -> np.ndarray:
    """First x (0.5) then five tokens alike (0.2 each), or y (0.4) then z (0.9)."""
    after = {ord("x"): {k: 0.2 for k in b"abcde"}, ord("y"): {ord("z"): 0.9, ord("a"): 0.1}}
    row = np.full(len(cli_world.ENTRIES), -40.0, dtype=np.float32)
    for token, p in after.get(ids[-1], {ord("x"): 0.5, ord("y"): 0.4, ord("w"): 0.1}).items():
        row[token] = log(p)
    return row


def test_numbers_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy: x a, (ln 0.5 + ln 0.2) / 2 = -1.15 a token. Beams: y z, (ln 0.4 + ln 0.9) / 2 = -0.511."""
    monkeypatch.setitem(cli_world.RULES, "smollm2", _rows)
    model = cli_world.load()
    few = strategies(model, "Q", ["beam_search", "no_repeat_ngram"], max_new_tokens=2, seed=0)
    assert why(few["beam_search"], few["greedy"]) == (
        "parts at token 1: kept y (40.0 %), greedy took x (50.0 %); the whole text has a mean "
        "log-probability of -0.511 a token, greedy's -1.15"
    )
    # the prompt holds "xa", so that after x, where all of a to e have 0.2, a may not come again: 0.25 each
    few = strategies(model, "xaQ", ["no_repeat_ngram"], max_new_tokens=2, seed=0)
    assert why(few["no_repeat_ngram"], few["greedy"]) == (
        "parts at token 2: took b (20.0 % by the model, 25.0 % after no_repeat_ngram_size), "
        "greedy took a (20.0 %), which no_repeat_ngram_size had removed (a near tie: 0 in logits)"
    )


def test_a_text_that_ended_earlier_parts_at_its_end() -> None:
    model = cli_world.load()
    short, long = (model.generate(PROMPT, max_new_tokens=n) for n in (2, 4))
    parting = parted(short, long)
    assert parting is not None and (parting.index, parting.step) == (2, None)
    assert parting.greedy is not None and parting.greedy.id == long.ids[2]
    row = Strategy("short", {}, short, 0.1, parting=parting)
    sentence = why(row, Strategy("greedy", {}, long, 0.1))
    assert sentence == "parts at token 3: the text had ended there (length), greedy went on"


def test_on_the_real_model(smollm2: Any) -> None:
    """All strategies run; prompt lookup writes greedy's text; contrastive search and DoLa give numbers."""
    found = strategies(smollm2, PROMPT, max_new_tokens=5, seed=1)
    assert all(row.generation is not None for row in found.rows)
    lookup, greedy = found["prompt_lookup"].generation, found["greedy"].generation
    assert lookup is not None and greedy is not None and lookup.ids == greedy.ids
    assert "scored" in why(found["contrastive"], found["greedy"])
    assert "stood out against layer" in why(found["dola"], found["greedy"])
