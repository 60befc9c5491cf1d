"""The application: one address for each operation, the page's files, and the document that describes both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tokenglass.server import bodies, openapi
from tokenglass.server.answers import DEFECT, ENDED, answer_of, full, json_answer
from tokenglass.server.events import Events, watching
from tokenglass.server.files import File, page_files
from tokenglass.server.guard import App, Guard
from tokenglass.server.work import Full, Left, Works
from tokenglass.workbench import OPERATIONS, Operation, Refused, Workbench


def application(bench: Workbench, *, token: str, hosts: list[str], works: Works | None = None) -> App:
    """The guarded application.

    Args:
        bench: answers.
        token: the secret of this run.
        hosts: "name:port" by which it may be called.
        works: the requests at work; its own where None.
    """
    from fastapi import FastAPI

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
                return Events(works, bench.stream(operation.name, given))
            with works.begin(streams=False) as work:
                async with watching(request.receive) as gone:
                    body = await works.run(work, gone, _answered, bench, operation.name, given)
            return answer_of(body)
        except Left:
            return json_answer(ENDED, status=503)  # read by nobody, unless the server is ending
        except Full:
            return full()
        except Exception as error:
            status = bodies.status_of(error)
            if status is None:
                raise
            return json_answer(bodies.error_body(error), status=status)

    return answer


def _answered(bench: Workbench, name: str, given: Any) -> bytes:
    """An answer as it is sent; made in the thread that computed it."""
    return bodies.written(bench.call(name, given))


def _given(request: Any, body: bytes) -> Any:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused("send the parameters as application/json", kind="BadMediaType")
    return bodies.parsed(body)


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
        return json_answer(row, error.status_code, **(error.headers or {}))

    return answer


async def _defect(_: Any, error: Exception) -> Any:
    return json_answer(DEFECT, 500)
