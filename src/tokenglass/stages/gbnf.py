r"""GBNF, the grammar notation of llama.cpp, rewritten as Lark with one terminal for each character.

llama.cpp reads a grammar character by character, while a Lark lexer takes the longest match: where "ab" and
"a" "b" are rivals the two accept different texts. With one terminal for each character the lexer has nothing
to decide, so the texts are llama.cpp's. Left recursion, which llama.cpp refuses, is read like any other rule;
token references (`<think>`) are refused.

>>> print(to_lark('root ::= "ab" x?\nx ::= [^0-9]'))
start: C0 C1 r0?
r0: C2
C0: /[\x{61}]/
C1: /[\x{62}]/
C2: /[^\x{30}-\x{39}]/
<BLANKLINE>
"""

from __future__ import annotations

import re
from typing import NoReturn

from tokenglass.text import safe_line

MOST_RULES = 2_000
DEEPEST_GROUP = 30
MOST_REPEATS = 1_000_000

_BLANK = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_BLANKS = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TIMES = re.compile(r"\{\s*(\d{1,7})\s*(?:(,)\s*(\d{1,7})?\s*)?\}")
_ESCAPED = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([\\\"\[\]nrt]))")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
_FIRST_RULE = re.compile(r"(?:\s|#[^\n]*\n|//[^\n]*\n)*[A-Za-z0-9_-]+\s*::=")
_EMPTY = '""'


def is_gbnf(text: str) -> bool:
    r"""Whether the first thing in a grammar, comments aside, is a rule with "::="; Lark writes ":".

    >>> is_gbnf('# greeting\nroot ::= "hi"'), is_gbnf('start: "::="')
    (True, False)
    """
    return _FIRST_RULE.match(text) is not None


def to_lark(text: str) -> str:
    """The same grammar in Lark, without options.

    Raises:
        ValueError: not GBNF; says what was expected, and the line and column.
    """
    return _Reader(text).grammar()


class _Reader:
    """Reads one text from front to back; each method takes what it is named after and returns it in Lark."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self._labels: dict[str, str] = {}  # rule -> its name in Lark
        self._first_use: dict[str, int] = {}  # rule -> where it is referred to
        self._terminals: dict[str, str] = {}  # class of one character -> its name in Lark

    def grammar(self) -> str:
        """Every rule, then every terminal."""
        bodies: dict[str, str] = {}
        self._skip(_BLANKS)
        while self._at < len(self._text):
            start, name = self._at, self._name()
            if name in bodies:
                self._fail(f"the rule {name!r} is there already", start)
            if len(bodies) == MOST_RULES:
                self._fail(f"more than {MOST_RULES:,} rules", start)
            self._skip(_BLANK)
            if not self._took("::="):
                self._fail("'::=' expected")
            self._skip(_BLANKS)
            bodies[name] = self._alternatives(nested=False)
            if self._peek() not in ("\n", "\r", ""):
                self._fail("the end of the rule expected")
            self._skip(_BLANKS)
        if "root" not in bodies:
            self._fail("a rule called 'root' is missing", 0)
        for name, place in self._first_use.items():
            if name not in bodies:
                self._fail(f"no rule is called {name!r}", place)
        lines = [f"{self._label(name)}: {body}" for name, body in bodies.items()]
        lines += [f"{name}: /{characters}/" for characters, name in self._terminals.items()]
        return "\n".join(lines) + "\n"

    def _alternatives(self, nested: bool) -> str:
        found = [self._sequence(nested)]
        while self._took("|"):
            self._skip(_BLANKS)
            found.append(self._sequence(nested))
        return " | ".join(found)

    def _sequence(self, nested: bool) -> str:
        parts: list[str] = []
        while (part := self._item()) is not None:
            while (times := self._repetition()) is not None:
                part = _EMPTY if times == "{0,0}" else f"({part}){times}" if " " in part else part + times
                part = f"({part})" if self._peek() in "*+?{" and self._peek() else part
            parts.append(part)
            self._skip(_BLANKS if nested else _BLANK)
        return " ".join(parts) or _EMPTY

    def _item(self) -> str | None:
        """A literal, a class, a group or a reference; None where none of them stands here."""
        start = self._at
        if self._took('"'):
            return self._literal(start)
        if self._took("["):
            return self._terminal(self._class(start))
        if self._took("("):
            return self._group(start)
        if self._took("."):
            return self._terminal("(?s:.)")
        if self._peek() in ("<", "!"):
            self._fail("references to tokens are not supported, write their text", start)
        if not _NAME.match(self._text, self._at):
            return None
        name = self._name()
        self._first_use.setdefault(name, start)
        return self._label(name)

    def _literal(self, start: int) -> str:
        parts = []
        while not self._took('"'):
            parts.append(self._terminal(f"[{_code(self._character(start))}]"))
        return " ".join(parts) or _EMPTY

    def _class(self, start: int) -> str:
        negated, parts = self._took("^"), []
        while not self._took("]"):
            at, first = self._at, self._character(start)
            if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] == "]":
                parts.append(_code(first))
                continue
            self._at += 1
            last = self._character(start)
            if last < first:
                self._fail("a range of characters runs backwards", at)
            parts.append(f"{_code(first)}-{_code(last)}")
        if not parts:
            self._fail("a class of characters is empty", start)
        return f"[{'^' if negated else ''}{''.join(parts)}]"

    def _group(self, start: int) -> str:
        self._depth += 1
        if self._depth > DEEPEST_GROUP:
            self._fail(f"groups nested more than {DEEPEST_GROUP} deep", start)
        self._skip(_BLANKS)
        inside = self._alternatives(nested=True)
        if not self._took(")"):
            self._fail("a group is not closed", start)
        self._depth -= 1
        return f"({inside})"

    def _repetition(self) -> str | None:
        self._skip(_BLANK)
        if self._peek() in ("*", "+", "?"):
            self._at += 1
            return self._text[self._at - 1]
        if self._peek() != "{":
            return None
        start, match = self._at, _TIMES.match(self._text, self._at)
        if match is None:
            self._fail("{n}, {n,} or {n,m} expected")
        self._at = match.end()
        least, most = int(match[1]), int(match[3] or MOST_REPEATS)
        if not least <= most <= MOST_REPEATS:
            self._fail(f"a repetition needs n <= m <= {MOST_REPEATS:,}", start)
        return f"{{{least},}}" if match[2] and not match[3] else f"{{{least},{match[3] or least}}}"

    def _character(self, start: int) -> int:
        """Code point of the next character, which may be escaped."""
        if self._at == len(self._text) or self._text[self._at] in "\r\n":
            self._fail("a literal or a class of characters is not closed", start)
        if self._text[self._at] != "\\":
            self._at += 1
            return ord(self._text[self._at - 1])
        match = _ESCAPED.match(self._text, self._at)
        if match is None:
            self._fail(r"unknown escape; there are \xhh, \uhhhh, \Uhhhhhhhh and \\ \" \[ \] \n \r \t")
        number = match[1] or match[2] or match[3]
        code = int(number, 16) if number else ord(_CONTROL.get(match[4], match[4]))
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            self._fail("an escape stands for no character")
        self._at = match.end()
        return code

    def _name(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            self._fail("the name of a rule expected")
        self._at = match.end()
        return match[0]

    def _label(self, name: str) -> str:
        return self._labels.setdefault(name, "start" if name == "root" else f"r{len(self._labels)}")

    def _terminal(self, characters: str) -> str:
        return self._terminals.setdefault(characters, f"C{len(self._terminals)}")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _took(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        self._at += len(sign) if found else 0
        return found

    def _skip(self, blanks: re.Pattern[str]) -> None:
        match = blanks.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        at = self._at if at is None else at
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        raise ValueError(f"line {line}, column {column}: {safe_line(reason)}")


def _code(point: int) -> str:
    return f"\\x{{{point:x}}}"
