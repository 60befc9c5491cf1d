"""JSON as it comes in and as it goes out: no key twice, no NaN, and errors as one object."""

from __future__ import annotations

import json
from typing import Any

from tokenglass import errors
from tokenglass.text import safe_message
from tokenglass.workbench import Refused

LONGEST = 600  # characters of a message; what is behind them is somebody's input, quoted
_STATUS = {"NoSession": 404, "NoOperation": 404, "BadMediaType": 415}


def parsed(body: bytes) -> Any:
    """The value of a request's body; an empty one is no parameters.

    Raises:
        Refused: no JSON, a key given twice, or a number that JSON does not have.
    """
    if not body.strip():
        return {}
    try:
        return json.loads(body, object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except Refused:
        raise
    except RecursionError:
        raise Refused("the body is nested too deeply", kind="BadJson") from None
    except ValueError as error:
        raise Refused(f"the body is not valid JSON: {error}", kind="BadJson") from None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Refused(f"{name[:60]!r} is given twice", name[:60], "BadJson")
        found[name] = value
    return found


def _no_number(text: str) -> Any:
    raise Refused(f"{text} is no JSON number", kind="BadJson")


def written(value: Any) -> bytes:
    """A value as JSON; ASCII, so that nothing in it can be mistaken on the way."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def status_of(error: Exception) -> int | None:
    """The HTTP status of an error made on purpose; None for a defect."""
    if isinstance(error, Refused):
        return _STATUS.get(error.kind, 400)
    if isinstance(error, errors.EngineError | errors.NoTokenAllowed | errors.TraceError | errors.Unsupported):
        return 422
    return 400 if isinstance(error, ValueError | TypeError) else None


def error_body(error: Exception) -> dict[str, Any]:
    """An error as the object that a page shows beside what caused it."""
    message = " ".join(safe_message(str(error)).split())[:LONGEST]
    kind = error.kind if isinstance(error, Refused) else type(error).__name__
    field = getattr(error, "field", None) or _keyword_in(message)
    return {"error": {"type": kind, "message": message, **({"field": field} if field else {})}}


def _keyword_in(message: str) -> str | None:
    """The keyword that a message of the library begins with, as its messages do."""
    from tokenglass.config import KNOWN

    first = message.partition(" ")[0]
    return first if first in KNOWN or first in ("token", "node", "position", "n") else None
