"""The keywords in force, as a result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenglass.types.shown import Tabular


@dataclass(frozen=True, slots=True)
class Setting:
    """One keyword.

    Attributes:
        name: as transformers, llama.cpp or vLLM call it.
        value: in force.
        source: where it came from: "you", "default", "preset", "generation_config.json", "model" or "fresh".
    """

    name: str
    value: Any
    source: str


@dataclass(frozen=True, repr=False)
class Settings(Tabular):
    """What a configuration comes to.

    Attributes:
        mode: which strategy writes.
        preset: whose order, windows, ties and silent defaults.
        rows: the keywords that act.
        no_effect: names that were given and change nothing.
        passed_over: names on which the model's generation_config.json has an opinion that is not taken.
    """

    mode: str
    preset: str
    rows: tuple[Setting, ...]
    no_effect: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        import tokenglass.views.settings  # noqa: F401 - teaches the views this type
