"""Which function a command is, the commands about one prompt, and how they come by their model and text.

Each command returns its exit code.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokenglass.cli.engine_options import engine_facts, load_arguments, require_address
from tokenglass.cli.interrupts import hear
from tokenglass.cli.routing import UsageError
from tokenglass.cli.screen import Screen, note, print_json
from tokenglass.errors import TraceError
from tokenglass.text import safe_line

if TYPE_CHECKING:
    from tokenglass.model import Model
    from tokenglass.session import Session
    from tokenglass.types import Tokenization

Prompt = str | list[dict[str, str]]
MOST_TYPED = 64 << 20  # bytes of a text: a hundred times what the longest context holds


def invoke(command: str, given: Namespace, config: Mapping[str, Any]) -> int:
    """Run a command with its parsed options and the generation keywords that were among them."""
    given.config = dict(config)
    hear()
    if command in _COMMANDS:
        return _COMMANDS[command](given)
    module, function = _ELSEWHERE.get(command, (command, "run"))
    return int(getattr(import_module(f"tokenglass.cli.{module}"), function)(given))


def _explore(given: Namespace) -> int:
    prompt = prompt_of(given)
    if given.save is not None:
        require_new(given.save)
    model = load_model(given, steps=True)
    session = model.session(prompt, **given.config)
    if given.save is not None:
        session.save(given.save)
    try:
        return _step(model.tokenize(prompt), session, given)
    finally:
        session.close()


def _step(tokenization: Tokenization, session: Session, given: Namespace) -> int:
    """A session on a terminal, in a pipe or as a document."""
    if given.json:
        document = {
            "tokenization": tokenization.to_dict(),
            "next": replace(session.next, n=given.n).to_dict(),
            "warnings": list(session.plan.warnings),
        }
        print_json({**engine_facts(session.model.info), **document})
        return 0
    from tokenglass import explore
    from tokenglass.cli.checking import say_notes

    say_notes(session.plan)
    screen = Screen()
    if is_typed_at(screen):
        return explore.step_by_keys(session, screen, given.n, given.save)
    screen.show(explore.overview(tokenization, session, given.n))
    return 0


def is_typed_at(screen: Screen) -> bool:
    """Whether somebody sits there who can press keys."""
    return screen.is_terminal and sys.stdin is not None and sys.stdin.isatty()


def require_new(path: str) -> None:
    """Refuse to keep a session in a file that holds something, before any model is loaded.

    Raises:
        TraceError: there is one.
    """
    if os.path.lexists(path) and not (os.path.isfile(path) and os.path.getsize(path) == 0):
        shown = safe_line(path)
        raise TraceError(f"{shown} is there already; go on with it: tokenglass open {shown}, or name another")


def _tokens(given: Namespace) -> int:
    import tokenglass as tg

    text = prompt_of(given)
    tokenizer = load_model(given).tokenizer if _is_served(given) else tg.load_tokenizer(given.model)
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


def _is_served(given: Namespace) -> bool:
    """Whether a server cuts the text; options that make no sense are refused before."""
    from tokenglass.loading import is_address

    load_arguments(given, given.model)
    require_address(given, [given.model])
    return is_address(given.model) or given.engine == "server"


def _next(given: Namespace) -> int:
    prompt = prompt_of(given)
    model = load_model(given)
    if given.chain:
        return _show_chain(model, given)
    ids = model.prompt_ids(prompt)
    plan = model.plan(given.config, ids)
    table = model.next_tokens(ids, n=given.n, position=given.position, **given.config)
    found = [table.lookup(text) for text in given.lookup]
    asked = [*given.why, *(given.lookup if table.stages else ())]
    accounts = [table.account(text) for text in dict.fromkeys(asked)]
    if given.json:
        from tokenglass.views.rows import candidate

        more: dict[str, Any] = {"lookup": [candidate(row) for row in found]} if found else {}
        more |= {"accounts": [account.to_dict() for account in accounts]} if accounts else {}
        more |= {"warnings": list(plan.warnings)}
        print_json({**engine_facts(model.info), **table.to_dict(), **more})
        return 0
    from tokenglass.cli.checking import say_notes
    from tokenglass.views.layout import blocks, next_blocks
    from tokenglass.views.stages import stage_blocks

    say_notes(plan)
    shown = [*next_blocks(table, found), *(stage_blocks(table) if given.stages else ())]
    for account in accounts:
        shown += blocks(account)
    Screen().show(shown)
    return 0


def _generate(given: Namespace) -> int:
    prompt = prompt_of(given)
    model = load_model(given)
    if given.chain:
        return _show_chain(model, given)
    from tokenglass.cli.writing import write

    return write(model, prompt, given.config, as_json=given.json, steps=given.steps)


def _strategies(given: Namespace) -> int:
    from tokenglass.cli.strategies import show_strategies
    from tokenglass.showcase import chosen_names, shared_config

    prompt = prompt_of(given)
    names, shared = chosen_names(given.only), shared_config(given.config)
    given.config = {}  # checked above, together with what the strategies set
    return show_strategies(load_model(given), prompt, names, shared, as_json=given.json)


_COMMANDS: Mapping[str, Callable[[Namespace], int]] = {
    "explore": _explore,
    "tokens": _tokens,
    "next": _next,
    "generate": _generate,
    "strategies": _strategies,
}
_ELSEWHERE = {  # the module of a command that is not called like it, and the function there
    "score": ("scoring", "run"),
    "compare": ("comparing", "run"),
    "batch": ("batching", "run"),
    "open": ("traces", "open_trace"),
    "replay": ("traces", "replay_trace"),
    "export": ("exporting", "run"),
    "serve": ("serving", "run"),
    "serve-gguf": ("serving_gguf", "run"),
}


def _show_chain(model: Model, given: Namespace) -> int:
    """What would run, instead of running it."""
    chain = model.chain(**given.config)
    if given.json:
        print_json({**engine_facts(model.info), **chain.to_dict()})
        return 0
    from tokenglass.views.layout import blocks

    Screen().show(blocks(chain))
    return 0


def load_model(given: Namespace, *, steps: bool = False, beside: Sequence[str] = ()) -> Model:
    """The model, once the keywords are known to make sense; and the model that drafts, where there is one.

    Args:
        given: the options.
        steps: tokens are written one by one, so that no search can be asked for.
        beside: names of the command's other models.
    """
    import tokenglass as tg

    if given.config:
        from tokenglass.cli.checking import check

        check(given.config, steps=steps)
    require_address(given, [given.model, *beside])
    for name in beside:
        load_arguments(given, name)  # what is wrong with them is said before anything is loaded
    model = tg.load(given.model, **load_arguments(given, given.model))
    load_drafter(given.config, given, model)
    hear()
    return model


def load_drafter(config: dict[str, Any], given: Namespace, model: Model) -> None:
    """Put the model that drafts in the place of its name, where keywords name one."""
    import tokenglass as tg

    drafter = config.get("assistant_model")
    if drafter == given.model:
        config["assistant_model"] = model
    elif isinstance(drafter, str):
        note(f"loading {safe_line(drafter)}, which drafts")
        config["assistant_model"] = tg.load(drafter, **load_arguments(given, drafter))


def prompt_of(given: Namespace) -> Prompt:
    """The text of a command: one argument, or standard input for `-`; with `--chat` a user's message."""
    words: Sequence[str] = given.words
    if len(words) != 1:
        whole = " ".join(words)
        shown = whole if len(whole) <= 60 else f"{words[0]} {words[1]} ..."[:60]
        raise UsageError(f'{len(words)} texts were given; put the prompt in quotes, as in "{shown}"')
    text = typed_text(words[0])
    return [{"role": "user", "content": text}] if given.chat else text


def typed_text(word: str) -> str:
    """A word as it stands; standard input for `-`."""
    return _from_stdin() if word == "-" else word


def _from_stdin() -> str:
    if sys.stdin is None:
        raise UsageError("there is no standard input; give the text as an argument")
    if sys.stdin.isatty():
        note("type the text, then Ctrl-D on a line of its own")
    return as_text(sys.stdin.buffer.read(MOST_TYPED + 1), "standard input")


def as_text(data: bytes, name: str) -> str:
    """A text that was read, without one final newline, as the shell's own $(...) has it.

    Args:
        data: up to one byte more than `MOST_TYPED`.
        name: what it was read from, for errors.
    """
    if len(data) > MOST_TYPED:
        raise UsageError(f"{name} has more than {MOST_TYPED >> 20} MiB; give a shorter text")
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}; "
            "convert it first, for example with iconv -t UTF-8"
        ) from None
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
