"""The best, or the drawn, continuations of several beams at once.

A beam's running score is a float32 sum, as in transformers, so that near-ties fall the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.reading.paths import Heard, Path, Reader, Reading
from tokenglass.search.drawing import Drawer
from tokenglass.stages.row import MASKED, Row
from tokenglass.stages.sums import Floats
from tokenglass.types import FinishReason

Ids = NDArray[np.int64]
DEAD = np.float32(-1e9)  # the running score of a beam that is none: a finished one, or a twin at the start
_ALIVE = -5e8


@dataclass(frozen=True, slots=True)
class Running:
    """One beam between two steps."""

    path: Path
    total: np.float32

    @property
    def alive(self) -> bool:
        """Whether it is a beam at all."""
        return bool(self.total > _ALIVE)


@dataclass(frozen=True)
class Choice:
    """K continuations of several beams, in order of rank.

    Attributes:
        parents: (K,) index of the beam.
        tokens: (K,) the token.
        logprobs: (K,) its score after the chain.
        totals: (K,) running score with it, float32.
        reasons: why each ends its text, or None.
    """

    parents: Ids
    tokens: Ids
    logprobs: Floats
    totals: Floats
    reasons: tuple[FinishReason | None, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def finished(self) -> NDArray[np.bool_]:
        """(K,) which ones end their text."""
        return np.array([reason is not None for reason in self.reasons], dtype=bool)


def starting(path: Path, count: int) -> list[Running]:
    """The prompt as the only beam, and as many twins that do not count."""
    return [Running(path, np.float32(0.0)), *[Running(path, DEAD) for _ in range(count - 1)]]


def hear(reader: Reader, beams: Sequence[Running]) -> list[Heard]:
    """The model's word on each beam; twins are read once."""
    places: dict[tuple[int, ...], int] = {}
    for beam in beams:
        places.setdefault(beam.path.ids, len(places))
    distinct = {beam.path.ids: beam.path for beam in reversed(beams)}
    heard = reader.hear([distinct[ids] for ids in places])
    return [heard[places[beam.path.ids]] for beam in beams]


def require_sound(readings: Sequence[Reading]) -> None:
    """Refuse a step at which some beam's scores are no numbers.

    Raises:
        ValueError: names the stage that made one NaN or +inf.
    """
    for reading in readings:
        reading.ledger.require_sound(len(reading.path.ids))


def require_any(readings: Sequence[Reading]) -> None:
    """Refuse a step at which no beam has a token left.

    Raises:
        NoTokenAllowed: names the stage that removed the first beam's last one.
    """
    if all(reading.row.argmax < 0 for reading in readings):
        readings[0].ledger.require_alive(len(readings[0].path.ids))


def best(rows: Sequence[Row], totals: Sequence[np.float32], count: int) -> Choice:
    """The `count` best continuations of all beams together; equals by beam, then by id. Masked ones never.

    Raises:
        ValueError: a running score would grow beyond float32.
    """
    parts = [row.ranked(count)[:count] for row in rows]
    ids = [part[row.scores[part] > MASKED] for part, row in zip(parts, rows, strict=True)]
    tokens = np.concatenate(ids)
    parents = np.repeat(np.arange(len(rows)), [len(part) for part in ids])
    logprobs = np.concatenate([row.scores[part] for row, part in zip(rows, ids, strict=True)])
    sums = added(logprobs, np.asarray(totals, dtype=np.float32)[parents])
    order = np.lexsort((tokens, parents, -sums))[:count]
    return Choice(parents[order], tokens[order], logprobs[order], sums[order])


def drawn(
    rows: Sequence[Row], totals: Sequence[np.float32], count: int, drawer: Drawer, position: int
) -> Choice:
    """`count` continuations of all beams, drawn one after the other without replacement, in order of drawing.

    Where less than `count` has any probability, the best of the rest follow.

    Raises:
        ValueError: a running score would grow beyond float32.
    """
    for row, total in zip(rows, totals, strict=True):
        added(row.scores[row.argmax], total)
    chosen = drawer.draw(rows, totals, count, position)
    if len(chosen) < count:
        rest = best(rows, totals, count)
        pairs = zip(rest.parents.tolist(), rest.tokens.tolist(), strict=True)
        chosen = [*chosen, *(pair for pair in pairs if pair not in chosen)][:count]
    parents, tokens = (np.array(column, dtype=np.int64) for column in zip(*chosen, strict=True))
    logprobs = np.array([rows[b].scores[t] for b, t in chosen], dtype=np.float32)
    return Choice(parents, tokens, logprobs, added(logprobs, np.asarray(totals, dtype=np.float32)[parents]))


def added(logprobs: Any, totals: Any) -> Any:
    """Running scores with one more token's score each, in float32.

    Raises:
        ValueError: one would grow beyond float32.
    """
    with np.errstate(over="ignore"):
        sums = logprobs + totals
    if np.max(sums, initial=MASKED) == np.inf:
        raise ValueError("a beam's running score would grow beyond float32; make the biases smaller")
    return sums


def first_of(values: Floats, count: int) -> Ids:
    """Indexes of the `count` largest, best first, equals in their order."""
    return np.argsort(-values, kind="stable")[:count]


def gap(ranked: Floats, place: int) -> float | None:
    """How far the last one inside lies above the first one outside; None where either is none."""
    if not 0 < place < len(ranked) or ranked[place] <= _ALIVE:
        return None
    return float(ranked[place - 1]) - float(ranked[place])


def smallest(*gaps: float | None) -> float | None:
    """The smallest gap that there is."""
    return min((g for g in gaps if g is not None), default=None)
