"""The application: one address for each operation, the page's files, and the document that describes both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from tokenglass.errors import MissingDependency
from tokenglass.server import bodies, openapi
from tokenglass.server.files import File, page_files
from tokenglass.server.guard import App, Guard
from tokenglass.server.work import WAIT_SECONDS, Full, Left, Works
from tokenglass.workbench import OPERATIONS, Operation, Refused, Workbench
from tokenglass.workbench.registry import Stream
from tokenglass.workbench.turns import Work


def application(bench: Workbench, *, token: str, hosts: list[str], works: Works | None = None) -> App:
    """The guarded application.

    Args:
        bench: answers.
        token: the secret of this run.
        hosts: "name:port" by which it may be called.
        works: the requests at work; its own where None.

    Raises:
        MissingDependency: FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI
    except ImportError:
        raise MissingDependency("the page", "pip install 'tokenglass[web]'") from None
    works = works or Works()

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        works.close()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    for operation in OPERATIONS.values():
        app.add_route(f"/api/{operation.name}", _endpoint(bench, works, operation), methods=["POST"])
    document = bodies.written(openapi.document(OPERATIONS.values()))
    app.add_route("/api/openapi.json", _fixed(File(document, "application/json", "")), methods=["GET"])
    files = page_files()
    for address, file in files.items():
        app.add_route(address, _fixed(file), methods=["GET"])
    for status, kind in ((404, "NotFound"), (405, "WrongMethod")):
        app.add_exception_handler(status, _as_error(kind))
    app.add_exception_handler(Exception, _defect)
    return Guard(app, token=token, hosts=hosts, open_paths=files)


def _endpoint(bench: Workbench, works: Works, operation: Operation) -> Any:
    async def answer(request: Any) -> Any:
        try:
            given = _given(request, await request.body())
            if operation.streams:
                return _Events(works, bench.stream(operation.name, given))
            with works.begin(streams=False) as work:
                async with _watching(request.receive) as gone:
                    body = await works.run(work, gone, _answered, bench, operation.name, given)
            return _response(body)
        except Left:
            return _json(_ENDED, status=503)  # read by nobody, unless the server is ending
        except Full:
            return _full()
        except Exception as error:
            status = bodies.status_of(error)
            if status is None:
                raise
            return _json(bodies.error_body(error), status=status)

    return answer


def _answered(bench: Workbench, name: str, given: Any) -> bytes:
    """An answer as it is sent; made in the thread that computed it."""
    return bodies.written(bench.call(name, given))


def _given(request: Any, body: bytes) -> Any:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused("send the parameters as application/json", kind="BadMediaType")
    return bodies.parsed(body)


@asynccontextmanager
async def _watching(receive: Any) -> AsyncIterator[asyncio.Event]:
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


class _Events:
    """A stream as server-sent events; its place is free as soon as it ends or its client goes.

    Args:
        works: where it takes a place.
        stream: what is sent.
    """

    def __init__(self, works: Works, stream: Stream) -> None:
        self._works, self._stream = works, stream

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        try:
            with self._works.begin(streams=True) as work:
                async with _watching(receive) as gone:
                    await self._send(work, gone, send)
        except Full:
            await _full()(scope, receive, send)

    async def _send(self, work: Work, gone: asyncio.Event, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            async with aclosing(self._works.items(work, gone, self._stream)) as items:
                async for event, row in items:
                    await _send_event(send, event, row)
        except Left:
            if gone.is_set():
                return
            await _send_event(send, "error", _ENDED)
        except Exception as error:
            known = bodies.status_of(error) is not None
            await _send_event(send, "error", bodies.error_body(error) if known else _DEFECT)
            if not known:
                raise
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_event(send: Any, event: str, row: Any) -> None:
    body = b"event: " + event.encode() + b"\ndata: " + bodies.written(row) + b"\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})


_DEFECT = {
    "error": {
        "type": "Defect",
        "message": "the server made a mistake; what was written is kept; "
        "TOKENGLASS_TRACEBACK=1 in its environment shows where",
    }
}
_ENDED = {"error": {"type": "Ended", "message": "the server is ending; start it again and reload the page"}}


def _json(row: Any, status: int = 200, **headers: str) -> Any:
    return _response(bodies.written(row), status, **headers)


def _response(body: bytes, status: int = 200, **headers: str) -> Any:
    from starlette.responses import Response

    return Response(body, status, {"cache-control": "no-store", **headers}, "application/json")


def _full() -> Any:
    error = {"type": "Busy", "message": f"too many requests at once; try again in {WAIT_SECONDS} s"}
    return _json({"error": error}, 429, **{"retry-after": str(WAIT_SECONDS)})


def _fixed(file: File) -> Any:
    async def answer(request: Any) -> Any:
        from starlette.responses import Response

        headers = (
            {"cache-control": "no-cache", "etag": file.etag} if file.etag else {"cache-control": "no-store"}
        )
        if file.etag and request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.body, 200, headers, file.media_type)

    return answer


def _as_error(kind: str) -> Any:
    async def answer(_: Any, error: Any) -> Any:
        row = {"error": {"type": kind, "message": f"{error.detail}; see /api/openapi.json"}}
        return _json(row, error.status_code, **(error.headers or {}))

    return answer


async def _defect(_: Any, error: Exception) -> Any:
    return _json(_DEFECT, 500)
