"""Tables of candidates: the likeliest tokens with their numbers, and the rest that closes the sum.

Removed tokens keep their place in the model's order, with the name of the stage that removed them.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan

from tokenglass.text import safe_line
from tokenglass.types import Candidate, NextTokens, Step
from tokenglass.views.blocks import Column, Row, Table
from tokenglass.views.figures import count, differ, percent

RANK = Column("rank", "rank", "right", short="#")
ID = Column("id", "id", "right", keep=4)
LOGIT = Column("logit", "logit", "point", keep=3)
LOGPROB = Column("logit", "log p", "point", keep=3)  # from a server that tells logits up to an offset only
MEASURE = "after the chain"  # what a bar shows wherever there is a chain
P = Column("p", "probability", "point", short="p")
P_FINAL = Column("p_final", "after chain", "point", keep=8, short="final")
TOKEN = Column("token", "token")


def next_table(result: NextTokens, extra: Iterable[Candidate] = ()) -> Table:
    """The next-token table: the rows, candidates that were looked up, and the rest that closes the sum."""
    chain = result.final is not None
    shown = list(result.rows)
    known = {row.id for row in shown}
    shown += [row for row in extra if row.id not in known]
    rest_n = len(result.logits) - len(shown)
    table_rows = [_candidate_row(row, chain) for row in shown]
    if rest_n > 0:
        ids = [row.id for row in shown]
        table_rows.append(_rest_row(rest_n, result.rest_of(ids), result.rest_of(ids, final=True), chain))
    columns = _candidate_columns(chain, result.listing is not None)
    return Table(columns, tuple(table_rows), bars=True, measure=MEASURE if chain else "")


def candidate_table(row: Candidate) -> Table:
    """One candidate by itself, as it was looked up."""
    chain = row.p != row.p_final
    listed = row.logit is None
    columns = _candidate_columns(chain, listed)
    return Table(columns, (_candidate_row(row, chain),), bars=True, measure=MEASURE if chain else "")


def _candidate_columns(chain: bool, listed: bool) -> tuple[Column, ...]:
    score = LOGPROB if listed else LOGIT
    return (RANK, ID, score, P, P_FINAL, TOKEN) if chain else (RANK, ID, score, P, TOKEN)


def _candidate_row(row: Candidate, chain: bool, chosen: bool = False) -> Row:
    score = row.logprob if row.logit is None else row.logit
    rank = "–" if row.rank is None else f"{row.rank:,}"
    cells = {
        "rank": f"→ {rank}" if chosen else rank,
        "id": str(row.id),
        "logit": "–" if score is None else f"{score:.2f}",
        "p": percent(row.p) if row.p_at_most is None else f"≤ {percent(row.p_at_most)}",
        "p_final": percent(row.p_final),
        "token": row.text,
    }
    if row.removed_by is not None:
        cells["note"] = f"removed by {safe_line(row.removed_by)}"
        return Row(cells, None, "removed", tints(p=row.p))
    shades = tints(p=row.p, p_final=row.p_final)
    return Row(cells, row.p_final if chain else row.p, "chosen" if chosen else "", shades)


def tints(**shares: float | None) -> dict[str, float]:
    """The probabilities that colour cells, as far as they are known."""
    return {name: p for name, p in shares.items() if p is not None and not isnan(p)}


def _rest_row(n: int, p: float | None, p_final: float | None, chain: bool, exact: bool = True) -> Row:
    def shown(rest: float | None) -> str:
        # one minus a sum of stored float32 logits: below 1e-6 only rounding is left
        return percent(rest) if exact or rest is None or rest >= 1e-6 else "<0.0001 %"

    cells = {"rank": "…", "p": shown(p), "p_final": shown(p_final), "token": count(n, "other")}
    return Row(cells, p_final if chain else p, "rest")


def step_table(step: Step, n: int = 10) -> Table:
    """The table a token was chosen from: the likeliest, the chosen one marked, and the rest."""
    chain = changed(step.top)
    shown = list(step.top[:n])
    if step.id not in {row.id for row in shown}:
        removal = step.removed.get(step.id)
        gone = None if removal is None else removal.stage
        own = (step.rank, step.token, step.logit, step.logprob, step.p, step.p_final)
        shown.append(Candidate(*own, gone, step.p_at_most))
    table_rows = [_candidate_row(row, chain, chosen=row.id == step.id) for row in shown]
    if (rest_n := len(step.vocabulary) - len(shown)) > 0:
        # of a token that a server does not list, the rest holds the probability too
        rest_p = 1.0 - sum(row.p for row in shown if row.p is not None)
        finals = [row.p_final for row in shown if row.rank is not None]
        known = [p for p in finals if p is not None]
        rest_final = 1.0 - sum(known) if len(known) == len(finals) else None
        table_rows.append(_rest_row(rest_n, rest_p, rest_final, chain, exact=False))
    columns = _candidate_columns(chain, step.is_listed_only)
    return Table(columns, tuple(table_rows), bars=True, measure=MEASURE if chain else "")


def changed(shown: Iterable[Candidate | Step]) -> bool:
    """Whether the chain changed any probability by more than rounding."""
    return any(differ(row.p_final, row.p) for row in shown)
