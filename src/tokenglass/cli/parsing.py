"""argparse with our manners: errors are exceptions, and help breaks lines at spaces only."""

from __future__ import annotations

import argparse
import textwrap
from typing import NoReturn

from tokenglass.cli.routing import UsageError


class HelpFormatter(argparse.HelpFormatter):
    """Breaks lines at spaces only, so that an option can be read and copied in one piece."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        if message.startswith("unrecognized arguments: ") and message.split()[2][0] != "-":
            message += "; a prompt of several words goes in quotes"
        raise UsageError(f"{message}; see {self.prog} --help")
