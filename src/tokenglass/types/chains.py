"""A chain as data: what would run, in which order, and who said so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenglass.types.shown import Tabular


@dataclass(frozen=True, slots=True)
class ChainStage:
    """One stage of a chain, or who picks the token.

    Attributes:
        name: the stage's name, such as "top_k".
        params: its parameters.
        sources: keyword -> (value, where it came from) for each keyword it stands for that is not off.
        paper: where it is from.
    """

    name: str
    params: Mapping[str, Any]
    sources: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    paper: str = ""


@dataclass(frozen=True, repr=False)
class Chain(Tabular):
    """The effective chain of a configuration.

    Attributes:
        mode: the strategy, such as "greedy", "sample" or "beam_search".
        preset: whose order, windows, ties and silent defaults.
        stages: in order of application.
        selection: who picks the token.
        config: the effective configuration.
        sources: keyword -> where its value came from.
        no_effect: keywords that were given and change nothing here.
        warnings: lines that the user should see.
        code: the same run as a call of transformers.
    """

    mode: str
    preset: str
    stages: tuple[ChainStage, ...]
    selection: ChainStage
    config: Mapping[str, Any]
    sources: Mapping[str, str]
    no_effect: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    code: str = ""

    def as_transformers_code(self) -> str:
        """The equivalent `generate()` call as Python code; what transformers lacks stands in comments."""
        return self.code
