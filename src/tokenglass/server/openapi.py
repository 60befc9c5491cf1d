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


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Every operation with its parameters, its answer and its errors."""
    return {
        "openapi": "3.2.0",
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
        shapes = {"item": ITEMS[operation.name], "done": ANSWERS[operation.name], "error": _ERROR}
        events = {"anyOf": [_event(event, shape) for event, shape in shapes.items()]}
        answer["content"] = {"text/event-stream": {"itemSchema": events}}
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


def _event(name: str, shape: dict[str, Any]) -> dict[str, Any]:
    """A server-sent event whose data is one line of JSON."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": shape}
    return {
        "type": "object",
        "properties": {"event": {"const": name}, "data": data},
        "required": ["event", "data"],
    }
