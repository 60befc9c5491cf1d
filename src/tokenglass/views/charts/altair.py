"""Pictures drawn by altair: the one place that names it. Data stand in the chart itself, as plain values.

Token texts, names and notes are values of the data only: no expression, field, sort or format is made of
them, so that Vega never reads one as its own language.
"""

from __future__ import annotations

from typing import Any

from tokenglass.errors import MissingDependency
from tokenglass.views.charts.looks import (
    GREY,
    INK,
    MOST_POINTS,
    PAPER,
    RING,
    colours,
    dashes,
    largest,
    whole_ticks,
)
from tokenglass.views.charts.pictures import Bars, Branches, Lines, Picture
from tokenglass.views.charts.trees import labels, told

ROW, WIDTH, HEIGHT = 18, 420, 200  # pixels, as all below
TICK = 14  # between two tokens on an axis
LANE, HIGHEST = 28, 800
STEP, WIDEST, LEFT, RIGHT = (
    48,
    900,
    70,
    110,
)  # of a tree; beside it is room for the prompt's and the last labels
CELL, LETTERS = 6.0, 12.0  # of a label: how wide and how high
EDGE = 3  # around letters


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
    title = (
        altair.TitleParams(picture.title, subtitle=list(picture.notes)) if picture.notes else picture.title
    )
    return chart.properties(title=title)


def _legend(altair: Any, names: list[str], **symbols: Any) -> Any:
    """Below the picture, so that a long name makes it no wider; none where there is one series."""
    if len(names) < 2:
        return None
    columns = 1 if max(map(len, names)) > 24 else 3
    return altair.Legend(orient="bottom", columns=columns, labelLimit=WIDTH, **symbols)


def _colour(altair: Any, names: list[str], **symbols: Any) -> Any:
    scale = altair.Scale(domain=names, range=colours(len(names)))
    return altair.Color("series:N", scale=scale, title=None, legend=_legend(altair, names, **symbols))


def _bars(altair: Any, picture: Bars) -> Any:
    several = len(picture.series) > 1
    values = [
        {"token": label, "series": name, "value": p}
        for name, numbers in picture.series.items()
        for label, p in zip(picture.labels, numbers, strict=True)
    ]
    chart = altair.Chart(altair.Data(values=values))
    chart = chart.mark_circle(size=80, opacity=1) if picture.dots else chart.mark_bar()
    scale = altair.Scale(zero=not picture.dots)
    if picture.top is not None:
        scale = altair.Scale(domain=[0, picture.top])
    beside = {"yOffset": altair.YOffset("series:N", sort=None)} if several else {}
    return chart.encode(
        x=altair.X("value:Q", title=picture.unit, scale=scale),
        y=altair.Y("token:N", sort=None, title=None, axis=altair.Axis(labelLimit=260)),
        color=_colour(altair, list(picture.series)),
        tooltip=["token:N", "series:N", altair.Tooltip("value:Q", format=".4g", title=picture.unit)],
        **beside,
    ).properties(width=WIDTH, height=(ROW + 6 * (len(picture.series) - 1)) * max(1, len(picture.labels)))


def _lines(altair: Any, picture: Lines) -> Any:
    ticks = picture.ticks
    values = [
        {"place": place, "label": label, "series": line.name, "value": number, "tick": ticks.get(place, "")}
        for line in picture.lines
        for place, label, number in zip(
            line.places, line.labels or tuple(map(str, line.places)), line.values, strict=True
        )
    ]
    names = [line.name for line in picture.lines]
    longest = max(len(line.places) for line in picture.lines)
    symbols = {"symbolType": "stroke", "symbolSize": 400, "symbolStrokeWidth": 2}  # wide enough for a dash
    dash = altair.StrokeDash(
        "series:N",
        scale=altair.Scale(domain=names, range=[list(dash) for dash in dashes(len(names))]),
        title=None,
        legend=_legend(altair, names, **symbols),
    )
    chart = altair.Chart(altair.Data(values=values))
    chart = chart.mark_line(point=not picture.log and longest <= MOST_POINTS)
    return chart.encode(
        x=_along(altair, picture, longest),
        y=altair.Y("value:Q", title=picture.unit, scale=_scale(altair, picture, longest)),
        color=_colour(altair, names, **symbols),
        strokeDash=dash,
        tooltip=["place:Q", "label:N", "series:N", altair.Tooltip("value:Q", format=".4g")],
    ).properties(width=max(WIDTH, TICK * len(picture.ticks)), height=HEIGHT)


def _along(altair: Any, picture: Lines, longest: int) -> Any:
    if picture.ticks:
        axis = altair.Axis(labelAngle=-90, labelLimit=130, labelOverlap=False)
        return altair.X("tick:N", sort=None, title=picture.along, axis=axis)
    if picture.log:
        return altair.X("place:Q", title=picture.along, scale=altair.Scale(type="log"))
    scale = altair.Scale(nice=False, zero=False) if longest else altair.Scale(domain=[0, 1])
    axis = altair.Axis(tickMinStep=1, format=",d")
    return altair.X("place:Q", title=picture.along, scale=scale, axis=axis)


def _scale(altair: Any, picture: Lines, longest: int) -> Any:
    if picture.log:
        return altair.Scale(type="log")
    return altair.Scale(zero=True) if longest else altair.Scale(domain=[0, 1])


def _branches(altair: Any, picture: Branches) -> Any:
    depth, lanes = max(1, picture.depth), picture.lanes
    width, height = _size(picture)
    across, down = _spaces(picture)
    y_scale = altair.Scale(domain=[-1.0, float(lanes)], reverse=True, nice=False)
    x_scale = altair.Scale(domain=[-LEFT / across, depth + RIGHT / across], nice=False)
    axis = altair.Axis(values=whole_ticks(picture.depth), format=",d", grid=False)
    y = altair.Y("lane:Q", scale=y_scale, axis=None)
    x = altair.X("depth:Q", title="tokens after the prompt", scale=x_scale, axis=axis)
    layers = [
        *_ways(altair, picture, x, y),
        *_marks(altair, picture, x, y, largest(across, down)),
        *_letters(altair, picture, x, y),
    ]
    return altair.layer(*layers).properties(width=width, height=height)


def _size(picture: Branches) -> tuple[int, int]:
    width = min(WIDEST, max(WIDTH, LEFT + RIGHT + STEP * picture.depth))
    return width, min(HIGHEST, LANE * (picture.lanes + 1))


def _spaces(picture: Branches) -> tuple[float, float]:
    """From one place to the next, and from one lane to the next."""
    width, height = _size(picture)
    return (width - LEFT - RIGHT) / max(1, picture.depth), height / (picture.lanes + 1)


def _ways(altair: Any, picture: Branches, x: Any, y: Any) -> list[Any]:
    """Down from a place to the lane of each child, then on to the child; no line crosses another."""
    by_number = {place.number: place for place in picture.places}
    pairs = [(by_number[place.parent], place) for place in picture.places if place.parent is not None]
    ways = [{"depth": a.depth, "lane": b.lane, "to": b.depth} for a, b in pairs]
    stems = [{"depth": a.depth, "lane": a.lane, "to": b.lane} for a, b in pairs if a.lane != b.lane]
    found = []
    for values, to in ((ways, {"x2": "to:Q"}), (stems, {"y2": "to:Q"})):
        if values:  # Vega finds no extent in nothing, and says so
            rules = altair.Chart(altair.Data(values=values)).mark_rule(color=GREY)
            found.append(rules.encode(x=x, y=y, **to))
    return found


def _marks(altair: Any, picture: Branches, x: Any, y: Any, area: float) -> list[Any]:
    """A circle for each probability, hollow where it is unknown; a square for the prompt; the ring."""
    rows: dict[str, list[dict[str, Any]]] = {"known": [], "unknown": [], "prompt": [], "here": []}
    for place in picture.places:
        row = {"depth": place.depth, "lane": place.lane, "p": place.p, "told": told(place)}
        row["entropy"] = place.entropy_bits
        kind = "prompt" if place.parent is None else "unknown" if place.p is None else "known"
        rows[kind].append(row)
        if place.number == picture.here:
            rows["here"].append(row)
    colour = colours(1)[0]
    scale = altair.Scale(domain=[0, 1], range=[max(3.0, area / 15), area])
    legend = altair.Legend(title="probability", values=[0.01, 0.25, 0.5, 1.0], format=".0%")
    size = altair.Size("p:Q", scale=scale, legend=legend)
    known: dict[str, Any] = {"color": colour, "opacity": 1}
    hollow: dict[str, Any] = {"filled": False, "opacity": 1, "color": colour, "size": area / 4}
    square: dict[str, Any] = {"shape": "square", "filled": True, "color": GREY, "opacity": 1, "size": 60}
    ring: dict[str, Any] = {
        "filled": False,
        "opacity": 1,
        "color": RING,
        "strokeWidth": 2,
        "size": area * 1.6 + 40,
    }
    tooltip = ["told:N", altair.Tooltip("entropy:Q", title="entropy (bits)", format=".3g")]
    looks = {"known": known, "unknown": hollow, "prompt": square, "here": ring}
    return [
        altair.Chart(altair.Data(values=rows[kind]))
        .mark_point(**({"filled": True} | look))
        .encode(x=x, y=y, tooltip=tooltip, **({"size": size} if kind == "known" else {}))
        for kind, look in looks.items()
        if rows[kind]
    ]


def _letters(altair: Any, picture: Branches, x: Any, y: Any) -> list[Any]:
    """Labels with an edge below them, since one layer would draw the edge over its own letters."""
    across, down = _spaces(picture)
    found = labels(picture, across / CELL, down / LETTERS)
    looks = {
        "prompt": {"align": "right", "baseline": "middle", "dx": -14},
        "here": {"align": "left", "baseline": "bottom", "dx": 10, "dy": -6},
        "label": {"align": "left", "baseline": "bottom", "dx": 5, "dy": -5},
    }
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in looks}
    for place in picture.places:
        if place.number in found:
            kind = "prompt" if place.parent is None else "here" if place.number == picture.here else "label"
            rows[kind].append({"depth": place.depth, "lane": place.lane, "label": found[place.number]})
    edge = {"stroke": PAPER, "strokeWidth": EDGE, "strokeJoin": "round"}
    return [
        altair.Chart(altair.Data(values=rows[kind]))
        .mark_text(fontSize=10, limit=250, **looks[kind], **colour)
        .encode(x=x, y=y, text="label:N")
        for kind in looks
        if rows[kind]
        for colour in (edge | {"fill": PAPER}, {"fill": INK})
    ]
