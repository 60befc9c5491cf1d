"""Operations that carry a session away and bring it back: traces, exports.

The library writes files; here they are temporary ones, whose content is the answer. Opening a trace loads
nothing that it names: it goes on with the model that is here, or not at all.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenglass.workbench.kinds import DEFAULT_ROWS, ROWS, SESSION
from tokenglass.workbench.moves import answer
from tokenglass.workbench.params import JsonDict, Refused, flag, one_of, text
from tokenglass.workbench.registry import operation

if TYPE_CHECKING:
    from tokenglass.session import Session
    from tokenglass.workbench.bench import Workbench

LONGEST_PART = 1 << 19  # characters of a trace in one request
LONGEST_TRACE = 16 << 20  # of all its parts
MOST_UPLOADS = 4  # begun and not ended
ENDINGS = {"csv": "csv", "jsonl": "jsonl", "markdown": "md", "dot": "dot", "svg": "svg", "html": "html"}
MEDIA_TYPES = {
    "csv": "text/csv",
    "jsonl": "application/jsonl",
    "markdown": "text/markdown",
    "dot": "text/vnd.graphviz",
    "svg": "image/svg+xml",
    "html": "text/html",
}


@operation(session=SESSION)
def save(bench: Workbench, session: str) -> JsonDict:
    """A session as a trace: everything, to be opened again."""

    def write(opened: Session, path: Path) -> None:
        opened.save(path)
        opened.close()

    with bench.use(session) as held:
        found = _written("session.jsonl", lambda path: write(held.session, path))
    return {"name": "session.jsonl", "media_type": "application/jsonl", "text": found}


@operation(
    session=SESSION,
    format=one_of(tuple(ENDINGS)),
    candidates=flag("in csv and jsonl a row for each candidate of each token"),
)
def export(bench: Workbench, session: str, format: str, candidates: bool = False) -> JsonDict:
    """A session's rows or its tree as a file for other programs; html is a page that works from disk."""
    name = f"session.{ENDINGS[format]}"
    with bench.use(session) as held:
        found = _exported(held.session, name, format, candidates)
    return {"name": name, "media_type": MEDIA_TYPES[format], "text": found}


def _exported(session: Session, name: str, format: str, candidates: bool) -> str:
    if format == "html":
        from tokenglass.handout import of_session

        return of_session(session)
    from tokenglass.traces import candidate_table, export, tree_table

    nodes = {"session": list(session.tree)}
    if candidates and format not in ("csv", "jsonl"):
        raise Refused(f"{format} draws the tree; leave out candidates, or take csv or jsonl", "candidates")
    table = candidate_table(nodes) if candidates else tree_table(nodes)
    return _written(name, lambda path: export(table, path, format))


def _written(name: str, write: Callable[[Path], None]) -> str:
    """What is written to a temporary file of that name."""
    with tempfile.TemporaryDirectory(prefix="tokenglass-") as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes().decode()


class Uploads:
    """Traces that come in parts, because a request is bounded."""

    def __init__(self) -> None:
        self._parts: OrderedDict[str, list[str]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, upload: str | None, part: str) -> str:
        """Keep a part; returns the name of the upload.

        Raises:
            Refused: no such upload, or more than a trace may have.
        """
        with self._lock:
            if upload is None:
                upload = secrets.token_urlsafe(16)
                while len(self._parts) >= MOST_UPLOADS:
                    self._parts.popitem(last=False)
                self._parts[upload] = []
            parts = self._parts.get(upload)
            if parts is None:
                raise Refused("there is no such upload here; send the trace from its beginning", "upload")
            if sum(map(len, parts)) + len(part) > LONGEST_TRACE:
                del self._parts[upload]
                raise Refused(
                    f"a trace may have {LONGEST_TRACE:,} characters here; open it in a terminal", "part"
                )
            parts.append(part)
            return upload

    def whole(self, upload: str) -> str:
        """All parts together; the upload is over."""
        with self._lock:
            return "".join(self._parts.pop(upload))


@operation(
    part=text(LONGEST_PART, "the trace, or its next part"),
    upload=text(64, "of the parts before, as the answer to them said", least=1),
    more=flag("more parts follow"),
    n=ROWS,
)
def load(
    bench: Workbench, part: str, upload: str | None = None, more: bool = False, n: int = DEFAULT_ROWS
) -> JsonDict:
    """Open a saved session again, with the model that is here; a long trace comes in parts."""
    upload = bench.uploads.add(upload, part)
    if more:
        return {"upload": upload}
    from tokenglass.saving import open_session

    whole = bench.uploads.whole(upload)
    with tempfile.TemporaryDirectory(prefix="tokenglass-") as folder:
        path = Path(folder) / "session.jsonl"
        path.write_bytes(whole.encode())
        opened = open_session(path, bench.model)
        opened.close()
    held = bench.sessions.add(opened)
    with bench.use(held.id):
        return answer(held, n)
