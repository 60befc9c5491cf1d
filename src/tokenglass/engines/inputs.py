"""What the body graph reads for a run: embeddings, positions, rotary tables, and who may look at whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.engines.cache import HIDDEN, Node, Window
from tokenglass.engines.graph import padded_head, rotates_inside
from tokenglass.engines.weights import Weights

Floats = NDArray[np.float32]


class Inputs:
    """Makes the arrays of a run; see `graph` for their names and shapes.

    Args:
        weights: whose embeddings and numbers they are.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights, self._spec = weights, weights.spec
        self._tables: tuple[Floats, Floats] = (np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))

    def of(self, nodes: Sequence[Node], window: Window) -> Mapping[str, NDArray[Any]]:
        """All inputs but the cache for N nodes in the slots after the window's last one."""
        width = len(window.nodes) + len(nodes)
        depths = np.array([node.depth for node in nodes], dtype=np.int64)
        bias = visibility(nodes, window)
        inputs: dict[str, NDArray[Any]] = {
            "x": np.require(self.embedded(nodes), np.float32, ["C", "A"]),
            "bias": bias[None, None],
            "seqlens_k": np.array([width - 1], np.int32),
            "total": np.array([width], np.int32),
        }
        if self._spec.window is not None:
            inputs["bias_local"] = _local(bias, nodes, window, self._spec.window)[None, None]
        return inputs | self._rotary(depths, window.capacity)

    def embedded(self, nodes: Sequence[Node]) -> Floats:
        """(N, D) float32: token embeddings, plus position embeddings where the model learned them."""
        x = self._weights.embed(np.array([node.token for node in nodes], dtype=np.int64))
        if self._spec.rope is None:
            x = x + self._weights.positions(np.array([node.depth for node in nodes], dtype=np.int64))
        return x

    def _rotary(self, depths: NDArray[np.int64], capacity: int) -> dict[str, NDArray[Any]]:
        rope = self._spec.rope
        if rope is None:
            return {}
        if len(self._tables[0]) < capacity:
            self._tables = rope.tables(capacity)  # the operator wants a row for each slot
        cos, sin = self._tables
        if rotates_inside(self._spec, padded_head(self._spec)):
            return {"position_ids": depths[None], "cos": cos, "sin": sin}
        return {"cos_n": cos[depths][:, None], "sin_n": sin[depths][:, None]}


def visibility(nodes: Sequence[Node], window: Window) -> Floats:
    """(N, T) additive bias: 0 for a node's ancestors and itself, very negative elsewhere."""
    first = len(window.nodes)
    width = first + len(nodes)
    if nodes[0].depth == first and leading_line(nodes) == len(nodes):
        return np.zeros((len(nodes), width), np.float32)  # one straight line: the operator is causal
    bias = np.full((len(nodes), width), HIDDEN, np.float32)
    index = {id(node): i for i, node in enumerate(nodes)}
    for i, node in enumerate(nodes):
        parent = node.parent
        if parent is not None and parent.depth >= 0:
            row = index.get(id(parent))
            bias[i] = bias[row] if row is not None else window.visible(parent, width)
        bias[i, first + i] = 0.0
    return bias


def _local(bias: Floats, nodes: Sequence[Node], window: Window, reach: int) -> Floats:
    """The bias of layers with a sliding window: counted in depth, since slots are not positions."""
    held = [-1 if node is None else node.depth for node in window.nodes]
    depths = np.array([node.depth for node in nodes])
    slots = np.concatenate([np.array(held, dtype=np.int64), depths])
    return np.where(slots[None, :] <= depths[:, None] - reach, HIDDEN, bias)


def leading_line(nodes: Sequence[Node]) -> int:
    """How many of the first nodes stand in one line, each the child of the one before."""
    count = 1
    while count < len(nodes) and nodes[count].parent is nodes[count - 1]:
        count += 1
    return count
