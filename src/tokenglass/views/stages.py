"""What a chain did: one row for each stage, and one token's way through all of them.

Knows records of stages, not how they came about.
"""

from __future__ import annotations

from tokenglass.text import safe_line
from tokenglass.types import Account, NextTokens, Stage, Step, Vocabulary
from tokenglass.views.blocks import Block, Column, Line, Row, Table
from tokenglass.views.figures import bits, count, ordinal, percent
from tokenglass.views.reasons import fallen
from tokenglass.views.values import numbers, parameters

NAME = Column("name", "stage")
_COLUMNS = (
    NAME,
    Column("alive", "alive", "right", keep=8),
    Column("removed", "removed", "right", keep=4),
    Column("kept", "mass kept", "point", keep=7, short="kept"),
    Column("bits", "entropy", "point", keep=5),
    Column("token", "favourite", short="best"),
)


def stage_blocks(result: NextTokens | Step) -> tuple[Block, ...]:
    """A heading and the table of the stages; a sentence where no stage ran."""
    if len(result.stages) < 2:
        return (Line("no stage: the model's own distribution was used as it is", "sentence"),)
    return (
        Line("what each stage of the chain did", "heading"),
        stage_table(result.stages, result.vocabulary),
    )


def stage_table(stages: tuple[Stage, ...], vocabulary: Vocabulary) -> Table:
    """One row for each stage, the model first; below it its parameters and the numbers it noted."""
    table_rows = tuple(_stage_row(stage, index == 0, vocabulary) for index, stage in enumerate(stages))
    return Table(_COLUMNS, table_rows, notes="parameters and numbers of its own")


def _stage_row(stage: Stage, first: bool, vocabulary: Vocabulary) -> Row:
    token = None if stage.argmax < 0 else vocabulary.token(stage.argmax)
    cells = {
        "name": safe_line(stage.name),
        "alive": f"{stage.alive:,}",
        "removed": "–" if first else f"{stage.removed:,}",
        "kept": "–" if first else percent(stage.mass_kept),
        "bits": bits(stage.entropy_bits),
        "token": "none" if token is None else token.text,
    }
    many = "all scores" if stage.changed == stage.alive > 1 else count(stage.changed, "score")
    rescored = f"{many} changed" if stage.changed else ""
    notes = [parameters(stage.params), rescored, numbers(stage.facts)]
    return Row(cells | {"note": " · ".join(filter(None, notes))})


def account_blocks(account: Account) -> tuple[Block, ...]:
    """One token's way: a row for each stage, and what became of it in a sentence."""
    columns = (
        NAME,
        Column("rank", "rank", "right", keep=5),
        Column("score", "score", "point", keep=4),
        Column("p", "probability", "point", short="p"),
    )
    table_rows = tuple(
        Row(
            {
                "name": safe_line(effect.stage),
                "rank": "–" if effect.rank is None else f"{effect.rank:,}",
                "score": "–" if effect.rank is None else f"{effect.score:.2f}",
                "p": percent(effect.p),
            },
            effect.p,
            "rest" if effect.rank is None else "",
            {"p": effect.p},
        )
        for effect in account.effects
    )
    return (
        Line(f"token {account.token.id}: ", "heading", tail=account.token.text),
        Table(columns, table_rows, bars=True),
        Line(fate(account), "sentence"),
    )


def fate(account: Account) -> str:
    """What became of a token, in one sentence."""
    if account.removed is not None:
        return f"{fallen(account.removed)}."
    first, last = account.effects[0], account.effects[-1]
    if len(account.effects) == 1:
        return f"no stage touched it: {ordinal(last.rank or 0)} with {percent(last.p)}."
    return (
        f"kept: {ordinal(last.rank or 0)} with {percent(last.p)}, "
        f"was {ordinal(first.rank or 0)} with {percent(first.p)} by the model."
    )
