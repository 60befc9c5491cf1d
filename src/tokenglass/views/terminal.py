"""Results on a terminal: plain text of a fixed width, or the same lines with colour through rich.

Draws the blocks of `layout` as lines of (text, style) segments; plain text joins the texts, rich adds the
styles. Nothing here passes markup to rich, and nothing is told by colour alone. Numbers stand left of token
text, so that a token written from right to left cannot reorder them where the terminal applies bidi rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from tokenglass.types import NextTokens, Shown, Step, Vocabulary
from tokenglass.views.blocks import (
    SIGN,
    WRITTEN,
    Block,
    Code,
    Column,
    Fold,
    Line,
    Outline,
    Prose,
    Row,
    Strip,
    Table,
)
from tokenglass.views.cells import cell_width, chunks, cut_left, pad, wrap
from tokenglass.views.figures import EIGHTHS, FULL, bar, unbroken
from tokenglass.views.fitting import Frame, fitted, pointed_cells
from tokenglass.views.layout import blocks
from tokenglass.views.searches import step_blocks
from tokenglass.views.shortening import shortened
from tokenglass.views.stages import stage_blocks

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement

Segment = tuple[str, str]  # text, style name: a key of STYLES

STYLES = {
    "": "",
    "heading": "bold",
    "facts": "dim",
    "title": "dim",
    "bar": "cyan",
    "chosen": "bold",
    "removed": "dim strike",
    "pruned": "dim",
    "rest": "dim",
    "sign": "dim cyan",
    "hairline": "dim",
    "prompt": "dim",
}
_SGR = {"bold": 1, "dim": 2, "strike": 9, "cyan": 36}  # the 16 colours follow the reader's own theme
HAIRLINE = "│"
BAR = EIGHTHS.strip() + FULL


def to_text(result: Shown, width: int = 80) -> str:
    """A result as plain text without colour, in lines of at most `width` cells (20 and up).

    Tables stop after a few hundred rows and say so: a notebook stores this text beside every cell.
    """
    return "\n".join(painted(shortened(blocks(result)), width, colour=False))


def stages_to_text(result: NextTokens | Step, width: int = 80) -> str:
    """What each stage of the chain did, one row a stage, in lines of at most `width` cells."""
    return "\n".join(painted(stage_blocks(result), width, colour=False))


def search_step_to_text(record: Any, vocabulary: Vocabulary, width: int = 80) -> str:
    """One record of a search, such as `Film` yields, in lines of at most `width` cells."""
    return "\n".join(painted(step_blocks(record, vocabulary), width, colour=False))


def painted(shown: Iterable[Block], width: int, colour: bool, ascii_bars: bool = False) -> Iterator[str]:
    """The lines of some blocks, with the terminal's own colour codes where `colour`.

    Where `ascii_bars`, bars and hairlines are drawn in ASCII, for an encoding that lacks their glyphs.
    """
    for line in lines(shown, width):
        if ascii_bars:
            line = [(_in_ascii(text, style), style) for text, style in line]
        if colour:
            yield "".join(sgr(text, style) for text, style in line)
        else:
            yield "".join(text for text, _ in line)


def _in_ascii(text: str, style: str) -> str:
    """A bar, a hairline or the sign of what was written in ASCII; tokens and any other text as they are."""
    if style in ("sign", "facts"):
        return text.replace(WRITTEN, ">")
    if style == "hairline":
        return "|" * len(text)
    if style in ("bar", "rest") and text and all(glyph in BAR for glyph in text):
        return "#" * max(1, round(sum((BAR.index(glyph) + 1) / len(BAR) for glyph in text)))
    return text


def sgr(text: str, style: str) -> str:
    """`text` between the escape codes of a style; the text itself must be safe already."""
    codes = ";".join(str(_SGR[word]) for word in STYLES[style].split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def to_rich(result: Shown) -> Drawn:
    """A result for a rich console, at that console's width; as long as `to_text`."""
    return Drawn(shortened(blocks(result)))


class Drawn:
    """Blocks that a rich console can print."""

    def __init__(self, shown: Iterable[Block]) -> None:
        self.blocks = tuple(shown)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for line in lines(self.blocks, options.max_width):
            text = Text(no_wrap=True, overflow="ignore", end="\n")
            for piece, style in line:
                text.append(piece, STYLES[style] or None)
            yield text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        from rich.measure import Measurement

        return Measurement(min(20, options.max_width), options.max_width)


def lines(shown: Iterable[Block], width: int) -> Iterator[list[Segment]]:
    """The lines of some blocks, an empty line before each table and heading but the first."""
    previous: Block | None = None
    for block in _printed(shown):
        if previous is not None and _stands_apart(previous, block):
            yield []
        yield from map(_finished, _drawn(block, max(width, 20)))
        previous = block


def _printed(shown: Iterable[Block]) -> Iterator[Block]:
    """The blocks with those of folds that a terminal prints in their place."""
    for block in shown:
        if isinstance(block, Fold) and block.printed:
            yield from _printed(block.blocks)
        else:
            yield block


def _finished(line: list[Segment]) -> list[Segment]:
    """No-break spaces have done their work when lines are broken: nothing invisible reaches a screen."""
    return _without_trailing_spaces([(text.replace("\u00a0", " "), style) for text, style in line])


def _without_trailing_spaces(line: list[Segment]) -> list[Segment]:
    while line and not line[-1][0].rstrip(" "):
        line = line[:-1]
    return [*line[:-1], (line[-1][0].rstrip(" "), line[-1][1])] if line else []


def _stands_apart(previous: Block, block: Block) -> bool:
    if isinstance(block, Line):
        return block.role == "heading" or isinstance(previous, Prose)
    return not (isinstance(previous, Line) and previous.role == "heading") and not isinstance(block, Fold)


def _drawn(block: Block, width: int) -> Iterator[list[Segment]]:
    match block:
        case Line():
            yield from _line(block, width)
        case Strip():
            yield from _strip(block, width)
        case Prose():
            yield from _prose(block, width)
        case Table():
            yield from _table(block, width)
        case Outline():
            yield from _table(block.lines, width)
        case Code():
            yield from ([(text, "")] for line in block.lines for text in _code(line, width))
        case Fold():
            yield from ([(text, "rest")] for text in wrap(f"… {block.summary}", width))


def _line(line: Line, width: int) -> Iterator[list[Segment]]:
    style: str = line.role if line.role in STYLES else ""
    lead = line.text
    if line.tail and cell_width(lead) + 12 > width:  # a quotation shorter than this tells nothing
        yield from ([(text, style)] for text in wrap(lead.rstrip(" "), width))
        lead = ""
    if line.tail:
        yield [(lead, style), *_signs(cut_left(line.tail, width - cell_width(lead)), style)]
    else:
        yield from ([(text, style)] for text in wrap(unbroken(lead), width))


def _strip(strip: Strip, width: int) -> Iterator[list[Segment]]:
    """Tokens side by side, broken between tokens; under each its `below`, where it has one."""
    line: list[Segment] = []
    under = ""
    used = 0
    for index, piece in enumerate(strip.pieces):
        sign = [(WRITTEN, "sign")] if index == strip.written else []
        *full, last = chunks(piece.text, width - 1 - len(sign))
        size = max(len(sign) + cell_width(last), cell_width(piece.below))
        if line and used + (width if full else size + 1) > width:
            yield from _strip_lines(line, under)
            line, under, used = [], "", 0
        for text in full:
            yield [*sign, *_signs(text, piece.role)]
            sign = []
        line += [*sign, *_signs(last, piece.role)]
        line += [(" " * (size - len(sign) - cell_width(last)), ""), (HAIRLINE, "hairline")]
        under += pad(piece.below, size) + " "
        used += size + 1
    if line:
        yield from _strip_lines(line, under)


def _strip_lines(line: list[Segment], under: str) -> Iterator[list[Segment]]:
    yield line
    if under.strip(" "):
        yield [(under, "facts")]


def _prose(prose: Prose, width: int) -> Iterator[list[Segment]]:
    """The two texts as one flow, wrapped, a sign between; the prompt in its own style up to it."""
    sign = WRITTEN if prose.has_border else ""
    whole = prose.prompt + sign + prose.text
    ends = len(prose.prompt), len(prose.prompt) + len(sign)
    position = 0
    for text in wrap(whole, width):
        position = whole.index(text, position)
        own, mark = (max(0, min(len(text), end - position)) for end in ends)
        yield [(text[:own], "prompt"), (text[own:mark], "sign"), (text[mark:], "")]
        position += len(text)


def _code(line: str, width: int) -> Iterator[str]:
    """A line of code broken at spaces; a comment stays one."""
    sign = "# " if line.startswith("# ") else ""
    yield from (sign + text for text in wrap(line.removeprefix(sign), width - len(sign)))


def _table(table: Table, width: int) -> Iterator[list[Segment]]:
    frame = fitted(table, width)
    if any(frame.titles):
        yield [(_header(frame, table.measure), "title")]
    pointed = {c.key: pointed_cells(c, table.rows) for c in frame.columns if c.align == "point"}
    dropped = [c for c in table.columns if c not in frame.columns] if table.notes else []
    for index, row in enumerate(table.rows):
        cells = row.cells | {key: texts[index] for key, texts in pointed.items()}
        cells["note"] = _with_dropped(row.cells, dropped)
        yield from _row(row, cells, frame, width)


def _with_dropped(cells: dict[str, str], dropped: Iterable[Column]) -> str:
    """A row's note, after what columns without room would have said."""
    said = [f"{c.short or c.title} {cells[c.key]}" for c in dropped if cells.get(c.key, "–") != "–"]
    return " · ".join(filter(None, [*said, cells.get("note", "")]))


def _header(frame: Frame, measure: str) -> str:
    """The titles; between the bars' ends what they measure, where there is room for it."""
    titles = [
        pad(title, size, _side(column))
        for column, title, size in zip(frame.columns, frame.titles, frame.widths, strict=True)
    ]
    if frame.bar_width:
        room = frame.bar_width - len("0 %") - len("100 %")
        titles.append("0 %" + (measure if len(measure) + 2 <= room else "").center(room) + "100 %")
    return frame.gap.join(titles).rstrip(" ")


def _row(row: Row, cells: dict[str, str], frame: Frame, width: int) -> Iterator[list[Segment]]:
    """One row; words too long for their column go on below it, so that nothing is hidden."""
    style = row.role if row.role in STYLES else ""
    texts = [
        [*wrap(cells.get(column.key, ""), size)] if column.align == "left" else [cells.get(column.key, "")]
        for column, size in zip(frame.columns, frame.widths, strict=True)
    ]
    note = cells.get("note", "")
    for number, parts in enumerate(zip_longest(*texts, fillvalue="")):
        line: list[Segment] = []
        for text, column, size in zip(parts, frame.columns, frame.widths, strict=True):
            line += [*_cell(text, column, size, style), (frame.gap, "")]
        if number == 0 and note and cell_width(note) <= frame.tail:
            line.append((note, "rest"))
        elif number == 0 and frame.bar_width and row.share is not None:
            line.append((bar(row.share, frame.bar_width), "rest" if row.role == "rest" else "bar"))
        yield line
    if note and cell_width(note) > frame.tail:
        yield from ([(" " * 2 + text, "rest")] for text in wrap(unbroken(note), width - 2))


def _cell(text: str, column: Column, size: int, style: str) -> list[Segment]:
    if column.key == "token":
        return [*_signs(text, style), (" " * (size - cell_width(text)), "")]
    return [(pad(text, size, _side(column)), "rest" if style == "removed" else style)]


def _side(column: Column) -> str:
    return "left" if column.align == "left" else "right"


def _signs(text: str, style: str = "") -> list[Segment]:
    """Token text with the notation (white space, chips) set apart from the characters themselves."""
    if style in ("pruned", "rest"):
        return [(text, style)]
    # no line through the notation: it would make a dash of a dot
    sign = "pruned" if style == "removed" else "sign"
    return [(part, sign if index % 2 else style) for index, part in enumerate(SIGN.split(text)) if part]
