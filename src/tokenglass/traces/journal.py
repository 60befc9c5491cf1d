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
from tokenglass.traces.header import Header, encode_header
from tokenglass.traces.lines import Budget, write_line
from tokenglass.traces.reading import Trace, parse
from tokenglass.traces.steps import Definitions, encode_step
from tokenglass.traces.storage import AppendFile
from tokenglass.traces.values import encode
from tokenglass.types import Step, Vocabulary


class Journal:
    """A trace open for writing, by one process at a time; `create` or `resume` one.

    Usable with `with`, which lets go of the file at the end. Node numbers are checked: a step makes node
    number `len(nodes)`, or writes a known one anew below the same parent.
    """

    def __init__(self, file: AppendFile) -> None:
        self._file, self._known, self._budget = file, Definitions(), Budget()
        self._number = 0
        self._parents: list[int | None] = [None]
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
        journal._parents = [None if node.parent is None else node.parent.id for node in trace.nodes]
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

    def step(self, node: int, parent: int, step: Step) -> None:
        """A token was written, at a new node or in another way at a known one; the session stands there now.

        Raises:
            TraceError: the disk did not take it; the file is as before.
        """
        self._check(parent, "parent")
        new = node == len(self._parents)
        if not new and self._parents[self._check(node)] != parent:
            raise ValueError(f"node {node} has parent {self._parents[node]}, not {parent}")
        try:
            record, define = encode_step(step, self._known)
        except (ValueError, RecursionError) as error:
            raise self._unwritten(error) from error
        event = {"event": "step", "node": node, "parent": parent, "step": record}
        self._event(event | ({"define": define} if define else {}))
        if new:
            self._parents.append(parent)

    def goto(self, node: int) -> None:
        """The session stands elsewhere: after an undo, a redo or a jump."""
        self._event({"event": "goto", "node": self._check(node)})

    def set(self, given: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        """Keywords were changed: all that are given now, and the effective configuration."""
        try:
            now = {
                name: {str(k): encode(v) for k, v in values.items()}
                for name, values in (("given", given), ("config", config))
            }
        except RecursionError as error:
            raise self._unwritten(error) from error
        self._event({"event": "set", **now})

    def name(self, node: int, name: str | None) -> None:
        """A node was named; None takes its name away."""
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
        if type(node) is not int or not 0 <= node < len(self._parents):
            raise ValueError(f"{parameter} must be in [0, {len(self._parents) - 1}], got {node!r}")
        return node

    def _event(self, data: dict[str, Any]) -> None:
        self._write({"n": self._number + 1, **data})
        self._number += 1

    def _write(self, data: dict[str, Any]) -> None:
        try:
            line = write_line(data)
            self._budget.spend(line)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._unwritten(error) from error
        self._file.append(line, sync=self._sync)
        # what the file says, and only that, need not be said again
        self._known.learn(data if "schema" in data else data.get("define", {}))

    def _unwritten(self, error: Exception) -> TraceError:
        return TraceError(f"{shown(self.path.name)} cannot record this ({error}); nothing was written")
