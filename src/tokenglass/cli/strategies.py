"""`tokenglass strategies`: one prompt under every strategy; Ctrl-C shows those that are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenglass.cli.engine_options import engine_facts
from tokenglass.cli.outcome import INTERRUPTED, OK
from tokenglass.cli.screen import Screen, note, passing, print_json
from tokenglass.cli.writing import shortened
from tokenglass.showcase import each_strategy, showcase_of
from tokenglass.text import safe_line
from tokenglass.types import Strategy
from tokenglass.views.layout import blocks

if TYPE_CHECKING:
    from tokenglass.model import Model, Prompt


def show_strategies(
    model: Model, prompt: Prompt, chosen: Sequence[str], shared: Mapping[str, Any], *, as_json: bool
) -> int:
    """Run the strategies and print them; returns the exit code, 130 when it was stopped by hand."""
    ids = model.prompt_ids(prompt)
    done: list[Strategy] = []
    stopped = False
    try:
        rows = each_strategy(model, ids, chosen, shared)
        for number, name in enumerate(chosen, start=1):
            passing(f"{number} of {len(chosen)}: {name}")
            done.append(next(rows))
    except KeyboardInterrupt:
        stopped = True
    finally:
        passing("")
    if not done:
        raise KeyboardInterrupt
    showcase = showcase_of(model, ids, done, shared)
    if as_json:
        document = showcase.to_dict()
        for row in document["strategies"]:
            if row["generation"] is not None:
                shortened(row["generation"])
        print_json({**engine_facts(model.info), **document})
    else:
        for line in dict.fromkeys(w for row in done if row.generation for w in row.generation.warnings):
            note(f"note: {safe_line(line)}")
        Screen().show(blocks(showcase))
    if stopped:
        note(f"stopped after {len(done)} of {len(chosen)} strategies")
    return INTERRUPTED if stopped else OK
