"""Generation keywords before the model is loaded: what is wrong whatever the model, and what has no effect.

The model's own defaults, the vocabulary and the prompt's length are not known yet; what depends on them is
checked again by the library once the model is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokenglass.cli.screen import note
from tokenglass.config import BY_NAME, NO_EFFECT, SEARCHES, GenerationConfig, resolve
from tokenglass.text import safe_line

if TYPE_CHECKING:
    from tokenglass.chain import Plan

_RUNS = {
    "greedy": "in a greedy run",
    "sample": "in a sampling run",
    "dola": "in DoLa",
    "assisted": "in assisted decoding",
}


def check(config: Mapping[str, Any], *, steps: bool = False) -> None:
    """Refuse keywords that cannot mean anything with any model.

    Args:
        config: the keywords; a model may stand as its name.
        steps: tokens are written one by one, so that no search can be asked for.

    Raises:
        TypeError: an unknown keyword.
        ValueError: a value outside its interval, or keywords that exclude each other.
        Unsupported: a keyword that is refused, with the reason.
    """
    try:
        resolved = resolve(config)
    except ValueError:
        # some models sample unless they are told otherwise: then other keywords go together
        try:
            resolve(config, model_defaults={"do_sample": True})
        except ValueError:
            pass
        else:
            return
        raise
    if steps and resolved.mode in SEARCHES:
        name = resolved.mode.replace("_", " ")
        raise ValueError(
            f"stepping writes token by token, which {name} cannot; use tokenglass generate with --steps"
        )


def say_notes(plan: Plan) -> None:
    """On stderr, one line each: keywords that change nothing in this run, and the plan's warnings."""
    for line in notes(plan.config, plan.warnings):
        note(line)


def notes(config: GenerationConfig, warnings: tuple[str, ...]) -> list[str]:
    """One line for each keyword without effect, so that nobody takes it for a cause, and for each warning."""
    lines = [f"note: {name} has no effect {_where(name, config)}" for name in config.no_effect]
    return [*lines, *(f"note: {safe_line(text)}" for text in warnings)]


def _where(name: str, config: GenerationConfig) -> str:
    """In what run a keyword has no effect, and what would give it one."""
    if name in NO_EFFECT:
        return "here"
    if config["mirostat"] and config["do_sample"]:
        return "in a mirostat run"
    run = _RUNS.get(config.mode, f"in {config.mode.replace('_', ' ')}")
    helps = BY_NAME[name].when in ("sampling", "top_k") and not config["do_sample"]
    return f"{run}; add --do-sample" if helps and config.mode == "greedy" else run
