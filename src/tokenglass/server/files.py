"""The page's own files, read once at the start: an address is looked up in a table, never on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

# What a page is made of; anything else in the folder is not served.
TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
INDEX = "index.html"


@dataclass(frozen=True)
class File:
    """One file of the page.

    Attributes:
        body: its content.
        media_type: what it is.
        etag: changes with the content.
    """

    body: bytes
    media_type: str
    etag: str


def page_files() -> dict[str, File]:
    """Address -> file, for everything the page is made of; the index is "/" too."""
    found = dict(_files(resources.files("tokenglass") / "views" / "static", ""))
    if f"/{INDEX}" in found:
        found["/"] = found[f"/{INDEX}"]
    return found


def _files(folder: Traversable, at: str) -> list[tuple[str, File]]:
    if not folder.is_dir():
        return []
    found: list[tuple[str, File]] = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        address = f"{at}/{entry.name}"
        if entry.is_dir():
            found += _files(entry, address)
        elif media_type := TYPES.get("." + entry.name.rpartition(".")[2]):
            body = entry.read_bytes()
            found.append((address, File(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"')))
    return found
