"""Many prefixes at once: read by the model, sent through the chain, and remembered token by token.

Knows nothing about which continuation is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from tokenglass.engines.base import Engine, Floats, Forward, Prefix
from tokenglass.random import Source
from tokenglass.reading.limits import Limits, Watch
from tokenglass.reading.listed import reading_of
from tokenglass.reading.readings import Heard, Link, Path, Reading
from tokenglass.recording import checked, piece
from tokenglass.stages.base import Stage, start
from tokenglass.stages.context import Context
from tokenglass.stages.ledger import Ledger, is_built_in, run
from tokenglass.stages.listed import filled
from tokenglass.stages.masks import PrefixAllowedTokens
from tokenglass.stages.row import MASKED, Domain, Row
from tokenglass.stages.scaling import RemoveInvalidValues
from tokenglass.text import Utf8Stream
from tokenglass.types import FinishReason, Listing, Step, Vocabulary
from tokenglass.types import Sequence as Written

__all__ = ["Heard", "Link", "Path", "Reader", "Reading", "log_softmax", "sequence"]


class _Word(NamedTuple):
    """What an engine says after one prefix: its handle, a row, and what it listed if it only lists."""

    node: Any
    logits: Floats
    listing: Listing | None = None


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
        negative_ids: what stands in the prompt's place in the other reading of each path, for guidance: a
            negative prompt, or, as in transformers, the prompt's last id alone. None where nothing guides.
        candidates: rows keep a candidate order, as llama.cpp's do.
        batch_index: which text of a call this is, as `prefix_allowed_tokens_fn` is told; transformers numbers
            samples, and takes all beams of a prompt for one.
    """

    engine: Engine
    vocabulary: Vocabulary
    prompt_ids: tuple[int, ...]
    stages: tuple[Stage, ...]
    watch: Watch
    source: Source | None = None
    domain: Domain = "logits"
    negative_ids: tuple[int, ...] | None = None
    candidates: bool = False
    batch_index: int = 0

    @classmethod
    def of(
        cls,
        engine: Engine,
        vocabulary: Vocabulary,
        prompt_ids: Sequence[int],
        stages: Sequence[Stage],
        limits: Limits,
        source: Source | None = None,
        domain: Domain = "logits",
        negative_ids: Sequence[int] | None = None,
        candidates: bool = False,
        batch_index: int = 0,
    ) -> Reader:
        """A reader of one prompt, with the clock started.

        Raises:
            ValueError: an empty prompt or negative prompt, or no room after the prompt.
        """
        prompt = tuple(int(i) for i in prompt_ids)
        negative = None if negative_ids is None else tuple(int(i) for i in negative_ids)
        if negative is not None and not negative:
            raise ValueError("negative_ids must hold at least one id, such as the prompt's last, got none")
        longer = max(0, len(negative or ()) - len(prompt))  # both readings must fit into the context
        watch = limits.watch(prompt, vocabulary, engine.info.context_length - longer)
        chain = tuple(stages)
        return cls(
            engine, vocabulary, prompt, chain, watch, source, domain, negative, candidates, batch_index
        )

    def tail(self, ids: Sequence[int]) -> bytes:
        """The last bytes of some tokens, as far as a stop string could reach back."""
        return self.watch.limits.tail(ids, self.vocabulary)

    def start(self) -> Path:
        """The prompt."""
        return Path(self.prompt_ids, tail=self.watch.tail)

    def room(self, path: Path) -> int:
        """How many more ids the engine could read, in both readings of a path."""
        longer = max(0, len(self.negative_ids or ()) - len(self.prompt_ids))
        return self.engine.info.context_length - len(path.ids) - longer

    def context(self, path: Path, unconditional: Floats | None = None) -> Context:
        """The surroundings of the step after a path."""
        size = len(self.prompt_ids)
        return Context(
            prompt_ids=self.prompt_ids,
            generated_ids=path.ids[size:],
            max_length=self.watch.total,
            eos_ids=self.watch.eos_ids,
            source=self.source,
            unconditional=unconditional,
            vocabulary=self.vocabulary,
            batch_index=self.batch_index,
        )

    @property
    def repairs(self) -> bool:
        """Whether a stage repairs what is broken in the model's logits."""
        return any(isinstance(stage, RemoveInvalidValues) for stage in self.stages)

    def hear(self, paths: Sequence[Path], *, layers: Sequence[int] = (), hidden_last: int = 1) -> list[Heard]:
        """The model's word after each path, and where there is guidance on its other reading, in one run."""
        others = self.others(paths)
        asked = [Prefix(path.ids, path.node) for path in paths] + ([] if layers else others)
        forward = self.engine.forward(asked, layers=layers, hidden_last=hidden_last)
        words = self._words(forward, asked)
        if layers and others:  # nobody wants their hidden states, of which they may be too short
            words += self._words(self.engine.forward(others), others)
        hidden = [{layer: rows[i] for layer, rows in forward.hidden.items()} for i in range(len(paths))]
        heard = [
            Heard(path, word.node, word.logits, own, listing=word.listing)
            for path, word, own in zip(paths, words, hidden, strict=False)
        ]
        if not others:
            return heard
        second = zip(heard, words[len(paths) :], strict=True)
        return [replace(h, other_node=word.node, unconditional=word.logits) for h, word in second]

    def _words(self, forward: Forward, prefixes: Sequence[Prefix]) -> list[_Word]:
        """What the engine says after each prefix."""
        if forward.logits is None and forward.top:
            size = self.engine.info.vocab_size
            pairs = zip(forward.nodes, forward.top, strict=True)
            return [_Word(node, filled(listing, size), listing) for node, listing in pairs]
        rows = forward.logits
        logits = [
            checked(None if rows is None else rows[i : i + 1], len(prefix.ids), repaired=self.repairs)
            for i, prefix in enumerate(prefixes)
        ]
        return [_Word(node, row) for node, row in zip(forward.nodes, logits, strict=True)]

    def others(self, paths: Sequence[Path]) -> list[Prefix]:
        """Each path with the negative prompt in the prompt's place; none where there is no guidance."""
        if self.negative_ids is None:
            return []
        size = len(self.prompt_ids)
        return [Prefix((*self.negative_ids, *path.ids[size:]), path.other_node) for path in paths]

    def judge(self, heard: Sequence[Heard]) -> list[Reading]:
        """The chain's word on what was heard."""
        books = self._ledgers(heard, self.stages)
        return [
            reading_of(h, book, self.stages, self.vocabulary) for h, book in zip(heard, books, strict=True)
        ]

    def read(self, paths: Sequence[Path]) -> list[Reading]:
        """The model's and the chain's word after each path."""
        return self.judge(self.hear(paths))

    def _ledgers(self, heard: Sequence[Heard], chain: tuple[Stage, ...]) -> list[Ledger]:
        quiet = tuple(replace(s, revive=False) if isinstance(s, PrefixAllowedTokens) else s for s in chain)
        books = [self.apply(h, quiet) for h in heard]
        for place, stage in enumerate(chain):
            # transformers brings forbidden tokens back only where no beam at all has an allowed one
            dead = (book.rows[place + 1].argmax < 0 for book in books)
            if isinstance(stage, PrefixAllowedTokens) and stage.revive and all(dead):
                return [self.apply(h, chain) for h in heard]
        return books

    def apply(self, heard: Heard, stages: Sequence[Stage] | None = None) -> Ledger:
        """The chain's books on what was heard."""
        row = heard.row
        if self.domain == "logprobs":
            row = Row.of(log_softmax(row), domain="logprobs")
        elif self.candidates:
            row = Row.of(heard.logits, candidates=True)
        chain = self.stages if stages is None else stages
        return run(chain, row, self.context(heard.path, heard.unconditional), heard.path.states)

    def extended(self, reading: Reading, step: Step) -> Path:
        """A path with the token of a step."""
        path = reading.path
        return Path(
            (*path.ids, step.id),
            reading.heard.node,
            reading.heard.other_node,
            reading.ledger.states,
            Link(path.written, step),
            self.watch.longer(path.tail, step.token),
        )

    def reason(self, path: Path, token_id: int, late: bool | None = None) -> FinishReason | None:
        """Why a text would end with a token after a path, or None; `late` as in `Watch.reason`."""
        token = self.vocabulary.token(token_id)
        reason = self.watch.reason(token, self.watch.longer(path.tail, token), len(path.ids) + 1, late)
        return "grammar" if reason is None and self._is_complete(path, token_id) else reason

    def _is_complete(self, path: Path, token_id: int) -> bool:
        """Whether a grammar allows nothing more, and no end-of-text token can be written to say so."""
        standings = [s.standing for s in self.stages if hasattr(s, "standing")]  # of `stages.grammar.Grammar`
        if not standings or self._can_end(replace(path, ids=(*path.ids, token_id))):
            return False
        written = (*path.ids[len(self.prompt_ids) :], token_id)
        return any(standing(written, self.watch.eos_ids).must_end for standing in standings)

    def _can_end(self, path: Path) -> bool:
        """Whether the stages beside the grammar leave any end-of-text token after a path.

        Only stages without a memory are asked, and none of the user's: neither may be called out of turn.
        """
        size = self.engine.info.vocab_size
        if not self.watch.eos_ids:
            return False
        ends = np.full(size, MASKED)
        ends[[i for i in self.watch.eos_ids if 0 <= i < size]] = 0.0
        quiet = [
            stage
            for stage in self.stages
            if is_built_in(stage)
            and not isinstance(stage, PrefixAllowedTokens)
            and not hasattr(stage, "standing")
            and start(stage) is None
        ]
        flat = np.zeros(size, dtype=np.float32)
        return run(quiet, Row.of(ends), self.context(path, flat), record=False).row.argmax >= 0


def log_softmax(row: Row) -> Floats:
    """Natural-log probabilities (V,) of a row in float32, subtracted in the order torch does."""
    best = row.scores.max()
    with np.errstate(over="ignore", invalid="ignore"):  # logits that a stage is to repair may hold anything
        lp: Floats = (row.scores - best) - np.float32(row.moments.logsumexp - float(best))
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
