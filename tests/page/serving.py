"""The real server on a port of its own, in the process of the tests, and its answers without a browser."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Site:
    """A running server.

    Attributes:
        url: what a reader opens.
        home: the address without the token.
        token: the secret.
    """

    url: str
    home: str
    token: str

    def api(self, operation: str, **params: Any) -> Any:
        """What an operation that does not stream answers."""
        request = urllib.request.Request(
            f"{self.home}api/{operation}",
            json.dumps(params).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)


@contextmanager
def serving(model: Any, models: dict[str, Any] | None = None) -> Iterator[Site]:
    """A server over a model, until the end of the block."""
    from tokenglass.server.running import Address, listening, server
    from tokenglass.workbench import Workbench

    there, found = threading.Event(), list[Address]()

    def ready(address: Address) -> None:
        found.append(address)
        there.set()

    listener = listening("127.0.0.1", 0)
    running = server(Workbench(model, models), listener, "127.0.0.1", ready)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert there.wait(30), "the server did not start"
        address = found[0]
        yield Site(address.url, address.site, address.token)
    finally:
        running.should_exit = True
        thread.join(10)
        listener.close()
