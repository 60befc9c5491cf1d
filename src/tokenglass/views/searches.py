"""A search as it went: which continuations each step weighed, what it kept, and why the others fell.

Reads the records of searches by the names of their fields, since what makes them lies in a higher layer. Each
kind of record has one function that draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tokenglass.text import safe_line, safe_text
from tokenglass.types import Generation, Vocabulary
from tokenglass.types.searching import SearchRecords
from tokenglass.views.blocks import Block, Column, Fold, Line, Role, Row, Table
from tokenglass.views.cells import cell_width
from tokenglass.views.figures import count, percent, significant

FIRST, LAST = 3, 2  # steps in sight; those between are folded
_CONTEXT = 10  # cells of a beam's text before the token it considers


def search_blocks(result: Generation) -> tuple[Block, ...]:
    """The first and last steps of a search, those between folded, and at the end what was finished."""
    found = result.search
    return records_blocks(found) if isinstance(found, SearchRecords) and found else ()


def records_blocks(records: SearchRecords) -> tuple[Block, ...]:
    """The same of the records by themselves, and of a search that is under way."""
    if not records:
        return (Line("a search that has not begun; iterate for its records", "facts"),)
    vocabulary = records.vocabulary
    steps = [_KINDS[type(record).__name__](record, vocabulary) for record in records]
    first, between, last = steps[:FIRST], steps[FIRST:-LAST], steps[-LAST:]
    if len(steps) <= FIRST + LAST + 1:
        first, between, last = steps, [], []
    found: list[Block] = [Line(f"the search: {count(len(steps), 'step')}", "heading")]
    found += _flat(first)
    if between:
        found.append(Fold(f"{len(between)} more steps", tuple(_flat(between))))
    return (*found, *_flat(last), *_finished(records[-1], vocabulary))


def step_blocks(record: Any, vocabulary: Vocabulary) -> tuple[Block, ...]:
    """One record of a search, with what had been finished by then.

    Raises:
        TypeError: it is no record of a search.
    """
    draw = _KINDS.get(type(record).__name__)
    if draw is None:
        raise TypeError(f"no layout for a {type(record).__name__}; a search yields the records to draw")
    return (*draw(record, vocabulary), *_finished(record, vocabulary))


def _flat(steps: Iterable[Iterable[Block]]) -> list[Block]:
    return [block for step in steps for block in step]


# ------------------------------------------------------------------------------------------------- beams


def _beam_step(step: Any, vocabulary: Vocabulary) -> list[Block]:
    groups = any(candidate.group for candidate in step.candidates)
    columns = (
        Column("rank", "#", "right", keep=6),
        *((Column("group", "group", "right", keep=5),) if groups else ()),
        Column("beam", "beam", keep=8),
        Column("logprob", "logprob", "point", keep=3),
        Column("total", "total", "point", keep=7),
        Column("token", "text → token"),
    )
    table_rows = [_beam_row(candidate, step, vocabulary) for candidate in step.candidates]
    facts = [_margin(step.margin)]
    goes_on = any(candidate.fate == "runs" for candidate in step.candidates)
    if goes_on and step.best_possible is not None and step.worst_finished is not None:
        facts.append(
            f"best still possible {_score(step.best_possible)}, worst finished {_score(step.worst_finished)}"
        )
    found: list[Block] = [_heading(step), Table(columns, tuple(table_rows))]
    for group, charges in enumerate(step.penalties, start=1):
        charged = ", ".join(f"{_name(i, vocabulary)} {n}×" for i, n in charges)
        found += [Line(f"group {group} is charged for {charged}", "facts")] if charged else []
    found += _facts(facts)
    return found + ([Line(f"the search ends: {safe_line(step.stop)}", "sentence")] if step.stop else [])


def _beam_row(candidate: Any, step: Any, vocabulary: Vocabulary) -> Row:
    goal = {"runs": f" → {(candidate.becomes or 0) + 1}", "banked": " → bank", "pruned": ""}[candidate.fate]
    before = _ending(step.beams[candidate.parent].ids, vocabulary)
    token = _name(candidate.token_id, vocabulary)
    notes = [candidate.why] if candidate.fate != "runs" or candidate.forced else []
    if candidate.bank:
        notes.append(f"{count(candidate.bank, 'step')} towards the forced words")
    cells = {
        "rank": str(candidate.rank),
        "group": str(candidate.group + 1),
        "beam": f"{candidate.parent + 1}{goal}",
        "logprob": _score(candidate.logprob),
        "total": _score(candidate.total),
        "token": f"{before} → {token}" if before else token,
        "note": safe_line("; ".join(notes)),
    }
    return Row(cells, None, "pruned" if candidate.fate == "pruned" else "")


def _finished(record: Any, vocabulary: Vocabulary) -> list[Block]:
    """The bank of a beam search, best first; nothing for other searches."""
    bank = getattr(record, "bank", ())
    if not bank:
        return []
    columns = (
        Column("rank", "#", "right"),
        Column("score", "score", "point"),
        Column("total", "total", "point", keep=6),
        Column("divisor", "divided by", "point", keep=5),
        Column("length", "tokens", "right", keep=3),
        Column("reason", "finish reason", keep=4),
        Column("token", "text"),
    )
    table_rows = [
        Row(
            {
                "rank": str(number),
                "score": _score(found.score),
                "total": _score(found.total),
                "divisor": significant(found.divisor, 4),
                "length": str(found.length),
                "token": _text(found.ids, vocabulary),
                "reason": found.finish_reason,
            }
        )
        for number, found in enumerate(bank, start=1)
    ]
    about = Line("finished texts: score = total / tokens ^ length_penalty", "heading")
    return [about, Table(columns, tuple(table_rows))]


# ------------------------------------------------------------------------------------------ other searches


def _contrastive_step(step: Any, vocabulary: Vocabulary) -> list[Block]:
    columns = (
        Column("rank", "rank", "right", keep=6, short="#"),
        Column("p", "probability", "point", keep=7, short="p"),
        Column("cosine", "cosine", "point", keep=5),
        Column("nearest", "nearest", "right", keep=3),
        Column("score", "score", "point"),
        Column("token", "token"),
    )
    table_rows = [
        Row(
            {
                "rank": f"→ {row.rank}" if row.chosen else str(row.rank),
                "p": percent(row.p),
                "cosine": f"{row.cosine:.4f}",
                "nearest": str(row.nearest),
                "score": f"{row.score:.4f}",
                "token": _name(row.token_id, vocabulary),
            },
            None,
            "chosen" if row.chosen else "",
            {"p": row.p},
        )
        for row in step.rows
    ]
    return [_heading(step), Table(columns, tuple(table_rows)), *_facts([_margin(step.margin), _end(step)])]


def _dola_step(step: Any, vocabulary: Vocabulary) -> list[Block]:
    layers = [
        f"{'→ ' if layer == step.layer else ''}{layer}: {'–' if x is None else significant(x)}"
        for layer, x in step.divergences
    ]
    chosen = (
        f"contrast {step.contrast:.3f} (last layer {step.final_logprob:.3f}, "
        f"layer {step.layer} {step.layer_logprob:.3f}): "
    )
    return [
        _heading(step),
        Line(f"divergence from the last layer, by layer: {' · '.join(layers)}", "facts"),
        Line(chosen, "sentence", tail=_name(step.token_id, vocabulary)),
        *_facts([f"{count(step.alive, 'token')} alive", _margin(step.margin), _end(step)]),
    ]


_BONUS = {
    "next": "all accepted; then the model's own token: ",
    "residual": "then a token drawn from what the model wants more than the assistant: ",
    "correction": "then the model's own choice: ",
}


_VERDICTS: dict[str, Role] = {"accepted": "", "rejected": "removed", "unread": "pruned"}


def _draft_step(step: Any, vocabulary: Vocabulary) -> list[Block]:
    read = any(draft.q is not None for draft in step.drafts)
    drawn = any(draft.draw is not None for draft in step.drafts)
    columns = (
        Column("position", "#", "right", keep=5),
        Column("verdict", "verdict", keep=8),
        Column("p", "model", "point", keep=7),
        *((Column("q", "assistant", "point", keep=6, short="ass."),) if read else ()),
        *(
            (Column("ratio", "ratio", "point", keep=3), Column("draw", "draw", "point", keep=4))
            if drawn
            else ()
        ),
        Column("token", "draft"),
    )
    verdicts = f"{step.accepted} of {count(len(step.drafts), 'draft')} accepted" if step.drafts else ""
    found: list[Block] = [_heading(step, verdicts)]
    if step.drafts:
        table_rows = [_draft_row(draft, vocabulary) for draft in step.drafts]
        found.append(Table(columns, tuple(table_rows)))
    if step.bonus is not None:
        lead = _BONUS[step.bonus] if step.drafts else "no draft; the model's own token: "
        found.append(Line(lead, "sentence", tail=_name(step.written[-1], vocabulary)))
    return found + _facts([_copied(step), _end(step)])


def _copied(step: Any) -> str:
    if step.source is None:
        return ""
    again = "the last token was" if step.ngram == 1 else f"the last {step.ngram} tokens were"
    start, stop = step.source
    where = f"position {start}" if stop - start == 1 else f"positions {start} to {stop - 1}"
    return f"drafts copied from {where}, where {again} found before"


def _draft_row(draft: Any, vocabulary: Vocabulary) -> Row:
    cells = {
        "position": str(draft.position),
        "verdict": draft.verdict,
        "p": "–" if draft.p is None else percent(draft.p),
        "q": "–" if draft.q is None else percent(draft.q),
        "ratio": "–" if draft.ratio is None else significant(draft.ratio),
        "draw": "–" if draft.draw is None else f"{draft.draw:.4f}",
        "token": _name(draft.token_id, vocabulary),
    }
    if draft.verdict == "rejected" and draft.wanted is not None:
        cells["note"] = f"the model wants {_name(draft.wanted, vocabulary)}"
    return Row(cells, None, _VERDICTS[draft.verdict])


_KINDS: dict[str, Callable[[Any, Vocabulary], list[Block]]] = {
    "BeamStep": _beam_step,
    "ContrastiveStep": _contrastive_step,
    "DolaStep": _dola_step,
    "DraftStep": _draft_step,
}


# ------------------------------------------------------------------------------------------------- words


def _heading(step: Any, more: str = "") -> Line:
    parts = [f"step {step.step + 1}", f"position {step.position}", more]
    return Line(" · ".join(filter(None, parts)), "heading")


def _facts(facts: Iterable[str]) -> list[Block]:
    text = " · ".join(filter(None, facts))
    return [Line(text, "facts")] if text else []


def _margin(margin: float | None) -> str:
    return "" if margin is None else f"margin {significant(margin)}"


def _end(step: Any) -> str:
    return f"finish reason: {step.finish_reason}" if step.finish_reason else ""


def _score(x: float) -> str:
    return f"{x:.4f}"


def _name(token_id: int, vocabulary: Vocabulary) -> str:
    token = vocabulary.token(token_id)
    return token.text


def _ending(ids: tuple[int, ...], vocabulary: Vocabulary) -> str:
    """The last tokens of a beam, as many as find room, but at least one."""
    n = min(1, len(ids))
    while n < len(ids) and cell_width(_text(ids[-n - 1 :], vocabulary)) <= _CONTEXT:
        n += 1
    return ("…" if n < len(ids) else "") + _text(ids[len(ids) - n :], vocabulary)


def _text(ids: Iterable[int], vocabulary: Vocabulary) -> str:
    return safe_text(b"".join(vocabulary.token(token_id).bytes for token_id in ids))
