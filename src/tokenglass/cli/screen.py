"""Where a command's output goes: a terminal with colour, a pipe without, or one JSON document.

Knows the width, whether there is colour (NO_COLOR, TERM=dumb, no terminal: none) and how to redraw in place.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any

from tokenglass.text import safe_prose
from tokenglass.views.blocks import Block
from tokenglass.views.cells import cut
from tokenglass.views.terminal import painted


class Screen:
    """The terminal or pipe behind stdout."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        capable = self.is_terminal and os.environ.get("TERM", "") != "dumb"
        self.can_redraw = capable and _understands_escapes()
        self.ascii_bars = not _encodes("█▏│")
        self.colour = self.can_redraw and not os.environ.get("NO_COLOR")

    @property
    def width(self) -> int:
        """Cells in a line, at least 20; 80 where there is no terminal and COLUMNS says nothing."""
        return max(20, shutil.get_terminal_size((80, 24)).columns)

    @property
    def height(self) -> int:
        """Lines on the screen."""
        return shutil.get_terminal_size((80, 24)).lines

    def show(self, shown: Iterable[Block]) -> None:
        """Print blocks, one below the other."""
        for line in self.painted(shown):
            print(line)
        sys.stdout.flush()

    def painted(self, shown: Iterable[Block]) -> list[str]:
        """The lines of some blocks, as this screen can show them."""
        return list(painted(shown, self.width, self.colour, self.ascii_bars))

    def write(self, text: str, style: str = "", after: str = "") -> str:
        """Print running text as it comes, made safe; returns what was printed."""
        shown = safe_prose(text, after=after)
        sys.stdout.write(styled(shown, style, self.colour))
        sys.stdout.flush()
        return shown


def styled(text: str, style: str, colour: bool) -> str:
    """`text` in a style where there is colour."""
    from tokenglass.views.terminal import sgr

    return sgr(text, style) if colour else text


def note(text: str, end: str = "\n") -> None:
    """A remark for the person at the terminal, on stderr, out of the way of what is piped on."""
    print(text, end=end, file=sys.stderr, flush=True)


def passing(text: str) -> None:
    """A remark that the next one replaces; only where stderr is a terminal that can take it back."""
    if sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb" and _understands_escapes():
        width = max(20, shutil.get_terminal_size((80, 24)).columns)
        note(f"\r\x1b[K{cut(text, width - 1)}", end="")


def print_json(document: dict[str, Any]) -> None:
    """The one JSON document of a `--json` run."""
    print(json.dumps(document, allow_nan=False))


def _encodes(glyphs: str) -> bool:
    """Whether stdout's encoding has these characters."""
    try:
        glyphs.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _understands_escapes() -> bool:
    """Whether the terminal follows escape sequences; on Windows they are switched on first."""
    if sys.platform != "win32":
        return True
    import ctypes

    kernel = ctypes.windll.kernel32
    handle, mode = kernel.GetStdHandle(-11), ctypes.c_ulong()
    virtual_terminal = 0x0004
    if not kernel.GetConsoleMode(handle, ctypes.byref(mode)):
        return False
    return bool(kernel.SetConsoleMode(handle, mode.value | virtual_terminal))
