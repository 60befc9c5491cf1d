"""A text written by hand: step, undo, redo, force, branch. Nothing that was written is lost.

A session stands at one place of a tree of token ids. Undo goes to the parent, redo to where undo came from;
another token beside an undone one begins a branch and leaves the first in place. A fork is a second session
on the same tree. With a journal, every move is on disk before it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tokenglass.asking import cut
from tokenglass.chain import Plan
from tokenglass.config import GenerationConfig
from tokenglass.kept import Kept
from tokenglass.onscreen import OnScreen
from tokenglass.reading.paths import Reading
from tokenglass.select import Choice
from tokenglass.tables import next_table
from tokenglass.text import safe_line
from tokenglass.treewriter import TreeWriter
from tokenglass.types import FinishReason, NextTokens, Node, Step, Tree

if TYPE_CHECKING:
    from tokenglass.model import Model
    from tokenglass.types.growth import Expansion, Play, Samples


class Session(Kept, OnScreen):
    """One prompt and everything written after it.

    Args:
        model: that writes.
        prompt_ids: at least one id.
        config: generation keywords; a session has no length limit unless they set one.

    Attributes:
        template: for a conversation, which of the prompt's tokens are the template's own; else empty.

    Raises:
        ValueError: a value outside its interval, or a keyword that asks for a search.
    """

    def __init__(self, model: Model, prompt_ids: tuple[int, ...], config: Mapping[str, Any]) -> None:
        self.model = model
        self.prompt_ids = prompt_ids
        super().__init__(Tree(prompt_ids, model.tokenizer))
        self.writer = TreeWriter.of(model, self.tree, config)
        self._redo: dict[int, Node] = {}
        self.template: tuple[bool, ...] = ()
        self._known: Reading | None = None
        self._ids: tuple[int, ...] | None = None
        self._stand_on(self.tree.root)

    @classmethod
    def of(
        cls,
        model: Model,
        tree: Tree,
        config: Mapping[str, Any],
        samples: Mapping[int, int],
        redo: Sequence[int],
    ) -> Session:
        """A session on a tree that is there already; `redo`: the places it leads to."""
        session = cls(model, tree.prompt_ids, config)
        session.tree, session._samples = tree, dict(samples)
        session.writer = TreeWriter.of(model, tree, config)
        ways = [tree.node(number) for number in redo]
        session._redo = {way.parent.id: way for way in ways if way.parent is not None}
        session._stand_on(tree.root)
        return session

    def __repr__(self) -> str:
        name = safe_line(self.model.info.name)
        return f"<Session on {name}: {len(self.prompt_ids)} + {len(self.steps)} tokens>"

    # ---------------------------------------------------------------- where

    @property
    def node(self) -> Node:
        """The place in the tree where the session stands; the one before, where another session pruned it."""
        while self._at.pruned and self._at.parent is not None:
            self._stand_on(self._at.parent)
        return self._at

    @property
    def plan(self) -> Plan:
        """The stages in force, who picks, and when a text ends."""
        return self.writer.plan

    @property
    def config(self) -> GenerationConfig:
        """The effective configuration."""
        return self.plan.config

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that led here, oldest first."""
        return self.node.steps()

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids, the prompt's included."""
        node = self.node
        if self._ids is None:
            self._ids = self.tree.ids(node)
        return self._ids

    @property
    def text(self) -> str:
        """Prompt and text so far; an incomplete character is left out until it is complete."""
        return self.model.detokenize(self.prompt_ids) + "".join(step.text for step in self.steps)

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the text ended here, or None while it may go on."""
        return self.writer.finish_reason(self.node)

    @property
    def reading(self) -> Reading:
        """What the model and the chain say here; for tools, `next` shows it to people."""
        return self._read()

    @property
    def next(self) -> NextTokens:
        """Which tokens may come next."""
        reading, plan = self._read(), self.plan
        books = cut(self.writer.reader, reading, plan.selector, self.writer.selector_state(self.node))
        return next_table(self.model.tokenizer, self.ids, reading, books, plan, 10)

    # ----------------------------------------------------------------- moves

    @overload
    def step(self, n: int = 1, token: None = None, reroll: bool = False) -> Step | list[Step]: ...
    @overload
    def step(self, n: int = 1, *, token: int) -> Step: ...
    @overload
    def step(self, n: int = 1, *, token: str) -> Step | list[Step]: ...
    def step(self, n: int = 1, token: int | str | None = None, reroll: bool = False) -> Step | list[Step]:
        """Write the token that the configuration picks, or a given one.

        Args:
            n: how many; fewer come when the text ends.
            token: an id, or a text, which may be several tokens and need not be among the likely ones.
            reroll: draw the first token with another random number than those used here before.

        Returns:
            The step, or a list of steps where `n` is above 1 or the text is several tokens.

        Raises:
            ValueError: the text has ended, no such token, or nothing is drawn that could be drawn anew.
            ContextOverflow: the context is full.
            NoTokenAllowed: every token is banned.
        """
        if token is not None:
            forced = [self._force(token_id) for token_id in self._token_ids(token)]
            return forced[0] if len(forced) == 1 else forced
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
        if self.finish_reason is not None:
            raise ValueError(f"the text has ended ({self.finish_reason}); undo, or force a token")
        if reroll and (self.plan.config.mode != "sample" or self.plan.config["rng"] != "tokenglass"):
            raise ValueError("reroll needs do_sample=True and rng='tokenglass', so that there is a draw")
        steps: list[Step] = []
        while len(steps) < n and self.finish_reason is None:
            steps.append(self._draw_anew() if reroll and not steps else self._draw(0))
        return steps[0] if n == 1 else steps

    def undo(self, n: int = 1) -> Step | None:
        """Take back up to `n` tokens; returns the last one taken back, None at the prompt."""
        line = [self.node]
        while len(line) <= _count(n) and line[-1].parent is not None:
            line.append(line[-1].parent)
        if len(line) == 1:
            return None
        self._move(line[-1], line[:-1])
        return line[-2].step

    def redo(self, n: int = 1) -> Step | None:
        """Put back up to `n` tokens that were taken back; returns the last one, None where there is none."""
        node = self.node
        for _ in range(_count(n)):
            child = self._redo.get(node.id)
            if child is None or child.pruned:
                break
            node = child
        if node is self.node:
            return None
        self._move(node)
        return node.step

    def goto(self, node: Node | int | str) -> Node:
        """Stand on any place of the tree, by itself, its number or its name.

        Raises:
            ValueError: no such place, or it was pruned.
        """
        found = self._place(node)
        self._move(found, found.lineage())  # redo after an undo leads back here
        return found

    def stand(self, node: Node) -> None:
        """Be at a place without saying so; for a session that is being opened."""
        self._stand_on(node)

    def furthest(self) -> Node:
        """Where redo leads to in the end."""
        node = self.node
        while (child := self._redo.get(node.id)) is not None and not child.pruned:
            node = child
        return node

    def fork(self) -> Session:
        """Another session at this place of the same tree, free to go elsewhere; no place is copied."""
        other = object.__new__(Session)
        other.__dict__.update(self.__dict__ | {"watchers": ()})
        other._redo, other._samples = dict(self._redo), dict(self._samples)
        return other

    def set(self, **config: Any) -> GenerationConfig:
        """Change keywords from here on; what is not named keeps its value, the seed included.

        Stages and a selector that stay the same go on with what they remember; others begin anew.

        Raises:
            TypeError: an unknown keyword.
            ValueError: a value outside its interval, or a keyword that asks for a search.
        """
        return self.take({**self.writer.given, **config})

    def take(self, given: Mapping[str, Any]) -> GenerationConfig:
        """The same with the whole set of keywords: what is not named goes back to its default."""
        if given.get("token_healing"):
            raise ValueError("token_healing heals the end of a prompt; give it when the session is made")
        n_before = len(self.tree.configs)
        try:
            writer = TreeWriter.of(self.model, self.tree, given)
            self._tell("set", writer, not self._is_told())
        except BaseException:
            del self.tree.configs[n_before:]
            raise
        self.writer, self._known = writer, None
        self.changed()
        return self.plan.config

    # ------------------------------------------------------------ many at once

    def expand(
        self, *, depth: int = 1, mass: float | None = None, p: float | None = None, limit: int = 1000
    ) -> Expansion:
        """Unfold the likeliest children here, level by level; see `growing.expand`."""
        from tokenglass.growing import expand

        return expand(self, depth=depth, mass=mass, p=p, limit=limit)

    def sample(self, n: int, *, max_new_tokens: int = 20) -> Samples:
        """Draw continuations from here and lay them over the tree; see `growing.sample`."""
        from tokenglass.growing import sample

        return sample(self, n, max_new_tokens=max_new_tokens)

    def play(
        self, n: int = 20, *, entropy: float | None = None, watch: Sequence[int | str] = (), top: int = 10
    ) -> Play:
        """Write on until the entropy is high or a watched token comes near; see `growing.play`."""
        from tokenglass.growing import play

        return play(self, n, entropy=entropy, watch=watch, top=top)

    def leaves(self, n: int | None = None) -> tuple[Node, ...]:
        """The ends of the tree, the likeliest after the chain first."""
        known = {node: node.logprob() for node in self.tree.leaves()}
        found = sorted(known, key=lambda node: (known[node] is None, -(known[node] or 0.0)))
        return tuple(found if n is None else found[:n])

    # --------------------------------------------------------------- private

    def _token_ids(self, token: int | str) -> list[int]:
        if isinstance(token, str):
            ids = self.model.tokenizer.encode(token, add_special_tokens=False).ids
            if not ids:
                raise ValueError("token must be an id or a text of at least one character, got ''")
            return ids
        size = self.model.info.vocab_size
        whole = isinstance(token, int | np.integer) and not isinstance(token, bool)
        if not whole or not 0 <= token < size:
            raise ValueError(f"token id must be in [0, {size - 1}], got {token!r}")
        return [int(token)]

    def _draw(self, sample: int) -> Step:
        """The token that the configuration picks, with the luck of one sample."""
        node = self.node
        before = self._samples.get(node.id, 0)
        choice, reading = self.writer.pick(node, self._read(), sample)
        if self.plan.config.mode == "sample":
            self.samples_drawn(sample + 1)
        try:
            return self._go(choice, reading)
        except BaseException:
            self._samples[node.id] = before
            raise

    def _draw_anew(self) -> Step:
        """The same with a number that was not drawn here before, by this session or by `sample`."""
        node, sample = self.node, max(1, self.samples_drawn())
        drawn = {draw for _, _, draw, _ in node.children}
        while self.writer.pick(node, self._read(), sample)[0].draw in drawn:
            sample += 1
        return self._draw(sample)

    def _move(self, node: Node, ways: Iterable[Node] = ()) -> None:
        """Go to a place, once that is kept; redo then leads along `ways`."""
        self._tell_place(node)
        self._redo |= {way.parent.id: way for way in ways if way.parent is not None}
        self._stand_on(node)

    def _stand_on(self, node: Node, ids: tuple[int, ...] | None = None, handle: Any = None) -> None:
        """Be at a place; its ids and the engine's handle for what comes before it save a search."""
        self._at, self._ids, self._handle, self._known = node, ids, handle, None
        self.changed()

    def _read(self) -> Reading:
        """What the model and the chain say here."""
        node = self.node
        if self._known is None:
            path = self.writer.path_to(node, self.ids, self._handle)
            self._known = self.writer.reader.read([path])[0]
        return self._known

    def _force(self, token_id: int) -> Step:
        reading = self._read()
        return self._go(self.writer.forced(self.node, reading, token_id), reading)

    def _go(self, choice: Choice, reading: Reading) -> Step:
        """Stand on the child for a choice."""
        node = self.node
        child = self.made(self.writer.child(node, reading, choice), stay=False)
        self._redo[node.id] = child
        self._stand_on(child, (*reading.path.ids, choice.token_id), reading.heard.node)
        assert child.step is not None
        return child.step


def _count(n: int) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise ValueError(f"n must be a whole number of at least 0, got {n!r}")
    return n
