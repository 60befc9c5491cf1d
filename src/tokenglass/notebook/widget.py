"""The widget: a session in Python and in the cell, one and the same."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import anywidget
import traitlets

from tokenglass.notebook.carrier import Carrier, Message
from tokenglass.session import Session
from tokenglass.version import __version__
from tokenglass.views.handout.notebook import module
from tokenglass.workbench import Workbench

ROWS = 10


@cache
def _module() -> str:
    return module(__version__)


class LiveView(anywidget.AnyWidget):
    """A session in a notebook's cell.

    A token chosen in the cell is a token in `session`; a step of `session` in another cell moves the view.

    Args:
        session: that is shown.
    """

    _esm = ""
    session_id = traitlets.Unicode().tag(sync=True)

    def __init__(self, session: Session) -> None:
        self._bench = Workbench(session.model)
        self._held = self._bench.sessions.add(session)
        self._carrier = Carrier(self._bench, self.send, self._answered)
        self._waits, self._answering = False, False
        super().__init__(_esm=_module(), session_id=self._held.id)
        self.on_msg(lambda _widget, message, _buffers: self._heard(message))
        session.watchers += (self._moved,)

    @property
    def session(self) -> Session:
        """The session in the cell: the one it was made for, until somebody types another prompt there."""
        return self._held.session

    def _heard(self, message: Message) -> None:
        self._answering = True
        try:
            self._carrier.heard(message)
        finally:
            self._answering = False

    def _answered(self, view: str, answer: Any) -> None:
        """Another session may have been opened; other views of this widget show what one of them did."""
        if not isinstance(answer, dict) or "session" not in answer or "tree" not in answer:
            return
        if answer["session"] != self._held.id:
            with self._bench.use(answer["session"]) as held:
                self._held = held
        self.send({"event": "push", "view": view, "data": answer})

    def _moved(self) -> None:
        """The session went on in Python; the views are told once the cell is through."""
        if self._answering or self._waits:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._push()
            return
        self._waits = True
        loop.call_soon(self._push)

    def _push(self) -> None:
        self._waits = False
        if not self._held.lock.locked():
            state = self._bench.call("state", {"session": self._held.id, "n": ROWS})
            self.send({"event": "push", "view": "", "data": state})
