"""One browser and two servers for all tests of the page.

They end with this package: while a browser is open, its driver keeps an event loop in this thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.browser import ARGUMENTS, CHROMIUM
from tests.page.serving import Site, serving
from tests.page.toys import bytes_model


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium, which is not a package of Python; a machine without it skips what needs it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"there is no Chromium at {CHROMIUM}; TOKENGLASS_CHROMIUM can name another")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="package")
def table_site() -> Iterator[Site]:
    """The page over a model of 257 bytes."""
    pytest.importorskip("fastapi", reason="the page needs tokenglass[web]")
    with serving(bytes_model()) as site:
        yield site


@pytest.fixture(scope="package")
def smollm2_site(smollm2: Any) -> Iterator[Site]:
    """The page over the embedded model."""
    pytest.importorskip("fastapi", reason="the page needs tokenglass[web]")
    with serving(smollm2) as site:
        yield site
