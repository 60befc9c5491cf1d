"""What adds places to a tree under one configuration: reads a place, picks a token, makes the child.

A session owns one at a time; `set` replaces it. It knows the model and the chain, not where anybody stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isclose
from typing import TYPE_CHECKING, Any

from tokenglass.asking import again, cut_by
from tokenglass.chain import Plan
from tokenglass.config import SEARCHES
from tokenglass.decode import Pen, limits_of, reader_of
from tokenglass.reading.limits import Limits
from tokenglass.reading.paths import Path, Reader, Reading
from tokenglass.recording import piece
from tokenglass.select import Choice
from tokenglass.stages.base import start
from tokenglass.text import Utf8Stream
from tokenglass.types import FinishReason, Node, Step, Tree
from tokenglass.types.trees import key

if TYPE_CHECKING:
    from tokenglass.model import Model

_ENDLESS = 1 << 62


@dataclass(frozen=True)
class TreeWriter:
    """Writes into a tree.

    Attributes:
        model: that writes.
        tree: where it writes.
        given: the keywords.
        plan: what they mean.
        limits: when a text ends.
        reader: the model and the chain.
        config: index of the keywords in the tree.
    """

    model: Model
    tree: Tree
    given: Mapping[str, Any]
    plan: Plan
    limits: Limits
    reader: Reader
    config: int

    @classmethod
    def of(cls, model: Model, tree: Tree, given: Mapping[str, Any]) -> TreeWriter:
        """A writer under some keywords.

        Raises:
            ValueError: a value outside its interval, or a keyword that asks for a search or several texts.
        """
        plan = model.plan(given, tree.prompt_ids)
        if plan.config.seed is not None:
            given = {**given, "seed": plan.config.seed}  # one that was drawn is kept like one that was given
        if plan.config.mode in SEARCHES:
            name = plan.config.mode.replace("_", " ")
            raise ValueError(f"a session writes token by token, which {name} cannot; use model.search")
        if plan.config["num_return_sequences"] > 1:
            raise ValueError("a session writes one text; fork it for another, or use model.generate")
        if given.get("max_time") is not None:
            raise ValueError("a session has no clock for max_time; leave it out, or use model.generate")
        # the model's own max_time neither; and no limit but the context unless one was asked for
        limits = replace(limits_of(plan.config), max_time=None)
        if not {"max_new_tokens", "max_length"} & set(given):
            limits = replace(limits, max_new_tokens=None, max_length=_ENDLESS)
        reader = reader_of(model.engine, model.tokenizer, tree.prompt_ids, plan, limits)
        return cls(model, tree, dict(given), plan, limits, reader, tree.config_index(given))

    # ---------------------------------------------------------------- places

    @cached_property
    def remembers(self) -> bool:
        """Whether a stage or the selector carries something from step to step."""
        starts = [*(start(stage) for stage in self.plan.stages), self.plan.selector.start()]
        return any(state is not None for state in starts)

    def path_to(self, node: Node, ids: tuple[int, ...] | None = None, handle: Any = None) -> Path:
        """Prompt and text up to a place, with what the chain remembers there.

        Args:
            node: the place.
            ids: all ids up to it, where they are known.
            handle: the engine's for what comes before it, where it is known.
        """
        if node.states is None and node.parent is not None and self.remembers:
            from tokenglass.replaying import remember  # a place read from a file

            remember(self.model, self.tree, node)
        ids = self.tree.ids(node) if ids is None else ids
        return Path(ids, handle, states=self._states(node), tail=self.reader.tail(ids))

    def _states(self, node: Node) -> tuple[Any, ...]:
        """What each stage remembers at a place; those that were not at work then begin anew."""
        before = node.states or ()
        return tuple(
            next((state for known, state in before if known == stage), start(stage))
            for stage in self.plan.stages
        )

    def selector_state(self, node: Node) -> Any:
        """What the selector remembers at a place; another one than at the time begins anew."""
        picks = self.plan.selector
        return node.state[1] if node.state and node.state[0] == picks else picks.start()

    def read(self, nodes: Sequence[Node]) -> list[Reading]:
        """What the model and the chain say at several places, in one run."""
        return self.reader.read([self.path_to(node) for node in nodes])

    def finish_reason(self, node: Node) -> FinishReason | None:
        """Why the text ends at a place by the present keywords, or None; its record keeps what held then."""
        if node.step is None or node.parent is None:
            return None
        if node.config == self.config:
            return node.step.finish_reason
        return self.reader.reason(self.path_to(node.parent), node.step.id)

    # --------------------------------------------------------------- choices

    def pick(self, node: Node, reading: Reading, sample: int) -> tuple[Choice, Reading]:
        """The token that the configuration picks at a place with the luck of one sample, and what it saw.

        A stage that draws, as XTC does, judges by the same sample.
        """
        if sample:
            reader = replace(self.reader, source=self.plan.source(sample))
            (reading,) = reader.judge([reading.heard])
        else:
            reader = self.reader
        reading.require_choice(self.plan.selector)
        state = self.selector_state(node)
        return self.plan.selector.select(reading.row, reader.context(reading.path), state), reading

    def forced(self, node: Node, reading: Reading, token_id: int) -> Choice:
        """A token put there by a person."""
        return Choice(token_id, reading.p(token_id), reading.row, self.selector_state(node), "forced")

    # -------------------------------------------------------------- children

    def child(self, node: Node, reading: Reading, choice: Choice) -> Node:
        """The place of a choice, made now where it does not exist yet."""
        known = node.children.get(key(choice, self.config))
        if known is not None:
            return known
        stream, tree, path = Utf8Stream(), self.tree, reading.path
        stream.feed(node.pending)
        step = reading.chosen(choice, self.plan.selector)
        picks = cut_by(reading, choice, self.plan.selector, self.selector_state(node))
        step = replace(
            step,
            text=piece(stream, step.token),
            finish_reason=self.reader.reason(path, choice.token_id),
            reread=again(self.reader, lambda: tree.ids(node), path.states, picks),
        )
        return self._add(node, step, reading.ledger.states, choice.state, stream.pending)

    def unfolded(self, node: Node, reading: Reading, token_id: int) -> Node:
        """The child for a token, however it was chosen; made to look ahead where there is none."""
        same = (child for k, child in node.children.items() if k[0] == token_id and k[3] == self.config)
        known = next(same, None)
        choice = Choice(token_id, reading.p(token_id), reading.row, self.selector_state(node), "expanded")
        return known or self.child(node, reading, choice)

    def laid(self, node: Node, step: Step, pen: Pen) -> Node:
        """The child for a step that a pen has just made; samples that wrote the same token share one.

        Its record is the first sample's, and ends only where this writer's texts end.
        """
        known = node.children.get(key(step, self.config))
        if known is not None:
            return known
        for (token_id, origin, _, config), child in node.children.items():
            same = (token_id, origin, config) == (step.id, step.origin, self.config)
            if same and child.step is not None and _alike(child.step, step):
                return child
        stream = Utf8Stream()
        stream.feed(node.pending)
        reason = self.reader.reason(self.path_to(node), step.id)
        step = replace(step, text=piece(stream, step.token), finish_reason=reason)
        return self._add(node, step, pen.path.states or (), pen.state, stream.pending)

    def pen(self, node: Node, sample: int, max_new_tokens: int) -> Pen:
        """A pen at a place, for one sample."""
        path = self.path_to(node)
        new = len(path.ids) - len(self.tree.prompt_ids) + max_new_tokens
        limits = replace(self.limits, max_new_tokens=new, max_length=None)
        engine, tokenizer = self.model.engine, self.model.tokenizer
        reader = reader_of(engine, tokenizer, self.tree.prompt_ids, self.plan, limits, sample)
        stream = Utf8Stream()
        stream.feed(node.pending)
        state = self.selector_state(node)
        return Pen(sample, reader, self.plan.selector, path, path.ids, state, stream)

    def _add(self, node: Node, step: Step, states: Sequence[Any], state: Any, pending: bytes) -> Node:
        return self.tree.add(
            node,
            step,
            states=tuple(zip(self.plan.stages, states, strict=True)),
            state=(self.plan.selector, state),
            pending=pending,
            config=self.config,
        )


def _alike(a: Step, b: Step) -> bool:
    """Whether two records of one token are the same choice, up to what a batch changes."""
    if a.p_final is None or b.p_final is None:
        return a.p_final is b.p_final
    return isclose(a.p_final, b.p_final, rel_tol=1e-3)
