"""Pictures along a text: entropy and surprise, strategies side by side, how far two sides lie apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isfinite, log
from typing import Any

from tokenglass.text import safe_line
from tokenglass.types import Comparison, Generation, Score, Sequence, Showcase, Step
from tokenglass.types.comparison import Side
from tokenglass.types.growth import Play
from tokenglass.views.cells import cut, cut_left
from tokenglass.views.charts.pictures import (
    LONGEST_LABEL,
    LONGEST_TICK,
    MOST_LINES,
    MOST_PLACES,
    Bars,
    Kinds,
    Line,
    Lines,
    first_of,
    kinds,
)
from tokenglass.views.values import parameters

NATS = log(2.0)  # in a bit
TITLE = "how undecided the model was, and how surprising each token"
APART = "how far a and b lie apart after each token"
BOTH = "entropy, surprise (bits)"

Measure = Callable[[tuple[Step, ...]], Iterator[float | None]]


def _lines(title: str, notes: tuple[str, ...], unit: str, found: tuple[Line, ...]) -> Lines:
    """Lines without those of which nothing is known, which a note tells instead."""
    known = tuple(line for line in found if any(value is not None for value in line.values))
    unknown = [line.name for line in found if line not in known]
    if not any(line.places for line in found):
        notes = (*notes, "nothing to draw: no tokens")
    elif unknown:
        notes = (*notes, f"unknown here: {', '.join(unknown)}")
    return Lines(title, notes, "position", unit, known or found or (Line("", (), ()),))


def _surprise(step: Step) -> float | None:
    """In bits; None where it is unknown or infinite, which no axis has a place for."""
    return None if step.logprob is None or not isfinite(step.logprob) else 0.0 - step.logprob / NATS


def _entropies(steps: tuple[Step, ...]) -> Iterator[float | None]:
    return (step.entropy_bits for step in steps)


def _mean_surprises(steps: tuple[Step, ...]) -> Iterator[float | None]:
    """Bits a token of the text up to each step; unknown from the first step on whose surprise is."""
    total: float | None = 0.0
    for n, step in enumerate(steps, start=1):
        bits = _surprise(step)
        total = None if total is None or bits is None else total + bits
        yield None if total is None else total / n


def _line(name: str, steps: tuple[Step, ...], measure: Measure) -> Line:
    steps = steps[:MOST_PLACES]
    places = tuple(step.position for step in steps)
    return Line(name, places, tuple(measure(steps)), tuple(step.token.text for step in steps))


def _of_steps(steps: tuple[Step, ...]) -> Lines:
    entropy = _line("entropy", steps, _entropies)
    surprise = _line("surprise", steps, lambda some: map(_surprise, some))
    notes = first_of(len(entropy.places), len(steps), "tokens")
    return _lines(TITLE, notes, BOTH, (entropy, surprise))


@kinds.register(Sequence)
@kinds.register(Play)
def _(result: Sequence | Play) -> Kinds:
    return {"lines": lambda: _of_steps(result.steps)}


@kinds.register
def _(result: Generation) -> Kinds:
    one = len(result.sequences) == 1
    return {"lines": lambda: _of_steps(result.steps) if one else _of_several(result)}


def _of_several(result: Generation) -> Lines:
    """The entropy along each sequence; surprise beside it would be twice as many lines."""
    drawn = result.sequences[:MOST_LINES]
    named = [(_numbered(number, each), each.steps) for number, each in enumerate(drawn, start=1)]
    longest = max(len(steps) for _, steps in named)
    notes = first_of(len(drawn), len(result.sequences), "sequences")
    notes += first_of(min(longest, MOST_PLACES), longest, "tokens")
    lines = tuple(_line(name, steps, _entropies) for name, steps in named)
    return _lines("how undecided the model was along each sequence", notes, "entropy (bits)", lines)


def _numbered(number: int, sequence: Sequence) -> str:
    begins = "".join(step.token.text for step in sequence.steps[:LONGEST_TICK])
    return cut(f"{number} {begins}", LONGEST_LABEL)


@kinds.register
def _(result: Score) -> Kinds:
    return {"lines": lambda: _scored(result)}


def _scored(result: Score) -> Lines:
    rows = list(result.rows[:MOST_PLACES])
    places, labels = tuple(row.index for row in rows), tuple(row.text for row in rows)
    bits = (row.surprisal_bits for row in rows)
    surprise = tuple(None if b is None or not isfinite(b) else b for b in bits)
    lines = (
        Line("entropy", places, tuple(row.entropy_bits for row in rows), labels),
        Line("surprise", places, surprise, labels),
    )
    return _lines(TITLE, first_of(len(rows), len(result.rows), "tokens"), BOTH, lines)


@kinds.register
def _(result: Showcase) -> Kinds:
    """By itself the mean surprise: it tells likely texts from bold ones, and settles as they go on."""
    return {
        "surprise": lambda: _strategies(
            result,
            _mean_surprises,
            "how surprising each text is, up to each token",
            "bits a token, mean so far",
        ),
        "entropy": lambda: _strategies(
            result, _entropies, "how undecided the model was along each text", "entropy (bits)"
        ),
        "bars": lambda: _means(result),
    }


def _ran(result: Showcase) -> tuple[dict[str, tuple[Step, ...]], tuple[str, ...]]:
    """The steps of the strategies to draw, and a note on those that are not."""
    ran = {row.name: row.generation.steps for row in result.rows if row.generation is not None}
    drawn: dict[str, tuple[Step, ...]] = {}
    for number, (name, steps) in enumerate(list(ran.items())[:MOST_LINES], start=1):
        short = cut(safe_line(name), LONGEST_TICK)
        drawn[f"{number} {short}" if short in drawn else short] = steps
    failed = len(result.rows) - len(ran)
    notes = (f"{failed} of {len(result.rows)} strategies could not run",) if failed else ()
    return drawn, (*first_of(len(drawn), len(ran), "strategies"), *notes)


def _strategies(result: Showcase, measure: Measure, title: str, unit: str) -> Lines:
    drawn, notes = _ran(result)
    return _lines(title, notes, unit, tuple(_line(name, steps, measure) for name, steps in drawn.items()))


def _means(result: Showcase) -> Bars:
    drawn, notes = _ran(result)
    means = tuple(([None, *_mean_surprises(steps)])[-1] for steps in drawn.values())
    unit = "mean surprise (bits a token, under the model)"
    return Bars(
        "how surprising each strategy writes", notes, unit, tuple(drawn), {"surprise": means}, top=None
    )


# -------------------------------------------------------------------------------------------- comparisons


def sides(result: Comparison) -> tuple[str, str]:
    """What a and b are, in a legend."""
    a, b = _side(result, result.a, result.b), _side(result, result.b, result.a)
    return f"a: {a}", f"b: {b}"


def _side(result: Comparison, side: Side, other: Side) -> str:
    if result.kind == "prompts":
        return cut_left(safe_line(side.generation.prompt_text), LONGEST_LABEL)
    if result.kind == "models":
        return cut(safe_line(side.info.name), LONGEST_LABEL)
    return cut(parameters(_own(side.keywords, other.keywords)) or "nothing of its own", LONGEST_LABEL)


def _own(mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in mine.items() if k not in other or repr(other[k]) != repr(v)}


def apart(result: Comparison) -> Lines:
    """KL both ways and JS after each token that both read; no point where a side rules out the other's."""
    rows = result.positions[:MOST_PLACES]
    places, labels = tuple(row.index_a for row in rows), tuple(row.token.text for row in rows)
    found = {
        "KL(a‖b)": [row.kl_ab_bits for row in rows],
        "KL(b‖a)": [row.kl_ba_bits for row in rows],
        "JS": [row.js_bits for row in rows],
    }
    endless = [n for n, values in found.items() if any(v is not None and not isfinite(v) for v in values)]
    notes = (
        *sides(result),
        *((f"infinite where there is no point: {', '.join(endless)}",) if endless else ()),
    )
    notes += first_of(len(rows), len(result.positions), "positions")
    lines = tuple(
        Line(name, places, tuple(None if v is None or not isfinite(v) else v for v in values), labels)
        for name, values in found.items()
    )
    if endless:  # known, even where no point of it can be drawn
        return Lines(APART, notes, "position", "divergence (bits)", lines)
    return _lines(APART, notes, "divergence (bits)", lines)
