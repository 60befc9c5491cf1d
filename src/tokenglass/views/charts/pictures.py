"""What a chart of a result shows: bars, lines along a text, or a tree; no library, no colours.

Every label has been through `tokenglass.text`.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass
from functools import singledispatch
from math import log2
from typing import Any, Literal

import numpy as np

from tokenglass import numbers
from tokenglass.text import safe_text
from tokenglass.types import (
    Comparison,
    Generation,
    NextTokens,
    Node,
    OptionScores,
    Score,
    Sequence,
    SessionState,
    Shown,
    Step,
    Tree,
    Vocabulary,
)
from tokenglass.types.shown import ShowsItsState
from tokenglass.views.figures import percent
from tokenglass.views.values import shown

MOST_MARKS = 2000  # bars, points or places of one picture; more can be neither seen nor clicked
CURVE_POINTS = 400
OWN, FINAL = "the model", "after the chain"


@dataclass(frozen=True)
class Bars:
    """A bar for each label and series, from 0 to 1.

    Attributes:
        title: of the picture.
        labels: from top to bottom, all different.
        series: name -> a probability for each label, None where it is unknown.
    """

    title: str
    labels: tuple[str, ...]
    series: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True)
class Lines:
    """Numbers along something.

    Attributes:
        title: of the picture.
        along: what lies along the horizontal axis.
        unit: of the numbers.
        places: where each point stands, from left to right.
        labels: what stands there; empty where the places are numbers that speak for themselves.
        series: name -> a number for each place, None where it is unknown.
        log: both axes are logarithmic.
    """

    title: str
    along: str
    unit: str
    places: tuple[int, ...]
    labels: tuple[str, ...]
    series: dict[str, tuple[float | None, ...]]
    log: bool = False


@dataclass(frozen=True)
class Place:
    """One place of a tree.

    Attributes:
        number: of the place.
        parent: the number of the place before; None for the prompt.
        depth: tokens from the prompt.
        lane: how far down it stands; a place stands where its first child does.
        label: its token.
        p: its probability after the chain; None for the prompt.
        entropy_bits: of the choice; None for the prompt.
    """

    number: int
    parent: int | None
    depth: int
    lane: int
    label: str
    p: float | None
    entropy_bits: float | None


@dataclass(frozen=True)
class Branches:
    """A tree of places.

    Attributes:
        title: of the picture.
        places: parents first.
    """

    title: str
    places: tuple[Place, ...]


Picture = Bars | Lines | Branches


@singledispatch
def picture(result: Shown) -> Picture:
    """What a chart of a result shows.

    Raises:
        TypeError: there is no picture of such a result.
    """
    raise TypeError(f"there is no chart of a {type(result).__name__}")


def _end_of(ids: Many[int], vocabulary: Vocabulary) -> str:
    return safe_text(b"".join(vocabulary.token(i).bytes for i in ids[-12:]))


# -------------------------------------------------------------------------------------------- distributions


@picture.register
def _(result: NextTokens, kind: Literal["bars", "curve"] = "bars") -> Picture:
    if kind not in ("bars", "curve"):
        raise ValueError(f"kind must be 'bars' or 'curve', got {kind!r}")
    title = f"next token after {_end_of(result.prompt_ids, result.vocabulary)}"
    if kind == "curve":
        return _curve(result, title)
    found = result.rows[:MOST_MARKS]
    ids = [row.id for row in found]
    labels = (*(f"{row.rank} {row.text}" for row in found), "… all others")
    series: dict[str, tuple[float | None, ...]] = {OWN: (*(row.p for row in found), result.rest_of(ids))}
    if result.final is not None:
        series[FINAL] = (*(row.p_final for row in found), result.rest_of(ids, final=True))
    return Bars(title, labels, series)


def _curve(result: NextTokens, title: str) -> Lines:
    """Rank against probability, at ranks that stand evenly on a logarithmic axis."""
    ranked = np.sort(numbers.softmax(result.logits))[::-1]
    ranks = np.unique(np.geomspace(1, len(ranked), CURVE_POINTS).round().astype(int)).tolist()
    p = tuple(float(ranked[rank - 1]) or None for rank in ranks)  # 0 has no place on such an axis
    return Lines(title, "rank", "probability", tuple(ranks), (), {OWN: p}, log=True)


@picture.register
def _(result: OptionScores) -> Bars:
    found = result.rows[:MOST_MARKS]
    labels = tuple(f"{number} {safe_text(row.text)}" for number, row in enumerate(found, start=1))
    p, share = tuple(row.p for row in found), tuple(row.share for row in found)
    return Bars("how likely each continuation is", labels, {"probability": p, "share": share})


@picture.register
def _(result: Comparison) -> Bars:
    end = result.prompt_end
    labels = tuple(f"{i} {row.token.text or 'no text'}" for i, row in enumerate(end.movers, start=1))
    series = {"a": tuple(row.p_a for row in end.movers), "b": tuple(row.p_b for row in end.movers)}
    return Bars("what moved most at the prompt's end", labels, series)


# -------------------------------------------------------------------------------------------- along a text


@picture.register(Sequence)
@picture.register(Generation)
def _(result: Sequence | Generation) -> Lines:
    return _along(result.steps)


def _along(steps: tuple[Step, ...]) -> Lines:
    steps = steps[:MOST_MARKS]
    return Lines(
        "how undecided the model was, and how surprising each token",
        "token",
        "bits",
        tuple(step.position for step in steps),
        tuple(step.token.text for step in steps),
        {
            "entropy": tuple(step.entropy_bits for step in steps),
            "surprise": tuple(-log2(step.p) if step.p else None for step in steps),
        },
    )


@picture.register
def _(result: Score) -> Lines:
    found = list(result.rows[:MOST_MARKS])
    return Lines(
        "how undecided the model was, and how surprising each token",
        "token",
        "bits",
        tuple(row.index for row in found),
        tuple(row.text for row in found),
        {
            "entropy": tuple(row.entropy_bits for row in found),
            "surprise": tuple(row.surprisal_bits for row in found),
        },
    )


# ---------------------------------------------------------------------------------------------------- trees


@picture.register
def _(result: Tree) -> Branches:
    return Branches(f"texts after {_end_of(result.prompt_ids, result.vocabulary)}", _places(result.root))


@picture.register(SessionState)
@picture.register(ShowsItsState)
def _(result: Any) -> Branches:
    found: Branches = picture(result.tree)  # type: ignore[assignment]
    return found


def _places(root: Node) -> tuple[Place, ...]:
    """Each first child goes on in its parent's lane, every other one begins a new lane below."""
    found: list[Place] = []
    waiting = [(root, 0, False)]
    lanes = 0
    while waiting and len(found) < MOST_MARKS:
        node, depth, begins = waiting.pop()
        lanes += begins
        found.append(_place(node, depth, lanes))
        children = list(node.children.values())
        waiting += [(child, depth + 1, index > 0) for index, child in reversed(list(enumerate(children)))]
    return tuple(found)


def _place(node: Node, depth: int, lane: int) -> Place:
    step, parent = node.step, None if node.parent is None else node.parent.id
    if step is None:
        return Place(node.id, parent, depth, lane, "the prompt", None, None)
    return Place(node.id, parent, depth, lane, step.token.text, step.p_final, step.entropy_bits)


def told(place: Place) -> str:
    """What there is to say about a place, on one line."""
    share = "" if place.p is None else f" · {percent(place.p)}"
    return f"place {shown(place.number)} · {place.label}{share}"
