"""Hostile text as prompt, token, model, place and file name: shown as it is, and nothing happens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.browser import opened
from tests.page.payloads import ALL, BYTES, HALVES
from tests.page.reading import Reader
from tests.page.serving import Site, serving
from tests.page.toys import chosen_model
from tokenglass.model import Model

CONTENTS = [*(text.encode() for text in ALL), *BYTES]
NAME = " ".join(ALL)
FIRST = 256  # the id of the first of them
# What the page itself is made of; an element or an attribute beyond these came out of a text.
_FOREIGN = (
    "script:not([src='app.js'], [type='application/json'], [type=module]), img, iframe, object, embed, base, "
    "form[action], marquee, math, video, template, meta[http-equiv=refresh], animate"
)
_STRANGE = """(foreign) => [...document.querySelectorAll("*")].filter((each) => each.matches(foreign)
  || [...each.attributes].some(({ name, value }) => name.startsWith("on") || /^javascript:/i.test(value)))
  .map((each) => each.outerHTML.slice(0, 120))"""
_TYPED = """(area, texts) => texts.map((text) => {
  area.value = text;
  area.dispatchEvent(new Event("input"));
  return [area.value, document.querySelector("tg-editor .mirror").textContent];
})"""


@pytest.fixture(scope="module")
def model() -> Model:
    return chosen_model(CONTENTS, NAME)


@pytest.fixture(scope="module")
def site(model: Model) -> Iterator[Site]:
    pytest.importorskip("fastapi", reason="the page needs tokenglass[web]")
    with serving(model) as found:
        yield found


def harmless(page: Any) -> None:
    """Nothing ran, and no element was made of a text; the reports are checked when the page closes."""
    assert page.evaluate("() => window.pwned") is None
    assert page.evaluate(_STRANGE, _FOREIGN) == []


def holds(locator: Any, text: str) -> bool:
    """Whether each run of plain signs in a text stands there, as itself."""
    drawn = str(locator.text_content())
    return all(run in drawn for run in re.findall(r"[!-~]+", text))


def test_tokens_and_the_models_name_are_text(browser: Any, site: Site, model: Model) -> None:
    """All of them in one table, then written one after another and looked at from every side."""
    with opened(browser, site.url, site.home) as page:
        reader = Reader(page, site)
        assert holds(page.locator("header .model"), NAME)
        for _ in range(4):  # 10, 20 ... 160 rows
            reader.button("more rows").click()
            reader.until()
        page.locator("tg-explore table.next tbody tr").nth(len(CONTENTS)).wait_for()
        there = 0
        for row in reader.rows.all():
            token_id = row.get_attribute("data-token")
            if token_id is not None and FIRST <= int(token_id) < FIRST + len(ALL):
                assert holds(row, ALL[int(token_id) - FIRST])
                there += 1
        assert there == len(ALL)
        session = reader.state["session"]
        for token_id in range(FIRST, FIRST + len(CONTENTS)):
            site.api("step", session=session, token=token_id, n=1)
        page.evaluate("() => document.querySelector('tg-app').store.act('state')")
        reader.until(n=len("Once upon a time, generative models") + len(CONTENTS))
        assert all(holds(page.locator("tg-text .strip"), text) for text in ALL)
        page.locator("tg-text .tok").last.hover()
        reader.press("s")
        harmless(page)
        for key in ("c", "v", "k", "?"):
            page.keyboard.press(key)
        harmless(page)


@pytest.mark.parametrize("view", ["strategies", "read", "compare", "tokens", "lessons"])
def test_the_other_views_take_the_text_with_them(browser: Any, site: Site, view: str) -> None:
    with opened(browser, site.url, site.home, strict=False) as page:  # a view may say that it cannot
        Reader(page, site)
        page.evaluate(f"() => {{ location.hash = '#{view}'; }}")
        area = page.locator(f"tg-{view} textarea").first
        if view != "lessons":
            area.wait_for()
            area.fill("\n".join(ALL))
            area.press("Control+Enter")
            page.wait_for_timeout(500)
        harmless(page)


def test_prompts_are_text(browser: Any, site: Site) -> None:
    with opened(browser, site.url, site.home, strict=False) as page:  # a lone half is refused with a status
        reader = Reader(page, site)
        reader.press("e")
        area = page.get_by_label("the prompt")
        for typed, drawn in area.evaluate(_TYPED, ALL):
            assert drawn == typed + "\u200b"
        area.evaluate("(e) => { e.value = '<b>\\ud800'; e.dispatchEvent(new Event('input')); }")
        page.locator("tg-editor .error").wait_for()
        area.fill("\n".join(ALL))
        area.press("Enter")
        reader.until(text=area.input_value())
        signs = "".join(re.findall(r"[!-~]+", "".join(ALL)))
        drawn = str(page.locator("tg-text .strip").text_content())
        assert "".join(re.findall(r"[!-~]+", drawn)).startswith(signs[:200])
        harmless(page)


def test_names_and_files_are_text(browser: Any, site: Site, tmp_path: Path) -> None:
    with opened(browser, site.url, site.home, strict=False) as page:  # a file that is no trace is refused
        reader = Reader(page, site)
        session = reader.state["session"]
        site.api("step", session=session, n=1)
        for text in ALL[:20]:
            site.api("step", session=session, n=1)
            site.api("name", session=session, text=text[:250], n=1)
            site.api("note", session=session, text=text, n=1)
        page.evaluate("() => document.querySelector('tg-app').store.act('state')")
        page.wait_for_function("() => document.querySelectorAll('tg-tree .name').length >= 5")
        assert holds(page.locator("tg-tree"), ALL[0])
        harmless(page)
        for text in ALL:
            name = text.replace("/", "_").replace("\0", "_")[:60]
            page.get_by_label("a saved session").set_input_files(
                {"name": name, "mimeType": "text/plain", "buffer": text.encode()}
            )
        page.locator("#files .error").wait_for(state="attached")
        page.wait_for_function("() => document.querySelector('#files .error').textContent !== ''")
        harmless(page)


def test_a_handed_out_file_asks_for_nothing(browser: Any, model: Model, tmp_path: Path) -> None:
    """Tokens, prompt, model name, names, notes and the file's own name; one request: the file itself."""
    session = model.session("\n".join(ALL[::6]))
    session.name(ALL[0])
    for index in range(len(CONTENTS)):
        session.step(token=FIRST + index)
        session.name([*ALL, *HALVES][index % (len(ALL) + len(HALVES))] + f" {index}")
        session.note([*HALVES, *ALL][index % (len(ALL) + len(HALVES))])
    path = tmp_path / "a'b\"<img src=x onerror=window.pwned=1>&#x3c; \u202e.html"
    session.hand_out(path)
    with opened(browser, path.as_uri(), path.as_uri()) as page:
        page.locator("tg-explore table.next tr.rest").wait_for()
        assert all(holds(page.locator("tg-text .strip"), text) for text in ALL)
        for key in ("s", "c", "u", "u", "Enter", "v"):
            page.keyboard.press(key)
        page.wait_for_function("() => document.querySelector('tg-app').store.busy === false")
        harmless(page)
        assert page.reports.requests == 1
    with opened(browser, path.as_uri(), path.as_uri(), java_script_enabled=False) as page:
        assert holds(page.locator("body"), ALL[0])
        assert page.reports.requests == 1


def test_answers_hold_no_sign_that_could_be_taken_for_markup(site: Site) -> None:
    """JSON is JSON to everybody: a reader that guesses at types finds no page in it."""
    found = json.dumps(site.api("open", prompt="\n".join(ALL), n=100))
    assert json.loads(found)["text"] == "\n".join(ALL)
