"""The loop that writes tokens, one at a time: read, judge, choose, write, stop.

It knows token ids, logits and bytes; it does not know models, caches or screens. Read it top to bottom.
Several samples of one prompt are written side by side, one run of the model a round; one text is n = 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tokenglass.asking import again, cut_by, ids_of
from tokenglass.chain import Plan
from tokenglass.config import GenerationConfig
from tokenglass.engines.base import Engine
from tokenglass.errors import RemoteError
from tokenglass.reading.limits import Limits
from tokenglass.reading.paths import Path, Reader, Reading
from tokenglass.recording import piece
from tokenglass.select import Choice, Selector, TorchDraw
from tokenglass.stages.row import Domain
from tokenglass.text import Utf8Stream
from tokenglass.types import FinishReason, Step, Vocabulary
from tokenglass.types import Sequence as Written


def decode(engine: Engine, vocabulary: Vocabulary, prompt_ids: tuple[int, ...], plan: Plan) -> Iterator[Step]:
    """Write one text after a prompt until something ends it; yields each token as it is chosen.

    Args:
        engine: gives logits for ids.
        vocabulary: names ids.
        prompt_ids: at least one id.
        plan: the chain, who picks, and when to stop.

    Raises:
        ContextOverflow: the prompt alone is longer than the context.
        NoTokenAllowed: every token was banned.
        EngineError: the model's logits hold a NaN or +inf.
        ValueError: a stage made a score NaN or +inf.
    """
    for _, step in decode_samples(engine, vocabulary, prompt_ids, plan, 1):
        yield step


def decode_samples(
    engine: Engine, vocabulary: Vocabulary, prompt_ids: tuple[int, ...], plan: Plan, n: int
) -> Iterator[tuple[int, Step]]:
    """Write `n` texts after one prompt; yields (index of the text, step)."""
    pens = [Pen.ready(engine, vocabulary, prompt_ids, plan, sample) for sample in range(n)]
    for pen, step in write(pens):
        yield pen.sample, step


def decode_all(
    engine: Engine, vocabulary: Vocabulary, prompt_ids: tuple[int, ...], plan: Plan
) -> tuple[Written, ...]:
    """All texts that a plan asks for, written to their ends.

    Raises:
        RemoteError: a server failed; its `partial` holds the texts as far as they came.
    """
    n = plan.config["num_return_sequences"]
    steps: list[list[Step]] = [[] for _ in range(n)]
    try:
        for sample, step in decode_samples(engine, vocabulary, prompt_ids, plan, n):
            steps[sample].append(step)
    except RemoteError as error:
        error.partial = tuple(written(each, "error") for each in steps if each)
        raise
    return tuple(written(each) for each in steps)


def write(pens: Sequence[Pen]) -> Iterator[tuple[Pen, Step]]:
    """Let several pens write side by side until all have ended; yields each with its latest step."""
    while writing := [pen for pen in pens if pen.finish_reason is None]:
        # 1) the model reads every unfinished text, in one run
        heard = writing[0].reader.hear([pen.path for pen in writing])
        # 2) the chain judges each
        readings = [pen.reader.judge([h])[0] for pen, h in zip(writing, heard, strict=True)]
        # 3) one token is chosen for each
        choices = _choose(pens, writing, readings)
        # 4) it becomes part of its text, and perhaps the end of it
        for pen, reading, choice in zip(writing, readings, choices, strict=True):
            yield pen, pen.write(reading, choice)


def _choose(pens: Sequence[Pen], writing: Sequence[Pen], readings: Sequence[Reading]) -> list[Choice]:
    for pen, reading in zip(writing, readings, strict=True):
        reading.require_choice(pen.selector)
    picks = writing[0].selector
    if not isinstance(picks, TorchDraw):
        pairs = zip(writing, readings, strict=True)
        return [pen.selector.select(r.row, pen.reader.context(r.path), pen.state) for pen, r in pairs]
    # torch draws for a whole batch at once, finished texts included: theirs are drawn and dropped
    live = {pen.sample: reading for pen, reading in zip(writing, readings, strict=True)}
    everybody = [live.get(pen.sample, readings[0]) for pen in pens]
    contexts = [pen.reader.context(pen.path) for pen in pens]
    drawn = picks.select_batch([reading.row for reading in everybody], contexts, writing[0].state)
    return [drawn[pen.sample] for pen in writing]


@dataclass
class Pen:
    """One text being written.

    Attributes:
        sample: which of several.
        reader: the model and the chain.
        selector: who picks.
        path: prompt and text so far.
        begun: the ids it began after.
        state: the selector's.
        stream: joins bytes to characters.
        finish_reason: why it ended, or None while it goes on.
    """

    sample: int
    reader: Reader
    selector: Selector
    path: Path
    begun: tuple[int, ...]
    state: Any = None
    stream: Utf8Stream = field(default_factory=Utf8Stream)
    finish_reason: FinishReason | None = None

    @classmethod
    def ready(
        cls, engine: Engine, vocabulary: Vocabulary, prompt_ids: tuple[int, ...], plan: Plan, sample: int
    ) -> Pen:
        """A pen at the end of a prompt."""
        own = plan.of_sample(sample)
        reader = reader_of(engine, vocabulary, prompt_ids, own, limits_of(own.config), sample)
        return cls(sample, reader, own.selector, reader.start(), prompt_ids, own.selector.start())

    def write(self, reading: Reading, choice: Choice) -> Step:
        """Put a token down."""
        self.finish_reason = self.reader.reason(self.path, choice.token_id)
        ids = ids_of(self.begun, self.path.written)
        step = reading.chosen(choice, self.selector)
        step = replace(
            step,
            text=piece(self.stream, step.token, ends=self.finish_reason is not None),
            finish_reason=self.finish_reason,
            reread=again(
                self.reader, ids, self.path.states, cut_by(reading, choice, self.selector, self.state)
            ),
        )
        self.path, self.state = self.reader.extended(reading, step), choice.state
        return step


def reader_of(
    engine: Engine,
    vocabulary: Vocabulary,
    prompt_ids: tuple[int, ...],
    plan: Plan,
    limits: Limits,
    sample: int = 0,
    domain: Domain = "logits",
) -> Reader:
    """What reads the paths of one sample: the model, then the plan's chain."""
    return Reader.of(
        engine,
        vocabulary,
        prompt_ids,
        plan.stages,
        limits,
        source=plan.source(sample),
        domain=domain,
        negative_ids=plan.negative_ids,
        candidates=plan.with_candidates,
        batch_index=sample,
    )


def limits_of(config: GenerationConfig) -> Limits:
    """When the text ends."""
    return Limits(
        max_new_tokens=config.max_new_tokens,
        eos_ids=config.eos_ids,
        stop_strings=config.stop_strings,
        max_time=config.max_time,
    )


def written(steps: Sequence[Step], stopped: FinishReason = "cancelled") -> Written:
    """Steps as one sequence; `stopped` says why it ends where no step does."""
    return Written(
        ids=tuple(step.id for step in steps),
        text="".join(step.text for step in steps),
        steps=tuple(steps),
        finish_reason=(steps[-1].finish_reason if steps else None) or stopped,
    )
