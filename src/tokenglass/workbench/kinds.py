"""The kinds of parameters that operations share, with the limits of the local server's safety rules.

A request never names a file, an address, a template or a pattern: keywords that take one are refused here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenglass.config import BY_NAME, FIELDS, Field
from tokenglass.workbench.params import (
    JsonDict,
    Kind,
    Refused,
    either,
    flag,
    is_whole,
    list_of,
    number,
    text,
    whole,
)

MOST_ROWS = 1000
MOST_SIDE_BY_SIDE = 16  # samples, beams, sequences
MOST_STOPS = 16
LONGEST_STOP = 256
MOST_TEXT = 64 << 10  # characters
MOST_NEW_TOKENS = 4096
DEFAULT_ROWS = 10
DEFAULT_PROMPT = "Once upon a time, generative models"

SESSION = text(64, "the id that open gave", least=1)
ROWS = whole(1, MOST_ROWS, "rows of the next-token table")
SINCE = whole(0, 1 << 53, "the revision of the tree that you have: its rows are those that changed since")
NODE = either(
    whole(0, 1 << 31),
    text(256, least=1),
    about="a place of the tree, by number or by name",
)
POSITION = whole(0, 1 << 24, "index of a token, from 0")
TEXT = text(MOST_TEXT, "a text")
TOKEN = either(
    whole(0, 1 << 31),
    text(LONGEST_STOP * 4, least=1),
    about="a token by its id, or by its exact text",
)
IDS = list_of(whole(0, 1 << 31), MOST_TEXT, "token ids")

# What takes code, a pattern, or something that is no JSON value.
REFUSED_HERE: Mapping[str, str] = {
    "regex": "a page sends no patterns; use the library or the command line",
    "grammar": "a page sends no grammars; use the library or the command line",
    "json_schema": "a page sends no schemas; use the library or the command line",
    "max_time": "the page can stop a text at any token; leave it out",
    **{
        f.name: "it takes Python objects; use the library"
        for f in FIELDS
        if f.kind == "object" and f.name != "assistant_model"
    },
}
# Keyword -> the most it may be here: what bounds how much one request can ask for.
AT_MOST: Mapping[str, int] = {
    **dict.fromkeys(("num_beams", "num_beam_groups", "num_return_sequences"), MOST_SIDE_BY_SIDE),
    **dict.fromkeys(("max_new_tokens", "max_length"), MOST_NEW_TOKENS),
    **dict.fromkeys(("num_assistant_tokens", "prompt_lookup_num_tokens"), 64),
}
KEYWORDS = tuple(field for field in FIELDS if field.name not in REFUSED_HERE)
_TYPES: Mapping[str, JsonDict] = {
    "whole": {"type": "integer"},
    "number": {"type": "number"},
    "flag": {"type": "boolean"},
    "text": {"type": "string"},
    "object": {"type": "string"},
}


@dataclass(frozen=True)
class _Config(Kind):
    """Generation keywords as an object: the library checks values, this bounds what a request can ask for."""

    def check(self, name: str, value: Any) -> None:
        if not isinstance(value, dict):
            super().check(name, value)
        for keyword, given in value.items():
            _check_keyword(keyword, given)


def _check_keyword(name: str, value: Any) -> None:
    if name in REFUSED_HERE:
        raise Refused(f"{name} cannot be set here: {REFUSED_HERE[name]}", name)
    if name not in BY_NAME:
        near = difflib.get_close_matches(name, [field.name for field in KEYWORDS], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise Refused(f"there is no keyword {name[:60]!r}{hint}", name[:60])
    most = AT_MOST.get(name)
    if most is not None and isinstance(value, int | float) and value > most:
        raise Refused(f"{name} must be at most {most:,} here, got {value:,}", name)
    if name == "stop_strings":
        _check_stops(value)
    if isinstance(value, str) and not is_whole(value):
        raise Refused(f"{name} holds half a surrogate pair, which is no text; leave it out", name)


def _check_stops(value: Any) -> None:
    stops = [value] if isinstance(value, str) else value
    if stops is not None:
        list_of(text(LONGEST_STOP, least=1), MOST_STOPS).check("stop_strings", stops)


def _keyword_schema(field: Field) -> JsonDict:
    """Any JSON value the library may take; its own intervals are in words."""
    shown = dict(_TYPES.get(field.kind, {}))
    if field.name in AT_MOST:
        shown["maximum"] = AT_MOST[field.name]
    described = {"description": f"{field.about} ({field.interval})"}
    return {**({"anyOf": [shown, {"type": "null"}]} if shown else {}), **described}


CONFIG = _Config(
    {
        "type": "object",
        "properties": {field.name: _keyword_schema(field) for field in KEYWORDS},
        "additionalProperties": False,
    },
    "an object of generation keywords",
    lambda value: isinstance(value, dict),
    "generation keywords with transformers' names and meaning",
)


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"role", "content"}:
        return False
    role, content = value["role"], value["content"]
    return text(64, least=1).allows(role) and text(MOST_TEXT).allows(content)


MESSAGES = list_of(
    Kind(
        {
            "type": "object",
            "properties": {
                "role": dict(text(64, least=1).schema),
                "content": dict(text(MOST_TEXT).schema),
            },
            "required": ["role", "content"],
            "additionalProperties": False,
        },
        "an object with role and content",
        _is_message,
    ),
    64,
    "a conversation, rendered by the model's own template",
    least=1,
)

__all__ = [
    "AT_MOST",
    "CONFIG",
    "DEFAULT_PROMPT",
    "DEFAULT_ROWS",
    "IDS",
    "KEYWORDS",
    "MESSAGES",
    "MOST_ROWS",
    "NODE",
    "POSITION",
    "ROWS",
    "SESSION",
    "SINCE",
    "TEXT",
    "TOKEN",
    "flag",
    "number",
]
