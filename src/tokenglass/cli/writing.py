"""`tokenglass generate`: text as it is written, stopped by Ctrl-C without losing what is there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokenglass.cli.outcome import INTERRUPTED, OK
from tokenglass.cli.screen import Screen, print_json
from tokenglass.types import Generation, Sequence, Step
from tokenglass.views.blocks import Line
from tokenglass.views.layout import steps_table, written_facts

if TYPE_CHECKING:
    from tokenglass.model import Model

JSON_ROWS = 10  # candidates of each step in the document; a step remembers more


def write(model: Model, prompt: Any, config: Mapping[str, Any], *, as_json: bool, steps: bool) -> int:
    """Generate and print; returns the exit code, 130 when it was stopped by hand."""
    session = model.session(prompt, **config)
    prompt_text = model.detokenize(session.prompt_ids)
    screen = Screen()
    shown = "" if as_json else screen.write(prompt_text, "prompt")
    done: list[Step] = []
    stopped = False
    started = time.perf_counter()
    try:
        for step in model.stream(prompt, **config):
            done.append(step)
            if not as_json:
                shown = (shown + screen.write(step.text, after=shown))[-16:]
    except KeyboardInterrupt:
        stopped = True
    seconds = time.perf_counter() - started
    sequence = Sequence(
        ids=tuple(step.id for step in done),
        text="".join(step.text for step in done),
        steps=tuple(done),
        finish_reason=(done[-1].finish_reason if done and not stopped else None) or "cancelled",
    )
    if as_json:
        print_json(
            _document(
                model, Generation(session.prompt_ids, prompt_text, (sequence,), session.config.to_dict())
            )
        )
    else:
        print()
        if screen.is_terminal or steps:
            screen.show(_summary(sequence, seconds if screen.is_terminal else 0.0, steps))
    return INTERRUPTED if stopped else OK


def _document(model: Model, generation: Generation) -> dict[str, Any]:
    document = generation.to_dict()
    for sequence in document["sequences"]:
        for step in sequence["steps"]:
            del step["top"][JSON_ROWS:]
    return {"model": model.info.name, **document}


def _summary(sequence: Sequence, seconds: float, steps: bool) -> list[Any]:
    speed = f" · {len(sequence.ids) / seconds:.0f} tokens a second" if sequence.ids and seconds > 0 else ""
    summary: list[Any] = [Line("", "facts"), Line(written_facts(sequence) + speed, "facts")]
    return [*summary, steps_table(sequence.steps)] if steps and sequence.steps else summary
