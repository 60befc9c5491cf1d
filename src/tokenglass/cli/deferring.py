"""Typer parses, we run: a command's work is done after Typer has returned, outside its handling of errors.

Typer turns a Ctrl-C into a silent exit and would leave a `--json` run without its document.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

Code = Callable[[], int]


def deferred(command: Callable[..., int]) -> Callable[..., Code]:
    """A command that, called by Typer, returns its work instead of doing it."""

    @wraps(command)
    def parsed(*args: Any, **options: Any) -> Code:
        return partial(command, *args, **options)

    return parsed
