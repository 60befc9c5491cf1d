r"""What a user may write to constrain a text, checked and turned into one notation, Lark.

Knows limits and notations; knows nothing of vocabularies, nor how a grammar is followed.

| keyword       | value                                                 | the text                          |
|---------------|-------------------------------------------------------|-----------------------------------|
| `regex`       | pattern, see below                                    | matches it from end to end        |
| `choice`      | list of texts                                         | is one of them                    |
| `json_schema` | JSON Schema, a dict or JSON; `{}` is any JSON value   | is JSON that the schema accepts   |
| `grammar`     | GBNF: its first rule has `::=`                        | is derived from `root`            |
|               | Lark: anything else                                   | is derived from `start`           |

Patterns are those of Rust's `regex` crate without look-around, `\b` and back references: `.` is any character
but a line feed, and `\d`, `\w` and `\s` are Unicode's (unlike Python's, this `\w` holds combining marks).

White space between the parts of JSON is free, which is the library's own custom: models were trained on JSON
spaced in every way. A schema with `"x-guidance": {"whitespace_flexible": false}` allows none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from math import lcm
from typing import Any, Literal

from tokenglass.stages.base import require
from tokenglass.stages.gbnf import MOST_RULES, is_gbnf, to_lark
from tokenglass.text import safe_line

Keyword = Literal["regex", "choice", "json_schema", "grammar"]
KEYWORDS: tuple[Keyword, ...] = ("regex", "choice", "json_schema", "grammar")

MOST_REGEX = 10_000  # bytes
MOST_TEXT = 100_000  # bytes of a schema, a grammar, or all choices together
MOST_CHOICES = 10_000
DEEPEST_SCHEMA = 64  # levels of {} and []
MOST_MULTIPLE = 100_000  # larger ones make an automaton of as many states, which takes seconds

_LARK_RULE = re.compile(r"(?m)^[ \t]*[?!]?[A-Za-z_]\w*[^:\n]*:")
_IN_LARK = {"/": r"\/", "\n": r"\n", "\r": r"\r", "\\\n": r"\n", "\\\r": r"\r"}
_VERBOSE = re.compile(r"\(\?[a-zA-Z]*x")


def settled(keyword: str, value: Any) -> Any:
    """The value as it is kept: text, or a tuple of texts for `choice`; a schema as JSON.

    Raises:
        ValueError: an unknown keyword, a value of another kind, empty, too large or not readable.

    >>> settled("json_schema", {"type": "integer"}), settled("choice", ["yes", "no"])
    ('{"type": "integer"}', ('yes', 'no'))
    """
    require(keyword in KEYWORDS, "keyword", f"one of {', '.join(KEYWORDS)}", keyword)
    if keyword == "choice":
        return _choices(value)
    if keyword == "json_schema":
        return _schema(value)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{keyword} must be a text of at least one character, got {_shown(value)}")
    _fits(keyword, value, MOST_REGEX if keyword == "regex" else MOST_TEXT)
    return value


def lark(keyword: Keyword, value: Any) -> str:
    """The Lark grammar of a settled value, without options.

    Raises:
        ValueError: the value is not in its notation, or asks for too much; one line.
    """
    make: dict[Keyword, Callable[[Any], str]] = {
        "regex": _of_regex,
        "choice": lambda texts: f"start: /{'|'.join(map(_literal, texts))}/",
        "json_schema": lambda text: f"start: %json {text}",
        "grammar": _of_grammar,
    }
    found = make[keyword](value)
    _check_multiples(keyword, found)
    return found


def _of_regex(pattern: str) -> str:
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise ValueError("regex ends with a lone backslash; write two for one")
    if _VERBOSE.search(pattern) and "\n" in pattern:
        raise ValueError("regex with (?x) must stand on one line, got several")
    # Lark ends a pattern at the first bare "/" and at the end of the line
    escaped = re.sub(r"(?s)\\.|[/\n\r]", lambda m: _IN_LARK.get(m[0], m[0]), pattern)
    return f"start: /{escaped}/"


def _of_grammar(text: str) -> str:
    if is_gbnf(text):
        try:
            return to_lark(text)
        except ValueError as error:
            raise ValueError(f"grammar is not GBNF: {error}") from None
    if len(_LARK_RULE.findall(text)) > MOST_RULES:
        raise ValueError(f"grammar must have at most {MOST_RULES:,} rules; leave some out")
    return text


def _literal(text: str) -> str:
    return "".join(c if c.isalnum() else f"\\x{{{ord(c):x}}}" for c in text)


def _choices(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"choice must be a list of texts, got {_shown(value)}")
    require(1 <= len(value) <= MOST_CHOICES, "choice", f"1 to {MOST_CHOICES:,} texts", len(value))
    for text in value:
        if not isinstance(text, str) or not text:
            raise ValueError(f"choice must hold texts of at least one character, got {_shown(text)}")
    _fits("choice", "".join(value), MOST_TEXT)
    return tuple(value)


def _schema(value: Any) -> str:
    if not isinstance(value, str | dict):
        raise ValueError(f"json_schema must be a dict or JSON text, got {_shown(value)}")
    try:
        if isinstance(value, str):
            _fits("json_schema", value, MOST_TEXT)
            value = json.loads(value)
        text = json.dumps(value, allow_nan=False)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"json_schema is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise ValueError(f"json_schema must be at most {DEEPEST_SCHEMA} levels deep") from None
    except (TypeError, ValueError) as error:
        if str(error).startswith("json_schema"):
            raise
        raise ValueError(f"json_schema is not JSON: {safe_line(str(error))}") from None
    _fits("json_schema", text, MOST_TEXT)
    if not isinstance(value, dict | bool):
        raise ValueError(f"json_schema must be an object, got {_shown(value)}")
    depth = _depth(value)
    require(depth <= DEEPEST_SCHEMA, "json_schema", f"at most {DEEPEST_SCHEMA} levels deep", depth)
    return text


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        level = [inner for v in level for inner in (v.values() if isinstance(v, dict) else v)]
        depth += 1
    return depth


def _check_multiples(keyword: str, text: str) -> None:
    """Refuse divisors whose automaton takes seconds to build; also in Lark, which can hold JSON Schema."""
    common = 1
    for place in re.finditer(r"%json\b\s*", text):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, place.end())
        except (ValueError, RecursionError):
            continue  # the library says what is wrong there
        for number in _numbers_under("multipleOf", found):
            digits = Decimal(str(number)).as_tuple().digits
            common = lcm(common, int("".join(map(str, digits)).rstrip("0") or "1"))
            if common > MOST_MULTIPLE:
                raise ValueError(
                    f"{keyword} asks for multipleOf with a common multiple above {MOST_MULTIPLE:,} "
                    "(decimal points aside), which takes too long to follow; use smaller or fewer ones"
                )


def _numbers_under(key: str, value: Any) -> Iterator[int | float]:
    level = [value]
    while level:
        inside = level.pop()
        if isinstance(inside, dict):
            number = inside.get(key)
            if isinstance(number, int | float) and not isinstance(number, bool):
                yield number
            level += inside.values()
        elif isinstance(inside, list):
            level += inside


def _fits(keyword: str, text: str, most: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{keyword} must be text, got half a character (a surrogate)") from None
    require(size <= most, keyword, f"at most {most:,} bytes long", size)


def _shown(value: Any) -> str:
    return safe_line(repr(value)[:60])
