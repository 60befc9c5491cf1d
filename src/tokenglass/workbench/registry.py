"""The list of operations: each a function of the workbench and of parameters that were checked.

An operation declares the kind of each parameter; which are optional, its own signature says.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from tokenglass.workbench.params import JsonDict, Kind, Refused

Stream = Generator[JsonDict, None, JsonDict]


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked for.

    Attributes:
        name: what it is called.
        about: what it does, in one sentence.
        run: the function; a generator function where it streams, whose return value is the end.
        params: the kinds of its parameters.
        required: those that must be given.
        streams: whether it answers with a stream.
    """

    name: str
    about: str
    run: Callable[..., Any]
    params: Mapping[str, Kind]
    required: frozenset[str]
    streams: bool

    def checked(self, given: Any) -> JsonDict:
        """The parameters, once nothing is wrong with them; null stands for one that is left out.

        Raises:
            Refused: an unknown, missing or wrong one, by its name.
        """
        if not isinstance(given, dict):
            raise Refused(f"{self.name} takes a JSON object of parameters, got {type(given).__name__}")
        for name in given:
            if name not in self.params:
                raise Refused(self._unknown(name), str(name)[:60])
        found = {name: value for name, value in given.items() if value is not None}
        for name in self.params:
            if name in self.required and name not in found:
                raise Refused(f"{self.name} needs {name}", name)
        for name, value in found.items():
            self.params[name].check(name, value)
        return found

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name, self.params, n=1)
        known = ", ".join(self.params) or "none"
        hint = f"did you mean {near[0]}?" if near else f"it takes {known}"
        return f"{self.name} has no parameter {name[:60]!r}; {hint}"

    @property
    def schema(self) -> JsonDict:
        """The parameters as JSON Schema."""
        properties = {}
        for name, kind in self.params.items():
            shown = dict(kind.schema)
            if name not in self.required:
                shown = {"anyOf": [shown, {"type": "null"}]}
            properties[name] = {**shown, **({"description": kind.about} if kind.about else {})}
        required = [name for name in self.params if name in self.required]
        return {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }


OPERATIONS: dict[str, Operation] = {}


def operation(**params: Kind) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function on the list under its own name, its parameters of these kinds."""

    def listed(run: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(run).parameters
        required = frozenset(name for name in params if signature[name].default is inspect.Parameter.empty)
        name = run.__name__.rstrip("_")
        about = (inspect.getdoc(run) or "").partition("\n")[0]
        streams = inspect.isgeneratorfunction(run)
        OPERATIONS[name] = Operation(name, about, run, params, required, streams)
        return run

    return listed
