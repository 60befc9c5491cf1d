"""The tree of a trace, made anew with everything that a session goes on with."""

from __future__ import annotations

from tokenglass.text import Utf8Stream
from tokenglass.traces.reading import Trace, damaged_line, without_collector
from tokenglass.types import Step, Tree, Vocabulary
from tokenglass.types.trees import key as child_key


def tree_of(trace: Trace, vocabulary: Vocabulary | None = None) -> Tree:
    """The recorded tree as a session keeps it; what stages and selectors remember has to be worked out.

    Args:
        trace: as it was read.
        vocabulary: names ids; None takes the trace's own.

    Raises:
        TraceError: a step is damaged, or stands there twice.
    """
    with without_collector():
        return _grown(trace, vocabulary or trace.vocabulary)


def _grown(trace: Trace, vocabulary: Vocabulary) -> Tree:
    tree = Tree(trace.header.prompt_ids, vocabulary)
    tree.configs = list(trace.configs)
    made = [tree.root]
    for node in trace.nodes[1:]:
        assert node.parent is not None and node.event is not None
        parent, step = made[node.parent.id], trace.step(node.event, vocabulary)
        there = parent.children.get(child_key(step, node.config))
        if there is not None and not trace.nodes[there.id].pruned:  # what was pruned may be written anew
            raise damaged_line(trace.name, node.event.number + 1, "its step stands there already")
        made.append(tree.add(parent, step, config=node.config, pending=_pending(parent.pending, step)))
    for node, place in zip(trace.nodes, made, strict=True):
        place.name, place.notes = node.name, list(node.notes)
        place.count = node.count
    for node, place in zip(trace.nodes, made, strict=True):
        if node.pruned and node.parent is not None and not place.pruned:
            tree.prune(place)
    return tree


def _pending(before: bytes, step: Step) -> bytes:
    """Bytes of a character that is not complete after a step."""
    if step.token.kind == "control" or (not before and step.token.bytes.isascii()):
        return before
    stream = Utf8Stream()
    stream.feed(before + step.token.bytes)
    return stream.pending
