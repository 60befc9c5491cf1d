"""The views beside Explore in a real browser: what they show is what the library says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tokenglass as tg
from tests.page.browser import PHONE, WIDE, opened
from tests.page.serving import Site, serving
from tests.page.toys import spread
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.tokenizer.history import merges, words
from tokenglass.tokenizer.training import train

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
CORPUS = (
    "the lighthouse keeper lit the lamp and the light went out over the sea; then the sea was light. " * 6
)
PROMPT = "the lighthouse"
VIEWS = ["strategies", "read", "compare", "tokens", "lessons"]


@pytest.fixture(scope="module")
def model() -> Model:
    """A tokenizer that merges, over logits from a checksum; the end of a text is no token of it."""
    tokenizer = train(CORPUS, 320).tokenizer
    size = len(tokenizer)
    engine = TableEngine(spread(size, range(256, size)), size, eos_ids=())
    return Model(engine, tokenizer)


@pytest.fixture(scope="module")
def site(model: Model) -> Iterator[Site]:
    pytest.importorskip("fastapi", reason="the page needs tokenglass[web]")
    with serving(model) as found:
        yield found


@pytest.fixture
def page(browser: Any, site: Site) -> Iterator[Any]:
    with opened(browser, site.url, site.home) as found:
        yield found


def go(page: Any, view: str) -> Any:
    """A view, once it has drawn something."""
    page.wait_for_selector("nav a")
    page.evaluate(f"location.hash = '#{view}'")
    view_element = page.locator(f"tg-{view}")
    view_element.locator(".lead").wait_for()
    return view_element


def shown(text: str) -> str:
    """A display text as running text: spaces are spaces."""
    return text.replace("·", " ")


def run(area: Any, text: str) -> None:
    """Type a text and begin with it, whatever is at work."""
    area.fill(text)
    area.press("Control+Enter")


def loose(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


# ---------------------------------------------------------------------------------------------- strategies


def test_columns_are_the_librarys_texts_and_reasons(page: Any, model: Model) -> None:
    view = go(page, "strategies")
    view.locator(".reason").first.wait_for()
    view.get_by_label("seed").fill("11")
    view.locator("summary").click()
    view.get_by_role("checkbox", name="contrastive").uncheck()  # a table of logits has no hidden states
    run(view.locator("textarea").first, PROMPT)
    view.locator("[data-name=contrastive]").wait_for(state="detached")
    view.locator(".reason").first.wait_for()
    names = view.locator("[data-name]").evaluate_all("all => all.map((each) => each.dataset.name)")
    found = model.strategies(PROMPT, names, max_new_tokens=24, seed=11).to_dict()["strategies"]
    for row in found:
        column = view.locator(f'[data-name="{row["name"]}"]')
        assert loose(column.locator(".reason").inner_text()) == loose(row["why"])
        steps = row["generation"]["sequences"][0]["steps"]
        assert column.locator(".word").count() == len(steps)
        marked = column.locator(".parting")
        if row["parting"] and row["parting"]["own"] is not None and row["parting"]["greedy"] is not None:
            index = row["parting"]["index"]
            assert marked.inner_text() == shown(steps[index]["token"])
            assert column.locator(".same").count() == index
        else:
            assert marked.count() == 0


def test_the_film_runs_both_ways_and_its_sums_are_the_records(page: Any, model: Model) -> None:
    view = go(page, "strategies")
    view.locator("textarea").first.fill(PROMPT)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("f")
    film = view.locator("tg-film")
    film.locator(".ends").wait_for()
    film.get_by_label("tokens").fill("5")
    film.get_by_label("beams", exact=True).fill("3")
    page.evaluate("document.activeElement.blur()")
    film.get_by_role("button", name="search", exact=True).click()
    film.locator("output", has_text="of 5").wait_for()
    film.locator(".ends").wait_for()
    page.evaluate("document.activeElement.blur()")
    records = list(model.search(PROMPT, num_beams=3, length_penalty=1.0, do_sample=False, max_new_tokens=5))
    page.keyboard.press("Home")
    walk = [0, 1, 2, 3, 2, 1]
    for step, then in zip(walk, [*walk[1:], 2], strict=True):
        record = records[step]
        assert film.locator("output").inner_text() == f"step {step + 1} of {len(records)}"
        cards = film.locator(".card")
        assert cards.count() == len(record.candidates)
        for fate in ("runs", "banked", "pruned"):
            assert film.locator(f".card.{fate}").count() == sum(c.fate == fate for c in record.candidates)
        totals = film.locator(".sum b").all_inner_texts()
        assert sorted(totals) == sorted(f"{c.total:.3f}".replace("-", "−") for c in record.candidates)
        page.keyboard.press("ArrowRight" if then > step else "ArrowLeft")
    page.keyboard.press("End")
    bank = [f"{h.total:.3f} / {h.length}1 = {h.score:.4f}".replace("-", "−") for h in records[-1].bank]
    assert [loose(row) for row in film.locator(".bank .formula").all_inner_texts()] == bank


@pytest.mark.parametrize(
    ("kind", "frame", "config"),
    [
        ("groups", ".card", {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0}),
        ("words", ".card", {"num_beams": 4, "force_words_ids": [[0]]}),
        ("lookup", ".drafts, .facts-line", {}),
    ],
)
def test_other_searches_have_frames(page: Any, kind: str, frame: str, config: dict[str, Any]) -> None:
    view = go(page, "strategies")
    view.locator("textarea").first.fill("the sea and the sea and the")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("f")
    film = view.locator("tg-film")
    film.locator(".ends").wait_for()
    film.locator("select").select_option(kind)
    film.get_by_role("button", name="search", exact=True).wait_for()
    film.locator(frame).first.wait_for()
    sent = page.evaluate("document.querySelector('tg-film').config")
    assert all(sent[name] == value or name == "force_words_ids" for name, value in config.items())
    assert film.locator(".error").is_hidden()


# ------------------------------------------------------------------------------------------------- reading


def test_reading_shows_the_scores(page: Any, model: Model) -> None:
    view = go(page, "read")
    text = "the lamp went out, then the sea."
    run(view.locator("textarea"), text)
    page.wait_for_function("text => document.querySelector('tg-read .heat').textContent === text", arg=text)
    view.locator(".peaks li").first.wait_for()
    score = model.score(text)
    assert view.locator(".bit").count() == len(score.rows)
    facts = view.locator(".facts").first.inner_text()
    assert f"{score.perplexity:.4g}" in facts.replace(",", "") and f"{score.bits_per_byte:.3g}" in facts
    ranked = sorted(score.rows[1:], key=lambda row: -(row.surprisal_bits or 0))
    assert [t.replace(" ", "") for t in view.locator(".peak").all_text_contents()] == [
        f"{row.text}{row.surprisal_bits:.2f}bits" for row in ranked[:8]
    ]
    view.locator(".bit").nth(3).click()
    row = score.rows[3]
    table = view.locator(".expected tbody tr").all_inner_texts()
    assert all(candidate.text in line for candidate, line in zip(row.top, table, strict=False))
    assert f"{row.surprisal_bits:.2f} bits" in view.locator(".expected").inner_text()
    counts = [int(n) for n in view.locator(".scale .number").all_inner_texts()]
    assert sum(counts) == score.n_scored


def test_a_text_that_is_too_long_keeps_the_old_one(page: Any) -> None:
    view = go(page, "read")
    view.locator(".peaks li").first.wait_for()
    before = view.locator("textarea").input_value()
    file = {"name": "long.txt", "mimeType": "text/plain", "buffer": b"a" * 70_000}
    view.locator("input[type=file]").set_input_files(files=[file])
    view.locator(".error").wait_for()
    assert "70,000 characters" in view.locator(".error").inner_text()
    assert view.locator("textarea").input_value() == before


# ----------------------------------------------------------------------------------------------- comparing


def test_a_comparison_shows_the_librarys_numbers(page: Any, model: Model) -> None:
    view = go(page, "compare")
    a, b = "the sea was", "the light was"
    view.get_by_label("prompt A").fill(a)
    run(view.get_by_label("prompt B"), b)
    view.locator(".parties p.small", has_text=b).wait_for()
    end = tg.compare(a, b, model=model, max_new_tokens=12, n=12).prompt_end
    numbers = view.locator(".answer .fact b").all_inner_texts()
    assert numbers[0] == f"{100 * end.tv:.1f} %" and numbers[1] == f"{end.js_bits:.2f} bits"
    assert numbers[2] == f"{end.kl_ab_bits:.2f} bits / {end.kl_ba_bits:.2f} bits"
    tokens = view.locator(".shifts tbody th").all_inner_texts()
    assert [shift.token.text for shift in end.movers[: len(tokens)]] == tokens


def test_two_models_are_compared(browser: Any, model: Model) -> None:
    """The same vocabulary over other logits: the numbers are the library's, and each side is named."""
    size = len(model.tokenizer)
    engine = TableEngine(spread(size, range(256, size), scale=2.5), size, eos_ids=())
    other = Model(engine, model.tokenizer)
    pytest.importorskip("fastapi", reason="the page needs tokenglass[web]")
    with serving(model, {"one": model, "two": other}) as site, opened(browser, site.url, site.home) as page:
        view = go(page, "compare")
        view.get_by_text("two models", exact=True).click()
        run(view.locator("textarea").first, "the sea was")
        view.locator(".parties p.small", has_text="table").first.wait_for()  # both engines are called so
        numbers = view.locator(".answer .fact b").all_inner_texts()
    end = tg.compare(model, other, prompt="the sea was", max_new_tokens=12, n=12).prompt_end
    assert end.tv > 0.01
    assert numbers[0] == f"{100 * end.tv:.1f} %" and numbers[1] == f"{end.js_bits:.2f} bits"
    assert numbers[2] == f"{end.kl_ab_bits:.2f} bits / {end.kl_ba_bits:.2f} bits"


def test_one_word_is_changed_in_its_place(page: Any, model: Model) -> None:
    view = go(page, "compare")
    view.get_by_label("prompt A").fill("the light went out")
    view.get_by_text("change one word").click()
    view.get_by_role("button", name="went", exact=True).click()
    view.get_by_label("words to put in its place").fill("was, lit")
    view.get_by_role("button", name="compare", exact=True).click()
    view.locator(".swap tbody th", has_text="lit").wait_for()
    found = {
        word: tg.compare(
            "the light went out", f"the light {word} out", model=model, max_new_tokens=12
        ).prompt_end
        for word in ("was", "lit")
    }
    view.get_by_role("rowheader", name="was", exact=True).wait_for()
    for word, end in found.items():
        header = page.get_by_role("rowheader", name=word, exact=True)
        row = view.locator(".swap tbody tr", has=header).inner_text()
        assert end.top_b.token.text in row


# -------------------------------------------------------------------------------------------------- tokens


def test_words_tokens_and_letters_are_the_tokenizers(page: Any, model: Model) -> None:
    view = go(page, "tokens")
    text = "the lighthouses, café 漢"
    view.locator("textarea").first.fill(text)
    page.wait_for_function(
        "n => document.querySelectorAll('tg-tokens .of-letter').length === n", arg=len(text)
    )
    assert view.locator(".block").count() == len(words(model.tokenizer, text))
    ids = view.locator(".of-token small").all_inner_texts()
    assert [int(i) for i in ids] == model.tokenizer.encode(text).ids


def test_merges_walk_from_bytes_to_tokens(page: Any, model: Model) -> None:
    view = go(page, "tokens")
    view.locator("textarea").first.fill("lighthouse")
    view.get_by_text("merge by merge").click()
    view.locator(".piece").first.wait_for()
    page.evaluate("document.activeElement.blur()")
    (word,) = merges(model.tokenizer, "lighthouse")
    assert word.joinings
    pieces = view.locator(".piece")
    page.wait_for_function("n => document.querySelectorAll('.piece').length === n", arg=len(word.symbols))
    for done in range(1, len(word.joinings) + 1):
        page.keyboard.press("ArrowRight")
        assert pieces.count() == len(word.symbols) - done
    assert pieces.all_inner_texts() == [model.tokenizer.token(i).text for i in word.ids]
    page.keyboard.press("Home")
    assert pieces.count() == len(word.symbols)


def test_a_tokenizer_is_trained_twice_and_put_beside_the_models(page: Any) -> None:
    view = go(page, "tokens")
    view.get_by_text("train one", exact=True).click()
    view.locator(".twins").wait_for()
    prints = view.locator(".twins code").all_inner_texts()
    assert prints[0] == prints[1] and view.locator(".equals").inner_text() == "="
    view.get_by_role("button", name="put it beside the model's tokenizer").click()
    view.locator(".duo").first.wait_for()
    assert view.get_by_label("beside the model's tokenizer").input_value() == "the small one of “train one”"


# ------------------------------------------------------------------------------------------------- lessons


def test_a_chapter_completes_by_doing(page: Any) -> None:
    """The steps count in order, and only when they are done; a wrong answer may be mended."""
    view = go(page, "lessons")
    view.get_by_role("button", name="begin: Surprise").click()
    card = page.get_by_role("complementary", name="lesson")
    read = page.locator("tg-read")
    read.locator(".peaks li").first.wait_for()
    assert "step 1 of 3" in card.inner_text()  # the sample is no text of the reader's
    run(read.locator("textarea"), "the sea was out and the light was the sea")
    card.get_by_text("step 2 of 3").wait_for()
    read.locator(".peak").first.click()
    card.get_by_text("step 3 of 3").wait_for()
    read.get_by_text("entropy", exact=True).first.click()
    card.get_by_text("one question").wait_for()
    card.get_by_role("button", name="10 %").click()
    card.get_by_text("Not quite").wait_for()
    card.get_by_role("button", name="50 %").click()
    card.get_by_text("Right.").wait_for()
    card.get_by_role("button", name="to the lessons").click()
    view.get_by_text("✓ done").wait_for()
    assert card.is_hidden()


def test_the_tour_completes_by_doing(page: Any) -> None:
    view = go(page, "lessons")
    view.get_by_role("button", name="begin: First tour").click()
    card = page.get_by_role("complementary", name="lesson")
    explore = page.locator("tg-explore")
    card.get_by_text("step 1 of 6").wait_for()
    explore.locator(".tok").first.wait_for()
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("e")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("the sea")
    page.keyboard.press("Enter")
    for step, key in enumerate(("Enter", "2", "u"), start=2):
        card.get_by_text(f"step {step} of 6").wait_for()
        page.keyboard.press(key)
    card.get_by_text("step 5 of 6").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("sea")
    page.keyboard.press("Enter")
    card.get_by_text("step 6 of 6").wait_for()


def press(page: Any, *keys: str) -> None:
    """Keys, as on a page where nothing has the focus."""
    for key in keys:
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(key)
        page.wait_for_timeout(50)  # a reader is no faster; moves are queued


def look_up(page: Any, token: str) -> None:
    press(page, "/")
    page.get_by_label("with a space before").uncheck()
    field = page.locator("tg-explore").get_by_role("textbox", name="look up")
    field.fill(token)
    field.press("Enter")


def cut_a_word(page: Any) -> None:
    page.locator("tg-tokens textarea").first.fill("umbrella")


def walk_a_word(page: Any) -> None:
    page.locator("tg-tokens").get_by_text("merge by merge").click()
    page.locator("tg-tokens textarea").first.fill("lighthouse")
    page.locator("tg-tokens .piece").nth(8).wait_for()
    press(page, "End")


def train_twice(page: Any) -> None:
    page.locator("tg-tokens").get_by_text("train one", exact=True).click()


def begin(page: Any) -> None:
    page.locator("tg-explore .tok").first.wait_for()
    press(page, "e")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("the sea")
    page.keyboard.press("Enter")


def bend(page: Any) -> None:
    control = page.locator("tg-explore [data-keyword=temperature] input[type=number]")
    control.fill("1.5")
    control.press("Enter")


def cut(page: Any) -> None:
    control = page.locator("tg-explore [data-keyword=top_k] input[type=number]")
    control.fill("3")
    control.press("Enter")


CHAPTERS: dict[str, list[Callable[[Any], None]]] = {
    "Tokens": [cut_a_word, walk_a_word, train_twice],
    "The next token": [begin, lambda page: look_up(page, "q"), lambda page: press(page, "ArrowLeft")],
    "Append and repeat": [
        lambda page: press(page, "Enter", "Enter", "Enter"),
        lambda page: press(page, "u", "2"),
        lambda page: press(page, "Enter", "Enter", "Enter"),
    ],
    "Temperature and cuts": [bend, cut, lambda page: look_up(page, "q")],
    "Beams": [
        lambda page: page.locator("tg-film .ends").wait_for(),
        lambda page: press(page, "End", "ArrowLeft"),
        lambda page: press(page, "End"),
    ],
}


@pytest.mark.parametrize("title", CHAPTERS)
def test_every_step_is_recognised_by_its_deed(page: Any, title: str) -> None:
    view = go(page, "lessons")
    page.evaluate("location.hash = '#explore'")
    page.locator("tg-explore table.next").first.wait_for()
    page.evaluate("location.hash = '#lessons'")
    view.get_by_role("button", name=f"begin: {title}").click()
    card = page.get_by_role("complementary", name="lesson")
    for number, deed in enumerate(CHAPTERS[title], start=1):
        assert card.get_by_text(f"step {number} of 3").is_visible()
        deed(page)
        page.wait_for_function(
            "n => !document.querySelector('.coach header').textContent.includes(`step ${n} of 3`)", arg=number
        )
    card.get_by_text("one question").wait_for()


# --------------------------------------------------------------------------------------------- everywhere


def test_the_focus_stays_where_keys_put_it(page: Any) -> None:
    """What is drawn again while it has the focus has it still: choices by arrow keys, words, answers."""
    view = go(page, "tokens")
    view.locator("input[value=layers]").focus()
    for value in ("merges", "align", "train"):
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.value") == value
    view.locator("input[value=merges]").focus()
    page.keyboard.press(" ")
    view.locator(".merge-words button").nth(3).focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.key") == "3"
    assert view.locator(".merge-words button").nth(3).get_attribute("aria-pressed") == "true"
    go(page, "strategies").locator("input[value=film]").focus()
    page.keyboard.press(" ")
    menu = page.locator("tg-film select")
    menu.focus()
    page.keyboard.press("ArrowDown")
    page.locator("tg-film input[data-key=groups]").wait_for()
    assert menu.evaluate("(menu) => menu === document.activeElement")


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (PHONE, "dark")])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(
    browser: Any, site: Site, size: tuple[int, int], scheme: str
) -> None:
    options = {"color_scheme": scheme, "bypass_csp": True}
    with opened(browser, site.url, site.home, size, **options) as page:
        for view in VIEWS:
            element = go(page, view)
            if view != "lessons":
                element.locator(".word, .glyphs").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            assert not [v["id"] for v in found if v["impact"] in ("serious", "critical")], view
