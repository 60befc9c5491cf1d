"""What a beam search knows between steps, and the account it gives of each: fates, reasons, margins.

Decides nothing: the rules are in `beams`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenglass.reading.paths import Link, Reader
from tokenglass.search.candidates import Choice, Running, gap, smallest
from tokenglass.search.options import BeamOptions
from tokenglass.search.records import Beam, BeamCandidate, Fate, Hypothesis


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of the bank.

    Attributes:
        score: what entries are ranked by.
        finished: it holds a finished hypothesis rather than nothing.
        found: the hypothesis; None for nothing, and for what a dead beam finished.
        written: its tokens.
    """

    score: np.float32
    finished: bool = False
    found: Hypothesis | None = None
    written: Link | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A search between two steps.

    Attributes:
        beams: the running beams, best first.
        bank: `num_beams` entries, best first.
        improvable: a running beam may still beat the worst finished hypothesis.
    """

    beams: tuple[Running, ...]
    bank: tuple[Entry, ...]
    improvable: bool = True


@dataclass(frozen=True, slots=True)
class Moves:
    """Where the candidates of a step went.

    Attributes:
        runs: candidate indexes of the next beams, best first.
        banked: candidate index -> the hypothesis, for those in the bank after the step.
        scores: (K,) score of each as a hypothesis; meaningless for unfinished ones.
        running_margin: gap between the last beam kept and the first one not kept.
        bank_margin: gap between the last hypothesis kept and the first one not kept.
    """

    runs: tuple[int, ...]
    banked: dict[int, Hypothesis]
    scores: NDArray[np.float32]
    running_margin: float | None
    bank_margin: float | None


def margin(
    choice: Choice,
    moves: Moves,
    after: State,
    stop: str | None,
    options: BeamOptions,
    possible: np.float32,
    worst: np.float32,
    full: bool,
) -> float | None:
    """The smallest gap that a decision of this step hung on."""
    beams = options.num_beams
    near = gap(choice.totals, beams) if choice.finished.any() else None
    decided = abs(float(possible) - float(worst)) if full and options.early_stopping is not True else None
    scores = np.array([e.score for e in after.bank], dtype=np.float32)
    # the order among the finished matters once, at the end
    final = [gap(scores, i + 1) for i in range(options.num_return_sequences)] if stop else []
    return smallest(moves.running_margin, moves.bank_margin, near, decided, *final)


def shown(reader: Reader, state: State) -> tuple[Beam, ...]:
    """The beams that are any."""
    size = reader.watch.prompt_length
    return tuple(Beam(b.path.ids[size:], float(b.total)) for b in state.beams if b.alive)


def explained(
    state: State, choice: Choice, moves: Moves, options: BeamOptions, after: Sequence[np.float32]
) -> tuple[BeamCandidate, ...]:
    """Every candidate with its fate and the reason of it; `after` are the bank's scores after the step."""
    rows = []
    for k, reason in enumerate(choice.reasons):
        parent = int(choice.parents[k])
        if not state.beams[parent].alive:
            continue
        becomes = moves.runs.index(k) if k in moves.runs and reason is None else None
        fate, why = _fate(k, reason is not None, becomes, moves, options, after)
        rows.append(
            BeamCandidate(
                rank=k + 1,
                parent=parent,
                token_id=int(choice.tokens[k]),
                logprob=float(choice.logprobs[k]),
                total=float(choice.totals[k]),
                finish_reason=reason,
                fate=fate,
                why=why,
                becomes=becomes,
            )
        )
    return tuple(rows)


def _fate(
    k: int,
    finished: bool,
    becomes: int | None,
    moves: Moves,
    options: BeamOptions,
    after: Sequence[np.float32],
) -> tuple[Fate, str]:
    beams = options.num_beams
    if becomes is not None:
        return "runs", f"number {becomes + 1} of the best {beams} unfinished"
    if k in moves.banked:
        found = moves.banked[k]
        return "banked", f"finished: {found.total:.4f} / {found.divisor:.4g} = {found.score:.4f}"
    if not finished:
        return "pruned", f"not among the best {beams} unfinished"
    if k >= beams:
        return "pruned", f"finished, but ranked {k + 1}: only the first {beams} candidates may finish"
    worst = min((float(score) for score in after if score > -5e8), default=None)
    beaten = "" if worst is None else f", no better than the bank's worst, {worst:.4f}"
    return "pruned", f"finished with {moves.scores[k]:.4f}{beaten}"
