"""A session on a screen: what it shows of itself, and its live view in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tokenglass.errors import TokenglassError
from tokenglass.types import SessionState
from tokenglass.types.shown import Charted, ShowsItsState

if TYPE_CHECKING:
    from tokenglass.model import Model
    from tokenglass.session import Session


class OnScreen(ShowsItsState, Charted):
    """The part of a session that is looked at."""

    @property
    def state(self) -> SessionState:
        """The session at this moment, as a result that shows itself; a session shows itself by it."""
        session = cast("Session", self)
        ended, following, failure = session.finish_reason, None, ""
        try:
            following = None if ended else session.next
        except (TokenglassError, ValueError) as error:  # a closed model, a server that is gone, a ban on all
            failure = str(error)
        return SessionState(
            model=session.model.info.name,
            prompt=tuple(map(session.model.tokenizer.token, session.prompt_ids)),
            steps=session.steps,
            next=following,
            tree=session.tree,
            node=session.node.id,
            config=session.writer.given,
            finish_reason=ended,
            failure=failure,
        )

    def widget(self) -> Any:
        """This session in a notebook's cell, to be played there: a token chosen in the cell is a token here.

        Raises:
            MissingDependency: anywidget is not installed; it comes with `tokenglass[notebook]`.
        """
        from tokenglass.notebook import live_view

        return live_view(cast("Session", self))


class Explorable:
    """The part of a model that is looked at."""

    def explore(self, prompt: Any, **config: Any) -> Any:
        """A new session in a notebook's cell; `.session` of what comes back is the session.

        Raises:
            MissingDependency: anywidget is not installed; it comes with `tokenglass[notebook]`.
        """
        return cast("Model", self).session(prompt, **config).widget()
