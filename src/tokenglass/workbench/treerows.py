"""The rows of a session's tree, each with the revision at which it became what it is.

A tree of thousands of places is megabytes of rows, and one key changes a handful. So a view names the
revision that it has, and is told what changed since; one that has none, or one that never was, is told all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import takewhile
from math import inf, log
from typing import TYPE_CHECKING

from tokenglass.types import Node
from tokenglass.views.trees import node_row
from tokenglass.workbench.params import JsonDict
from tokenglass.workbench.sessions import Held

if TYPE_CHECKING:
    from tokenglass.session import Session

_Told = tuple[str, int, int]  # name, number of notes and count that a row was made with


class TreeRows:
    """All places that were not pruned, as rows, in order of creation."""

    def __init__(self) -> None:
        self.revision = 0
        self._rows: dict[int, JsonDict] = {}
        self._told: dict[int, _Told] = {}
        self._logprobs: dict[int, float] = {}  # of the text up to each place
        self._path: set[int] = set()
        self._changed: OrderedDict[int, int] = (
            OrderedDict()
        )  # place -> revision of its last change, latest last

    @property
    def rows(self) -> Mapping[int, JsonDict]:
        """Node number -> its row."""
        return self._rows

    def bring_up_to(self, session: Session) -> None:
        """Take in whatever happened to the tree, by this view or by anybody else."""
        path = {node.id for node in session.node.lineage()}
        n_alive, changed = 0, dict.fromkeys(path ^ self._path)
        for node in session.tree:
            n_alive += 1
            told = (node.name, len(node.notes), node.count)
            if self._told.get(node.id) != told:
                self._make(node, told)
                changed[node.id] = None
        if n_alive < len(self._rows):
            changed |= dict.fromkeys(self._forget(session))
        self._path = path
        self._note(changed)

    def _make(self, node: Node, told: _Told) -> None:
        p = 1.0 if node.step is None else node.step.p_final
        assert p is not None  # the workbench takes no engine that leaves probabilities unknown
        above, depth = 0.0, 0
        if node.parent is not None:
            above, depth = self._logprobs[node.parent.id], self._rows[node.parent.id]["depth"] + 1
        logprob = above + (log(p) if p > 0.0 else -inf)
        row = node_row(node, logprob)
        row |= {"depth": depth, "ended": row.get("finish_reason") is not None}
        self._rows[node.id], self._told[node.id], self._logprobs[node.id] = row, told, logprob

    def _forget(self, session: Session) -> set[int]:
        """Rows of places that were pruned go; which they were."""
        gone = self._rows.keys() - {node.id for node in session.tree}
        for node_id in gone:
            del self._rows[node_id], self._told[node_id], self._logprobs[node_id]
        return gone

    def _note(self, changed: Mapping[int, None]) -> None:
        if not changed:
            return
        self.revision += 1
        for node_id in changed:
            if node_id in self._rows:  # another row: who was answered with the old one keeps it as it was
                self._rows[node_id] = {**self._rows[node_id], "on_path": node_id in self._path}
            self._changed[node_id] = self.revision
            self._changed.move_to_end(node_id)

    def told(self, since: int | None) -> JsonDict:
        """The rows that are new or other since a revision, and the places that are gone.

        Args:
            since: None, or a revision that there was not yet, stands for a view that has nothing.
        """
        if since is None or since > self.revision:
            return self._as_told(None, list(self._rows.values()), [])
        later = takewhile(lambda found: found[1] > since, reversed(self._changed.items()))
        numbers = sorted(node_id for node_id, _ in later)  # as they were made: parents first
        rows = [self._rows[node_id] for node_id in numbers if node_id in self._rows]
        return self._as_told(since, rows, [node_id for node_id in numbers if node_id not in self._rows])

    def _as_told(self, since: int | None, rows: list[JsonDict], gone: list[int]) -> JsonDict:
        return {
            "revision": self.revision,
            "since": since,
            "n_nodes": len(self._rows),
            "nodes": rows,
            "gone": gone,
        }


def tree_of(held: Held) -> TreeRows:
    """The rows of a session's tree as it is now."""
    found: TreeRows = held.kept.setdefault("tree", TreeRows())
    found.bring_up_to(held.session)
    return found
