"""The open sessions: by random id, a bounded number, the longest unused let go first."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tokenglass.errors import NoTokenAllowed
from tokenglass.workbench.params import Refused
from tokenglass.workbench.turns import require_wanted

if TYPE_CHECKING:
    from tokenglass.select import Choice
    from tokenglass.session import Session
    from tokenglass.types import NextTokens

MOST_SESSIONS = 128
IDLE_SECONDS = 6 * 3600.0
_LOOK_UP_SECONDS = 0.2


@dataclass(eq=False)
class Held:
    """A session that somebody has open.

    Attributes:
        id: its random name.
        session: what is open.
        lock: held while an operation is at work on it.
        used: when it was last asked for.
        kept: rows that were made before and still hold, by a key of whoever made them.
    """

    id: str
    session: Session
    lock: threading.Lock = field(default_factory=threading.Lock)
    used: float = 0.0
    kept: dict[Any, Any] = field(default_factory=dict)

    @property
    def table(self) -> NextTokens:
        """The next-token table here, read once for each place and configuration."""
        session = self.session
        key = ("table", session.node, session.writer)
        if self.kept.get("at") != key:
            self.kept["at"], self.kept["table"] = key, session.next
        found: NextTokens = self.kept["table"]
        return found

    @property
    def picked(self) -> tuple[Choice | None, str]:
        """What a step would write here; or None, and why nothing can be written."""
        session, key = self.session, (self.session.node, self.session.writer)
        if self.kept.get("picked_at") != key:
            self.kept["picked_at"], self.kept["picked"] = key, _pick(session)
        found: tuple[Choice | None, str] = self.kept["picked"]
        return found

    @property
    def likely(self) -> tuple[int, ...]:
        """The token that a step would write, then the likeliest ones by the model, each once."""
        choice, best = self.picked[0], [row.id for row in self.table.rows]
        return tuple(dict.fromkeys([*([] if choice is None else [choice.token_id]), *best]))


def _pick(session: Session) -> tuple[Choice | None, str]:
    if session.finish_reason is not None:
        return None, ""
    try:
        return session.writer.pick(session.node, session.reading, 0)[0], ""
    except (NoTokenAllowed, ValueError) as error:
        return None, str(error)


class Sessions:
    """All of them.

    Args:
        most: how many at once.
        idle_seconds: after which an unused one may be let go.
        clock: seconds.
    """

    def __init__(
        self,
        most: int = MOST_SESSIONS,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._idle, self._clock = most, idle_seconds, clock
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def add(self, session: Session) -> Held:
        """Hold a session; others that nobody used for long are let go."""
        held = Held(secrets.token_urlsafe(16), session, used=self._clock())
        with self._lock:
            self._evict()
            self._held[held.id] = held
        return held

    def _evict(self) -> None:
        """The longest unused go: those idle for too long, and one where there are too many."""
        oldest = self._clock() - self._idle
        for name in [name for name, held in self._held.items() if held.used < oldest]:
            del self._held[name]
        while len(self._held) >= self._most:
            self._held.popitem(last=False)

    @contextmanager
    def use(self, name: str) -> Iterator[Held]:
        """A session for one operation, which nobody else works on meanwhile.

        Raises:
            Refused: there is none of that id, or no longer.
        """
        with self._lock:
            held = self._held.get(name)
            if held is None:
                raise Refused("there is no such session here; open one", "session", "NoSession")
            self._held.move_to_end(name)
            held.used = self._clock()
        while not held.lock.acquire(timeout=_LOOK_UP_SECONDS):
            require_wanted()  # a client that left does not wait for others
        try:
            yield held
        finally:
            held.lock.release()

    @contextmanager
    def glance(self, name: str) -> Iterator[Held | None]:
        """A session that nobody works on at the moment; None otherwise, without waiting."""
        with self._lock:
            held = self._held.get(name)
        if held is None or not held.lock.acquire(blocking=False):
            yield None
            return
        try:
            yield held
        finally:
            held.lock.release()

    def close(self, name: str) -> None:
        """Let a session go."""
        with self._lock:
            self._held.pop(name, None)
