"""A result in a few words, for lists, logs and debuggers: its `repr`."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from tokenglass.text import safe_line
from tokenglass.types import (
    Account,
    Candidate,
    Chain,
    Comparison,
    EngineInfo,
    Generation,
    NextTokens,
    OptionScores,
    Score,
    Sequence,
    Showcase,
    Shown,
    Step,
    Tokenization,
    Tree,
)
from tokenglass.types.growth import Expansion, Play, Samples
from tokenglass.types.searching import SearchRecords
from tokenglass.types.settings import Settings
from tokenglass.views.figures import bits, count, percent

_QUOTED = 30  # characters of a text


def represented(result: Shown) -> str:
    """`<NextTokens after …: ·Paris 77.3 %, 49,152 candidates>`; never an error, and never a long text."""
    about = summary(result)
    return f"<{type(result).__name__}{': ' if about else ''}{about}>"


@singledispatch
def summary(result: Shown) -> str:
    """What is worth knowing of a result at a glance; nothing for a type that has no such words."""
    return ""


def _quoted(shown: str) -> str:
    """Safe text, cut."""
    return f"{shown[:_QUOTED]!r}{'…' if len(shown) > _QUOTED else ''}"


@summary.register
def _(result: Tokenization) -> str:
    return f"{count(len(result.tokens), 'token')}, {_quoted(safe_line(result.text[: 2 * _QUOTED]))}"


@summary.register
def _(row: Candidate) -> str:
    share = f"≤ {percent(row.p_at_most)}" if row.p_at_most is not None else percent(row.p)
    gone = f", removed by {safe_line(row.removed_by)}" if row.removed_by else ""
    return f"{row.text}, id {row.id}, {_rank(row.rank)}, {share}{gone}"


def _rank(rank: int | None) -> str:
    return "rank unknown" if rank is None else f"rank {rank:,}"


@summary.register
def _(result: NextTokens) -> str:
    row = next(iter(replace(result, n=1).rows), None)  # of the whole vocabulary each would become an object
    best = "" if row is None else f"{row.text} {percent(row.p)}, "
    return f"{best}{count(len(result.logits), 'candidate')} after {count(result.position + 1, 'token')}"


@summary.register
def _(result: Step) -> str:
    told = (f"{result.token.text} at position {result.position}", _rank(result.rank), percent(result.p))
    return ", ".join((*told, result.origin))


@summary.register
def _(result: Sequence) -> str:
    said = _quoted(safe_line(result.text[: 2 * _QUOTED]))
    return f"{count(len(result.ids), 'token')}, {result.finish_reason}, {said}"


@summary.register
def _(result: Generation) -> str:
    texts = f"{len(result.sequences)} texts, the first: " if len(result.sequences) > 1 else ""
    return f"{texts}{summary(result.sequences[0])}"


@summary.register
def _(result: Account) -> str:
    gone = "stays" if result.removed is None else f"removed by {safe_line(result.removed.stage)}"
    return f"{result.token.text}, {gone}"


@summary.register
def _(result: Chain) -> str:
    return " → ".join(safe_line(stage.name) for stage in (*result.stages, result.selection))


@summary.register
def _(result: Settings) -> str:
    given = ", ".join(safe_line(row.name) for row in result.rows if row.source == "you")
    return f"{result.mode}{', with ' if given else ''}{given}"


@summary.register
def _(result: Score) -> str:
    return f"{count(len(result.columns.ids), 'token')}, {bits(result.bits)}"


@summary.register
def _(result: OptionScores) -> str:
    return f"{count(len(result.rows), 'option')}"


@summary.register
def _(result: Comparison) -> str:
    return f"{count(len(result.positions), 'position')}"


@summary.register
def _(result: Showcase) -> str:
    return ", ".join(safe_line(row.name) for row in result.rows)


@summary.register
def _(result: Tree) -> str:
    return count(sum(1 for _ in result), "place")


@summary.register
def _(result: Expansion) -> str:
    return f"{count(len(result.leaves), 'end')}, {percent(result.covered)} of the probability"


@summary.register
def _(result: Samples) -> str:
    return f"{count(len(result.leaves), 'text')}, drawn {sum(result.counts)} times"


@summary.register
def _(result: Play) -> str:
    return f"{count(len(result.steps), 'token')}, {safe_line(result.reason)}"


@summary.register
def _(result: SearchRecords) -> str:
    return f"{count(len(result), 'step')}"


@summary.register
def _(result: EngineInfo) -> str:
    return f"{safe_line(result.name)}, {safe_line(result.family)}"
