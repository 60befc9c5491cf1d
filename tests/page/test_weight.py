"""What a browser fetches for the page, as it was sent."""

from __future__ import annotations

from typing import Any

from tests.page.browser import opened
from tests.page.serving import Site

MOST_BYTES = 300_000
MOST_BYTES_EVER = 400_000  # a view comes when it is opened


def fetched(page: Any, but: str = "nothing") -> int:
    """Bytes of all files and answers so far, but for addresses with a word in them."""
    return int(
        page.evaluate(
            """(but) => performance.getEntries().filter((each) => !each.name.includes(but))
              .reduce((sum, each) => sum + (each.encodedBodySize ?? 0), 0)""",
            but,
        )
    )


def test_the_page_is_light(browser: Any, table_site: Site) -> None:
    """The page as it opens, with its first answers; and the files of every view."""
    with opened(browser, table_site.url, table_site.home) as page:
        page.locator("tg-explore .tok").first.wait_for()
        page.wait_for_load_state("networkidle")
        first = fetched(page)
        for link in page.locator("nav a").all():
            link.click()
            page.wait_for_load_state("networkidle")
        every = fetched(page, but="/api/")
    assert 50_000 < first < every, "no size was reported"
    assert first < MOST_BYTES and every < MOST_BYTES_EVER, (first, every)
