"""The one-file hand-out as a reader has it: opened from disk, by key and by mouse, and no other request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FULL
from tests.page.browser import PHONE, WIDE, opened
from tests.page.test_recorded import written
from tests.page.toys import bytes_model, repeating
from tokenglass.session import Session
from tokenglass.views.figures import percent

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
_AT = "() => { const { state } = document.querySelector('tg-app').store; return [state.node, state.text]; }"
_NODE = "(node) => document.querySelector('tg-app').store.state.node === node"
_GIVEN = "([name, value]) => document.querySelector('tg-app').store.state.config.given[name] === value"
_SERIOUS = """async () => (await axe.run({ resultTypes: ["violations"] })).violations
  .filter(({ impact }) => impact === "serious" || impact === "critical")
  .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 120)}`)"""


Handed = tuple[Session, Path]
MODELS = ["smollm2", "table"] if FULL else ["smollm2"]


@pytest.fixture(scope="module", params=MODELS)
def handed(request: Any, tmp_path_factory: Any) -> Handed:
    name = request.param
    model = bytes_model() if name == "table" else repeating(request.getfixturevalue("smollm2"))
    session = written(model, "Once upon a time")
    session.name("here <b>")
    path = tmp_path_factory.mktemp("handed") / "session.html"
    session.hand_out(path)
    return session, path


@pytest.fixture
def page(browser: Any, handed: Handed) -> Iterator[Any]:
    with opened(browser, handed[1].as_uri(), handed[1].as_uri()) as found:
        found.locator("tg-explore table.next tr.rest").wait_for()
        yield found
        assert found.reports.requests == 1


def texts(page: Any) -> list[str]:
    """What the likeliest row says: probability by the model, and after the chain."""
    found: list[str] = (
        page.locator("tg-explore table.next tbody tr")
        .first.locator("td.number span[title]")
        .all_text_contents()
    )
    return found


def test_it_opens_where_the_session_stood_and_goes_where_it_went(page: Any, handed: Handed) -> None:
    session, _ = handed
    assert page.evaluate(_AT) == [session.node.id, session.text]
    first = session.next.rows[0]
    assert texts(page) == [percent(first.p), percent(first.p_final)]
    parent = session.node.parent
    assert parent is not None
    page.keyboard.press("u")
    page.wait_for_function(_NODE, arg=parent.id)
    page.locator("tg-explore [data-key=redo]").click()
    page.wait_for_function(_NODE, arg=session.node.id)
    other = next(child for child in parent.children.values() if child is not session.node)
    page.locator(f"tg-tree [data-node='{other.id}']").click()
    page.keyboard.press("v")
    page.locator(f"tg-tree [data-node='{other.id}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(_NODE, arg=other.id)
    assert page.locator("tg-tree .name", has_text="here <b>").count() == 1


def test_a_token_that_was_not_written_is_refused_in_one_sentence(page: Any, handed: Handed) -> None:
    session, _ = handed
    page.evaluate("() => document.querySelector('tg-app').store.act('goto', { node: 0 })")
    page.wait_for_function(_NODE, arg=0)
    written_ids = {child.step.id for child in session.tree.root.children.values() if child.step}
    rows = page.locator("tg-explore table.next tbody tr[data-token]")
    ids = [int(str(row.get_attribute("data-token"))) for row in rows.all()]
    stranger = next(index for index, token_id in enumerate(ids) if token_id not in written_ids)
    rows.nth(stranger).locator("button").click()
    page.locator("tg-explore .error", has_text="the recording did not go there").wait_for()
    assert page.evaluate(_AT)[0] == 0
    if marked := [index for index, token_id in enumerate(ids) if token_id in written_ids]:
        assert "▸" in str(rows.nth(marked[0]).text_content())


def test_controls_act_on_stored_numbers_and_say_what_they_cannot_know(page: Any, handed: Handed) -> None:
    session, _ = handed
    given: dict[str, Any] = {"do_sample": True, "seed": 5, "top_k": 20}
    for name, value in (("temperature", 0.5), ("top_k", 0), ("temperature", 1.8)):
        field = page.get_by_label(f"{name}, exact value")
        field.fill(str(value))
        field.press("Tab")
        page.wait_for_function(_GIVEN, arg=[name, value])
        given[name] = value or None
        want = session.model.next_tokens(list(session.ids), **given).rows[0].p_final
        shown = texts(page)[1]
        if given["top_k"]:
            assert shown == percent(want)
        else:  # the tail is known as a histogram: the text is an interval that holds the number
            low, high = (float(part.strip(" %about")) / 100 for part in (shown.split("–") * 2)[:2])
            assert low * 0.995 <= want <= high * 1.005
    assert page.locator("tg-explore i[data-of=ghost]").count() > 0
    page.locator("tg-chain button", has_text="all as at first").click()


def test_looking_up_the_curve_guessing_and_marks_work(page: Any, handed: Handed) -> None:
    page.keyboard.press("c")
    page.locator("tg-explore .curve svg polyline").first.wait_for()
    page.keyboard.press("s")
    page.locator("tg-text .under").first.wait_for()
    page.keyboard.press("g")
    page.get_by_label("your guess").wait_for()
    assert not page.locator("tg-explore table.next").is_visible()
    page.get_by_role("button", name="stop guessing").click()
    page.locator("tg-explore table.next").wait_for()
    page.keyboard.press("/")
    page.locator(".entry input[type=text]").fill("∰")
    page.locator("#entry-answer", has_text="likeliest, which are all that this file keeps").wait_for()
    assert page.locator("nav a").all_text_contents() == ["Explore"]


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")])
def test_axe_finds_nothing_serious(browser: Any, handed: Handed, size: tuple[int, int], scheme: str) -> None:
    url = handed[1].as_uri()
    with opened(browser, url, url, size, color_scheme=scheme, bypass_csp=True) as page:
        page.locator("tg-explore table.next tr.rest").wait_for()
        page.evaluate(AXE.read_text(encoding="utf-8"))
        assert page.evaluate(_SERIOUS) == []
