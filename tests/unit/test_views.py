"""Views: plain JSON, honest numbers, and nothing from a token that acts on a screen or a page."""

from __future__ import annotations

import io
import json
import math
import re
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.search_samples import SEARCHES
from tests.unit.view_samples import (
    ALL_NASTY,
    CHAINED,
    NASTY,
    PLAIN,
    RESULTS,
    SENTENCE,
    SIZE,
    VOCABULARY,
    tokenization,
)
from tokenglass.types import NextTokens, Shown, Token, Tokenization
from tokenglass.views import figures, rows
from tokenglass.views.blocks import Prose, Table
from tokenglass.views.candidates import next_table
from tokenglass.views.cells import cell_width, chunks, cut, cut_left, wrap
from tokenglass.views.html import to_html
from tokenglass.views.html_parts import BLUE, STRONGEST_TINT
from tokenglass.views.layout import blocks
from tokenglass.views.terminal import lines, to_rich, to_text

ALL = RESULTS | SEARCHES
EVERY_RESULT = pytest.mark.parametrize("result", ALL.values(), ids=ALL)
WIDTHS = pytest.mark.parametrize("width", [20, 33, 40, 60, 80, 200])


def strict_json(document: object) -> object:
    """Through JSON text and back, refusing what only Python's json allows."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in JSON")

    return json.loads(json.dumps(document, allow_nan=False), parse_constant=refuse)


@EVERY_RESULT
def test_to_dict_is_plain_json(result: Shown) -> None:
    assert strict_json(result.to_dict()) == result.to_dict()


def test_to_dict_flags_what_json_cannot_hold() -> None:
    logits = PLAIN.logits.copy()
    logits[0] = -np.inf
    row = rows.candidate(NextTokens((1,), 0, logits, 3, VOCABULARY).lookup(0))
    assert row["logit"] is None and row["logit_nonfinite"] == "-inf"
    assert row["p"] == 0.0
    config = CHAINED.to_dict()["config"]
    assert config["sequence_bias"] == [[[9], {"nonfinite": "-inf"}]]


def test_to_dict_keeps_ids_bytes_and_kinds() -> None:
    row = ALL_NASTY.to_dicts()[-1]
    assert (row["id"], bytes.fromhex(row["bytes"]), row["kind"]) == (SIZE - 1, b"<|endoftext|>", "control")
    assert SENTENCE.to_dicts()[3] == {
        "index": 3,
        "id": 3,
        "token": "·time",
        "bytes": b" time".hex(),
        "kind": "normal",
        "span": [11, 16],
    }


def test_to_dict_names_objects_without_addresses() -> None:
    assert rows.plain({"f": math.sin, "o": object()}) == {"f": "sin", "o": "object"}
    assert rows.plain({2, 1}) == [1, 2]


def test_rows_of_no_known_result_are_an_error() -> None:
    with pytest.raises(TypeError, match="no rows for a int"):
        rows.to_dict(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("result", [PLAIN, ALL_NASTY, CHAINED], ids=["plain", "all_nasty", "chained"])
def test_rows_and_rest_sum_to_one(result: NextTokens) -> None:
    """float32 logits near 17 are exact to 1e-6, their sum over 41 tokens to 1e-5 at worst."""
    document = result.to_dict()
    assert sum(row["p"] for row in document["rows"]) + document["rest_p"] == pytest.approx(1.0, abs=1e-5)
    final = sum(row["p_final"] for row in document["rows"]) + document["rest_p_final"]
    assert final == pytest.approx(1.0, abs=1e-5)


def test_a_looked_up_row_leaves_the_rest() -> None:
    """Row 42 of the table moves 0.118 % out of the rest; the shares of all rows still sum to 1."""
    table = next_table(PLAIN, [PLAIN.lookup(4)])
    assert [row.cells["rank"] for row in table.rows] == ["1", "2", "3", "4", "5", "41", "…"]
    assert sum(row.share or 0.0 for row in table.rows) == pytest.approx(1.0, abs=1e-5)
    assert table.rows[-1].cells["token"] == "35 others"
    assert len(next_table(PLAIN, [PLAIN.lookup(8)]).rows) == 6


def test_removed_rows_say_who_removed_them() -> None:
    text = to_text(CHAINED)
    assert "removed by bad_words_ids" in text and "removed by top_k" in text
    assert "removed by top_k" in to_html(CHAINED)


@WIDTHS
@EVERY_RESULT
def test_text_fits_its_width_and_is_safe(result: Shown, width: int) -> None:
    for line in to_text(result, width).split("\n"):
        assert cell_width(line) <= width, line
        assert all(c == " " or c.isprintable() for c in line), line


@WIDTHS
@EVERY_RESULT
def test_rich_draws_the_same_lines_as_text(result: Shown, width: int) -> None:
    """Same text with and without colour; no token text taken for markup, emoji codes or links."""
    from rich.console import Console

    plain, colour = io.StringIO(), io.StringIO()
    Console(file=plain, width=width, color_system=None).print(to_rich(result))
    assert [line.rstrip(" ") for line in plain.getvalue().rstrip("\n").split("\n")] == to_text(
        result, width
    ).split("\n")
    Console(file=colour, width=width, force_terminal=True, color_system="truecolor").print(to_rich(result))
    stripped = re.sub("\x1b\\[[0-9;]*m", "", colour.getvalue())
    assert stripped == plain.getvalue()
    assert not any(unicodedata.category(c) in ("Cc", "Cf") for c in stripped if c != "\n")


ELEMENTS = {"div", "span", "bdi", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "p"}
ELEMENTS |= {"ul", "li", "br"}


class Page(HTMLParser):
    """What a browser would make of a fragment: elements, attributes, text."""

    VOID = frozenset({"img", "br", "hr", "input", "meta", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.data: list[str] = []
        self.styles: list[str] = []
        self.tokens: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles += [value or "" for name, value in attrs if name == "style"]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "bdi":
            self.tokens.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.data.append(data)
        if "bdi" in self.open:
            self.tokens[-1] += data


def parsed(result: Shown) -> Page:
    page = Page()
    page.feed(to_html(result))
    page.close()
    assert not page.open, "unbalanced tags"
    return page


@EVERY_RESULT
def test_html_is_script_free_and_balanced(result: Shown) -> None:
    """Nasty tokens make neither an element nor an attribute; styles load nothing."""
    page = parsed(result)
    assert page.tags <= ELEMENTS
    assert page.attributes <= {"style", "title", "scope", "dir", "open"}
    assert not any("url(" in style or "expression" in style for style in page.styles)
    for text in page.data:
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs") for c in text if c != "\n")


def test_html_isolates_every_token() -> None:
    shown = parsed(tokenization(NASTY)).tokens
    assert [Token(0, data).text for data in NASTY] == shown[: len(NASTY)]


def test_html_keeps_a_lone_mark_on_its_circle() -> None:
    """Two text nodes would draw the circle and lose the mark beside it."""
    assert "◌\u0301" in parsed(tokenization(["\u0301".encode()])).data


def test_html_folds_long_results_and_bounds_their_size() -> None:
    text = tokenization([b" word"] * 10_000)
    drawn = to_html(text)
    assert "<details>" in drawn and re.search(r"[89],\d{3} more tokens are not drawn here", drawn)
    assert len(drawn) < 300_000  # a notebook stores it
    assert "<details>" not in to_html(tokenization([b" word"] * 55))


def luminance(colour: tuple[float, float, float]) -> float:
    channels = [c / 255 / 12.92 if c / 255 <= 0.03928 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


@pytest.mark.parametrize(
    ("page", "text"),
    [(255, 0x21), (255, 0x3B), (0xF5, 0x21), (0x11, 0xE0), (0x1E, 0xCC), (0x00, 0xFF)],
    ids=["jupyter", "vscode", "zebra", "jupyter-dark", "vscode-dark", "black"],
)
def test_numbers_stay_readable_on_the_strongest_tint(page: int, text: int) -> None:
    """WCAG AA: (L1 + 0.05) / (L2 + 0.05) >= 4.5 for the p = 1 tint over light and dark pages."""
    blue = [int(c) for c in BLUE.split(",")]
    tint = tuple(STRONGEST_TINT * c + (1 - STRONGEST_TINT) * page for c in blue)
    dark, light = sorted([luminance(tint), luminance((text, text, text))])
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_half_characters_are_joined_in_a_note() -> None:
    """The four bytes of 😀 in tokens of two, one and one: every one of them says what it is part of."""
    table = blocks(tokenization([b"\xf0\x9f", b"\x98", b"\x80", b"ok", b"\xff"]))[-1]
    assert isinstance(table, Table)
    assert [row.cells["note"] for row in table.rows] == ["part of 😀"] * 3 + ["", ""]


@pytest.mark.parametrize(
    "data", [b"", b"\xe2", b"\x80", b"\xf0\x9f\x98"], ids=["empty", "lead", "tail", "cut"]
)
def test_odd_tokenizations_are_shown(data: bytes) -> None:
    assert "1 token" in to_text(tokenization([data]))
    assert to_html(tokenization([data]))


def test_no_tokens_at_all_are_shown() -> None:
    nothing = Tokenization("", ())
    assert to_text(nothing).startswith("0 tokens · 0 characters · 0 bytes")
    assert to_html(nothing) and nothing.to_dict()["tokens"] == []


def test_unknown_share_is_said() -> None:
    known = NextTokens((0,), 0, PLAIN.logits, 3, VOCABULARY, coverage=0.97)
    assert "only 97.0 % of the probability is known" in to_text(known, 120)


@given(p=st.floats(0.0, 1.0))
def test_percent_is_never_wrong_by_more_than_its_last_digit(p: float) -> None:
    shown = figures.percent(p).removesuffix(" %").removeprefix(">")
    assert float(shown) / 100 == pytest.approx(p, rel=0.005, abs=1e-320)
    assert (shown == "0") == (p == 0.0)
    assert (shown == "100") == (p == 1.0)


@given(p=st.floats(0.0, 1.0), width=st.integers(1, 60))
def test_bars_are_linear(p: float, width: int) -> None:
    drawn = figures.bar(p, width)
    eighths = sum(8 if c == figures.FULL else figures.EIGHTHS.index(c) for c in drawn)
    assert abs(eighths - p * width * 8) <= 0.5 and len(drawn) <= width


@settings(max_examples=60)
@given(text=st.text(max_size=60), width=st.integers(20, 50))
def test_wrapping_keeps_every_character(text: str, width: int) -> None:
    from tokenglass.text import safe_prose, safe_text

    prose = safe_prose(text)
    lines = list(wrap(prose, width))
    assert all(cell_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == prose.replace(" ", "").replace("\n", "")
    token = safe_text(text)
    assert "".join(chunks(token, width)) == token
    assert cell_width(cut(token, width)) <= width and cell_width(cut_left(token, width)) <= width


@settings(max_examples=60)
@given(prompt=st.text(max_size=30), text=st.text(max_size=60), width=st.integers(20, 50))
def test_running_text_keeps_every_character_and_knows_whose_it_is(prompt: str, text: str, width: int) -> None:
    """The wrapped lines hold the prompt's characters in its style, then the text's; only spaces may go."""
    from tokenglass.text import safe_prose

    given_, written = safe_prose(prompt), safe_prose(text, after=safe_prose(prompt))
    segments = [segment for line in lines([Prose(given_, written)], width) for segment in line]
    for style, whole in (("prompt", given_), ("", written)):
        kept = "".join(piece for piece, its_style in segments if its_style == style)
        assert kept.replace(" ", "") == whole.replace(" ", "").replace("\n", "")


def test_chunks_do_not_split_a_chip() -> None:
    assert chunks("abc⟨U+202E⟩", 10) == ["abc", "⟨U+202E⟩"]
