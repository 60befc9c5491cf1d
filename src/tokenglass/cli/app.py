"""The commands that run a model: explore, tokens, next, generate. One Typer command is built for each call.

Typer checks and converts the options; `routing` has already chosen the command and taken out the generation
keywords, so that starting one command does not build the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenglass.cli.deferring import deferred
from tokenglass.cli.routing import Routed, UsageError
from tokenglass.cli.screen import Screen, note, print_json

if TYPE_CHECKING:
    from tokenglass.model import Model

Prompt = str | list[dict[str, str]]

Words = Annotated[
    list[str], typer.Argument(metavar="PROMPT", help="The text; - reads it from standard input.")
]
ModelName = Annotated[str, typer.Option("-m", "--model", help="A name, folder, .gguf file or hub id.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Chat = Annotated[
    bool, typer.Option("--chat", help="Give the text as a user's message, by the model's template.")
]
Precision = Annotated[str, typer.Option(help='"exact" or "fast" (int8 inside block-quantised matrices).')]
Seed = Annotated[int | None, typer.Option(help="Seed of the randomness; greedy runs use none.")]


def invoke(routed: Routed) -> int:
    """Run a routed command through Typer; returns its exit code."""
    if routed.command == "help":
        from tokenglass.cli.help import OVERVIEW

        print(OVERVIEW)
        return 0
    command = typer.main.get_command(_application(routed.command))
    name = "tokenglass" if routed.command == "explore" else f"tokenglass {routed.command}"
    work = command.main(list(routed.args), name, standalone_mode=False, obj=dict(routed.config))
    return int(work()) if callable(work) else int(work or 0)  # an int where Typer has printed a help text


def _application(name: str) -> typer.Typer:
    if name == "models":
        models: typer.Typer = import_module("tokenglass.cli.models").app
        return models
    command = import_module("tokenglass.cli.doctor").doctor if name == "doctor" else COMMANDS[name]
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(deferred(command))
    return app


def explore(
    context: typer.Context,
    words: Words,
    model: ModelName = "smollm2",
    chat: Chat = False,
    as_json: AsJson = False,
    precision: Precision = "exact",
    seed: Seed = None,
) -> int:
    """Show the tokens of PROMPT and which may come next; on a terminal, then step with single keys."""
    prompt = _prompt(words, chat)
    loaded = _load(model, precision)
    session = loaded.session(prompt, **_config(context, seed))
    tokenization = loaded.tokenize(prompt)
    if as_json:
        print_json(
            {
                "model": loaded.info.name,
                "tokenization": tokenization.to_dict(),
                "next": session.next.to_dict(),
            }
        )
        return 0
    screen = Screen()
    from tokenglass import explore

    if screen.is_terminal and sys.stdin is not None and sys.stdin.isatty():
        return explore.Explorer(session, screen).run()
    screen.show(explore.overview(tokenization, session))
    return 0


def tokens(
    words: Words,
    model: ModelName = "smollm2",
    chat: Chat = False,
    parse_special: Annotated[
        bool, typer.Option("--parse-special", help="Read <|...|> as control tokens.")
    ] = False,
    no_add_special_tokens: Annotated[
        bool, typer.Option("--no-add-special-tokens", help="Add no begin-of-text token.")
    ] = False,
    as_json: AsJson = False,
    precision: Annotated[str, typer.Option(hidden=True)] = "exact",
    seed: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> int:
    """Show how PROMPT is cut into tokens. Loads the tokenizer only."""
    import tokenglass as tg

    text = _prompt(words, chat)
    tokenizer = tg.load_tokenizer(model)
    if isinstance(text, str):
        tokenization = tokenizer.encode(
            text, add_special_tokens=not no_add_special_tokens, parse_special=parse_special
        )
    else:
        from tokenglass.chat import render_chat

        tokenization = tokenizer.encode(
            render_chat(tokenizer, text), add_special_tokens=False, parse_special=True
        )
    if as_json:
        print_json({"model": model, **tokenization.to_dict()})
        return 0
    return _show(tokenization)


def next_tokens(
    context: typer.Context,
    words: Words,
    n: Annotated[int, typer.Option("-n", min=1, help="Rows of the table.")] = 10,
    lookup: Annotated[
        list[str] | None, typer.Option(help="Add the row of this token; may be repeated.")
    ] = None,
    position: Annotated[
        int, typer.Option(help="After which token of PROMPT: 0 the first, -1 the last.")
    ] = -1,
    model: ModelName = "smollm2",
    chat: Chat = False,
    as_json: AsJson = False,
    precision: Precision = "exact",
    seed: Seed = None,
) -> int:
    """Show which tokens may come after PROMPT, with their probabilities over the full vocabulary."""
    prompt = _prompt(words, chat)
    loaded = _load(model, precision)
    table = loaded.next_tokens(prompt, n=n, position=position, **_config(context, seed))
    found = [table.lookup(text) for text in lookup or ()]
    if as_json:
        from tokenglass.views.rows import candidate

        print_json(
            {"model": loaded.info.name, **table.to_dict(), "lookup": [candidate(row) for row in found]}
        )
        return 0
    from tokenglass.views.layout import next_blocks

    Screen().show(next_blocks(table, found))
    return 0


def generate(
    context: typer.Context,
    words: Words,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="How many tokens at most; 20 where nothing says.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="The same, the prompt's tokens counted too.")] = None,
    stop_strings: Annotated[
        list[str] | None, typer.Option(help="End where this text appears; repeatable.")
    ] = None,
    max_time: Annotated[float | None, typer.Option(help="Seconds after which no token is begun.")] = None,
    steps: Annotated[bool, typer.Option("--steps", help="Add a table with a row for each token.")] = False,
    model: ModelName = "smollm2",
    chat: Chat = False,
    as_json: AsJson = False,
    precision: Precision = "exact",
    seed: Seed = None,
) -> int:
    """Write on after PROMPT. Every generation keyword of the library is an option, as in --eos-token-id 2."""
    from tokenglass.cli.writing import write

    prompt = _prompt(words, chat)
    given = {
        "max_new_tokens": max_new_tokens,
        "max_length": max_length,
        "stop_strings": stop_strings or None,
        "max_time": max_time,
    }
    config = _config(context, seed) | {name: value for name, value in given.items() if value is not None}
    return write(_load(model, precision), prompt, config, as_json=as_json, steps=steps)


COMMANDS: Mapping[str, Callable[..., int]] = {
    "explore": explore,
    "tokens": tokens,
    "next": next_tokens,
    "generate": generate,
}


def _load(model: str, precision: str) -> Model:
    import tokenglass as tg

    if precision not in ("exact", "fast"):
        raise ValueError(f"--precision must be exact or fast, got {precision!r}")
    return tg.load(model, precision=precision)  # type: ignore[arg-type]


def _config(context: typer.Context, seed: int | None) -> dict[str, Any]:
    """The generation keywords that `routing` found, and the seed."""
    return dict(context.obj or {}) | ({} if seed is None else {"seed": seed})


def _prompt(words: Sequence[str], chat: bool) -> Prompt:
    """The text of a command: one argument, or standard input for `-`."""
    if len(words) != 1:
        raise UsageError(
            f'{len(words)} texts were given; put the prompt in quotes: tokenglass "{words[0]} ..."'
        )
    text = _from_stdin() if words[0] == "-" else words[0]
    return [{"role": "user", "content": text}] if chat else text


def _from_stdin() -> str:
    """Standard input without one final newline, as the shell's own $(...) has it."""
    if sys.stdin is None:
        raise UsageError("there is no standard input; give the text as an argument")
    if sys.stdin.isatty():
        note("type the text, then Ctrl-D on a line of its own")
    data = sys.stdin.buffer.read()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}; "
            "convert it first, for example with iconv -t UTF-8"
        ) from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _show(result: Any) -> int:
    from tokenglass.views.layout import blocks

    Screen().show(blocks(result))
    return 0
