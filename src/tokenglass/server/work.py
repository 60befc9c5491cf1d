"""Requests at work: off the event loop, a bounded number at once, and gone when their client is.

A workbench is synchronous. Here each request gets a thread for as long as it computes, and a name in the
engine's turnstile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from tokenglass.server.bodies import written
from tokenglass.workbench.params import JsonDict
from tokenglass.workbench.turns import Cancelled, Work

MOST_STREAMS = 32
MOST_CALLS = 32  # apart from the streams, so that long texts leave room for clicks
WAIT_SECONDS = 1  # until a refused client may try again


class Full(Exception):
    """As many requests are at work as may be."""


class Left(Exception):
    """The client went away."""


class Works:
    """All requests at work."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MOST_STREAMS + MOST_CALLS, "tokenglass")
        self._now: dict[bool, set[Work]] = {False: set(), True: set()}
        self._ended = False

    @property
    def running(self) -> int:
        """How many requests are at work."""
        return sum(map(len, self._now.values()))

    @contextmanager
    def begin(self, *, streams: bool) -> Iterator[Work]:
        """A place for one request.

        Raises:
            Full: there is none.
        """
        now = self._now[streams]
        if self._ended or len(now) >= (MOST_STREAMS if streams else MOST_CALLS):
            raise Full
        work = Work()
        now.add(work)
        try:
            yield work
        finally:
            now.discard(work)

    async def run(
        self, work: Work, gone: asyncio.Event, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Call a function in a thread; when the client goes, it is cancelled at its next run of the model.

        Raises:
            Left: the client went away.
        """
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._pool, work.run, function, *arguments)
        leaving = asyncio.ensure_future(gone.wait())
        try:
            await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                work.cancel()
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({answer})
            raise
        except Cancelled:
            raise Left from None
        finally:
            leaving.cancel()

    async def items(
        self, work: Work, gone: asyncio.Event, stream: Iterator[JsonDict]
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        """(event, JSON) of a stream: its items, then its end; each computed once the one before was taken."""
        try:
            while True:
                ended, row = await self.run(work, gone, _next, stream)
                yield ("done" if ended else "item", row)
                if ended:
                    return
        finally:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, _closed, stream))

    def stop(self) -> None:
        """Cancel everything and take nothing new."""
        self._ended = True
        for now in self._now.values():
            for work in now:
                work.cancel()

    def close(self) -> None:
        """Let the threads end."""
        self.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _next(stream: Iterator[JsonDict]) -> tuple[bool, bytes]:
    """(whether it is the end, the row as JSON); StopIteration cannot pass through a future."""
    try:
        return False, written(next(stream))
    except StopIteration as end:
        return True, written(end.value or {})


def _closed(stream: Any) -> None:
    with suppress(Cancelled, ValueError):  # it ended by being cancelled, or is ending
        stream.close()
