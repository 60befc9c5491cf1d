"""Tables as HTML: which columns in which order, and each row as one string, so that rows can be counted out.

On a narrow page a table scrolls in a box of its own; the least important columns stand last and go first.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from tokenglass.views.blocks import Column, Row, Table
from tokenglass.views.figures import unbroken
from tokenglass.views.fitting import pointed_cells
from tokenglass.views.html_parts import BLUE, FIGURES, QUIET, note, share_bar, shown, tint, token

CELL = "padding:1px 8px;border:0"
LONGEST_CELL = 5000  # characters: a whole text may stand in a cell
SCROLLS = "overflow-x:auto;margin:4px 0 4px -8px"
TABLE = f"border-collapse:collapse;margin:0;font-size:inherit;overflow-wrap:break-word;{FIGURES}"
ROWS = {
    "removed": QUIET,
    "pruned": QUIET,
    "rest": QUIET,
    "chosen": f"font-weight:600;box-shadow:inset 3px 0 rgba({BLUE},1)",
}
FIRST = ("name", "index", "position", "rank", "group", "beam", "verdict", "token", "p", "p_final")
MATTERS = 9  # value of `Column.keep`: such columns stand left of the bar or the note, all others right


def framed(table: Table, drawn: Iterable[str], rows: tuple[Row, ...]) -> str:
    """The whole table around rows that `drawn_rows` made of `rows`."""
    columns = _ordered(table, rows)
    head = "".join(_head(column, table) for column in columns)
    head = f"<thead><tr>{head}</tr></thead>" if any(c.title for c in columns) else ""
    body = f"{head}<tbody>{''.join(drawn)}</tbody>"
    return f'<div style="{SCROLLS}"><table style="{TABLE}">{body}</table></div>'


def drawn_rows(table: Table, rows: tuple[Row, ...]) -> list[str]:
    """Each row as HTML."""
    columns = _ordered(table, rows)
    pointed = {
        c.key: [_figure_spaces(t) for t in pointed_cells(c, rows)] for c in columns if c.align == "point"
    }
    return [
        _row(row, row.cells | {key: texts[index] for key, texts in pointed.items()}, columns, table)
        for index, row in enumerate(rows)
    ]


def _ordered(table: Table, rows: tuple[Row, ...]) -> list[Column]:
    """Token early: `<bdi>` keeps right-to-left text in its cell, so reading order decides.

    A table of what was done one after another keeps its order; its notes stand below the names.
    """
    columns = list(table.columns)
    if _below_names(table):
        return columns
    if table.notes or table.bars or any(row.cells.get("note") for row in rows):
        columns.append(Column("bar", table.notes or table.scale))
    return sorted(columns, key=_place)


def _place(column: Column) -> tuple[int, int]:
    if column.key in FIRST:
        return FIRST.index(column.key), 0
    if column.key == "bar":
        return len(FIRST) + 1, 0
    return len(FIRST) + (0 if column.keep >= MATTERS else 2), -column.keep


def _below_names(table: Table) -> bool:
    return bool(table.notes) and any(column.key == "name" for column in table.columns)


def _head(column: Column, table: Table) -> str:
    if column.key == "bar":
        # a bar takes up to 180 px where there is room; words keep enough for a few of them in a line
        size = "width:180px" if table.bars else f"min-width:{'13em' if table.notes else '100px'}"
        style = f"{CELL};text-align:left;{size};{QUIET};font-weight:400"
    else:
        style = f"{CELL};text-align:{_side(column)};font-weight:600{_room(column, _below_names(table))}"
    below = f", {table.notes}" if column.key == "name" and _below_names(table) else ""
    return f'<th scope="col" style="{style}">{shown(column.title)}{escape(below)}</th>'


def _room(column: Column, below: bool) -> str:
    """What a column of text keeps at least."""
    return {"token": ";min-width:5em", "name": ";min-width:9em" if below else ""}.get(column.key, "")


def _side(column: Column) -> str:
    return "left" if column.align == "left" else "right"


def _row(row: Row, cells: dict[str, str], columns: list[Column], table: Table) -> str:
    drawn = "".join(_cell(column, _cut(cells.get(column.key, "")), row, table) for column in columns)
    role = ROWS.get(row.role, "")
    return f'<tr style="background:none{";" if role else ""}{role}">{drawn}</tr>'


def _cell(column: Column, text: str, row: Row, table: Table) -> str:
    style = f"{CELL};text-align:{_side(column)}"
    if column.key == "bar":
        return f'<td style="{style}">{_bar_or_note(row, table)}</td>'
    if column.key == "token" and row.role != "rest":
        return f'<td style="{style}">{token(text, struck=row.role == "removed")}</td>'
    if column.key == "name" and _below_names(table) and (below := row.cells.get("note")):
        return f'<td style="{style}">{escape(text)}<div style="{QUIET}">{shown(below)}</div></td>'
    colour = tint(row.tints.get(column.key))
    drawn = shown(text) if column.align == "left" else escape(text.replace(" ", "\u00a0"))
    return f'<td style="{style}{";" if colour else ""}{colour}">{drawn}</td>'


def _bar_or_note(row: Row, table: Table) -> str:
    said = row.cells.get("note", "")
    if table.notes or row.role == "pruned":
        return f'<span style="{QUIET}">{shown(_cut(said))}</span>' if said else ""
    if said:
        return note(_cut(said))
    return "" if row.share is None else share_bar(row.share, quiet=row.role == "rest")


def _cut(text: str) -> str:
    more = len(text) - LONGEST_CELL
    return text if more <= 0 else f"{text[:LONGEST_CELL]}… {more:,} more characters; to_dict() has them all"


def _figure_spaces(text: str) -> str:
    """Padding on the right with spaces as wide as digits, so that decimal points stand in one line."""
    figures = text.rstrip(" ")
    return unbroken(figures) + "\u2007" * (len(text) - len(figures))
