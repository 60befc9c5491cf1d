"""Single keys from a terminal, without waiting for Enter, and whole lines when they are wanted.

Keys come as characters; Enter is "enter", the arrows are "left" and "right", the end of input is "". Ctrl-C
stays what it is everywhere: a KeyboardInterrupt.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

_NAMED = {
    "\r": "enter",
    "\n": "enter",
    "\x1b[C": "right",
    "\x1bOC": "right",
    "\x1b[D": "left",
    "\x1bOD": "left",
}
_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)


def split_keys(text: str) -> list[str]:
    r"""The keys in what was read at once.

    >>> split_keys("u\n\x1b[C\x1b[5~")
    ['u', 'enter', 'right', '\x1b[5~']
    """
    return [_NAMED.get(key, key) for key in _KEY.findall(text)]


class Keyboard:
    """The keyboard for the length of a `with` block; the terminal is as before afterwards."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        self._before: Any = None

    def __enter__(self) -> Keyboard:
        self._single_keys()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def read(self) -> str:
        """The next key; "" when there will be no more."""
        while not self._waiting:
            text = self._read_some()
            if text is None:
                return ""
            self._waiting.extend(split_keys(text))
        return self._waiting.popleft()

    @contextmanager
    def line_mode(self) -> Iterator[None]:
        """The terminal's own line editing and echo for the length of a block."""
        self._restore()
        try:
            yield
        finally:
            self._single_keys()

    if sys.platform == "win32":

        def _single_keys(self) -> None:
            pass

        def _restore(self) -> None:
            pass

        def _read_some(self) -> str | None:
            import msvcrt

            key = msvcrt.getwch()
            if key == "\x03":
                raise KeyboardInterrupt
            if key in "\x00\xe0":  # a special key: its name follows
                return {"M": "\x1b[C", "K": "\x1b[D"}.get(msvcrt.getwch(), "\x1b[Z")
            return key

    else:

        def _single_keys(self) -> None:
            import termios
            import tty

            self._before = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno())

        def _restore(self) -> None:
            import termios

            if self._before is not None:
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._before)
                self._before = None

        def _read_some(self) -> str | None:
            data = os.read(sys.stdin.fileno(), 256)
            return self._utf8.decode(data) if data else None
