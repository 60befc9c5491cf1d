"""How wide text is on a terminal, and how to cut, pad and wrap it by that width.

Counts cells: two for a wide East Asian character or emoji, none for a combining mark. Expects text that went
through `tokenglass.text`, so there is nothing invisible left to count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

ELLIPSIS = "…"


def cell_width(text: str) -> int:
    """Terminal cells that `text` takes.

    >>> cell_width("abc"), cell_width("漢字"), cell_width("e\u0301")
    (3, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(_char_width, text))


def _char_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells; an ellipsis stands for what does not fit.

    >>> cut("generative", 5), cut("漢字漢字", 5), cut("abc", 3), cut("abc", 0)
    ('gene…', '漢字…', 'abc', '')
    """
    if cell_width(text) <= width:
        return text
    return _head(text, width - 1) + ELLIPSIS if width > 0 else ""


def cut_left(text: str, width: int) -> str:
    """The end of `text` in at most `width` cells.

    >>> cut_left("generative models", 8)
    '… models'
    """
    if cell_width(text) <= width:
        return text
    start, room = len(text), width - 1
    while start and room >= (step := _char_width(text[start - 1])):
        start, room = start - 1, room - step
    return ELLIPSIS + text[start:]


def pad(text: str, width: int, align: str = "left") -> str:
    """`text` filled with spaces to `width` cells, or cut to it; `align` is "left" or "right"."""
    text = cut(text, width)
    space = " " * (width - cell_width(text))
    return space + text if align == "right" else text + space


def chunks(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width` cells (at least 2), broken anywhere; at least one piece.

    >>> chunks("generative", 4), chunks("", 4)
    (['gene', 'rati', 've'], [''])
    """
    pieces = []
    while cell_width(text) > width:
        head = _head(text, max(width, 2))
        pieces.append(head)
        text = text[len(head) :]
    return [*pieces, text]


def wrap(text: str, width: int) -> Iterator[str]:
    """Lines of at most `width` cells, broken at spaces where there are any; newlines in `text` are kept.

    >>> list(wrap("one two three", 8)), list(wrap("unbreakable", 4))
    (['one two', 'three'], ['unbr', 'eaka', 'ble'])
    """
    width = max(width, 2)
    for paragraph in text.split("\n"):
        line = ""
        for word in re.findall(r" *[^ ]+| +$", paragraph):
            if cell_width(line + word) <= width:
                line += word
                continue
            if line:
                yield line
            *full, line = chunks(word.lstrip(" ") if line else word, width)
            yield from full
        yield line


def _head(text: str, width: int) -> str:
    """The longest start of `text` in `width` cells that splits no chip such as ⟨ESC⟩, where possible."""
    used = 0
    for index, character in enumerate(text):
        used += _char_width(character)
        if used > width:
            opened = text.rfind("⟨", 0, index)
            splits_chip = opened > 0 and "⟩" not in text[opened:index]
            return text[:opened] if splits_chip else text[:index]
    return text
