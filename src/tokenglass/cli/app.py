"""The commands that run a model: explore, tokens, next, generate. Each returns its exit code."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from tokenglass.cli.options import parser
from tokenglass.cli.routing import Routed, UsageError
from tokenglass.cli.screen import Screen, note, print_json

if TYPE_CHECKING:
    from tokenglass.config import GenerationConfig
    from tokenglass.model import Model

Prompt = str | list[dict[str, str]]
MOST_TYPED = 64 << 20  # bytes of standard input: a hundred times what the longest context holds


def invoke(routed: Routed) -> int:
    """Parse the options of a routed command and run it."""
    if routed.command == "help":
        from tokenglass.cli.help import OVERVIEW

        print(OVERVIEW)
        return 0
    given = parser(routed.command).parse_args(routed.args)
    given.config = dict(routed.config)
    if getattr(given, "seed", None) is not None:
        given.config["seed"] = given.seed
    if routed.command in ("models", "doctor"):
        return int(import_module(f"tokenglass.cli.{routed.command}").run(given))
    return _COMMANDS[routed.command](given)


def _explore(given: Namespace) -> int:
    prompt = _prompt(given)
    model = _load(given)
    session = model.session(prompt, **given.config)
    tokenization = model.tokenize(prompt)
    _tell_unused(session.config)
    if given.json:
        document = {
            "tokenization": tokenization.to_dict(),
            "next": replace(session.next, n=given.n).to_dict(),
        }
        print_json({"model": model.info.name, **document})
        return 0
    from tokenglass import explore

    screen = Screen()
    if screen.is_terminal and sys.stdin is not None and sys.stdin.isatty():
        return explore.Explorer(session, screen, rows=given.n).run()
    screen.show(explore.overview(tokenization, session, given.n))
    return 0


def _tokens(given: Namespace) -> int:
    import tokenglass as tg

    text = _prompt(given)
    tokenizer = tg.load_tokenizer(given.model)
    if isinstance(text, str):
        special = {
            "add_special_tokens": not given.no_add_special_tokens,
            "parse_special": given.parse_special,
        }
        tokenization = tokenizer.encode(text, **special)
    else:
        from tokenglass.chat import render_chat

        tokenization = tokenizer.encode(
            render_chat(tokenizer, text), add_special_tokens=False, parse_special=True
        )
    if given.json:
        print_json({"model": given.model, **tokenization.to_dict()})
        return 0
    from tokenglass.views.layout import blocks

    Screen().show(blocks(tokenization))
    return 0


def _next(given: Namespace) -> int:
    prompt = _prompt(given)
    model = _load(given)
    table = model.next_tokens(prompt, n=given.n, position=given.position, **given.config)
    found = [table.lookup(text) for text in given.lookup]
    if given.config:
        _tell_unused(model.session(prompt, **given.config).config)
    if given.json:
        from tokenglass.views.rows import candidate

        looked_up = {"lookup": [candidate(row) for row in found]} if found else {}
        print_json({"model": model.info.name, **table.to_dict(), **looked_up})
        return 0
    from tokenglass.views.layout import next_blocks

    Screen().show(next_blocks(table, found))
    return 0


def _generate(given: Namespace) -> int:
    from tokenglass.cli.writing import write

    prompt = _prompt(given)
    named = ("max_new_tokens", "max_length", "stop_strings", "max_time")
    config = given.config | {name: value for name in named if (value := getattr(given, name)) is not None}
    model = _load(given)
    if config:
        _tell_unused(model.session(prompt, **config).config)
    return write(model, prompt, config, as_json=given.json, steps=given.steps)


_COMMANDS = {"explore": _explore, "tokens": _tokens, "next": _next, "generate": _generate}


def _tell_unused(config: GenerationConfig) -> None:
    """Name the options that were accepted but change nothing, so that nobody takes them for the cause."""
    if config.no_effect:
        note(f"without effect in this version: {', '.join(config.no_effect)}")


def _load(given: Namespace) -> Model:
    import tokenglass as tg

    return tg.load(given.model, precision=given.precision)


def _prompt(given: Namespace) -> Prompt:
    """The text of a command: one argument, or standard input for `-`; with `--chat` a user's message."""
    words: Sequence[str] = given.words
    if len(words) != 1:
        whole = " ".join(words)
        shown = whole if len(whole) <= 60 else f"{words[0]} {words[1]} ..."[:60]
        raise UsageError(f'{len(words)} texts were given; put the prompt in quotes, as in "{shown}"')
    text = _from_stdin() if words[0] == "-" else words[0]
    return [{"role": "user", "content": text}] if given.chat else text


def _from_stdin() -> str:
    """Standard input without one final newline, as the shell's own $(...) has it."""
    if sys.stdin is None:
        raise UsageError("there is no standard input; give the text as an argument")
    if sys.stdin.isatty():
        note("type the text, then Ctrl-D on a line of its own")
    data: bytes = sys.stdin.buffer.read(MOST_TYPED + 1)
    if len(data) > MOST_TYPED:
        raise UsageError(f"standard input has more than {MOST_TYPED >> 20} MiB; give a shorter text")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}; "
            "convert it first, for example with iconv -t UTF-8"
        ) from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
