"""Names and values, one pair a line: what `models` and `doctor` print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenglass.text import safe_line
from tokenglass.views.blocks import Column, Row, Table


def facts_table(facts: Iterable[tuple[str, Any]]) -> Table:
    """A table without titles; counts with thousands, truth as yes and no, lists joined, None as unknown."""
    rows = tuple(Row({"name": name, "token": safe_line(_shown(value))}) for name, value in facts)
    return Table((Column("name", ""), Column("token", "")), rows)


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none known"
    if isinstance(value, dict):
        return ", ".join(f"{name} {number or 'missing'}" for name, number in value.items())
    return str(value)
