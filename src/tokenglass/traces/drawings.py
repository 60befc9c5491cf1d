"""A tree of tokens as DOT, SVG and Markdown, line by line, from the rows of `rows.tree_table`.

All text is untrusted: it goes through `tokenglass.text` and is escaped for where it stands. Nothing recurses,
since a tree is as deep as its text is long.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from html import escape
from itertools import groupby
from typing import Any

from tokenglass.text import safe_line, safe_prose
from tokenglass.traces.rows import Row

BOX, COLUMN, LINE, MARGIN = 124, 150, 34, 10  # pixels: width of a box, of a depth, of a line, of the edge
CELLS = 15  # of a monospaced 12-pixel font in a box
INK, PAPER, BAR = "#1a1a1a", "#ffffff", "#1d4ed8"  # ink on paper 17:1, the bar 6.7:1
_STYLE = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
_MARKDOWN = re.compile(r"([!-/:-@\[-`{-~])")  # every ASCII sign: CommonMark takes a backslash before each


def dot(rows: Iterable[Row]) -> Iterator[str]:
    """The tree in Graphviz' language; an edge carries the model's own probability."""
    yield "digraph tokenglass {"
    yield '  rankdir=LR; node [shape=box, fontname="monospace"]; edge [fontname="monospace"];'
    for number, (session, nodes) in enumerate(_sessions(rows)):
        yield f"  subgraph cluster_{number} {{"
        yield f"    label={_dot_text(safe_line(session))};"
        for row in nodes:
            lines = [_label(row), *([safe_line(row["name"])] if row["name"] else [])]
            yield f"    n{number}_{row['node']} [label={_dot_text(*lines)}];"
            if row["parent"] is not None:
                edge = f"n{number}_{row['parent']} -> n{number}_{row['node']}"
                yield f"    {edge} [label={_dot_text(_share(row['p']))}];"
        yield "  }"
    yield "}"


def svg(rows: Iterable[Row]) -> Iterator[str]:
    """The tree as a picture without script: depth to the right, a bar for each token's own probability."""
    drawn: list[str] = []
    top, width = MARGIN, 0
    for session, nodes in _sessions(rows):
        drawn.append(_svg_text(MARGIN, top + 14, safe_line(session) or "session", bold=True))
        places = _places(nodes)
        for row in nodes:
            x, y = _pixels(places[row["node"]], top + LINE)
            width = max(width, x + BOX + MARGIN)
            if row["parent"] in places:
                drawn.append(_svg_edge(_pixels(places[row["parent"]], top + LINE), (x, y)))
            drawn += _svg_box(row, x, y)
        top += LINE * (2 + max((line for _, line in places.values()), default=0))
    size = f'width="{width}" height="{top + MARGIN}" viewBox="0 0 {width} {top + MARGIN}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{_STYLE}" role="img">'
    yield f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    yield from drawn
    yield "</svg>"


def markdown(rows: Iterable[Row]) -> Iterator[str]:
    """Each continuation as a quotation, then a table of tokens; nothing in them acts as markup."""
    for session, nodes in _sessions(rows):
        yield f"# {_escaped(safe_line(session)) or 'Session'}"
        inner = {row["parent"] for row in nodes}
        by_node = {row["node"]: row for row in nodes}
        for leaf in (row for row in nodes if row["node"] not in inner):
            title = f" {_escaped(safe_line(leaf['name']))}" if leaf["name"] else ""
            yield f"\n## Ending {leaf['node']}{title}\n"
            text = safe_prose(_text_of(leaf, by_node))
            yield "\n".join(f"> {_escaped(line)}  " for line in text.split("\n"))
            for note in (leaf["notes"] or "").split("\n"):
                if note:
                    yield f"\n{_escaped(safe_line(note))}"
        yield "\n| node | parent | token | p | rank | entropy (bits) | p after the chain | origin | name |"
        yield "|---:|---:|---|---:|---:|---:|---:|---|---|"
        for row in nodes:
            numbers = (_share(row["p"]), row["rank"], _share(row["entropy_bits"]), _share(row["p_final"]))
            cells = (
                row["node"],
                row["parent"],
                _label(row),
                *numbers,
                row["origin"],
                safe_line(row["name"] or ""),
            )
            yield f"| {' | '.join(_escaped('' if cell is None else str(cell)) for cell in cells)} |"
        yield ""


def _sessions(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    for session, nodes in groupby(rows, key=lambda row: row["session"]):
        yield str(session), list(nodes)


def _label(row: Row) -> str:
    """A node's token, safe already; the prompt stands for itself."""
    return "prompt" if row["token_id"] is None else str(row["token"])


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _dot_text(*lines: str) -> str:
    """Lines of a label; a backslash would begin one of Graphviz' own escapes."""
    return '"' + r"\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'


def _places(nodes: list[Row]) -> dict[int, tuple[int, int]]:
    """Node -> (depth, line): a first child stands on its parent's line, further branches on their own."""
    children: dict[int | None, list[Row]] = {}
    for row in nodes:
        children.setdefault(row["parent"], []).append(row)
    known = {row["node"] for row in nodes}
    roots = [row for row in nodes if row["parent"] not in known]
    places: dict[int, tuple[int, int]] = {}
    waiting, line = [(row, True) for row in reversed(roots)], -1
    while waiting:
        row, begins = waiting.pop()
        line += begins
        places[row["node"]] = (row["depth"], line)
        below = children.get(row["node"], [])
        waiting += [(child, child is not below[0]) for child in reversed(below)]
    return places


def _pixels(place: tuple[int, int], top: int) -> tuple[int, int]:
    depth, line = place
    return MARGIN + depth * COLUMN, top + line * LINE


def _svg_box(row: Row, x: int, y: int) -> Iterator[str]:
    p = row["p"] if row["p"] is not None and row["p"] == row["p"] else 0.0
    facts = [f"{key} {_share(row[key])}" for key in ("p", "p_final", "entropy_bits") if row[key] is not None]
    told = [_label(row), *facts, *([f"rank {row['rank']}"] if row["rank"] is not None else [])]
    told += [safe_line(text) for text in (row["name"], row["notes"]) if text]
    yield f"<g><title>{_xml(', '.join(told))}</title>"
    yield f'<rect x="{x}" y="{y}" width="{BOX}" height="24" rx="3" fill="{PAPER}" stroke="{INK}"/>'
    yield f'<rect x="{x}" y="{y + 20}" width="{min(max(p, 0.0), 1.0) * BOX:.1f}" height="4" fill="{BAR}"/>'
    yield _svg_text(x + 6, y + 15, _cut(_label(row)), bold=bool(row["name"])) + "</g>"


def _svg_edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x0, y0), (x1, y1) = start, end
    path = f"M{x0 + BOX} {y0 + 12}C{x0 + BOX + 13} {y0 + 12} {x1 - 13} {y1 + 12} {x1} {y1 + 12}"
    return f'<path d="{path}" fill="none" stroke="{INK}"/>'


def _svg_text(x: int, y: int, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    # each text is isolated, so that right-to-left characters do not reorder their neighbours
    return f'<text x="{x}" y="{y}" fill="{INK}"{weight} style="unicode-bidi:isolate">{_xml(text)}</text>'


def _xml(text: str) -> str:
    return escape(text, quote=True)


def _cut(text: str) -> str:
    """As much of a text as fits a box; wide characters take two cells."""
    width = 0
    for index, character in enumerate(text):
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if width > CELLS:
            return text[: max(index - 1, 0)] + "…"
    return text


def _text_of(leaf: Row, by_node: dict[int, Row]) -> str:
    pieces: list[str] = []
    row: Row | None = leaf
    while row is not None:
        pieces.append(row["text"] or "")
        row = by_node.get(row["parent"])
    return "".join(reversed(pieces))


def _escaped(text: Any) -> str:
    """Text that Markdown shows as it is."""
    return _MARKDOWN.sub(r"\\\1", text)
