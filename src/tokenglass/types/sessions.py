"""A session at one moment: where it stands, what was written, what may come next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenglass.types.choices import NextTokens
from tokenglass.types.shown import Charted
from tokenglass.types.tokens import Token
from tokenglass.types.trees import Tree
from tokenglass.types.writing import FinishReason, Step


@dataclass(frozen=True, repr=False)
class SessionState(Charted):
    """What a session shows of itself.

    Attributes:
        model: the name of its model.
        prompt: its tokens.
        steps: what was written up to here, oldest first.
        next: which tokens may come; None where the text has ended, or the model cannot say.
        tree: all places, those of other branches included.
        node: the number of the place where the session stands.
        config: the keywords it writes under, as they were given.
        finish_reason: why the text ended here, or None.
        failure: why the model cannot say what comes next; "" where it can.
    """

    model: str
    prompt: tuple[Token, ...]
    steps: tuple[Step, ...]
    next: NextTokens | None
    tree: Tree
    node: int
    config: Mapping[str, Any]
    finish_reason: FinishReason | None = None
    failure: str = ""

    def __post_init__(self) -> None:
        import tokenglass.views.sessions  # noqa: F401 - teaches the views this type
