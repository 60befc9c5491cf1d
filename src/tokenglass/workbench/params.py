"""What a parameter may be: a JSON Schema for machines, and the same as a check that answers in one line.

Knows nothing of models. A value that passes is of the type the schema says, within its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

JsonDict = dict[str, Any]
MOST_SHOWN = 60  # characters of a refused value that are quoted


class Refused(ValueError):
    """A call that cannot be answered, by a name for programs and one line for people.

    Args:
        message: cause, then what to do.
        field: the parameter at fault, where there is one.
        kind: a name for programs.
    """

    def __init__(self, message: str, field: str | None = None, kind: str = "BadParameter") -> None:
        super().__init__(message)
        self.field, self.kind = field, kind


@dataclass(frozen=True)
class Kind:
    """One kind of value.

    Attributes:
        schema: what is allowed, as JSON Schema.
        rule: the same in words, after "must be".
        allows: whether a value is.
        about: what it means.
    """

    schema: Mapping[str, Any]
    rule: str
    allows: Callable[[Any], bool]
    about: str = ""

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that is none.

        Raises:
            Refused: it names the parameter, the rule and the value.
        """
        if not self.allows(value):
            raise Refused(f"{name} must be {self.rule}, got {quoted(value)}", name)

    def said(self, about: str) -> Kind:
        """The same kind with another meaning."""
        return replace(self, about=about)


def quoted(value: Any) -> str:
    """The beginning of a value, to be quoted in a message."""
    shown = repr(value)
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN - 3]}..."


def whole(least: int, most: int, about: str = "") -> Kind:
    """A whole number in an interval."""

    def allows(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Kind(schema, f"a whole number in [{least}, {most}]", allows, about)


def number(least: float, most: float, about: str = "") -> Kind:
    """A finite number in an interval."""

    def allows(value: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and isfinite(value) and least <= value <= most

    schema = {"type": "number", "minimum": least, "maximum": most}
    return Kind(schema, f"a number in [{least:g}, {most:g}]", allows, about)


def flag(about: str = "") -> Kind:
    """True or false."""
    return Kind({"type": "boolean"}, "true or false", lambda value: isinstance(value, bool), about)


def text(most: int, about: str = "", *, least: int = 0) -> Kind:
    """A text of at most `most` characters, none of them half a surrogate pair."""

    def allows(value: Any) -> bool:
        return isinstance(value, str) and least <= len(value) <= most and is_whole(value)

    schema = {"type": "string", "minLength": least, "maxLength": most}
    rule = f"a text of {least or 'up'} to {most:,} characters, none of them half a surrogate pair"
    return Kind(schema, rule, allows, about)


def is_whole(value: str) -> bool:
    """Whether a text has no lone surrogate, which no tokenizer and no UTF-8 can hold."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def one_of(names: tuple[str, ...], about: str = "") -> Kind:
    """One of some names."""
    return Kind(
        {"type": "string", "enum": list(names)}, f"one of {', '.join(names)}", names.__contains__, about
    )


def list_of(kind: Kind, most: int, about: str = "", *, least: int = 0) -> Kind:
    """A list of values of one kind."""

    def allows(value: Any) -> bool:
        return isinstance(value, list) and least <= len(value) <= most and all(map(kind.allows, value))

    schema = {"type": "array", "items": dict(kind.schema), "minItems": least, "maxItems": most}
    return Kind(schema, f"a list of {least} to {most:,}, each {kind.rule}", allows, about)


def either(*kinds: Kind, about: str = "") -> Kind:
    """A value of any of several kinds."""

    def allows(value: Any) -> bool:
        return any(kind.allows(value) for kind in kinds)

    schema = {"anyOf": [dict(kind.schema) for kind in kinds]}
    return Kind(schema, " or ".join(kind.rule for kind in kinds), allows, about)


def record(fields: Mapping[str, Kind], required: frozenset[str], about: str = "") -> Kind:
    """An object with these fields and no other."""

    def allows(value: Any) -> bool:
        if not isinstance(value, dict) or not required <= value.keys() <= fields.keys():
            return False
        return all(each is None or fields[name].allows(each) for name, each in value.items())

    schema = {
        "type": "object",
        "properties": {name: dict(kind.schema) for name, kind in fields.items()},
        "required": sorted(required),
        "additionalProperties": False,
    }
    return _Record(schema, f"an object with {', '.join(fields)}", allows, about, fields, required)


@dataclass(frozen=True)
class _Record(Kind):
    """An object whose fields are checked by name."""

    fields: Mapping[str, Kind] = field(default_factory=dict)
    required: frozenset[str] = frozenset()

    def check(self, name: str, value: Any) -> None:
        if not isinstance(value, dict):
            super().check(name, value)
        for inner in value:
            if inner not in self.fields:
                raise Refused(f"{name} has no field {inner[:60]!r}; it takes {', '.join(self.fields)}", name)
        for inner in sorted(self.required - value.keys()):
            raise Refused(f"{name} needs {inner}", name)
        for inner, given in value.items():
            self.fields[inner].check(f"{name}.{inner}", given)
