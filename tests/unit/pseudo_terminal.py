"""A terminal without a screen: runs the command line on a pty and follows what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PIECE = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b\[[\d;]*m|\r|\n|[^\x1b\r\n]+")


def _like_a_shell() -> None:
    """The terminal is the process's own, so that Ctrl-C reaches it as SIGINT, also from a background job."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """`python -m tests.unit.cli_world ARGS` on a terminal of its own.

    Follows the few codes that tokenglass sends: colours, cursor up, erase below. Any other fails the test.
    """

    def __init__(self, *args: str, columns: int = 80, rows: int = 40, **environment: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(theirs)
        variables = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]), "TERM": "xterm"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.cli_world", *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=variables | paths | environment,
            start_new_session=True,
            preexec_fn=_like_a_shell,
        )
        self.fd, self.theirs = ours, theirs
        self.raw = ""
        self._lines, self._row = [""], 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)
        os.close(self.theirs)

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def wait_for(self, text: str, seconds: float = 30.0) -> str:
        """The screen as soon as it holds `text`, broken over lines or not."""
        end = time.monotonic() + seconds
        while text not in " ".join(self.screen.split()):
            assert time.monotonic() < end, f"{text!r} did not appear in:\n{self.screen}"
            self._read(0.05)
        return self.screen

    def wait(self, seconds: float = 30.0) -> int:
        """The exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still running:\n{self.screen}"
            self._read(0.05)
        self._read(0.05)
        return self.process.returncode

    @property
    def screen(self) -> str:
        return "\n".join(self._lines)

    def _read(self, seconds: float) -> None:
        while select.select([self.fd], [], [], seconds)[0]:
            data = os.read(self.fd, 65536).decode("utf-8", "replace")
            self.raw += data
            self._draw(data)

    def _draw(self, data: str) -> None:
        position = 0
        for match in _PIECE.finditer(data):
            assert match.start() == position, f"unknown code: {data[position : position + 12]!r}"
            position = match.end()
            piece = match[0]
            if match[2] == "A":
                self._row = max(0, self._row - int(match[1] or 1))
            elif match[2] == "J":
                del self._lines[self._row :]
                self._lines.append("")
            elif match[2]:
                assert match[2] == "m", f"unknown code: {piece!r}"
            elif piece == "\n":
                self._row += 1
                if self._row == len(self._lines):
                    self._lines.append("")
            elif piece != "\r" and not piece.startswith("\x1b"):
                self._lines[self._row] += piece
        assert position == len(data), f"unknown code: {data[position:]!r}"
