"""The key/value cache as a token tree: one store for all nodes, one dense window for those that run.

The attention operator reads every slot of the buffers it is given, masked or not. So the tree lives in a
*store* (rows in blocks of 256: growing it copies nothing), and a *window* holds the slots the operator sees:
the ancestors of the running prefixes, in order of creation, so that an ancestor always stands before its
descendants. A fork shares its prefix and copies nothing. Knows nothing about models or ONNX.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
HIDDEN = np.float32(-1e30)  # added to the score of a slot that may not be seen; exp() of it is exactly 0
STORE_BLOCK = 256
FIRST_WINDOW = 256


class Node:
    """One token in its place: the path from the root is a prefix.

    Attributes:
        depth: position of the token, from 0; -1 for the root and for an evicted node.
        order: when it was computed; larger than its parent's.
        slot: its place in the window, or -1.
        row: its place in the store, or -1.
        hidden: (D,) normalised hidden state, from which its logits are made; None until computed.
        root: of the tree it belongs to, so that a handle of another engine is recognised.
    """

    __slots__ = ("children", "depth", "hidden", "order", "parent", "root", "row", "slot", "token", "used")

    def __init__(self, token: int, parent: Node | None) -> None:
        self.token = token
        self.parent = parent
        self.root: Node = self if parent is None else parent.root
        self.depth: int = -1 if parent is None else parent.depth + 1
        self.children: dict[int, Node] = {}
        self.order = 0
        self.slot = -1
        self.row = -1
        self.used = 0
        self.hidden: Floats | None = None

    @property
    def computed(self) -> bool:
        """Whether its keys and values exist."""
        return self.slot >= 0 or self.row >= 0

    def path(self) -> list[Node]:
        """The nodes from position 0 to this one."""
        nodes: list[Node] = []
        node: Node | None = self
        while node is not None and node.depth >= 0:
            nodes.append(node)
            node = node.parent
        nodes.reverse()
        return nodes


class Window:
    """Buffers that the attention operator reads and writes, one slot a token.

    Attributes:
        keys_values: (2 * layers, 1, kv_heads, capacity, head) float32; even entries keys, odd ones values.
        nodes: the node in each used slot; None where it was evicted.
    """

    def __init__(self, layers: int, kv_heads: int, head: int, capacity: int = FIRST_WINDOW) -> None:
        self._shape = (2 * layers, 1, kv_heads, head)
        self.nodes: list[Node | None] = []
        self.keys_values = self._buffers(capacity)

    @property
    def capacity(self) -> int:
        """Slots there are."""
        return int(self.keys_values.shape[3])

    def _buffers(self, capacity: int) -> Floats:
        planes, one, heads, head = self._shape
        return np.zeros((planes, one, heads, capacity, head), dtype=np.float32)

    def reserve(self, slots: int) -> None:
        """Make room for `slots` in all; capacity doubles, so a long text copies each slot about once."""
        if slots <= self.capacity:
            return
        used = len(self.nodes)
        grown = self._buffers(max(slots, 2 * self.capacity))
        grown[:, :, :, :used] = self.keys_values[:, :, :, :used]
        self.keys_values = grown

    def append(self, nodes: Iterable[Node]) -> None:
        """Give nodes the next slots."""
        for node in nodes:
            node.slot = len(self.nodes)
            self.nodes.append(node)

    def visible(self, node: Node, width: int) -> Floats:
        """(width,) additive bias that admits the ancestors of a node and itself."""
        row = np.full(width, HIDDEN, dtype=np.float32)
        slots = [n.slot for n in node.path()]
        row[slots] = 0.0
        return row


class Store:
    """Keys and values of nodes outside the window, one row a node."""

    def __init__(self, layers: int, kv_heads: int, head: int) -> None:
        self._row = (2 * layers, kv_heads, head)
        self._blocks: list[Floats] = []
        self._free: list[int] = []

    @property
    def rows(self) -> int:
        """Rows that memory is held for."""
        return len(self._blocks) * STORE_BLOCK

    @property
    def free_rows(self) -> int:
        """Rows that can be filled without more memory."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """Free rows, more memory where there are too few."""
        while len(self._free) < count:
            start = self.rows
            self._blocks.append(np.empty((STORE_BLOCK, *self._row), dtype=np.float32))
            self._free.extend(range(start + STORE_BLOCK - 1, start - 1, -1))
        return [self._free.pop() for _ in range(count)]

    def release(self, row: int) -> None:
        """Give a row back."""
        self._free.append(row)

    def save(self, window: Window, nodes: Sequence[Node]) -> None:
        """Copy nodes from the window into rows of their own."""
        for node, row in zip(nodes, self.take(len(nodes)), strict=True):
            block, place = divmod(row, STORE_BLOCK)
            self._blocks[block][place] = window.keys_values[:, 0, :, node.slot]
            node.row = row

    def load(self, window: Window, nodes: Sequence[Node], slots: Sequence[int]) -> None:
        """Copy nodes' rows into slots of the window."""
        places = np.array([node.row for node in nodes])
        target = np.asarray(slots)
        for block in np.unique(places // STORE_BLOCK):
            here = places // STORE_BLOCK == block
            rows = self._blocks[block][places[here] % STORE_BLOCK]  # (n, planes, heads, head)
            window.keys_values[:, 0, :, target[here]] = rows


class TokenTree:
    """Nodes by prefix, kept within a memory bound by forgetting the leaves unused for longest.

    Args:
        layers, kv_heads, head: of the cached keys and values.
        bound_bytes: what window and store may hold together. The prefixes that run are always kept: a single
            one longer than the bound exceeds it for as long as it runs.
    """

    def __init__(self, layers: int, kv_heads: int, head: int, bound_bytes: int) -> None:
        self.root = Node(-1, None)
        self._sizes = (layers, kv_heads, head)
        self.window = Window(*self._sizes)
        self.store = Store(*self._sizes)
        self.node_bytes = 2 * layers * kv_heads * head * 4
        self.bound_nodes = max(1, bound_bytes // self.node_bytes)
        self.count = 0
        self._wasted = 0
        self._pinned: set[int] = set()
        self._clock = itertools.count(1)
        self._order = itertools.count(1)

    @property
    def bytes(self) -> int:
        """Memory held for keys and values."""
        return (self.window.capacity + self.store.rows) * self.node_bytes

    # ------------------------------------------------------------- prefixes

    def find(self, ids: Sequence[int], hint: Node | None) -> Node:
        """The deepest computed node whose path is a leading part of `ids`."""
        node = self.root
        if hint is not None and self.owns(hint) and hint.depth < len(ids) and hint.token == ids[hint.depth]:
            node = hint
        while node.depth + 1 < len(ids):
            child = node.children.get(ids[node.depth + 1])
            if child is None or not child.computed:
                break
            node = child
        return node

    def owns(self, node: Node) -> bool:
        """Whether a handle is a living node of this tree, not an evicted one or another engine's."""
        return node.root is self.root and node.depth >= 0

    def grow(self, node: Node, ids: Sequence[int]) -> Node:
        """The node of the whole of `ids`, below `node`, creating what is missing (not computed yet)."""
        for token in ids[node.depth + 1 :]:
            child = node.children.get(token)
            if child is None:
                child = node.children[token] = Node(token, node)
                self.count += 1
            node = child
        return node

    def pin(self, leaves: Iterable[Node]) -> None:
        """Name the prefixes that run now: they are not evicted until the next call."""
        self._pinned = {id(leaf) for leaf in leaves}

    def touch(self, node: Node) -> None:
        """Mark a prefix as used now."""
        node.used = next(self._clock)

    def computed(self, nodes: Sequence[Node]) -> None:
        """Nodes whose keys and values were just written at the end of the window."""
        self.window.append(nodes)
        for node in nodes:
            node.order = next(self._order)

    def forget(self, nodes: Iterable[Node]) -> None:
        """Drop nodes that were created but never computed (an interrupted run)."""
        for node in nodes:
            if not node.computed and node.depth >= 0:
                self._drop(node)

    def _drop(self, node: Node) -> None:
        """Take a leaf out of the tree; its handle is dead."""
        if node.parent is not None:
            node.parent.children.pop(node.token, None)
        if node.slot >= 0:
            self.window.nodes[node.slot] = None
        if node.row >= 0:
            self.store.release(node.row)
        node.depth = node.slot = node.row = -1
        node.hidden = None
        self.count -= 1

    # --------------------------------------------------------------- window

    def window_of_its_own(self, capacity: int) -> Window:
        """An empty window outside the tree, for a text that is read once."""
        return Window(*self._sizes, capacity)

    def arrange(self, leaves: Sequence[Node], incoming: int) -> None:
        """Make the window hold the computed ancestors of `leaves`, with room for `incoming` slots.

        Slots of other branches are harmless, but the operator reads them: they are cleared out once as many
        have been read in vain as clearing costs, so that jumping to and fro does not copy at each step.
        """
        used = len(self.window.nodes)
        if not all(leaf.slot >= 0 or leaf is self.root for leaf in leaves) or self._is_wasteful(leaves, used):
            self._rebuild(leaves)
        self.window.reserve(len(self.window.nodes) + incoming)

    def _is_wasteful(self, leaves: Sequence[Node], used: int) -> bool:
        deepest = max(leaf.depth for leaf in leaves) + 1
        self._wasted += used - deepest
        if used <= 64 or self._wasted <= 2 * deepest:
            return False
        self._wasted = 0
        needed = {id(node) for leaf in leaves for node in leaf.path()}
        return 2 * used > 3 * len(needed)

    def _rebuild(self, leaves: Sequence[Node]) -> None:
        window, self._wasted = self.window, 0
        keep = {id(node): node for leaf in leaves for node in leaf.path()}
        leaving = [n for n in window.nodes if n is not None and id(n) not in keep]
        ordered = sorted(keep.values(), key=lambda node: node.order)
        self._make_room(sum(n.row < 0 for n in leaving), keep)
        leaving = [n for n in leaving if n.depth >= 0]
        self.store.save(window, [n for n in leaving if n.row < 0])
        for node in leaving:
            node.slot = -1
        window.reserve(len(ordered))
        self._place(ordered)

    def _place(self, ordered: Sequence[Node]) -> None:
        """Move nodes to slots 0, 1, 2 ... of the window."""
        window = self.window
        staying = [(new, node.slot) for new, node in enumerate(ordered) if node.slot >= 0]
        moved = [(new, old) for new, old in staying if new != old]
        if moved:
            new, old = (list(side) for side in zip(*moved, strict=True))
            window.keys_values[:, 0, :, new] = window.keys_values[:, 0, :, old]  # the right side is a copy
        coming = [(node, new) for new, node in enumerate(ordered) if node.slot < 0]
        if coming:
            self.store.load(window, [n for n, _ in coming], [slot for _, slot in coming])
        window.nodes = []
        window.append(ordered)

    # ------------------------------------------------------------- eviction

    def _make_room(self, rows: int, keep: dict[int, Node]) -> None:
        """Evict the leaves unused for longest until `rows` more fit below the bound."""
        in_use = self.store.rows - self.store.free_rows
        excess = in_use + rows + len(keep) - self.bound_nodes
        if excess <= 0:
            return
        # a tenth more than needed, so that a full cache is not scanned at each step
        goal = excess + self.bound_nodes // 10
        while goal > 0:
            leaves = [n for n in self._all() if not n.children and not self._is_kept(n, keep)]
            if not leaves:
                return
            leaves.sort(key=lambda node: node.used)
            for leaf in leaves[: max(1, goal)]:
                goal -= self._drop_chain(leaf, keep, goal)

    def _drop_chain(self, leaf: Node, keep: dict[int, Node], most: int) -> int:
        """Drop a leaf and the ancestors that it alone kept alive; returns how many."""
        dropped = 0
        node: Node | None = leaf
        while node is not None and dropped < most and node is not self.root:
            if node.children or self._is_kept(node, keep):
                break
            parent = node.parent
            self._drop(node)
            dropped, node = dropped + 1, parent
        return dropped

    def _is_kept(self, node: Node, keep: dict[int, Node]) -> bool:
        return id(node) in keep or id(node) in self._pinned

    def _all(self) -> Iterable[Node]:
        stack = list(self.root.children.values())
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())
