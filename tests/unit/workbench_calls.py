"""Calls of a workbench, each answer held against its schema and against JSON itself."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from tokenglass.workbench import Workbench
from tokenglass.workbench.shapes import ANSWERS, ITEMS


@cache
def _validator(name: str, items: bool) -> Draft202012Validator:
    schema = (ITEMS if items else ANSWERS)[name]
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def checked(name: str, row: Any, *, items: bool = False) -> Any:
    """The row as it comes out of JSON, once it is what the schema says."""
    plain = json.loads(json.dumps(row, allow_nan=False))
    _validator(name, items).validate(plain)
    return plain


def call(bench: Workbench, name: str, **params: Any) -> Any:
    """The answer of one operation."""
    return checked(name, bench.call(name, params))


def stream(bench: Workbench, name: str, **params: Any) -> tuple[list[Any], Any]:
    """(items, end) of one that streams."""
    run, items = bench.stream(name, params), []
    try:
        while True:
            items.append(checked(name, next(run), items=True))
    except StopIteration as end:
        return items, checked(name, end.value)
