"""From the words typed to a command and its arguments, before any parser sees them.

A first word that names a command is the command, options may stand before it; anything else is a prompt for
`explore`. `tokenglass -- models` is a prompt. Options that are generation keywords (`--num-beams 5`) are
taken out here and read by `keywords`, so that every keyword of the library is an option without a list.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COMMANDS = (
    *("tokens", "next", "generate", "strategies", "score", "compare"),
    *("batch", "open", "replay", "export", "serve", "serve-gguf", "models", "doctor"),
)
WITH_CONFIG = ("explore", "next", "generate", "strategies", "compare", "batch")
# Options that take the next word and are no keyword; needed to find the first word that is none of theirs.
VALUED = frozenset(
    {
        *("-m", "--model", "--precision", "-n", "--lookup", "--why", "--position"),
        *("--only", "--revision", "--text", "--top", "--options", "--a", "--b", "--with-model"),
        *(
            "--save",
            "-o",
            "--output",
            "--format",
            "--host",
            "--port",
            "--tokenizer",
            "--context",
            "--threads",
            *("--engine", "--dtype", "--device"),
        ),
        *("--task", "--shard", "--part-rows", "--ray", "--workers"),
    }
)
FLAGS = frozenset(
    {
        *("--json", "--chat", "--steps", "--stages", "--chain", "--help", "-h", "--version"),
        *("--parse-special", "--no-add-special-tokens", "--any-weights", "--candidates"),
        *("--open", "--no-open", "--no-bos"),
    }
)


class UsageError(ValueError):
    """The command line cannot be understood; the message says what to type."""


@dataclass(frozen=True, slots=True)
class Routed:
    """A command, its arguments, and the generation keywords that were among them."""

    command: str
    args: tuple[str, ...]
    config: Mapping[str, Any] = field(default_factory=dict)


def wants_json(argv: Sequence[str]) -> bool:
    """Whether `--json` is among the options (after `--` it is a prompt)."""
    options = argv[: argv.index("--")] if "--" in argv else argv
    return "--json" in options


def route(argv: Sequence[str]) -> Routed:
    """The command that a command line means.

    Raises:
        UsageError: bytes that are no UTF-8, an option that does not exist, or a generation keyword without
            its value.

    >>> route(["-m", "gpt2", "next", "Hello"])
    Routed(command='next', args=('-m', 'gpt2', 'Hello'), config={})
    >>> route(["--", "models"]).command, route(["Once upon"]).args
    ('explore', ('Once upon',))
    >>> route(["generate", "Hi", "--num-beams", "5", "--do-sample"]).config
    {'num_beams': 5, 'do_sample': True}
    """
    argv = [_utf8(word, number) for number, word in enumerate(argv, start=1)]
    first = _first_word(argv)
    if not argv or (first is None and {"--help", "-h"} & set(argv)):
        return Routed("help", ())
    if first is None and "--version" in argv:
        return Routed("version", ())
    if first is not None and argv[first] in COMMANDS:
        command, args = argv[first], [*argv[:first], *argv[first + 1 :]]
    else:
        command, args = "explore", list(argv)
    if command not in WITH_CONFIG:
        return Routed(command, tuple(args))
    rest, config = _without_config(args)
    return Routed(command, tuple(rest), config)


def _utf8(word: str, number: int) -> str:
    """A word as UTF-8, also where the locale made Python read it as ASCII."""
    if not any("\ud800" <= character <= "\udfff" for character in word):
        return word
    try:
        return str(os.fsencode(word), "utf-8")
    except UnicodeError:
        raise UsageError(
            f"argument {number} is not valid UTF-8; convert it first, for example with iconv -t UTF-8"
        ) from None


def _first_word(argv: Sequence[str]) -> int | None:
    """Index of the first word that is neither an option nor an option's value, before any `--`."""
    index = 0
    while index < len(argv):
        word = argv[index]
        if word == "--":
            return None
        if word == "-" or not word.startswith("-"):
            return index
        if word in VALUED:
            index += 2
        elif _may_be_keyword(word):
            from tokenglass.cli.keywords import words_taken

            index += words_taken(argv[index:])
        else:
            index += 1
    return None


def _may_be_keyword(word: str) -> bool:
    """Whether a word must be looked up among the keywords, whose table takes time to load."""
    option = word.partition("=")[0]
    return option.startswith("--") and option not in VALUED | FLAGS and " " not in option


def _without_config(args: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The arguments without generation keywords, and those keywords with their values."""
    rest: list[str] = []
    config: dict[str, Any] = {}
    index = 0
    while index < len(args):
        word = args[index]
        if word == "--":
            return [*rest, *args[index:]], config
        taken = 2 if word in VALUED else 1
        if _may_be_keyword(word):
            from tokenglass.cli.keywords import read, words_taken

            taken = words_taken(args[index:])
            read(args[index : index + taken], config)
        else:
            rest += args[index : index + taken]
        index += taken
    return rest, config
