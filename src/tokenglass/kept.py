"""What a session tells its file: every move is kept before it counts. Knows nothing of models and choices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenglass.types import Node, Tree

if TYPE_CHECKING:
    from tokenglass.saving import Keeper


class Kept:
    """The part of a session that keeps it: a tree, perhaps a file, and how often was drawn where."""

    tree: Tree
    node: Any

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._keeper: Keeper | None = None
        self._is_fork = False
        self._samples: dict[int, int] = {}

    def save(self, path: str | Path, *, replace: bool = False) -> None:
        """Write everything to a new file and go on with it: each move is on the disk before it counts.

        Raises:
            TraceError: there is a file and `replace` is off, or it cannot be written.
        """
        from tokenglass.saving import save

        save(self, path, replace=replace)  # type: ignore[arg-type]

    def keep(self, keeper: Keeper) -> None:
        """From now on, tell a keeper of every move."""
        self._keeper = keeper

    def close(self) -> None:
        """Let go of the file; the session can go on, unkept."""
        if self._keeper is not None and not self._is_fork:
            self._keeper.journal.close()
        self._keeper = None

    def made(self, node: Node, *, stay: bool) -> Node:
        """A place that may be new is acknowledged: kept first, or taken back where it cannot be kept."""
        if self._keeper is not None and not self._keeper.knows(node):
            try:
                self._keeper.added(node, stay=stay or self._is_fork)
            except BaseException:
                self.tree.take_back(node)
                raise
        elif not stay:
            self._kept_place(node)
        return node

    def samples_at(self, node: Node) -> int:
        """How many different draws this session has made at a place."""
        return self._samples.get(node.id, 0)

    def _kept_place(self, moved: object) -> None:
        if moved is not None and self._keeper is not None and not self._is_fork:
            self._keeper.stood(self.node)

    def samples_drawn(self, at_least: int = 0) -> int:
        """How many different draws this session has made here; raised to `at_least`."""
        known = max(self._samples.get(self.node.id, 0), at_least)
        if known > self._samples.get(self.node.id, 0):
            self._samples[self.node.id] = known
        return known
