"""A text written by hand: step, undo, redo, force, branch. Nothing that was written is lost.

A session stands at one place of a tree of token ids. Undo goes to the parent, redo to where undo came from;
another token beside an undone one begins a branch and leaves the first in place. A fork is a second session
on the same tree. With a journal, every move is on disk before it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tokenglass.asking import again, cut_by
from tokenglass.chain import Plan
from tokenglass.config import SEARCHES, GenerationConfig
from tokenglass.decode import limits_of, reader_of
from tokenglass.recording import piece
from tokenglass.reading.paths import Path, Reader, Reading
from tokenglass.select import Choice
from tokenglass.stages.base import Stage, start
from tokenglass.text import Utf8Stream
from tokenglass.tree import Node, Tree, key
from tokenglass.types import FinishReason, NextTokens, Step

if TYPE_CHECKING:
    from tokenglass.model import Model

_ENDLESS = 1 << 62


class Session:
    """One prompt and everything written after it.

    Args:
        model: that writes.
        prompt_ids: at least one id.
        config: generation keywords; a session has no length limit unless they set one.

    Raises:
        ValueError: a value outside its interval, or a keyword that asks for a search.
    """

    def __init__(self, model: Model, prompt_ids: tuple[int, ...], config: Mapping[str, Any]) -> None:
        self.model = model
        self.prompt_ids = prompt_ids
        self.tree = Tree(prompt_ids)
        self._given: dict[str, Any] = {}
        self.plan, self._reader = self._planned(config)
        root = self.tree.root
        root.states = _started(self.plan.stages)
        self._redo: dict[int, Node] = {}
        self._stand_on(root)

    def __repr__(self) -> str:
        return f"<Session on {self.model.info.name}: {len(self.prompt_ids)} + {len(self.steps)} tokens>"

    # ---------------------------------------------------------------- where

    @property
    def node(self) -> Node:
        """The place in the tree where the session stands."""
        return self._here

    @property
    def config(self) -> GenerationConfig:
        """The effective configuration."""
        return self.plan.config

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that led here, oldest first."""
        return self._here.steps()

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids, the prompt's included."""
        return self._path.ids

    @property
    def text(self) -> str:
        """Prompt and text so far; an incomplete character is left out until it is complete."""
        return self.model.detokenize(self.prompt_ids) + "".join(step.text for step in self.steps)

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the text ended here, or None while it may go on."""
        return None if self._here.step is None else self._here.step.finish_reason

    @property
    def next(self) -> NextTokens:
        """Which tokens may come next."""
        return self.model.table(self._reading(), self.plan, 10)

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
            raise ValueError(
                "reroll needs do_sample=True and rng='tokenglass'; nothing is drawn that way now"
            )
        steps: list[Step] = []
        while len(steps) < n and self.finish_reason is None:
            again = reroll and not steps
            steps.append(self._go(self._pick(max(1, self._here.samples) if again else 0)))
        return steps[0] if n == 1 else steps

    def undo(self, n: int = 1) -> Step | None:
        """Take back up to `n` tokens; returns the last one taken back, None at the prompt."""
        undone = None
        for _ in range(_count(n)):
            here, parent = self._here, self._here.parent
            if parent is None:
                break
            self._redo[parent.id], undone = here, here.step
            self._stand_on(parent)
        return undone

    def redo(self, n: int = 1) -> Step | None:
        """Put back up to `n` tokens that were taken back; returns the last one, None where there is none."""
        redone = None
        for _ in range(_count(n)):
            child = self._redo.get(self._here.id)
            if child is None or child.pruned:
                break
            self._stand_on(child)
            redone = child.step
        return redone

    def goto(self, node: Node | int | str) -> Node:
        """Stand on any place of the tree, by itself, its number or its name.

        Raises:
            ValueError: no such place, or it was pruned.
        """
        found = self.tree.node(node.id if isinstance(node, Node) else node)
        self._stand_on(found)
        for each in found.lineage():
            if each.parent is not None:
                self._redo[each.parent.id] = each  # redo after an undo leads back here
        return found

    def fork(self) -> Session:
        """Another session at this place of the same tree, free to go elsewhere; nothing is copied."""
        other = object.__new__(Session)
        other.__dict__.update(self.__dict__)
        other._given, other._redo = dict(self._given), dict(self._redo)
        return other

    def set(self, **config: Any) -> GenerationConfig:
        """Change keywords from here on; what is not named keeps its value, the seed included.

        Stages and a selector that stay the same go on with what they remember; others begin anew.

        Raises:
            TypeError: an unknown keyword.
            ValueError: a value outside its interval, or a keyword that asks for a search.
        """
        given = dict(config)
        if self.plan.config.seed is not None and "seed" not in {*self._given, *given}:
            given["seed"] = self.plan.config.seed
        self.plan, self._reader = self._planned(given)
        self._stand_on(self._here)
        return self.plan.config

    def name(self, text: str, node: Node | int | str | None = None) -> Node:
        """Give a place, or the one here, a name to go back to; "" takes it away.

        Raises:
            ValueError: another place has that name, or no such place.
        """
        place = self._place(node)
        taken = [each.id for each in self.tree if text and each.name == text and each is not place]
        if taken:
            raise ValueError(f"name {text!r} belongs to node {taken[0]}; take another")
        place.name = str(text)
        return place

    def note(self, text: str, node: Node | int | str | None = None) -> Node:
        """Write a note on a place, or the one here."""
        place = self._place(node)
        place.notes.append(str(text))
        return place

    def prune(self, node: Node | int | str | None = None) -> int:
        """Take a place, or the one here, off with all that follows it; returns how many places went.

        A session that stood there goes to the place before.

        Raises:
            ValueError: the prompt, or no such place.
        """
        place = self._place(node)
        gone = self.tree.prune(place)
        if self._here.pruned and place.parent is not None:
            self._stand_on(place.parent)
        return gone

    # --------------------------------------------------------------- private

    def _place(self, node: Node | int | str | None) -> Node:
        if node is None:
            return self._here
        return self.tree.node(node.id if isinstance(node, Node) else node)

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

    def _planned(self, config: Mapping[str, Any]) -> tuple[Plan, Reader]:
        """The plan of the keywords so far and these, and what reads with it; the keywords are kept."""
        given = {**self._given, **config}
        plan = self.model.plan(given, self.prompt_ids)
        if plan.config.mode in SEARCHES:
            name = plan.config.mode.replace("_", " ")
            raise ValueError(f"a session writes token by token, which {name} cannot; use model.search")
        if plan.config["num_return_sequences"] > 1:
            raise ValueError("a session writes one text; fork it for another, or use model.generate")
        # a session has no clock, and no limit but the context unless one was asked for
        limits = replace(limits_of(plan.config), max_time=None)
        if not {"max_new_tokens", "max_length"} & set(given):
            limits = replace(limits, max_new_tokens=None, max_length=_ENDLESS)
        reader = reader_of(self.model.engine, self.model.tokenizer, self.prompt_ids, plan, limits)
        self._given = given
        self._config = self.tree.config_index(given)
        return plan, reader

    def _stand_on(self, node: Node) -> None:
        """Be at a place, with what the present chain remembers there."""
        self._here = node
        self._known: Reading | None = None
        ids = self.tree.ids(node)
        self._path = Path(ids, states=self._states(node), tail=self._reader.tail(ids))

    def _states(self, node: Node) -> tuple[Any, ...]:
        """What each stage of the present chain remembers at a place; those that were not there begin anew."""
        before = node.states or ()
        return tuple(
            next((state for known, state in before if known == stage), start(stage))
            for stage in self.plan.stages
        )

    def _state(self) -> Any:
        """What the present selector remembers here; another one than at the time begins anew."""
        picks = self.plan.selector
        return self._here.state[1] if self._here.state and self._here.state[0] == picks else picks.start()

    def _reading(self) -> Reading:
        """What the model and the chain say here."""
        if self._known is None:
            self._known = self._reader.read([self._path])[0]
        return self._known

    def _pick(self, sample: int) -> Choice:
        """The token that the configuration picks here, with the random number of one sample."""
        reading = self._reading()
        reading.ledger.require_alive(len(self.ids))
        reader = replace(self._reader, source=self.plan.source(sample)) if sample else self._reader
        self._here.samples = max(self._here.samples, sample + 1)
        return self.plan.selector.select(reading.row, reader.context(self._path), self._state())

    def _force(self, token_id: int) -> Step:
        reading = self._reading()
        return self._go(Choice(token_id, reading.p(token_id), reading.row, self._state(), "forced"))

    def _go(self, choice: Choice) -> Step:
        """Stand on the child for a choice, made now where it does not exist yet."""
        here, reading = self._here, self._reading()
        known = here.children.get(key(choice, self._config)) or self._child(choice)
        self._redo[here.id] = known
        self._stand_on(known)
        self._path = replace(self._path, node=reading.heard.node)
        assert known.step is not None
        return known.step

    def _child(self, choice: Choice) -> Node:
        here, reading, tree = self._here, self._reading(), self.tree
        stream = Utf8Stream()
        stream.feed(here.pending)
        step = reading.chosen(choice, self.plan.selector)
        step = replace(
            step,
            text=piece(stream, step.token),
            finish_reason=self._reader.reason(self._path, choice.token_id),
            reread=again(
                self._reader,
                lambda: tree.ids(here),
                self._path.states,
                cut_by(reading, choice, self.plan.selector, self._state()),
            ),
        )
        states = tuple(zip(self.plan.stages, reading.ledger.states, strict=True))
        state = (self.plan.selector, choice.state)
        return tree.add(here, step, states=states, state=state, pending=stream.pending, config=self._config)


def _started(stages: tuple[Stage, ...]) -> tuple[Any, ...]:
    return tuple((stage, start(stage)) for stage in stages)


def _count(n: int) -> int:
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise ValueError(f"n must be a whole number of at least 0, got {n!r}")
    return n
