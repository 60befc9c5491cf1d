"""Which nodes of the tree a prefix consists of: its last ones, those not computed, those new ones hang on."""

from __future__ import annotations

from collections.abc import Iterable

from tokenglass.engines.cache import Node


def tail(node: Node, count: int) -> list[Node]:
    """The last `count` nodes of the path to a node, oldest first."""
    nodes: list[Node] = []
    here: Node | None = node
    while here is not None and here.depth >= 0 and len(nodes) < count:
        nodes.append(here)
        here = here.parent
    nodes.reverse()
    return nodes


def fresh(leaf: Node) -> list[Node]:
    """The nodes on the path to a leaf that are not computed, oldest first."""
    nodes: list[Node] = []
    node: Node | None = leaf
    while node is not None and node.depth >= 0 and not node.computed:
        nodes.append(node)
        node = node.parent
    nodes.reverse()
    return nodes


def parents(nodes: Iterable[Node]) -> list[Node]:
    """The computed nodes that new ones hang on, each once."""
    inside = list(nodes)
    new = {id(node) for node in inside}
    parents = {id(n.parent): n.parent for n in inside if n.parent is not None and id(n.parent) not in new}
    return list(parents.values())
