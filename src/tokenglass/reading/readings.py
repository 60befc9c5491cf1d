"""One prefix on its way, and what the model and the chain say after it, down to the record of a choice.

Knows nothing about how prefixes are read, nor which continuation is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tokenglass.engines.base import Floats
from tokenglass.recording import TOP
from tokenglass.select.base import Choice, Selector, margin
from tokenglass.stages.books import Overview, overview
from tokenglass.stages.ledger import Ledger
from tokenglass.stages.row import Row
from tokenglass.stages.sums import Doubles
from tokenglass.types import Origin, Removal, Step, Tail, Vocabulary


@dataclass(frozen=True, slots=True)
class Link:
    """One written token and the ones before it; branches share their beginnings."""

    before: Link | None
    step: Step

    def steps(self) -> Iterator[Step]:
        """The steps, last first."""
        link: Link | None = self
        while link is not None:
            yield link.step
            link = link.before


@dataclass(frozen=True, slots=True)
class Path:
    """One prefix on its way.

    Attributes:
        ids: prompt and text.
        node: the engine's handle for a leading part of them.
        other_node: the same for negative prompt and text, where there is guidance.
        states: of the chain's stages, one each; None before the first step.
        written: the steps so far.
        tail: last bytes of prompt and text, for stop strings.
    """

    ids: tuple[int, ...]
    node: Any = None
    other_node: Any = None
    states: tuple[Any, ...] | None = None
    written: Link | None = None
    tail: bytes = b""


@dataclass(frozen=True)
class Heard:
    """What the model says after one path.

    Attributes:
        path: the path.
        node: the engine's handle for all of it.
        logits: (V,) the model's own.
        hidden: layer -> (positions, D), where asked for.
        other_node: the engine's handle for negative prompt and text, where there is guidance.
        unconditional: (V,) the model's own after those.
    """

    path: Path
    node: Any
    logits: Floats
    hidden: Mapping[int, Floats] = field(default_factory=dict)
    other_node: Any = None
    unconditional: Floats | None = None

    @cached_property
    def row(self) -> Row:
        """The logits as a row, which remembers its order and its sums."""
        return Row.of(self.logits)


@dataclass(frozen=True)
class Reading:
    """What the model and the chain say after one path.

    Attributes:
        heard: the model's word.
        ledger: the chain's rows and records.
        vocabulary: names the ids.
    """

    heard: Heard
    ledger: Ledger
    vocabulary: Vocabulary

    @property
    def path(self) -> Path:
        """The path that was read."""
        return self.heard.path

    @property
    def logits(self) -> Floats:
        """(V,) the model's own."""
        return self.heard.logits

    @property
    def row(self) -> Row:
        """Scores after the chain."""
        return self.ledger.row

    @cached_property
    def margin(self) -> float:
        """Score of the best token minus the runner-up's, after the chain."""
        return margin(self.row)

    @cached_property
    def _short(self) -> Overview:
        return overview(self.heard.row, TOP)

    @cached_property
    def _top_final(self) -> Doubles:
        return self._probs(self.row.scores[self._short.top_ids])

    @cached_property
    def _trail(self) -> Doubles | None:
        """(stages + 1, M) probabilities of the likeliest tokens after each stage; None without a chain."""
        return self.ledger.probs(self._short.top_ids) if len(self.ledger.rows) > 1 else None

    @cached_property
    def _tail(self) -> Tail | None:
        return Tail.of(self.logits, self._short.top_scores)

    @cached_property
    def _removed(self) -> dict[int, Removal]:
        return {} if self._trail is None else self.ledger.removals(self._short.top_ids, self._trail)

    def p(self, token_id: int) -> float:
        """A token's probability after the chain."""
        return float(self._probs(self.row.scores[token_id]))

    def _probs(self, scores: Any) -> Doubles:
        return self.row.moments.probs(scores)

    def step(
        self, token_id: int, origin: Origin, draw: float | None = None, cdf: tuple[float, float] | None = None
    ) -> Step:
        """The record of choosing a token here."""
        short, logit = self._short, float(self.logits[token_id])
        return Step(
            position=len(self.path.ids),
            token=self.vocabulary.token(token_id),
            text="",
            logit=logit,
            logprob=logit - short.logsumexp,
            rank=short.rank(token_id),
            entropy_bits=short.entropy_bits,
            p_final=self.p(token_id),
            origin=origin,
            margin=self.margin,
            top_ids=short.top_ids,
            top_logits=short.top_scores,
            top_final=self._top_final,
            logsumexp=short.logsumexp,
            vocabulary=self.vocabulary,
            stages=self.ledger.stages if self._trail is not None else (),
            removed=self._removed,
            draw=draw,
            cdf=cdf,
            trail=None if self._trail is None else self._trail.astype(np.float32),
            tail=self._tail,
        )

    def chosen(self, choice: Choice, selector: Selector) -> Step:
        """The record of what a selector chose here, with every stage's word on the likeliest tokens."""
        step = self.step(choice.token_id, choice.origin, choice.draw, choice.cdf)
        if choice.row is self.row:
            return step
        books = self.ledger.followed_by(selector, choice.row, choice.facts)
        trail = books.probs(step.top_ids)
        return replace(
            step,
            stages=books.stages,
            trail=trail.astype(np.float32),
            top_final=trail[-1],
            p_final=choice.p,
            margin=margin(choice.row),
            removed=books.removals(step.top_ids, trail),
        )
