"""A result's blocks cut to what a person reads: long tables and strips end in a word about what is left out.

For the text of a result, which a notebook stores and `print` writes; a command prints the blocks as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tokenglass.views.blocks import Block, Fold, Line, Outline, Strip, Table
from tokenglass.views.figures import count

MOST_ROWS, MOST_PIECES = 300, 1000


def shortened(shown: Iterable[Block]) -> Iterator[Block]:
    """The blocks, those that are too long cut, each followed by a line that says how much it lacks."""
    for block in shown:
        match block:
            case Table():
                yield replace(block, rows=block.rows[:MOST_ROWS])
                yield from _lack(len(block.rows) - MOST_ROWS, "more row")
            case Outline():
                rows = block.lines.rows
                yield replace(block, lines=replace(block.lines, rows=rows[:MOST_ROWS]))
                yield from _lack(len(rows) - MOST_ROWS, "more line")
            case Strip():
                yield from _strip(block)
            case Fold():
                yield replace(block, blocks=tuple(_few(block.blocks) if block.printed else block.blocks))
            case _:
                yield block


def _few(inside: tuple[Block, ...]) -> Iterator[Block]:
    yield from shortened(inside[:MOST_ROWS])
    yield from _lack(len(inside) - MOST_ROWS, "more line")


def _strip(strip: Strip) -> Iterator[Block]:
    more = len(strip.pieces) - MOST_PIECES
    if more <= 0:
        yield strip
    elif strip.newest:
        yield from _lack(more, "earlier token")
        written = None if strip.written is None else strip.written - more
        yield replace(strip, pieces=strip.pieces[more:], written=written)
    else:
        yield replace(strip, pieces=strip.pieces[:MOST_PIECES])
        yield from _lack(more, "more token")


def _lack(n: int, noun: str) -> Iterator[Line]:
    if n > 0:
        yield Line(f"… {count(n, noun)}; to_dict() has them all", "facts")
