"""Looking ahead: while somebody reads a table, the tables after its likeliest tokens are computed.

Only when nothing else is at work, one run of the model at a time, and never for long: a real request ends it,
and waits at most for the run that is under way, which is often the very one that it wants.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tokenglass.engines.base import Prefix
from tokenglass.workbench.turns import Cancelled, FairEngine, Work

if TYPE_CHECKING:
    from tokenglass.workbench.sessions import Held

CHILDREN = 4  # the token that a step would write, and the likeliest
AFTER_SECONDS = 0.03  # of quiet: the answer is sent meanwhile
MOST_WAITING = 8  # sessions; the last one asked for is the one being read


@dataclass(frozen=True)
class Wanted:
    """Prefixes that somebody may ask for next.

    Attributes:
        engine: of their model.
        prefixes: likeliest first.
    """

    engine: FairEngine
    prefixes: tuple[Prefix, ...]


class LookAhead:
    """Computes what may be asked for next, in a thread of its own.

    Args:
        is_idle: whether nobody is at work.
    """

    def __init__(self, is_idle: Callable[[], bool]) -> None:
        self._is_idle = is_idle
        self._waiting: deque[Wanted] = deque(maxlen=MOST_WAITING)
        self._changed = threading.Condition()
        self._work: Work | None = None
        self._thread: threading.Thread | None = None
        self._ended = False

    def after(self, held: Held) -> None:
        """Somebody has been shown a session: its children may be asked for next."""
        session = held.session
        engine = session.model.engine
        if session.finish_reason is not None or not isinstance(engine, FairEngine):
            return
        if len(session.ids) >= engine.info.context_length:
            return
        here = Prefix(session.ids, session.reading.heard.node)
        prefixes = tuple(here.extended(token_id) for token_id in held.likely[:CHILDREN])
        with self._changed:
            self._waiting.appendleft(Wanted(engine, prefixes))
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name="tokenglass-ahead", daemon=True)
                self._thread.start()
            self._changed.notify()

    def interrupt(self) -> None:
        """A real request has come."""
        with self._changed:
            self._waiting.clear()
            if self._work is not None:
                self._work.cancel()

    def close(self) -> None:
        """End the thread after the run that is under way."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self.interrupt()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (found := self._next()) is not None:
            work, wanted = found
            for prefix in wanted.prefixes:
                if not self._is_idle():
                    break
                try:
                    work.run(wanted.engine.look_ahead, prefix)
                except Cancelled:
                    break

    def _next(self) -> tuple[Work, Wanted] | None:
        """The next thing to do once it has been quiet for a while; None at the end."""
        with self._changed:
            while not self._ended:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                latest = self._waiting[0] if self._waiting else None
                self._changed.wait(AFTER_SECONDS)
                if self._waiting and self._waiting[0] is latest and not self._ended:
                    self._work = Work(idle=True)
                    return self._work, self._waiting.popleft()
            return None
