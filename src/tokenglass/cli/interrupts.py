"""Ctrl-C that arrives in a bad moment: it is delivered again until somebody hears it.

Python raises KeyboardInterrupt wherever the main thread happens to be, and in some places it is swallowed, so
that the program goes on as if nobody had pressed a key:

- in a weak reference's callback or in `__del__`, both frequent while modules are imported. The interpreter
  tells such losses to `sys.unraisablehook`; that is where we listen.
- where C asks something of Python and takes any error for a no, as `hasattr` of some libraries does. Nobody
  is told; so we remember that one came, and ask in quiet moments whether we are still here (`hear`).
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

__all__ = ["hear", "heard_at_last"]

AGAIN_AFTER = 0.01  # seconds: the callback that swallowed it has long returned

_came = threading.Event()


def heard_at_last() -> None:
    """From here on no Ctrl-C of this process is lost; to be called in the main thread."""
    before = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs, /) -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            _send_again()
        else:
            before(lost)

    sys.unraisablehook = hook
    # a program in the background may ignore it, and goes on doing so
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _raise)


def hear() -> None:
    """Say that nothing has caught an interrupt so far: if one came, it was swallowed and is raised again.

    Raises:
        KeyboardInterrupt: there was one.
    """
    if _came.is_set():
        raise KeyboardInterrupt


def _raise(number: int, frame: FrameType | None) -> None:
    _came.set()
    signal.default_int_handler(number, frame)


def _send_again() -> None:
    """Interrupt the main thread once more, from outside: here it would be swallowed with the first."""
    timer = threading.Timer(AGAIN_AFTER, _interrupt)
    timer.daemon = True
    with suppress(RuntimeError):  # the interpreter is ending, and so does the program
        timer.start()


def _interrupt() -> None:
    if hasattr(signal, "pthread_kill"):  # a real signal ends what the main thread waits for
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        import _thread

        _thread.interrupt_main()
