"""Results as HTML for notebooks: no script, no style sheet, inline styles only, readable without any style.

Draws the blocks of `layout`. Text colour is inherited, and colours are translucent, so that one document
suits a light and a dark page; under the strongest tint text keeps the contrast that WCAG AA asks for on both.
Each token stands in its own `<bdi>`, so that right-to-left text cannot reorder its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from math import sqrt
from typing import Any, TypeVar

from tokenglass.types import NextTokens, Shown, Step, Vocabulary
from tokenglass.views.blocks import (
    SIGN,
    Block,
    Code,
    Column,
    Fold,
    Item,
    Line,
    Outline,
    Piece,
    Prose,
    Row,
    Strip,
    Table,
)
from tokenglass.views.figures import percent
from tokenglass.views.fitting import pointed_cells
from tokenglass.views.layout import blocks
from tokenglass.views.searches import step_blocks
from tokenglass.views.stages import stage_blocks

BLUE, GREY, AMBER = "59,130,246", "127,127,127", "217,119,6"
STRONGEST_TINT = 0.5  # of BLUE: 4.5:1 holds for usual text on pages from white to black, as a test computes
FOLD_ROWS, FOLD_PIECES = 50, 400
OPEN_LEVELS, NESTED_LEVELS = 3, 8  # of an outline: deeper entries are folded, or stand in one list
MOST_SHOWN = 2000  # items of one table or strip: more would freeze a notebook

PAGE = "font-family:system-ui,sans-serif;font-size:14px;line-height:1.5;max-width:60em;text-align:left"
MONO = "font-family:ui-monospace,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere"
CELL = "padding:1px 8px;border:0;vertical-align:middle;text-align:{align}"
FIGURES = "font-variant-numeric:tabular-nums"
QUIET = "opacity:.75"
FRAMED = f"margin:6px 0;padding:6px 8px;border:1px solid rgba({GREY},.5)"
PIECE = (
    "display:inline-block;padding:0 2px;text-align:center;vertical-align:top;"
    f"border-right:1px solid rgba({GREY},.8)"
)
BELOW = f"{QUIET};font-size:11px;line-height:1.2"
LIST = f"list-style:none;margin:0 0 0 4px;padding:0 0 0 14px;border-left:1px solid rgba({GREY},.5)"
ENTRY = "margin:1px 0"
ROLES = {
    "heading": "font-weight:600;margin:8px 0 0",
    "facts": f"{QUIET};margin:0 0 6px",
    "sentence": "margin:6px 0",
}
ROWS = {
    "removed": QUIET,
    "pruned": QUIET,
    "rest": QUIET,
    "chosen": f"font-weight:600;box-shadow:inset 3px 0 rgba({BLUE},1)",
}

LEGEND = "the stronger the tint, the more probable the token"

Part = TypeVar("Part")


def to_html(result: Shown) -> str:
    """A result as one HTML fragment, safe to put into any page."""
    return _page(blocks(result))


def stages_to_html(result: NextTokens | Step) -> str:
    """What each stage of the chain did, one row a stage."""
    return _page(stage_blocks(result))


def search_step_to_html(record: Any, vocabulary: Vocabulary) -> str:
    """One record of a search."""
    return _page(step_blocks(record, vocabulary))


def _page(shown: Iterable[Block]) -> str:
    return f'<div style="{PAGE}">{"".join(map(_drawn, shown))}</div>'


def _drawn(block: Block) -> str:
    match block:
        case Line():
            return f'<div style="{ROLES.get(block.role, "")}">{escape(block.text)}{_token(block.tail)}</div>'
        case Strip():
            return _folded(block.pieces, FOLD_PIECES, "token", _strip) + _legend(block.pieces)
        case Prose():
            return _prose(block)
        case Table():
            return _folded(block.rows, FOLD_ROWS, "row", lambda rows: _table(block, rows))
        case Outline():
            return _outline(block)
        case Code():
            code = escape("\n".join(block.lines))
            return f'<div style="{MONO};{FRAMED}">{code}</div>'
        case Fold():
            return f"<details>{_summary(block.summary)}{''.join(map(_drawn, block.blocks))}</details>"


def _summary(text: str) -> str:
    return f'<summary style="{QUIET};cursor:pointer">{escape(text)}</summary>'


def _folded(items: tuple[Part, ...], limit: int, noun: str, draw: Callable[[tuple[Part, ...]], str]) -> str:
    """The first items in sight, more of them under a fold, and a word about those left out."""
    if len(items) <= limit + 10:
        return draw(items)
    folded = items[limit:MOST_SHOWN]
    left_out = len(items) - limit - len(folded)
    note = f"<p>{left_out:,} more {noun}s are not drawn here; to_dict() has them all.</p>" if left_out else ""
    summary = _summary(f"{len(folded):,} more {noun}s")
    return f"{draw(items[:limit])}<details>{summary}{draw(folded)}{note}</details>"


def _strip(pieces: tuple[Piece, ...]) -> str:
    return f'<div style="margin:6px 0;line-height:1.9">{"".join(map(_strip_piece, pieces))}</div>'


def _strip_piece(piece: Piece) -> str:
    below = f'<br><span style="{BELOW}">{escape(piece.below)}</span>' if piece.below else ""
    opened = f'<span style="{PIECE};{_tint(piece.p)}" title="{escape(piece.hint)}">'
    return f"{opened}{_token(piece.text)}{below}</span>"


def _outline(outline: Outline) -> str:
    """Nested lists, drawn from the ends so that no depth is too deep for Python."""
    level: list[tuple[Item, int]] = [(item, 1) for item in outline.items]
    order: list[tuple[Item, int]] = []
    while level:
        order += level
        level = [(below, depth + 1) for item, depth in level for below in item.items]
    drawn: dict[int, str] = {}
    for item, depth in reversed(order):
        drawn[id(item)] = _item(item, depth, "".join(drawn.pop(id(below)) for below in item.items))
    return f'<ul style="{LIST}">{"".join(drawn[id(item)] for item in outline.items)}</ul>'


def _item(item: Item, depth: int, below: str) -> str:
    """One entry with those below it; from `NESTED_LEVELS` on they follow it instead, and say their level."""
    level = f"({depth}) " if depth > NESTED_LEVELS else ""
    label = f'<span style="{QUIET};{FIGURES}">{level}{escape(item.label)}</span> ' if item.label else ""
    tokens = "".join(map(_strip_piece, item.pieces))
    share = "" if item.p is None else f' <span style="{FIGURES};{_tint(item.p)}">{percent(item.p)}</span> '
    told = f"{label}{tokens}{share}{_note(item.note) if item.label else escape(item.note)}"
    if not below or depth >= NESTED_LEVELS:
        return f'<li style="{ENTRY}">{told}</li>{below}'
    unfolded = " open" if depth <= OPEN_LEVELS else ""
    summary = f'<summary style="cursor:pointer">{told}</summary>'
    return f'<li style="{ENTRY}"><details{unfolded}>{summary}<ul style="{LIST}">{below}</ul></details></li>'


def _prose(prose: Prose) -> str:
    text = "".join(map(_prose_piece, prose.pieces)) or escape(prose.text)
    return (
        f'<div dir="auto" style="margin:6px 0;white-space:pre-wrap;overflow-wrap:anywhere">'
        f'<span style="{QUIET}">{escape(prose.prompt)}</span>{text}</div>{_legend(prose.pieces)}'
    )


def _legend(pieces: tuple[Piece, ...]) -> str:
    tinted = any(piece.p is not None for piece in pieces)
    return f'<div style="{ROLES["facts"]}">{LEGEND}</div>' if tinted else ""


def _prose_piece(piece: Piece) -> str:
    # no <bdi> here: pieces of one word must join and order as the running text they are
    return f'<span style="{_tint(piece.p)}" title="{escape(piece.hint)}">{escape(piece.text)}</span>'


def _table(table: Table, rows: Iterable[Row]) -> str:
    rows = tuple(rows)
    columns = _ordered(table, rows)
    pointed = {
        c.key: [_figure_spaces(t) for t in pointed_cells(c, rows)] for c in columns if c.align == "point"
    }
    body = [
        _row(row, row.cells | {key: texts[index] for key, texts in pointed.items()}, columns, table.notes)
        for index, row in enumerate(rows)
    ]
    head = "".join(f'<th scope="col" style="{_cell(c)};{_title(c)}">{escape(c.title)}</th>' for c in columns)
    head = f"<thead><tr>{head}</tr></thead>" if any(c.title for c in columns) else ""
    return (
        f'<table style="border-collapse:collapse;margin:4px 0 4px -8px;font-size:inherit;{FIGURES}">'
        f"{head}<tbody>{''.join(body)}</tbody></table>"
    )


def _title(column: Column) -> str:
    return f"{QUIET};font-weight:400" if column.key == "bar" else "font-weight:600"


def _ordered(table: Table, rows: tuple[Row, ...]) -> list[Column]:
    """Token first after the rank: `<bdi>` keeps right-to-left text in its cell, so reading order decides."""
    columns = list(table.columns)
    if table.notes:
        return [*columns, Column("bar", table.notes)]
    if table.bars or any(row.cells.get("note") for row in rows):
        columns.append(Column("bar", "0 to 100 %" if table.bars else ""))
    order = ("name", "index", "position", "rank", "group", "beam", "verdict", "token", "p", "p_final", "bar")
    return sorted(columns, key=lambda c: order.index(c.key) if c.key in order else len(order))


def _row(row: Row, cells: dict[str, str], columns: list[Column], notes: str) -> str:
    drawn = "".join(_drawn_cell(column, cells.get(column.key, ""), row, notes) for column in columns)
    return f'<tr style="background:none;{ROWS.get(row.role, "")}">{drawn}</tr>'


def _drawn_cell(column: Column, text: str, row: Row, notes: str) -> str:
    style = _cell(column)
    if column.key == "bar":
        note = row.cells.get("note", "")
        quiet = notes or row.role == "pruned"
        drawn = f'<span style="{QUIET}">{escape(note)}</span>' if quiet else _note(note) or _bar(row)
        return f'<td style="{style};min-width:100px">{drawn}</td>'
    if column.key == "token" and row.role != "rest":
        struck = ";text-decoration:line-through" if row.role == "removed" else ""
        return f'<td style="{style}{struck}">{_token(text)}</td>'
    return f'<td style="{style};{_tint(row.tints.get(column.key))}">{escape(text)}</td>'


def _note(text: str) -> str:
    border = f"border:1px solid rgba({AMBER},.8);border-radius:3px;padding:0 4px"
    return f'<span style="display:inline-block;{border}">{escape(text)}</span>' if text else ""


def _bar(row: Row) -> str:
    if row.share is None:
        return ""
    colour = f"rgba({GREY},.6)" if row.role == "rest" else f"rgba({BLUE},.9)"
    width = 100 * min(max(row.share, 0.0), 1.0)
    fill = f'<div style="width:{width:.3f}%;height:9px;background-color:{colour}"></div>'
    return f'<div style="width:180px;height:9px;background-color:rgba({GREY},.15)">{fill}</div>'


def _cell(column: Column) -> str:
    if column.align == "left":
        return CELL.format(align="left") + (";min-width:5em" if column.key == "token" else "")
    return CELL.format(align="right") + ";white-space:nowrap"


def _tint(p: float | None) -> str:
    """The background for a probability: one hue, stronger with p; the square root lets small ones differ."""
    if p is None:
        return ""
    return f"background-color:rgba({BLUE},{STRONGEST_TINT * sqrt(min(max(p, 0.0), 1.0)):.3f})"


def _figure_spaces(text: str) -> str:
    """Padding on the right with spaces as wide as digits, so that decimal points stand in one line."""
    figures = text.rstrip(" ")
    return figures + "\u2007" * (len(text) - len(figures))


def _token(text: str) -> str:
    """A token's display text, isolated, with its notation set apart."""
    if not text:
        return ""
    parts = [
        f'<span style="{QUIET}">{escape(part)}</span>' if index % 2 else escape(part)
        for index, part in enumerate(SIGN.split(text))
    ]
    return f'<bdi style="{MONO}">{"".join(parts)}</bdi>'
