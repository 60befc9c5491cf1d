"""Diverse beam search: groups of beams that avoid each other's tokens, as transformers 4.56.2.

Source: Vijayakumar et al. 2016, arXiv:1610.02424; generation/utils.py `_group_beam_search`, release 4.56.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from typing import Any

import numpy as np

from tokenglass.asking import recorded
from tokenglass.engines.base import Engine
from tokenglass.reading.limits import Limits
from tokenglass.reading.paths import Heard, Reader
from tokenglass.search import candidates as choosing
from tokenglass.search import scorer
from tokenglass.search.candidates import Choice, Running, smallest
from tokenglass.search.hypotheses import NBest, ranked
from tokenglass.search.options import DiverseBeamOptions
from tokenglass.search.records import Beam, BeamCandidate, BeamStep
from tokenglass.search.scorer import Group, Sorted
from tokenglass.stages.base import BaseStage, Stage
from tokenglass.stages.context import Context
from tokenglass.stages.row import Row
from tokenglass.types import Sequence as Written
from tokenglass.types import Vocabulary


@dataclass(frozen=True)
class HammingDiversity(BaseStage):
    """Take a penalty off each token as often as earlier groups chose it at this step.

    Args:
        penalty: taken off, >= 0.
        chosen: (token id, times) by earlier groups.

    Source: Vijayakumar et al. 2016, arXiv:1610.02424; transformers' `HammingDiversityLogitsProcessor`.

    >>> HammingDiversity(0.5, ((1, 2),))([0.0, 0.0]).tolist()
    [0.0, -1.0]
    """

    penalty: float
    chosen: tuple[tuple[int, int], ...] = field(default=())
    name = "diversity_penalty"

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with the penalties."""
        if not self.chosen or not self.penalty:
            return row, state
        ids = np.array([token_id for token_id, _ in self.chosen], dtype=np.int64)
        times = np.array([n for _, n in self.chosen], dtype=np.float32)
        return row.replaced(ids, row.scores[ids] - np.float32(self.penalty) * times), state


def diverse_beam_search(
    engine: Engine,
    vocabulary: Vocabulary,
    prompt_ids: Sequence[int],
    options: DiverseBeamOptions,
    stages: Sequence[Stage] = (),
    *,
    limits: Limits,
    negative_ids: Sequence[int] | None = None,
) -> Generator[BeamStep, None, tuple[Written, ...]]:
    """Beam search in groups that take turns at each step and pay for repeating each other.

    Args:
        engine: gives logits for ids.
        vocabulary: names ids.
        prompt_ids: at least one id.
        options: what to keep, how to differ and when to stop.
        stages: the chain, applied to log-probabilities; the diversity penalty enters after the biases.
        limits: what ends a text.
        negative_ids: read in the prompt's place where a stage guides: a negative prompt, or its last id.

    Yields:
        A record of each step.

    Returns:
        At most `num_return_sequences` texts of all groups, best first.

    Raises:
        NoTokenAllowed: every token of every beam of a group was banned.
    """
    place = _after_biases(stages)
    chain = (*stages[:place], HammingDiversity(options.diversity_penalty), *stages[place:])
    reader = Reader.of(engine, vocabulary, prompt_ids, chain, limits, None, "logprobs", negative_ids)
    size = options.num_beams // options.num_beam_groups
    twins = tuple(choosing.starting(reader.start(), size))
    groups = tuple(Group(twins, NBest(size)) for _ in range(options.num_beam_groups))
    for step in count():
        # 1) the model reads the beams of all groups at once
        open_ = [beam for group in groups if not group.done for beam in group.beams]
        heard = iter(choosing.hear(reader, open_))
        # 2) the groups take turns
        turns: list[Turn] = []
        chosen: Counter[int] = Counter()
        for number, group in enumerate(groups):
            if group.done:
                turns.append(Turn(group, group))
                pads = [i for i in (options.pad_token_id, *reader.watch.eos_ids) if i is not None]
                chosen.update(dict.fromkeys(pads[:1], size))
                continue
            own = [next(heard) for _ in group.beams]
            taken = tuple(sorted(chosen.items())) if number else ()
            stage = HammingDiversity(options.diversity_penalty, taken)
            judge = replace(reader, stages=(*stages[:place], stage, *stages[place:]))
            turn = _turn(judge, group, own, step, number, options)
            chosen.update(beam.path.ids[-1] for beam in turn.after.beams)
            turns.append(replace(turn, taken=taken))
        groups = tuple(turn.after for turn in turns)
        # 3) it ends when every group is done, or when the limits end every beam that runs
        ends = [_ending(reader, beam) for group in groups if not group.done for beam in group.beams]
        stop = "every group is done" if not ends else "the limits are reached" if all(ends) else None
        if stop is not None:
            groups = tuple(_closed(reader, group, step, n, options) for n, group in enumerate(groups))
        yield _record(reader, turns, groups, step, stop, options)
        if stop is not None:
            break
    return scorer.results([group.nbest for group in groups], reader, options)


def _after_biases(stages: Sequence[Stage]) -> int:
    """Where the diversity penalty stands: after guidance and biases, before everything else."""
    early = ("guidance_scale", "sequence_bias", "logit_bias")
    return next((i for i, stage in enumerate(stages) if stage.name not in early), len(stages))


@dataclass(frozen=True)
class Turn:
    """One group's turn at one step; `choice` is None where the group was done before."""

    before: Group
    after: Group
    choice: Choice | None = None
    sorted_: Sorted | None = None
    taken: tuple[tuple[int, int], ...] = ()
    possible: float | None = None


def _turn(
    reader: Reader,
    group: Group,
    heard: Sequence[Heard],
    step: int,
    number: int,
    options: DiverseBeamOptions,
) -> Turn:
    readings = reader.judge(heard)
    choosing.require_sound(readings)
    choosing.require_any(readings)
    wide = max(2, 1 + len(reader.watch.eos_ids)) * group.nbest.size
    choice = choosing.best([r.row for r in readings], [b.total for b in group.beams], wide)
    choice = replace(choice, reasons=scorer.reasons(reader, group, choice))
    sorted_ = scorer.sort(reader, group, readings, choice, step, options, number=number)
    beams = []
    for k in sorted_.runs:
        reading = readings[choice.parents[k]]
        path = reader.extended(reading, recorded(reader, reading, int(choice.tokens[k]), "greedy"))
        beams.append(Running(path, choice.totals[k]))
    length = len(group.beams[0].path.ids) + 1 - reader.watch.prompt_length
    best = float(choice.totals.max())
    possible = sorted_.nbest.best_possible(best, length, reader.watch.most_new, options)
    done = sorted_.nbest.done(possible, options) or not beams
    return Turn(group, Group(tuple(beams), sorted_.nbest, done), choice, sorted_, (), possible)


def _ending(reader: Reader, beam: Running) -> bool:
    written = beam.path.written
    assert written is not None
    return reader.watch.reason(written.step.token, beam.path.tail, len(beam.path.ids)) is not None


def _closed(reader: Reader, group: Group, step: int, number: int, options: DiverseBeamOptions) -> Group:
    """A group with everything that still runs counted as finished, unless it was done before."""
    nbest = group.nbest
    for beam in group.beams if not group.done else ():
        written = beam.path.written
        assert written is not None
        reason = reader.watch.reason(written.step.token, beam.path.tail, len(beam.path.ids))
        nbest = nbest.added(
            scorer.finished(
                reader,
                beam.path.ids,
                float(beam.total),
                reason or "length",
                written,
                step,
                options,
                number=number,
                alive=beam.alive,
            )
        )
    return replace(group, nbest=nbest)


def _record(
    reader: Reader,
    turns: Sequence[Turn],
    closed: Sequence[Group],
    step: int,
    stop: str | None,
    options: DiverseBeamOptions,
) -> BeamStep:
    before, after = _places([t.before for t in turns]), _places([t.after for t in turns])
    size = reader.watch.prompt_length
    candidates: list[BeamCandidate] = []
    margins: list[float | None] = []
    for number, turn in enumerate(turns):
        if turn.choice is None or turn.sorted_ is None:
            continue
        runs = {k: after[number][i] for i, k in enumerate(turn.sorted_.runs) if i in after[number]}
        candidates += scorer.explained(
            turn.before, turn.choice, turn.sorted_, before[number], runs, number=number
        )
        margins.append(scorer.margin(turn.choice, turn.sorted_, turn.before, turn.possible))
    found = [p.found for p in ranked([group.nbest for group in closed]) if p.found is not None]
    if stop is not None:
        scores = [f.score for f in found[: options.num_return_sequences + 1]]
        margins += [a - b for a, b in pairwise(scores)]
    first = next(turn for turn in turns if turn.choice is not None)
    beams = (
        Beam(b.path.ids[size:], float(b.total), number)
        for number, turn in enumerate(turns)
        if turn.choice is not None
        for b in turn.before.beams
        if b.alive
    )
    return BeamStep(
        step=step,
        position=len(first.before.beams[0].path.ids),
        beams=tuple(beams),
        candidates=tuple(candidates),
        bank=tuple(found),
        best_possible=max((t.possible for t in turns if t.possible is not None), default=None),
        worst_finished=None,
        margin=smallest(*margins),
        stop=stop,
        penalties=tuple(turn.taken for turn in turns),
    )


def _places(groups: Sequence[Group]) -> list[dict[int, int]]:
    """For each group: index of a live beam in it -> index among the live beams of all groups not done."""
    places: list[dict[int, int]] = []
    total = 0
    for group in groups:
        alive = [i for i, beam in enumerate(group.beams) if beam.alive and not group.done]
        places.append({i: total + n for n, i in enumerate(alive)})
        total += len(alive)
    return places
