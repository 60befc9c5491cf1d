"""How large the values of a chat template are, and would become: asked before the template makes them.

Size is counted in characters as if the value were written out: a text by its length, a number by its digits,
a list or mapping by what is in it, again each time it is in it. Lists and mappings never change in the
sandbox, so each is counted once: one that holds another twice over, forty levels deep, is found out without
a walk. Namespaces do change, and are therefore not allowed inside anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, ItemsView, Iterable, KeysView, Mapping, ValuesView
from threading import local
from typing import Any, TypeVar

from jinja2.utils import Namespace

MAX_SIZE = 1 << 22  # characters of a text, of everything in a list, of the whole output
MAX_DEPTH = 100
MAX_COUNT = 1 << 20  # of a width, a precision, a number of repetitions given to a filter or method
MAX_BITS = 1 << 12  # of an integer

_WIDE = re.compile(r"[0-9]{6}")  # a width in a format such as "%999999d" or "{:>999999}"
_GIVEN_WIDTH = re.compile(r"%[^a-zA-Z%]*\*|\{[^{}]*:[^{}]*\{")  # "%*d", "{:{width}}"
_NUMBER_SIZE = 400  # a float written out in full has 309 digits before the point
_LISTS = (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)
_FAR_TOO_MUCH = 1 << 62
_seen = local()  # one rendering is one thread
T = TypeVar("T")


class TooMuch(Exception):
    """A template would use more than it may; the text says of what, as in "takes ..."."""


def weighed(value: T) -> T:
    """The value, once it is known not to be too large."""
    size, depth = _measure(value, top=True)
    if size > MAX_SIZE:
        raise TooMuch(f"more than {MAX_SIZE:,} characters")
    if depth > MAX_DEPTH:
        raise TooMuch(f"values nested deeper than {MAX_DEPTH}")
    return value


def joined(parts: Iterable[str]) -> str:
    """The parts as one text, given up as soon as it is too long."""
    total, kept = 0, []
    for part in parts:
        total += len(part)
        if total > MAX_SIZE:
            raise TooMuch(f"more than {MAX_SIZE:,} characters of output")
        kept.append(part)
    return "".join(kept)


def check_operator(operator: str, left: Any, right: Any) -> None:
    """Refuse `left operator right` where the result would be too large; for "*", "+", "**" and "%"."""
    size = 0
    if operator == "+":
        size = _size(left) + _size(right)
    elif operator == "%" and isinstance(left, str):
        size = _formatted(left, "%", [right])
    elif operator == "**" and isinstance(left, int) and isinstance(right, int):
        size = _FAR_TOO_MUCH if left.bit_length() * max(right, 0) > MAX_BITS else 0
    elif operator == "*":
        size = _repeated(left, right)
    _refuse_above(size)


def check_call(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse a method of a text or number, or a filter, where its result would be too large.

    Args:
        name: "str.replace" for a method, "replace" for a filter.
        args: what it is called with, the text itself first.
        kwargs: the same, by name.
    """
    for value in (*args[1:], *kwargs.values()):
        if isinstance(value, int) and abs(value) > MAX_COUNT:
            raise TooMuch(f"a count of {_shown(value)}")
    if name.startswith("bytes.") and name != "bytes.decode":
        raise TooMuch("a method of bytes")
    rule = _GROWTH.get(name)
    if rule is not None:
        _refuse_above(rule(*args, **kwargs))


def _shown(value: int) -> str:
    return f"{value:,}" if value.bit_length() < 64 else f"{value.bit_length():,} bits"


def _refuse_above(size: int) -> None:
    if size > MAX_SIZE:
        raise TooMuch(f"more than {MAX_SIZE:,} characters")


def _size(value: Any) -> int:
    return _measure(value)[0]


def _measure(value: Any, top: bool = False) -> tuple[int, int]:
    """Size and depth of a value; `top` where it is in no other."""
    if isinstance(value, str | bytes):
        return len(value), 0
    if isinstance(value, int):
        return (_FAR_TOO_MUCH if value.bit_length() > MAX_BITS else 20), 0
    if isinstance(value, Namespace):
        if not top:
            raise TooMuch("a namespace inside another value")
        attributes = object.__getattribute__(value, "_Namespace__attrs")  # its own lookup finds variables
        return sum(_measure(item)[0] for item in attributes.values()), 0
    inside = _inside(value)
    if inside is None:
        return 20, 0
    memory: dict[int, tuple[Any, tuple[int, int]]] = _seen.__dict__.setdefault("values", {})
    known = memory.get(id(value))
    if known is None:
        sizes = [_measure(item) for item in inside]
        total = 2 + sum(size + 2 for size, _ in sizes), 1 + max((depth for _, depth in sizes), default=0)
        known = memory[id(value)] = value, total  # keeps the value, so that no other takes its id
    return known[1]


def _inside(value: Any) -> Iterable[Any] | None:
    """What a value holds, or None where it holds nothing."""
    if isinstance(value, Mapping):
        return (item for pair in value.items() for item in pair)
    return iter(value) if isinstance(value, _LISTS) else None


def _repeated(left: Any, right: Any) -> int:
    if isinstance(left, int) and isinstance(right, int):
        return _FAR_TOO_MUCH if left.bit_length() + right.bit_length() > MAX_BITS else 0
    if isinstance(left, int):
        left, right = right, left
    return (_size(left) + 1) * max(int(right), 0) if isinstance(right, int) else 0


def _formatted(text: str, mark: str, values: Iterable[Any]) -> int:
    """Bound of a text with values filled in where `mark` stands."""
    if _WIDE.search(text):
        return _FAR_TOO_MUCH
    widest = _NUMBER_SIZE
    widths = _GIVEN_WIDTH.search(text) is not None
    for value in values:
        widest = max(widest, _size(value))
        if widths:
            numbers = (item for item in (value, *(_inside(value) or ())) if isinstance(item, int))
            widest = max(widest, *numbers, 0)
    return len(text) + text.count(mark) * widest


def _replaced(text: Any, old: Any = "", new: Any = "", count: Any = None) -> int:
    given, sought = str(text), str(old)
    return len(given) + given.count(sought) * len(str(new))


def _joined(items: Any, separator: Any = "", attribute: Any = None) -> int:
    return _size(items) + len(items) * len(str(separator))


def _indented(text: Any, width: Any = 4, first: Any = False, blank: Any = False) -> int:
    step = width if isinstance(width, int) else len(str(width))
    return len(str(text)) + (str(text).count("\n") + 1) * step


def _wrapped(text: Any, width: Any = 79, *more: Any, **named: Any) -> int:
    wrapstring = more[1] if len(more) > 1 else named.get("wrapstring")
    lines = len(str(text)) // max(int(width), 1) + str(text).count("\n") + 1
    return len(str(text)) + lines * len(str(wrapstring or "\n"))


def _as_json(value: Any, ensure_ascii: Any = False, indent: Any = None, **_: Any) -> int:
    size, depth = _measure(value)
    step = int(indent) if isinstance(indent, int) else len(str(indent or ""))
    return size + size // 4 * step * depth  # one line in four characters is about the most there can be


_GROWTH: dict[str, Callable[..., int]] = {
    "str.replace": _replaced,
    "str.join": lambda text, items: _joined(items, text),
    "str.format": lambda text, *args, **kwargs: _formatted(text, "{", [*args, *kwargs.values()]),
    "str.format_map": lambda text, values: _formatted(text, "{", [values]),
    "str.expandtabs": lambda text, tabsize=8: len(text) + text.count("\t") * tabsize,
    "str.translate": lambda text, table: len(text) * _size(table),
    "replace": _replaced,
    "join": _joined,
    "indent": _indented,
    "wordwrap": _wrapped,
    "format": lambda text, *args, **kwargs: _formatted(str(text), "%", [*args, *kwargs.values()]),
    "tojson": _as_json,
}
