"""One prompt under several strategies, side by side, and where each text first parts from greedy's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tokenglass.types.shown import Charted
from tokenglass.types.writing import Generation, Step


@dataclass(frozen=True, slots=True)
class Parting:
    """Where a text first differs from the greedy one; up to there both had the same ids.

    Attributes:
        index: of the first different token among the new ones, from 0.
        step: what this strategy wrote there; None where its text had ended.
        greedy: what greedy wrote there; None where its text had ended.
    """

    index: int
    step: Step | None
    greedy: Step | None


@dataclass(frozen=True, slots=True)
class Strategy:
    """One strategy and what it wrote.

    Attributes:
        name: such as "top_p" or "beam_search".
        keywords: what makes it; the showcase's own keywords come on top.
        generation: what it wrote; None where it could not run.
        seconds: how long that took; None where it could not run.
        reason: why it could not run; "" where it did.
        parting: where its text parts from greedy's; None where it does not.
    """

    name: str
    keywords: Mapping[str, Any]
    generation: Generation | None = None
    seconds: float | None = None
    reason: str = ""
    parting: Parting | None = None


@dataclass(frozen=True, repr=False)
class Showcase(Charted):
    """One prompt under several strategies, greedy first.

    Attributes:
        prompt_ids: the ids all of them started from.
        prompt_text: those ids as text.
        rows: one for each strategy, in order.
        config: the keywords that all of them share, the seed included.
    """

    prompt_ids: tuple[int, ...]
    prompt_text: str
    rows: tuple[Strategy, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import tokenglass.views.showcase  # noqa: F401 - teaches the views this type

    def __getitem__(self, name: str) -> Strategy:
        """The row of a strategy.

        Raises:
            KeyError: no such strategy here.
        """
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Strategy]:
        return {row.name: row for row in self.rows}
