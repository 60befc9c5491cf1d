"""A bar on stderr while a file is fetched or rows are done: only on a terminal, so that pipes stay clean."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

Unit = Literal["bytes", "rows"]


class Bar:
    """Follows one piece of work.

    Attributes:
        visible: a person is looking: stderr is a terminal and a bar was wanted.
    """

    def __init__(self, what: str, visible: bool, unit: Unit = "bytes") -> None:
        self.visible = visible
        self._what, self._unit = what, unit
        self._bar: Any = None
        self._task: Any = None

    def advance(self, n: int, total: int) -> None:
        """`n` of `total` are here; the bar appears with the first call."""
        if not self.visible:
            return
        if self._bar is None:
            self._bar = _rich_bar(self._unit)
            self._bar.start()
            self._task = self._bar.add_task(self._what, completed=n, total=total)
        self._bar.update(self._task, completed=n, total=total)

    def waiting(self) -> None:
        """Another process is fetching the same model."""
        if self.visible:
            print(f"{self._what}: waiting for another process that does the same", file=sys.stderr)

    def close(self) -> None:
        """Leave the line as it is; the cursor comes back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


@contextmanager
def bar(what: str, wanted: bool = True, unit: Unit = "bytes") -> Iterator[Bar]:
    """A bar for the length of a block; `what` stands before it."""
    following = Bar(what, wanted and sys.stderr is not None and sys.stderr.isatty(), unit)
    try:
        yield following
    finally:
        following.close()


def _rich_bar(unit: Unit) -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    class Rate(ProgressColumn):
        """Rows a second."""

        def render(self, task: Any) -> Any:
            from rich.text import Text

            return Text("" if task.speed is None else f"{task.speed:,.1f} rows/s")

    counted = (DownloadColumn(),) if unit == "bytes" else (MofNCompleteColumn(), Rate())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *counted, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
