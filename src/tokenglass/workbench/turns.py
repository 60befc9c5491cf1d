"""Fair turns on one engine: whoever has waited longest since their last run of the model goes next.

A long text that somebody has written does not keep a click waiting: each run of the model is one turn. Work
that is no longer wanted is cancelled at its next turn; work done in idle time gets one when nobody waits.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tokenglass.engines.base import Engine, Floats, Forward, Prefix
from tokenglass.types import EngineInfo

CHUNK = 256  # tokens of a long prompt that are read in one turn
_REMEMBERED = 4096  # beginnings that were read before
_MOST_READY = 64  # rows of logits that were looked ahead to: 13 MB for a vocabulary of 49,152
_Found = TypeVar("_Found")


class Cancelled(Exception):
    """The work is no longer wanted."""


class Work:
    """One request at work, however many runs of the model it takes.

    Args:
        idle: only runs when nobody else wants to.
    """

    def __init__(self, *, idle: bool = False) -> None:
        self.idle = idle
        self.served = 0  # number of its last turn; 0 goes first, so that a click does not wait for texts
        self._cancelled = threading.Event()
        self.may_go = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether it is no longer wanted."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End it at its next turn."""
        self._cancelled.set()
        self.may_go.set()

    def run(self, function: Callable[..., _Found], *arguments: object) -> _Found:
        """Call a function in this work's name.

        Raises:
            Cancelled: it is no longer wanted.
        """
        before = _CURRENT.set(self)
        try:
            if self.cancelled:
                raise Cancelled
            return function(*arguments)
        finally:
            _CURRENT.reset(before)


_CURRENT: ContextVar[Work | None] = ContextVar("work", default=None)


def require_wanted() -> None:
    """End here if the current work is no longer wanted.

    Raises:
        Cancelled: it is not.
    """
    work = _CURRENT.get()
    if work is not None and work.cancelled:
        raise Cancelled


class Turnstile:
    """Lets one piece of work through at a time, the longest unserved first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Work] = []
        self._turns = itertools.count(1)
        self._inside: Work | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One turn of the current work.

        Raises:
            Cancelled: it is no longer wanted.
        """
        work = _CURRENT.get() or Work()
        self._enter(work)
        try:
            yield
        finally:
            with self._lock:
                self._hand_on()

    def _enter(self, work: Work) -> None:
        with self._lock:
            if work.cancelled:
                raise Cancelled
            work.may_go.clear()
            self._waiting.append(work)
            if self._inside is None:
                self._hand_on()
        work.may_go.wait()
        with self._lock:
            if not work.cancelled:
                return
            if self._inside is work:
                self._hand_on()
            else:
                self._waiting.remove(work)
        raise Cancelled

    def _hand_on(self) -> None:
        """Who goes next; the lock is held."""
        self._inside = min(self._waiting, key=lambda work: (work.idle, work.served), default=None)
        if self._inside is not None:
            self._waiting.remove(self._inside)
            self._inside.served = next(self._turns)
            self._inside.may_go.set()


class FairEngine:
    """An engine whose runs are turns; see `engines.base.Engine` for what it does.

    Args:
        engine: that computes.
        turnstile: whose turns they are.
    """

    def __init__(self, engine: Engine, turnstile: Turnstile) -> None:
        self._engine, self._turnstile = engine, turnstile
        self._read: OrderedDict[int, None] = OrderedDict()
        self._ready: OrderedDict[tuple[int, ...], Forward] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return self._engine.info

    def forward(
        self,
        prefixes: Sequence[Prefix],
        *,
        last: int = 1,
        layers: Sequence[int] = (),
        hidden_last: int = 1,
    ) -> Forward:
        """One turn; a long prompt is read in several, each of which leaves its part in the cache."""
        plain = last == 1 and not layers
        if plain:
            if (ready := self._ready_for(prefixes)) is not None:
                return ready
            for prefix in prefixes:
                self._read_in_turns(prefix)
        with self._turnstile.turn():
            # looked ahead to while this was waiting
            if plain and (ready := self._ready_for(prefixes)) is not None:
                return ready
            return self._engine.forward(prefixes, last=last, layers=layers, hidden_last=hidden_last)

    def look_ahead(self, prefix: Prefix) -> None:
        """Compute what may be asked for next, and keep it for a while."""
        if prefix.ids not in self._ready:
            with self._turnstile.turn():
                found = self._engine.forward([prefix])
                with self._lock:
                    self._ready[prefix.ids] = found
                    while len(self._ready) > _MOST_READY:
                        self._ready.popitem(last=False)

    def _ready_for(self, prefixes: Sequence[Prefix]) -> Forward | None:
        """What was looked ahead to, where it is all that is asked for."""
        if len(prefixes) != 1:
            return None
        with self._lock:
            return self._ready.get(prefixes[0].ids)

    def _read_in_turns(self, prefix: Prefix) -> None:
        if prefix.node is not None or len(prefix.ids) <= 2 * CHUNK:
            return
        if len(prefix.ids) > self.info.context_length:
            return  # refused as a whole
        for end in range(CHUNK, len(prefix.ids) - 1, CHUNK):
            beginning = prefix.ids[:end]
            if not self._is_known(hash(beginning)):
                with self._turnstile.turn():
                    self._engine.forward([Prefix(beginning)])

    def _is_known(self, key: int) -> bool:
        """Whether a beginning was read before; it is from now on."""
        with self._lock:
            known = key in self._read
            self._read[key] = None
            self._read.move_to_end(key)
            if len(self._read) > _REMEMBERED:
                self._read.popitem(last=False)
            return known

    def unembed(self, hidden: Floats, *, norm: bool) -> Floats:
        """One turn."""
        with self._turnstile.turn():
            return self._engine.unembed(hidden, norm=norm)

    def iter_logits(self, ids: Sequence[int], chunk: int = 64) -> Iterator[Floats]:
        """A turn for each piece."""
        pieces = self._engine.iter_logits(ids, chunk)
        while True:
            with self._turnstile.turn():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()
