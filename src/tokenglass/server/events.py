"""Streams as server-sent events; a stream's place is free as soon as it ends or its client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from tokenglass.server import bodies
from tokenglass.server.answers import DEFECT, ENDED, full, json_answer
from tokenglass.server.work import Full, Left, Works
from tokenglass.workbench.registry import Stream

Event = tuple[str, bytes]


@asynccontextmanager
async def watching(receive: Any) -> AsyncIterator[asyncio.Event]:
    """An event that is set when the client goes away."""
    gone = asyncio.Event()

    async def until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watcher = asyncio.ensure_future(until_gone())
    try:
        yield gone
    finally:
        watcher.cancel()


class Events:
    """One stream on its way.

    Args:
        works: where it takes a place.
        stream: what is sent.
    """

    def __init__(self, works: Works, stream: Stream) -> None:
        self._works, self._stream = works, stream

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer; what is refused before anything was written is an error like any other."""
        try:
            with self._works.begin(streams=True) as work:
                async with (
                    watching(receive) as gone,
                    aclosing(self._works.items(work, gone, self._stream)) as events,
                ):
                    try:
                        first = await anext(events)
                    except Exception as error:
                        if gone.is_set():
                            return
                        await _refused(error)(scope, receive, send)
                    else:
                        await _send_all(first, events, gone, send)
        except Full:
            await full()(scope, receive, send)


def _refused(error: Exception) -> Any:
    if isinstance(error, Left):
        return json_answer(ENDED, 503)
    status = bodies.status_of(error)
    if status is None:
        raise error
    return json_answer(bodies.error_body(error), status)


async def _send_all(
    first: Event, others: AsyncGenerator[Event, None], gone: asyncio.Event, send: Any
) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        await _send(send, *first)
        async for event in others:
            await _send(send, *event)
    except Left:
        if gone.is_set():
            return
        await _send(send, "error", bodies.written(ENDED))
    except Exception as error:
        known = bodies.status_of(error) is not None
        await _send(send, "error", bodies.written(bodies.error_body(error) if known else DEFECT))
        if not known:
            raise
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(send: Any, event: str, data: bytes) -> None:
    body = b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})
