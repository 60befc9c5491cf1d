"""The live view in a real marimo: it renders, and steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doc_blocks import ROOT
from tests.notebook.lab import PATIENCE_MS, free_port, wait_for
from tests.page.browser import ARGUMENTS, CHROMIUM

APP = """
import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo
    from tests.support import model, writes

    view = mo.ui.anywidget(model(writes("once upon a time")).session("on").widget())
    view
    return
"""


def test_it_renders_and_steps(tmp_path: Path) -> None:
    for package in ("marimo", "anywidget"):
        pytest.importorskip(package, reason=f"a test of the real marimo needs {package}")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"there is no Chromium at {CHROMIUM}; TOKENGLASS_CHROMIUM can name another")
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    port, foreign, errors = free_port(), list[str](), list[str]()
    command = [sys.executable, "-m", "marimo", "run", "app.py", "--headless", "--no-token", f"--port={port}"]
    own = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=tmp_path, env=os.environ | own, stdout=quiet, stderr=quiet)
    try:
        wait_for(port, server)
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.on("request", lambda request: foreign.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("tg-text .tok").nth(1).wait_for()
            page.locator('.foot [data-key="Enter"]').click()
            page.locator("tg-text .tok").nth(2).wait_for()
            assert page.locator("tg-text .tok").all_inner_texts() == ["o", "n", "c"]
            browser.close()
    finally:
        server.terminate()
        server.wait(30)
    own_addresses = (f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", "data:", "blob:")
    assert [url for url in foreign if not url.startswith(own_addresses)] == []
    assert errors == []
