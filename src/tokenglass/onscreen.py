"""A session on a screen: what it shows of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tokenglass.types import SessionState
from tokenglass.types.sessions import ShowsItsState

if TYPE_CHECKING:
    from tokenglass.session import Session


class OnScreen(ShowsItsState):
    """The part of a session that is looked at."""

    @property
    def state(self) -> SessionState:
        """The session at this moment, as a result that shows itself; a session shows itself by it."""
        session = cast("Session", self)
        ended = session.finish_reason
        return SessionState(
            model=session.model.info.name,
            prompt=tuple(map(session.model.tokenizer.token, session.prompt_ids)),
            steps=session.steps,
            next=None if ended else session.next,
            tree=session.tree,
            node=session.node.id,
            config=session.writer.given,
            finish_reason=ended,
        )
