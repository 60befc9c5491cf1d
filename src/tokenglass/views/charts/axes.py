"""Pictures drawn into matplotlib's axes; knows the axes it is given, and imports nothing of matplotlib.

Labels are drawn as they are: matplotlib would read `$x$` in a token as a formula.
"""

from __future__ import annotations

from math import nan
from typing import Any

from tokenglass.views.charts.pictures import Bars, Branches, Lines, Picture

COLOURS = ("#3b82f6", "#d97706")
GREY = "#7f7f7f"
BAR = 0.8  # of the height of a row, shared by the series
MOST_LABELS = 40  # of a line; more would be drawn over one another
LARGEST = 200.0  # square points of a place of probability 1


def draw(picture: Picture, ax: Any) -> Any:
    """A picture on axes, which come back."""
    match picture:
        case Bars():
            _bars(picture, ax)
        case Lines():
            _lines(picture, ax)
        case Branches():
            _branches(picture, ax)
    ax.set_title(picture.title, parse_math=False)
    return ax


def _unknown_as_nan(values: tuple[float | None, ...]) -> list[float]:
    return [nan if value is None else value for value in values]


def _bars(picture: Bars, ax: Any) -> None:
    height = BAR / len(picture.series)
    for index, (name, values) in enumerate(picture.series.items()):
        places = [place + index * height for place in range(len(values))]
        ax.barh(places, _unknown_as_nan(values), height, label=name, color=COLOURS[index])
    middle = (len(picture.series) - 1) * height / 2
    ax.set_yticks([place + middle for place in range(len(picture.labels))])
    ax.set_yticklabels(picture.labels, parse_math=False)
    ax.invert_yaxis()
    ax.set_xlim(0.0, 1.0)
    ax.set_xlabel("probability")
    if len(picture.series) > 1:
        ax.legend()


def _lines(picture: Lines, ax: Any) -> None:
    for index, (name, values) in enumerate(picture.series.items()):
        marker = "" if picture.log else "."
        ax.plot(picture.places, _unknown_as_nan(values), label=name, color=COLOURS[index], marker=marker)
    if picture.log:
        ax.set_xscale("log")
        ax.set_yscale("log")
    if 0 < len(picture.labels) <= MOST_LABELS:
        ax.set_xticks(picture.places)
        ax.set_xticklabels(picture.labels, rotation=90, parse_math=False)
    ax.set_xlabel(picture.along)
    ax.set_ylabel(picture.unit)
    if len(picture.series) > 1:
        ax.legend()


def _branches(picture: Branches, ax: Any) -> None:
    by_number = {place.number: place for place in picture.places}
    for place in picture.places:
        if place.parent is not None:
            before = by_number[place.parent]
            ax.plot([before.depth, place.depth], [before.lane, place.lane], color=GREY, linewidth=1, zorder=1)
        ax.text(place.depth, place.lane - 0.1, place.label, parse_math=False, color=GREY)
    sizes = [LARGEST * (1.0 if place.p is None else place.p) for place in picture.places]
    depths, lanes = ([getattr(place, name) for place in picture.places] for name in ("depth", "lane"))
    ax.scatter(depths, lanes, s=sizes, color=COLOURS[0], zorder=2)
    ax.margins(x=0.15)  # room for the last names
    ax.invert_yaxis()
    ax.set_yticks([])
    ax.set_xlabel("tokens after the prompt")
