"""A real JupyterLab, driven by a real browser: a server, a notebook, and what a reader does with it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from tests.doc_blocks import ROOT

START_SECONDS = 120.0
PATIENCE_MS = 180_000  # a busy machine takes its time to start a kernel
PROMPT_MOVED = """([index, before]) => {
  const shown = document.querySelectorAll(".jp-Cell")[index].querySelector(".jp-InputPrompt");
  return shown.innerText !== before && /\\d/.test(shown.innerText);
}"""


@contextmanager
def jupyterlab(folder: Path) -> Iterator[tuple[str, str]]:
    """A server over a folder: its address and its token. Settings and runtime files stay in the folder."""
    port = free_port()
    token = secrets.token_hex(16)
    own = {f"JUPYTER_{name}_DIR": str(folder / f".{name.lower()}") for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "IPYTHONDIR": str(folder / ".ipython"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}"]
    command += [
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.news_url=None",
    ]
    command += ["--ServerApp.port_retries=0", "--ServerApp.quit_button=False"]
    log = (folder / "lab.log").open("w")
    server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(port, server)
        yield f"http://127.0.0.1:{port}", token
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Until a server that was started answers at its port.

    Raises:
        RuntimeError: it ended, or takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise RuntimeError("the server did not start")


def write_notebook(path: Path, cells: Sequence[str]) -> None:
    """A notebook with these cells, not executed."""
    made = nbformat.v4.new_notebook()
    made.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made.cells = [nbformat.v4.new_code_cell(text) for text in cells]
    nbformat.write(made, path)


class Book:
    """A notebook open in a browser.

    Args:
        page: of the browser.
        address: of the server.
        token: of the server.
        name: of the notebook.
    """

    def __init__(self, page: Any, address: str, token: str, name: str) -> None:
        self.page, self.address, self.token = page, address, token
        self.dialogs: list[str] = []
        self.foreign: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("dialog", self._dialog)
        page.on("request", self._request)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(f"{address}/lab/tree/{name}?token={token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        self._wait_for_kernel()

    def _wait_for_kernel(self) -> None:
        """A cell that is executed before the page is connected to its kernel is never executed."""
        for _ in range(PATIENCE_MS // 500):
            self.page.wait_for_timeout(500)
            if any(k["execution_state"] == "idle" and k["connections"] for k in self._kernels()):
                break
        self.page.locator("#jp-bottom-panel, #jp-main-statusbar").get_by_text("| Idle").first.wait_for()

    def _kernels(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.page.request.get(
            f"{self.address}/api/kernels", headers={"Authorization": f"token {self.token}"}
        ).json()
        return found

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:")):
            self.foreign.append(request.url)

    def run(self, index: int) -> str:
        """Execute a cell and wait until it is through; what it printed."""
        cell = self.page.locator(".jp-Cell").nth(index)
        before = cell.locator(".jp-InputPrompt").first.inner_text()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function(PROMPT_MOVED, arg=[index, before])
        return str(cell.locator(".jp-OutputArea").inner_text())

    def kernel(self, action: str) -> None:
        """Interrupt or restart the kernel, as the menu does."""
        headers = {"Authorization": f"token {self.token}"}
        (kernel,) = self._kernels()
        done = self.page.request.post(f"{self.address}/api/kernels/{kernel['id']}/{action}", headers=headers)
        assert done.ok, done.status
