"""Pictures drawn into matplotlib's axes; knows the axes it is given, and imports nothing of matplotlib.

Labels are drawn as they are: matplotlib would read `$x$` in a token as a formula. Letters keep the colour of
the user's style.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil, nan
from typing import Any

from tokenglass.views.charts.fonts import drawable
from tokenglass.views.charts.looks import (
    GREY,
    MOST_POINTS,
    RING,
    colours,
    dashes,
    largest,
    whole_ticks,
)
from tokenglass.views.charts.pictures import Bars, Branches, Lines, Picture, given
from tokenglass.views.charts.trees import labels

BAR = 0.8  # of the height of a row, shared by the series
LARGE, SMALL = 10.0, 5.0  # points of letters, where rows are high and where they are low
CELL, LETTERS = 5.0, 10.0  # points of a tree's labels: how wide and how high
FEW, LEGEND_ROW = 6, 11.0  # lines, and points of one in a legend
LEFT, RIGHT = 60.0, 80.0  # points beside a tree, for the prompt's label and the last ones
NEEDED = ("barh", "plot", "hlines", "vlines", "scatter", "text", "set_title", "set_xticks", "legend", "bbox")

Draws = Callable[[str], str]


def check(ax: Any) -> None:
    """Refuse what is no axes, before anything is drawn.

    Raises:
        TypeError: it is something else, or several, or not flat.
    """
    wanted = "ax must be matplotlib's axes, such as those of pyplot.subplots()"
    if isinstance(ax, str):
        raise TypeError(f"{wanted}, got {given(ax)}; a kind is given by its name: plot(kind={given(ax)})")
    if hasattr(ax, "__len__"):
        raise TypeError(f"{wanted}, got several ({len(ax)}): give one of them, such as ax[0]")
    if not all(hasattr(ax, name) for name in NEEDED):
        raise TypeError(f"{wanted}, got {given(ax)}")
    if getattr(ax, "name", "") in ("polar", "3d"):
        raise TypeError(f"{wanted}, got {ax.name} ones, which have no place for such a picture")


def draw(picture: Picture, ax: Any) -> Any:
    """A picture on axes, which come back."""
    draws = drawable(ax.title)
    match picture:
        case Bars():
            _bars(picture, ax, draws)
        case Lines():
            _lines(picture, ax, draws)
        case Branches():
            _branches(picture, ax, draws)
    title = [draws(line) for line in (picture.title, *picture.notes)]
    ax.set_title("\n".join(title), parse_math=False, fontsize="medium")
    return ax


def _points(ax: Any) -> tuple[float, float]:
    """Width and height of axes in points."""
    return ax.bbox.width * 72.0 / ax.figure.dpi, ax.bbox.height * 72.0 / ax.figure.dpi


def _unknown_as_nan(values: Iterable[float | None]) -> list[float]:
    return [nan if value is None else value for value in values]


def _legend(ax: Any, handles: list[Any], names: Iterable[str], draws: Draws, **where: Any) -> None:
    """Names are put in afterwards: matplotlib hides those that begin with `_`, and reads formulas."""
    if len(handles) < 2:
        return
    numbers = [str(index) for index in range(len(handles))]
    legend = ax.legend(handles, numbers, **({"fontsize": "small"} | where))
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(draws(name))


def _bars(picture: Bars, ax: Any, draws: Draws) -> None:
    height = BAR / len(picture.series)
    rows = len(picture.labels)
    handles = []
    for index, (values, colour) in enumerate(
        zip(picture.series.values(), colours(len(picture.series)), strict=True)
    ):
        places = [place + (index + 0.5) * height - BAR / 2 for place in range(rows)]
        if picture.dots:
            handles += ax.plot(_unknown_as_nan(values), places, "o", color=colour)
        else:
            handles.append(ax.barh(places, _unknown_as_nan(values), height, color=colour))
    room = _points(ax)[1] / max(1, rows)
    every = max(1, ceil(SMALL / room))
    named = range(0, rows, every)  # so that labels never lie on one another, in however low axes
    ax.set_yticks(list(named))
    size = max(SMALL, min(LARGE, 0.8 * room * every))
    ax.set_yticklabels([draws(picture.labels[i]) for i in named], parse_math=False, fontsize=size)
    ax.set_ylim(rows - 0.5, -0.5)
    if not picture.dots:
        ax.set_xlim(0.0, picture.top)
    ax.set_xlabel(picture.unit)
    _legend(ax, handles, picture.series, draws)


def _lines(picture: Lines, ax: Any, draws: Draws) -> None:
    n = len(picture.lines)
    handles = []
    for line, colour, dash in zip(picture.lines, colours(n), dashes(n), strict=True):
        marker = "." if not picture.log and len(line.places) <= MOST_POINTS else ""
        style = "-" if dash == (1, 0) else (0, dash)
        values = _unknown_as_nan(line.values)
        handles += ax.plot(line.places, values, color=colour, marker=marker, linestyle=style)
    if picture.log:
        ax.set_xscale("log")
        ax.set_yscale("log")
    elif any(line.places for line in picture.lines):
        ax.set_ylim(bottom=0.0)
    else:  # nothing to draw: whole numbers, no fractions of an empty range
        ax.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    if picture.ticks:
        ax.set_xticks(list(picture.ticks))
        size = max(SMALL, min(LARGE, 0.8 * _points(ax)[0] / len(picture.ticks)))
        shown_ticks = [draws(text) for text in picture.ticks.values()]
        ax.set_xticklabels(shown_ticks, rotation=90, parse_math=False, fontsize=size)
    elif not picture.log:
        ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel(picture.along)
    ax.set_ylabel(picture.unit)
    names = [line.name for line in picture.lines]
    _legend(ax, handles, names, draws, **_room_above(ax, names))


def _room_above(ax: Any, names: list[str]) -> dict[str, Any]:
    """Room above many lines for their legend, and where it goes; matplotlib finds a place for few."""
    if len(names) <= FEW:
        return {}
    columns = 4 if max(map(len, names)) <= 18 else 2
    share = (ceil(len(names) / columns) + 1) * LEGEND_ROW / _points(ax)[1]
    ax.set_ylim(0.0, ax.get_ylim()[1] / (1.0 - min(share, 0.6)))
    return {"loc": "upper center", "ncols": columns, "fontsize": 6.5}


def _branches(picture: Branches, ax: Any, draws: Draws) -> None:
    depth, lanes = max(1, picture.depth), picture.lanes
    width, height = _points(ax)
    across = max(1.0, width - LEFT - RIGHT) / depth
    down = height / (lanes + 1)
    _ways(picture, ax)
    _marks(picture, ax, largest(across, down))
    _letters(picture, ax, labels(picture, across / CELL, down / LETTERS, draws))
    ax.set_xlim(-LEFT / across, depth + RIGHT / across)
    ax.set_ylim(lanes, -1.0)
    ax.set_yticks([])
    ax.set_xticks(whole_ticks(picture.depth))
    ax.set_xlabel("tokens after the prompt")


def _ways(picture: Branches, ax: Any) -> None:
    """Down from a place to the lane of each child, then on to the child; no line crosses another."""
    by_number = {place.number: place for place in picture.places}
    pairs = [(by_number[place.parent], place) for place in picture.places if place.parent is not None]
    turns = [(a, b) for a, b in pairs if a.lane != b.lane]
    drawn = {"color": GREY, "linewidth": 1, "zorder": 1}
    ax.hlines([b.lane for _, b in pairs], [a.depth for a, _ in pairs], [b.depth for _, b in pairs], **drawn)
    ax.vlines([a.depth for a, _ in turns], [a.lane for a, _ in turns], [b.lane for _, b in turns], **drawn)


def _marks(picture: Branches, ax: Any, area: float) -> None:
    """A circle for each probability, hollow where it is unknown; a square for the prompt; the ring."""
    written = [place for place in picture.places if place.parent is not None]
    known = [(place, place.p) for place in written if place.p is not None]
    unknown = [place for place in written if place.p is None]
    colour, least = colours(1)[0], max(3.0, area / 15)
    sizes = [least + (area - least) * p for _, p in known]
    ax.scatter([p.depth for p, _ in known], [p.lane for p, _ in known], s=sizes, color=colour, zorder=2)
    if unknown:
        at = [p.depth for p in unknown], [p.lane for p in unknown]
        ax.scatter(*at, s=area / 4, facecolors="none", edgecolors=colour, zorder=2)
    ax.scatter([0], [picture.places[0].lane], s=45, color=GREY, marker="s", zorder=2)
    here = [place for place in picture.places if place.number == picture.here]
    if here:
        at = [here[0].depth], [here[0].lane]
        ax.scatter(*at, s=area * 1.6 + 40, facecolors="none", edgecolors=RING, linewidths=2, zorder=3)


def _letters(picture: Branches, ax: Any, found: dict[int, str]) -> None:
    left = {"ha": "left", "va": "bottom", "xytext": (3, 3)}
    here = left | {"xytext": (8, 4)}  # beside the ring
    prompt = {"ha": "right", "va": "center", "xytext": (-12, 0)}
    for place in picture.places:
        if place.number in found:
            look = prompt if place.parent is None else here if place.number == picture.here else left
            label = ax.annotate("", (place.depth, place.lane), textcoords="offset points", fontsize=8, **look)
            label.set_parse_math(False)
            label.set_text(found[place.number])
