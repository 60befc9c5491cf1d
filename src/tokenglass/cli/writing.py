"""`tokenglass generate`: text as it is written, stopped by Ctrl-C without losing what is there.

One text appears token by token. Several texts, and those of a search, are shown when they are settled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokenglass.cli.checking import say_notes
from tokenglass.cli.engine_options import engine_facts
from tokenglass.cli.interrupts import hear
from tokenglass.cli.outcome import FAILED, INTERRUPTED, OK
from tokenglass.cli.screen import Screen, note, passing, print_json
from tokenglass.config import SEARCHES
from tokenglass.decode import decode_samples, written
from tokenglass.errors import RemoteError
from tokenglass.text import safe_message
from tokenglass.types import FinishReason, Generation, Sequence, Step
from tokenglass.views.blocks import Line
from tokenglass.views.figures import count, significant
from tokenglass.views.layout import steps_table, written_facts
from tokenglass.views.searches import search_blocks

if TYPE_CHECKING:
    from tokenglass.chain import Plan
    from tokenglass.model import Model

JSON_ROWS = 10  # candidates of each step in the document; a step remembers more


def write(model: Model, prompt: Any, config: Mapping[str, Any], *, as_json: bool, steps: bool) -> int:
    """Generate and print; returns the exit code, 130 when it was stopped by hand."""
    ids = model.prompt_ids(prompt)
    plan = model.plan(config, ids)
    if plan.config.seed is not None:
        config = {**config, "seed": plan.config.seed}  # what is shown is what is drawn with
    if not as_json:
        say_notes(plan)
    begun = Generation(ids, model.detokenize(ids), (), plan.config.to_dict(), warnings=plan.warnings)
    run = Run(model, plan, config, begun, quiet=as_json)
    started = time.perf_counter()
    try:
        run.go()
    except KeyboardInterrupt:
        run.stopped = True
    except RemoteError as error:
        if not any(run.texts):
            raise
        run.failed = str(error)
    seconds = time.perf_counter() - started
    generation = run.generation()
    if as_json:
        failure = {"error": {"type": "RemoteError", "message": run.failed}} if run.failed else {}
        print_json(document(model, generation) | failure)
    else:
        _finish(run, generation, seconds, steps)
    if run.failed:
        note(f"tokenglass: {safe_message(run.failed)}")
        return FAILED
    return INTERRUPTED if run.stopped else OK


class Run:
    """One generation under way, and what of it is there; `begun` holds the prompt and no text yet."""

    def __init__(
        self, model: Model, plan: Plan, config: Mapping[str, Any], begun: Generation, quiet: bool
    ) -> None:
        self.model, self.plan, self.config, self.begun = model, plan, config, begun
        self.ids = begun.prompt_ids
        self.screen, self.quiet, self.stopped = Screen(), quiet, False
        self.failed = ""
        self.texts: list[list[Step]] = [[] for _ in range(plan.config["num_return_sequences"] or 1)]
        self.done: Generation | None = None
        self.shown = ""
        self.searches = plan.config.mode in SEARCHES

    @property
    def streams(self) -> bool:
        """Whether the text appears as it is written."""
        return not (self.searches or len(self.texts) > 1 or self.plan.config["token_healing"])

    def go(self) -> None:
        """Write; Ctrl-C may come at any time."""
        if self.streams:
            self._stream()
        elif len(self.texts) > 1 and not self.searches:
            self._samples()
        else:
            with _waiting(self.quiet, self.plan.config.mode.replace("_", " ")):
                self.done = self.model.generate(self.ids, **self.config)

    def _stream(self) -> None:
        screen = self.screen
        if not self.quiet:
            self.shown = screen.write(self.begun.prompt_text, "prompt")
        for step in self.model.stream(self.ids, **self.config):
            hear()
            self.texts[0].append(step)
            if not self.quiet:
                self.shown = (self.shown + screen.write(step.text, after=self.shown))[-16:]

    def _samples(self) -> None:
        model, n = self.model, len(self.texts)
        with _waiting(self.quiet, count(n, "text")):
            for sample, step in decode_samples(model.engine, model.tokenizer, self.ids, self.plan, n):
                hear()
                self.texts[sample].append(step)

    def generation(self) -> Generation:
        """What is there; a search that was stopped has no text yet."""
        if self.done is not None:
            return self.done
        reason: FinishReason = "error" if self.failed else "cancelled"
        return replace(self.begun, sequences=tuple(written(text, reason) for text in self.texts))


@contextmanager
def _waiting(quiet: bool, what: str) -> Iterator[None]:
    """A word on a terminal's stderr while nothing can be shown yet."""
    if not quiet:
        passing(f"{what}: the text comes when it is settled")
    try:
        yield
    finally:
        if not quiet:
            passing("")


def document(model: Model, generation: Generation) -> dict[str, Any]:
    """The JSON document of a generation; of each step's candidates only the first."""
    whole = shortened(generation.to_dict())
    return {**engine_facts(model.info), **whole, "warnings": list(generation.warnings)}


def shortened(generation: dict[str, Any]) -> dict[str, Any]:
    """A generation's dict with fewer candidates for each step."""
    for sequence in generation["sequences"]:
        for step in sequence["steps"]:
            del step["top"][JSON_ROWS:]
    return generation


def _finish(run: Run, generation: Generation, seconds: float, steps: bool) -> None:
    """What comes after the running text, or the texts that were settled only now."""
    screen = run.screen
    if run.searches and run.done is None:
        note("stopped before the search had settled a text")
        return
    if run.streams:
        screen.write("\n")
    else:
        for number, sequence in enumerate(generation.sequences, start=1):
            if len(generation.sequences) > 1:
                screen.write("\n" if number > 1 else "")
                screen.show([_heading(number, generation)])
            begun = screen.write(generation.prompt_text, "prompt")
            screen.write(sequence.text, after=begun[-16:])
            screen.write("\n")
    if screen.is_terminal or steps:
        screen.show(_summary(generation, seconds if screen.is_terminal else 0.0, steps))


def _heading(number: int, generation: Generation) -> Line:
    score = generation.sequences[number - 1].score
    scored = "" if score is None else f" · score {significant(score, 5)}"
    return Line(f"text {number} of {len(generation.sequences)}{scored}", "heading")


def _summary(generation: Generation, seconds: float, steps: bool) -> list[Any]:
    first: Sequence = generation.sequences[0]
    n = sum(len(sequence.ids) for sequence in generation.sequences)
    speed = f" · {n / seconds:.0f} tokens a second" if n and seconds > 0 else ""
    facts = written_facts(first) if len(generation.sequences) == 1 else count(n, "new token")
    summary: list[Any] = [Line("", "facts"), Line(facts + speed, "facts")]
    if steps and first.steps:
        summary += [steps_table(first.steps), *search_blocks(generation)]
    return summary
