"""Prompt lookup: drafts are copied from where the last tokens stood before.

Source: https://github.com/apoorvumang/prompt-lookup-decoding; transformers 5.23,
`PromptLookupCandidateGenerator`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tokenglass.engines.base import Engine
from tokenglass.random import Source
from tokenglass.reading.limits import Limits
from tokenglass.reading.paths import Heard, Path, Reader
from tokenglass.search.drafting import Proposal, rounds
from tokenglass.search.options import LookupOptions
from tokenglass.search.records import DraftStep
from tokenglass.stages.base import Stage
from tokenglass.stages.row import MASKED
from tokenglass.types import Sequence as Written
from tokenglass.types import Vocabulary


def prompt_lookup(
    engine: Engine,
    vocabulary: Vocabulary,
    prompt_ids: Sequence[int],
    options: LookupOptions,
    stages: Sequence[Stage] = (),
    *,
    limits: Limits,
    source: Source | None = None,
    negative_ids: Sequence[int] | None = None,
) -> Generator[DraftStep, None, tuple[Written, ...]]:
    """Write what the model alone would write, in fewer runs of it where the text repeats itself.

    With `guidance_scale` this holds here too, while transformers' text may part from its own plain decoding
    in rare cases: there the second reading's cache keeps rejected drafts.

    Args:
        engine: decides.
        vocabulary: names ids.
        prompt_ids: at least one id.
        options: how much to look for and to copy.
        stages: the chain, applied to logits.
        limits: what ends a text.
        source: uniform numbers, needed when sampling; the tokens are those of plain sampling with it.
        negative_ids: read in the prompt's place where a stage guides: a negative prompt, or its last id.

    Yields:
        A record of each round.

    Returns:
        One sequence; accepted drafts have the origin "draft".

    Raises:
        ValueError: no source to sample with.
        NoTokenAllowed: every token was banned.
    """
    if options.do_sample and source is None:
        raise ValueError("source must be given where do_sample=True, got None")
    reader = Reader.of(engine, vocabulary, prompt_ids, stages, limits, source, negative_ids=negative_ids)
    return rounds(reader, Lookup(reader, options), options.do_sample)


@dataclass(frozen=True)
class Lookup:
    """Copies drafts from earlier in the text.

    Args:
        reader: with the chain, which says what may not be copied.
        options: how much.
    """

    reader: Reader
    options: LookupOptions

    def propose(self, path: Path, room: int) -> Proposal:
        """What followed the first earlier place where the last ids stand, the longest match first."""
        ids, budget = path.ids, min(self.options.prompt_lookup_num_tokens, room)
        for ngram in range(min(self.options.max_matching_ngram_size, len(ids) - 1), 0, -1):
            for start in _matches(ids, ngram):
                end = min(start + self.options.prompt_lookup_num_tokens, len(ids))
                tokens = self._allowed(path, ids[start:end])
                if not tokens:
                    continue
                # a copied end would be accepted together with what follows it
                ends = (i for i, t in enumerate(tokens) if t in self.reader.watch.eos_ids)
                tokens = tokens[: next(ends, len(tokens))][:room]
                span = (start, start + len(tokens))
                return Proposal(tokens, (), budget, span, ngram) if tokens else Proposal(budget=budget)
        return Proposal(budget=budget)

    def learn(self, drafted: int, accepted: int) -> None:
        """Nothing to learn."""

    def _allowed(self, path: Path, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """The tokens up to the first one that the chain masks in a flat row."""
        if not self.reader.stages:
            return tokens
        flat = np.ones(self.reader.engine.info.vocab_size, dtype=np.float32)
        here = path
        for i, token_id in enumerate(tokens):
            ledger = self.reader.apply(Heard(here, None, flat, unconditional=flat))
            if ledger.row.scores[token_id] == MASKED:
                return tokens[:i]
            here = replace(here, ids=(*here.ids, token_id), states=ledger.states)
        return tokens


def _matches(ids: Sequence[int], ngram: int) -> list[int]:
    """Where an earlier occurrence of the last `ngram` ids ends, leftmost first."""
    array = np.asarray(ids)
    windows = np.lib.stride_tricks.sliding_window_view(array, ngram)[:-1]
    return (np.flatnonzero((windows == array[-ngram:]).all(axis=1)) + ngram).tolist()
