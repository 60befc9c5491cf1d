"""Bytes and text: the gate before every screen, and UTF-8 that arrives in pieces.

Knows nothing about tokens or models. Three views of untrusted text, from strict to readable:

| function     | space | newline   | tab | for |
|--------------|-------|-----------|-----|-----|
| `safe_text`  | `·`   | `⏎`       | `⇥` | one token in a table |
| `safe_line`  | kept  | `⏎`       | `⇥` | a quotation inside one line |
| `safe_prose` | kept  | kept      | `⇥` | running text on a terminal |

The rule is the same in all three. A character that cannot be seen, or that could act on a screen (control,
format, bidi, zero-width, tag, private, unassigned, surrogate, odd white space), appears as a chip:
`⟨ESC⟩` by name for the old control characters, `⟨U+202E⟩` by code point for the rest. A byte that is no valid
UTF-8 appears as `⟨E2⟩`, two hexadecimal digits. A combining mark without a base stands on a dotted circle.
Every sign used as notation (`⟨ ⟩ ◌ ⇥`, and `·` and `⏎` where they stand for white space) appears as a chip
when it occurs in the text itself, so two different texts never look like one another by way of the notation.
(`⟨` and `⟩` are U+27E8 and U+27E9.) Letters that merely resemble each other are shown as they are.
`safe_message` is `safe_line` for error messages, which quote what was made safe before: it keeps the signs.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable

SPACE, NEWLINE, TAB, DOTTED_CIRCLE = "·", "⏎", "⇥", "◌"
_NOTATION = f"⟨⟩{DOTTED_CIRCLE}{TAB}"
_MARKS_ON_ONE_BASE = 4  # no writing system needs more; longer stacks would paint over neighbouring lines

_C0_NAMES = (
    "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC "
    "FS GS RS US"
)
# form feed is left out, because ⟨FF⟩ is the byte 255
_CONTROL_NAMES = {c: n for c, n in enumerate(_C0_NAMES.split(" ")) if n != "FF"} | {0x7F: "DEL"}

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"})
# Invisible although their category says letter, mark or symbol: Unicode's Default_Ignorable_Code_Point
# outside the categories above (fillers, joiners, variation selectors), and blank symbols. U+FFFD shows as a
# code point because a screen full of boxed question marks looks like our own decoding error.
_UNSEEN = frozenset(
    [
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0xFFFC, 0xFFFD, 0x16FE4, 0x1D159),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)


def safe_text(data: bytes | str) -> str:
    r"""One token's display text: safe on any screen, white space visible, on one line.

    The result holds printable characters only: no control, escape, bidi or format character, no space.

    >>> safe_text(b" caf\xc3\xa9\n"), safe_text(b"\xe2\x82"), safe_text("a\u202eb\x1b[1m")
    ('·café⏎', '⟨E2⟩⟨82⟩', 'a⟨U+202E⟩b⟨ESC⟩[1m')
    """
    text = data if isinstance(data, str) else _decode(data)
    if text is None:
        assert isinstance(data, bytes)
        return _show_broken(data)
    if text.isascii() and text.isprintable():  # nearly every token: no notation sign is ASCII
        return text.replace(" ", SPACE)
    return _show(text, _TOKEN)


def safe_texts(pieces: Iterable[bytes]) -> list[str]:
    """`safe_text` of many tokens; of a whole vocabulary in a third of the time."""
    return [
        text.replace(" ", SPACE)
        if piece.isascii() and (text := piece.decode()).isprintable()
        else safe_text(piece)
        for piece in pieces
    ]


def safe_line(text: str) -> str:
    r"""A quotation for the middle of a line: ordinary spaces kept, newlines as `⏎`, the rest as `safe_text`.

    >>> safe_line("two\nlines\x07")
    'two⏎lines⟨BEL⟩'
    """
    return text if text.isascii() and text.isprintable() else _show(text, _LINE)


def safe_message(text: str) -> str:
    r"""A message that may quote what was made safe already: as `safe_line`, but the signs are kept.

    >>> safe_message("no token is " + safe_line("\x1b[31m") + "\x07")
    'no token is ⟨ESC⟩[31m⟨BEL⟩'
    """
    return text if text.isascii() and text.isprintable() else _show(text, _MESSAGE)


def safe_prose(text: str, after: str = "") -> str:
    r"""Running text for a terminal: ordinary spaces and newlines kept, everything that could act visible.

    Args:
        text: the text, or its next piece.
        after: what was shown before it, so that a combining mark at the start of a piece finds its base.

    >>> safe_prose("one\ntwo \x1b]52;c;x\x07")
    'one\ntwo ⟨ESC⟩]52;c;x⟨BEL⟩'
    >>> safe_prose("\u0301", after="e") == "\u0301", safe_prose("\u0301") == "◌\u0301"
    (True, True)
    """
    return text if text.isascii() and text.isprintable() else _show(text, _PROSE, after)


class Utf8Stream:
    r"""UTF-8 that arrives in pieces: whole characters out, in order, none of them early.

    Malformed bytes become U+FFFD as soon as they are certainly malformed, exactly as
    `bytes.decode("utf-8", "replace")` of everything at once would have it.

    >>> stream = Utf8Stream()
    >>> [stream.feed(piece) for piece in (b"\xe2\x82", b"\xac!", b"\xf0")], stream.pending
    (['', '€!', ''], b'\xf0')
    >>> stream.finish() == "\ufffd"
    True
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    @property
    def pending(self) -> bytes:
        """Bytes of a character that is not complete yet."""
        return self._decoder.getstate()[0]

    def feed(self, piece: bytes) -> str:
        """The characters that `piece` completes."""
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """What is left when no more bytes come; the stream can then be used afresh."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest


def chip(character: str) -> str:
    """The visible stand-in of a character that must not be printed: its control name or code point."""
    code = ord(character)
    return f"⟨{_CONTROL_NAMES.get(code) or f'U+{code:04X}'}⟩"


_REMEMBERED = 8192  # characters a view keeps in mind: more than a text uses, little enough to bound memory


class _Glyphs(dict[str, str]):
    """One view's memory of single characters: character -> what is shown; filled as characters are met."""

    def __init__(self, kept: str, shown: dict[str, str], symbol_selectors: bool = False) -> None:
        super().__init__({c: c for c in kept} | shown)
        self.notation = frozenset(_NOTATION + "".join(shown.values()))
        self.symbol_selectors = symbol_selectors

    def __missing__(self, character: str) -> str:
        unseen = (
            unicodedata.category(character) in _UNSEEN_CATEGORIES
            or ord(character) in _UNSEEN
            or character in self.notation
        )
        glyph = chip(character) if unseen else character
        if len(self) < _REMEMBERED:
            self[character] = glyph
        return glyph


_TOKEN = _Glyphs("", {" ": SPACE, "\n": NEWLINE, "\t": TAB})
_LINE = _Glyphs(" ", {"\n": NEWLINE, "\t": TAB}, symbol_selectors=True)
_MESSAGE = _Glyphs(" " + _NOTATION, {"\n": NEWLINE, "\t": TAB}, symbol_selectors=True)
_MESSAGE.update({NEWLINE: NEWLINE})
_PROSE = _Glyphs(" \n", {"\t": TAB}, symbol_selectors=True)

_MARK_CATEGORIES = frozenset({"Mn", "Mc", "Me"})
_EMOJI_SELECTORS = "\ufe0e\ufe0f"


def _show(text: str, glyphs: _Glyphs, after: str = "") -> str:
    """`text` through `glyphs`, with combining marks given a base where they have none."""
    base, marks = _last_base(after)
    out: list[str] = []
    for character in text:
        shown = glyphs[character]
        category = unicodedata.category(character)
        if shown == character and category in _MARK_CATEGORIES:
            if not base or marks == _MARKS_ON_ONE_BASE:
                out.append(DOTTED_CIRCLE)
                base, marks = DOTTED_CIRCLE, 0
            marks += 1
        elif glyphs.symbol_selectors and character in _EMOJI_SELECTORS and base and not marks:
            # "text or picture form" directly after a symbol, as in a red heart, is ordinary writing
            if unicodedata.category(base) == "So":
                shown, marks = character, 1
        else:
            base = character if shown == character and category not in _UNSEEN_CATEGORIES else ""
            marks = 0
        out.append(shown)
    return "".join(out)


def _last_base(shown: str) -> tuple[str, int]:
    """The character at the end of `shown` that a combining mark would sit on ("" for none), and its marks."""
    tail = shown[-_MARKS_ON_ONE_BASE - 1 :]
    for marks, character in enumerate(reversed(tail)):
        category = unicodedata.category(character)
        if category not in _MARK_CATEGORIES:
            return ("" if category in _UNSEEN_CATEGORIES or character == "⟩" else character), marks
    return "", 0


def _decode(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


_WELL_FORMED = re.compile(  # Unicode 15.0, table 3-7
    rb"(?:[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    rb"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}"
    rb"|\xf4[\x80-\x8f][\x80-\xbf]{2})+"
)


def _show_broken(data: bytes) -> str:
    """Bytes that are not UTF-8 throughout: well-formed runs as text, every other byte as itself."""
    out: list[str] = []
    position = 0
    for run in _WELL_FORMED.finditer(data):
        out += [f"⟨{byte:02X}⟩" for byte in data[position : run.start()]]
        out.append(_show(run.group().decode(), _TOKEN))
        position = run.end()
    out += [f"⟨{byte:02X}⟩" for byte in data[position:]]
    return "".join(out)
