"""Interrupts of a kernel while a view's text is written, between the kernel's own cells.

A kernel lets an interrupt reach Python only while it runs a cell; at any other time it ignores the signal.
What a view asked for runs between cells. So while some of it is under way, the signal is heard here.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    """Whether the kernel was interrupted since something began."""

    def __init__(self) -> None:
        self.came = False


_waiting: list[Interrupt] = []
_before: Any = signal.SIG_IGN  # who heard the signal until then


@contextmanager
def heard() -> Iterator[Interrupt]:
    """Hear interrupts while this lasts; outside the main thread, where no signal arrives, none ever comes."""
    found = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    _waiting.append(found)
    listen()
    try:
        yield found
    finally:
        _waiting.remove(found)
        if not _waiting and signal.getsignal(signal.SIGINT) is _came:
            signal.signal(signal.SIGINT, _before)


def listen() -> None:
    """Hear the signal (again): a cell that ends puts back whoever heard it when the cell began."""
    global _before
    on_main = threading.current_thread() is threading.main_thread()
    if on_main and _waiting and signal.getsignal(signal.SIGINT) is not _came:
        _before = signal.signal(signal.SIGINT, _came)


def _came(number: int, frame: Any) -> None:
    """With nothing under way, a cell that ended late has put this back: the signal is for the one before."""
    for each in _waiting:
        each.came = True
    if not _waiting and callable(_before):
        _before(number, frame)
