"""A llama.cpp server for one GGUF file, as a child process on loopback.

A crash of its C++ code ends the child, not the program that uses it; `revive` starts it again. It ends with
its parent, however that ends: it reads standard input until there is none. A key made for it alone keeps
other users of the machine out. What runs in the child is `running`.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock, Timer
from typing import Any

from tokenglass.engines.server.address import Address
from tokenglass.errors import EngineError, MissingDependency, ModelUnsupported
from tokenglass.text import safe_line

SIGN = "tokenglass-child "  # of the one line of the child's output that is meant for its parent
_START_S = 300.0  # a large file takes its time to be mapped and warmed up
_END_S = 5.0


@dataclass(frozen=True)
class Settings:
    """What a child is told, over its standard input.

    Attributes:
        path: the GGUF file.
        context: tokens it can read.
        threads: of the computation, or None for llama.cpp's own choice.
        port: on loopback; 0 lets the system choose.
        key: that it asks everybody for.
    """

    path: str
    context: int
    threads: int | None = None
    port: int = 0
    key: str = ""


class Child:
    """A running child, which can be started again.

    Args:
        path: the GGUF file.
        context: tokens it can read.
        threads: of the computation.
        port: on loopback; 0 lets the system choose.
        key: that it asks for; a random one where empty.

    Raises:
        MissingDependency: xllamacpp is not installed.
        ModelUnsupported: llama.cpp cannot open the file.
        EngineError: it does not start.
    """

    def __init__(
        self, path: Path, context: int, threads: int | None = None, port: int = 0, key: str = ""
    ) -> None:
        self._settings = Settings(str(path), context, threads, port, key or secrets.token_urlsafe(24))
        self._lock = Lock()
        self._closed = False
        self._process: subprocess.Popen[str] | None = None
        self.address = self._started()

    def __repr__(self) -> str:
        return f"<Child at {self.address.shown}>"

    @property
    def pid(self) -> int:
        """Number of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def revive(self) -> Address | None:
        """The address of a child started anew where it had ended; None where it lives or was closed."""
        with self._lock:
            if self._closed or self.is_running:
                return None
            self.address = self._started()
            return self.address

    def close(self) -> None:
        """End the process, kindly and then not."""
        with self._lock:
            self._closed = True
            self._end()

    def _started(self) -> Address:
        self._end()  # lets go of the pipes of one that has ended
        command = [sys.executable, "-m", "tokenglass.engines.server.running"]
        with tempfile.TemporaryFile() as complaints:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                encoding="utf-8",
            )
            said = self._said()
            if "port" not in said:
                self._end()
                raise _failure(said, self._settings.path, complaints)
        self._settings = replace(self._settings, port=int(said["port"]))  # where it is found again
        return Address(f"http://127.0.0.1:{self._settings.port}", key=self._settings.key)

    def _said(self) -> dict[str, Any]:
        """What the child says once it listens, or why it does not; nothing where it ends first."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        timer = Timer(_START_S, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(asdict(self._settings)) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith(SIGN):
                    found: dict[str, Any] = json.loads(line.removeprefix(SIGN))
                    return found
        except OSError:
            pass  # it has ended already
        finally:
            timer.cancel()
            timer.join()
        return {}

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        with suppress(OSError):
            process.stdin.close()  # it ends itself then
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._process = None


def _failure(said: dict[str, Any], path: str, complaints: Any) -> EngineError:
    name = safe_line(Path(path).name)
    if said.get("missing"):
        return MissingDependency("a llama.cpp server", "pip install 'tokenglass[gguf]'")
    if said.get("error"):
        return ModelUnsupported(f"llama.cpp cannot open {name}: {safe_line(str(said['error']))[:200]}")
    complaints.seek(0)
    lines = complaints.read().decode("utf-8", "replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return EngineError(f"llama.cpp's server for {name} did not start: {safe_line(last)[:200]}")
