"""The way back from a step to the whole row: what a step does not keep is asked for again.

A step keeps the likeliest tokens and the sums. The model and the chain are functions of the ids and of what
the stages remembered, so asking again gives the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tokenglass.reading.paths import Link, Path, Reader, Reading
from tokenglass.select import Choice, Draw, Greedy, LlamaDraw, Selector, TorchDraw
from tokenglass.stages.ledger import Ledger
from tokenglass.types import Origin, Step

Picks = tuple[Selector, Any] | None  # a selector and its state


def again(
    reader: Reader, ids: Callable[[], tuple[int, ...]], states: tuple[Any, ...] | None, picks: Picks = None
) -> Callable[[], Ledger]:
    """A function that reads a path anew: a step keeps the likeliest tokens, not the whole row.

    Args:
        reader: the model and the chain.
        ids: gives the ids up to there when they are wanted; keeping them would take their square in memory.
        states: of the stages.
        picks: the selector and its state, where it cuts the row before it draws.
    """

    def ask() -> Ledger:
        path = Path(ids(), states=states)
        ledger = reader.read([path])[0].ledger
        if picks is None:
            return ledger
        selector, state = picks
        choice = selector.select(ledger.row, reader.context(path), state)
        return ledger.followed_by(selector, choice.row, choice.facts)

    return ask


def recorded(
    reader: Reader,
    reading: Reading,
    token_id: int,
    origin: Origin,
    draw: float | None = None,
    cdf: tuple[float, float] | None = None,
) -> Step:
    """The record of a search's choice after a reading of the same reader, which can be asked again.

    Args:
        reader: the model, and the chain that judged.
        reading: of a path that began with the reader's prompt.
        token_id: the token.
        origin: how it came about.
        draw: the uniform number, where one decided.
        cdf: the token's cell.
    """
    path = reading.path
    ids = ids_of(reader.prompt_ids, path.written)
    return replace(reading.step(token_id, origin, draw, cdf), reread=again(reader, ids, path.states))


def cut_by(reading: Reading, choice: Choice, selector: Selector, state: Any) -> Picks:
    """The selector and its state, where what it drew from is not what the chain left."""
    return None if choice.row is reading.row else (selector, state)


def ids_of(begun: tuple[int, ...], link: Link | None) -> Callable[[], tuple[int, ...]]:
    """A function that gives the ids a text began with and those linked to them."""
    return lambda: (*begun, *([] if link is None else [step.id for step in link.steps()][::-1]))


def cut(reader: Reader, reading: Reading, selector: Selector, state: Any) -> Ledger:
    """The books of a place, with one more stage where the selector changes the row before it draws."""
    ledger = reading.ledger
    if ledger.row.argmax < 0 or isinstance(selector, Greedy | Draw | LlamaDraw | TorchDraw):
        return ledger
    choice = selector.select(ledger.row, reader.context(reading.path), state)
    return ledger.followed_by(selector, choice.row, choice.facts)
