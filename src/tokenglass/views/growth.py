"""What came of growing a tree: the ends that were unfolded, the samples that were drawn, why a play stopped.

Teaches `layout.blocks` and `rows.to_dict` the types `Expansion`, `Samples` and `Play`.
"""

from __future__ import annotations

from typing import Any

from tokenglass.text import safe_line, safe_prose
from tokenglass.types import Node, Step
from tokenglass.types.growth import Expansion, Play, Samples
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Fold, Line, Prose, Row, Table
from tokenglass.views.candidates import tints
from tokenglass.views.figures import count, percent, together
from tokenglass.views.layout import blocks, steps_table
from tokenglass.views.trees import PLACE, TEXT, P

MOST_LEAVES = 20


@blocks.register
def _(result: Expansion) -> tuple[Block, ...]:
    stopped = _STOPPED.get(result.stopped, safe_line(result.stopped))
    facts = [count(len(result.leaves), "end"), count(result.n_new, "new place"), stopped]
    found = zip(result.leaves, result.probabilities, strict=True)
    table_rows = [_leaf_row(result.node, leaf, p) for leaf, p in found]
    return (
        Line(f"unfolded from place {result.node.id}: {percent(result.covered)} of all texts", "heading"),
        Line(" · ".join(facts), "facts"),
        *_leaves((PLACE, P, TEXT), table_rows),
    )


_STOPPED = {
    "depth": "as deep as asked for",
    "mass": "the probability asked for is covered",
    "p": "what follows is less likely than asked for",
    "limit": "as many places as asked for",
    "end": "every text has ended",
}


@blocks.register
def _(result: Samples) -> tuple[Block, ...]:
    pairs = sorted(zip(result.leaves, result.counts, strict=True), key=lambda pair: -pair[1])
    columns = (PLACE, Column("n", "drawn", "right", keep=8), P, TEXT)
    table_rows = [_leaf_row(result.node, leaf, _probability(result.node, leaf), n) for leaf, n in pairs]
    facts = [count(len(pairs), "different text"), count(result.n_new, "new place")]
    return (
        Line(f"{count(sum(result.counts), 'sample')} from place {result.node.id}", "heading"),
        Line(" · ".join(facts), "facts"),
        *_leaves(columns, table_rows),
    )


def _leaf_row(start: Node, leaf: Node, p: float | None, drawn: int = 0) -> Row:
    steps = _written(start, leaf)
    text = "│ ".join(step.token.text for step in steps) or "(nothing)"
    ended = steps[-1].finish_reason or "" if steps else ""
    cells = {"rank": str(leaf.id), "n": f"{drawn:,}", "p": percent(p), "token": text, "note": ended}
    return Row(cells, tints=tints(p=p))


def _leaves(columns: tuple[Column, ...], table_rows: list[Row]) -> tuple[Block, ...]:
    """The first ends in sight, the others under a fold."""
    if len(table_rows) <= MOST_LEAVES + 1:
        return (Table(columns, tuple(table_rows)),)
    first, others = table_rows[:MOST_LEAVES], table_rows[MOST_LEAVES:]
    folded = Fold(f"{len(others):,} more ends", (Table(columns, tuple(others)),))
    return Table(columns, tuple(first)), folded


def _written(start: Node, leaf: Node) -> list[Step]:
    """The steps from one place to another below it."""
    found: list[Step] = []
    for node in leaf.lineage():
        if node is start or node.step is None:
            break
        found.append(node.step)
    return found[::-1]


def _probability(start: Node, leaf: Node) -> float | None:
    """After the chain, given the place that one begins from."""
    return together(step.p_final for step in _written(start, leaf))


@blocks.register
def _(result: Play) -> tuple[Block, ...]:
    told = Line(f"stopped after {count(len(result.steps), 'token')}: {safe_line(result.reason)}", "sentence")
    if not result.steps:
        return (told,)
    text = safe_prose("".join(step.text for step in result.steps))
    return (told, Prose("", text), steps_table(result.steps))


@rows.to_dict.register
def _(result: Expansion) -> dict[str, Any]:
    pairs = zip(result.leaves, result.probabilities, strict=True)
    return {
        "node": result.node.id,
        "covered": result.covered,
        "n_new": result.n_new,
        "stopped": result.stopped,
        "leaves": [_leaf(result.node, leaf) | rows.plain({"p": p}) for leaf, p in pairs],
    }


@rows.to_dict.register
def _(result: Samples) -> dict[str, Any]:
    pairs = zip(result.leaves, result.counts, strict=True)
    return {
        "node": result.node.id,
        "n": sum(result.counts),
        "n_new": result.n_new,
        "leaves": [
            _leaf(result.node, leaf) | rows.plain({"p": _probability(result.node, leaf), "count": n})
            for leaf, n in pairs
        ],
    }


def _leaf(start: Node, leaf: Node) -> dict[str, Any]:
    steps = _written(start, leaf)
    return {
        "node": leaf.id,
        "ids": [int(step.id) for step in steps],
        "text": "".join(step.text for step in steps),
        "finish_reason": steps[-1].finish_reason if steps else None,
    }


@rows.to_dict.register
def _(result: Play) -> dict[str, Any]:
    return {
        "paused": result.paused,
        "reason": result.reason,
        "text": "".join(step.text for step in result.steps),
        "steps": [rows.to_dict(step) for step in result.steps],
    }
