"""A real browser for the tests of the page: one for all, a fresh context for each, and what it reports."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

CHROMIUM = os.environ.get("TOKENGLASS_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
]
WIDE, TABLET, PHONE = (1440, 900), (820, 1180), (390, 844)
# Told by the page itself, wherever it happens: what its policy refused.
_WATCH_POLICY = """
window.refusedByPolicy = [];
addEventListener("securitypolicyviolation", (event) => {
  window.refusedByPolicy.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
}, true);
"""


@dataclass
class Reports:
    """What a page did that a page must not do.

    Attributes:
        home: where it may send requests to.
        dialogs: that opened.
        errors: uncaught exceptions and console errors.
        strangers: requests to anywhere else.
        requests: how many there were at all.
    """

    home: str
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    requests: int = 0

    def watch(self, page: Any) -> None:
        """Follow a page from now on."""
        page.add_init_script(_WATCH_POLICY)
        page.on("dialog", self._dialog)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("request", self._request)

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _request(self, request: Any) -> None:
        self.requests += 1
        if not request.url.startswith(self.home) and not request.url.startswith("data:"):
            self.strangers.append(request.url)

    def check(self, page: Any, *, expected_errors: bool = False) -> None:
        """Nothing of all this happened; errors may be meant to happen."""
        assert self.dialogs == [] and self.strangers == []
        assert page.evaluate("window.refusedByPolicy") == []
        if not expected_errors:
            assert self.errors == []


@contextmanager
def opened(
    browser: Any, url: str, home: str, size: tuple[int, int] = WIDE, *, strict: bool = True, **options: Any
) -> Iterator[Any]:
    """A page in a context of its own, on which nothing bad may have been reported at the end."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, reduced_motion="reduce", locale="en-US", **options
    )
    try:
        page = context.new_page()
        page.set_default_timeout(15_000)
        reports = Reports(home)
        reports.watch(page)
        page.goto(url)
        page.reports = reports
        yield page
        reports.check(page, expected_errors=not strict)
    finally:
        context.close()
