"""What becomes of an error: one line, an exit code, never a traceback.

Set TOKENGLASS_TRACEBACK=1 to see where an unexpected error comes from.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from tokenglass import errors
from tokenglass.text import safe_message

OK, USAGE, UNUSABLE, FAILED, INTERRUPTED = 0, 2, 3, 4, 130
LONGEST = 600  # characters of a message; what is behind them is somebody's input, quoted

_EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.ContextOverflow, USAGE),
    (errors.Unsupported, USAGE),
    (errors.MissingDependency, UNUSABLE),
    (errors.ModelNotFound, UNUSABLE),
    (errors.ModelUnsupported, UNUSABLE),
    (errors.TraceError, UNUSABLE),
    (errors.BatchError, UNUSABLE),
    (errors.TokenglassError, FAILED),
    (ValueError, USAGE),
    (TypeError, USAGE),
    (OSError, UNUSABLE),
)


def reported(command: Callable[[], int], *, as_json: bool) -> int:
    """Run a command; its exit code, with any error reported on the way."""
    try:
        _keep_output_printable()
        code = command()
        sys.stdout.flush()
        return code
    except SystemExit as end:  # a parser has printed its help
        return int(end.code or 0)
    except BrokenPipeError:  # the reader has seen enough, as `| head` does
        _discard_output()
        return OK
    except KeyboardInterrupt:
        return _report("Interrupted", "stopped", INTERRUPTED, as_json)
    except Exception as error:
        if os.environ.get("TOKENGLASS_TRACEBACK"):
            raise
        return _report(type(error).__name__, _message(error), exit_code(error), as_json)


def exit_code(error: BaseException) -> int:
    """The exit code of an error."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), FAILED)


def _message(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{error.strerror}; free some space"
        return f"{error.strerror}: {error.filename}; check the path" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller model or a shorter prompt"
    if not isinstance(error, (errors.TokenglassError, ValueError, TypeError, OSError)):
        return f"unexpected {type(error).__name__}: {text}; TOKENGLASS_TRACEBACK=1 shows where"
    return text


def _report(kind: str, message: str, code: int, as_json: bool) -> int:
    line = safe_message(" ".join(message.split()))
    line = line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
    with suppress(OSError):  # nobody reads any more, or the disk is full
        if as_json:
            print(json.dumps({"error": {"type": kind, "message": line, "exit_code": code}}), flush=True)
    with suppress(OSError):
        print(f"tokenglass: {line}", file=sys.stderr, flush=True)
    if kind in ("BrokenPipeError", "OSError"):
        _discard_output()  # what is still in the buffer would fail once more when the interpreter ends
    return code


def _keep_output_printable() -> None:
    """A character that the screen's encoding lacks becomes its escape; a closed stream becomes a mute one."""
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = None  # as the interpreter itself has it without a terminal
