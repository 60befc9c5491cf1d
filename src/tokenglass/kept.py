"""What a session tells its file: every move is kept before it counts. Knows nothing of models and choices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenglass.types import Node, Tree

if TYPE_CHECKING:
    from tokenglass.saving import Keeper


class Kept:
    """The part of a session that keeps it: a tree, perhaps a file, and how often was drawn where.

    A session and its forks share the file as they share the tree; the moves in it are the session's own.

    Attributes:
        watchers: told after each change that this session made; a fork begins with none.
    """

    watchers: tuple[Callable[[], None], ...] = ()

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._file: list[Keeper | None] = [None]  # one entry, shared by forks
        self._samples: dict[int, int] = {}

    @property
    def node(self) -> Node:
        """The place in the tree where the session stands."""
        return self.tree.root

    def save(self, path: str | Path, *, replace: bool = False) -> None:
        """Write everything to a new file and go on with it: each move is on the disk before it counts.

        Raises:
            TraceError: there is a file and `replace` is off, or it cannot be written.
        """
        from tokenglass.saving import save

        save(self, path, replace=replace)  # type: ignore[arg-type]

    def hand_out(self, path: str | Path) -> None:
        """Write one HTML file that shows all of this in any browser, without a model and without a network.

        Raises:
            TraceError: it cannot be written.
        """
        from tokenglass import handout

        handout.write(handout.of_session(self), path)  # type: ignore[arg-type]

    def keep(self, keeper: Keeper) -> None:
        """From now on, tell a keeper of every move; an earlier file is let go."""
        earlier, self._file[0], keeper.session = self._file[0], keeper, self
        if earlier is not None:
            earlier.journal.close()

    def close(self) -> None:
        """Let go of the file, where it is this session's; it and its forks can go on, unkept."""
        keeper = self._file[0]
        if keeper is not None and self._is_told():
            self._file[0] = None
            keeper.journal.close()

    def _is_told(self) -> bool:
        """Whether the moves in the file are this session's."""
        keeper = self._file[0]
        return keeper is not None and keeper.session is self

    def name(self, text: str, node: Node | int | str | None = None) -> Node:
        """Give a place, or the one here, a name to go back to; "" takes it away.

        Raises:
            ValueError: another place has that name, or no such place.
        """
        place = self._place(node)
        taken = [each.id for each in self.tree if text and each.name == text and each is not place]
        if taken:
            raise ValueError(f"name {text!r} belongs to node {taken[0]}; take another")
        self._tell("named", place, str(text))
        place.name = str(text)
        self.changed()
        return place

    def note(self, text: str, node: Node | int | str | None = None) -> Node:
        """Write a note on a place, or the one here."""
        place = self._place(node)
        self._tell("noted", place, str(text))
        place.notes.append(str(text))
        self.changed()
        return place

    def prune(self, node: Node | int | str | None = None) -> int:
        """Take a place, or the one here, off with all that follows it; returns how many places went.

        A session that stood there goes to the place before.

        Raises:
            ValueError: the prompt, or no such place.
        """
        place = self._place(node)
        if place.parent is None:
            raise ValueError("the prompt cannot be pruned; node must be above 0")
        self._tell("pruned", place)
        n_pruned = self.tree.prune(place)
        self.changed()
        return n_pruned

    def made(self, node: Node, *, stay: bool) -> Node:
        """Acknowledge a place that may be new: kept first, or taken back where it cannot be kept.

        Args:
            node: the place.
            stay: nobody goes there.
        """
        keeper = self._file[0]
        if keeper is None:
            return node
        if keeper.knows(node):
            if not stay:
                self._tell_place(node)
            return node
        try:
            keeper.added(node, stay=stay or not self._is_told())
        except BaseException:
            self.tree.take_back(node)
            raise
        return node

    def samples_at(self, node: Node) -> int:
        """How many different draws this session has made at a place."""
        return self._samples.get(node.id, 0)

    def samples_drawn(self, at_least: int = 0) -> int:
        """How many different draws this session has made here; raised to `at_least`."""
        node: Node = self.node
        known = self._samples.get(node.id, 0)
        if at_least > known:
            # the step of a first draw says that it was one, unless it leads to a place that is there
            if (at_least > 1 or node.children) and self._is_told():
                self._tell("counted", node, at_least)
            known = self._samples[node.id] = at_least
        return known

    def counts_changed(self, nodes: Iterable[Node]) -> None:
        """Samples went through these places."""
        keeper = self._file[0]
        if keeper is not None:
            with keeper.journal.batch():
                for node in nodes:
                    keeper.counted(node, keeper.samples_at(node))

    def changed(self) -> None:
        """Tell the watchers; called once a change is kept and counts."""
        for watcher in self.watchers:
            watcher()

    def _tell(self, event: str, *facts: Any) -> None:
        if self._file[0] is not None:
            getattr(self._file[0], event)(*facts)

    def _tell_place(self, node: Node) -> None:
        if self._is_told():
            self._tell("stood", node)

    def _place(self, node: Node | int | str | None) -> Node:
        if node is None:
            return self.node
        found = self.tree.node(node.id if isinstance(node, Node) else node)
        if isinstance(node, Node) and node is not found:
            raise ValueError(f"node {node.id} belongs to another session's tree; give one of this tree")
        return found
