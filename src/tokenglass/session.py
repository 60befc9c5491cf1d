"""A text written by hand: step, undo, redo, force. Nothing that was written is lost.

A session is a tree of token ids; where it stands is one node. Undo goes to the parent, redo to the child last
visited; another token beside an undone one begins a branch and leaves the first in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from tokenglass.chain import Plan
from tokenglass.config import SEARCHES, GenerationConfig
from tokenglass.decode import limits_of, reader_of, step_of
from tokenglass.recording import piece
from tokenglass.search.paths import Path, Reader, Reading
from tokenglass.select import Choice
from tokenglass.stages.base import start
from tokenglass.text import Utf8Stream
from tokenglass.types import FinishReason, NextTokens, Step

if TYPE_CHECKING:
    from tokenglass.model import Model


_ENDLESS = 1 << 62


@dataclass(eq=False)
class Node:
    """A place in the tree.

    Attributes:
        id: number in order of creation; the prompt is 0.
        parent: the place before, or None for the prompt.
        step: the token that led here, or None for the prompt.
        path: all ids up to here, with what the chain remembers.
        state: what the selector remembers.
        pending: bytes of a character that is not complete yet.
        children: token id -> place.
        samples: how many different draws were made here.
    """

    id: int
    parent: Node | None
    step: Step | None
    path: Path
    state: Any = None
    pending: bytes = b""
    children: dict[int, Node] = field(default_factory=dict)
    samples: int = 0


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
        self._given: dict[str, Any] = {}
        self.plan, self._reader = self._planned(prompt_ids, config)
        self.prompt_ids = prompt_ids
        self._here = Node(0, None, None, self._reader.start(), self.plan.selector.start())
        self._count = [1]  # shared by forks, as the tree is
        self._redo: dict[int, Node] = {}
        self._known: tuple[Node, Reading] | None = None

    def __repr__(self) -> str:
        return f"<Session on {self.model.info.name}: {len(self.prompt_ids)} + {len(self.steps)} tokens>"

    # ---------------------------------------------------------------- where

    @property
    def config(self) -> GenerationConfig:
        """The effective configuration."""
        return self.plan.config

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that led here, oldest first."""
        steps: list[Step] = []
        node: Node | None = self._here
        while node is not None and node.step is not None:
            steps.append(node.step)
            node = node.parent
        return tuple(reversed(steps))

    @property
    def ids(self) -> tuple[int, ...]:
        """All ids, the prompt's included."""
        return self._here.path.ids

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
        for _ in range(n):
            parent = self._here.parent
            if parent is None:
                break
            undone, self._redo[parent.id], self._here = self._here.step, self._here, parent
        return undone

    def redo(self, n: int = 1) -> Step | None:
        """Put back up to `n` tokens that were taken back; returns the last one, None where there is none."""
        redone = None
        for _ in range(n):
            child = self._redo.get(self._here.id)
            if child is None:
                break
            self._here, redone = child, child.step
        return redone

    def fork(self) -> Session:
        """Another session at this place of the same tree, free to go elsewhere; nothing is copied."""
        other = object.__new__(Session)
        other.__dict__.update(self.__dict__)
        other._given, other._redo = dict(self._given), dict(self._redo)
        return other

    def set(self, **config: Any) -> GenerationConfig:
        """Change keywords from here on; what is not named keeps its value, the seed included.

        Raises:
            TypeError: an unknown keyword.
            ValueError: a value outside its interval, or a keyword that asks for a search.
        """
        old = self.plan
        if old.config.seed is not None and "seed" not in self._given:
            self._given["seed"] = old.config.seed
        self.plan, self._reader = self._planned(self.prompt_ids, config)
        self._known = None
        self._carry(old)
        return self.plan.config

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

    def _planned(self, prompt_ids: tuple[int, ...], config: Mapping[str, Any]) -> tuple[Plan, Reader]:
        """The plan of the keywords so far and these, and what reads with it; the keywords are kept."""
        given = {**self._given, **config}
        plan = self.model.plan(given, prompt_ids)
        if plan.config.mode in SEARCHES:
            name = plan.config.mode.replace("_", " ")
            raise ValueError(f"a session writes token by token, which {name} cannot; use model.search")
        if plan.config["num_return_sequences"] > 1:
            raise ValueError("a session writes one text; fork it for another, or use model.generate")
        # a session has no clock, and no limit but the context unless one was asked for
        limits = replace(limits_of(plan.config), max_time=None)
        if not {"max_new_tokens", "max_length"} & set(given):
            limits = replace(limits, max_new_tokens=None, max_length=_ENDLESS)
        reader = reader_of(self.model.engine, self.model.tokenizer, prompt_ids, plan, limits)
        self._given = given
        return plan, reader

    def _carry(self, old: Plan) -> None:
        """The states of stages and selector that stay the same go on; others begin anew."""
        before = list(zip(old.stages, self._here.path.states or (), strict=False))
        states = tuple(
            next((state for stage, state in before if stage == s), start(s)) for s in self.plan.stages
        )
        same = self.plan.selector == old.selector
        node = replace(self._here, path=replace(self._here.path, states=states))
        node.state = self._here.state if same else self.plan.selector.start()
        self._here = node

    def _reading(self) -> Reading:
        """What the model and the chain say here."""
        if self._known is None or self._known[0] is not self._here:
            self._known = (self._here, self._reader.read([self._here.path])[0])
        return self._known[1]

    def _pick(self, sample: int) -> Choice:
        """The token that the configuration picks here, with the random number of one sample."""
        reading = self._reading()
        reading.ledger.require_alive(len(self.ids))
        reader = replace(self._reader, source=self.plan.source(sample)) if sample else self._reader
        self._here.samples = max(self._here.samples, sample + 1)
        return self.plan.selector.select(reading.row, reader.context(self._here.path), self._here.state)

    def _force(self, token_id: int) -> Step:
        reading = self._reading()
        return self._go(Choice(token_id, reading.p(token_id), reading.row, self._here.state, "forced"))

    def _go(self, choice: Choice) -> Step:
        """Stand on the child for a choice, made now where it does not exist yet."""
        known = self._here.children.get(choice.token_id)
        if known is None or known.step is None or not _same(known.step, choice):
            known = self._child(choice, known)
        self._redo[self._here.id] = known
        self._here = known
        assert known.step is not None
        return known.step

    def _child(self, choice: Choice, old: Node | None) -> Node:
        here, reading = self._here, self._reading()
        stream = Utf8Stream()
        stream.feed(here.pending)
        step = step_of(self._reader, reading, choice, self.plan.selector)
        reason = self._reader.reason(here.path, choice.token_id)
        step = replace(step, text=piece(stream, step.token), finish_reason=reason)
        path = self._reader.extended(reading, step)
        if old is not None:  # the same token chosen another way: the branch below it stays
            old.step, old.path, old.state = step, path, choice.state
            return old
        child = Node(self._count[0], here, step, path, choice.state, stream.pending)
        self._count[0] += 1
        here.children[choice.token_id] = child
        return child


def _same(step: Step, choice: Choice) -> bool:
    return step.origin == choice.origin and step.draw == choice.draw
