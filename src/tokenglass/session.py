"""A text written by hand: step, undo, redo, force. Nothing that was written is lost.

A session is a tree of token ids; where it stands is one node. Undo goes to the parent, redo to the child last
visited; another token beside an undone one begins a branch and leaves the first in place.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

import numpy as np

from tokenglass.config import GenerationConfig
from tokenglass.decode import checked, finish_reason, piece, record
from tokenglass.engines.base import Prefix
from tokenglass.text import Utf8Stream
from tokenglass.types import FinishReason, NextTokens, Origin, Step, Token

if TYPE_CHECKING:
    from tokenglass.model import Model


@dataclass(eq=False)
class Node:
    """A place in the tree.

    Attributes:
        id: number in order of creation; the prompt is 0.
        parent: the place before, or None for the prompt.
        step: the token that led here, or None for the prompt.
        prefix: all ids up to here.
        pending: bytes of a character that is not complete yet.
        children: token id -> place.
        latest: the child visited last, where redo goes.
    """

    id: int
    parent: Node | None
    step: Step | None
    prefix: Prefix
    pending: bytes = b""
    children: dict[int, Node] = field(default_factory=dict)
    latest: Node | None = None


class Session:
    """One prompt and everything written after it.

    Args:
        model: that writes.
        prompt_ids: at least one id.
        config: when a text ends; a session has no length limit of its own.
    """

    def __init__(self, model: Model, prompt_ids: tuple[int, ...], config: GenerationConfig) -> None:
        self.model = model
        self.prompt_ids = prompt_ids
        self.config = config
        self._here = Node(0, None, None, Prefix(prompt_ids))
        self._count = 1
        self._limited = (
            config.sources.get("max_new_tokens") == "you" or config.sources.get("max_length") == "you"
        )
        self._known: tuple[Node, NextTokens] | None = None

    def __repr__(self) -> str:
        return f"<Session on {self.model.info.name}: {len(self.prompt_ids)} + {len(self.steps)} tokens>"

    # ---------------------------------------------------------------- where

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
        return self._here.prefix.ids

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
        if self._known is None or self._known[0] is not self._here:
            forward = self.model.engine.forward([self._here.prefix])
            ids = self.ids
            self._here.prefix = Prefix(ids, forward.nodes[0])
            table = NextTokens(
                prompt_ids=ids,
                position=len(ids) - 1,
                logits=checked(forward.logits, len(ids)),
                n=10,
                vocabulary=self.model.tokenizer,
                config=self.config.to_dict(),
            )
            self._known = (self._here, table)
        return self._known[1]

    # ----------------------------------------------------------------- moves

    @overload
    def step(self, n: int = 1, token: None = None) -> Step | list[Step]: ...
    @overload
    def step(self, n: int = 1, *, token: int) -> Step: ...
    @overload
    def step(self, n: int = 1, *, token: str) -> Step | list[Step]: ...
    def step(self, n: int = 1, token: int | str | None = None) -> Step | list[Step]:
        """Write the best token, or a given one.

        Args:
            n: how many; fewer come when the text ends.
            token: an id, or a text, which may be several tokens and need not be among the likely ones.

        Returns:
            The step, or a list of steps where `n` is above 1 or the text is several tokens.

        Raises:
            ValueError: the text has ended, or no such token.
            ContextOverflow: the context is full.
        """
        if token is not None:
            forced = [self._force(token_id) for token_id in self._token_ids(token)]
            return forced[0] if len(forced) == 1 else forced
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be a whole number of at least 1, got {n!r}")
        if self.finish_reason is not None:
            raise ValueError(f"the text has ended ({self.finish_reason}); undo, or force a token")
        steps: list[Step] = []
        while len(steps) < n and self.finish_reason is None:
            steps.append(self._go(int(self.next.logits.argmax()), "greedy"))
        return steps[0] if n == 1 else steps

    def undo(self, n: int = 1) -> Step | None:
        """Take back up to `n` tokens; returns the last one taken back, None at the prompt."""
        undone = None
        for _ in range(n):
            parent = self._here.parent
            if parent is None:
                break
            undone, parent.latest, self._here = self._here.step, self._here, parent
        return undone

    def redo(self, n: int = 1) -> Step | None:
        """Put back up to `n` tokens that were taken back; returns the last one, None where there is none."""
        redone = None
        for _ in range(n):
            if self._here.latest is None:
                break
            self._here = self._here.latest
            redone = self._here.step
        return redone

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

    def _force(self, token_id: int) -> Step:
        return self._go(token_id, "forced")

    def _go(self, token_id: int, origin: Origin) -> Step:
        """Stand on the child for a token, made now where it does not exist yet."""
        known = self._here.children.get(token_id)
        if known is None or known.step is None or known.step.origin != origin:
            known = self._child(token_id, origin, known)
        self._here.latest = known
        self._here = known
        assert known.step is not None
        return known.step

    def _child(self, token_id: int, origin: Origin, old: Node | None) -> Node:
        here, token = self._here, self.model.tokenizer.token(token_id)
        logits = self.next.logits
        prefix = here.prefix.extended(token_id)
        stream = Utf8Stream()
        stream.feed(here.pending)
        reason = self._finish_reason(token, prefix)
        text = piece(stream, token)
        step = record(logits, token, len(prefix.ids) - 1, text, origin, self.model.tokenizer, reason)
        if old is not None:
            old.step = step  # the same token chosen another way: the branch below it stays
            return old
        child = Node(self._count, here, step, prefix, stream.pending)
        self._count += 1
        here.children[token_id] = child
        return child

    def _finish_reason(self, token: Token, prefix: Prefix) -> FinishReason | None:
        stops = max((len(stop.encode()) for stop in self.config.stop_strings), default=0)
        tail = b"".join(self.model.tokenizer.token(i).bytes for i in prefix.ids[-stops - 1 :])
        count = len(prefix.ids) - len(self.prompt_ids) if self._limited else 0
        return finish_reason(
            token, tail, count, len(prefix.ids), time.monotonic(), self.model.engine, self.config
        )
