"""Everything tokenglass raises on purpose.

```
TokenglassError
├── EngineError                 the model could not be had or run
│   ├── MissingDependency       an optional package is not installed; says what to install
│   ├── ModelNotFound           no model of that name here, and none could be fetched
│   ├── ModelUnsupported        the model is known but cannot be run faithfully; says why
│   │   └── ModelDamaged        the file's own structure is wrong; says what and where
│   ├── ContextOverflow         more tokens than the model's context length; says both counts
│   └── RemoteError             a model server failed or lied
├── Unsupported                 this engine lacks a capability that the call needs
├── TraceError                  a trace could not be read or written
├── BatchError                  the input or the folder of a batch cannot be used; says why
└── NoTokenAllowed              every token of a step was banned
```

A bad argument is a plain `ValueError` or `TypeError` naming the parameter, the allowed interval and the
value given. Every message is one line: the cause, then what to do next.
"""

from __future__ import annotations

from typing import Any


class TokenglassError(Exception):
    """Base of all errors raised on purpose; its text is one line for a person."""


class EngineError(TokenglassError):
    """The model could not be found, opened or run."""


class MissingDependency(EngineError):
    """An optional package is needed; the message is the command that installs it."""

    def __init__(self, purpose: str, command: str) -> None:
        self.purpose = purpose
        self.command = command
        super().__init__(f"{purpose} needs an optional package: {command}")


class ModelNotFound(EngineError):
    """No such model here, and it could not be fetched."""


class ModelUnsupported(EngineError):
    """The model exists but this engine would not compute it faithfully."""


class ModelDamaged(ModelUnsupported):
    """A model file contradicts its own format; refused before any reader touches it."""


class ContextOverflow(EngineError):
    """A prompt is longer than the model's context; nothing was cut."""

    def __init__(self, n_tokens: int, context_length: int) -> None:
        self.n_tokens = n_tokens
        self.context_length = context_length
        super().__init__(
            f"the prompt has {n_tokens:,} tokens but the model's context holds {context_length:,}; "
            "shorten the prompt or load a model with a longer context"
        )


class RemoteError(EngineError):
    """A model server failed, or answered something that cannot be true.

    Attributes:
        partial: the sequences written before it failed, each with the finish reason "error"; empty where none
            was.
    """

    partial: tuple[Any, ...] = ()


class Unsupported(TokenglassError):
    """The call needs a capability that this engine or this version does not have."""

    def __init__(self, capability: str, advice: str = "") -> None:
        self.capability = capability
        super().__init__(f"{capability} is not supported" + (f": {advice}" if advice else ""))


class TraceError(TokenglassError):
    """A trace file could not be read, written or trusted."""


class BatchError(TokenglassError):
    """The input of a batch cannot be read, or its folder belongs to another run."""


class NoTokenAllowed(TokenglassError):
    """Every token of a step was banned, so none can be chosen."""

    def __init__(self, position: int, banned_by: str = "") -> None:
        self.position = position
        by = f" (banned by {banned_by})" if banned_by else ""
        super().__init__(f"no token allowed at position {position}{by}; loosen the constraints and try again")
