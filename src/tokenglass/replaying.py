"""A tree written again, token by token, and compared with its record: do ids and numbers come out the same?

Each place is reached as it was: the same chain and luck, or the same token by hand. That also works out what
stages and selectors remember at places that were read from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from tokenglass.errors import TokenglassError
from tokenglass.reading.paths import Reading
from tokenglass.select import Choice
from tokenglass.treewriter import TreeWriter
from tokenglass.types import Node, Step, Tree
from tokenglass.types.replays import Difference, Replay
from tokenglass.version import __version__

if TYPE_CHECKING:
    from tokenglass.model import Model

TOLERANCE = 5e-4  # on logits and log-probabilities, as between batches and machines
_MOST_SAMPLES = 1 << 16  # a number takes some microseconds
_NUMBERS = ("logit", "logprob", "entropy_bits", "p_final", "margin", "logsumexp", "draw")


@dataclass
class Writers:
    """One writer for each set of keywords of a tree."""

    model: Model
    tree: Tree

    def __post_init__(self) -> None:
        self._made: dict[int, TreeWriter] = {}

    def of(self, node: Node) -> TreeWriter:
        """The writer that a place was made by."""
        if node.config not in self._made:
            self._made[node.config] = TreeWriter.of(self.model, self.tree, self.tree.configs[node.config])
        return self._made[node.config]


def written_again(writers: Writers, node: Node) -> tuple[Step, Choice]:
    """A place made anew from its parent: the fresh step and the choice behind it; its states are set.

    The parent's states must be known.
    """
    parent, recorded, writer = node.parent, node.step, writers.of(node)
    assert parent is not None and recorded is not None
    (reading,) = writer.read([parent])
    choice, reading = _choice(writer, parent, recorded, reading)
    step = reading.chosen(choice, writer.plan.selector)
    node.states = tuple(zip(writer.plan.stages, reading.ledger.states, strict=True))
    node.state = (writer.plan.selector, choice.state)
    return step, choice


def _choice(writer: TreeWriter, parent: Node, recorded: Step, reading: Reading) -> tuple[Choice, Reading]:
    """The choice that a record speaks of; of samples the one with the recorded draw."""
    if recorded.origin in ("forced", "expanded"):
        forced = writer.forced(parent, reading, recorded.id)
        return Choice(forced.token_id, forced.p, forced.row, forced.state, recorded.origin), reading
    return writer.pick(parent, reading, _sample(writer, len(reading.path.ids), recorded.draw))


def _sample(writer: TreeWriter, position: int, draw: float | None) -> int:
    """Which sample's number a draw was; 0 where a generator with a state drew."""
    if draw is None or writer.plan.config["rng"] != "tokenglass":
        return 0
    for sample in range(_MOST_SAMPLES):
        source = writer.plan.source(sample)
        if source is not None and source.uniform(position, "draw") == draw:
            return sample
    return 0


def remember(model: Model, tree: Tree, node: Node) -> None:
    """Work out what stages and selectors remember at a place that was read from a file."""
    unknown = []
    for place in node.lineage():
        if place.states is not None or place.parent is None:
            break
        unknown.append(place)
    if not unknown:
        return
    writers = Writers(model, tree)
    for place in reversed(unknown):
        written_again(writers, place)


def replay(
    model: Model,
    tree: Tree,
    *,
    recorded: Mapping[str, Any] | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Replay:
    """Write every place of a tree again and compare it with its record.

    Args:
        model: that writes; not checked to be the recorded one.
        tree: with records; what its places remember is worked out anew.
        recorded: facts of the engine that wrote it, for the report.
        told: called with (places done, places in all) after each.
    """
    writers, places = Writers(model, tree), [node for node in tree if node.parent is not None]
    first: Difference | None = None
    broken: Difference | None = None
    largest = 0.0
    done = 0
    for node in places:
        assert node.step is not None
        try:
            fresh, _ = written_again(writers, node)
        except (TokenglassError, ValueError) as error:
            broken = Difference(node.id, "error", node.step.token.text, str(error), None)
            first = first or broken
            break
        for difference in _differences(node, node.step, fresh):
            first = first or difference
            largest = max(largest, difference.size or 0.0)
            if broken is None and (difference.size is None or difference.size > TOLERANCE):
                broken = difference
        done += 1
        if told is not None:
            told(done, len(places))
        if broken is not None and broken.name == "token":
            break
    return Replay(
        n_places=len(places),
        n_done=done,
        first_difference=first,
        first_mismatch=broken,
        largest=largest,
        tolerance=TOLERANCE,
        recorded=dict(recorded or {}),
        now=engine_facts(model),
    )


def engine_facts(model: Model) -> dict[str, Any]:
    """What computes now: engine, weights, versions."""
    from tokenglass.traces.header import versions

    info = model.info
    return {
        "tokenglass": __version__,
        "engine": info.engine,
        "precision": info.precision,
        "model": info.name,
        "sha256": info.sha256,
        "threads": info.threads,
        **versions(),
    }


def _differences(node: Node, recorded: Step, fresh: Step) -> Iterator[Difference]:
    """Every number of a place that is not the same to the last bit; another token first."""
    if fresh.id != recorded.id:
        yield Difference(node.id, "token", recorded.token.text, fresh.token.text, None)
        return
    if fresh.rank != recorded.rank:
        yield Difference(node.id, "rank", recorded.rank, fresh.rank, 0.0)  # equal within rounding elsewhere
    for name in _NUMBERS:
        was, now = getattr(recorded, name), getattr(fresh, name)
        if was is None or now is None:
            if was is not now:
                yield Difference(node.id, name, was, now, None)
        elif was != now and not (isnan(was) and isnan(now)):
            yield Difference(node.id, name, was, now, abs(was - now))
    yield from _in_rows(node, recorded, fresh)


def _in_rows(node: Node, recorded: Step, fresh: Step) -> Iterator[Difference]:
    """The likeliest tokens: logits by id, as far as both remember the token."""
    now = dict(zip(fresh.top_ids.tolist(), fresh.top_logits.tolist(), strict=True))
    for token_id, was in zip(recorded.top_ids.tolist(), recorded.top_logits.tolist(), strict=True):
        if token_id in now and now[token_id] != was:
            size = float(np.abs(was - now[token_id]))
            yield Difference(node.id, f"logit of token {token_id}", was, now[token_id], size)
            return
