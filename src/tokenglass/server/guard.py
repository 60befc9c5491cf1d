"""The one outermost guard: everything that reaches the application has passed it, HTTP and websocket alike.

In this order: the host by a fixed list, the site a browser says the request comes from, the secret token,
sizes. What is not known to be open needs the token. Knows nothing of what is served.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_BODY = 1 << 20  # bytes
MOST_HEADERS = 16 << 10  # bytes, names and values
BODY_SECONDS = 10.0  # to send it in
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_EXTRA = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_OWN_SITE = (b"same-origin", b"none")


@dataclass(frozen=True)
class Refusal:
    """Why a request is turned away."""

    status: int
    kind: str
    message: str


class Guard:
    """Lets through what may come in.

    Args:
        app: what is guarded.
        token: the secret of this run.
        hosts: "name:port" by which the server may be called.
        open_paths: what needs no token, to be read only.
    """

    def __init__(self, app: App, *, token: str, hosts: Collection[str], open_paths: Collection[str]) -> None:
        self._app, self._open = app, frozenset(open_paths)
        self._hosts = frozenset(host.lower().encode() for host in hosts)
        self._secret = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection on, or turn it away."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            return
        refusal = self.refusal(scope)
        if refusal is None and scope["type"] == "http":
            try:
                receive = await asyncio.wait_for(_whole_body(receive), BODY_SECONDS)
            except TimeoutError:
                refusal = Refusal(408, "TooSlow", f"the body did not come within {BODY_SECONDS:g} seconds")
            except _TooLarge:
                refusal = _TOO_LARGE
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.message})
        else:
            await _answer(refusal, _with_headers(send))

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why a connection is turned away by its headers, or None."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > MOST_HEADERS:
            return Refusal(431, "HeadersTooLarge", f"the headers hold more than {MOST_HEADERS:,} bytes")
        host = _all(headers, b"host")
        if len(host) != 1 or host[0].lower() not in self._hosts:
            return Refusal(
                403, "WrongHost", "this server answers to its own name only; open the printed address"
            )
        if not _is_own_site(headers, scope["scheme"].replace("ws", "http").encode(), host[0]):
            return Refusal(403, "OtherSite", "a page of another site asked; open the printed address")
        if not self._is_open(scope) and not self._has_token(headers):
            return Refusal(
                401, "NoToken", "the token is missing or not of this run; open the printed address"
            )
        length = _all(headers, b"content-length")
        if len(length) > 1 or (length and (not length[0].isdigit() or int(length[0]) > MOST_BODY)):
            return _TOO_LARGE
        return None

    def _is_open(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] in self._open

    def _has_token(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        given = _all(headers, b"authorization")
        return len(given) == 1 and hmac.compare_digest(given[0], self._secret)


def _is_own_site(headers: Iterable[tuple[bytes, bytes]], scheme: bytes, host: bytes) -> bool:
    """Whether a browser's own words, where it said any, are that our page or the user asked."""
    sites, origins = _all(headers, b"sec-fetch-site"), _all(headers, b"origin")
    own = scheme + b"://" + host
    return all(site in _OWN_SITE for site in sites) and all(origin == own for origin in origins)


def _all(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in headers if key.lower() == name]


class _TooLarge(Exception):
    """The body goes on past the bound."""


_TOO_LARGE = Refusal(
    413, "BodyTooLarge", f"the body must be at most {MOST_BODY:,} bytes, with its length given once"
)


async def _whole_body(receive: Receive) -> Receive:
    """Read the body within its bound; a `receive` that gives it again, and then what comes after it."""
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return _again([message], receive)
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        more = message.get("more_body", False)
        if size > MOST_BODY:
            raise _TooLarge
    return _again([{"type": "http.request", "body": b"".join(pieces), "more_body": False}], receive)


def _again(first: list[Message], receive: Receive) -> Receive:
    async def from_then_on() -> Message:
        return first.pop(0) if first else await receive()

    return from_then_on


def _with_headers(send: Send) -> Send:
    """Every answer says what a browser may do with it."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            names = {name.lower() for name, _ in own}
            message = {**message, "headers": [*own, *(pair for pair in _EXTRA if pair[0] not in names)]}
        await send(message)

    return with_headers


async def _answer(refusal: Refusal, send: Send) -> None:
    body = json.dumps({"error": {"type": refusal.kind, "message": refusal.message}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    headers += [(b"cache-control", b"no-store"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
