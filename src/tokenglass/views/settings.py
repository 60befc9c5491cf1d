"""A configuration as people see it: the keywords that act, with where each came from.

Teaches `layout.blocks` and `rows.to_dict` the type `Settings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenglass.text import safe_line
from tokenglass.types.settings import Setting, Settings
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Fold, Line, Row, Table
from tokenglass.views.figures import count
from tokenglass.views.layout import blocks
from tokenglass.views.values import shown

_COLUMNS = (
    Column("name", "keyword"),
    Column("value", "value"),
    Column("source", "where it came from", keep=5, short="from"),
)


@blocks.register
def _(result: Settings) -> tuple[Block, ...]:
    mode = safe_line(result.mode).replace("_", " ")
    chosen = [row for row in result.rows if row.source != "default"]
    others = [row for row in result.rows if row.source == "default"]
    left_out = {"no effect here": result.no_effect, "passed over": result.passed_over}
    said = [f"{what}: {', '.join(map(safe_line, names))}" for what, names in left_out.items() if names]
    return (
        Line(f"{mode}, by the rules of {safe_line(result.preset)}", "heading"),
        *([_table(chosen)] if chosen else []),
        *(Line(each, "sentence") for each in said),
        *([Fold(f"{count(len(others), 'keyword')} at the default", (_table(others),))] if others else []),
    )


def _table(rows_: Sequence[Setting]) -> Table:
    drawn = (
        Row({"name": safe_line(row.name), "value": shown(row.value), "source": safe_line(row.source)})
        for row in rows_
    )
    return Table(_COLUMNS, tuple(drawn))


@rows.to_dict.register
def _(result: Settings) -> dict[str, Any]:
    return {
        "mode": result.mode,
        "preset": result.preset,
        "settings": [
            {"name": row.name, "value": rows.plain(row.value), "source": row.source} for row in result.rows
        ],
        "no_effect": list(result.no_effect),
        "passed_over": list(result.passed_over),
    }
