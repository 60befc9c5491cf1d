"""A chain as a table: what runs in which order, every value with where it came from, and the same as code."""

from __future__ import annotations

from tokenglass.text import safe_line, safe_prose
from tokenglass.types import Chain, ChainStage
from tokenglass.views.blocks import Block, Code, Column, Line, Row, Table
from tokenglass.views.values import parameters, shown

_SOURCES = {"preset": "preset default"}
_COLUMNS = (
    Column("rank", "#", "right"),
    Column("token", "stage"),
    Column("value", "value (where it came from)", keep=8, short="value"),
)


def chain_blocks(chain: Chain) -> tuple[Block, ...]:
    """A heading, the stages in order, who picks the token, what has no effect, warnings, and code."""
    table_rows = [_row(str(number), stage) for number, stage in enumerate(chain.stages, start=1)]
    found: list[Block] = [
        Line(
            f"{safe_line(chain.mode).replace('_', ' ')}, by the rules of {safe_line(chain.preset)}", "heading"
        ),
        Table(_COLUMNS, (*table_rows, _row("→", chain.selection)), notes="parameters · source"),
        Line(f"→ picks the token from {_left(len(chain.stages))}", "facts"),
    ]
    if chain.no_effect:
        found.append(Line(f"no effect here: {', '.join(map(safe_line, chain.no_effect))}", "sentence"))
    found += [Line(f"warning: {safe_line(text)}", "sentence") for text in chain.warnings]
    if chain.code:
        lines = tuple(safe_prose(chain.code).split("\n"))
        found += [Line("the same in transformers", "heading"), Code(lines)]
    return tuple(found)


def _row(number: str, stage: ChainStage) -> Row:
    values = ", ".join(
        f"{safe_line(name)}={shown(value)} ({safe_line(_SOURCES.get(source, source))})"
        for name, (value, source) in stage.sources.items()
    )
    known = {name: value for name, (value, _) in stage.sources.items()}
    own = {k: v for k, v in stage.params.items() if k not in known or known[k] != v}
    notes = [parameters(own), safe_line(stage.paper)]
    cells = {"rank": number, "token": safe_line(stage.name), "value": values or "–"}
    return Row(cells | {"note": " · ".join(filter(None, notes))})


def _left(n: int) -> str:
    return (
        "what the stages leave" if n > 1 else "what the stage leaves" if n else "the model's own distribution"
    )
