"""The live view in a real JupyterLab: it appends, undoes and branches, and shares all of it with Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FULL
from tests.notebook.lab import Book, jupyterlab, write_notebook
from tests.page.browser import ARGUMENTS, CHROMIUM
from tests.page.payloads import ALL

pytestmark = pytest.mark.skipif(not FULL, reason="a JupyterLab takes a minute: run with TOKENGLASS_FULL=1")

HOSTILE = "<img src=https://e.example/x onerror=alert(1)></script><script>alert(2)</script>"
# a model of bytes: its best token after any is the next of "once upon a time", then the end
MAKE = "from tests.support import model, writes\nm = model(writes('once upon a time'))\n"
SLOW = """
import time
from tests.support import model, writes
known = writes("once upon a time, and so on and on for a very long while, until nobody listened any more")
def rule(ids):
    time.sleep(0.6)
    return known(ids)
slow = model(rule)
waiting = slow.session("o")
waiting.widget()
"""
EVERY = """
import tokenglass as tg
from IPython.display import display
from tests.page.payloads import ALL, HALVES
for each in ALL:
    hostile = model(writes(each))
    told = hostile.session(each[:1] or "x")
    told.step(3)
    told.name(each)
    told.note(each)
    display(hostile.tokenize(each), hostile.next_tokens(each), told, told.tree)
for each in HALVES:
    told.note(each)
    display(told)
whole = " ".join(ALL)
display(m.score(whole), m.tokenize(whole), tg.compare(whole[:400], whole[-400:], model=m, max_new_tokens=4))
print("SHOWN", len(ALL))
"""
CELLS = [
    f"{MAKE}s = m.session('on')\ns.widget()",
    "print('TEXT', s.text, len(s.tree))",
    "s.step()\nprint('STEPPED', s.text)",
    "other = m.explore('up')\nother",
    "print('BOTH', s.text, other.session.text)",
    SLOW,
    "print('KEPT', repr(waiting.text))",
    f"h = m.session({HOSTILE!r})\nh.widget()",
    f"m.next_tokens({HOSTILE!r})",
    f"m.tokenize({HOSTILE!r})",
    EVERY,
]


# the letters of the tokens in the view below a cell
STRIP = """(index) => {
  const below = [...document.querySelectorAll(".jp-Cell")[index].querySelectorAll("*")];
  const strip = below.map((each) => each.shadowRoot?.querySelector("tg-text")).find(Boolean);
  const tokens = [...(strip?.querySelectorAll(".tok") ?? [])];
  return tokens.map((each) => each.innerText).join("").replace(/[^a-z]/g, "");
}"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    pytest.importorskip("jupyterlab", reason="a test of the real JupyterLab needs it")
    pytest.importorskip("anywidget", reason="the live view needs tokenglass[notebook]")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"there is no Chromium at {CHROMIUM}; TOKENGLASS_CHROMIUM can name another")
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "t.ipynb", CELLS)
    with jupyterlab(folder) as (address, token), sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield Book(browser.new_page(viewport={"width": 1300, "height": 1600}), address, token, "t.ipynb")
        browser.close()


def view(book: Book, index: int) -> Any:
    """The live view below a cell."""
    return book.page.locator(".jp-Cell").nth(index).locator("tg-explore")


def shown(book: Book, index: int, text: str) -> None:
    """Wait until the view below a cell shows a text, token by token."""
    book.page.wait_for_function(f"([index, text]) => ({STRIP})(index) === text", arg=[index, text])


def press(book: Book, index: int, key: str) -> None:
    """A key for the view below a cell, by its button at the foot."""
    book.page.locator(".jp-Cell").nth(index).locator(f'.foot [data-key="{key}"]').click()


def test_a_step_in_the_cell_is_a_step_in_python_and_the_other_way_round(book: Book) -> None:
    book.run(0)
    shown(book, 0, "on")
    press(book, 0, "Enter")
    shown(book, 0, "onc")
    assert "TEXT onc 2" in book.run(1)
    assert "STEPPED once" in book.run(2)
    shown(book, 0, "once")


def test_undo_and_a_branch(book: Book) -> None:
    press(book, 0, "u")
    shown(book, 0, "onc")
    view(book, 0).locator('.table [data-key="row 1"]').click()  # the second row
    shown(book, 0, "oncf")
    assert "TEXT oncf 4" in book.run(1)  # the prompt, c, e and beside it f


def test_two_widgets_on_one_model_do_not_mix(book: Book) -> None:
    before = book.run(1)
    book.run(3)
    shown(book, 3, "up")
    press(book, 3, "Enter")
    shown(book, 3, "upo")
    assert book.run(4).rstrip().endswith("upo")
    assert book.run(1) == before


def test_an_interrupt_stops_writing_and_keeps_what_is_there(book: Book) -> None:
    book.run(5)
    shown(book, 5, "o")
    view(book, 5).get_by_role("button", name="write on").click()
    book.page.wait_for_function(f"() => ({STRIP})(5).length > 3")
    book.kernel("interrupt")
    book.page.wait_for_timeout(1500)
    kept = book.run(6)
    assert "KEPT 'on" in kept
    book.page.wait_for_timeout(1000)
    assert book.run(6) == kept  # nothing writes on
    assert len(kept) < len("KEPT 'once upon a time, and'")


def test_hostile_text_makes_no_dialog_and_no_request(book: Book) -> None:
    for index in (7, 8, 9):
        book.run(index)
    view(book, 7).wait_for()
    press(book, 7, "Enter")
    book.page.wait_for_timeout(500)
    assert book.dialogs == [] and book.foreign == []
    assert book.page.locator(".jp-OutputArea img, .jp-OutputArea script").count() == 0


def test_no_payload_of_the_corpus_acts_in_an_output(book: Book) -> None:
    """All of them as prompt, tokens, name and note, in every kind of static output."""
    book.run(10)
    output = book.page.locator(".jp-Cell").nth(10).locator(".jp-OutputArea")
    output.get_by_text("Show more outputs").click()  # there are more than 50
    output.get_by_text(f"SHOWN {len(ALL)}", exact=True).wait_for()
    book.page.wait_for_timeout(500)
    assert book.dialogs == [] and book.foreign == []
    assert book.page.evaluate("window.pwned") is None
    assert output.locator("img, script, iframe, object, embed, form, link, base, meta").count() == 0
    assert output.locator("*").count() > 10 * len(ALL)


def test_a_restart_is_said(book: Book) -> None:
    """Last, since it ends every session."""
    book.kernel("restart")
    told = book.page.locator(".jp-Cell").nth(0).locator("p.error")
    press(book, 0, "Enter")
    told.filter(has_text="kernel").first.wait_for()
    assert book.errors == []
