"""What was written, as columns: steps, strategies, trees and what grew on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenglass.types import Generation, Node, SessionState, Showcase, Step, Tree
from tokenglass.types import Sequence as Written
from tokenglass.types.growth import Expansion, Play, Samples
from tokenglass.types.sessions import ShowsItsState
from tokenglass.views.columns.base import Columns, columns, real, whole

_NUMBERS = ("logit", "logprob", "p", "p_final", "entropy_bits", "margin")


def steps(found: Sequence[Step | None]) -> Columns:
    """One row for each step; None, a tree's prompt, is a row of unknowns."""

    def each(name: str) -> list[Any]:
        return [None if step is None else getattr(step, name) for step in found]

    edges = [step.cdf if step is not None and step.cdf else (None, None) for step in found]
    tokens = [None if step is None else step.token for step in found]
    return {
        "position": whole(each("position")),
        "id": whole(None if token is None else token.id for token in tokens),
        "token": [None if token is None else token.text for token in tokens],
        "bytes": [None if token is None else token.bytes for token in tokens],
        "kind": [None if token is None else str(token.kind) for token in tokens],
        "text": each("text"),
        **{name: real(each(name)) for name in ("logit", "logprob", "p", "p_final", "entropy_bits", "margin")},
        "rank": whole(each("rank")),
        "origin": each("origin"),
        "draw": real(each("draw")),
        "cdf_low": real(low for low, _ in edges),
        "cdf_high": real(high for _, high in edges),
        "finish_reason": each("finish_reason"),
    }


@columns.register(Written)
@columns.register(Generation)
@columns.register(Play)
def _(result: Written | Generation | Play) -> Columns:
    return steps(result.steps)


@columns.register
def _(result: Showcase) -> Columns:
    written = [row.generation for row in result.rows]
    return {
        "strategy": [row.name for row in result.rows],
        "text": [None if each is None else each.text for each in written],
        "n_tokens": whole(None if each is None else len(each.ids) for each in written),
        "finish_reason": [None if each is None else each.finish_reason for each in written],
        "seconds": real(row.seconds for row in result.rows),
        "parts_at": whole(None if row.parting is None else row.parting.index for row in result.rows),
        "reason": [row.reason or None for row in result.rows],
    }


@columns.register
def _(result: Tree) -> Columns:
    nodes, depths = list(result), dict[int, int]()
    for node in nodes:  # a place is younger than the one before it
        depths[node.id] = 0 if node.parent is None else depths[node.parent.id] + 1
    return {
        "node": whole(node.id for node in nodes),
        "parent": whole(None if node.parent is None else node.parent.id for node in nodes),
        "depth": whole(depths.values()),
        **steps([node.step for node in nodes]),
        "count": whole(node.count for node in nodes),
        "config": whole(node.config for node in nodes),
        "name": [node.name or None for node in nodes],
        "notes": ["\n".join(node.notes) or None for node in nodes],
    }


@columns.register(SessionState)
@columns.register(ShowsItsState)
def _(result: Any) -> Columns:
    return columns(result.tree)


@columns.register
def _(result: Expansion) -> Columns:
    return {**_ends(result.node, result.leaves), "p": real(result.probabilities)}


@columns.register
def _(result: Samples) -> Columns:
    return {**_ends(result.node, result.leaves), "count": whole(result.counts)}


def _ends(start: Node, leaves: Sequence[Node]) -> Columns:
    skip = len(start.steps())
    written = [leaf.steps()[skip:] for leaf in leaves]
    return {
        "node": whole(leaf.id for leaf in leaves),
        "text": ["".join(step.text for step in line) for line in written],
        "n_tokens": whole(map(len, written)),
        "finish_reason": [line[-1].finish_reason if line else None for line in written],
    }
