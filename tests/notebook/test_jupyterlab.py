"""The live view in a real JupyterLab: it appends, undoes and branches, and shares all of it with Python.

Each test opens a notebook of its own, with a kernel of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.notebook.lab import Book, jupyterlab, write_notebook
from tests.page.browser import ARGUMENTS, CHROMIUM
from tests.page.payloads import ALL

HOSTILE = "<img src=https://e.example/x onerror=alert(1)></script><script>alert(2)</script>"
# a model of bytes: its best token after any is the next of "once upon a time", then the end
MAKE = """
import time
from tests.support import model, writes
m = model(writes("once upon a time"))
s = m.session("on")
"""
SLOW = """
known = writes("once upon a time, and so on and on for a very long while, until nobody listened any more")
def rule(ids):
    time.sleep(0.3)
    return known(ids)
s = model(rule).session("o")
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
TEXT = "print('TEXT', s.text, len(list(s.tree)))"

# the letters of the tokens in the view below a cell
STRIP = """(index) => {
  const below = [...document.querySelectorAll(".jp-Cell")[index].querySelectorAll("*")];
  const strip = below.map((each) => each.shadowRoot?.querySelector("tg-text")).find(Boolean);
  const tokens = [...(strip?.querySelectorAll(".tok") ?? [])];
  return tokens.map((each) => each.innerText).join("").replace(/[^a-z]/g, "");
}"""
GROUND = """(index) => {
  const below = [...document.querySelectorAll(".jp-Cell")[index].querySelectorAll("*")];
  const ground = below.map((each) => each.shadowRoot?.querySelector(".ground")).find(Boolean);
  return getComputedStyle(ground).backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number);
}"""

Open = Callable[..., Book]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str, str, Path]]:
    """A browser, and a server over a folder."""
    pytest.importorskip("jupyterlab", reason="a test of the real JupyterLab needs it")
    pytest.importorskip("anywidget", reason="the live view needs tokenglass[notebook]")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"there is no Chromium at {CHROMIUM}; TOKENGLASS_CHROMIUM can name another")
    folder = tmp_path_factory.mktemp("lab")
    with jupyterlab(folder) as (address, token), sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser, address, token, folder
        browser.close()


@pytest.fixture
def opened(lab: tuple[Any, str, str, Path], request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open a notebook with some cells; whatever a view may not do is looked for at the end."""
    browser, address, token, folder = lab
    books = []

    def open_(*cells: str) -> Book:
        name = f"{request.node.name}.ipynb"
        write_notebook(folder / name, cells)
        page = browser.new_page(viewport={"width": 1300, "height": 1600})
        books.append(Book(page, address, token, name, folder))
        return books[-1]

    yield open_
    for book in books:
        assert book.dialogs == [] and book.foreign == [] and book.errors == []
        book.close()


def view(book: Book, index: int) -> Any:
    """The live view below a cell."""
    return book.page.locator(".jp-Cell").nth(index).locator("tg-explore")


def shown(book: Book, index: int, text: str) -> None:
    """Wait until the view below a cell shows a text, token by token."""
    book.page.wait_for_function(f"([index, text]) => ({STRIP})(index) === text", arg=[index, text])


def press(book: Book, index: int, key: str) -> None:
    """A key for the view below a cell, by its button at the foot."""
    book.page.locator(".jp-Cell").nth(index).locator(f'.foot [data-key="{key}"]').click()


def test_a_step_in_the_cell_is_a_step_in_python_and_the_other_way_round(opened: Open) -> None:
    """With undo, and a branch, which is one more place in the tree of both."""
    book = opened(f"{MAKE}\ns.widget()", TEXT, "s.step()\nprint('STEPPED', s.text)")
    book.run(0)
    shown(book, 0, "on")
    press(book, 0, "Enter")
    shown(book, 0, "onc")
    assert "TEXT onc 2" in book.run(1)
    assert "STEPPED once" in book.run(2)
    shown(book, 0, "once")
    press(book, 0, "u")
    shown(book, 0, "onc")
    view(book, 0).locator('.table [data-key="row 1"]').click()  # the second row
    shown(book, 0, "oncf")
    assert "TEXT oncf 4" in book.run(1)  # the prompt, c, e and beside it f


def test_keys_are_the_views_own_while_it_has_the_focus(opened: Open) -> None:
    """JupyterLab has single keys, too: d twice deletes a cell, b makes one."""
    book = opened(f"{MAKE}\ns.widget()", TEXT)
    book.run(0)
    shown(book, 0, "on")
    view(book, 0).get_by_role("heading", name="what comes next?").click()  # where there is nothing to press
    for key, text in (("Enter", "onc"), ("1", "once"), ("u", "onc"), ("y", "once")):
        book.page.keyboard.press(key)
        shown(book, 0, text)
    book.page.keyboard.press("t")
    book.page.keyboard.type("ddbb")
    book.page.keyboard.press("Enter")
    shown(book, 0, "onceddbb")
    assert book.page.locator(".jp-Cell").count() == 2
    assert "TEXT once ddbb" in book.run(1)  # the space before it is what the field offers


def test_two_widgets_on_one_model_do_not_mix(opened: Open) -> None:
    book = opened(
        f"{MAKE}\ns.widget()", "other = m.explore('up')\nother", "print('BOTH', s.text, other.session.text)"
    )
    book.run(0)
    book.run(1)
    shown(book, 1, "up")
    press(book, 1, "Enter")
    shown(book, 1, "upo")
    press(book, 0, "Enter")
    shown(book, 0, "onc")
    shown(book, 1, "upo")
    assert book.run(2).rstrip().endswith("BOTH onc upo")


def test_two_widgets_of_one_session_show_the_same(opened: Open) -> None:
    book = opened(f"{MAKE}\ns.widget()", "s.widget()")
    book.run(0)
    book.run(1)
    press(book, 1, "Enter")
    shown(book, 1, "onc")
    shown(book, 0, "onc")
    press(book, 0, "u")
    shown(book, 1, "on")


def test_an_interrupt_stops_writing_and_keeps_what_is_there(opened: Open) -> None:
    """Again and again, at whatever moment it comes; the view says so and can write on."""
    book = opened(f"{MAKE}{SLOW}\ns.widget()", TEXT)
    book.run(0)
    shown(book, 0, "o")
    play, told = view(book, 0).locator('[data-key="play"]'), view(book, 0).locator(".note.played")
    for times in range(3):
        play.click()
        book.page.wait_for_function(f"() => ({STRIP})(0).length > {2 * times + 2}")
        book.page.wait_for_timeout(130 * times)  # at different moments of a token
        book.interrupt()
        told.get_by_text("Stopped after").wait_for()
        text = book.page.evaluate(f"({STRIP})(0)")
        kept = book.run(1)
        assert f"TEXT {text}" in kept.replace(",", "").replace(" ", "").replace("TEXT", "TEXT ")
    book.page.wait_for_timeout(700)
    assert book.run(1) == kept  # nothing writes on
    assert len(kept) < len("TEXT once upon a time, and so on and 99")


def test_the_view_follows_a_running_cell_and_its_clicks_wait_for_it(opened: Open) -> None:
    """A session belongs to the cell while it runs: a click in between is done afterwards, once."""
    book = opened(f"{MAKE}{SLOW}\ns.widget()", "s.step(9)\nprint('DONE', s.text)", TEXT)
    book.run(0)
    shown(book, 0, "o")
    book.start(1)
    book.page.wait_for_function(f"() => ({STRIP})(0).length > 3")
    assert not book.through(1)
    press(book, 0, "Enter")
    book.wait(1)
    shown(book, 0, "onceupona")
    assert "DONE once upon " in book.output(1)
    assert "TEXT once upon a 11" in book.run(2)


def test_a_view_is_as_dark_as_its_notebook_also_when_that_changes(opened: Open) -> None:
    book = opened(f"{MAKE}\ns.widget()")
    book.run(0)
    shown(book, 0, "on")
    assert min(book.page.evaluate(GROUND, 0)) > 200
    for theme, is_dark in (("JupyterLab Dark", True), ("JupyterLab Light", False)):
        book.theme(theme)
        darkens = f"([index, dark]) => (Math.max(...({GROUND})(index)) < 90) === dark"
        book.page.wait_for_function(darkens, arg=[0, is_dark])


def test_a_saved_notebook_holds_the_session_without_script(opened: Open) -> None:
    book = opened(f"{MAKE}\ns.widget()")
    book.run(0)
    shown(book, 0, "on")
    book.save()
    cells = nbformat.read(book.path, as_version=4).cells
    data = cells[0].outputs[0]["data"]
    assert "<table" in data["text/html"] and "<script" not in data["text/html"]
    assert "text/plain" in data and "application/vnd.jupyter.widget-view+json" in data


def test_hostile_text_makes_no_dialog_and_no_request(opened: Open) -> None:
    book = opened(MAKE, f"m.session({HOSTILE!r}).widget()", f"m.next_tokens({HOSTILE!r})")
    for index in range(3):
        book.run(index)
    view(book, 1).wait_for()
    press(book, 1, "Enter")
    book.page.wait_for_timeout(500)
    assert book.page.locator(".jp-OutputArea img, .jp-OutputArea script").count() == 0


def test_no_payload_of_the_corpus_acts_in_an_output(opened: Open) -> None:
    """All of them as prompt, tokens, name and note, in every kind of static output."""
    book = opened(MAKE, EVERY)
    book.run(0)
    book.run(1)
    output = book.page.locator(".jp-Cell").nth(1).locator(".jp-OutputArea")
    output.get_by_text("Show more outputs").click()  # there are more than 50
    output.get_by_text(f"SHOWN {len(ALL)}", exact=True).wait_for()
    book.page.wait_for_timeout(500)
    assert book.page.evaluate("window.pwned") is None
    assert output.locator("img, script, iframe, object, embed, form, link, base, meta").count() == 0
    assert output.locator("*").count() > 10 * len(ALL)


def test_a_restart_is_said(opened: Open) -> None:
    book = opened(f"{MAKE}\ns.widget()")
    book.run(0)
    shown(book, 0, "on")
    book.restart()
    told = book.page.locator(".jp-Cell").nth(0).locator("p.error")
    told.get_by_text("the kernel was restarted; run the cell again").wait_for()
    book.run(0)
    shown(book, 0, "on")  # and is mended by running the cell again
    press(book, 0, "Enter")
    shown(book, 0, "onc")
