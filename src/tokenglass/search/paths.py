"""Many prefixes at once: read by the model, sent through the chain, and remembered token by token.

Knows nothing about which continuation is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tokenglass import numbers
from tokenglass.decode import checked, piece, record
from tokenglass.engines.base import Engine, Floats, Prefix
from tokenglass.random import Source
from tokenglass.search.limits import Watch
from tokenglass.select.base import margin
from tokenglass.stages.base import Stage
from tokenglass.stages.context import Context
from tokenglass.stages.ledger import Ledger, run
from tokenglass.stages.masks import PrefixAllowedTokens
from tokenglass.stages.row import Domain, Row
from tokenglass.text import Utf8Stream
from tokenglass.types import FinishReason, Origin, Step, Vocabulary
from tokenglass.types import Sequence as Written


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
        states: of the chain's stages, one each; None before the first step.
        written: the steps so far.
        tail: last bytes of prompt and text, for stop strings.
    """

    ids: tuple[int, ...]
    node: Any = None
    states: tuple[Any, ...] | None = None
    written: Link | None = None
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the model says after one path.

    Attributes:
        path: the path.
        node: the engine's handle for all of it.
        logits: (V,) the model's own.
        hidden: layer -> (positions, D), where asked for.
    """

    path: Path
    node: Any
    logits: Floats
    hidden: Mapping[int, Floats] = field(default_factory=dict)


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
    def _first(self) -> Step:
        """What every token chosen here has in common; the token itself is only a stand-in."""
        token = self.vocabulary.token(int(self.logits.argmax()))
        step = record(self.logits, token, len(self.path.ids), "", "greedy", self.vocabulary)
        removed = {i: name for i in step.top_ids.tolist() if (name := self.ledger.removed.get(i)) is not None}
        final = np.exp(self.row.scores[step.top_ids].astype(np.float64) - self.row.moments.logsumexp)
        return replace(step, margin=self.margin, top_final=final, stages=self.ledger.stages, removed=removed)

    def p(self, token_id: int) -> float:
        """A token's probability after the chain."""
        return float(np.exp(float(self.row.scores[token_id]) - self.row.moments.logsumexp))

    def step(
        self, token_id: int, origin: Origin, draw: float | None = None, cdf: tuple[float, float] | None = None
    ) -> Step:
        """The record of choosing a token here."""
        logit = float(self.logits[token_id])
        return replace(
            self._first,
            token=self.vocabulary.token(token_id),
            logit=logit,
            logprob=logit - self._first.logsumexp,
            rank=numbers.rank(self.logits, token_id),
            p_final=self.p(token_id),
            origin=origin,
            draw=draw,
            cdf=cdf,
        )


@dataclass(frozen=True)
class Reader:
    """Reads paths: the model, then the chain.

    Attributes:
        engine: gives logits for ids.
        vocabulary: names ids.
        prompt_ids: the prompt.
        stages: the chain, in order.
        watch: the limits.
        source: uniform numbers, or None where nothing may draw.
        domain: what the chain is given: the logits as they are, or their log-softmax.
    """

    engine: Engine
    vocabulary: Vocabulary
    prompt_ids: tuple[int, ...]
    stages: tuple[Stage, ...]
    watch: Watch
    source: Source | None = None
    domain: Domain = "logits"

    def start(self) -> Path:
        """The prompt."""
        return Path(self.prompt_ids, tail=self.watch.tail)

    def context(self, path: Path) -> Context:
        """The surroundings of the step after a path."""
        size = len(self.prompt_ids)
        return Context(
            prompt_ids=self.prompt_ids,
            generated_ids=path.ids[size:],
            max_length=self.watch.total,
            eos_ids=self.watch.eos_ids,
            source=self.source,
            vocabulary=self.vocabulary,
        )

    def hear(self, paths: Sequence[Path], *, layers: Sequence[int] = (), hidden_last: int = 1) -> list[Heard]:
        """The model's word after each path, in one run of the engine."""
        forward = self.engine.forward(
            [Prefix(path.ids, path.node) for path in paths], layers=layers, hidden_last=hidden_last
        )
        rows = forward.logits
        return [
            Heard(
                path,
                forward.nodes[i],
                checked(None if rows is None else rows[i : i + 1], len(path.ids)),
                {layer: hidden[i] for layer, hidden in forward.hidden.items()},
            )
            for i, path in enumerate(paths)
        ]

    def judge(self, heard: Sequence[Heard], stages: Sequence[Stage] | None = None) -> list[Reading]:
        """The chain's word on what was heard; another chain than the reader's where given."""
        chain = self.stages if stages is None else tuple(stages)
        books = self._ledgers(heard, chain)
        return [Reading(h, book, self.vocabulary) for h, book in zip(heard, books, strict=True)]

    def read(self, paths: Sequence[Path]) -> list[Reading]:
        """The model's and the chain's word after each path."""
        return self.judge(self.hear(paths))

    def _ledgers(self, heard: Sequence[Heard], chain: tuple[Stage, ...]) -> list[Ledger]:
        quiet = tuple(replace(s, revive=False) if isinstance(s, PrefixAllowedTokens) else s for s in chain)
        books = [self.apply(h.path, h.logits, quiet) for h in heard]
        for place, stage in enumerate(chain):
            # transformers brings forbidden tokens back only where no beam at all has an allowed one
            dead = (book.rows[place + 1].argmax < 0 for book in books)
            if isinstance(stage, PrefixAllowedTokens) and stage.revive and all(dead):
                return [self.apply(h.path, h.logits, chain) for h in heard]
        return books

    def apply(self, path: Path, logits: Floats, stages: Sequence[Stage] | None = None) -> Ledger:
        """The chain's books after one path."""
        scores = log_softmax(logits) if self.domain == "logprobs" else logits
        chain = self.stages if stages is None else stages
        return run(chain, Row.of(scores, domain=self.domain), self.context(path), path.states)

    def extended(self, reading: Reading, step: Step) -> Path:
        """A path with the token of a step."""
        path = reading.path
        return Path(
            (*path.ids, step.id),
            reading.heard.node,
            reading.ledger.states,
            Link(path.written, step),
            self.watch.longer(path.tail, step.token),
        )

    def reason(self, path: Path, token_id: int) -> FinishReason | None:
        """Why a text would end with a token after a path, or None."""
        token = self.vocabulary.token(token_id)
        return self.watch.reason(token, self.watch.longer(path.tail, token), len(path.ids) + 1)


def log_softmax(logits: Floats) -> Floats:
    """Natural-log probabilities (V,) in float32, subtracted in the order torch does."""
    best = logits.max()
    rest = numbers.summarize(logits).logsumexp - float(best)
    lp: Floats = (logits - best) - np.float32(rest)
    return lp


def sequence(
    written: Link | None, vocabulary: Vocabulary, reason: FinishReason, score: float | None = None
) -> Written:
    """A finished path as a result: its text cut into whole characters, its last step with the reason."""
    steps = list(written.steps())[::-1] if written is not None else []
    stream, done = Utf8Stream(), []
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        text = piece(stream, vocabulary.token(step.id), ends=last)
        done.append(replace(step, text=text, finish_reason=reason if last else None))
    return Written(tuple(s.id for s in done), "".join(s.text for s in done), tuple(done), reason, score)
