"""The workbench: models, sessions, and calls by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from tokenglass.errors import Unsupported
from tokenglass.text import safe_line
from tokenglass.workbench.ahead import LookAhead
from tokenglass.workbench.keeping import Uploads
from tokenglass.workbench.params import JsonDict, Refused
from tokenglass.workbench.registry import OPERATIONS, Operation, Stream
from tokenglass.workbench.sessions import Held, Sessions
from tokenglass.workbench.turns import FairEngine, Turnstile

if TYPE_CHECKING:
    from tokenglass.model import Model

_MODULES = ("facts", "moves", "questions", "growth", "writing", "reading", "tokens", "keeping")


class Workbench:
    """One model, perhaps others to compare it with, and the sessions on it; for several threads at once.

    Args:
        model: that sessions write with.
        models: name -> model, for comparisons; `model` alone under its own name where None.
        look_ahead: compute what may be asked for next while nobody is at work.

    Raises:
        Unsupported: an engine that lists only its likeliest tokens.
    """

    def __init__(
        self, model: Model, models: Mapping[str, Model] | None = None, *, look_ahead: bool = False
    ) -> None:
        from importlib import import_module

        for name in _MODULES:  # each puts its operations on the list
            import_module(f"tokenglass.workbench.{name}")
        turnstile = Turnstile()  # one for all: models share the machine
        for each in (model, *(models or {}).values()):
            _require_rows(each)
        for each in (model, *(models or {}).values()):
            _require_rows(each)
        fair = {id(each): _fair(each, turnstile) for each in (model, *(models or {}).values())}
        self.model = fair[id(model)]
        self.models = {name: fair[id(each)] for name, each in (models or {model.info.name: model}).items()}
        self.sessions = Sessions()
        self._at_work, self._lock = 0, threading.Lock()
        self.ahead = LookAhead(lambda: self._at_work == 0) if look_ahead else None
        self.uploads = Uploads()

    def call(self, name: str, given: Any = None) -> JsonDict:
        """The answer of an operation that does not stream.

        Raises:
            Refused: no such operation, or a wrong parameter.
            ValueError, TypeError, TokenglassError: what the library refuses.
        """
        operation = self.operation(name)
        if operation.streams:
            raise Refused(f"{name} answers with a stream", kind="NoOperation")
        asked = operation.checked({} if given is None else given)
        with self._working():
            found: JsonDict = operation.run(self, **asked)
        self._look_ahead(found)
        return found

    def stream(self, name: str, given: Any = None) -> Stream:
        """The items of an operation that streams; the generator's return value is its end.

        Parameters are checked at once. Closing the generator ends the work.
        """
        operation = self.operation(name)
        if not operation.streams:
            raise Refused(f"{name} does not stream", kind="NoOperation")
        return self._streamed(operation.run(self, **operation.checked({} if given is None else given)))

    def _streamed(self, run: Stream) -> Stream:
        with self._working():
            return (yield from run)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """While something is at work nobody looks ahead."""
        with self._lock:
            self._at_work += 1
        if self.ahead is not None:
            self.ahead.interrupt()
        try:
            yield
        finally:
            with self._lock:
                self._at_work -= 1

    def _look_ahead(self, answer: JsonDict) -> None:
        """After a state was answered, its children may be asked for."""
        if self.ahead is not None and "next" in answer and "session" in answer:
            with self.sessions.glance(answer["session"]) as held:
                if held is not None:
                    self.ahead.after(held)

    def close(self) -> None:
        """End what is looked ahead to; the models stay open."""
        if self.ahead is not None:
            self.ahead.close()

    def operation(self, name: str) -> Operation:
        """An operation by name.

        Raises:
            Refused: there is none.
        """
        found = OPERATIONS.get(name)
        if found is None:
            raise Refused(f"there is no operation {name[:60]!r}", kind="NoOperation")
        return found

    def use(self, session: str) -> AbstractContextManager[Held]:
        """A session by id, for one operation."""
        return self.sessions.use(session)

    def named(self, name: str | None) -> Model:
        """A model by its name; the first one where none is given.

        Raises:
            Refused: no model of that name was loaded at the start.
        """
        if name is None:
            return self.model
        if name not in self.models:
            here = ", ".join(map(repr, self.models))
            raise Refused(f"there is no model {name[:60]!r} here, only {here}", "model")
        return self.models[name]

    def config(self, given: JsonDict | None) -> JsonDict:
        """Keywords as the library wants them: a model that drafts is named in a request."""
        config = dict(given or {})
        drafter = config.get("assistant_model")
        if drafter is not None:
            config["assistant_model"] = self.named(str(drafter))
        return config


def _require_rows(model: Model) -> None:
    """Refuse an engine that only lists its likeliest tokens: bars, curves and cuts need all of them."""
    if "logits" not in model.info.capabilities:
        name = safe_line(model.info.name)
        raise Unsupported(f"the page over {name}", "it lists its likeliest tokens only; use the terminal")


def _fair(model: Model, turnstile: Turnstile) -> Model:
    """The same model, whose runs are turns."""
    from tokenglass.model import Model

    return Model(FairEngine(model.engine, turnstile), model.tokenizer, model.generation_defaults)
