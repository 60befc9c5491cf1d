"""Pictures of distributions: bars of what may come, of options, of what moved, of orders of words."""

from __future__ import annotations

from math import isfinite, isnan, log

import numpy as np

from tokenglass import numbers
from tokenglass.text import safe_line, safe_text
from tokenglass.types import (
    Account,
    Comparison,
    NextTokens,
    OptionScores,
    Step,
    WordChanges,
    WordOrder,
)
from tokenglass.types.growth import Expansion, Samples
from tokenglass.types.trees import Node
from tokenglass.views.cells import cut, cut_left
from tokenglass.views.charts.along import apart, sides
from tokenglass.views.charts.pictures import (
    LONGEST_END,
    LONGEST_TITLE,
    MOST_BARS,
    Bars,
    Kinds,
    Line,
    Lines,
    end_of,
    first_of,
    kinds,
    label,
)
from tokenglass.views.figures import together

CURVE_POINTS = 400
STEP_BARS = 20  # of the 64 candidates that a step keeps
OWN, FINAL = "the model", "after the chain"
OTHERS = "… all others"
BITS = log(2.0)  # nats in one


def _known(value: float | None) -> float | None:
    """None for what no axis has a place for."""
    return value if value is not None and isfinite(value) else None


@kinds.register
def _(result: NextTokens) -> Kinds:
    return {"bars": lambda: _next(result), "curve": lambda: _curve(result)}


def _next(result: NextTokens) -> Bars:
    found = result.rows[:MOST_BARS]
    ids = [row.id for row in found]
    labels = (*(label(f"{row.rank} {row.text}") for row in found), OTHERS)
    series: dict[str, tuple[float | None, ...]] = {OWN: (*(row.p for row in found), result.rest_of(ids))}
    if result.final is not None:
        series[FINAL] = (*(row.p_final for row in found), result.rest_of(ids, final=True))
    notes = (
        (f"the {len(found)} likeliest of {result.n:,} asked for",) if len(found) < len(result.rows) else ()
    )
    return Bars(_after(result), notes, "probability", labels, series)


def _after(result: NextTokens) -> str:
    return f"next token after {end_of(result.prompt_ids, result.vocabulary)}"


def _curve(result: NextTokens) -> Lines:
    """Rank against probability, at ranks that stand evenly on a logarithmic axis."""
    notes: tuple[str, ...] = ()
    if result.listing is None:
        ranked = np.sort(numbers.softmax(result.logits))[::-1]
    else:  # a server's numbers are log-probabilities already, as far as it lists them
        ranked = np.exp(result.listing.logprobs.astype(np.float64))
        notes = (f"the server lists {len(ranked):,} of {len(result.logits):,} tokens",)
    ranks = np.unique(np.geomspace(1, len(ranked), CURVE_POINTS).round().astype(int)).tolist()
    p = tuple(float(ranked[rank - 1]) or None for rank in ranks)  # 0 has no place on such an axis
    units = "rank (log scale)", "probability (log scale)"
    return Lines(_after(result), notes, *units, (Line(OWN, tuple(ranks), p),), log=True)


@kinds.register
def _(result: Step) -> Kinds:
    return {"bars": lambda: _choice(result)}


def _choice(step: Step) -> Bars:
    """What might have been written; the token that was has a bar, however unlikely it is."""
    rows = [
        (row.id, f"{row.rank} {row.text}", row.p, None if row.p_final is None else _known(row.p_final))
        for row in step.top[:STEP_BARS]
    ]
    if step.id not in {row[0] for row in rows}:
        rank = "?" if step.rank is None else f"{step.rank:,}"
        rows.append((step.id, f"{rank} {step.token.text}", step.p, step.p_final))
    labels = (cut(text, 24) + (" ← written" if id_ == step.id else "") for id_, text, _, _ in rows)
    own, final = tuple(row[2] for row in rows), tuple(row[3] for row in rows)
    series = {OWN: (*own, _rest(own))}
    if step.stages or final != own:
        series[FINAL] = (*final, _rest(final))
    title = cut(f"the choice of {step.token.text} at position {step.position:,}", LONGEST_TITLE)
    notes = (f"the {STEP_BARS} likeliest of {len(step.top)} kept",) if len(step.top) > STEP_BARS else ()
    return Bars(title, notes, "probability", (*labels, OTHERS), series)


def _rest(found: tuple[float | None, ...]) -> float | None:
    known = [p for p in found if p is not None]
    return max(0.0, 1.0 - sum(known)) if len(known) == len(found) else None


@kinds.register
def _(result: Account) -> Kinds:
    return {"bars": lambda: _way(result)}


def _way(result: Account) -> Bars:
    labels = tuple(label(f"{i} {safe_line(effect.stage)}") for i, effect in enumerate(result.effects))
    p = tuple(None if isnan(effect.p) else effect.p for effect in result.effects)
    title = cut(f"probability of {result.token.text} after each stage", LONGEST_TITLE)
    return Bars(title, (), "probability", labels, {"p": p})


@kinds.register
def _(result: OptionScores) -> Kinds:
    return {"logprob": lambda: _options(result), "share": lambda: _shares(result)}


def _options(result: OptionScores) -> Bars:
    """Log-probabilities as dots: of bars from 0 to 1, those of whole sentences could not be seen."""
    values = {"log-probability": tuple(_known(row.logprob) for row in result.rows[:MOST_BARS])}
    unit = "log-probability (nats, 0 is certain)"
    return Bars(*_named(result), unit, _option_labels(result), values, top=None, dots=True)


def _shares(result: OptionScores) -> Bars:
    found = result.rows[:MOST_BARS]
    values = {
        "by probability": tuple(row.share for row in found),
        "by the mean of a token": tuple(row.mean_share for row in found),
    }
    return Bars(*_named(result), "share among the options", _option_labels(result), values)


def _named(result: OptionScores) -> tuple[str, tuple[str, ...]]:
    after = cut_left(safe_text(result.prompt_text[-LONGEST_END:]), 32)
    return f"how likely each continuation is after {after}", first_of(
        min(len(result.rows), MOST_BARS), len(result.rows), "options"
    )


def _option_labels(result: OptionScores) -> tuple[str, ...]:
    rows = enumerate(result.rows[:MOST_BARS], start=1)
    return tuple(label(f"{number} {safe_text(row.text)}") for number, row in rows)


@kinds.register
def _(result: Comparison) -> Kinds:
    return {"movers": lambda: _movers(result), "positions": lambda: apart(result)}


def _movers(result: Comparison) -> Bars:
    movers = result.prompt_end.movers[:MOST_BARS]
    labels = tuple(label(f"{i} {row.token.text or 'no text'}") for i, row in enumerate(movers, start=1))
    series = {"a": tuple(row.p_a for row in movers), "b": tuple(row.p_b for row in movers)}
    named = dict(zip(sides(result), series.values(), strict=True))
    notes = () if movers else ("nothing moved",)
    return Bars("what moved most at the prompt's end", notes, "probability", labels, named)


@kinds.register
def _(result: WordChanges) -> Kinds:
    return {"bars": lambda: _changes(result)}


def _changes(result: WordChanges) -> Bars:
    found = result.rows[:MOST_BARS]
    labels = tuple(label(f"{i} {safe_line(row.replacement)}") for i, row in enumerate(found, start=1))
    moved = tuple(row.difference.tv for row in found)
    title = f"how far the next token moves where “{cut(safe_line(result.word), 24)}” is replaced"
    notes = first_of(len(found), len(result.rows), "replacements")
    unit = "total variation distance (0 to 1)"
    return Bars(title, notes, unit, labels, {"distance": moved})


@kinds.register
def _(result: WordOrder) -> Kinds:
    return {"bars": lambda: _orders(result)}


def _orders(result: WordOrder) -> Bars:
    found = result.rows[:MOST_BARS]
    labels = tuple(label(f"{i} {safe_line(row.text)}") for i, row in enumerate(found, start=1))
    bits = tuple(_known(0.0 - row.logprob / BITS) for row in found)
    notes = first_of(len(found), len(result.rows), "orders, the likeliest first")
    unit = "surprise of the whole text (bits, less is likelier)"
    return Bars("what the order of words does", notes, unit, labels, {"surprise": bits}, top=None)


@kinds.register
def _(result: Expansion) -> Kinds:
    return {"bars": lambda: _unfolded(result)}


def _unfolded(result: Expansion) -> Bars:
    found = tuple(zip(result.leaves, result.probabilities, strict=True))[:MOST_BARS]
    p = tuple(p for _, p in found)
    labels = (*(_leaf(result.node, leaf) for leaf, _ in found), OTHERS)
    notes = first_of(len(found), len(result.leaves), "ends, the likeliest first")
    title = f"the ends unfolded from place {result.node.id:,}"
    return Bars(title, notes, "probability after the chain", labels, {"p": (*p, _rest(p))})


@kinds.register
def _(result: Samples) -> Kinds:
    return {"bars": lambda: _drawn(result)}


def _drawn(result: Samples) -> Bars:
    """How often each text came beside how probable it is: what chance makes of few samples."""
    n = sum(result.counts)
    pairs = sorted(zip(result.leaves, result.counts, strict=True), key=lambda pair: -pair[1])
    found = pairs[:MOST_BARS]
    p = tuple(together(step.p_final for step in _written(result.node, leaf)) for leaf, _ in found)
    drawn = tuple(count / n for _, count in found)
    labels = (*(_leaf(result.node, leaf) for leaf, _ in found), OTHERS)
    series = {f"share of {n:,} samples": (*drawn, _rest(drawn)), "probability": (*p, _rest(p))}
    notes = first_of(len(found), len(pairs), "texts, the most frequent first")
    return Bars(f"samples from place {result.node.id:,}", notes, "share, probability", labels, series)


def _written(start: Node, leaf: Node) -> tuple[Step, ...]:
    return leaf.steps()[start.depth :]


def _leaf(start: Node, leaf: Node) -> str:
    text = "".join(step.token.text for step in _written(start, leaf)) or "(nothing)"
    return f"{leaf.id} {cut(text, 24)}"
