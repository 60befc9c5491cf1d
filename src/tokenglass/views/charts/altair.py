"""Pictures drawn by altair: the one place that names it. Data stand in the chart itself, as plain values."""

from __future__ import annotations

from typing import Any

from tokenglass.errors import MissingDependency
from tokenglass.views.charts.pictures import Bars, Branches, Lines, Picture, told

COLOURS = ("#3b82f6", "#d97706")  # the blue and the amber of the HTML views
GREY = "#7f7f7f"
ROW, WIDTH, HEIGHT, LANE = 18, 420, 200, 28


def draw(picture: Picture) -> Any:
    """A picture as an altair chart.

    Raises:
        MissingDependency: altair is not installed.
    """
    try:
        import altair
    except ImportError as error:
        raise MissingDependency(
            "a chart", "pip install 'tokenglass[plot]', or give matplotlib axes"
        ) from error
    match picture:
        case Bars():
            chart = _bars(altair, picture)
        case Lines():
            chart = _lines(altair, picture)
        case Branches():
            chart = _branches(altair, picture)
    return chart.properties(title=picture.title)


def _colour(altair: Any, names: Any) -> Any:
    scale = altair.Scale(domain=list(names), range=list(COLOURS[: len(names)]))
    return altair.Color("series:N", scale=scale, title=None)


def _bars(altair: Any, picture: Bars) -> Any:
    values = [
        {"token": label, "series": name, "probability": p}
        for name, numbers in picture.series.items()
        for label, p in zip(picture.labels, numbers, strict=True)
    ]
    chart = altair.Chart(altair.Data(values=values)).mark_bar()
    return chart.encode(
        x=altair.X("probability:Q", scale=altair.Scale(domain=[0, 1]), axis=altair.Axis(format="%")),
        y=altair.Y("token:N", sort=list(picture.labels), title=None),
        yOffset=altair.YOffset("series:N", sort=list(picture.series)),
        color=_colour(altair, picture.series),
        tooltip=["token:N", "series:N", altair.Tooltip("probability:Q", format=".3%")],
    ).properties(width=WIDTH, height=ROW * len(picture.labels) * len(picture.series))


def _lines(altair: Any, picture: Lines) -> Any:
    labels = picture.labels or tuple(map(str, picture.places))
    values = [
        {"place": place, "label": label, "series": name, "value": number}
        for name, numbers in picture.series.items()
        for place, label, number in zip(picture.places, labels, numbers, strict=True)
    ]
    scale = altair.Scale(type="log") if picture.log else altair.Scale(zero=True)
    along = altair.Scale(type="log") if picture.log else altair.Scale(nice=False, zero=False)
    chart = altair.Chart(altair.Data(values=values)).mark_line(point=not picture.log)
    return chart.encode(
        x=altair.X("place:Q", title=picture.along, scale=along),
        y=altair.Y("value:Q", title=picture.unit, scale=scale),
        color=_colour(altair, picture.series),
        tooltip=["place:Q", "label:N", "series:N", altair.Tooltip("value:Q", format=".4g")],
    ).properties(width=WIDTH, height=HEIGHT)


def _branches(altair: Any, picture: Branches) -> Any:
    by_number = {place.number: place for place in picture.places}
    values = [
        {
            "depth": place.depth,
            "lane": place.lane,
            "token": place.label,
            "p": place.p,
            "entropy": place.entropy_bits,
            "told": told(place),
        }
        for place in picture.places
    ]
    ways = [
        {"depth": one.depth, "lane": one.lane, "to_depth": place.depth, "to_lane": place.lane}
        for place in picture.places
        if place.parent is not None and (one := by_number[place.parent])
    ]
    y = altair.Y("lane:Q", scale=altair.Scale(reverse=True), axis=None)
    x = altair.X("depth:Q", title="tokens after the prompt", axis=altair.Axis(tickMinStep=1))
    edges = altair.Chart(altair.Data(values=ways)).mark_rule(color=GREY)
    edges = edges.encode(x=x, y=y, x2="to_depth:Q", y2="to_lane:Q")
    base = altair.Chart(altair.Data(values=values)).encode(x=x, y=y)
    nodes = base.mark_circle(color=COLOURS[0], opacity=1).encode(
        size=altair.Size("p:Q", scale=altair.Scale(domain=[0, 1], range=[20, 300]), title="probability"),
        tooltip=["told:N", altair.Tooltip("entropy:Q", format=".3g")],
    )
    names = base.mark_text(align="left", dx=8, dy=-8, color=GREY).encode(text="token:N")
    lanes = 1 + max(place.lane for place in picture.places)
    return (edges + nodes + names).properties(width=WIDTH, height=max(HEIGHT, LANE * lanes))
