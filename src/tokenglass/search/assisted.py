"""Assisted (speculative) decoding: a small model drafts, the model decides.

Source: Leviathan et al. 2022, arXiv:2211.17192; transformers 5.23, `_assisted_decoding` and
`AssistedCandidateGenerator`, with one vocabulary for both models.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from tokenglass.engines.base import Engine
from tokenglass.random import Source
from tokenglass.reading.limits import Limits
from tokenglass.reading.paths import Path, Reader
from tokenglass.search.drafting import Proposal, rounds
from tokenglass.search.options import AssistedOptions
from tokenglass.search.records import DraftStep
from tokenglass.select.base import Greedy, choose_by_id
from tokenglass.stages.base import Stage
from tokenglass.stages.row import Row
from tokenglass.types import Sequence as Written
from tokenglass.types import Vocabulary


def assisted(
    engine: Engine,
    vocabulary: Vocabulary,
    prompt_ids: Sequence[int],
    options: AssistedOptions,
    stages: Sequence[Stage] = (),
    *,
    assistant: Engine,
    limits: Limits,
    source: Source | None = None,
    negative_ids: Sequence[int] | None = None,
) -> Generator[DraftStep, None, tuple[Written, ...]]:
    """Write what the model alone would write, in fewer runs of it.

    A stop string ends the text at the token that completes it, also in the middle of a round.

    Args:
        engine: decides.
        vocabulary: names the ids of both models.
        prompt_ids: at least one id.
        options: how many tokens to draft, and when to stop drafting.
        stages: the chain, applied to both models' logits.
        assistant: drafts; with the same vocabulary.
        limits: what ends a text.
        source: uniform numbers, needed when sampling.
        negative_ids: read in the prompt's place where a stage guides: a negative prompt, or its last id.

    Yields:
        A record of each round.

    Returns:
        One sequence; accepted drafts have the origin "draft".

    Raises:
        ValueError: vocabularies of different sizes, or no source to sample with.
        NoTokenAllowed: every token was banned.
    """
    if assistant.info.vocab_size != engine.info.vocab_size:
        raise ValueError(
            f"assistant must have the model's vocabulary of {engine.info.vocab_size} tokens, "
            f"got one of {assistant.info.vocab_size}"
        )
    if options.do_sample and source is None:
        raise ValueError("source must be given where do_sample=True, got None")
    reader = Reader.of(engine, vocabulary, prompt_ids, stages, limits, source, negative_ids=negative_ids)
    drafter = Assistant(replace(reader, engine=assistant), options, options.num_assistant_tokens)
    return rounds(reader, drafter, options.do_sample)


@dataclass
class Assistant:
    """Drafts with a model of its own.

    Args:
        reader: of the assistant, with the main model's chain.
        options: when to stop.
        most: how many tokens it drafts at most in the next round; the schedule moves it.
    """

    reader: Reader
    options: AssistedOptions
    most: int

    def propose(self, path: Path, room: int) -> Proposal:
        """Its own continuation of a path, up to an end, or to a token it is not sure of."""
        budget = min(self.most, room, self.reader.room(path))
        tokens: list[int] = []
        rows: list[Row] = []
        here = replace(path, node=None, other_node=None)
        while len(tokens) < budget:
            (reading,) = self.reader.read([here])
            reading.ledger.require_sound(len(here.ids))
            if reading.row.argmax < 0:
                break
            context = self.reader.context(here)
            if self.options.do_sample:
                choice = choose_by_id(reading.row, context.uniform("draft"))
            else:
                choice = Greedy().select(reading.row, context)
            tokens.append(choice.token_id)
            rows.append(reading.row)
            unsure = choice.p < self.options.assistant_confidence_threshold
            if unsure or choice.token_id in self.reader.watch.eos_ids:
                break
            ids = (*here.ids, choice.token_id)
            heard = reading.heard
            here = Path(ids, heard.node, heard.other_node, reading.ledger.states, here.written, here.tail)
        return Proposal(tuple(tokens), tuple(rows), budget)

    def learn(self, drafted: int, accepted: int) -> None:
        """Move the number of drafts, where the schedule does."""
        if self.options.num_assistant_tokens_schedule != "constant":
            self.most = self.most + 2 if accepted == drafted else max(1, self.most - 1)
