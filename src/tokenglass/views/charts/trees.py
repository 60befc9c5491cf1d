"""Pictures of trees: where places stand, and which labels there is room for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from math import ceil
from typing import Any

from tokenglass.text import safe_line
from tokenglass.types import Node, SessionState, Tree
from tokenglass.types.shown import ShowsItsState
from tokenglass.views.cells import cell_width, cut
from tokenglass.views.charts.pictures import Branches, Kinds, Place, end_of, first_of, kinds
from tokenglass.views.figures import percent
from tokenglass.views.values import shown

MOST_BRANCHES = 2000  # places; more can be neither seen nor pointed at
SHORT, LONG = 16, 40  # cells of a label: a token, a token with its name
NOTE, PROMPT, HERE = "✎", "the prompt", "the ring is where the session stands"


@kinds.register
def _(result: Tree) -> Kinds:
    return {"tree": lambda: _branches(result)}


@kinds.register(SessionState)
@kinds.register(ShowsItsState)
def _(result: Any) -> Kinds:
    node = result.node  # its number in a state, the place itself in a session
    return {"tree": lambda: _branches(result.tree, node.id if isinstance(node, Node) else node)}


def _branches(tree: Tree, here: int | None = None) -> Branches:
    places = _places(tree.root)
    notes = first_of(len(places), sum(1 for _ in tree), "places")
    if here is not None:
        drawn = any(place.number == here for place in places)
        notes += (HERE if drawn else f"the session stands at place {here:,}, which is not drawn",)
    return Branches(f"texts after {end_of(tree.prompt_ids, tree.vocabulary)}", notes, places, here)


def _places(root: Node) -> tuple[Place, ...]:
    """Each first child goes on in its parent's lane, every other one begins a new lane below."""
    found: list[Place] = []
    waiting = [(root, 0, False)]
    lanes = 0
    while waiting and len(found) < MOST_BRANCHES:
        node, depth, begins = waiting.pop()
        lanes += begins
        found.append(_place(node, depth, lanes))
        children = list(node.children.values())
        waiting += [(child, depth + 1, index > 0) for index, child in reversed(list(enumerate(children)))]
    return tuple(found)


def _place(node: Node, depth: int, lane: int) -> Place:
    step, parent = node.step, None if node.parent is None else node.parent.id
    kept = safe_line(node.name), tuple(map(safe_line, node.notes))
    if step is None:
        return Place(node.id, parent, depth, lane, PROMPT, None, None, *kept)
    return Place(node.id, parent, depth, lane, step.token.text, step.p_final, step.entropy_bits, *kept)


def told(place: Place) -> str:
    """What there is to say about a place, on one line."""
    share = [] if place.parent is None else [percent(place.p)]
    name = [f"“{cut(place.name, LONG)}”"] if place.name else []
    notes = [f"{NOTE} {cut(note, LONG)}" for note in place.notes[:3]]
    return " · ".join([f"place {shown(place.number)}", cut(place.label, LONG), *share, *name, *notes])


def written(place: Place) -> str:
    """A place's label, with the name that a person gave it and a sign that there are notes."""
    name = f" “{cut(place.name, LONG - SHORT)}”" if place.name else ""
    return cut(place.label, SHORT) + name + (f" {NOTE}" if place.notes else "")


def labels(
    picture: Branches, across: float, down: float, draws: Callable[[str], str] = str
) -> dict[int, str]:
    """The labels that there is room for, by number of place; the prompt's stands left of all others.

    Where the session stands comes first, then what has a name or a note, then from the left.

    Args:
        picture: the tree.
        across: cells of letters from one place to the next.
        down: lines of letters from one lane to the next.
        draws: makes a text drawable, which may make it longer.
    """
    taken: dict[int, list[tuple[float, float]]] = defaultdict(list)
    found = {}
    near = ceil(1 / down) - 1 if down < 1.0 else 0  # lanes up and down that letters reach into
    for place in sorted(picture.places, key=lambda place: _last(place, picture.here)):
        begins = place.depth * across
        text = PROMPT if place.parent is None else draws(written(place))
        span = (-len(PROMPT), 0.0) if place.parent is None else (begins, begins + cell_width(text) + 1.0)
        lanes = range(place.lane - near, place.lane + near + 1)
        if all(span[1] <= a or b <= span[0] for lane in lanes for a, b in taken.get(lane, ())):
            taken[place.lane].append(span)
            found[place.number] = text
    return found


def _last(place: Place, here: int | None) -> tuple[bool, bool, bool, int]:
    told_of = bool(place.name or place.notes)
    return place.parent is not None, place.number != here, not told_of, place.depth
