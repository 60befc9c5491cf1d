"""Explore, the chain and the tree in a real browser: what they show is what the library says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.page.browser import PHONE, TABLET, WIDE, opened
from tests.page.serving import Site, serving
from tests.page.toys import spread
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.tokenizer.training import train
from tokenglass.views import figures

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
CORPUS = "once upon a time the sea was light and the light went out over the sea; then the time came. " * 6
PROMPT = "Once upon a time, generative models"  # the page's own
STATE = "document.querySelector('tg-app').store.state"
DRAWN = "new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn, 20)))"
NEXT_STATE = """(() => {
  const { store } = document.querySelector("tg-app");
  window.moved = new Promise((resolve) => store.addEventListener("state", () => resolve(), { once: true }));
})()"""
LENGTHS = "all => all.map((each) => Number(each.style.getPropertyValue('--p')))"
SAMPLING: dict[str, Any] = {"do_sample": True, "temperature": 0.7, "top_k": 40, "top_p": 0.8}


@pytest.fixture(scope="module")
def model() -> Model:
    """A tokenizer that merges, over logits from a checksum; the end of a text is no token of it."""
    tokenizer = train(CORPUS, 320).tokenizer
    size = len(tokenizer)
    return Model(TableEngine(spread(size, range(256, size)), size, eos_ids=()), tokenizer)


@pytest.fixture(scope="module")
def site(model: Model) -> Iterator[Site]:
    pytest.importorskip("fastapi", reason="the page needs tokenglass[web]")
    with serving(model) as found:
        yield found


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    with opened(browser, site.url, site.home) as found:
        ready(found)
        yield found


def ready(page: Any) -> None:
    page.locator("table.next tr.rest").wait_for()
    page.locator("tg-tree [role=treeitem]").first.wait_for()


def test_keys_before_there_is_a_session_do_nothing(browser: Any, site: Site) -> None:
    """The first answer may take its time; whoever presses a key meanwhile gets no error and loses nothing."""
    waiting: list[Any] = []
    with opened(browser, "about:blank", site.home) as page:
        page.route(re.compile("api/open"), lambda route: waiting.append(route))
        page.goto(site.url)
        foot = page.locator("footer .foot, .foot").first
        foot.locator('[data-key="Enter"]').wait_for()
        assert (
            foot.locator('[data-key="Enter"]').is_disabled() and foot.locator('[data-key="u"]').is_disabled()
        )
        for key in ("Enter", "1", " ", "u", "y", "r", "w"):
            page.keyboard.press(key)
        waiting[0].continue_()
        ready(page)
        assert page.evaluate(f"{STATE}.node") == 0
        page.keyboard.press("Enter")
        page.wait_for_function(f"() => {STATE}.node === 1")
        page.unroute_all()


def acted(page: Any, key: str) -> dict[str, Any]:
    """Press a key, and the state it leads to once everything is drawn."""
    page.evaluate(NEXT_STATE)
    page.keyboard.press(key)
    page.evaluate(f"window.moved.then(() => {DRAWN})")
    found: dict[str, Any] = page.evaluate(STATE)
    return found


def configured(page: Any, **config: Any) -> dict[str, Any]:
    """Set all keywords, and the state that they lead to once everything is drawn."""
    page.evaluate(f"document.querySelector('tg-app').store.configure({json.dumps(config)}).then(() => null)")
    until(page, "() => !document.querySelector('tg-app').store.busy")
    page.evaluate(DRAWN)
    found: dict[str, Any] = page.evaluate(STATE)
    return found


def until(page: Any, condition: str) -> None:
    """Wait for an expression to hold; the page's policy lets no text be evaluated inside it."""
    for _ in range(1500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(10)
    raise AssertionError(f"never: {condition}")


def free(page: Any) -> None:
    """No field has the focus: keys belong to the page."""
    page.evaluate("document.activeElement.blur()")


def numbers(page: Any, column: int = 1) -> list[float]:
    """The exact numbers of a column of the table, from the first row to all others."""
    cells = page.locator("table.next tbody tr").evaluate_all(
        "(rows, at) => rows.map((row) => row.querySelectorAll('td.number span[title]')[at]?.title)",
        column - 1,
    )
    return [float(cell) for cell in cells]


def figures_on(page: Any, calls: list[tuple[str, float]]) -> list[str]:
    found: list[str] = page.evaluate(
        "async (calls) => { const figures = await import('/lib/figures.js');"
        " return calls.map(([name, value]) => figures[name](value)); }",
        calls,
    )
    return found


# --------------------------------------------------------------------------------------------------- numbers


def test_figures_are_written_as_python_writes_them(page: Any) -> None:
    random = np.random.default_rng(5)
    shares = [0.0, 1.0, 0.125, 0.03125, 0.0009765625, 0.99949, 0.9995, 1e-4, 9.9996e-5, 1e-9, 0.99951]
    shares += (10.0 ** random.uniform(-9, 0, 300)).tolist()
    scores = [0.0, 12345.6, -0.5, 0.125, -2.5e-7, 999.95, *(random.normal(0, 300, 200)).tolist()]
    counts = [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111, 1013, 49152]
    calls: list[tuple[str, float]] = [("percent", p) for p in shares]
    calls += [("significant", x) for x in scores] + [("bits", abs(x) % 40) for x in scores]
    calls += [("choices", 1 + abs(x)) for x in scores] + [("ordinal", n) for n in counts]
    assert figures_on(page, calls) == [getattr(figures, name)(value) for name, value in calls]


def test_first_paint_is_the_default_prompt_and_its_table(page: Any, model: Model) -> None:
    tokens = page.locator(".tok").evaluate_all(
        "all => all.map((each) => Number(each.title.match(/id (\\d+)/)[1]))"
    )
    assert tokens == list(model.tokenize(PROMPT).ids)
    table = model.next_tokens(PROMPT, n=10).to_dict()
    assert numbers(page) == [row["p"] for row in table["rows"]] + [table["rest_p"]]
    assert sum(numbers(page)) == pytest.approx(1.0, abs=1e-7)  # logits are float32
    assert figures.bits(table["entropy_bits"]) in page.locator(".about").inner_text()
    widths = page.locator("table.next tbody .bars i").evaluate_all(LENGTHS)
    assert widths == pytest.approx(numbers(page))  # a bar is as long as its number says


# ---------------------------------------------------------------------------------------------------- moves


def test_keys_write_take_back_and_branch_as_a_session_does(page: Any, model: Model) -> None:
    free(page)
    session = model.session(PROMPT)
    moves: dict[str, Callable[[], object]] = {
        "Enter": lambda: session.step(),
        "3": lambda: session.step(token=session.next.rows[2].id),
        "u": lambda: session.undo(),
        "2": lambda: session.step(token=session.next.rows[1].id),
    }
    for key, move in moves.items():
        state = acted(page, key)
        move()
        assert state["text"] == session.text
        assert numbers(page)[:10] == [row.p for row in session.next.rows]
    assert len(page.locator("tg-tree [role=treeitem]").all()) == len(session.tree) == 4  # the branch is kept
    acted(page, "u")
    assert acted(page, "y")["text"] == session.text
    assert page.locator(".why").inner_text().endswith(page.evaluate(STATE)["last"]["why"])


def test_an_earlier_token_shows_its_own_table_and_can_be_gone_back_to(page: Any, model: Model) -> None:
    free(page)
    acted(page, "Enter")
    ids = model.tokenize(PROMPT).ids
    page.locator(".tok").nth(5).click()
    page.locator(".about h2", has_text="likeliest").wait_for()
    expected = model.next_tokens(list(ids[:5]), n=10)
    came = expected.lookup(ids[5])
    assert came.rank is not None
    assert (
        f"{figures.ordinal(came.rank)} likeliest, {figures.percent(came.p)}"
        in page.locator(".about").inner_text()
    )
    assert numbers(page)[:10] == [row.p for row in expected.rows]
    free(page)
    state = acted(page, "b")
    assert [token["id"] for token in state["tokens"]] == list(ids[:5])
    assert (
        page.locator("select[aria-label='earlier texts'] option").count() == 2
    )  # what was left can be had again


def test_a_prompt_is_cut_while_it_is_typed(page: Any, model: Model) -> None:
    free(page)
    page.keyboard.press("e")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("a café <b>light</b>")
    cuts = model.tokenize("a café <b>light</b>")
    until(page, f"{STATE}.tokens.length === {len(cuts.ids)}")
    pieces = page.locator(".mirror span").all_inner_texts()
    assert "".join(pieces) == "a café <b>light</b>" and len(pieces) <= len(cuts.ids)
    page.keyboard.press("Enter")
    joined = page.locator(".strip .bracket")
    assert joined.get_attribute("data-formed") == "é" and joined.locator(".tok").count() == 2
    assert page.locator(".strip b").count() == 0


def test_a_guess_is_told_its_rank_before_the_table_is_shown(page: Any, model: Model) -> None:
    free(page)
    page.keyboard.press("g")
    assert page.locator("table.next").is_hidden()
    page.keyboard.type("the")
    page.keyboard.press("Enter")
    page.locator("tr.rest").wait_for()
    lookup = model.next_tokens(PROMPT).lookup(" the")  # "the" alone is two tokens here
    assert lookup.rank is not None
    told = page.locator("#guess-answer").inner_text()
    assert figures.percent(lookup.p) in told
    assert ("first choice" if lookup.rank == 1 else f"{figures.ordinal(lookup.rank)} of") in told


def test_any_token_can_be_looked_up_and_a_text_of_ones_own_appended(page: Any, model: Model) -> None:
    free(page)
    page.keyboard.press("/")
    page.keyboard.type("sea")
    row = model.next_tokens(PROMPT).lookup(" sea")
    page.locator("#entry-answer strong").wait_for()
    assert page.locator("#entry-answer strong").inner_text() == figures.percent(row.p)
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    page.keyboard.type("sea was light")
    state = acted(page, "Enter")
    assert state["text"] == "Once upon a time, generative models sea was light"


# ---------------------------------------------------------------------------------------------------- chain


def test_the_chain_is_the_librarys_stage_by_stage(page: Any, model: Model) -> None:
    before = numbers(page)
    configured(page, **SAMPLING, seed=7)
    table = model.next_tokens(PROMPT, n=10, **SAMPLING).to_dict()
    rows = page.locator(".stages .stagerow").all_inner_texts()
    assert all(text.startswith(stage["name"]) for text, stage in zip(rows, table["stages"], strict=True))
    for text, stage in zip(rows, table["stages"], strict=True):
        assert f"{stage['alive']:,}" in text and figures.bits(stage["entropy_bits"]) in text
    assert numbers(page) == pytest.approx(before)  # the model's own stay what they are
    assert numbers(page, 2) == [row["p_final"] for row in table["rows"]] + [table["rest_p_final"]]
    gone = [row for row in table["rows"] if row["removed_by"]]
    assert page.locator("table.next tr.removed").count() == len(gone)


def test_moving_a_control_turns_drawing_on_and_leaves_a_ghost(page: Any, model: Model) -> None:
    range_ = page.locator(".control[data-keyword=temperature] input[type=range]")
    range_.fill("0.5")
    until(page, f"{STATE}.config.given.temperature === 0.5")
    assert page.evaluate(STATE)["config"]["given"]["do_sample"] is True
    page.locator("i[data-of=ghost]").first.wait_for()
    ghosts = page.locator("tbody i[data-of=ghost]").evaluate_all(LENGTHS)
    was = model.next_tokens(PROMPT, n=10)
    assert ghosts == pytest.approx([row.p_final for row in was.rows][: len(ghosts)])


def test_stages_change_places(page: Any, model: Model) -> None:
    configured(page, **SAMPLING)
    page.get_by_role("button", name="move top_p up").click()
    until(page, f"{STATE}.chain.stages[1].name === 'top_p'")
    order = ["temperature", "top_p", "top_k"]
    table = model.next_tokens(PROMPT, n=10, **SAMPLING, order=order)
    until(page, "() => document.querySelectorAll('.stages .stagerow')[2].textContent.startsWith('top_p')")
    assert numbers(page, 2)[:10] == [row.p_final for row in table.rows]


def test_a_wrong_value_is_told_beside_its_control_and_nothing_is_lost(browser: Any, site: Site) -> None:
    with opened(browser, site.url, site.home, strict=False) as page:
        ready(page)
        configured(page, do_sample=True)
        control = page.locator(".control[data-keyword=top_p]")
        control.locator("input[type=number]").fill("1.5")
        control.locator("input[type=number]").press("Tab")
        control.locator(".error").wait_for()
        assert "top_p" in control.locator(".error").inner_text()
        assert "top_p" not in page.evaluate(STATE)["config"]["given"]


def test_a_rolled_number_falls_on_the_cell_that_the_page_shows(page: Any, site: Site) -> None:
    state = configured(page, **SAMPLING, seed=7)
    cell = max(state["next"]["draw_preview"], key=lambda each: each["end"] - each["start"])
    u = (cell["start"] + cell["end"]) / 2
    page.locator(".draw input[type=number]").fill(str(u))
    page.locator(".cdf .hit").wait_for()
    assert page.locator(".cdf .hit").get_attribute("title").startswith(f"{cell['token']}: ")
    page.get_by_role("button", name="append what it hits").click()
    until(page, f"{STATE}.tokens.at(-1).id === {cell['id']} && !{STATE}.tokens.at(-1).is_prompt")


# ----------------------------------------------------------------------------------------------------- tree


def test_samples_lie_over_the_tree_and_are_read_side_by_side(page: Any) -> None:
    configured(page, **SAMPLING, seed=7)
    page.locator("tg-tree").get_by_role("button", name="draw", exact=True).click()
    until(page, f"{STATE}.samples?.n === 8")
    state = page.evaluate(STATE)
    ends = {leaf["node"] for leaf in state["samples"]["leaves"]}
    page.locator("tg-tree .note", has_text=f"{len(ends)} texts").wait_for()
    page.get_by_role("button", name="side by side").click()
    columns = page.locator(".side article")
    assert columns.count() == min(6, len(ends))
    assert page.locator(".side .first").count() == columns.count()  # each has the place where it parts
    nodes = {node["node"]: node for node in state["tree"]["nodes"]}
    best = max(ends, key=lambda end: nodes[end]["text_logprob"])
    assert figures.percent(float(np.exp(nodes[best]["text_logprob"]))) in columns.first.inner_text()


def test_the_tree_is_walked_named_and_left_by_keys(page: Any) -> None:
    free(page)
    for key in ("Enter", "u", "2"):
        acted(page, key)
    page.keyboard.press("v")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.dataset.node") == "1"
    page.keyboard.press("n")
    page.keyboard.type("<i>mine</i>")
    acted(page, "Enter")
    page.locator("tg-tree .name").wait_for()
    assert page.locator("tg-tree .name").inner_text() == "<i>mine</i>"
    page.locator("tg-tree [data-node='1']").focus()
    assert acted(page, "Enter")["node"] == 1


# ------------------------------------------------------------------------------------------------ everywhere


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(WIDE, "light"), (TABLET, "dark"), (PHONE, "light"), ((320, 640), "dark")],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}",
)
def test_axe_finds_nothing_and_nothing_is_cut_off(
    browser: Any, site: Site, size: tuple[int, int], scheme: str
) -> None:
    with opened(browser, site.url, site.home, size, color_scheme=scheme, bypass_csp=True) as page:
        ready_narrow = page.locator("table.next tr.rest")
        ready_narrow.wait_for()
        configured(page, **SAMPLING)
        free(page)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        for key in ("Enter", "c", "s", "/", "Escape", "k"):
            page.keyboard.press(key)
            page.wait_for_timeout(60)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), key
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(v["id"], v["impact"], v["nodes"][0]["html"]) for v in found] == []


@pytest.mark.parametrize("width", [390, 320])
def test_every_view_is_in_sight_on_a_phone(browser: Any, site: Site, width: int) -> None:
    """A list that scrolls sideways looks complete without its end, which is where the lessons are."""
    with opened(browser, site.url, site.home, (width, 800)) as page:
        page.locator("table.next tr.rest").wait_for()
        ends = page.locator("nav a").evaluate_all("all => all.map((a) => a.getBoundingClientRect().right)")
        assert len(ends) == 6 and max(ends) <= width
        assert page.locator("nav").evaluate("(nav) => nav.scrollWidth <= nav.clientWidth")
        tops = page.locator("nav a").evaluate_all("all => all.map((a) => a.getBoundingClientRect().top)")
        assert len(set(tops)) == (1 if width == 390 else 2)  # the text keeps its place on an ordinary phone


def test_who_is_new_is_shown_where_to_begin_until_they_did(page: Any) -> None:
    hint = page.locator(".hint")
    assert hint.is_visible()
    free(page)
    acted(page, "Enter")
    assert hint.is_hidden()
    page.reload()
    ready(page)
    hint.get_by_role("link", name="Take the first tour").click()
    page.get_by_role("button", name="begin: First tour").click()
    page.locator("tg-explore table.next").first.wait_for()
    assert hint.is_hidden()
