"""Constrained beam search: forced words are put forward at each step, and beams kept by how far they are.

As transformers 4.56.2. Beams are sorted into banks by steps made towards the forced words; the best of each
bank is kept before the second best of any, so that unlikely words get their chance.
Source: Post and Vilar 2018, arXiv:1804.06609; generation/beam_search.py `ConstrainedBeamSearchScorer`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise

import numpy as np

from tokenglass.asking import recorded
from tokenglass.engines.base import Engine
from tokenglass.reading.limits import Limits
from tokenglass.reading.paths import Path, Reader, Reading
from tokenglass.search import candidates as choosing
from tokenglass.search import scorer
from tokenglass.search.candidates import Choice, Running, smallest
from tokenglass.search.constraints import Progress, Word, words
from tokenglass.search.hypotheses import NBest
from tokenglass.search.options import ConstrainedBeamOptions
from tokenglass.search.records import Beam, BeamCandidate, BeamStep
from tokenglass.search.scorer import Group, Sorted
from tokenglass.stages.base import Stage
from tokenglass.types import Sequence as Written
from tokenglass.types import Vocabulary


@dataclass(frozen=True, slots=True)
class Option:
    """One continuation that may run on.

    Attributes:
        parent: index of the beam.
        token: what it adds.
        total: running score with it.
        bank: steps towards the forced words with it.
        candidate: index among the candidates; None where a forced word put it forward.
    """

    parent: int
    token: int
    total: np.float32
    bank: int
    candidate: int | None


def constrained_beam_search(
    engine: Engine,
    vocabulary: Vocabulary,
    prompt_ids: Sequence[int],
    options: ConstrainedBeamOptions,
    stages: Sequence[Stage] = (),
    *,
    limits: Limits,
    negative_ids: Sequence[int] | None = None,
) -> Generator[BeamStep, None, tuple[Written, ...]]:
    """Beam search for texts that hold every forced word.

    Args:
        engine: gives logits for ids.
        vocabulary: names ids.
        prompt_ids: at least one id; forced words found in the prompt count, as in 4.56.2.
        options: what to force, what to keep and when to stop.
        stages: the chain, applied to log-probabilities.
        limits: what ends a text.
        negative_ids: read in the prompt's place where a stage guides: a negative prompt, or its last id.

    Yields:
        A record of each step.

    Returns:
        At most `num_return_sequences` texts, best first; where the limits came first, some may lack a word.
        A text for which a forced token was masked by the chain is none.

    Raises:
        NoTokenAllowed: every token of every beam was banned.
    """
    reader = Reader.of(engine, vocabulary, prompt_ids, stages, limits, None, "logprobs", negative_ids)
    forced = words(options.force_words_ids)
    group = Group(tuple(choosing.starting(reader.start(), options.num_beams)), NBest(options.num_beams))
    for step in count():
        # 1) the model reads all beams, the chain judges each
        readings = reader.judge(choosing.hear(reader, group.beams))
        choice = _choose(reader, group, readings, options)
        # 2) what ends with every word there is finished, the best of the rest would run on
        sorted_ = scorer.sort(
            reader, group, readings, choice, step, options, whole=lambda path: _whole(forced, path)
        )
        # 3) forced words put tokens forward, and the beams are dealt from the banks
        taken, put = _dealt(group, readings, choice, sorted_, forced)
        beams = tuple(Running(_extended(reader, readings, option), option.total) for option in taken)
        # 4) is it over?
        length = len(group.beams[0].path.ids) + 1 - reader.watch.prompt_length
        best = float(choice.totals.max())
        possible = sorted_.nbest.best_possible(best, length, reader.watch.most_new, options)
        after = Group(beams, sorted_.nbest, sorted_.nbest.done(possible, options) or not beams)
        stop = _stop(reader, after)
        closed = _closed(reader, after, forced, step, options) if stop else after
        account = _account(group, choice, sorted_, taken, put, readings)
        margin = smallest(scorer.margin(choice, sorted_, group, possible), _dealing_margin(taken, put))
        yield _record(reader, group, closed, account, forced, step, stop, possible, margin, options)
        group = closed
        if stop is not None:
            break
    return scorer.results([group.nbest], reader, options)


def _choose(
    reader: Reader, group: Group, readings: Sequence[Reading], options: ConstrainedBeamOptions
) -> Choice:
    choosing.require_sound(readings)
    choosing.require_any(readings)
    wide = max(2, 1 + len(reader.watch.eos_ids)) * options.num_beams
    choice = choosing.best([r.row for r in readings], [b.total for b in group.beams], wide)
    return replace(choice, reasons=scorer.reasons(reader, group, choice))


def _whole(forced: Sequence[Word], path: Path) -> bool:
    return Progress.after(forced, path.ids).complete


def _dealt(
    group: Group, readings: Sequence[Reading], choice: Choice, sorted_: Sorted, forced: Sequence[Word]
) -> tuple[list[Option], list[Option]]:
    """The continuations that run on, and all that were to be had."""
    options = [(int(choice.parents[k]), int(choice.tokens[k]), choice.totals[k], k) for k in sorted_.runs]
    put = [
        Option(b, t, total, Progress.after(forced, (*group.beams[b].path.ids, t)).bank, k)
        for b, t, total, k in options
    ]
    known = {(*group.beams[b].path.ids, t) for b, t, _, _ in options}
    tried: list[tuple[int, int, np.float32, Progress]] = []
    for b, beam in enumerate(group.beams):
        here = Progress.after(forced, beam.path.ids)
        for token_id in here.advance() if not here.complete else ():
            further = here.copy()
            further.take(token_id)
            if (*beam.path.ids, token_id) not in known:
                known.add((*beam.path.ids, token_id))
                total = np.float32(choosing.added(readings[b].row.scores[token_id], beam.total))
                tried.append((b, token_id, total, further))
    if not tried:
        return put, put
    put += [Option(b, t, total, further.bank, None) for b, t, total, further in tried]
    return [put[i] for i in _from_banks(put)[: len(sorted_.runs)]], put


def _from_banks(put: Sequence[Option]) -> list[int]:
    """Indexes in the order of dealing: the best of each bank, then the second best of each, and so on."""
    ranking = np.array([option.bank * 100 + option.total for option in put], dtype=np.float32)
    order = np.argsort(-ranking, kind="stable").tolist()
    turns, turn, bank = [], -1, put[order[0]].bank
    for i in order:
        turn = turn + 1 if put[i].bank == bank else 0
        bank = put[i].bank
        turns.append(turn)
    return [order[i] for i in np.argsort(turns, kind="stable")]


def _dealing_margin(taken: Sequence[Option], put: Sequence[Option]) -> float | None:
    """The smallest gap, within one bank, between what was dealt and what was not."""
    gaps = []
    for bank in {option.bank for option in put}:
        own = [option for option in put if option.bank == bank]
        inside = [float(o.total) for o in own if any(o is t for t in taken)]
        outside = [float(o.total) for o in own if not any(o is t for t in taken)]
        if inside and outside and max(outside) > -5e8:
            gaps.append(abs(min(inside) - max(outside)))
    return min(gaps, default=None)


def _extended(reader: Reader, readings: Sequence[Reading], option: Option) -> Path:
    reading = readings[option.parent]
    return reader.extended(reading, recorded(reader, reading, option.token, "greedy"))


def _stop(reader: Reader, group: Group) -> str | None:
    if group.done:
        return "nothing that still runs can matter"
    ends = (
        reader.watch.reason(b.path.written.step.token, b.path.tail, len(b.path.ids))
        for b in group.beams
        if b.path.written is not None
    )
    return "the limits are reached" if all(ends) else None


def _closed(
    reader: Reader, group: Group, forced: Sequence[Word], step: int, options: ConstrainedBeamOptions
) -> Group:
    """The group with what still runs counted as finished: whole ones, and others where those are too few."""
    if group.done:
        return group
    nbest = group.nbest
    whole = [beam for beam in group.beams if _whole(forced, beam.path)]
    others = [beam for beam in group.beams if not any(beam is w for w in whole)]
    for beam in whole + (others if len(whole) < options.num_return_sequences else []):
        written = beam.path.written
        assert written is not None
        reason = reader.watch.reason(written.step.token, beam.path.tail, len(beam.path.ids)) or "length"
        total = float(beam.total)
        new = scorer.finished(reader, beam.path.ids, total, reason, written, step, options, alive=beam.alive)
        nbest = nbest.added(new)
    return replace(group, nbest=nbest)


def _account(
    group: Group,
    choice: Choice,
    sorted_: Sorted,
    taken: Sequence[Option],
    put: Sequence[Option],
    readings: Sequence[Reading],
) -> tuple[BeamCandidate, ...]:
    """Every candidate, and every token that a forced word put forward, with its fate."""
    living = [b for b, beam in enumerate(group.beams) if beam.alive]
    alive = {b: n for n, b in enumerate(living)}
    # a forced token that the chain masked can still be dealt a place, where it runs on as a beam that is none
    dealt = [option for option in taken if Running(group.beams[0].path, option.total).alive]
    runs = {o.candidate: i for i, o in enumerate(dealt) if o.candidate is not None}
    banks = {o.candidate: o.bank for o in put}
    rows = [
        replace(row, bank=banks.get(row.rank - 1))
        for row in scorer.explained(group, choice, sorted_, alive, runs)
    ]
    for option in put:
        if option.candidate is not None or option.parent not in alive or not np.isfinite(option.total):
            continue
        becomes = next((i for i, o in enumerate(dealt) if o is option), None)
        turn = f"dealt from bank {option.bank}" if becomes is not None else f"left in bank {option.bank}"
        rows.append(
            BeamCandidate(
                rank=len(rows) + 1,
                parent=alive[option.parent],
                token_id=option.token,
                logprob=float(readings[option.parent].row.scores[option.token]),
                total=float(option.total),
                finish_reason=None,
                fate="runs" if becomes is not None else "pruned",
                why=f"put forward by a forced word, {turn}",
                becomes=becomes,
                forced=True,
                bank=option.bank,
            )
        )
    return tuple(rows)


def _record(
    reader: Reader,
    before: Group,
    closed: Group,
    candidates: tuple[BeamCandidate, ...],
    forced: Sequence[Word],
    step: int,
    stop: str | None,
    possible: float | None,
    margin: float | None,
    options: ConstrainedBeamOptions,
) -> BeamStep:
    size = reader.watch.prompt_length
    found = tuple(p.found for p in closed.nbest.real if p.found is not None)
    if stop is not None:
        scores = [f.score for f in found[: options.num_return_sequences + 1]]
        margin = smallest(margin, *[a - b for a, b in pairwise(scores)])
    return BeamStep(
        step=step,
        position=len(before.beams[0].path.ids),
        beams=tuple(
            Beam(b.path.ids[size:], float(b.total), 0, Progress.after(forced, b.path.ids).bank)
            for b in before.beams
            if b.alive
        ),
        candidates=candidates,
        bank=found,
        best_possible=possible,
        worst_finished=closed.nbest.worst if closed.nbest.full else None,
        margin=margin,
        stop=stop,
    )
