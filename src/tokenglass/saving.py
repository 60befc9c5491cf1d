"""Keeping a session: saved with all it holds, every later move on the disk before it counts, opened again.

A trace is only read here: no model, path or URL that it names is loaded. The model comes from the caller, or
is one in the cache whose weights have the recorded checksum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenglass.asking import cut
from tokenglass.errors import TraceError
from tokenglass.replaying import Writers
from tokenglass.session import Session
from tokenglass.stages.ledger import Ledger
from tokenglass.text import safe_line
from tokenglass.traces import Header, Journal, Other, Trace, tree_of
from tokenglass.traces.reading import without_collector
from tokenglass.treewriter import TreeWriter
from tokenglass.types import EngineInfo, Node, Tree
from tokenglass.version import __version__

if TYPE_CHECKING:
    from tokenglass.model import Model


class Keeper:
    """Writes what a session does to its journal.

    Args:
        journal: open for writing.
        numbers: node id -> number in the journal; only the prompt's where None.
        main: what the session writes with.

    Attributes:
        session: whose moves are kept; those of its forks only leave their places.
    """

    def __init__(
        self, journal: Journal, numbers: Mapping[int, int] | None = None, main: TreeWriter | None = None
    ) -> None:
        self.journal = journal
        self.session: Any = None
        self._main = main
        self._numbers = {0: 0} if numbers is None else dict(numbers)

    def number(self, node: Node) -> int:
        """The number of a place in the journal; pruned branches of an earlier life are not in it."""
        return self._numbers[node.id]

    def knows(self, node: Node) -> bool:
        """Whether a place is in the journal."""
        return node.id in self._numbers

    def added(self, node: Node, *, stay: bool) -> None:
        """A place was made."""
        assert node.parent is not None and node.step is not None
        number = len(self._numbers)
        parent = self.number(node.parent)
        self.journal.step(number, parent, node.step, config=node.config, stay=stay)
        self._numbers[node.id] = number

    def stood(self, node: Node) -> None:
        """The session went to a place that was there."""
        self.journal.goto(self.number(node))

    def samples_at(self, node: Node) -> int:
        """How many draws the session whose moves are kept has made at a place."""
        return 0 if self.session is None else int(self.session.samples_at(node))

    def counted(self, node: Node, samples: int) -> None:
        """Draws were made at a place, or samples went through it."""
        self.journal.counts(self.number(node), samples, node.count)

    def set(self, writer: TreeWriter, by_fork: bool = False) -> None:
        """Keywords were changed; a fork's are written for its places, and the session's stay in force."""
        with self.journal.batch():
            self._write(writer)
            if by_fork and self._main is not None:
                self._write(self._main)
        if not by_fork:
            self._main = writer

    def _write(self, writer: TreeWriter) -> None:
        self.journal.set(writer.config, writer.given, writer.plan.config.to_dict())

    def named(self, node: Node, name: str) -> None:
        """A place is to be named."""
        self.journal.name(self.number(node), name)

    def noted(self, node: Node, note: str) -> None:
        """A note is to be written."""
        self.journal.note(self.number(node), note)

    def pruned(self, node: Node) -> None:
        """A branch is to be taken off."""
        self.journal.prune(self.number(node))


def save(session: Session, path: str | Path, *, replace: bool = False) -> None:
    """Write a session to a new file, whole, and go on with that file: every later move is kept as it is made.

    Args:
        session: with all its places, names and notes; what was pruned stays out.
        path: of the new file.
        replace: it may take the place of a file that is there.

    Raises:
        TraceError: there is a file and `replace` is off, somebody writes it, or it cannot be written.
    """
    tree, model = session.tree, session.model
    first = tree.configs[0]
    header = Header(
        model=model.info,
        prompt_ids=tree.prompt_ids,
        prompt_text=model.detokenize(tree.prompt_ids),
        tokenglass=__version__,
        config=TreeWriter.of(model, tree, first).plan.config.to_dict(),
        given=first,
    )
    keepers: list[Keeper] = []

    def fill(journal: Journal) -> None:
        keeper = Keeper(journal)
        keepers.append(keeper)
        for given in tree.configs[1:]:
            keeper.set(TreeWriter.of(model, tree, given))
        for node in tree:
            if node.parent is not None:
                keeper.added(node, stay=True)
            if node.name:
                keeper.named(node, node.name)
            for note in node.notes:
                keeper.noted(node, note)
            samples = session.samples_at(node)
            if samples or node.count:
                keeper.counted(node, samples)
        keeper.set(session.writer)
        keeper.stood(session.furthest())  # where redo leads
        keeper.stood(session.node)

    Journal.create(path, header, model.tokenizer, fill=fill, replace=replace)
    session.keep(keepers[0])


def open_session(path: str | Path, model: Model | None = None, **config: Any) -> Session:
    """A saved session as it was, ready to go on; what it does from now on is kept in the same file.

    Args:
        path: of the trace.
        model: that goes on; None takes one from the cache whose weights have the recorded checksum.
        **config: for keywords whose values cannot be written down, such as functions.

    Raises:
        TraceError: no trace, a newer schema, damage before its last line, another process writes it, or
            its model is not here or has other weights.
    """
    known = model or _cached(path)
    with without_collector():
        journal, trace = Journal.resume(path, known.tokenizer)
        try:
            return _opened(journal, trace, known, config)
        except BaseException:
            journal.__exit__()
            raise


def _opened(journal: Journal, trace: Trace, model: Model, config: Mapping[str, Any]) -> Session:
    _require_same(trace, model)
    tree = tree_of(trace, model.tokenizer)
    tree.configs = [{**given, **_restored(given, config, trace.name)} for given in tree.configs]
    given = {**trace.given, **_restored(trace.given, config, trace.name)}
    samples = {node.id: node.samples for node in trace.nodes if node.samples}
    redo = [number for number in trace.redo.values() if not trace.nodes[number].pruned]
    session = Session.of(model, tree, given, samples, redo)
    here = trace.here
    while here.pruned and here.parent is not None:
        here = here.parent
    session.stand(tree.node(here.id))
    _give_voice(model, tree)
    session.keep(Keeper(journal, {node.id: node.id for node in trace.nodes}, session.writer))
    return session


def _give_voice(model: Model, tree: Tree) -> None:
    """Let every step that was read be asked about any token, as one that was just written can."""
    writers = Writers(model, tree)

    def asking(node: Node, parent: Node) -> Callable[[], Ledger]:
        def ask() -> Ledger:
            writer = writers.of(node)
            (reading,) = writer.read([parent])
            return cut(writer.reader, reading, writer.plan.selector, writer.selector_state(parent))

        return ask

    for node in tree:
        if node.step is not None and node.parent is not None:
            node.step = dataclasses.replace(node.step, reread=asking(node, node.parent))


def _restored(given: Mapping[str, Any], config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Values that were only named in the trace, from the caller."""
    missing = [key for key, value in given.items() if _unwritten(value) and key not in config]
    if missing:
        raise TraceError(
            f"{safe_line(name)} names {missing[0]} but cannot hold it; "
            f"give it: open_session(path, {missing[0]}=...)"
        )
    return {key: config[key] for key in given if key in config}


def _unwritten(value: Any) -> bool:
    """Whether a value holds something that a file can only name."""
    if isinstance(value, list | tuple):
        return any(map(_unwritten, value))
    return isinstance(value, Other)


def _require_same(trace: Trace, model: Model) -> None:
    recorded, here = trace.header.model, model.info
    if (recorded.sha256, recorded.precision) != (here.sha256, here.precision):
        wrote, runs = _weights(recorded), _weights(here)
        raise TraceError(
            f"{safe_line(trace.name)} was written by {wrote}, not by {runs}; "
            "give that model, or replay it to compare"
        )


def _weights(info: EngineInfo) -> str:
    return f"{safe_line(info.name)} ({info.precision}, sha256 {info.sha256[:12] or 'none'})"


def _cached(path: str | Path) -> Model:
    """A model that lies here, by the checksum of its weights; a name in a file never loads anything."""
    from tokenglass import models, traces
    from tokenglass.loading import as_recorded, load

    recorded = traces.read(path).header.model
    for row in models.listing():
        if row.present and row.sha256 and row.sha256 == recorded.sha256:
            return load(row.name, **as_recorded(recorded))
    raise TraceError(
        f"the model of this trace, {_weights(recorded)}, is not in the cache; "
        "give it: open_session(path, model=...)"
    )
