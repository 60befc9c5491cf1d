"""The widget: a session in Python and in the cell, one and the same."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from typing import Any

import anywidget
import traitlets

from tokenglass.notebook.carrier import KNOWN, Carrier
from tokenglass.session import Session
from tokenglass.version import __version__
from tokenglass.views.handout.notebook import module
from tokenglass.workbench import Workbench
from tokenglass.workbench.sessions import Held

ROWS = 10
PUSH_SECONDS = 0.2  # between two pictures of a session that a running cell moves


@cache
def _module() -> str:
    return module(__version__)


class LiveView(anywidget.AnyWidget):
    """A session in a notebook's cell.

    A token chosen in the cell is a token in `session`; what other cells do to `session` moves the view. Where
    there is no kernel, as on a page that only shows the saved notebook, the session is drawn without script.

    Args:
        session: that is shown.
    """

    _esm = ""
    session_id = traitlets.Unicode().tag(sync=True)

    def __init__(self, session: Session) -> None:
        self._bench = Workbench(session.model)
        self._held = self._bench.sessions.add(session)
        self._carrier = Carrier(self._bench, self.send, self._answered)
        self._waits, self._pushed = False, -PUSH_SECONDS
        self._revision: dict[str, int] = {}  # of the tree, that all views were told last
        super().__init__(_esm=_module(), session_id=self._held.id)
        self.on_msg(lambda _widget, message, _buffers: self._carrier.heard(message))
        session.watchers += (self._moved,)

    @property
    def session(self) -> Session:
        """The session in the cell: the one it was made for, until somebody types another prompt there."""
        return self._held.session

    def _repr_mimebundle_(self, **options: Any) -> Any:
        found = super()._repr_mimebundle_(**options)
        if found is not None:
            data, _ = found
            data |= self.session._repr_mimebundle_()
        return found

    def _show(self, held: Held) -> None:
        """Another session from now on."""
        before = self.session
        before.watchers = tuple(each for each in before.watchers if each != self._moved)
        self._held, self._revision = held, {}
        held.session.watchers += (self._moved,)

    def _answered(self, view: str, answer: Any) -> None:
        """Another session may have been opened; other views of this widget show what one of them did."""
        if not isinstance(answer, dict) or "session" not in answer or "tree" not in answer:
            return
        if answer["session"] != self._held.id:
            with self._bench.use(answer["session"]) as held:
                self._show(held)
        self.send({"event": "push", "view": view, "data": answer})

    def _moved(self) -> None:
        """The session went on in Python: views follow while the cell runs, and show its end for certain."""
        if self._carrier.at_work:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._push()
            return
        if not self._waits:
            self._waits = True
            loop.call_soon(self._push_last)
        if time.monotonic() - self._pushed >= PUSH_SECONDS:
            self._push()

    def _push_last(self) -> None:
        self._waits = False
        self._push()

    def _push(self) -> None:
        """Tell the views where the session stands, and what changed in its tree since they were told last."""
        if self._held.lock.locked():
            return
        try:
            state = self._bench.call("state", {"session": self._held.id, "n": ROWS, **self._revision})
        except KNOWN as error:  # of the view, not of the cell that made the move
            self.send({"event": "failed", "view": "", "data": {"message": str(error)}})
            return
        self._revision = {"since": state["tree"]["revision"]}
        self.send({"event": "push", "view": "", "data": state})
        self._pushed = time.monotonic()
