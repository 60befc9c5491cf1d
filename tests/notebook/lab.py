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
PATIENCE_MS = 60_000  # a busy machine takes its time to start a kernel
PROMPT_MOVED = """([index, before]) => {
  const shown = document.querySelectorAll(".jp-Cell")[index].querySelector(".jp-InputPrompt");
  return shown.innerText !== before;
}"""
PROMPT_TELLS = """([index]) => {
  const shown = document.querySelectorAll(".jp-Cell")[index].querySelector(".jp-InputPrompt");
  return /\\d/.test(shown.innerText);
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
        "--LabApp.expose_app_in_browser=True",
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
        folder: where it lies.
    """

    def __init__(self, page: Any, address: str, token: str, name: str, folder: Path) -> None:
        self.page, self.address, self.name, self.path = page, address, name, folder / name
        self._headers = {"Authorization": f"token {token}"}
        self.dialogs: list[str] = []
        self.foreign: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("dialog", self._dialog)
        page.on("request", self._request)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        # the workspace of this notebook alone, with JupyterLab itself in sight of scripts
        page.goto(f"{address}/lab/workspaces/{self.path.stem}/tree/{name}?token={token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        self._wait_for_kernel()

    def _wait_for_kernel(self) -> None:
        """A cell that is executed before the page is connected to its kernel is never executed."""
        for _ in range(PATIENCE_MS // 500):
            if any(each["execution_state"] == "idle" and each["connections"] for each in self._kernels()):
                break
            self.page.wait_for_timeout(500)
        self.page.locator("#jp-bottom-panel, #jp-main-statusbar").get_by_text("| Idle").first.wait_for()

    def _kernels(self) -> list[dict[str, Any]]:
        """The kernel of this notebook, if it has started."""
        asked = self.page.request.get(f"{self.address}/api/sessions", headers=self._headers)
        return [each["kernel"] for each in asked.json() if each["path"] == self.name and each["kernel"]]

    def _dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.address, self.address.replace("http", "ws"), "data:", "blob:")):
            self.foreign.append(request.url)

    def _cell(self, index: int) -> Any:
        return self.page.locator(".jp-Cell").nth(index)

    def _prompt(self, index: int) -> str:
        return str(self._cell(index).locator(".jp-InputPrompt").first.inner_text())

    def run(self, index: int) -> str:
        """Execute a cell and wait until it is through; what it printed."""
        self.start(index)
        self.wait(index)
        return self.output(index)

    def start(self, index: int) -> None:
        """Execute a cell."""
        before = self._prompt(index)
        self._cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function(PROMPT_MOVED, arg=[index, before])

    def wait(self, index: int) -> None:
        """Until a cell is through."""
        self.page.wait_for_function(PROMPT_TELLS, arg=[index])

    def through(self, index: int) -> bool:
        """Whether a cell is through."""
        return bool(self.page.evaluate(PROMPT_TELLS, [index]))

    def output(self, index: int) -> str:
        """What a cell printed."""
        return str(self._cell(index).locator(".jp-OutputArea").inner_text())

    def interrupt(self) -> None:
        """Interrupt the kernel, as the menu does."""
        self.command("kernelmenu:interrupt")

    def restart(self) -> None:
        """Restart the kernel by the menu, which asks whether that is meant."""
        self.page.evaluate("void window.jupyterapp.commands.execute('kernelmenu:restart')")
        self.page.locator(".jp-Dialog .jp-mod-warn").click()
        self.page.locator(".jp-Dialog").wait_for(state="detached")
        self._wait_for_kernel()

    def command(self, name: str, **options: Any) -> None:
        """Carry out a command of JupyterLab."""
        self.page.evaluate(
            "([name, options]) => window.jupyterapp.commands.execute(name, options)", [name, options]
        )

    def theme(self, name: str) -> None:
        """Change the colours of everything."""
        self.command("apputils:change-theme", theme=name)

    def save(self) -> None:
        """Write the notebook, outputs included, to its file."""
        self.command("docmanager:save")

    def close(self) -> None:
        """Leave the notebook, and end its kernel."""
        for kernel in self._kernels():
            self.page.request.delete(f"{self.address}/api/kernels/{kernel['id']}", headers=self._headers)
        self.page.close()
