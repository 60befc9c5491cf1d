"""A reader in a hurry: views opened one after another, each left while it is still at work."""

from __future__ import annotations

from typing import Any

import pytest

from tests.page.browser import opened
from tests.page.serving import Site

VIEWS = ["explore", "strategies", "read", "compare", "tokens", "lessons"]
# milliseconds between two views: at once, while files come, while the first answers come
PAUSES = [0, 30, 250]


@pytest.mark.parametrize("pause", PAUSES)
def test_views_left_at_once_ask_for_nothing_that_is_refused(
    browser: Any, table_site: Site, pause: int
) -> None:
    """The model here says neither words nor merges: nobody may ask it for them.

    Each answer is counted by the browser's own events; the reports of the page say the same of its console.
    """
    refused: list[tuple[int, str]] = []
    with opened(browser, table_site.url, table_site.home) as page:
        page.on("response", lambda answer: _note(refused, answer))
        page.locator("nav a").first.wait_for()
        for _ in range(2):
            for view in VIEWS:
                page.evaluate("(view) => { location.hash = view; }", view)
                page.wait_for_timeout(pause)
        page.evaluate("() => { location.hash = 'tokens'; }")
        page.locator("tg-tokens .of-token, tg-tokens .glyphs").first.wait_for()
        page.wait_for_function("() => !document.querySelector('tg-app').store.busy")
        assert refused == []
        assert page.locator("tg-tokens input[value=merges]").count() == 0  # and is not offered


def _note(refused: list[tuple[int, str]], answer: Any) -> None:
    if answer.status >= 400:
        refused.append((answer.status, answer.url))
