"""Messages of a view to operations of a workbench, and answers back; knows nothing of widgets.

Everything is done on the event loop of the cell that made the view, one thing at a time: JupyterLab hands
messages of views to another thread while a cell runs, and a session in the hands of two threads would be
neither's. A stream is taken item by item between other messages, so that it can be stopped; an interrupt of
the kernel stops it as well, and what was written until then is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tokenglass.errors import TokenglassError
from tokenglass.notebook import interrupts
from tokenglass.workbench import OPERATIONS, Refused, Workbench

Message = dict[str, Any]
Key = tuple[str, int]  # a view, and the number of its call
KNOWN = (Refused, TokenglassError, ValueError, TypeError)
INTERRUPTED = {"type": "Interrupted", "message": "the kernel was interrupted; what was written is kept"}


class Carrier:
    """Answers what views ask.

    Args:
        bench: has the session.
        send: one message to all views of the widget.
        answered: told of each answer, with the view it was for.

    Attributes:
        at_work: whether an operation is under way, so that what moves is moved by a view.
    """

    def __init__(
        self, bench: Workbench, send: Callable[[Message], None], answered: Callable[[str, Message], None]
    ) -> None:
        self.bench, self._send, self._answered = bench, send, answered
        self.at_work = False
        self._wanted: set[Key] = set()  # streams that nobody stopped
        self._tasks: set[asyncio.Task[None]] = set()
        self._home = _loop_here()  # of the cell that made the view

    def heard(self, message: Message) -> None:
        """One message of a view: a call, or the wish to stop one."""
        view, number = str(message.get("view")), message.get("number")
        if not isinstance(number, int):
            return
        key = (view, number)
        if message.get("stop"):
            self._wanted.discard(key)
            return
        name, params = str(message.get("op")), message.get("params")
        operation = OPERATIONS.get(name)
        do = self._stream if operation is not None and operation.streams else self._call
        if self._home is not None and self._home.is_running() and _loop_here() is not self._home:
            self._home.call_soon_threadsafe(do, key, name, params)
        else:
            do(key, name, params)

    def _call(self, key: Key, name: str, params: Any) -> None:
        with self._told(key):
            with self._working():
                answer = self.bench.call(name, params)
            self._tell(key, "answer", answer)
            self._answered(key[0], answer)

    def _stream(self, key: Key, name: str, params: Any) -> None:
        self._wanted.add(key)
        taken = self._taken(key, name, params)
        if _loop_here() is None:  # nobody else has messages to take in between
            asyncio.run(taken)
            return
        task = asyncio.ensure_future(taken)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _taken(self, key: Key, name: str, params: Any) -> None:
        """The items of a stream, and its end; other messages have their turn after each item."""
        with self._told(key), interrupts.heard() as interrupt:
            items = self.bench.stream(name, params)
            while key in self._wanted:
                try:
                    interrupts.listen()
                    with self._working():
                        item = next(items)
                except StopIteration as end:
                    self._tell(key, "answer", end.value)
                    self._answered(key[0], end.value)
                    return
                self._tell(key, "item", item)
                await asyncio.sleep(0.001)  # lets the kernel look for other messages
                if interrupt.came:
                    self._end(key, name, params)
            items.close()
            self._tell(key, "stopped", {})

    def _end(self, key: Key, name: str, params: Any) -> None:
        """After an interrupt: what plays in a session ends with its state, as by its button."""
        if name == "play":
            self.bench.call("stop", {"session": params["session"]})
        else:
            self._wanted.discard(key)

    @contextmanager
    def _working(self) -> Iterator[None]:
        self.at_work = True
        try:
            yield
        finally:
            self.at_work = False

    @contextmanager
    def _told(self, key: Key) -> Iterator[None]:
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
            self._wanted.discard(key)

    def _tell(self, key: Key, event: str, data: Any) -> None:
        self._send({"view": key[0], "number": key[1], "event": event, "data": data})


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
