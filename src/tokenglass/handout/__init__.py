"""A session or a trace handed out: one HTML file with the page and every recorded number, for any browser.

It works from a disk without a network. From a session, what may come next at the open ends and inside the
prompt goes along; a trace alone knows what its steps recorded, and the file says where it knows nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tokenglass.handout import live, recorded
from tokenglass.traces.storage import replacing

if TYPE_CHECKING:
    from tokenglass.session import Session
    from tokenglass.traces import Trace


def of_session(session: Session) -> str:
    """A session as one HTML file, with the tables of its open ends and of the places inside its prompt."""
    return live.recording(session).page()


def of_trace(trace: Trace) -> str:
    """A trace as one HTML file, from its steps alone.

    Raises:
        TraceError: a step is damaged.
    """
    return recorded.recording(trace).page()


def write(html: str, path: str | Path) -> None:
    """Put a hand-out on the disk, whole or not at all.

    Raises:
        TraceError: it cannot be written.
    """
    with replacing(Path(path)) as part:
        part.write_text(html, encoding="utf-8", newline="\n")
