"""Run a chain and keep the books: what each stage did, and which stage removed which token.

Knows nothing about where the chain came from or what is done with the final row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import exp
from typing import Any

import numpy as np

from tokenglass import numbers
from tokenglass.errors import NoTokenAllowed
from tokenglass.stages.base import BaseStage, Renamed, Stage, UserStage, params, start
from tokenglass.stages.context import Context
from tokenglass.stages.row import MASKED, Doubles, Floats, Ids, Row
from tokenglass.stages.scaling import RemoveInvalidValues
from tokenglass.types import Effect, Removal
from tokenglass.types import Stage as StageRecord

MODEL = "model"
_NEAR = 128
_WORTH_RANKING = 4  # fewer ranks are counted one by one


class Removed(Mapping[int, Removal]):
    """Token id -> how it left, for every token masked at the end; looked up lazily."""

    def __init__(self, names: Sequence[str], rows: Sequence[Row]) -> None:
        self._names = names
        self._rows = rows

    def __getitem__(self, token_id: int) -> Removal:
        index = self.stage_index(token_id)
        if index == 0:
            return Removal(MODEL, None, 0.0)
        row = self._rows[index - 1]
        p = float(row.moments.probs(row.scores[token_id]))
        return Removal(self._names[index], numbers.rank(row.scores, token_id), p)

    def __contains__(self, token_id: object) -> bool:
        final = self._rows[-1].scores
        if not isinstance(token_id, int | np.integer) or not 0 <= token_id < len(final):
            return False
        return bool(final[token_id] == MASKED)

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._rows[-1].scores == MASKED).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self._rows[-1].scores == MASKED))

    def __repr__(self) -> str:
        return f"<{len(self)} tokens removed>"

    def stage_index(self, token_id: int) -> int:
        """Index of the row in which the token is masked for good.

        Raises:
            KeyError: the token is alive at the end, or no such token.
        """
        if token_id not in self:
            raise KeyError(token_id)
        index = len(self._rows) - 1
        while index > 0 and self._rows[index - 1].scores[token_id] == MASKED:
            index -= 1
        return index


@dataclass(frozen=True)
class Ledger:
    """What a run of a chain left behind.

    It holds every row of the run (V float32 for each stage that changed something): take what is needed and
    let it go.

    Attributes:
        row: the final row.
        states: one state for each stage, for the next step.
        stages: one record for the model and one for each stage, in order.
        names: the stages' names, "model" first.
        rows: the model's row and the row after each stage; the same object where nothing changed.
    """

    row: Row
    states: tuple[Any, ...]
    stages: tuple[StageRecord, ...]
    names: tuple[str, ...]
    rows: tuple[Row, ...]

    @cached_property
    def removed(self) -> Removed:
        """Which stage removed which token."""
        return Removed(self.names, self.rows)

    def followed_by(self, selector: Any, row: Row, facts: Mapping[str, float]) -> Ledger:
        """The books with one more stage: a selector that changed the row, as mirostat and adaptive-p do.

        Args:
            selector: a dataclass with a name.
            row: what it drew from.
            facts: numbers of its own.
        """
        parameters = {each.name: getattr(selector, each.name) for each in fields(selector)}
        last = replace(compare(selector.name, parameters, self.row, row), facts=facts)
        return Ledger(row, self.states, (*self.stages, last), (*self.names, selector.name), (*self.rows, row))

    def probs(self, ids: Sequence[int] | Ids) -> Doubles:
        """(stages + 1, len(ids)) probability of each id in the model's row and after each stage."""
        columns = np.asarray(ids, dtype=np.int64)
        return np.array([row.moments.probs(row.scores[columns]) for row in self.rows])

    def removers(self, ids: Ids) -> Ids:
        """(len(ids),) index of the row in which each is masked for good; -1 for what is alive at the end."""
        masked = np.array([row.scores[ids] == MASKED for row in self.rows])  # (stages + 1, len(ids))
        for_good = np.logical_and.accumulate(masked[::-1])[::-1]
        found: Ids = np.where(for_good[-1], for_good.argmax(axis=0), -1)
        return found

    def removals(self, ids: Ids, trail: Doubles) -> dict[int, Removal]:
        """How those of `ids` that are masked at the end left; `trail` is `probs(ids)`."""
        left = self.removers(ids)
        found: dict[int, Removal] = {}
        for index in sorted(set(left[left >= 0].tolist())):
            gone = np.flatnonzero(left == index)
            ranks = self._ranks(index - 1, ids[gone]) if index else [None] * len(gone)
            probs = trail[index - 1, gone].tolist() if index else [0.0] * len(gone)
            for token_id, rank, p in zip(ids[gone].tolist(), ranks, probs, strict=True):
                found[token_id] = Removal(self.names[index], rank, p)
        return found

    def _ranks(self, index: int, ids: Ids) -> Sequence[int | None]:
        row = self.rows[index]
        if len(ids) < _WORTH_RANKING:
            return [numbers.rank(row.scores, token_id) for token_id in ids.tolist()]
        best = row.ranked(_NEAR)[:_NEAR]
        found = ids[:, None] == best
        ranks: list[int | None] = (found.argmax(axis=1) + 1).tolist()
        far = np.flatnonzero(~found.any(axis=1))
        for place in far.tolist():
            ranks[place] = numbers.rank(row.scores, int(ids[place]))
        return ranks

    def effects(self, token_id: int) -> tuple[Effect, ...]:
        """A token's score, probability and rank in the model's row and after each stage."""
        found = []
        for name, row in zip(self.names, self.rows, strict=True):
            score = float(row.scores[token_id])
            rank = None if score == MASKED else numbers.rank(row.scores, token_id)
            found.append(Effect(name, score, float(row.moments.probs(score)), rank))
        return tuple(found)

    def require_alive(self, position: int) -> None:
        """Refuse a step at which no token is left, or whose scores are no numbers.

        Raises:
            NoTokenAllowed: names the stage that removed the last one.
            ValueError: as `require_sound`.
        """
        self.require_sound(position)
        if self.row.argmax < 0:
            raise NoTokenAllowed(position, self._first(lambda row: row.argmax < 0))

    def require_sound(self, position: int) -> None:
        """Refuse a step at whose end some score is NaN or +inf.

        Raises:
            ValueError: names the stage that made the first one.
        """
        if not is_sound(self.row):
            name, repair = self._first(lambda row: not is_sound(row)), RemoveInvalidValues.name
            other = f"{repair} stands before it" if repair in self.names else f"or set {repair}=True"
            raise ValueError(
                f"stage {name!r} made a score NaN or +inf at position {position}; mend it, {other}"
            )

    def _first(self, bad: Callable[[Row], bool]) -> str:
        """The name of the stage since which the rows have all been bad, up to the final one, which is."""
        index = len(self.rows) - 1
        while index > 0 and bad(self.rows[index - 1]):
            index -= 1
        return self.names[index]


def run(
    chain: Sequence[Stage],
    row: Row,
    context: Context,
    states: Sequence[Any] | None = None,
    *,
    record: bool = True,
) -> Ledger:
    """Send a row through a chain.

    A row with a NaN or +inf goes only to stages that may mend it: those up to the last
    `RemoveInvalidValues`, and the user's own. To all others it is no distribution: it stays as it is.

    Args:
        chain: stages in order.
        row: the model's scores.
        context: the surroundings of this step.
        states: one for each stage, from the step before; None before the first step.
        record: keep the books; without, `Ledger.stages` is empty.

    Returns:
        The final row, the states for the next step, and the books.

    >>> from tokenglass.stages import TopK, Temperature
    >>> ledger = run([Temperature(0.5), TopK(1)], Row.of([1.0, 2.0]), Context())
    >>> [(s.name, s.alive, round(s.mass_kept, 3)) for s in ledger.stages]
    [('model', 2, 1.0), ('temperature', 2, 1.0), ('top_k', 1, 0.881)]
    >>> ledger.removed[0].stage, ledger.removed[0].rank
    ('top_k', 2)
    """
    before = tuple(start(stage) for stage in chain) if states is None else tuple(states)
    if len(before) != len(chain):
        raise ValueError(f"states must hold one entry for each of the {len(chain)} stages, got {len(before)}")
    rows, after = [row], []
    records = [_opening(row)] if record else []
    mended = max((i for i, s in enumerate(chain) if isinstance(s, RemoveInvalidValues)), default=-1)
    with np.errstate(all="ignore"):  # what overflows is told in a sentence, by `require_sound`
        for place, (stage, state) in enumerate(zip(chain, before, strict=True)):
            new, next_state = rows[-1], state
            if is_sound(new) or place <= mended or not is_built_in(stage):
                new, next_state = stage.apply(rows[-1], context, state)
            if record:
                records.append(compare(stage.name, params(stage), rows[-1], new))
            rows.append(new)
            after.append(next_state)
    names = (MODEL, *(stage.name for stage in chain))
    return Ledger(rows[-1], tuple(after), tuple(records), names, tuple(rows))


def is_sound(row: Row) -> bool:
    """Whether no score is NaN or +inf; a row without any token alive is sound."""
    return row.argmax < 0 or bool(np.isfinite(row.scores[row.argmax]))  # a NaN is the largest to numpy


def is_built_in(stage: Stage) -> bool:
    """Whether a stage is none of the user's, whose code may do anything."""
    return isinstance(stage, BaseStage) and not isinstance(stage, UserStage | Renamed)


def _opening(row: Row) -> StageRecord:
    moments = row.moments
    return StageRecord(MODEL, {}, moments.alive, 1.0, moments.entropy_bits, row.argmax)


def compare(name: str, parameters: Mapping[str, Any], before: Row, after: Row) -> StageRecord:
    """The record of one stage from the rows before and after it; also for a selector that truncates."""
    moments = after.moments
    gone, mass, changed = (0, 1.0, 0) if after is before else _difference(before, after)
    return StageRecord(
        name,
        parameters,
        moments.alive,
        mass,
        moments.entropy_bits,
        after.argmax,
        removed=gone,
        changed=changed,
        facts={} if after is before else after.facts,
    )


def _difference(before: Row, after: Row) -> tuple[int, float, int]:
    """How many ids went, what share of the probability stayed, how many of the others changed their score."""
    ids = after.touched_since(before)
    if ids is None and after.few is not None:
        return _difference_of_few(before, after, after.few)
    old, new = (before.scores, after.scores) if ids is None else (before.scores[ids], after.scores[ids])
    differ = int(np.count_nonzero(old != new))
    if differ == before.moments.alive - after.moments.alive:  # then all of them went, and none came back
        return differ, min(1.0, _share(after, before)), 0
    if after.moments.alive == len(after):  # none went
        return 0, 1.0, differ
    gone = (new == MASKED) & (old > MASKED)
    n_gone = int(np.count_nonzero(gone))
    stayed = 1.0 - _mass(before, old[gone]) if n_gone else 1.0
    if stayed < 0.01:  # too little to come out of a difference
        stayed = _mass(before, before.scores[after.scores > MASKED])
    return n_gone, max(0.0, stayed), differ - n_gone


def _difference_of_few(before: Row, after: Row, ids: Ids) -> tuple[int, float, int]:
    old, new = before.scores[ids], after.scores[ids]
    both = (old > MASKED) & (new > MASKED)
    n_gone = before.moments.alive - int(np.count_nonzero(both))
    changed = int(np.count_nonzero((old != new) & (new > MASKED)))
    return n_gone, min(1.0, _mass(before, old[both])) if n_gone else 1.0, changed


def _share(part: Row, whole: Row) -> float:
    """Probability, in the whole's distribution, of a row that differs from it only by masks."""
    if not part.moments.total > 0.0:
        return part.moments.total  # 0 with nothing alive, NaN where there is no distribution
    return part.moments.total / whole.moments.total * exp(part.moments.reference - whole.moments.reference)


def _mass(row: Row, scores: Floats) -> float:
    """Probability, in the row's distribution, of tokens with these scores."""
    moments = row.moments
    if not moments.total > 0.0:
        return moments.total
    with np.errstate(over="ignore"):  # scores as far apart as float32 goes: the lower weighs nothing
        weights = np.exp(scores - np.float32(moments.reference))
    return float(weights.sum(dtype=np.float64)) / moments.total
