"""Running the server: the address, the token, and an end within seconds."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tokenglass.errors import MissingDependency
from tokenglass.server.app import application
from tokenglass.server.guard import MOST_HEADERS
from tokenglass.server.work import Works
from tokenglass.workbench import Workbench

LAST_SECONDS = 2  # for requests that are still at work when the server is told to end


@dataclass(frozen=True)
class Address:
    """Where the page is.

    Attributes:
        host: name or number the server listens on.
        port: chosen by the system where 0 was asked for.
        token: the secret of this run.
    """

    host: str
    port: int
    token: str

    @property
    def site(self) -> str:
        """The part that the server is told."""
        return f"http://{_named(self.host)}:{self.port}/"

    @property
    def url(self) -> str:
        """What to open; the token stands where no browser sends it to any server."""
        return f"{self.site}#token={self.token}"

    @property
    def hosts(self) -> list[str]:
        """The names by which the server may be called."""
        names = {_named(self.host), *(("127.0.0.1", "localhost", "[::1]") if is_loopback(self.host) else ())}
        return [f"{name}:{self.port}" for name in sorted(names)] + (sorted(names) if self.port == 80 else [])


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ValueError: every address at once, under which no name would be known.
        OSError: the address is taken or not of this machine.
    """
    if host in ("", "0.0.0.0", "::"):
        raise ValueError(
            f"--host must be one address of this machine, got {host!r}: a page answers to its own name only"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends without delay only where the protocol is named; else a body waits 40 ms for the
    # acknowledgement of its headers
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(128)
    except BaseException:
        found.close()
        raise
    return found


def require_packages() -> None:
    """Say what is missing before anything is loaded.

    Raises:
        MissingDependency: uvicorn or FastAPI is not installed.
    """
    if not all(find_spec(name) for name in ("fastapi", "uvicorn")):
        raise MissingDependency("the page", "pip install 'tokenglass[web]'")


def serve(bench: Workbench, listener: socket.socket, host: str, ready: Callable[[Address], None]) -> None:
    """Serve until a signal comes; see `server`."""
    server(bench, listener, host, ready).run(sockets=[listener])


def server(bench: Workbench, listener: socket.socket, host: str, ready: Callable[[Address], None]) -> Any:
    """A server of uvicorn, which serves once it is run.

    Args:
        bench: answers.
        listener: from `listening`.
        host: as it was asked for.
        ready: told the address once the server answers.

    Raises:
        MissingDependency: uvicorn or FastAPI is not installed.
    """
    require_packages()
    import uvicorn

    address = Address(host, listener.getsockname()[1], secrets.token_urlsafe(24))
    works = Works()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            ready(address)

        async def shutdown(self, sockets: Any = None) -> None:
            works.stop()  # what is at work ends at its next turn
            bench.close()
            await super().shutdown(sockets)

    app: Any = application(bench, token=address.token, hosts=address.hosts, works=works)
    config = uvicorn.Config(
        app,
        log_level="error" if os.environ.get("TOKENGLASS_TRACEBACK") else "critical",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        http="h11",
        ws="none",
        lifespan="on",
        h11_max_incomplete_event_size=MOST_HEADERS + 1024,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    return Server(config)
