"""Answers that are one body: JSON, and the errors that are nobody's parameter."""

from __future__ import annotations

from typing import Any

from tokenglass.server import bodies
from tokenglass.server.work import WAIT_SECONDS

DEFECT = {
    "error": {
        "type": "Defect",
        "message": "the server made a mistake; what was written is kept; "
        "TOKENGLASS_TRACEBACK=1 in its environment shows where",
    }
}
ENDED = {"error": {"type": "Ended", "message": "the server is ending; start it again and reload the page"}}


def json_answer(row: Any, status: int = 200, **headers: str) -> Any:
    """A row as an answer."""
    return answer_of(bodies.written(row), status, **headers)


def answer_of(body: bytes, status: int = 200, **headers: str) -> Any:
    """JSON as an answer that nobody keeps."""
    from starlette.responses import Response

    return Response(body, status, {"cache-control": "no-store", **headers}, "application/json")


def full() -> Any:
    """There is no place for another request at the moment."""
    error = {"type": "Busy", "message": f"too many requests at once; try again in {WAIT_SECONDS} s"}
    return json_answer({"error": error}, 429, **{"retry-after": str(WAIT_SECONDS)})
