"""The blocks of the documentation that are generated: `scripts/docs` writes them, test_docs checks them.

A block stands between `<!-- scripts/docs: NAME -->` and `<!-- end -->`. What it holds comes from where the
truth is: the parsers, the docstrings, the keys of the stepper, or the real command run on the real model.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import os
import re
import shlex
from argparse import SUPPRESS, Action
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenglass

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/command-line.md", "docs/api.md")
BLOCK = re.compile(r"(<!-- scripts/docs: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
WIDTH = "80"


def file_map() -> str:
    """One line for each source file: its path and the first sentence of its docstring."""
    source = ROOT / "src" / "tokenglass"
    lines = []
    for path in sorted(source.rglob("*.py"), key=lambda p: (p.relative_to(source).parts[:-1], p.name)):
        summary = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
        lines.append(f"- `{path.relative_to(source).as_posix()}`: {summary.removeprefix('tokenglass: ')}\n")
    return "".join(lines)


def keys() -> str:
    """The keys of the stepper, as its own help has them."""
    from tokenglass.explore import HELP

    return "```text\n" + "\n".join(HELP) + "\n```\n"


def commands() -> str:
    """`tokenglass --help` and a table of arguments and options for every command.

    Taken from the parsers themselves, because argparse words its own help differently in each Python.
    """
    from tokenglass.cli.help import OVERVIEW
    from tokenglass.cli.options import SUMMARIES, parser

    parts = [f"```text\n{OVERVIEW}\n```\n"]
    for name, summary in SUMMARIES.items():
        made = parser(name)
        rows = "".join(_row(action) for action in made._actions if action.help != SUPPRESS)
        title = made.prog if name != "explore" else f'{made.prog} "PROMPT"'
        parts.append(f"## `{title}`\n\n{summary}\n\n| argument | meaning |\n|---|---|\n{rows}")
    return "\n".join(parts)


def _row(action: Action) -> str:
    value = str(action.metavar or "|".join(map(str, action.choices or ())))
    name = ", ".join(action.option_strings) or value
    if action.option_strings and action.nargs != 0:
        name += " " + value
    # in a table a bar must be escaped even inside code
    return "| `{}` | {} |\n".format(*(text.replace("|", r"\|") for text in (name, str(action.help))))


def signature(thing: Any) -> str:
    """The parameters of a function without their types, `self` left out: `(n=1, token=None)`."""
    found = inspect.signature(thing)
    empty = inspect.Parameter.empty
    named = [p.replace(annotation=empty) for name, p in found.parameters.items() if name != "self"]
    return str(found.replace(parameters=named, return_annotation=inspect.Signature.empty))


def members(kind: type) -> dict[str, tuple[str, str]]:
    """Public name -> (how it is written, what it is) for the fields, properties and methods of a class."""
    described = _attributes(inspect.getdoc(kind) or "")
    found: dict[str, tuple[str, str]] = {}
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    for name in (field.name for field in fields):
        found[name] = (name, described[name])
    for name in dir(kind):
        static = inspect.getattr_static(kind, name)
        if name.startswith("_") or name in found:
            continue
        summary = (inspect.getdoc(static) or "").partition("\n")[0]
        written = name + signature(static) if inspect.isfunction(static) else name
        found[name] = (written, summary)
    return found


def _attributes(docstring: str) -> dict[str, str]:
    """The entries of a docstring's "Attributes:" section, each on one line; `a, b: text` names two."""
    section = re.search(r"^Attributes:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    joined = re.sub(r"\n {8,}", " ", section[1]) if section else ""
    entries = re.findall(r"^    ([\w, ]+): (.*)$", joined, re.MULTILINE)
    return {name: text for names, text in entries for name in names.split(", ")}


def _is_error(thing: Any) -> bool:
    return inspect.isclass(thing) and issubclass(thing, BaseException)


def api() -> str:
    """Every public name with its parameters, fields, properties and methods, from the docstrings."""
    parts = []
    for name in tokenglass.__all__:
        thing = getattr(tokenglass, name)
        summary = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
        if inspect.isfunction(thing):
            parts.append(f"## `{name}{signature(thing)}`\n\n{summary}\n")
        elif inspect.isclass(thing) and not _is_error(thing):
            rows = "".join(f"| `{written}` | {_cell(text)} |\n" for written, text in members(thing).values())
            parts.append(f"## `{name}`\n\n{summary}\n\n| member | meaning |\n|---|---|\n{rows}")
    errors = [name for name in tokenglass.__all__ if _is_error(getattr(tokenglass, name))]
    rows = "".join(f"| `{n}` | {_cell(inspect.getdoc(getattr(tokenglass, n)) or '')} |\n" for n in errors)
    parts.append(f"## Errors\n\n| error | meaning |\n|---|---|\n{rows}")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.partition("\n\n")[0].replace("\n", " ").replace("|", r"\|")


def transcript(command: str) -> str:
    """What a command line prints, 80 cells wide, as in a pipe."""
    from tokenglass.cli import run

    printed = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(printed):
            code = run(shlex.split(command)[1:])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    if code:
        raise RuntimeError(f"{command} ended with {code}")
    lines = "\n".join(line.rstrip() for line in printed.getvalue().splitlines())
    return f"```text\n$ {command}\n{lines}\n```\n"


MAKERS: dict[str, Callable[[], str]] = {"keys": keys, "map": file_map, "commands": commands, "api": api}


def made(name: str) -> str:
    """What a block should hold; a name that is a command line gives its transcript."""
    return transcript(name) if name.startswith("tokenglass ") else MAKERS[name]()


def blocks(page: str) -> dict[str, str]:
    """Name -> what a page holds now."""
    return {name: body for _, name, body, _ in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))}


def main() -> None:
    """Rewrite every block of every page."""
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        text = BLOCK.sub(lambda found: found[1] + made(found[2]) + found[4], text)
        path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
