"""Writing a trace: every event that was acknowledged is on the disk, whatever happens next.

An event is acknowledged when the method that writes it returns. The file is JSON Lines, schema
`tokenglass.trace/1` (`trace.schema.json`): a header, then events numbered from 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenglass.errors import TraceError
from tokenglass.files.tensors import shown
from tokenglass.traces.header import Header, encode_header, encode_members
from tokenglass.traces.lines import Budget, write_line
from tokenglass.traces.reading import Trace, parse
from tokenglass.traces.steps import Definitions, encode_step
from tokenglass.traces.storage import AppendFile
from tokenglass.types import Step, Vocabulary


class Journal:
    """A trace open for writing, by one process at a time; `create` or `resume` one.

    Usable with `with`, which lets go of the file at the end. Node and keyword numbers are checked, so that no
    event is written that cannot be read.
    """

    def __init__(self, file: AppendFile) -> None:
        self._file, self._known, self._budget = file, Definitions(), Budget()
        self._number = 0
        self._n_nodes, self._n_configs = 1, 1
        self._sync = True

    @classmethod
    def create(
        cls,
        path: str | Path,
        header: Header,
        vocabulary: Vocabulary,
        *,
        fill: Callable[[Journal], None] | None = None,
        replace: bool = False,
    ) -> Journal:
        """Begin a trace; the file appears whole, with all that `fill` writes, or not at all.

        Args:
            path: of the new file.
            header: its first line.
            vocabulary: names the prompt's tokens, so that they can be read without a model.
            fill: writes the first events, such as those of a session that is saved late.
            replace: the new trace may take the place of a file that is there.

        Raises:
            TraceInUse: somebody writes the file that is there.
            TraceError: there is one and `replace` is off, or it cannot be written.
        """
        file = AppendFile(Path(path), new=True, replace=replace)
        try:
            journal = cls(file)
            with journal.batch():
                journal._write(encode_header(header, vocabulary))
                if fill is not None:
                    fill(journal)
            file.settle()
        except BaseException:
            file.close()
            raise
        return journal

    @classmethod
    def resume(cls, path: str | Path, vocabulary: Vocabulary | None = None) -> tuple[Journal, Trace]:
        """Go on with a trace; what is torn at its end is cut off and said in `Trace.torn`.

        Raises:
            TraceInUse: somebody else writes it; `reading.read` still reads it.
            TraceError: no trace, of a newer schema, damaged before its last line, or not writable.
        """
        file = AppendFile(Path(path))
        try:
            trace = parse(file.read(), file.path.name, vocabulary)
            if trace.sound_bytes < file.size:
                file.truncate(trace.sound_bytes)
                file.sync()
        except BaseException:
            file.close()
            raise
        journal = cls(file)
        journal._known, journal._budget = trace.definitions, trace.budget
        journal._number = len(trace.events)
        journal._n_nodes, journal._n_configs = len(trace.nodes), len(trace.configs)
        return journal, trace

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    # ---------------------------------------------------------------- events

    def step(self, node: int, parent: int, step: Step, *, config: int = 0, stay: bool = False) -> None:
        """A token was written at a new node.

        Args:
            node: its number, the next one.
            parent: the node before.
            step: what was written.
            config: number of the keywords it was written under; see `set`.
            stay: the session did not go there.

        Raises:
            TraceError: the disk did not take it; the file is as before.
        """
        self._check(parent, "parent")
        if type(node) is not int or node != self._n_nodes:
            raise ValueError(f"node must be {self._n_nodes}, the next one, got {node!r}")
        if type(config) is not int or not 0 <= config < self._n_configs:
            raise ValueError(f"config must be in [0, {self._n_configs - 1}], got {config!r}")
        try:
            record, define = encode_step(step, self._known)
        except (ValueError, RecursionError) as error:
            raise self._unwritten(error) from error
        event = {"event": "step", "node": node, "parent": parent, "config": config, "step": record}
        more = {"stay": True} if stay else {}
        self._event(event | more | ({"define": define} if define else {}))

    def goto(self, node: int) -> None:
        """The session stands elsewhere: after an undo, a redo or a jump."""
        self._event({"event": "goto", "node": self._check(node)})

    def set(self, index: int, given: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Keywords were changed.

        Args:
            index: number of this set of keywords: the next one, or that of a set used before. The header's
                is 0.
            given: all keywords that are given now.
            config: the effective configuration.
        """
        if type(index) is not int or not 0 <= index <= self._n_configs:
            raise ValueError(f"index must be in [0, {self._n_configs}], got {index!r}")
        try:
            members = {"given": encode_members(given), "config": encode_members(config)}
        except RecursionError as error:
            raise self._unwritten(error) from error
        self._event({"event": "set", "index": index, **members})

    def counts(self, node: int, samples: int, count: int) -> None:
        """How many draws were made at a node, and how many sampled continuations passed through it."""
        self._event({"event": "counts", "node": self._check(node), "samples": samples, "count": count})

    def name(self, node: int, name: str) -> None:
        """A node was named; "" takes its name away."""
        self._event({"event": "name", "node": self._check(node), "name": name})

    def note(self, node: int, note: str) -> None:
        """A note was added to a node."""
        self._event({"event": "note", "node": self._check(node), "note": note})

    def prune(self, node: int) -> None:
        """A node and everything after it was set aside; it stays in the file."""
        self._event({"event": "prune", "node": self._check(node)})

    def close(self) -> None:
        """Say that the session ended, and let go of the file."""
        try:
            self._event({"event": "close"})
        finally:
            self._file.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Several events that are acknowledged together at the end: one wait for the disk, not many."""
        self._sync = False
        try:
            yield
        finally:
            self._sync = True
            self._file.sync()

    # --------------------------------------------------------------- private

    def _check(self, node: int, parameter: str = "node") -> int:
        if type(node) is not int or not 0 <= node < self._n_nodes:
            raise ValueError(f"{parameter} must be in [0, {self._n_nodes - 1}], got {node!r}")
        return node

    def _event(self, data: dict[str, Any]) -> None:
        self._write({"n": self._number + 1, **data})

    def _write(self, data: dict[str, Any]) -> None:
        try:
            line = write_line(data)
            self._budget.spend(line)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._unwritten(error) from error
        before = self._file.size, self._number, self._n_nodes, self._n_configs
        try:
            self._file.append(line, sync=self._sync)
            self._count(data)
        except TraceError:
            raise
        except BaseException:  # Ctrl-C at any point: the event is taken back, so that the next one fits
            size, self._number, self._n_nodes, self._n_configs = before
            self._file.truncate(size)
            self._known.forget(_defined(data))
            raise

    def _count(self, data: dict[str, Any]) -> None:
        """Know what the file says now, so that nothing is said twice and the next numbers are right."""
        self._known.learn(_defined(data))
        self._number = data.get("n", 0)
        self._n_nodes += data.get("event") == "step"
        self._n_configs = max(self._n_configs, data.get("index", 0) + 1)

    def _unwritten(self, error: Exception) -> TraceError:
        return TraceError(f"{shown(self.path.name)} cannot record this ({error}); nothing was written")


def _defined(data: dict[str, Any]) -> dict[str, Any]:
    """The definitions in a line: a header is one itself."""
    found: dict[str, Any] = data if "schema" in data else data.get("define", {})
    return found
