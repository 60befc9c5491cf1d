"""What was written, as columns: steps, strategies, trees and what grew on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tokenglass.types import Generation, Node, SessionState, Showcase, Step, Tree
from tokenglass.types import Sequence as Written
from tokenglass.types.growth import Expansion, Play, Samples
from tokenglass.types.shown import ShowsItsState
from tokenglass.views.columns.base import Blobs, Columns, Texts, columns, count, real, whole
from tokenglass.views.values import parameters

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
        "token": Texts([None if token is None else token.text for token in tokens]),
        "bytes": Blobs([None if token is None else token.bytes for token in tokens]),
        "kind": Texts([None if token is None else token.kind for token in tokens]),
        "text": Texts(each("text")),
        **{name: real(each(name)) for name in _NUMBERS},
        "rank": whole(each("rank")),
        "origin": Texts(each("origin")),
        "draw": real(each("draw")),
        "cdf_low": real(low for low, _ in edges),
        "cdf_high": real(high for _, high in edges),
        "finish_reason": Texts(each("finish_reason")),
    }


@columns.register(Written)
@columns.register(Play)
def _(result: Written | Play) -> Columns:
    return steps(result.steps)


@columns.register
def _(result: Generation) -> Columns:
    lengths = [len(each.steps) for each in result.sequences]
    return {
        "sequence": np.repeat(np.arange(len(lengths), dtype=np.int64), lengths),
        **steps([step for each in result.sequences for step in each.steps]),
    }


@columns.register
def _(result: Showcase) -> Columns:
    written = [row.generation for row in result.rows]
    return {
        "strategy": Texts([row.name for row in result.rows]),
        "keywords": Texts([parameters(row.keywords) for row in result.rows]),
        "text": Texts([None if each is None else each.text for each in written]),
        "n_tokens": whole(None if each is None else len(each.ids) for each in written),
        "finish_reason": Texts([None if each is None else each.finish_reason for each in written]),
        "seconds": real(row.seconds for row in result.rows),
        "parts_at": whole(None if row.parting is None else row.parting.index for row in result.rows),
        "reason": Texts([row.reason or None for row in result.rows]),
    }


@columns.register
def _(result: Tree) -> Columns:
    nodes, depths = list(result), dict[int, int]()
    for node in nodes:  # a place is younger than the one before it
        depths[node.id] = 0 if node.parent is None else depths[node.parent.id] + 1
    return {
        "node": count(node.id for node in nodes),
        "parent": whole(None if node.parent is None else node.parent.id for node in nodes),
        "depth": count(depths.values()),
        **steps([node.step for node in nodes]),
        "count": count(node.count for node in nodes),
        "config": count(node.config for node in nodes),
        "name": Texts([node.name or None for node in nodes]),
        "notes": Texts(["\n".join(node.notes) or None for node in nodes]),
    }


@columns.register
def _(result: SessionState) -> Columns:
    return columns(result.tree)


@columns.register
def _(result: ShowsItsState) -> Columns:
    """A session's rows are its tree's, for which its model need not be asked what comes next."""
    tree = getattr(result, "tree", None)
    return columns(result.state if tree is None else tree)


@columns.register
def _(result: Expansion) -> Columns:
    return {**_ends(result.node, result.leaves), "p": real(result.probabilities)}


@columns.register
def _(result: Samples) -> Columns:
    return {**_ends(result.node, result.leaves), "count": count(result.counts)}


def _ends(start: Node, leaves: Sequence[Node]) -> Columns:
    skip = len(start.steps())
    written = [leaf.steps()[skip:] for leaf in leaves]
    return {
        "node": count(leaf.id for leaf in leaves),
        "text": Texts(["".join(step.text for step in line) for line in written]),
        "n_tokens": count(map(len, written)),
        "finish_reason": Texts([line[-1].finish_reason if line else None for line in written]),
    }
