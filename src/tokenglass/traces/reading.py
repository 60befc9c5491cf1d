"""A trace read back: its header, its events, and the tree they built. Needs no model and no tokenizer.

Steps are parsed when they are asked for. Names, notes and prunings are those at the end of the trace.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
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
        kind: "step", "goto", "set", "name", "note", "prune", "close", or one that a later version added.
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
        name: given by the user, or None.
        notes: in order.
        pruned: it, or a place before it, was pruned.
    """

    id: int
    parent: TraceNode | None
    event: Event | None
    trace: Trace = field(repr=False)
    name: str | None = None
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
        given: the keywords then.
        config: the effective configuration then.
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
        self.given, self.config = header.given, header.config
        self.torn, self.sound_bytes = "", 0
        self.budget = Budget()
        self._pruned: set[int] = set()

    def step(self, event: Event) -> Step:
        """The step that an event recorded.

        Raises:
            TraceError: it is damaged.
        """
        try:
            return decode_step(event.data["step"], self.definitions, self.vocabulary)
        except _DAMAGES as error:
            raise _damaged(self.name, event.number + 1, _words(error)) from error

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
        new = data["node"] == len(self.nodes)
        old = None if new else self._node(data)
        if old is not None and old.parent is not parent:
            raise ValueError(f"node {old.id} had another parent before")
        self.definitions.learn(data.get("define", {}))
        if old is None:
            self.nodes.append(TraceNode(len(self.nodes), parent, event, self))
        else:  # the same token chosen another way
            old.event = event
            old.__dict__.pop("step", None)
        self.here = self._node(data)

    def _goto(self, event: Event) -> None:
        self.here = self._node(event.data)

    def _set(self, event: Event) -> None:
        self.given = {key: decode(value) for key, value in event.data["given"].items()}
        self.config = {key: decode(value) for key, value in event.data["config"].items()}

    def _name(self, event: Event) -> None:
        name = event.data["name"]
        self._node(event.data).name = name if name is None else _text(name)

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
    name = shown(name)
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
                raise _damaged(name, number, _words(error)) from error
            trace.torn = f"line {number:,} was left out: {_words(error)}"
            break
        try:
            trace.take(event)
        except _DAMAGES as error:
            raise _damaged(name, number, _words(error)) from error
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
            raise _damaged(name, 1, _words(error)) from error
    check_schema(data.get("schema"), name)
    try:
        trace = Trace(name, decode_header(data), vocabulary)
        trace.definitions.learn(data)
    except _DAMAGES as error:
        raise _damaged(name, 1, _words(error)) from error
    trace.budget, trace.sound_bytes = budget, len(line)
    return trace


def _damaged(name: str, line: int, problem: str) -> TraceError:
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
