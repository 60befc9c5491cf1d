"""Messages of a view to operations of a workbench, and answers back; knows nothing of widgets.

A stream is taken item by item between other messages of the kernel, so that it can be stopped; an interrupt
of the kernel stops it as well, and what was written until then is kept.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tokenglass.errors import TokenglassError
from tokenglass.workbench import OPERATIONS, Refused, Workbench

Message = dict[str, Any]
KNOWN = (Refused, TokenglassError, ValueError, TypeError)
INTERRUPTED = {"type": "Interrupted", "message": "the kernel was interrupted; what was written is kept"}


class Carrier:
    """Answers what views ask.

    Args:
        bench: has the session.
        send: one message to all views of the widget.
        answered: told of each answer, with the view it was for.
    """

    def __init__(
        self, bench: Workbench, send: Callable[[Message], None], answered: Callable[[str, Message], None]
    ) -> None:
        self.bench, self._send, self._answered = bench, send, answered
        self._running: set[tuple[str, int]] = set()  # streams that are wanted
        self._tasks: set[asyncio.Task[None]] = set()
        self._home = _loop_here()  # of the cell that made the view

    def heard(self, message: Message) -> None:
        """One message of a view: a call, or the wish to stop one."""
        view, number = str(message.get("view")), message.get("number")
        if not isinstance(number, int):
            return
        key = (view, number)
        if message.get("stop"):
            self._running.discard(key)
            return
        name, params = str(message.get("op")), message.get("params")
        operation = OPERATIONS.get(name)
        if operation is not None and operation.streams:
            self._stream(key, name, params)
            return
        with self._told(key):
            answer = self.bench.call(name, params)
            self._tell(key, "answer", answer)
            self._answered(view, answer)

    def _stream(self, key: tuple[str, int], name: str, params: Any) -> None:
        """Begin a stream on the loop of the main thread, which alone hears an interrupt of the kernel.

        JupyterLab sends messages of views to another thread, so that they are heard while a cell runs.
        """
        self._running.add(key)
        loop = self._home or _loop_here()
        if loop is not None and loop.is_running():
            loop.call_soon_threadsafe(self._begin, key, name, params)
        else:  # nobody else has messages to take in between
            asyncio.run(self._taken(key, name, params))

    def _begin(self, key: tuple[str, int], name: str, params: Any) -> None:
        task = asyncio.ensure_future(self._taken(key, name, params))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _taken(self, key: tuple[str, int], name: str, params: Any) -> None:
        """The items of a stream, and its end; other messages have their turn after each item."""
        with self._told(key):
            items = self.bench.stream(name, params)
            while key in self._running:
                try:
                    with self._stopped_by_interrupt(key):
                        item = next(items)
                except StopIteration as end:
                    self._tell(key, "answer", end.value)
                    self._answered(key[0], end.value)
                    return
                self._tell(key, "item", item)
                await asyncio.sleep(0.001)  # lets the kernel look for other messages
            items.close()
            self._tell(key, "stopped", {})

    @contextmanager
    def _told(self, key: tuple[str, int]) -> Iterator[None]:
        """What goes wrong is an answer, too; nothing is printed into somebody's cell."""
        try:
            yield
        except KNOWN as error:
            kind = error.kind if isinstance(error, Refused) else type(error).__name__
            field = getattr(error, "field", None)
            self._tell(key, "error", {"type": kind, "message": str(error), "field": field})
        except KeyboardInterrupt:
            self._tell(key, "error", INTERRUPTED)
        finally:
            self._running.discard(key)

    @contextmanager
    def _stopped_by_interrupt(self, key: tuple[str, int]) -> Iterator[None]:
        """Between cells a kernel ignores interrupts; while an item is made, one ends the stream after it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, lambda *_: self._running.discard(key))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _tell(self, key: tuple[str, int], event: str, data: Any) -> None:
        self._send({"view": key[0], "number": key[1], "event": event, "data": data})


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
