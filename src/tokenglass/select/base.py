"""Who picks the token: what a selector is, and the two that everybody needs, argmax and the drawn number.

A selector maps (row, context, state) to a `Choice`, which carries the state for the next step. It never
changes its input, so a step can be run again, forked and undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, Protocol

import numpy as np

from tokenglass.errors import NoTokenAllowed
from tokenglass.stages.context import Context
from tokenglass.stages.row import MASKED, Row, every_id

_PIECE = 8192


@dataclass(frozen=True, slots=True)
class Choice:
    """One token chosen.

    Attributes:
        token_id: the token.
        p: its probability in `row`.
        row: the distribution it was chosen from; not the row given where the selector truncates (mirostat).
        state: for the next step, if this token is the one that is written.
        origin: "greedy", "sampled", "forced" by hand, or "expanded" to look ahead.
        draw: the uniform number, where one decided.
        cdf: (start, end) of the token's cell, which holds the draw: end - start is p up to rounding.
        facts: numbers of the selector's own, such as mirostat's mu.
    """

    token_id: int
    p: float
    row: Row
    state: Any = None
    origin: Literal["greedy", "sampled", "forced", "expanded"] = "sampled"
    draw: float | None = None
    cdf: tuple[float, float] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)


class Selector(Protocol):
    """Picks one token of a row."""

    @property
    def name(self) -> str:
        """What it is called, such as "greedy"."""
        ...

    def start(self) -> Any:
        """The state before the first step."""
        ...

    def select(self, row: Row, context: Context, state: Any = None) -> Choice:
        """The choice; a state of None is that before the first step.

        Raises:
            NoTokenAllowed: every token is masked.
        """
        ...


@dataclass(frozen=True)
class Greedy:
    """The most likely token; of equals the lowest id, or the first candidate.

    >>> Greedy().select(Row.of([1.0, 2.0, 2.0]), Context()).token_id
    1
    """

    name = "greedy"

    def start(self) -> None:
        """Nothing to remember."""

    def select(self, row: Row, context: Context, state: Any = None) -> Choice:
        """The best token."""
        require_alive(row, context)
        best = row.argmax if row.order is None else int(row.order[row.scores[row.order].argmax()])
        return Choice(best, float(row.moments.probs(row.scores[best])), row, origin="greedy")


@dataclass(frozen=True)
class Draw:
    """One uniform number of the context's source, purpose "draw", and the inverse CDF in order of id.

    >>> from tokenglass.random import Philox
    >>> choice = Draw().select(Row.of([0.0, 0.0]), Context(source=Philox(seed=1)))
    >>> choice.token_id, round(choice.draw, 4), choice.cdf
    (0, 0.2297, (0.0, 0.5))
    """

    name = "sample"

    def start(self) -> None:
        """Nothing to remember: the number depends on the position alone."""

    def select(self, row: Row, context: Context, state: Any = None) -> Choice:
        """The token whose cell holds the number."""
        require_alive(row, context)
        return choose_by_id(row, context.uniform("draw"))


def choose_by_id(row: Row, u: float) -> Choice:
    """The token whose cell [start, end) of the cumulative distribution, in order of id, holds u.

    Float64 throughout; a token of probability 0 has no cell and is never chosen.
    """
    few, scores = row.few, row.scores
    if few is not None and len(few) <= _PIECE:
        ids = np.sort(few)
        scores = scores[ids]
    elif scores.min() > MASKED:
        ids = every_id(len(row))
    else:  # a masked token's exponential is dear, and adds nothing
        ids = np.flatnonzero(scores != MASKED)
        scores = scores[ids]
    best = float(scores[scores.argmax()])
    # in pieces that stay in the cache; the running sum of a piece is needed only where u lies
    pieces, ends = [], [0.0]
    for i in range(0, len(ids), _PIECE):
        pieces.append(np.exp(scores[i : i + _PIECE].astype(np.float64) - best))
        ends.append(ends[-1] + -float(np.subtract.reduce(pieces[-1], initial=0.0)))  # numpy subtracts in turn
    total = ends[-1]
    target = min(u * total, float(np.nextafter(total, 0.0)))  # the product may round up to the total
    piece = next(i for i, end in enumerate(ends[1:]) if target < end)
    weights = pieces[piece]
    cells = ends[piece] + np.cumsum(weights)
    index = int(np.searchsorted(cells, target, side="right"))
    before = float(cells[index - 1]) if index else ends[piece]
    cell = (before / total, float(cells[index]) / total)
    return Choice(int(ids[piece * _PIECE + index]), float(weights[index]) / total, row, draw=u, cdf=cell)


def require_alive(row: Row, context: Context) -> None:
    """Refuse a row in which everything is masked, or which is no distribution.

    Raises:
        NoTokenAllowed: everything is masked.
        ValueError: a score is NaN or +inf.
    """
    if row.argmax < 0:
        raise NoTokenAllowed(context.position)
    if not np.isfinite(row.scores[row.argmax]):  # a NaN is the largest to numpy
        raise ValueError(f"scores must be numbers below +inf, got {row.scores[row.argmax]}; mend them first")


def margin(row: Row) -> float:
    """Score of the best token minus the runner-up's; inf where there is no other.

    >>> margin(Row.of([1.0, 3.0, 2.5]))
    0.5
    """
    best = row.ranked(2)[:2]
    if len(best) < 2:
        return inf
    return float(row.scores[best[0]]) - float(row.scores[best[1]])
