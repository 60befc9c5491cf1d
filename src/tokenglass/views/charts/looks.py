"""How pictures look in every library: colours, dashes, sizes; knows no library.

Marks have a contrast of at least 3 to 1 on white and on #111. No colour has the 4.5 to 1 that letters need on
both (the best there is has 4.35 on each), so letters inside a picture bring their ground along, an edge of
`PAPER` around `INK`; those around it have the colours of the theme that it is shown in.
"""

from __future__ import annotations

from math import ceil

COLOURS = (
    "#3b82f6",  # the blue and the amber of the HTML views
    "#d97706",
    "#059669",
    "#a855f7",
    "#ef4444",
    "#0891b2",
    "#db2777",
    "#78716c",
)
DASHES = ((1, 0), (5, 2), (2, 2), (7, 2, 2, 2))  # lines and gaps, so that nothing is told by colour alone
GREY = "#7f7f7f"  # of lines between places
INK, PAPER = "#111111", "#ffffff"
RING = COLOURS[1]  # around the place where a session stands
MOST_POINTS = 200  # of a line; with more, its points would hide it


def colours(n: int) -> list[str]:
    """A colour for each series."""
    return [COLOURS[index % len(COLOURS)] for index in range(n)]


def dashes(n: int) -> list[tuple[int, ...]]:
    """A dash for each line; with its colour it comes once in 32."""
    return [DASHES[(index + index // len(COLOURS)) % len(DASHES)] for index in range(n)]


def largest(across: float, down: float) -> float:
    """Area of a place of probability 1, so that neighbours do not touch; from the distances between them."""
    return max(4.0, min(300.0, 0.6 * min(across, down) ** 2))


def whole_ticks(last: int, most: int = 12) -> list[int]:
    """Whole numbers from 0 to `last`, few enough to be read.

    >>> whole_ticks(3), whole_ticks(33)
    ([0, 1, 2, 3], [0, 5, 10, 15, 20, 25, 30])
    """
    least = max(1, ceil(last / most))
    power = 10 ** (len(str(least)) - 1)
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= least)
    return list(range(0, last + 1, step))
