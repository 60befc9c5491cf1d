"""The small parts of the HTML views: styles, texts, tokens, tints and bars, each as one string.

What every row repeats is kept short, and what styles inherit stands on the table or strip: long results are
mostly these strings. A notebook gives cells a padding, a border, an alignment and its own wrapping, so those
cannot be inherited.
"""

from __future__ import annotations

import re
from html import escape
from math import sqrt

from tokenglass.views.blocks import SIGN, WRITTEN, Piece
from tokenglass.views.figures import bar, unbroken

BLUE, GREY, AMBER = "59,130,246", "127,127,127", "217,119,6"
STRONGEST_TINT = 0.5  # of BLUE: 4.5:1 holds for usual text on pages from white to black, as a test computes

FONT = "font-family:ui-monospace,Menlo,Consolas,monospace"
CODE = f"{FONT};white-space:pre-wrap"
FIGURES = "font-variant-numeric:tabular-nums"
QUIET = "opacity:.75"
FRAMED = f"margin:6px 0;padding:6px 8px;border:1px solid rgba({GREY},.5)"
BELOW = f"display:block;{QUIET};font-size:11px;line-height:1.2"
ABOVE_IT = "display:inline-block;text-align:center;vertical-align:top"
SEPARATOR = '<span style="opacity:.5">│</span>'
BAR_CELLS = 20  # of the bar as text, which shows only where no style hides it


def shown(text: str) -> str:
    """A sentence: its units stay with their figures."""
    return escape(unbroken(text))


def summary(text: str) -> str:
    """What stands on a fold."""
    return f'<summary style="{QUIET};cursor:pointer">{escape(text)}</summary>'


def token(text: str, font: str = FONT, struck: bool = False) -> str:
    """A token's display text, isolated, with its notation set apart; "" for `font` where it is inherited."""
    if not text:
        return ""
    line = "text-decoration:line-through" if struck else ""
    # no line through the notation: it would make a dash of a dot
    parts = [_span(part, QUIET if index % 2 else line) for index, part in enumerate(SIGN.split(text))]
    spaces = "white-space:pre-wrap" if re.search("^ |  | $", text) else ""
    return f"<bdi{_styled(font, spaces)}>{''.join(parts)}</bdi>"


def _span(text: str, style: str) -> str:
    return f'<span style="{style}">{escape(text)}</span>' if text and style else escape(text)


def pieces(found: tuple[Piece, ...], written: int | None = None) -> str:
    """Tokens side by side with a line of text between, so that they stand apart without any style."""
    drawn = [_piece(piece, index == written) for index, piece in enumerate(found)]
    return f"{SEPARATOR} ".join(drawn)


def _piece(piece: Piece, begins: bool) -> str:
    # a block below the token where there are styles, the next word where there are none
    below = f' <span style="{BELOW}">{escape(piece.below)}</span>' if piece.below else ""
    style = _styled(ABOVE_IT if below else "", tint(piece.p))
    hint = f' title="{escape(piece.hint)}"' if piece.hint else ""
    return f"{WRITTEN if begins else ''}<span{style}{hint}>{token(piece.text, font='')}{below}</span>"


def _styled(*rules: str) -> str:
    found = ";".join(filter(None, rules))
    return f' style="{found}"' if found else ""


def note(text: str) -> str:
    """A remark in a frame."""
    border = f"border:1px solid rgba({AMBER},.8);border-radius:3px;padding:0 4px"
    return f'<span style="display:inline-block;{border}">{shown(text)}</span>' if text else ""


def tint(p: float | None) -> str:
    """The background for a probability: one hue, stronger with p; the square root lets small ones differ."""
    if p is None:
        return ""
    return f"background:rgba({BLUE},{STRONGEST_TINT * sqrt(min(max(p, 0.0), 1.0)):.2f})"


def share_bar(share: float, quiet: bool) -> str:
    """A bar from 0 to 100 %; inside it the same as text, without size, for a page without styles."""
    colour = f"rgba({GREY},.6)" if quiet else f"rgba({BLUE},.9)"
    width = 100 * min(max(share, 0.0), 1.0)
    fill = f'<div style="width:{width:.3g}%;height:9px;background:{colour}">{bar(share, BAR_CELLS)}</div>'
    box = f"max-width:180px;min-width:60px;font-size:0;background:rgba({GREY},.15)"
    return f'<div style="{box}">{fill}</div>'
