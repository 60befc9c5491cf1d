"""Reading Explore as its reader does, and asking the server beside it for the same step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.page.serving import Site
from tokenglass.views.figures import percent

# Functions, never bare expressions: Playwright would hand those to eval, which the page's policy refuses.
_STATE = """() => {
  const { state } = document.querySelector("tg-app").store;
  const { session, node, text, tokens, next } = state;
  return { session, node, text, n: tokens.length, shown: next.rows.length };
}"""
_THERE = """(wanted) => {
  const { store } = document.querySelector("tg-app");
  const at = { node: store.state.node, n: store.state.tokens.length, text: store.state.text };
  return !store.busy && Object.entries(wanted).every(([name, value]) => at[name] === value);
}"""
_ROWS = """(rows) => rows.map((row) => ({
  id: row.dataset.token === undefined ? null : Number(row.dataset.token),
  cells: [...row.querySelectorAll("td.number span[title]")].map((each) => [each.textContent, each.title]),
}))"""
_LABELS = "(all) => all.map((each) => each.getAttribute('aria-label'))"


class Reader:
    """A reader of Explore.

    Args:
        page: of Playwright.
        site: the server beside it.
    """

    def __init__(self, page: Any, site: Site) -> None:
        self.page, self.site = page, site
        self.rows = page.locator("tg-explore table.next tbody tr")
        page.locator("tg-explore table.next tr.rest").wait_for()
        self.until()

    @property
    def state(self) -> dict[str, Any]:
        """Where the page says it is."""
        return dict(self.page.evaluate(_STATE))

    def told(self) -> dict[str, Any]:
        """What the server says of this session."""
        at = self.state
        found: dict[str, Any] = self.site.api("state", session=at["session"], n=at["shown"])
        return found

    def until(self, **wanted: Any) -> None:
        """Wait until the page is there, and nothing is on its way."""
        self.page.wait_for_function(_THERE, arg=wanted)

    def press(self, key: str, by: int | None = None) -> None:
        """A key of the page; `by` tokens more are then there."""
        n = self.state["n"]
        self.page.keyboard.press(key)
        if by is not None:
            self.until(n=n + by)

    def button(self, name: str, **options: Any) -> Any:
        """A button by what is written on it."""
        return self.page.get_by_role("button", name=name, **options)

    def agrees(self) -> dict[str, Any]:
        """Every number of the table, the chain and the text is the server's for the same step."""
        told = self.told()
        table = told["next"]
        chained = len(table["stages"]) > 1
        wanted = [*table["rows"], {"id": None, "p": table["rest_p"], "p_final": table["rest_p_final"]}]
        for drawn, row in zip(self.rows.evaluate_all(_ROWS), wanted, strict=True):
            assert drawn["id"] == row["id"]
            values = [row["p"], *([row["p_final"]] if chained else [])]
            assert [text for text, _ in drawn["cells"]] == [percent(value) for value in values]
            assert [float(exact) for _, exact in drawn["cells"]] == pytest.approx(values, rel=1e-15)
        self._facts(table)
        self._tokens(told["tokens"])
        if told["last"] is not None:
            assert told["last"]["why"] in str(self.page.locator("tg-chain .why").text_content())
        return told

    def _facts(self, table: dict[str, Any]) -> None:
        facts = str(self.page.locator("tg-explore .gap .about").text_content())
        assert f"{table['vocab_size']:,} candidates" in facts and f"{table['entropy_bits']:.2f} bits" in facts
        drawn = self.page.locator("tg-chain li.stage").all_text_contents()
        assert len(drawn) == max(1, len(table["stages"]))
        for text, stage in zip(drawn, table["stages"], strict=bool(table["stages"])):
            assert stage["name"] in text and f"{stage['alive']:,}" in text
            assert f"{stage['entropy_bits']:.2f} bits" in text
            if stage["removed"]:
                assert f"keeps {percent(stage['mass_kept'])}" in text

    def _tokens(self, tokens: list[dict[str, Any]]) -> None:
        labels = self.page.locator("tg-text .tok").evaluate_all(_LABELS)
        for label, token in zip(labels, tokens, strict=True):
            assert f"id {token['id']}" in label
            if not token["is_prompt"]:
                assert f"{percent(token['p'])}, {token['surprisal_bits']:.2f} bits" in label
