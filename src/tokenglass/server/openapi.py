"""The OpenAPI document: made from the list of operations, so that it says what is there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenglass.version import __version__
from tokenglass.workbench import Operation
from tokenglass.workbench.shapes import ANSWERS, ITEMS

_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "description": "a name for programs"},
                "message": {"type": "string", "description": "one line: the cause, then what to do"},
                "field": {"type": "string", "description": "the parameter at fault"},
            },
            "required": ["type", "message"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}
_ERRORS = {
    400: "a wrong parameter, or a body that is no JSON",
    401: "no token, or one of another run",
    403: "another host or another site",
    404: "no such session",
    408: "the body did not come in time",
    413: "the body is too large",
    415: "the body is not application/json",
    422: "the model or the library refuses it",
    429: "too many requests at once; see Retry-After",
    431: "the headers are too large",
}

_EVENTS = (
    " The events are `item`, any number of times, then `done` or `error`; the data of each is one line of "
    "JSON, whose schemas stand beside this one as x-item, x-done and x-error."
)


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Every operation with its parameters, its answer and its errors."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "tokenglass", "version": __version__},
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
        "paths": {f"/api/{each.name}": {"post": _described(each)} for each in operations},
    }


def _described(operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": operation.about}
    if operation.streams:
        answer["description"] += _EVENTS
        answer["content"] = {
            "text/event-stream": {
                "schema": {"type": "string"},
                "x-item": ITEMS[operation.name],
                "x-done": ANSWERS[operation.name],
                "x-error": {"$ref": "#/components/schemas/Error"},
            }
        }
    else:
        answer["content"] = {"application/json": {"schema": ANSWERS[operation.name]}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    errors = {str(status): {"description": about, "content": error} for status, about in _ERRORS.items()}
    return {
        "operationId": operation.name,
        "summary": operation.about,
        "requestBody": {
            "required": bool(operation.required),
            "content": {"application/json": {"schema": operation.schema}},
        },
        "responses": {"200": answer, **errors},
    }
