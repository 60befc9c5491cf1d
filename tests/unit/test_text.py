"""The gate before every screen: nothing that acts gets through, and nothing is lost on the way."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenglass.text import Utf8Stream, safe_line, safe_prose, safe_text

NASTY = "a ·⏎⇥⟨⟩◌\n\t\r\x1b\u0301\u0308\u202e\u200d\ufe0f❤e漢\ufffdم\ud800"
ANY_TEXT = st.text(st.sampled_from(NASTY) | st.characters(exclude_categories=()), max_size=40)
ALLOWED = {safe_text: "", safe_line: " ", safe_prose: " \n"}
VIEWS = pytest.mark.parametrize("view", list(ALLOWED), ids=lambda view: view.__name__)
CONTROL_NAMES = {
    **{name: chr(code) for code, name in enumerate(["NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL"])},
    **{"BS": "\b", "VT": "\v", "CR": "\r", "SO": "\x0e", "SI": "\x0f", "DLE": "\x10", "DC1": "\x11"},
    **{"DC2": "\x12", "DC3": "\x13", "DC4": "\x14", "NAK": "\x15", "SYN": "\x16", "ETB": "\x17"},
    **{"CAN": "\x18", "EM": "\x19", "SUB": "\x1a", "ESC": "\x1b", "FS": "\x1c", "GS": "\x1d"},
    **{"RS": "\x1e", "US": "\x1f", "DEL": "\x7f"},
}
SIGNS = {"·": b" ", "⏎": b"\n", "⇥": b"\t", "◌": b""}


def read_back(shown: str) -> bytes:
    """What a careful reader gets from a token's display text: written from the rules, not from the code."""

    def piece(match: re.Match[str]) -> bytes:
        if match[1] is None:
            return SIGNS.get(match[0], match[0].encode())
        if match[1].startswith("U+"):
            return chr(int(match[1][2:], 16)).encode("utf-8", "surrogatepass")
        return CONTROL_NAMES[match[1]].encode() if match[1] in CONTROL_NAMES else bytes.fromhex(match[1])

    return b"".join(piece(match) for match in re.finditer("⟨([^⟩]+)⟩|.", shown))


@pytest.mark.parametrize(
    ("given_bytes", "shown"),
    [
        (b" the", "·the"),
        (b"\n\t", "⏎⇥"),
        ("·".encode(), "⟨U+00B7⟩"),
        ("⟨E2⟩".encode(), "⟨U+27E8⟩E2⟨U+27E9⟩"),
        (b"\xe2", "⟨E2⟩"),
        (b"a\x80b", "a⟨80⟩b"),
        (b"\xff\x0c", "⟨FF⟩⟨U+000C⟩"),
        (b"\xed\xa0\x80", "⟨ED⟩⟨A0⟩⟨80⟩"),
        ("\ufffd".encode(), "⟨U+FFFD⟩"),
        ("\u202e".encode(), "⟨U+202E⟩"),
        ("\u200d\ufe0f\u00a0\u3164".encode(), "⟨U+200D⟩⟨U+FE0F⟩⟨U+00A0⟩⟨U+3164⟩"),
        ("\U000e0041\ue000".encode(), "⟨U+E0041⟩⟨U+E000⟩"),
        (b"\x1b]52;c;x\x07", "⟨ESC⟩]52;c;x⟨BEL⟩"),
        ("\u0301".encode(), "◌\u0301"),
        ("e\u0301".encode(), "e\u0301"),
        (" \u0301".encode(), "·◌\u0301"),
        ("漢字 Ünïcode".encode(), "漢字·Ünïcode"),
        ("مرحبا".encode(), "مرحبا"),
        (b"[bold]<b>&", "[bold]<b>&"),
        (b"", ""),
    ],
)
def test_safe_text_shows(given_bytes: bytes, shown: str) -> None:
    assert safe_text(given_bytes) == shown


def test_stacked_marks_are_spread_over_dotted_circles() -> None:
    """Nine accents on one letter would climb over the line above: four stay, five need two more bases."""
    assert safe_text("e" + "\u0301" * 9) == "e" + "\u0301" * 4 + "◌" + "\u0301" * 4 + "◌\u0301"


def test_every_code_point_is_shown_by_something_printable() -> None:
    """Through the three views, in pieces of 4,096; the planes between 3 and 14 are all unassigned."""
    for view, allowed in ALLOWED.items():
        for start in (*range(0, 0x34000, 4096), *range(0xE0000, 0xF2000, 4096), 0x10F000):
            block = "".join(map(chr, range(start, start + 4096)))
            bad = {c for c in view(block) if not (c.isprintable() or c in allowed)} - set("\ufe0e\ufe0f")
            assert not bad, (view.__name__, [hex(ord(c)) for c in bad])
            assert view(block)


def test_no_assigned_code_point_disappears() -> None:
    """Alone, every code point leaves a mark that takes up room: a base character, never only a mark."""
    for code in range(sys.maxunicode + 1):
        shown = safe_text(chr(code))
        first = unicodedata.category(shown[0])
        assert not first.startswith(("M", "C", "Z")), hex(code)


@VIEWS
@given(text=ANY_TEXT)
def test_output_holds_nothing_that_acts(view, text: str) -> None:
    """Categories straight from Unicode: no control, format, surrogate, private, unassigned, odd space."""
    for character in view(text):
        if character not in ALLOWED[view]:
            assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
    if view is not safe_prose:
        assert "\n" not in view(text)


@given(data=st.binary(max_size=24) | ANY_TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_a_token_can_be_read_back_from_its_display(data: bytes) -> None:
    """Two different tokens never share a display text: an independent reader recovers the exact bytes."""
    assert read_back(safe_text(data)) == data


@given(text=ANY_TEXT)
def test_a_string_and_its_bytes_show_alike(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert safe_text(text) == safe_text(data)


@given(text=ANY_TEXT, cut=st.integers(0, 40))
def test_prose_in_pieces_equals_prose_at_once(text: str, cut: int) -> None:
    first = safe_prose(text[:cut])
    assert first + safe_prose(text[cut:], after=first) == safe_prose(text)


def test_prose_keeps_ordinary_writing() -> None:
    text = "Dear Zoë,\n\n  I ❤️ naïve · cafés — “quoted”, हिन्दी, 漢字.\n"
    assert safe_prose(text) == text


@pytest.mark.parametrize("hidden", ["a\ufe0f", "❤\ufe0f\ufe0f", "\ufe0f", " \ufe0f"])
def test_prose_shows_selectors_that_select_nothing(hidden: str) -> None:
    """Runs of variation selectors carry hidden messages; only one, straight after a symbol, is writing."""
    assert "⟨U+FE0F⟩" in safe_prose(hidden)


@given(
    data=st.binary(max_size=40) | ANY_TEXT.map(lambda text: text.encode("utf-8", "replace")),
    seed=st.randoms(),
)
def test_stream_equals_decoding_at_once(data: bytes, seed) -> None:
    stream, pieces, rest = Utf8Stream(), [], data
    while rest:
        size = seed.randint(1, 3)
        pieces.append(stream.feed(rest[:size]))
        rest = rest[size:]
    assert "".join(pieces) + stream.finish() == data.decode("utf-8", "replace")
    assert stream.pending == b""


def test_stream_says_nothing_early() -> None:
    """U+1F600 is F0 9F 98 80: three bytes say nothing, the fourth says everything."""
    stream = Utf8Stream()
    assert [stream.feed(bytes([b])) for b in "😀".encode()] == ["", "", "", "😀"]
    assert stream.feed(b"\xe2\x82") == "" and stream.pending == b"\xe2\x82"
    assert stream.feed(b"a") == "\ufffda"
