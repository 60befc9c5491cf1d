"""A server on this machine over a model without files, and connections made by hand."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import model, writes
from tokenglass.server.app import application
from tokenglass.server.running import Address, listening, server
from tokenglass.server.work import Works
from tokenglass.workbench import Workbench

TOKEN, HOST = "a-secret", "127.0.0.1:8000"
_LOOP = asyncio.Runner()  # one for all: a new one takes longer than most requests
TEXT = "a b c d e f g h i j k l m n o p q r s t u v w x y z "


def bench(seconds: float = 0.0) -> Workbench:
    """A workbench over bytes that never ends a text; each run of the model takes so long."""
    rule = writes(TEXT, then=ord("a"))

    def slow(ids: tuple[int, ...]) -> Any:
        time.sleep(seconds)
        return rule(ids)

    return Workbench(model(slow if seconds else rule, context_length=1 << 16))


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def row(self) -> Any:
        return json.loads(self.body)


def guarded(over: Workbench | None = None, works: Works | None = None) -> Any:
    """The application behind its guard."""
    return application(over or bench(), token=TOKEN, hosts=[HOST, "localhost:8000"], works=works)


def asked(
    app: Any,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    kind: str = "http",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    token: str | None = TOKEN,
) -> Answer:
    """One request, straight to the application, with the headers of our own page unless told otherwise."""
    given = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    named = {name.lower() for name, _ in given}
    if "host" not in named:
        given.append(("host", HOST))
    if token is not None and "authorization" not in named:
        given.append(("authorization", f"Bearer {token}"))
    scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
    }
    if kind == "http":
        scope |= {"method": method}
    return _LOOP.run(_connected(app, scope, body))


async def _connected(app: Any, scope: Any, body: bytes) -> Answer:
    answer, sent = Answer(), [False]
    done = asyncio.Event()

    async def receive() -> Any:
        if scope["type"] == "websocket":
            return {"type": "websocket.connect"}
        if not sent[0]:
            sent[0] = True
            return {"type": "http.request", "body": body, "more_body": False}
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode().lower(): v.decode() for k, v in message.get("headers", ())}
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")
        elif message["type"] == "websocket.close":
            answer.status = message["code"]
        elif message["type"] == "websocket.accept":
            answer.status = 101

    await app(scope, receive, send)
    done.set()
    return answer


def posted(app: Any, operation: str, **params: Any) -> Answer:
    """One operation."""
    return asked(app, "POST", f"/api/{operation}", json.dumps(params).encode())


def seen_works(monkeypatch: pytest.MonkeyPatch) -> list[Works]:
    """The requests at work of every server that is made from now on."""
    made: list[Works] = []

    class Seen(Works):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr("tokenglass.server.running.Works", Seen)
    return made


@contextmanager
def served(over: Workbench) -> Iterator[Address]:
    """A real server, in a thread."""
    listener, ready, found = listening("127.0.0.1", 0), threading.Event(), list[Address]()

    def told(address: Address) -> None:
        found.append(address)
        ready.set()

    made = server(over, listener, "127.0.0.1", told)
    thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(20)
        yield found[0]
    finally:
        made.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def streaming(address: Address, operation: str, **params: Any) -> Iterator[Iterator[tuple[str, Any]]]:
    """The events of a stream over a connection of its own; leaving the block hangs up."""
    body = json.dumps(params).encode()
    head = (
        f"POST /api/{operation} HTTP/1.1\r\nHost: 127.0.0.1:{address.port}\r\n"
        f"Authorization: Bearer {address.token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", address.port), timeout=60) as connection:
        connection.sendall(head.encode() + body)
        with connection.makefile("rb") as lines:
            yield _events(lines)


def _events(lines: Any) -> Iterator[tuple[str, Any]]:
    status = lines.readline().split()[1]
    if status != b"200":
        yield "status", int(status)
        return
    event = ""
    for line in lines:
        if line.startswith(b"event: "):
            event = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield event, json.loads(line[6:])
            if event in ("done", "error"):
                return
