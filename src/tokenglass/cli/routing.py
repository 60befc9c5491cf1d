"""From the words typed to a command and its arguments, before any parser sees them.

A first word that names a command is the command, options may stand before it; anything else is a prompt for
`explore`. `tokenglass -- models` is a prompt. Options that are generation keywords (`--num-beams 5`) are
taken out here, so that every keyword of the library is an option without being listed twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

COMMANDS = ("tokens", "next", "generate", "models", "doctor")
# Options that take the next word; needed to find the first word that is none of theirs.
VALUED = frozenset(
    {
        *("-m", "--model", "--precision", "--seed", "-n", "--lookup", "--position", "--revision"),
        *("--max-new-tokens", "--max-length", "--max-time", "--stop-strings"),
    }
)
FLAGS = frozenset(
    {
        *("--json", "--chat", "--steps", "--help", "-h", "--version"),
        *("--parse-special", "--no-add-special-tokens"),
    }
)
# Generation keywords that are switches: `--do-sample` takes no value, `--no-do-sample` turns it off.
SWITCHES = frozenset(
    {
        *(
            "do_sample",
            "early_stopping",
            "renormalize_logits",
            "remove_invalid_values",
            "token_healing",
            "use_cache",
        ),
        *(
            "use_mtp",
            "low_memory",
            "output_scores",
            "output_logits",
            "output_attentions",
            "output_hidden_states",
        ),
        *("return_dict_in_generate", "disable_compile", "synced_gpus", "is_assistant", "use_model_defaults"),
    }
)
WITH_CONFIG = ("explore", "next", "generate")


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
        UsageError: bytes that are no UTF-8, or a generation keyword without its value.

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
        takes_next = word in VALUED or (_keyword(word) is not None and _keyword(word) not in SWITCHES)
        index += 2 if takes_next and "=" not in word else 1
    return None


def _keyword(word: str) -> str | None:
    """The generation keyword that an option names, or None."""
    option = word.partition("=")[0]
    if not option.startswith("--") or option in VALUED or option in FLAGS or " " in option:
        return None
    from tokenglass.config import KNOWN

    name = option[2:].replace("-", "_")
    if name in KNOWN:
        return name
    off = name.removeprefix("no_")
    return off if off != name and off in SWITCHES else None


def _without_config(args: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The arguments without generation keywords, and those keywords with their values."""
    rest: list[str] = []
    config: dict[str, Any] = {}
    words = iter(args)
    for word in words:
        if word == "--":
            return [*rest, word, *words], config
        name = _keyword(word)
        if name is None:
            option = word.partition("=")[0]
            if option.startswith("--") and " " not in option and option not in VALUED | FLAGS:
                raise UsageError(_unknown_option(option))
            rest.append(word)
            if word in VALUED:
                rest += [value for value in (next(words, None),) if value is not None]
        elif name in SWITCHES and "=" not in word:
            config[name] = not word.startswith("--no-") and not word.startswith("--no_")
        else:
            value = word.partition("=")[2] if "=" in word else next(words, None)
            if value is None:
                raise UsageError(f"{word} needs a value, as in {word} 5")
            config[name] = _value(word.partition("=")[0], value)
    return rest, config


def _unknown_option(word: str) -> str:
    import difflib

    from tokenglass.config import KNOWN

    known = [*VALUED, *FLAGS, *("--" + name.replace("_", "-") for name in sorted(KNOWN))]
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "a prompt that starts with - goes after --"
    return f"there is no option {word}; {hint}"


def _value(option: str, text: str) -> Any:
    """A keyword's value: JSON where it is JSON, None and True as Python writes them, else the text itself."""
    named = {"None": None, "none": None, "True": True, "False": False}
    if text in named:
        return named[text]
    try:
        return json.loads(text, parse_constant=float)
    except json.JSONDecodeError:
        return text
    except (ValueError, RecursionError):  # Python's own bounds on digits and on nesting
        raise UsageError(f"the value of {option} is too long a number or nested too deeply") from None
