"""Ctrl-C that arrives in a bad moment: it is delivered again until somebody hears it.

Python raises KeyboardInterrupt wherever the main thread happens to be. In a weak reference's callback or in
`__del__`, both frequent while modules are imported, it is swallowed, and the program goes on as if nobody had
pressed a key. The interpreter tells such losses to `sys.unraisablehook`; that is where we listen.
"""

from __future__ import annotations

import sys
from contextlib import suppress

__all__ = ["heard_at_last"]

AGAIN_AFTER = 0.01  # seconds: the callback that swallowed it has long returned


def heard_at_last() -> None:
    """From here on no Ctrl-C of this process is lost."""
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs, /) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            _send_again()
        else:
            before(lost)

    sys.unraisablehook = hook


def _send_again() -> None:
    """Interrupt the main thread once more, from outside: here it would be swallowed with the first."""
    import _thread
    from threading import Timer

    timer = Timer(AGAIN_AFTER, _thread.interrupt_main)
    timer.daemon = True
    with suppress(RuntimeError):  # the interpreter is ending, and so does the program
        timer.start()
