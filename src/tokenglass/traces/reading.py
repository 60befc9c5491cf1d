"""A trace read back: its header, its events, and the tree they built. Needs no model and no tokenizer.

Steps are parsed when they are asked for. Names, notes and prunings are those at the end of the trace.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenglass.errors import TraceError
from tokenglass.files.tensors import shown
from tokenglass.traces.header import Header, check_schema, decode_header
from tokenglass.traces.lines import Budget, parse_line
from tokenglass.traces.steps import Definitions, decode_step
from tokenglass.traces.storage import read_bytes
from tokenglass.traces.values import decode
from tokenglass.traces.vocabulary import RecordedVocabulary
from tokenglass.types import Step, Vocabulary

_DAMAGES = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError)


@dataclass(frozen=True)
class Event:
    """One line after the header.

    Attributes:
        number: from 1, without gaps.
        kind: "step", "goto", "set", "counts", "name", "note", "prune", "close", or one that came later.
        data: all its fields as parsed JSON, unknown ones included.
    """

    number: int
    kind: str
    data: Mapping[str, Any]


@dataclass(eq=False)
class TraceNode:
    """A place in the recorded tree; satisfies `rows.TreeNode`.

    Attributes:
        id: number in order of creation; the prompt is 0.
        parent: the place before, or None for the prompt.
        event: what wrote its token, or None for the prompt.
        trace: that it belongs to.
        config: index in the trace's `configs` of the keywords it was written under.
        samples: how many different draws the session made here.
        count: how many sampled continuations passed through here.
        name: given by a person, or "".
        notes: oldest first.
        pruned: it, or a place before it, was pruned.
    """

    id: int
    parent: TraceNode | None
    event: Event | None
    trace: Trace = field(repr=False)
    config: int = 0
    samples: int = 0
    count: int = 0
    name: str = ""
    notes: list[str] = field(default_factory=list)
    pruned: bool = False

    @cached_property
    def step(self) -> Step | None:
        """The token that led here, or None for the prompt.

        Raises:
            TraceError: its record is damaged.
        """
        return None if self.event is None else self.trace.step(self.event)


class Trace:
    """A trace as far as it could be read.

    Args:
        name: of the file, for errors.
        header: the first line.
        vocabulary: names ids; None takes the tokens recorded in the trace.

    Attributes:
        events: the lines after it.
        nodes: the tree, in order of creation.
        here: where the session stood at the end.
        redo: place -> the one after it that redo leads to.
        configs: every set of keywords that places were written under; the header's first.
        given: the keywords at the end.
        config: the effective configuration at the end.
        torn: what was left out at the end of the file, in words; "" where nothing was.
        sound_bytes: size of the part that was read.
        budget: what that part took of it.
    """

    def __init__(self, name: str, header: Header, vocabulary: Vocabulary | None = None) -> None:
        self.name, self.header = name, header
        self.definitions = Definitions()
        self.vocabulary: Vocabulary = vocabulary or RecordedVocabulary(
            header.model.vocab_size, self.definitions.tokens
        )
        self.events: list[Event] = []
        self.nodes = [TraceNode(0, None, None, self)]
        self.here = self.nodes[0]
        self.redo: dict[int, int] = {}
        self.configs: list[Mapping[str, Any]] = [header.given]
        self.given, self.config = header.given, header.config
        self.torn, self.sound_bytes = "", 0
        self.budget = Budget()
        self._pruned: set[int] = set()

    def step(self, event: Event, vocabulary: Vocabulary | None = None) -> Step:
        """The step that an event recorded, with its ids named by the trace or by another vocabulary.

        Raises:
            TraceError: it is damaged.
        """
        try:
            return decode_step(event.data["step"], self.definitions, vocabulary or self.vocabulary)
        except _DAMAGES as error:
            raise damaged_line(self.name, event.number + 1, _words(error)) from error

    def path(self, node: TraceNode) -> Iterator[TraceNode]:
        """The places from the prompt to a node, both included."""
        found = [node]
        while (parent := found[-1].parent) is not None:
            found.append(parent)
        return reversed(found)

    def take(self, data: Mapping[str, Any]) -> None:
        """Follow one more event.

        Raises:
            ValueError, TypeError, KeyError: it cannot follow those before it.
        """
        if data["n"] != len(self.events) + 1:
            raise ValueError(
                f"its number is {_brief(data['n'])}, not {len(self.events) + 1}: lines are missing"
            )
        event = Event(data["n"], str(data["event"]), data)
        follow = _FOLLOW.get(event.kind)
        if (
            follow is not None
        ):  # of a kind that came later nothing is known but that the tree does not need it
            follow(self, event)
        self.events.append(event)

    def _node(self, data: Mapping[str, Any], key: str = "node") -> TraceNode:
        number = data[key]
        if type(number) is not int or not 0 <= number < len(self.nodes):
            raise ValueError(f"{key} must be in [0, {len(self.nodes) - 1}], got {_brief(number)}")
        return self.nodes[number]

    def _step(self, event: Event) -> None:
        data = event.data
        parent = self._node(data, "parent")
        if not isinstance(data["step"], dict):
            raise ValueError("its step is no object")
        if data["node"] != len(self.nodes):
            raise ValueError(f"node must be {len(self.nodes)}, got {_brief(data['node'])}")
        config = data.get("config", 0)
        if type(config) is not int or not 0 <= config < len(self.configs):
            raise ValueError(f"config must be in [0, {len(self.configs) - 1}], got {_brief(config)}")
        self.definitions.learn(data.get("define", {}))
        self.nodes.append(TraceNode(len(self.nodes), parent, event, self, config))
        if not data.get("stay"):
            self.here = self.nodes[-1]
            self.redo[parent.id] = self.here.id
            if data["step"].get("origin") == "sampled":  # a first draw is not written down by itself
                parent.samples = max(parent.samples, 1)

    def _goto(self, event: Event) -> None:
        there = self._node(event.data)
        back = self._between(
            self.here, there
        )  # an undo leaves the way it came; all else the way that leads there
        for node in back if back else self.path(there):
            if node.parent is not None:
                self.redo[node.parent.id] = node.id
        self.here = there

    def _between(self, node: TraceNode, before: TraceNode) -> list[TraceNode]:
        """The places from a node up to one before it, that one left out; none where it is not before it."""
        found: list[TraceNode] = []
        while node is not before:
            if node.parent is None:
                return []
            found.append(node)
            node = node.parent
        return found

    def _set(self, event: Event) -> None:
        index = event.data["index"]
        if type(index) is not int or not 0 <= index <= len(self.configs):
            raise ValueError(f"index must be in [0, {len(self.configs)}], got {_brief(index)}")
        given = {key: decode(value) for key, value in event.data["given"].items()}
        self.config = {key: decode(value) for key, value in event.data["config"].items()}
        if index == len(self.configs):
            self.configs.append(given)
        self.given = given

    def _counts(self, event: Event) -> None:
        node, counts = self._node(event.data), (event.data["samples"], event.data["count"])
        if not all(type(n) is int and n >= 0 for n in counts):
            raise ValueError("counts must be whole numbers of at least 0")
        node.samples, node.count = counts

    def _name(self, event: Event) -> None:
        self._node(event.data).name = _text(event.data["name"])

    def _note(self, event: Event) -> None:
        self._node(event.data).notes.append(_text(event.data["note"]))

    def _prune(self, event: Event) -> None:
        self._pruned.add(self._node(event.data).id)

    def settle(self) -> None:
        """After the last event: mark what was pruned."""
        for node in self.nodes:  # parents come before their children
            node.pruned = node.id in self._pruned or (node.parent is not None and node.parent.pruned)


_FOLLOW = {
    "step": Trace._step,
    "goto": Trace._goto,
    "set": Trace._set,
    "counts": Trace._counts,
    "name": Trace._name,
    "note": Trace._note,
    "prune": Trace._prune,
}


def read(path: str | Path, vocabulary: Vocabulary | None = None) -> Trace:
    """Read a trace; what is torn at its end is left out and said in `Trace.torn`.

    Args:
        path: of the file, which is not changed; somebody may be writing it.
        vocabulary: names ids; None takes the tokens recorded in the trace.

    Raises:
        TraceError: no trace, of a newer schema, damaged before its last line, or not readable.
    """
    return parse(read_bytes(Path(path)), Path(path).name, vocabulary)


def parse(data: bytes, name: str, vocabulary: Vocabulary | None = None) -> Trace:
    """The trace in the bytes of a file called `name`, as `read` reads it."""
    with without_collector():
        return _parsed(data, shown(name), vocabulary)


@contextmanager
def without_collector() -> Iterator[None]:
    """No garbage collection meanwhile: it would search many small values again and again, and all stay."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _parsed(data: bytes, name: str, vocabulary: Vocabulary | None) -> Trace:
    lines = io.BytesIO(data)
    trace = _begun(lines.readline(), name, vocabulary)
    for number, line in enumerate(iter(lines.readline, b""), start=2):
        try:
            if not line.endswith(b"\n"):
                raise ValueError(f"it breaks off after {len(line):,} bytes")
            trace.budget.spend(line)
            event = parse_line(line)
        except ValueError as error:
            if lines.tell() < len(data):
                raise damaged_line(name, number, _words(error)) from error
            trace.torn = f"line {number:,} was left out: {_words(error)}"
            break
        try:
            trace.take(event)
        except _DAMAGES as error:
            raise damaged_line(name, number, _words(error)) from error
        trace.sound_bytes = lines.tell()
    trace.settle()
    return trace


def _begun(line: bytes, name: str, vocabulary: Vocabulary | None) -> Trace:
    ours = line.startswith(b'{"schema":"tokenglass')
    if not line or (ours and not line.endswith(b"\n")):
        raise TraceError(
            f"{name} holds no complete header, so nothing was recorded; delete it and begin anew"
        )
    budget, data = Budget(), {}
    try:
        budget.spend(line)
        data = parse_line(line)
    except ValueError as error:
        if ours:
            raise damaged_line(name, 1, _words(error)) from error
    check_schema(data.get("schema"), name)
    try:
        trace = Trace(name, decode_header(data), vocabulary)
        trace.definitions.learn(data)
    except _DAMAGES as error:
        raise damaged_line(name, 1, _words(error)) from error
    trace.budget, trace.sound_bytes = budget, len(line)
    return trace


def damaged_line(name: str, line: int, problem: str) -> TraceError:
    """The one-line error for a trace that is wrong in a line."""
    return TraceError(f"{name} is damaged in line {line:,}: {problem}; go back to a copy of it")


def _words(error: Exception) -> str:
    """What a parser stumbled over, on one line."""
    text = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return ascii(text)[1:-1][:200] if not text.isprintable() else text[:200]


def _brief(value: Any) -> str:
    return str(value) if type(value) is int else type(value).__name__


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is wanted, got {type(value).__name__}")
    return value
