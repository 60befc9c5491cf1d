"""What group and constrained beams share: one step of transformers 4.56.2's `BeamSearchScorer`.

Only end-of-text tokens ranked near the top finish a beam, and tokens that complete a grammar; everything else
runs on until the limits end all.
Source: https://github.com/huggingface/transformers, generation/beam_search.py, release 4.56.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tokenglass.asking import recorded
from tokenglass.reading.paths import Link, Path, Reader, Reading, sequence
from tokenglass.search.candidates import Choice, Running, gap, smallest
from tokenglass.search.hypotheses import Finished, NBest, ranked
from tokenglass.search.options import BeamOptions
from tokenglass.search.records import BeamCandidate, Fate, Hypothesis
from tokenglass.types import FinishReason
from tokenglass.types import Sequence as Written

ENDS: tuple[FinishReason, ...] = ("eos", "grammar")  # what finishes one beam while others run on


@dataclass(frozen=True)
class Sorted:
    """Where the candidates of one group went.

    Attributes:
        runs: candidate indexes that run on, best first.
        nbest: the finished hypotheses afterwards.
        offered: candidate index -> what was offered to them.
        refused: candidate indexes that would end before every forced word is there.
    """

    runs: tuple[int, ...]
    nbest: NBest
    offered: Mapping[int, Finished] = field(default_factory=dict)
    refused: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Group:
    """One group of beams between two steps.

    Attributes:
        beams: its running beams.
        nbest: its finished hypotheses.
        done: nothing that still runs can matter.
    """

    beams: tuple[Running, ...]
    nbest: NBest
    done: bool = False


def sort(
    reader: Reader,
    group: Group,
    readings: Sequence[Reading],
    choice: Choice,
    step: int,
    options: BeamOptions,
    *,
    number: int = 0,
    whole: Callable[[Path], bool] = lambda path: True,
) -> Sorted:
    """Finish what ends near the top, and let the best of the rest run on.

    Args:
        reader: with the limits.
        group: before the step.
        readings: of its beams.
        choice: the candidates, best first.
        step: from 0.
        options: the search's.
        number: of the group.
        whole: whether a path may end.
    """
    size, nbest = group.nbest.size, group.nbest
    runs: list[int] = []
    offered: dict[int, Finished] = {}
    refused = set()
    for k in range(len(choice)):
        reason = choice.reasons[k]
        if reason not in ENDS:
            runs.append(k)
            if len(runs) == size:
                break
        elif k < size and whole(group.beams[choice.parents[k]].path):
            reading, token_id = readings[choice.parents[k]], int(choice.tokens[k])
            link = Link(reading.path.written, recorded(reader, reading, token_id, "greedy"))
            alive = group.beams[choice.parents[k]].alive
            offered[k] = finished(
                reader,
                (*reading.path.ids, token_id),
                float(choice.totals[k]),
                reason,
                link,
                step,
                options,
                number=number,
                alive=alive,
            )
            nbest = nbest.added(offered[k])
        elif k < size:
            refused.add(k)
    return Sorted(tuple(runs), nbest, offered, frozenset(refused))


def finished(
    reader: Reader,
    ids: tuple[int, ...],
    total: float,
    reason: FinishReason,
    link: Link | None,
    step: int,
    options: BeamOptions,
    *,
    number: int = 0,
    alive: bool = True,
) -> Finished:
    """A hypothesis with its score written out; a dead beam's only takes a place."""
    new = ids[reader.watch.prompt_length :]
    divisor = float(len(new) ** options.length_penalty)
    found = Hypothesis(new, total, len(new), divisor, total / divisor, reason, step, number)
    return Finished(total / divisor, found if alive else None, link)


def reasons(reader: Reader, group: Group, choice: Choice) -> tuple[FinishReason | None, ...]:
    """Why each candidate would end its text, or None."""
    pairs = zip(choice.parents.tolist(), choice.tokens.tolist(), strict=True)
    return tuple(reader.reason(group.beams[b].path, t) for b, t in pairs)


def explained(
    group: Group,
    choice: Choice,
    sorted_: Sorted,
    parents: Mapping[int, int],
    becomes: Mapping[int, int],
    *,
    number: int = 0,
) -> tuple[BeamCandidate, ...]:
    """Every candidate with its fate.

    Args:
        group: before the step.
        choice: the candidates.
        sorted_: where they went.
        parents: index of a beam in the group -> in the step's record.
        becomes: candidate index -> index of a beam in the next step's record.
        number: of the group.
    """
    rows = []
    for k, reason in enumerate(choice.reasons):
        parent = int(choice.parents[k])
        if parent not in parents:
            continue
        fate, why = _fate(group, k, reason, sorted_, becomes)
        rows.append(
            BeamCandidate(
                rank=k + 1,
                parent=parents[parent],
                token_id=int(choice.tokens[k]),
                logprob=float(choice.logprobs[k]),
                total=float(choice.totals[k]),
                finish_reason=reason,
                fate=fate,
                why=why,
                becomes=becomes.get(k),
                group=number,
            )
        )
    return tuple(rows)


def _fate(
    group: Group, k: int, reason: FinishReason | None, sorted_: Sorted, becomes: Mapping[int, int]
) -> tuple[Fate, str]:
    size = group.nbest.size
    if k in becomes:
        return "runs", f"number {sorted_.runs.index(k) + 1} of the best {size} unfinished"
    if k in sorted_.offered:
        new = sorted_.offered[k]
        if any(place is new for place in sorted_.nbest.places) and new.found is not None:
            found = new.found
            return "banked", f"finished: {found.total:.4f} / {found.divisor:.4g} = {found.score:.4f}"
        return "pruned", f"finished with {new.score:.4f}, no better than the bank's worst"
    if k in sorted_.refused:
        return "pruned", "ends before every forced word is there"
    if reason in ENDS:
        return "pruned", f"finished, but ranked {k + 1}: only the first {size} candidates may finish"
    if k in sorted_.runs:
        return "pruned", "gave way to a beam with more of the forced words"
    return "pruned", f"not among the best {size} unfinished"


def margin(choice: Choice, sorted_: Sorted, group: Group, possible: float | None) -> float | None:
    """The smallest gap that a decision of this step hung on."""
    size = group.nbest.size
    open_ = choice.totals[[k for k, r in enumerate(choice.reasons) if r not in ENDS]]
    near = gap(choice.totals, size) if len(open_) < len(choice) else None
    worst = sorted_.nbest.worst if sorted_.nbest.full else None
    heard = abs(possible - worst) if possible is not None and worst is not None else None
    beaten = [abs(new.score - group.nbest.worst) for new in sorted_.offered.values() if group.nbest.full]
    return smallest(gap(open_, size), near, heard, *beaten)


def results(lists: Sequence[NBest], reader: Reader, options: BeamOptions) -> tuple[Written, ...]:
    """The best hypotheses as sequences."""
    best = [p.found for p in ranked(lists)][: options.num_return_sequences]
    links = [p.written for p in ranked(lists)][: options.num_return_sequences]
    return tuple(
        sequence(link, reader.vocabulary, found.finish_reason, found.score)
        for found, link in zip(best, links, strict=True)
        if found is not None
    )
