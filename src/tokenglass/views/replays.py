"""What came of writing a trace again: a verdict, the numbers behind it, and what computed then and now.

Teaches `layout.blocks` and `rows.to_dict` the type `Replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenglass.text import safe_line, safe_message
from tokenglass.types.replays import Difference, Replay
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Line, Row, Table
from tokenglass.views.figures import count, significant
from tokenglass.views.layout import blocks
from tokenglass.views.values import shown

_COLUMNS = (Column("name", ""), Column("then", "then", keep=8), Column("now", "now"))
_PACKAGES = {"onnx": "onnxruntime"}  # engine -> the package whose version decides its numbers


@blocks.register
def _(result: Replay) -> tuple[Block, ...]:
    found: list[Block] = [Line(verdict(result), "heading")]
    if result.first_difference is not None and result.first_difference is not result.first_mismatch:
        found.append(Line(f"the first difference: {difference(result.first_difference)}", "sentence"))
    if result.largest:
        largest = significant(result.largest)
        found.append(Line(f"largest difference {largest} · tolerance {result.tolerance:g}", "facts"))
    names = dict.fromkeys((*result.recorded, *result.now))
    table_rows = tuple(_fact(name, result.recorded, result.now) for name in names)
    return (*found, Line("what computed", "heading"), Table(_COLUMNS, table_rows))


def verdict(result: Replay) -> str:
    """What came of it, in one sentence."""
    tokens = count(result.n_places, "token")
    if result.first_mismatch is not None:
        return (
            f"not the same: {difference(result.first_mismatch)}; {result.n_done:,} of {tokens} written again"
        )
    if not result.n_places:
        return "nothing to compare: no token was written"
    if result.identical:
        return f"the same to the last bit: {tokens}, with all their numbers"
    return f"the same: {tokens}, with all their numbers within {result.tolerance:g}"


def mismatch(result: Replay) -> str:
    """The first mismatch with both numbers and both engines, in one sentence; "" where all is the same."""
    found = result.first_mismatch
    if found is None:
        return ""
    then, now = _engine(result.recorded), _engine(result.now)
    return f"place {found.node}: {_what(found)}{_value(found.recorded)} with {then}, {_now(found)} with {now}"


def difference(found: Difference) -> str:
    """One number that came out otherwise, in one sentence."""
    apart = f", off by {significant(found.size)}" if found.size else ""
    return f"place {found.node}: {_what(found)}{_value(found.recorded)}, {_now(found)}{apart}"


def _what(found: Difference) -> str:
    return "wrote " if found.name in ("token", "error") else f"{safe_line(found.name)} was "


def _now(found: Difference) -> str:
    if found.name == "error":
        return f"fails now: {safe_message(str(found.now))}"
    return f"{'wrote' if found.name == 'token' else 'is'} {_value(found.now)}"


def _value(value: Any) -> str:
    """A number with all its digits, so that two that differ look different; a token's safe text as it is."""
    if value is None:
        return "nothing"
    return safe_message(value) if isinstance(value, str) else repr(value)


def _engine(facts: Mapping[str, Any]) -> str:
    """What computed, in a few words."""
    name = str(facts.get("engine", "an unknown engine"))
    package = _PACKAGES.get(name, "tokenglass")
    known = [facts.get("model"), facts.get("precision"), package, facts.get(package)]
    return f"{safe_line(name)} ({' '.join(safe_line(str(each)) for each in known if each)})"


def _fact(name: str, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Row:
    then, later = ("–" if facts.get(name) in (None, "") else _said(facts[name]) for facts in (recorded, now))
    return Row({"name": safe_line(name), "then": then, "now": later}, role="" if then == later else "chosen")


def _said(value: Any) -> str:
    """A fact in a cell: a text without quotes, a digest by its beginning."""
    if isinstance(value, str):
        return safe_line(value if len(value) < 64 else value[:12] + "…")
    return shown(value)


@rows.to_dict.register
def _(result: Replay) -> dict[str, Any]:
    names = ("identical", "equal", "n_places", "n_done", "largest", "tolerance", "recorded", "now")
    found = {"first_difference": result.first_difference, "first_mismatch": result.first_mismatch}
    plain: dict[str, Any] = rows.plain({name: getattr(result, name) for name in names} | found)
    return plain | {"verdict": verdict(result)}
