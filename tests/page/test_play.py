"""Playing on the page: it pauses where the library's own play does, and says why in that place's numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.page.browser import PHONE, WIDE, opened
from tests.page.serving import Site, serving
from tests.page.toys import spread
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.server import work
from tokenglass.tokenizer.training import train
from tokenglass.views import figures

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
CORPUS = "once upon a time the sea was light and the light went out over the sea; then the time came. " * 6
PROMPT = "Once upon a time, generative models"
STATE = "() => document.querySelector('tg-app').store.state"
QUIET = "() => !document.querySelector('tg-app').store.busy"
WRITTEN = "() => document.querySelectorAll('tg-text .tok.written').length >= 3"
SLOW = 0.05  # seconds of a run of the model: a text of a thousand tokens is not through during a test


def toy(seconds: float = 0.0) -> Model:
    tokenizer = train(CORPUS, 320).tokenizer
    size = len(tokenizer)
    rule = spread(size, range(256, size))

    def slow(ids: tuple[int, ...]) -> Any:
        time.sleep(seconds)
        return rule(ids)

    return Model(TableEngine(slow if seconds else rule, size, eos_ids=(), context_length=8192), tokenizer)


@pytest.fixture(scope="module")
def model() -> Model:
    return toy()


@pytest.fixture(scope="module")
def site(model: Model) -> Iterator[Site]:
    pytest.importorskip("fastapi", reason="the page needs tokenglass[web]")
    with serving(model) as found:
        yield found


@contextmanager
def playing(browser: Any, site: Site, size: tuple[int, int] = WIDE, **options: Any) -> Iterator[Any]:
    with opened(browser, site.url, site.home, size, **options) as page:
        page.locator("table.next tr.rest").wait_for()
        page.wait_for_function(QUIET)
        yield page


def asked(page: Any, *, entropy: str = "", token: str = "", top: str = "5", count: str = "20") -> str:
    """By keys alone: open the conditions, fill them, play; and what is said at the end."""
    if page.locator("form.pauses").is_hidden():
        page.keyboard.press("p")
    for label, value in (
        ("entropy in bits", entropy),
        ("a token to wait for", token),
        ("among how many", top),
        ("at most tokens", count),
    ):
        page.get_by_label(label).focus()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.press("Delete")
        page.keyboard.type(value)
    page.keyboard.press("Enter")
    page.locator(".played").wait_for()
    page.wait_for_function(QUIET)
    return str(page.locator(".played").inner_text())


def agrees(page: Any, site: Site, text: str) -> Any:
    """The page stands where the library does, and its state is the server's."""
    shown = page.evaluate(STATE)
    told = site.api("state", session=shown["session"])
    for each in (shown, told):
        assert each["text"] == text
    assert (shown["next"], shown["tree"]) == (told["next"], told["tree"])
    return told


def test_it_pauses_where_the_entropy_is_high_and_plays_on_from_there(
    browser: Any, site: Site, model: Model
) -> None:
    session = model.session(PROMPT)
    limit = sorted(table_entropies(model))[-4]
    with playing(browser, site) as page:
        said = asked(page, entropy=f"{limit:.4f}")
        for _ in range(2):
            first = session.play(20, entropy=float(f"{limit:.4f}"))
            n = len(first.steps) + (session.node.id != len(first.steps))  # with the step past a pause
            assert first.paused == "entropy"
            told = agrees(page, site, session.text)
            assert f"Paused after {n} token" in said
            assert f"{figures.bits(told['next']['entropy_bits'])} of entropy" in said
            session.step()  # on the page playing on goes past the place it paused at
            page.locator(".pauses button[type=submit]").focus()
            page.keyboard.press("Enter")
            page.wait_for_function(
                "(said) => !document.querySelector('.played').hidden"
                " && document.querySelector('.played').textContent !== said",
                arg=said,
            )
            page.wait_for_function(QUIET)
            said = str(page.locator(".played").inner_text())


def table_entropies(model: Model) -> list[float]:
    session = model.session(PROMPT)
    found = []
    for _ in range(20):
        found.append(session.next.entropy_bits)
        session.step()
    return found


@pytest.mark.parametrize("typed", ["sea", " then", "ime"])
def test_it_pauses_when_a_token_comes_near_the_top(
    browser: Any, site: Site, model: Model, typed: str
) -> None:
    """With and without a space before it, as far as those are tokens; the better one is told."""
    texts = [typed] if typed.startswith(" ") else [f" {typed}", typed]
    ids = [cut.ids[0] for cut in map(model.tokenize, texts) if len(cut.ids) == 1]
    session = model.session(PROMPT)
    played = session.play(40, watch=ids, top=3)
    assert played.paused == "watched"
    row = next(row for row in map(session.next.lookup, ids) if row.rank is not None and row.rank <= 3)
    assert row.rank is not None
    with playing(browser, site) as page:
        said = asked(page, token=typed, top="3", count="40")
        agrees(page, site, session.text)
        place = "the likeliest" if row.rank == 1 else f"the {figures.ordinal(row.rank)} likeliest"
        assert f"{row.text} is {place} here, {figures.percent(row.p)}" in said
        assert "among the best 3" in said


def test_it_ends_after_as_many_tokens_as_were_asked_for(browser: Any, site: Site, model: Model) -> None:
    session = model.session(PROMPT)
    session.play(7)
    with playing(browser, site) as page:
        assert asked(page, count="7") == "7 tokens written."
        agrees(page, site, session.text)
        page.keyboard.press("Escape")  # closes the conditions, and the focus is where they were opened
        assert page.evaluate("document.activeElement.dataset.key") == "pauses"
        page.keyboard.press("u")
        page.wait_for_function("() => document.querySelector('.played').hidden")


def test_a_text_of_several_tokens_is_refused_beside_its_field(browser: Any, site: Site, model: Model) -> None:
    with playing(browser, site) as page:
        page.keyboard.press("p")
        page.get_by_label("a token to wait for").fill("zebra")
        page.keyboard.press("Enter")
        error = page.locator(".pauses .error")
        error.wait_for()
        assert f"is {len(model.tokenize(' zebra').ids)} tokens" in error.inner_text()
        assert page.evaluate(STATE)["text"] == PROMPT
        page.get_by_label("a token to wait for").fill("")
        page.get_by_label("entropy in bits").fill("-1")
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
        assert page.evaluate(STATE)["text"] == PROMPT


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "dark"), (PHONE, "light"), ((320, 640), "dark")])
def test_axe_finds_nothing_in_the_conditions_and_nothing_is_cut_off(
    browser: Any, site: Site, size: tuple[int, int], scheme: str
) -> None:
    with playing(browser, site, size, color_scheme=scheme, bypass_csp=True) as page:
        asked(page, token="sea", top="300")
        page.evaluate("() => document.activeElement.blur()")
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(v["id"], v["impact"], v["nodes"][0]["html"]) for v in found] == []


# ------------------------------------------------------------------------------------------------ stopping


@pytest.fixture
def slow_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Site, work.Works]]:
    """A server over a slow model, and its requests at work."""
    pytest.importorskip("fastapi", reason="the page needs tokenglass[web]")
    from tests.server.world import seen_works

    made = seen_works(monkeypatch)
    with serving(toy(SLOW)) as site:
        yield site, made[0]


def begun(page: Any) -> None:
    page.keyboard.press("p")
    page.get_by_label("at most tokens").fill("300")
    page.keyboard.press("Enter")
    page.wait_for_function(WRITTEN)


@pytest.mark.parametrize("by", ["key", "button", "view"])
def test_it_can_be_stopped(browser: Any, slow_site: tuple[Site, work.Works], by: str) -> None:
    site, _ = slow_site
    with playing(browser, site) as page:
        begun(page)
        if by == "key":
            page.evaluate("() => document.activeElement.blur()")
            page.keyboard.press("w")
        elif by == "button":
            page.locator(".tools [data-key=play]", has_text="stop").click()
        else:
            page.evaluate("() => { location.hash = 'lessons'; }")  # nothing goes on unseen
        page.wait_for_function(QUIET)
        state = page.evaluate(STATE)
        assert f"Stopped after {state['node']} token" in page.locator(".played").text_content()
        assert state["tree"] == site.api("state", session=state["session"])["tree"]
        assert 3 <= state["node"] < 300


def test_a_reader_who_leaves_frees_the_place(browser: Any, slow_site: tuple[Site, work.Works]) -> None:
    site, works = slow_site
    with playing(browser, site) as page:
        page.keyboard.press("p")
        page.get_by_label("at most tokens").fill("1000")
        page.keyboard.press("Enter")
        page.wait_for_function(WRITTEN)
        assert works.running >= 1
        page.goto("about:blank")
        left = time.monotonic()
        while works.running and time.monotonic() < left + 5:
            time.sleep(0.01)
        assert time.monotonic() - left < 1.0
        page.go_back()  # the reports of the page are read at the end
        page.locator("table.next tr.rest").wait_for()
