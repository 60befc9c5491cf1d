"""Results as HTML for notebooks: no script, no style sheet, inline styles only, readable without any style.

Draws the blocks of `layout`. Text colour is inherited, and colours are translucent, so that one document
suits a light and a dark page; under the strongest tint text keeps the contrast that WCAG AA asks for on both.
Each token stands in its own `<bdi>`, so that right-to-left text cannot reorder its neighbours.

A notebook stores this beside every cell, so it is bounded: what is in sight is drawn first, then each fold
takes at most its share of what is left of the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import Any

from tokenglass.types import NextTokens, Shown, Step, Vocabulary
from tokenglass.views.blocks import (
    WRITTEN,
    Block,
    Code,
    Fold,
    Item,
    Line,
    Outline,
    Piece,
    Prose,
    Strip,
    Table,
)
from tokenglass.views.figures import percent
from tokenglass.views.html_parts import (
    CODE,
    FIGURES,
    FONT,
    FRAMED,
    GREY,
    QUIET,
    SEPARATOR,
    note,
    pieces,
    shown,
    summary,
    tint,
    token,
)
from tokenglass.views.html_tables import drawn_rows, framed
from tokenglass.views.layout import blocks
from tokenglass.views.searches import step_blocks
from tokenglass.views.stages import stage_blocks

BUDGET = 250_000  # bytes; the last block that begins within it may end beyond
FOLD_ROWS, FOLD_PIECES = 50, 400  # in sight
MOST_ROWS, MOST_PIECES = 1000, 2500  # weighed for a fold at all
OUTLINE_PIECES, LEAST_PIECES = 1200, 4  # of a whole outline, and of each of its entries
PIECE_BYTES = 200  # of a token in an outline, in round numbers
SIGHT, LONGEST_TEXT = 4000, 20_000  # characters of a running text in sight, and drawn at all
OPEN_LEVELS, NESTED_LEVELS = 3, 8  # of an outline: deeper entries are folded, or stand in one list

PAGE = (
    "font-family:system-ui,sans-serif;font-size:14px;line-height:1.5;max-width:60em;text-align:left;"
    "overflow-wrap:anywhere"  # tables and their cells break words only where nothing else helps
)
STRIP = f"margin:6px 0;line-height:1.9;{FONT}"
FLOW = "margin:6px 0;white-space:pre-wrap"
LIST = f"list-style:none;margin:0 0 0 4px;padding:0 0 0 14px;border-left:1px solid rgba({GREY},.5)"
ENTRY = "margin:1px 0"
ROLES = {
    "heading": "font-weight:600;margin:8px 0 0",
    "facts": f"{QUIET};margin:0 0 6px",
    "sentence": "margin:6px 0",
}
LEGEND = "tint, where the page shows it: the stronger, the more probable the token"


class Room:
    """How many bytes a page may still take."""

    def __init__(self, left: int = BUDGET) -> None:
        self.left = left

    def take(self, drawn: str) -> str:
        """Count what was drawn."""
        self.left -= len(drawn.encode())
        return drawn

    def fitting(self, drawn: Iterable[str]) -> list[str]:
        """The first of these strings, as many as there is room for."""
        found: list[str] = []
        left = self.left
        for text in drawn:
            left -= len(text.encode())
            if left < 0:
                break
            found.append(text)
        return found


Part = str | Callable[[Room], str]  # what is in sight, or a fold, which takes what room the others left


def to_html(result: Shown) -> str:
    """A result as one HTML fragment, safe to put into any page."""
    return _page(blocks(result))


def stages_to_html(result: NextTokens | Step) -> str:
    """What each stage of the chain did, one row a stage."""
    return _page(stage_blocks(result))


def search_step_to_html(record: Any, vocabulary: Vocabulary) -> str:
    """One record of a search."""
    return _page(step_blocks(record, vocabulary))


def _page(found: Iterable[Block]) -> str:
    room = Room()
    parts: list[Part] = []
    left_out = 0
    for block in found:
        if room.left < 0:
            left_out += 1
            continue
        new = list(_drawn(block))
        for part in new:
            if isinstance(part, str):
                room.take(part)
        parts += new
    drawn = _with_folds(parts, room)
    more = f"<p>{_undrawn(left_out, 'part')}</p>" if left_out else ""
    return f'<div style="{PAGE}">{"".join(drawn)}{more}</div>'


def _with_folds(parts: list[Part], room: Room) -> list[str]:
    """All parts drawn; no fold takes the room of those below it."""
    waiting = sum(not isinstance(part, str) for part in parts)
    drawn = []
    for part in parts:
        if not isinstance(part, str):
            part = room.take(part(Room(room.left // waiting)))
            waiting -= 1
        drawn.append(part)
    return drawn


def _undrawn(n: int, noun: str) -> str:
    return f"{n:,} more {f'{noun} is' if n == 1 else f'{noun}s are'} not drawn here; to_dict() has them all."


def _drawn(block: Block) -> Iterator[Part]:
    match block:
        case Line():
            text = shown(_bounded(block.text)) + token(_bounded(block.tail))
            yield f'<div style="{ROLES.get(block.role, "")}">{text}</div>'
        case Strip():
            yield from _strip(block)
        case Prose():
            yield from _prose(block)
        case Table():
            yield from _table(block)
        case Outline():
            yield _outline(block)
        case Code():
            code = escape("\n".join(block.lines))
            yield f'<div style="{CODE};{FRAMED}">{code}</div>'
        case Fold():
            yield lambda room: _fold(block, room)


def _fold(fold: Fold, room: Room) -> str:
    """Its blocks one after another while there is room; tables in it are not folded again."""
    drawn: list[str] = []
    inner = Room(room.left)
    for block in fold.blocks:
        if inner.left <= 0:
            drawn.append("<p>The rest is not drawn here; to_dict() has it all.</p>")
            break
        if isinstance(block, Table):
            drawn.append(inner.take(_rows_that_fit(block, 0, inner)))
            continue
        if isinstance(block, Outline):
            drawn.append(inner.take(_outline(block, min(OUTLINE_PIECES, inner.left // PIECE_BYTES))))
            continue
        for part in _drawn(block):
            drawn.append(inner.take(part if isinstance(part, str) else part(inner)))
    return _details(fold.summary, "".join(drawn))


def _details(title: str, body: str) -> str:
    return f"<details>{summary(title)}{body}</details>"


def _bounded(text: str) -> str:
    more = len(text) - LONGEST_TEXT
    return text if more <= 0 else f"{text[:LONGEST_TEXT]}… {_undrawn(more, 'character')}"


# ------------------------------------------------------------------------------------------------- tables


def _table(table: Table) -> Iterator[Part]:
    rows = table.rows
    if len(rows) <= FOLD_ROWS + 10:
        yield framed(table, drawn_rows(table, rows), rows)
        return
    seen = rows[:FOLD_ROWS]
    yield framed(table, drawn_rows(table, seen), seen)
    more = f"{len(rows) - FOLD_ROWS:,} more rows"
    yield lambda room: _details(more, _rows_that_fit(table, FOLD_ROWS, room))


def _rows_that_fit(table: Table, first: int, room: Room) -> str:
    """The rows from `first` on as a table, and a word about those left out."""
    rows = table.rows[first : first + MOST_ROWS]
    fitting = room.fitting(drawn_rows(table, rows))
    drawn = framed(table, fitting, rows) if fitting else ""
    return drawn + _lacking(len(table.rows) - first - len(fitting), "row")


# ------------------------------------------------------------------------------------- tokens side by side


def _strip(strip: Strip) -> Iterator[Part]:
    found = strip.pieces
    if len(found) <= FOLD_PIECES + 10:
        yield _pieces(found, strip.written)
    elif strip.newest:
        first = len(found) - FOLD_PIECES
        earlier = found[max(0, first - MOST_PIECES) : first]
        written = None if strip.written is None else strip.written - first  # counted from what is in sight
        fold = f"{first:,} earlier tokens"
        yield lambda room: _details(fold, _earlier_that_fit(earlier, first, written, room))
        yield _pieces(found[first:], written)
    else:
        more = found[FOLD_PIECES : FOLD_PIECES + MOST_PIECES]
        n = len(found) - FOLD_PIECES
        yield _pieces(found[:FOLD_PIECES], strip.written)
        yield lambda room: _details(f"{n:,} more tokens", _pieces_that_fit(more, n, room))
    yield from _legend(found)


def _pieces(found: tuple[Piece, ...], written: int | None = None) -> str:
    return f'<div style="{STRIP}">{pieces(found, written)}</div>'


def _pieces_that_fit(found: tuple[Piece, ...], n: int, room: Room) -> str:
    """Of `n` tokens under a fold the first ones, and a word about the others."""
    fits = _fits(found, room)
    return _pieces(found[:fits]) + _lacking(n - fits, "token")


def _earlier_that_fit(found: tuple[Piece, ...], n: int, written: int | None, room: Room) -> str:
    """The last of `n` tokens before those in sight; `written` counts from the first in sight, backwards."""
    fits = _fits(found[::-1], room)
    sign = None if written is None else written + fits
    return _lacking(n - fits, "token") + _pieces(found[len(found) - fits :], sign)


def _fits(found: tuple[Piece, ...], room: Room) -> int:
    return len(room.fitting(pieces((piece,)) + f"{SEPARATOR} " for piece in found))


def _lacking(n: int, noun: str) -> str:
    return f"<p>{_undrawn(n, noun)}</p>" if n else ""


def _legend(found: tuple[Piece, ...]) -> Iterator[str]:
    if any(piece.p is not None for piece in found):
        yield f'<div style="{ROLES["facts"]}">{LEGEND}</div>'


# ------------------------------------------------------------------------------------------- running text


def _prose(prose: Prose) -> Iterator[Part]:
    """What was given, a sign, what was written; the middle of a long text is folded, its end is bounded."""
    before = max(0, len(prose.prompt) - SIGHT)
    if before:
        start = prose.prompt[:before]
        title = f"{before:,} characters of the prompt before these"
        yield lambda room: _details(title, _flow(escape(_bounded(start))))
    given = f'<span style="{QUIET}">{escape(prose.prompt[before:])}</span>'
    sign = WRITTEN if prose.has_border else ""
    if prose.pieces:
        seen = prose.pieces[:FOLD_PIECES]
        yield _flow(given + sign + "".join(map(_prose_piece, seen)))
        if more := prose.pieces[FOLD_PIECES:]:
            yield lambda room: _details(f"{len(more):,} more tokens of the text", _more_prose(more, room))
        yield from _legend(prose.pieces)
        return
    yield _flow(given + sign + escape(prose.text[:SIGHT]))
    if after := prose.text[SIGHT:]:
        yield lambda room: _details(f"{len(after):,} more characters", _flow(escape(_bounded(after))))


def _flow(drawn: str) -> str:
    return f'<div dir="auto" style="{FLOW}">{drawn}</div>'


def _more_prose(found: tuple[Piece, ...], room: Room) -> str:
    fitting = room.fitting(map(_prose_piece, found))
    return _flow("".join(fitting)) + _lacking(len(found) - len(fitting), "token")


def _prose_piece(piece: Piece) -> str:
    # no <bdi> here: pieces of one word must join and order as the running text they are
    return f'<span style="{tint(piece.p)}" title="{escape(piece.hint)}">{escape(piece.text)}</span>'


# --------------------------------------------------------------------------------------------- outlines


def _outline(outline: Outline, room: int = OUTLINE_PIECES) -> str:
    """Nested lists of about `room` tokens, drawn from the ends so that no depth is too deep for Python."""
    level: list[tuple[Item, int]] = [(item, 1) for item in outline.items]
    order: list[tuple[Item, int]] = []
    while level:
        order += level
        level = [(below, depth + 1) for item, depth in level for below in item.items]
    total = sum(len(item.pieces) for item, _ in order)
    most = total if total <= room else max(LEAST_PIECES, room // len(order))
    drawn: dict[int, str] = {}
    for item, depth in reversed(order):
        drawn[id(item)] = _item(item, depth, "".join(drawn.pop(id(below)) for below in item.items), most)
    return f'<ul style="{LIST}">{"".join(drawn[id(item)] for item in outline.items)}</ul>'


def _item(item: Item, depth: int, below: str, most: int) -> str:
    """One entry with those below it; from `NESTED_LEVELS` on they follow it instead, and say their level."""
    level = f"({depth}) " if depth > NESTED_LEVELS else ""
    label = f'<span style="{QUIET};{FIGURES}">{level}{escape(item.label)}</span> ' if item.label else ""
    share = (
        "" if item.p is None else f' <span style="{FIGURES};{tint(item.p)}">{shown(percent(item.p))}</span> '
    )
    told = f"{label}{_tokens(item.pieces, most)}{share}{note(item.note) if item.label else shown(item.note)}"
    if not below or depth >= NESTED_LEVELS:
        return f'<li style="{ENTRY}">{told}</li>{below}'
    unfolded = " open" if depth <= OPEN_LEVELS else ""
    head = f'<summary style="cursor:pointer">{told}</summary>'
    return f'<li style="{ENTRY}"><details{unfolded}>{head}<ul style="{LIST}">{below}</ul></details></li>'


def _tokens(found: tuple[Piece, ...], most: int) -> str:
    more = len(found) - most
    left_out = f" … {more:,} more tokens" if more > 0 else ""
    return f'<span style="{FONT}">{pieces(found[:most])}</span>{left_out}' if found else ""
