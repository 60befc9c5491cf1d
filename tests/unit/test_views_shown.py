"""What an object shows when it is the last value of a cell, and in lists, logs and debuggers."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter

from tests.page.payloads import ALL as PAYLOADS
from tests.support import model, writes
from tests.unit.search_samples import SEARCHES
from tests.unit.view_samples import INFO, RESULTS
from tokenglass.errors import TokenglassError
from tokenglass.types import Shown
from tokenglass.types.searching import SearchRecords

EVERY_RESULT = pytest.mark.parametrize("result", (RESULTS | SEARCHES).values(), ids=RESULTS | SEARCHES)
LONGEST = 200


def displayed(thing: object) -> dict[str, str]:
    shown, _ = DisplayFormatter().format(thing)
    return dict(shown)


@EVERY_RESULT
def test_its_repr_is_short_and_safe(result: Shown) -> None:
    """In the middle of a list or a log: one line that names what it is, and nothing that acts on a screen."""
    said = repr(result)
    assert said.startswith(f"<{type(result).__name__}") and said.endswith(">")
    assert len(said) <= LONGEST and said.isprintable() and " object at 0x" not in said


def test_reprs_say_what_one_looks_for() -> None:
    m = model(writes("once upon a time"))
    table = m.next_tokens("on", do_sample=True, top_k=2)
    said = {
        repr(table): "c 2.79 %, 257 candidates after 2 tokens",
        repr(table.lookup("q")): "q, id 113, rank 114, 0.377 %, removed by top_k",
        repr(m.tokenize("on")): "2 tokens, 'on'",
        repr(m.generate("on", max_new_tokens=3)): "3 tokens, length, 'ce '",
        repr(m.chain(do_sample=True, top_k=2, temperature=0.5)): "temperature → top_k → sample",
        repr(m.session("on").set(top_k=3, do_sample=True)): "sample, with do_sample, top_k",
    }
    assert {kind: kind.partition(": ")[2].removesuffix(">") for kind in said} == said


@EVERY_RESULT
def test_in_a_list_it_is_its_repr(result: Shown) -> None:
    assert displayed([result])["text/plain"] == f"[{result!r}]"
    assert displayed(result)["text/plain"] == str(result)


@pytest.mark.parametrize("include", ["text/html", ["text/html"], {"text/html"}])
def test_kinds_of_output_are_asked_for_by_name(include: object) -> None:
    result = RESULTS["plain"]
    assert set(result._repr_mimebundle_(include=include)) == {"text/html"}
    assert set(result._repr_mimebundle_(exclude=include)) == {"text/plain"}
    assert set(result._repr_mimebundle_()) == {"text/html", "text/plain"}
    assert result._repr_mimebundle_(include="text/htm") == {}


def test_a_search_shows_how_far_it_went() -> None:
    search = model(writes("once upon a time")).search("on", num_beams=2, max_new_tokens=3)
    assert "not begun" in str(search) and repr(search) == "<Search at step 0>"
    next(search)
    assert "the search: 1 step" in str(search) and "<table" in displayed(search)["text/html"]
    records = list(search)
    assert repr(search) == f"<Search at step {len(records) + 1}, finished>"
    assert list(search.state[1:]) == records and search.to_dict()["search"][0]["kind"] == "beam"


def test_the_records_of_a_generation_show_themselves() -> None:
    out = model(writes("once upon a time")).generate("on", num_beams=2, max_new_tokens=3)
    assert isinstance(out.search, SearchRecords) and out.search == tuple(out.search)
    assert (len(out.search), out.search[0].step, len(out.search[1:])) == (3, 0, 2)
    assert "the search: 3 steps" in displayed(out.search)["text/plain"]
    again = pickle.loads(pickle.dumps(SEARCHES["beam_film"].search))
    assert again == SEARCHES["beam_film"].search and str(again) == str(SEARCHES["beam_film"].search)
    assert replace(out, warnings=("w",)).search == out.search


def test_settings_show_what_was_chosen_and_fold_the_defaults() -> None:
    shown = displayed(model(writes("once")).session("on").set(do_sample=True, top_k=7))
    chosen, _, folded = shown["text/html"].partition("<details>")
    assert "top_k" in chosen and "temperature" not in chosen and "temperature" in folded
    assert len(shown["text/plain"].splitlines()) < 12


def test_a_model_shows_what_it_is() -> None:
    m = model(writes("once"))
    assert displayed(m) == displayed(m.info)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_name_cannot_act_through_a_repr(payload: str) -> None:
    m = model(writes("once"))
    m.engine._info = replace(INFO, name=payload, family=payload)  # type: ignore[attr-defined]
    assert repr(m).isprintable() and repr(m.session("on")).isprintable() and repr(m.info).isprintable()


def test_a_session_whose_model_is_gone_still_shows_itself() -> None:
    """The text and the tree are there; what comes next is unknown, with the reason."""
    known = writes("once upon a time")

    def rule(ids: tuple[int, ...]) -> Any:
        if len(ids) > 3:
            raise TokenglassError("the server does not answer")
        return known(ids)

    session = model(rule).session("on")
    session.step(2)
    shown = displayed(session)
    assert "what comes next is unknown: the server does not answer" in shown["text/plain"]
    assert "<div" in shown["text/html"]
    assert session.state.next is None and session.to_dict()["next"] is None
