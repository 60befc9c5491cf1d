"""What a chart of a result shows: bars, lines along a text, or a tree; no library, no colours.

Every label has been through `tokenglass.text`, and is short: a hostile prompt makes no chart wider.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from tokenglass.text import safe_line, safe_text
from tokenglass.types import Shown, Vocabulary
from tokenglass.views.cells import cut, cut_left
from tokenglass.views.values import shown

MOST_BARS = 50  # more can be neither read nor told apart; the others are one bar
MOST_LINES = 20
MOST_TOKENS = 40  # on an axis; more would be drawn over one another
MOST_PLACES = 10_000  # of a line; a notebook keeps them all in its file
LONGEST_TITLE, LONGEST_LABEL, LONGEST_TICK, LONGEST_END = 72, 32, 20, 40  # cells


@dataclass(frozen=True)
class Bars:
    """A bar for each label and series, from 0 on.

    Attributes:
        title: of the picture.
        notes: lines below the title: what is left out, what names stand for.
        unit: of the numbers.
        labels: from top to bottom, all different.
        series: name -> a number for each label, None where it is unknown.
        top: where the axis of the numbers ends; None for where the numbers do.
        dots: a dot in place of a bar: the numbers have no zero that a bar could begin at.
    """

    title: str
    notes: tuple[str, ...]
    unit: str
    labels: tuple[str, ...]
    series: Mapping[str, tuple[float | None, ...]]
    top: float | None = 1.0
    dots: bool = False


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: for the legend.
        places: where each point stands, from left to right.
        values: a number for each place, None where it is unknown.
        labels: what stands at each place; empty where the places speak for themselves.
    """

    name: str
    places: tuple[int, ...]
    values: tuple[float | None, ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines:
    """Numbers along something.

    Attributes:
        title: of the picture.
        notes: lines below the title.
        along: what lies along the horizontal axis.
        unit: of the numbers.
        lines: at least one, no two of the same name.
        log: both axes are logarithmic; otherwise the numbers begin at 0.
    """

    title: str
    notes: tuple[str, ...]
    along: str
    unit: str
    lines: tuple[Line, ...]
    log: bool = False

    @property
    def ticks(self) -> dict[int, str]:
        """Place -> what to write below it; empty where there are too many, or lines have other tokens."""
        first = self.lines[0]
        alike = all((line.places, line.labels) == (first.places, first.labels) for line in self.lines)
        if not alike or len(first.places) > MOST_TOKENS:
            return {}
        return {place: cut(f"{place} {label}", LONGEST_TICK) for place, label in _pairs(first)}


def _pairs(line: Line) -> Many[tuple[int, str]]:
    return list(zip(line.places, line.labels, strict=False))


@dataclass(frozen=True)
class Place:
    """One place of a tree.

    Attributes:
        number: of the place.
        parent: the number of the place before; None for the prompt.
        depth: tokens from the prompt.
        lane: how far down it stands; a place stands where its first child does.
        label: its token.
        p: its probability after the chain; None for the prompt, and where it is unknown.
        entropy_bits: of the choice; None for the prompt, and where it is unknown.
        name: given by a person, or "".
        notes: written by a person.
    """

    number: int
    parent: int | None
    depth: int
    lane: int
    label: str
    p: float | None
    entropy_bits: float | None
    name: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Branches:
    """A tree of places.

    Attributes:
        title: of the picture.
        notes: lines below the title.
        places: parents first, the prompt foremost.
        here: the number of the place where a session stands.
    """

    title: str
    notes: tuple[str, ...]
    places: tuple[Place, ...]
    here: int | None = None

    @property
    def depth(self) -> int:
        """Of the place farthest from the prompt."""
        return max(place.depth for place in self.places)

    @property
    def lanes(self) -> int:
        """How many there are."""
        return 1 + max(place.lane for place in self.places)


Picture = Bars | Lines | Branches
Kinds = Mapping[str, Callable[[], Picture]]


@singledispatch
def kinds(result: Shown) -> Kinds:
    """Name -> how to make that picture of a result, the one it has by itself first.

    Raises:
        TypeError: there is no picture of such a result.
    """
    raise TypeError(f"there is no chart of a {type(result).__name__}")


def picture(result: Shown, kind: Any = None, **others: Any) -> Picture:
    """What a chart of a result shows.

    Raises:
        TypeError: there is no picture of such a result, or no such option.
        ValueError: no such kind of picture.
    """
    found = kinds(result)
    if others:
        raise TypeError(f"plot() takes ax and kind, got {', '.join(map(given, others))}")
    if kind is None:
        return next(iter(found.values()))()
    if not isinstance(kind, str) or kind not in found:
        known = " or ".join(map(repr, found))
        whose = type(result).__name__
        raise ValueError(f"plot() of a {whose}: kind must be {known}, got {given(kind)}")
    return found[kind]()


def given(value: object) -> str:
    """What somebody gave, for an error message."""
    return f"'{cut(safe_line(value), LONGEST_LABEL)}'" if isinstance(value, str) else shown(value)


def end_of(ids: Many[int], vocabulary: Vocabulary) -> str:
    """The end of a text, short enough for a title."""
    return cut_left(safe_text(b"".join(vocabulary.token(i).bytes for i in ids[-12:])), LONGEST_END)


def first_of(drawn: int, all_: int, noun: str) -> tuple[str, ...]:
    """A note where not all can be drawn.

    >>> first_of(2, 1300, "tokens"), first_of(2, 2, "tokens")
    (('the first 2 of 1,300 tokens',), ())
    """
    return (f"the first {drawn:,} of {all_:,} {noun}",) if drawn < all_ else ()


def label(text: str) -> str:
    """A label of a bar."""
    return cut(text, LONGEST_LABEL)
