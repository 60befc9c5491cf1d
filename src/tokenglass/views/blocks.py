"""What the views draw: headings, strips of tokens, running text and tables of short strings.

Every string in a block has been through `tokenglass.text`; no block knows colours, widths or HTML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["", "heading", "facts", "sentence", "chosen", "removed", "pruned", "rest", "prompt"]
Align = Literal["left", "right", "point"]


@dataclass(frozen=True, slots=True)
class Line:
    """A heading, some facts or a sentence; `tail` is a quotation whose end matters more than its start."""

    text: str
    role: Role = "sentence"
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """One token in a strip.

    Attributes:
        text: its safe text.
        role: "chosen" for one that was written, not given.
        p: its probability, which colours it, where that is known.
        hint: more about it, shown where there is a pointer to ask with.
        below: a short text under it, such as its id.
    """

    text: str
    role: Role = ""
    p: float | None = None
    hint: str = ""
    below: str = ""


@dataclass(frozen=True, slots=True)
class Strip:
    """Tokens side by side with a hairline between.

    Attributes:
        pieces: the tokens.
        written: index of the first that was written, not given; a sign stands before it.
        newest: whether the last ones matter most, so that of a long strip the beginning is folded.
    """

    pieces: tuple[Piece, ...]
    written: int | None = None
    newest: bool = False


@dataclass(frozen=True, slots=True)
class Prose:
    """Running text: what was given, then what was written; `pieces` is that token by token, if known."""

    prompt: str
    text: str
    pieces: tuple[Piece, ...] = ()

    @property
    def has_border(self) -> bool:
        """Whether one meets the other, so that a sign has to stand between."""
        return bool(len(self.prompt) and len(self.text))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: its key in `Row.cells`.
        title: what stands above it; "" for none.
        short: what stands above it on a narrow screen.
        align: "point" lines numbers up at the decimal point.
        keep: columns with the lowest `keep` go first where the screen is narrow; 9 never goes.
    """

    key: str
    title: str
    align: Align = "left"
    keep: int = 9
    short: str = ""

    @property
    def wraps(self) -> bool:
        """Whether it holds words that may go on in the next line; token text has rules of its own."""
        return self.align == "left" and self.key != "token"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        cells: column key -> text; "note" stands at the end of the row or below it, under no column.
        share: the bar's length as a fraction of 1, or None for no bar.
        role: what kind of row it is.
        tints: column key -> the probability that colours the cell.
    """

    cells: dict[str, str]
    share: float | None = None
    role: Role = ""
    tints: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns.

    Attributes:
        columns: from left to right.
        rows: from top to bottom.
        bars: a bar from 0 to 100 % follows each row.
        notes: what the rows' notes are about; "" where each note is a remark on its row alone.
        measure: what the bars show, where that is not plain.
    """

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    bars: bool = False
    notes: str = ""
    measure: str = ""

    @property
    def scale(self) -> str:
        """What stands above the bars."""
        return ", ".join(filter(None, (self.measure, "0\u00a0to\u00a0100\u00a0%"))) if self.bars else ""


@dataclass(frozen=True, slots=True)
class Code:
    """Lines of code to copy, each as it is."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """Blocks that are one step away.

    Attributes:
        summary: what is there.
        blocks: what a page opens.
        printed: whether a terminal, which opens nothing, prints them; else it prints the summary.
    """

    summary: str
    blocks: tuple[Block, ...]
    printed: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of an outline.

    Attributes:
        label: what it is called, such as the number of its place; "" for a mere remark.
        pieces: its tokens, side by side.
        p: the probability of all of them; None for a remark.
        note: what else there is to say.
        items: the entries below it.
    """

    label: str
    pieces: tuple[Piece, ...] = ()
    p: float | None = None
    note: str = ""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """Entries below entries, as nested lists where a screen has them.

    Attributes:
        items: the topmost entries.
        lines: the same as a table, its branches drawn with bars, for a screen without lists.
    """

    items: tuple[Item, ...]
    lines: Table


Block = Line | Strip | Prose | Table | Code | Fold | Outline

WRITTEN = "▸"  # stands before the first token that was written, not given

# The notation of `safe_text`, which views set apart from the characters themselves; not the dotted circle,
# which must stay in one piece with the mark it carries.
SIGN = re.compile("(⟨[^⟩]*⟩|[·⏎⇥])")
