"""An address of a model server as the user types it, and the key that belongs to it.

The key comes from the environment alone. It is part of no address, so that it cannot end up in a trace, a
name, a message or a shell's history.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tokenglass.text import safe_line

OWN_KEY, SHARED_KEY = "TOKENGLASS_API_KEY", "OPENAI_API_KEY"


@dataclass(frozen=True)
class Address:
    """Where a server is, and which of its models is meant.

    Attributes:
        root: without a trailing slash and without "/v1": where its own endpoints are.
        model: what stood behind "#", or "" for the only one.
        key: sent as a bearer token, or "".
    """

    root: str
    model: str = ""
    key: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """For people and traces."""
        return f"{self.root}/v1" + (f"#{self.model}" if self.model else "")

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        return _is_loopback(urlsplit(self.root).hostname or "")


def parse_address(source: str) -> Address:
    """An address such as "http://127.0.0.1:8000/v1#model".

    Raises:
        ValueError: no such address, or one that holds a password or a query.
    """
    try:
        parts = urlsplit(source)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c <= " " for c in source):
        raise ValueError(
            f"a server's address looks like http://host:port/v1#model, got {safe_line(source)[:80]!r}"
        )
    if parts.username is not None or parts.password is not None or parts.query:
        # not quoted: it may hold a secret
        raise ValueError(
            f"a server's address holds no password, key or query; put the key into {OWN_KEY} and try again"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/").removesuffix("/v1")
    root = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"
    return Address(root, unquote(parts.fragment), _key(parts.scheme, parts.hostname))


def _key(scheme: str, host: str) -> str:
    """The user's key; one that was set for any program is not sent over an open line to another machine."""
    own = os.environ.get(OWN_KEY, "").strip()
    is_private = scheme == "https" or _is_loopback(host)
    key = own or (os.environ.get(SHARED_KEY, "").strip() if is_private else "")
    if not key.isascii() or any(c <= " " for c in key):
        raise ValueError(
            f"{OWN_KEY if own else SHARED_KEY} is no key: it holds spaces or other signs; set it anew"
        )
    return key


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
