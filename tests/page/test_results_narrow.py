"""Results as HTML in narrow places: the page never scrolls sideways, a wide table does so in its own box."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.search_samples import SEARCHES
from tests.unit.view_samples import RESULTS
from tokenglass.views.html import to_html

ALL = RESULTS | SEARCHES
PAGE = '<!doctype html><meta charset="utf-8"><body style="margin:0;padding:8px">{}'


@pytest.mark.parametrize("width", [400, 584], ids=["phone", "notebook"])  # 584: a cell of JupyterLab at 700
def test_no_result_makes_the_page_wider(browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    wider = {}
    for name, result in ALL.items():
        page.set_content(PAGE.format(to_html(result)))
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if over > 0:
            wider[name] = over
    page.close()
    assert wider == {}


def test_bars_shrink_and_tokens_stay_whole(browser: Any) -> None:
    """A bar keeps 60 px, takes up to 180; a short token is never broken."""
    page = browser.new_page(viewport={"width": 400, "height": 800})
    sizes = {}
    for width in (400, 1000):
        page.set_viewport_size({"width": width, "height": 800})
        page.set_content(PAGE.format(to_html(RESULTS["generation"])))
        sizes[width] = page.evaluate("document.querySelector('td div').getBoundingClientRect().width")
        assert page.evaluate("document.querySelector('td bdi').getBoundingClientRect().height") < 25
    page.close()
    assert 60 <= sizes[400] <= 180 and sizes[1000] == pytest.approx(180, abs=1)
