"""`tokenglass models`: which models are here, and how to get, find and check them."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tokenglass.cli.facts import facts_table
from tokenglass.cli.routing import UsageError
from tokenglass.cli.screen import Screen, print_json
from tokenglass.text import safe_line
from tokenglass.views.blocks import Column, Line, Row, Table
from tokenglass.views.figures import size
from tokenglass.views.rows import plain

if TYPE_CHECKING:
    from tokenglass.models import ModelRow

MORE = 'Any Hugging Face id of a supported family works too, as in: tokenglass -m gpt2 "PROMPT"'


def run(given: Namespace) -> int:
    """Carry out one action on models."""
    if given.revision is not None and given.action != "pull":
        raise UsageError(f"--revision is for models pull, not for models {given.action}")
    if given.name is not None and given.action == "list":
        raise UsageError(f"models list takes no name; did you mean tokenglass models check {given.name}?")
    if given.name is None and given.action in ("pull", "add"):
        example = "smollm2" if given.action == "pull" else "FILE.gguf"
        raise UsageError(
            f"models {given.action} needs a name, as in tokenglass models {given.action} {example}"
        )
    document, table = _ACTIONS[given.action](given)
    if given.json:
        print_json(document)
    elif given.action == "path":
        print(safe_line(document["path"]))
    else:
        Screen().show(table)
    return 0


Answer = tuple[dict[str, Any], list[Any]]  # the JSON document, the blocks


def _list(given: Namespace) -> Answer:
    from tokenglass import models

    rows = models.listing()
    columns = (
        Column("name", "name"),
        Column("size", "size", "right", keep=5),
        Column("here", "here", keep=6),
        Column("where", "from", keep=3),
        Column("token", "licence"),
    )
    table = Table(columns, tuple(_row(row) for row in rows))
    return {"models": [_document(row) for row in rows]}, [table, Line("", "facts"), Line(MORE, "facts")]


def _pull(given: Namespace) -> Answer:
    from tokenglass import models

    files = models.pull(given.name, revision=given.revision)
    return _answer({"name": given.name, "path": str(files.path), "n_bytes": files.n_bytes})


def _add(given: Namespace) -> Answer:
    from tokenglass import models

    return _answer(_document(models.add(given.name)))


def _path(given: Namespace) -> Answer:
    from tokenglass import models

    name = given.name or "smollm2"
    return {"name": name, "path": str(models.path(name))}, []


def _check(given: Namespace) -> Answer:
    from tokenglass import models

    checked = models.check(given.name or "smollm2")
    return _answer(plain(asdict(checked) | {"path": str(checked.path)}))


_ACTIONS = {"list": _list, "pull": _pull, "add": _add, "path": _path, "check": _check}


def _answer(facts: dict[str, Any]) -> Answer:
    """The same facts for a program and for a person."""
    shown = {name.removeprefix("n_"): value for name, value in facts.items() if name != "n_bytes"}
    if facts.get("n_bytes") is not None:
        shown["size"] = size(facts["n_bytes"])
    return facts, [facts_table((name.replace("_", " "), value) for name, value in shown.items())]


def _document(row: ModelRow) -> dict[str, Any]:
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
