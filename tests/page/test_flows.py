"""Explore on the real model, by key and by mouse: every number is the server's own for the same step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FULL
from tests.page.browser import opened
from tests.page.reading import Reader
from tests.page.serving import Site
from tokenglass.views.figures import percent

MODELS = ["smollm2", "table"] if FULL else ["smollm2"]
_GIVEN = """([name, value]) => {
  const { store } = document.querySelector("tg-app");
  return !store.busy && store.state.config.given[name] === value;
}"""
_GROWN = """() => {
  const { store } = document.querySelector("tg-app");
  return !store.busy && store.state.tree.nodes.length > 1;
}"""


@pytest.fixture(params=MODELS)
def site(request: Any) -> Site:
    found: Site = request.getfixturevalue(f"{request.param}_site")
    return found


@pytest.fixture
def reader(browser: Any, site: Site) -> Iterator[Reader]:
    with opened(browser, site.url, site.home) as page:
        yield Reader(page, site)


def test_keys_append_choose_take_back_and_bring_back(reader: Reader) -> None:
    """Enter takes the best, a digit its row, u and y go back and forth; nothing is lost."""
    told = reader.agrees()
    assert told["text"] == "Once upon a time, generative models" and reader.page.url == reader.site.home
    reader.press("Enter", by=1)
    assert reader.agrees()["tokens"][-1]["id"] == told["next"]["rows"][0]["id"]
    third = reader.told()["next"]["rows"][2]["id"]
    reader.press("3", by=1)
    assert reader.agrees()["tokens"][-1]["id"] == third
    first = reader.state["node"]
    reader.press("u", by=-1)
    reader.press("1", by=1)  # another token beside the one taken back begins a branch
    assert reader.state["node"] != first and len(reader.agrees()["tree"]["nodes"]) == 4
    reader.press("u", by=-1)
    reader.press("y", by=1)
    assert reader.agrees()["can_redo"] is False


def test_the_mouse_does_the_same(reader: Reader) -> None:
    row, n = reader.told()["next"]["rows"][1], reader.state["n"]
    reader.rows.nth(1).locator("button").click()
    reader.until(n=n + 1)
    assert reader.agrees()["tokens"][-1]["id"] == row["id"]
    undo = reader.button("undo", exact=True)
    undo.hover()
    assert reader.page.locator("tg-text .tok.going").count() == 1  # what goes is marked before it goes
    undo.click()
    reader.until(n=n)
    reader.page.locator("tg-explore [data-key=redo]").click()
    reader.until(n=n + 1)
    reader.button("more rows").click()
    reader.rows.nth(20).wait_for()
    reader.agrees()


def test_controls_act_stage_by_stage_and_draw_a_point_on_the_line(reader: Reader) -> None:
    page = reader.page
    reader.button("draw one").click()
    for name, value in (("temperature", "0.7"), ("top_k", "8"), ("top_p", "0.8"), ("min_p", "0.02")):
        field = page.get_by_label(f"{name}, exact value")
        field.fill(value)
        field.press("Tab")
        page.wait_for_function(_GIVEN, arg=[name, float(value)])
    told = reader.agrees()
    assert [s["name"] for s in told["chain"]["stages"]] == ["temperature", "top_k", "top_p", "min_p"]
    row = next(row for row in told["next"]["rows"] if row["removed_by"])
    fate = str(page.locator("tg-explore tr.removed .fate").first.text_content())
    assert row["removed_by"] in fate and f"rank {row['removed']['rank']}" in fate
    page.evaluate("document.activeElement.blur()")
    reader.press(" ", by=1)
    told = reader.agrees()
    assert told["last"]["origin"] == "sampled"
    cell = max(told["next"]["draw_preview"], key=lambda each: each["end"] - each["start"])
    page.locator("tg-chain .draw input[type=number]").fill(f"{(cell['start'] + cell['end']) / 2:.6f}")
    n = reader.state["n"]
    reader.button("append what it hits").click()
    reader.until(n=n + 1)
    assert reader.agrees()["tokens"][-1]["id"] == cell["id"]


def test_an_earlier_token_has_its_table_and_any_token_its_row(reader: Reader) -> None:
    page, n = reader.page, reader.state["n"]
    page.locator(f"tg-text .tok[data-index='{n - 1}']").click()
    page.get_by_role("button", name="go back there").wait_for()
    asked = reader.site.api("at", session=reader.state["session"], position=n - 2)
    page.locator(f"tg-explore table.next tr[data-token='{asked['next']['rows'][0]['id']}']").wait_for()
    cells = page.locator("tg-explore table.next td.number span[title]").evaluate_all(
        "(all) => all.map((e) => e.title)"
    )
    assert [float(cell) for cell in cells[:10]] == [row["p"] for row in asked["next"]["rows"]]
    page.keyboard.press("Escape")
    reader.press("/")
    page.locator(".entry input[type=text]").fill("z")
    page.locator(".entry input[type=checkbox]").set_checked(False)
    row = reader.site.api("lookup", session=reader.state["session"], token="z")["row"]
    page.locator("#entry-answer strong", has_text=percent(row["p"])).wait_for()
    assert f"id {row['id']}" in str(page.locator("#entry-answer").text_content())


def test_the_tree_unfolds_and_is_walked_by_keys(reader: Reader) -> None:
    page = reader.page
    page.get_by_role("button", name="unfold").first.click()
    page.wait_for_function(_GROWN)
    numbers = {node["node"]: node for node in reader.agrees()["tree"]["nodes"]}
    page.evaluate("document.activeElement.blur()")
    reader.press("v")
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("Number(document.activeElement.dataset.node)")
    assert numbers[focused]["parent"] == 0
    page.keyboard.press("Enter")
    reader.until(node=focused)
    assert reader.agrees()["node"] == focused


def test_a_session_goes_out_and_comes_back(reader: Reader, tmp_path: Path) -> None:
    page = reader.page
    reader.press("Enter", by=1)
    reader.press("2", by=1)
    before = reader.agrees()
    files = {}
    for label in ("save this session", "a page that works from disk", "table (CSV)"):
        page.get_by_role("button", name="files").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        files[label] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[label])
        page.keyboard.press("Escape")
    header = json.loads(files["save this session"].read_text().splitlines()[0])
    assert header["schema"] == "tokenglass.trace/1"
    assert files["a page that works from disk"].read_text().startswith("<!doctype html>")
    assert files["table (CSV)"].read_text().startswith("session,node,parent")
    page.get_by_label("a saved session").set_input_files(files["save this session"])
    changed = "(old) => document.querySelector('tg-app').store.state.session !== old"
    page.wait_for_function(changed, arg=before["session"])
    reader.until()
    after = reader.agrees()
    assert (after["text"], len(after["tree"]["nodes"])) == (before["text"], len(before["tree"]["nodes"]))
    assert [row["id"] for row in after["next"]["rows"]] == [row["id"] for row in before["next"]["rows"]]
