"""HTML and text of results where there is no style: GitHub may strip it, a mail and a diff have none."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import pytest

from tests.unit.view_samples import (
    BEAMS,
    CHAINED,
    COMPARISON,
    CUT,
    GENERATION,
    PLAIN,
    SCORE,
    SENTENCE,
    SESSION,
    SHOWCASE,
    TREE,
    logits_of,
    score_of,
    step,
    tokenization,
)
from tokenglass.types import Generation, NextTokens, Sequence, Shown
from tokenglass.views.blocks import Table
from tokenglass.views.html import to_html
from tokenglass.views.layout import blocks, steps_table
from tokenglass.views.terminal import painted, to_text


class Bare(HTMLParser):
    """What a page without styles shows: blocks and rows end a line, cells a column, spaces collapse.

    A block inside a cell ends a line of that cell only, which counts as a space here.
    """

    ENDS = frozenset({"div", "tr", "li", "p", "summary", "ul", "table"})

    def __init__(self, document: str) -> None:
        super().__init__()
        self.text, self.in_cell = "", False
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_cell = self.in_cell or tag in ("td", "th")
        if tag in self.ENDS or tag == "br":
            self.text += " " if self.in_cell else "\n"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.text, self.in_cell = self.text.rstrip(" ") + "\t", False
        elif tag in self.ENDS:
            self.text += "" if self.in_cell else "\n"

    def handle_data(self, data: str) -> None:
        self.text += re.sub(r"[ \n]+", " ", data)


def bare(result: Shown) -> list[str]:
    """The lines of a result's HTML without any style."""
    return [line.strip() for line in Bare(to_html(result)).text.split("\n") if line.strip()]


def test_the_bar_says_what_it_measures() -> None:
    """After the chain wherever there is one; the same rule for the steps of a text."""
    assert "after the chain, 0\xa0to\xa0100\xa0%" in bare(CHAINED)[2].split("\t")
    assert "0\xa0to\xa0100\xa0%" in bare(PLAIN)[2].split("\t")
    steps = steps_table((step(8, p_final=0.5), step(9)))
    assert [row.share for row in steps.rows] == [0.5, step(9).p_final] and steps.measure == "after the chain"
    assert steps_table((step(8),)).measure == ""
    assert "0 % after the chain  100 %" in to_text(CHAINED, 80)
    assert all(len(line) <= 50 for line in to_text(CHAINED, 50).split("\n"))


def test_bars_are_text_where_no_style_draws_them() -> None:
    """The title over them is then no title of an empty column; 20.7 % of 20 cells are four and an eighth."""
    assert bare(PLAIN)[3].split("\t")[3].strip() == "████▏"


@pytest.mark.parametrize("result", [GENERATION, BEAMS], ids=["generation", "beams"])
def test_a_sign_parts_what_was_given_from_what_was_written(result: Generation) -> None:
    for first, *others in (bare(result), to_text(result).split("\n")):
        assert first.startswith("Once upon a time, generative models▸ like")
        assert any(line.startswith(("▸ 4 new tokens", "▸ 2 new tokens")) for line in others)


def test_no_sign_where_nothing_was_given_or_written() -> None:
    assert "▸" not in to_text(GENERATION.sequences[0]) + to_html(GENERATION.sequences[0])
    nothing = Generation((0,), "Once", (Sequence((), "", (), "length"),))
    assert "▸" not in to_text(nothing) + to_html(nothing)


def test_a_session_marks_the_first_written_token_however_improbable() -> None:
    for lines in (bare(SESSION), to_text(SESSION).split("\n")):
        assert "▸ 32 new tokens" in lines[1]
        strip = next(line for line in lines if line.startswith("Once│"))
        assert re.search(r"·models│ ?▸·like│ ?,│", strip)


def test_the_sign_of_what_was_written_has_an_ascii_form() -> None:
    drawn = "\n".join(painted(blocks(GENERATION), 80, colour=False, ascii_bars=True))
    assert "models> like" in drawn and "> 4 new tokens" in drawn


def test_a_token_that_looks_like_the_sign_stays_what_it_is() -> None:
    drawn = "\n".join(painted(blocks(tokenization(["▸".encode(), b">"])), 80, colour=False, ascii_bars=True))
    assert "▸|>|" in drawn


def test_tokens_stand_apart_and_keep_their_signs() -> None:
    assert bare(SENTENCE)[1] == "Once│ ·upon│ ·a│ ·time│ ,│ ·gener│ ative│ ·models"
    assert bare(SCORE)[2] == "Once│ ·like .│ , +│ ⏎ +│ <script>alert(1)</script> +│ ⟨U+FFFD⟩ +"
    assert any("·have│ ·were" in line for line in bare(TREE))


def test_the_legends_are_true_without_colour() -> None:
    lines = bare(SCORE)
    assert lines[3] == "tint, where the page shows it: the stronger, the more probable the token"
    assert lines[4].startswith(
        'sign at a token: its rank (how many tokens): "." 1st (1) | ":" 2–10 (0) | "+"'
    )
    assert "bold" not in lines[4]


def test_what_could_have_stood_there_instead_is_told_apart() -> None:
    """No separator that is itself a sign for a space, and no line break inside one of the others."""
    head, _, second = bare(SCORE)[5:8]
    assert head.split("\t")[:3] == ["#", "rank", "token"]
    assert second.split("\t")[5] == "10.8\xa0%\xa0·have | 9.52\xa0%\xa0·were"
    assert "  10.8 % ·have | 9.52 % ·were" in to_text(SCORE).split("\n")


def test_bold_rows_are_explained() -> None:
    assert "bold: rank above 100" not in to_text(score_of([0, 8]))


def test_percentages_keep_their_sign() -> None:
    assert "(20.7\xa0%)" in to_html(CUT) and "20.7 %" not in to_html(CUT)
    for width in range(20, 60):
        assert not re.search(r"^ *(%|bits\b)", to_text(CUT, width), re.MULTILINE)


def test_notation_is_never_struck_out() -> None:
    """A line through the dot that stands for a space would make a dash of it."""
    from rich.console import Console

    from tokenglass.views.terminal import to_rich

    struck = re.findall(r'<span style="text-decoration:line-through">([^<]*)</span>', to_html(CHAINED))
    assert struck == ["have", "were", "Once"]
    screen = io.StringIO()
    Console(file=screen, width=80, force_terminal=True, color_system="standard").print(to_rich(CHAINED))
    assert "\x1b[2;9m·" not in screen.getvalue() and "\x1b[2;9mhave" in screen.getvalue()


def test_parameters_stand_below_their_stage() -> None:
    lines = bare(CHAINED)
    assert "top_k top_k=2 · draw 0.2500\t2\t39\t31.5\xa0%\t0.93\xa0bits\t·like" in lines


def test_a_comparison_says_after_which_token() -> None:
    table = next(block for block in blocks(COMPARISON) if isinstance(block, Table))
    assert table.columns[-1].title == "after"


def test_strategies_fold_their_reasons_where_a_page_can() -> None:
    """A terminal, which cannot open a fold, prints them."""
    assert "<summary" in to_html(SHOWCASE) and "top_p: top_p=0.9" in to_text(SHOWCASE)


def test_a_lone_space_that_was_removed_stays_a_dot() -> None:
    gone = NextTokens((0,), 0, logits_of({8: 0.5}), 1, PLAIN.vocabulary)
    assert "line-through" not in to_html(gone)
