"""Beam search and beam sampling, step for step as transformers 5.23 (`_beam_search`).

Scores are sums of log-probabilities: each beam's logits go through log-softmax, then through the chain, and
the beam's running score is added. Source: https://github.com/huggingface/transformers, generation/utils.py.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from tokenglass.asking import recorded
from tokenglass.engines.base import Engine
from tokenglass.random import Source
from tokenglass.reading.limits import Limits
from tokenglass.reading.paths import Link, Reader, Reading, sequence
from tokenglass.search import accounts
from tokenglass.search import candidates as choosing
from tokenglass.search.accounts import Entry, Moves, State
from tokenglass.search.candidates import DEAD, Choice, Running, first_of, gap
from tokenglass.search.drawing import Drawer, TorchRace, Urn
from tokenglass.search.options import BeamOptions, EarlyStopping
from tokenglass.search.records import BeamStep, Hypothesis
from tokenglass.stages.base import Stage
from tokenglass.types import Origin, Vocabulary
from tokenglass.types import Sequence as Written


def beam_search(
    engine: Engine,
    vocabulary: Vocabulary,
    prompt_ids: Sequence[int],
    options: BeamOptions,
    stages: Sequence[Stage] = (),
    *,
    limits: Limits,
    source: Source | None = None,
    negative_ids: Sequence[int] | None = None,
    torch_seed: int | None = None,
) -> Generator[BeamStep, None, tuple[Written, ...]]:
    """Keep the best `num_beams` texts at each step; with `do_sample`, draw them.

    Args:
        engine: gives logits for ids.
        vocabulary: names ids.
        prompt_ids: at least one id.
        options: what to keep and when to stop.
        stages: the chain, applied to log-probabilities.
        limits: what ends a text.
        source: uniform numbers, needed when sampling without `torch_seed`.
        negative_ids: read in the prompt's place where a stage guides: a negative prompt, or its last id.
        torch_seed: draw what `torch.manual_seed` with it and transformers' `generate` would draw, on CPU.

    Yields:
        A record of each step.

    Returns:
        At most `num_return_sequences` finished texts, best first; fewer where fewer could be finished.

    Raises:
        ValueError: no source to sample with.
            A stage made a score NaN or +inf.
        NoTokenAllowed: every token of every beam was banned before any text was finished.
        MissingDependency: `torch_seed` is given and torch is not installed.
    """
    reader = Reader.of(engine, vocabulary, prompt_ids, stages, limits, source, "logprobs", negative_ids)
    drawer = _drawer(options, source, torch_seed)
    wide = max(2, 1 + len(reader.watch.eos_ids)) * options.num_beams
    empty = tuple(Entry(DEAD) for _ in range(options.num_beams))
    state = State(tuple(choosing.starting(reader.start(), options.num_beams)), empty)
    for step in count():
        # 1) the model reads all beams at once, the chain judges each
        readings = reader.judge(choosing.hear(reader, state.beams))
        choosing.require_sound(readings)
        if all(reading.row.argmax < 0 for reading in readings) and any(entry.found for entry in state.bank):
            break
        choosing.require_any(readings)
        # 2) the best, or the drawn, continuations of all beams together
        choice = _choose(reader, state, readings, wide, drawer)
        # 3) the best of the unfinished run on; those finished near the top go into the bank
        after, moves = _advance(reader, state, readings, choice, step, options)
        # 4) can anything still be improved?
        state, record = _judge(reader, state, after, choice, moves, step, options)
        yield record
        if record.stop is not None:
            break
    return _results(state, vocabulary, options)


def _drawer(options: BeamOptions, source: Source | None, torch_seed: int | None) -> Drawer | None:
    """Who draws; None where nobody does."""
    if not options.do_sample:
        return None
    if torch_seed is not None:
        return TorchRace(torch_seed)
    if source is None:
        raise ValueError("source must be given where do_sample=True, got None")
    return Urn(source)


def _choose(
    reader: Reader, state: State, readings: Sequence[Reading], wide: int, drawer: Drawer | None
) -> Choice:
    rows, totals = [r.row for r in readings], [beam.total for beam in state.beams]
    if drawer is None:
        choice = choosing.best(rows, totals, wide)
    else:
        choice = choosing.drawn(rows, totals, wide, drawer, len(state.beams[0].path.ids))
    pairs = zip(choice.parents.tolist(), choice.tokens.tolist(), strict=True)
    late = reader.watch.out_of_time()
    return replace(choice, reasons=tuple(reader.reason(state.beams[b].path, t, late) for b, t in pairs))


def _advance(
    reader: Reader, state: State, readings: Sequence[Reading], choice: Choice, step: int, options: BeamOptions
) -> tuple[State, Moves]:
    """The beams and the bank after a choice."""
    finished, beams = choice.finished, options.num_beams
    running = choice.totals + np.where(finished, DEAD, np.float32(0.0))
    order = first_of(running, beams)
    origin: Origin = "sampled" if options.do_sample else "greedy"

    def link(k: int) -> Link:
        reading = readings[choice.parents[k]]
        return Link(reading.path.written, recorded(reader, reading, int(choice.tokens[k]), origin))

    paths = [reader.extended(readings[choice.parents[k]], link(int(k)).step) for k in order]
    # only candidates ranked among the first `num_beams` may finish; the others were a reserve
    near = np.arange(len(choice)) < beams
    length = len(state.beams[0].path.ids) + 1 - reader.watch.prompt_length
    divisor = float(length**options.length_penalty)
    with np.errstate(over="ignore"):  # a masked total divided by a small number is still masked
        scores = choice.totals / np.float32(divisor)
    full = all(entry.finished for entry in state.bank) and options.early_stopping is True
    offered = scores + (DEAD if full else np.float32(0.0))
    offered = offered + (np.float32(0.0) if state.improvable else DEAD)
    offered = offered + np.where(finished & near, np.float32(0.0), DEAD)
    merged = np.concatenate([np.array([e.score for e in state.bank], dtype=np.float32), offered])
    ranking = np.argsort(-merged, kind="stable")
    bank, banked = [], {}
    for place in ranking[:beams].tolist():
        k = place - beams
        if k < 0:
            bank.append(state.bank[place])
            continue
        done = bool(finished[k] and near[k])
        found = _hypothesis(reader, state, choice, k, step, divisor, merged[place]) if done else None
        if found is not None:
            banked[k] = found
        bank.append(Entry(merged[place], done, found, link(k) if found is not None else None))
    after = State(
        tuple(Running(path, running[k]) for path, k in zip(paths, order, strict=True)),
        tuple(bank),
        state.improvable,
    )
    outside = merged[ranking]
    moves = Moves(
        tuple(order.tolist()), banked, scores, gap(np.sort(running)[::-1], beams), gap(outside, beams)
    )
    return after, moves


def _hypothesis(
    reader: Reader, state: State, choice: Choice, k: int, step: int, divisor: float, score: Any
) -> Hypothesis | None:
    parent, reason = state.beams[choice.parents[k]], choice.reasons[k]
    if not parent.alive or reason is None:
        return None
    ids = (*parent.path.ids[reader.watch.prompt_length :], int(choice.tokens[k]))
    total = float(choice.totals[k])
    return Hypothesis(ids, total, len(ids), divisor, float(score), reason, step)


def _judge(
    reader: Reader, before: State, after: State, choice: Choice, moves: Moves, step: int, options: BeamOptions
) -> tuple[State, BeamStep]:
    """Whether to go on, and the record of the step."""
    length = len(before.beams[0].path.ids) + 1 - reader.watch.prompt_length
    possible, worst = (
        best_possible(
            after.beams[0].total if after.beams else DEAD,
            length,
            reader.watch.most_new,
            options.early_stopping,
            options.length_penalty,
        ),
        min(entry.score for entry in after.bank),
    )
    full = all(entry.finished for entry in after.bank)
    improvable = before.improvable and bool(possible > (worst if full else DEAD))
    stop = None
    running = bool(after.beams) and not choice.finished.all()
    if not running:
        stop = "every candidate ends its text"
    elif options.early_stopping is True and full:
        stop = f"{options.num_beams} hypotheses are finished"
    elif not improvable:
        stop = f"the best beam can reach {possible:.4f}, the worst finished hypothesis has {worst:.4f}"
    margin = (
        None
        if options.do_sample
        else accounts.margin(choice, moves, after, stop, options, possible, worst, full)
    )
    record = BeamStep(
        step=step,
        position=len(before.beams[0].path.ids),
        beams=accounts.shown(reader, before),
        candidates=accounts.explained(before, choice, moves, options, [e.score for e in after.bank]),
        bank=tuple(e.found for e in after.bank if e.found is not None),
        best_possible=float(possible) if running else None,
        worst_finished=float(worst) if full else None,
        margin=margin,
        stop=stop,
    )
    return replace(after, improvable=improvable), record


def _results(state: State, vocabulary: Vocabulary, options: BeamOptions) -> tuple[Written, ...]:
    """The best of the bank as sequences."""
    found = [e for e in state.bank if e.found is not None][: options.num_return_sequences]
    return tuple(
        sequence(e.written, vocabulary, e.found.finish_reason, e.found.score) for e in found if e.found
    )


def best_possible(
    total: np.float32, length: int, most: int, early_stopping: EarlyStopping, length_penalty: float
) -> np.float32:
    """The score the best running beam is taken to be able to reach.

    Args:
        total: its running score.
        length: tokens it has written.
        most: tokens it could write.
        early_stopping: "never" with a positive penalty grants it the greatest length.
        length_penalty: exponent of the length.
    """
    reach = most if early_stopping == "never" and length_penalty > 0.0 else length
    with np.errstate(over="ignore"):  # a masked total stays masked
        return np.float32(total / np.float32(reach**length_penalty))
