"""Strategies side by side: a table of their texts, and a sentence of numbers for each place of parting.

Teaches `layout.blocks` and `rows.to_dict` the type `Showcase`, so that terminal, HTML and JSON know it.
"""

from __future__ import annotations

import json
from typing import Any

from tokenglass.text import safe_line, safe_prose
from tokenglass.types import Generation, Showcase, Step, Strategy
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Fold, Line, Prose, Row, Table
from tokenglass.views.figures import count, differ, percent, significant
from tokenglass.views.layout import blocks
from tokenglass.views.reasons import NEAR_TIE

MARK = "⟨≠⟩"  # of the views' own: in a text these brackets would be chips themselves
_COLUMNS = (
    Column("name", "strategy"),
    Column("n", "tokens", "right", keep=2),
    Column("time", "time", "point", keep=3),
    Column("parts", "parts", "right", keep=5),
    Column("token", "text"),
)
_BEAMS = frozenset({"beam_search", "beam_sample", "group_beam_search", "constrained_beam_search"})


@blocks.register
def _(result: Showcase) -> tuple[Block, ...]:
    told = [block for row in result.rows[1:] for block in _told(row, result.rows[0])]
    shared = ", ".join(f"{safe_line(name)}={_typed(value)}" for name, value in result.config.items())
    return (
        Prose(safe_prose(result.prompt_text), ""),
        Line(f"every strategy with {shared}", "facts"),
        Line(f"{MARK} stands before the token with which a text first parts from greedy's", "facts"),
        Table(_COLUMNS, tuple(map(_row, result.rows))),
        Fold("the settings of each, and why it parts from greedy", tuple(told), printed=True),
    )


def _row(row: Strategy) -> Row:
    if row.generation is None or row.seconds is None:
        return Row({"name": row.name, "token": "could not run"}, role="rest")
    return Row(
        {
            "name": row.name,
            "n": str(len(row.generation.ids)),
            "time": f"{significant(row.seconds)} s",
            "parts": "–" if row.parting is None else str(row.parting.index + 1),
            "token": _marked(row),
        }
    )


def _marked(row: Strategy) -> str:
    """The text in one line, with a mark where it parts from greedy's."""
    assert row.generation is not None
    steps = row.generation.steps
    index = len(steps) if row.parting is None else row.parting.index
    before, after = (
        safe_line("".join(step.text for step in part)) for part in (steps[:index], steps[index:])
    )
    return before if row.parting is None else before + MARK + after


def _told(row: Strategy, greedy: Strategy) -> tuple[Block, ...]:
    """The keywords of a strategy, and why it parts from greedy."""
    keywords = ", ".join(f"{name}={_typed(value)}" for name, value in row.keywords.items())
    return (Line(f"{row.name}: {keywords}", "heading"), Line(why(row, greedy), "sentence"))


def _typed(value: Any) -> str:
    """A value as it is typed."""
    try:
        return safe_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        return safe_line(type(value).__name__)


def why(row: Strategy, greedy: Strategy) -> str:
    """Where and why a text parts from greedy's: one sentence made of the steps' own numbers."""
    if row.generation is None or greedy.generation is None:
        return f"could not run: {safe_line(row.reason)}"
    if row is greedy:
        return "the reference: the likeliest token at every step"
    parting = row.parting
    if parting is None:
        return f"all {count(len(row.generation.ids), 'token')} are greedy's{_drafts(row.generation)}"
    place = f"parts at token {parting.index + 1}"
    if parting.step is None or parting.greedy is None:
        ended, other = (row.generation, "greedy") if parting.step is None else (greedy.generation, row.name)
        return f"{place}: the text had ended there ({ended.finish_reason}), {other} went on"
    return f"{place}: {_cause(row.generation, parting.step, parting.greedy, greedy.generation)}"


def _cause(own: Generation, step: Step, other: Step, greedy: Generation) -> str:
    taken = f"greedy took {other.token.text} ({percent(other.p)})"
    mode = own.config.get("mode")
    if mode == "contrastive_search":
        return _contrastive(own, step, other) or f"chose {step.token.text}, {taken}"
    if mode == "dola":
        return f"{_dola(own, step)}, {taken}"
    if mode in _BEAMS:
        return (
            f"kept {step.token.text} ({percent(step.p)}), {taken}; the whole text has a mean log-probability "
            f"of {_mean(own)} a token, greedy's {_mean(greedy)}"
        )
    if step.draw is not None:
        verb = f"the draw {step.draw:.4f} gave"
    else:
        verb = "drew" if step.origin == "sampled" else "took"
    near = f" (a near tie: {significant(step.margin)} in logits)" if _is_near(step) else ""
    return f"{verb} {step.token.text} ({_both(step)}), {taken}{_lost(step, other)}{near}"


def _is_near(step: Step) -> bool:
    return step.origin != "sampled" and step.margin < NEAR_TIE


def _both(step: Step) -> str:
    """A token's probability, by the model and after the chain where that differs."""
    if not differ(step.p_final, step.p):
        return percent(step.p)
    return f"{percent(step.p)} by the model, {percent(step.p_final)} after {_chain(step)}"


def _chain(step: Step) -> str:
    names = [stage.name for stage in step.stages[1:]]
    return safe_line(names[0]) if len(names) == 1 else "the chain"


def _lost(step: Step, other: Step) -> str:
    """What the chain made of greedy's token here."""
    if (removal := step.removed.get(other.id)) is not None:
        return f", which {safe_line(removal.stage)} had removed"
    found = next((row for row in step.top if row.id == other.id), None)
    if found is None or not differ(found.p_final, found.p):
        return ""
    return f", which had {percent(found.p_final)} after {_chain(step)}"


def _mean(generation: Generation) -> str:
    """Mean log-probability of a text's tokens, by the model itself."""
    logprobs = [step.logprob for step in generation.steps if step.logprob is not None]
    return significant(sum(logprobs) / max(1, len(logprobs)))  # a search needs an engine that knows them all


def _contrastive(own: Generation, step: Step, other: Step) -> str:
    """Both tokens' scores: (1 - alpha) p - alpha cosine."""
    record = next((r for r in own.search if r.position == step.position), None)
    found = {} if record is None else {row.token_id: row for row in record.rows}
    if step.id not in found:
        return ""
    rival = f"greedy's {other.token.text} {_scored(found[other.id])}" if other.id in found else ""
    return "; ".join(filter(None, (f"{step.token.text} {_scored(found[step.id])}", rival)))


def _scored(row: Any) -> str:
    return (
        f"scored {significant(row.score)} ({percent(row.p)} likely, "
        f"likeness {row.cosine:.2f} to what stands before)"
    )


def _dola(own: Generation, step: Step) -> str:
    record = next((r for r in own.search if r.position == step.position), None)
    if record is None:
        return f"took {step.token.text} ({percent(step.p)})"
    gain = f"{record.contrast:+.2f}"
    return (
        f"{step.token.text} ({percent(step.p)}) stood out against layer {record.layer}: "
        f"{gain} in log-probability from there to the last layer"
    )


def _drafts(generation: Generation) -> str:
    """How many guesses a drafting run had accepted."""
    rounds = [record for record in generation.search if hasattr(record, "drafts")]
    if not rounds:
        return ""
    if not any(record.drafts for record in rounds):
        return "; nothing earlier in the text could be copied as a draft"
    drafted, accepted = sum(len(r.drafts) for r in rounds), sum(r.accepted for r in rounds)
    return f"; {accepted} of {count(drafted, 'drafted token')} were accepted in {count(len(rounds), 'round')}"


@rows.to_dict.register
def _(result: Showcase) -> dict[str, Any]:
    shared = {name: rows.plain(getattr(result, name)) for name in ("prompt_text", "prompt_ids", "config")}
    return {**shared, "strategies": [_as_dict(row, result.rows[0]) for row in result.rows]}


def _as_dict(row: Strategy, greedy: Strategy) -> dict[str, Any]:
    parting = row.parting
    return {
        "name": row.name,
        "keywords": rows.plain(row.keywords),
        "seconds": row.seconds,
        "reason": row.reason,
        "parting": None
        if parting is None
        else {"index": parting.index, "own": _id(parting.step), "greedy": _id(parting.greedy)},
        "why": why(row, greedy),
        "generation": None if row.generation is None else rows.to_dict(row.generation),
    }


def _id(step: Step | None) -> int | None:
    return None if step is None else int(step.id)
