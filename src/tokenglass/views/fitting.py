"""Which columns of a table fit a terminal of a given width, and how wide each becomes.

Knows widths, not styles. The least important columns go first, then words wrap; the token column never goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tokenglass.views.blocks import Column, Row, Table
from tokenglass.views.cells import cell_width

MIN_BAR, MAX_BAR = 8, 40
NARROW = 40  # cells: below this, short titles and single gaps
COMFORTABLE_TOKEN, SQUEEZED_TOKEN, LEAST_TOKEN = 16, 10, 7
MATTERS, NEVER_GOES = 7, 9  # values of `Column.keep`: from 7 on, the token column shrinks rather
COMFORTABLE_WORDS, LEAST_WORDS, LONGEST_NOTE = 24, 8, 32
LONGEST_TAIL = len(".118 %")  # tinier numbers, such as 2.75e-6 %, do not push the others away


@dataclass(frozen=True, slots=True)
class Frame:
    """A table's measure: columns that stay, their titles and widths, the room right of the token column.

    Attributes:
        columns: the columns that fit, in order.
        titles: what stands above each.
        widths: cells of each.
        gap: the space between columns.
        bar_width: cells of a full bar; 0 for no bars.
        tail: cells right of the last column, for a bar or a note.
    """

    columns: tuple[Column, ...]
    titles: tuple[str, ...]
    widths: tuple[int, ...]
    gap: str
    bar_width: int
    tail: int


def fitted(table: Table, width: int) -> Frame:
    """The frame of a table on a screen of `width` cells."""
    narrow = width < NARROW
    gap = 1 if narrow else 2
    titles = {c.key: (c.short or c.title) if narrow else c.title for c in table.columns}
    natural = {c.key: _natural_width(c, titles[c.key], table.rows) for c in table.columns}
    notes = () if table.notes else table.rows  # notes of one kind stand below their rows
    longest_note = max((cell_width(row.cells.get("note", "")) for row in notes), default=0)
    longest_note = min(longest_note, LONGEST_NOTE, max(0, width // 2 - 8))  # longer ones stand below as well
    tail = max(MIN_BAR if table.bars else 0, longest_note)
    token = natural.get("token", 0)
    sizes = {c.key: min(natural[c.key], COMFORTABLE_WORDS if c.wraps else width) for c in table.columns}
    columns = list(table.columns)
    while True:
        room = width - sum(sizes[c.key] + gap for c in columns if c.key != "token")
        least = min(columns, key=lambda c: c.keep)
        comfortable = min(token, COMFORTABLE_TOKEN if least.keep < MATTERS else SQUEEZED_TOKEN)
        if room >= comfortable + (gap + tail if tail else 0) or least.keep == NEVER_GOES:
            break
        columns.remove(least)
    for column in columns:
        if column.wraps:
            before = sizes[column.key]
            spare = room - min(token, LEAST_TOKEN) if room < comfortable else max(0, room - token - tail)
            sizes[column.key] = max(min(before, LEAST_WORDS), min(natural[column.key], before + spare))
            room += before - sizes[column.key]
    token, tail = _shared(room, token, tail, gap, table.bars)
    widths = tuple(token if c.key == "token" else sizes[c.key] for c in columns)
    shown_titles = tuple(titles[c.key] for c in columns)
    bar_width = min(tail, MAX_BAR) if table.bars else 0
    return Frame(tuple(columns), shown_titles, widths, " " * gap, bar_width, tail)


def _shared(room: int, token: int, tail: int, gap: int, bars: bool) -> tuple[int, int]:
    """`room` shared between the token column and what stands right of it."""
    if not tail or room < min(token, COMFORTABLE_TOKEN) + gap + tail:
        return max(2, min(token, room)), 0
    wanted = max(tail, min(MAX_BAR, room // 2)) if bars else tail
    token = min(token, room - gap - wanted)
    return token, room - gap - token


def _natural_width(column: Column, title: str, rows: tuple[Row, ...]) -> int:
    texts = (
        pointed_cells(column, rows)
        if column.align == "point"
        else [row.cells.get(column.key, "") for row in rows]
    )
    return max([cell_width(title), *map(cell_width, texts)])


def pointed_cells(column: Column, rows: tuple[Row, ...]) -> list[str]:
    """A column's numbers, filled on the right so that flush right their decimal points stand in one line."""
    texts = [row.cells.get(column.key, "") for row in rows]
    tails = [len(re.sub(r"^[^.% ]*", "", text)) for text in texts]
    longest = max((tail for tail in tails if tail <= LONGEST_TAIL), default=0)
    return [
        text + " " * max(0, longest - tail) if text else "" for text, tail in zip(texts, tails, strict=True)
    ]
