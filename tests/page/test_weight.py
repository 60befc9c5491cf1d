"""What a browser fetches for the page: everything counts, as it was sent."""

from __future__ import annotations

from typing import Any

from tests.page.browser import opened
from tests.page.serving import Site

MOST_BYTES = 300_000
MOST_BYTES_EVER = 400_000  # a view comes when it is opened; the answers count too


def fetched(page: Any) -> int:
    return int(
        page.evaluate(
            "performance.getEntries().map((x) => x.encodedBodySize ?? 0).reduce((sum, size) => sum + size, 0)"
        )
    )


def test_the_page_is_light(browser: Any, table_site: Site) -> None:
    """The page as it opens, and with every view of it opened once."""
    with opened(browser, table_site.url, table_site.home) as page:
        page.locator("tg-explore .tok").first.wait_for()
        page.wait_for_load_state("networkidle")
        first = fetched(page)
        for link in page.locator("nav a").all():
            link.click()
            page.wait_for_load_state("networkidle")
        every = fetched(page)
    assert 50_000 < first < every, "no size was reported"
    assert first < MOST_BYTES and every < MOST_BYTES_EVER, (first, every)
