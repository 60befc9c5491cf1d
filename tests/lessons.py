"""The lessons under examples/: from percent-format Python to executed notebooks, and their numbers.

`scripts/lessons` writes the notebooks; tests/examples checks them. A source is a plain Python file whose
cells begin with `# %%` or, for text, `# %% [markdown]`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "examples"
SOURCES = sorted(FOLDER.glob("[0-9]_*.py"))
LONGEST = 170  # seconds a lesson may take
NUMBER = re.compile(r"(?<![\w.,-])-?\d[\d,]*(?:\.\d+)?(?!\w)")
# What is no prose: code, links, mathematics, and the number of a lesson in its title or in a list.
NOT_PROSE = re.compile(r"`[^`]*`|\]\([^)]*\)|\$[^$]*\$|^#.*$|^\d+\. ", re.MULTILINE)


def cells(source: str) -> list[tuple[str, str]]:
    """("markdown" or "code", its text) for each cell of a percent-format file."""
    found = []
    for part in re.split(r"^# %%", source, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            lines = (line.removeprefix("#").removeprefix(" ") for line in body.strip().splitlines())
            found.append(("markdown", "\n".join(lines)))
        else:
            found.append(("code", body.strip()))
    return found


def book(path: Path) -> Any:
    """The notebook of a source, not executed."""
    made = nbformat.v4.new_notebook()
    made.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for number, (kind, text) in enumerate(cells(path.read_text(encoding="utf-8"))):
        new = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
        made.cells.append(new(text, id=f"cell-{number}"))
    return made


def executed(path: Path, **environment: str) -> Any:
    """The notebook of a source with the outputs of a fresh kernel."""
    made = book(path)
    client = NotebookClient(
        made,
        timeout=LONGEST,
        coalesce_streams=True,  # how print's lines come in parts differs from run to run
        resources={"metadata": {"path": str(path.parent)}},
    )
    source = str(path.parent.parent / "src")
    client.execute(
        env=os.environ
        | {"PYTHONPATH": source, "PYTHONWARNINGS": "default", "TOKENGLASS_GPT2": ""}
        | environment
    )
    for cell in made.cells:
        cell.metadata.pop("execution", None)  # the time of day is no result
    made.metadata.pop("language_info", None)  # nor is the version of Python
    return made


def sections(made: Any) -> Iterator[tuple[str, str]]:
    """(prose, outputs as text) of each section, from one heading to the next."""
    prose, shown = "", ""
    for cell in made.cells:
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            yield prose, shown
            prose, shown = "", ""
        if cell.cell_type == "markdown":
            prose += f"{cell.source}\n\n"
        else:
            shown += "".join(f"{as_text(output)}\n" for output in cell.outputs)
    yield prose, shown


def as_text(output: Any) -> str:
    """What an output says, as text."""
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def numbers(text: str) -> list[float]:
    """The numbers in a text."""
    return [float(found.replace(",", "").rstrip(".")) for found in NUMBER.findall(text)]


def numbers_in_prose(prose: str) -> list[str]:
    """The numbers that a prose states, as it spells them; code and mathematics are not prose."""
    return NUMBER.findall(NOT_PROSE.sub(" ", prose))


def stated(number: str, shown: list[float]) -> bool:
    """Whether outputs hold a number: a whole one exactly, another to one unit in its last place.

    Machines differ in the last digits that are printed, by less than that.
    """
    value = float(number.replace(",", "").rstrip("."))
    _, _, decimals = number.partition(".")
    tolerance = 1.01 * 10.0 ** -len(decimals) if decimals else 0.0
    return any(abs(value - each) <= tolerance for each in shown)


def write(path: Path) -> None:
    """Execute a lesson and put the notebook beside its source."""
    nbformat.write(executed(path), path.with_suffix(".ipynb"))


def main(names: list[str]) -> None:
    """Write the lessons named, or all."""
    for path in SOURCES:
        if not names or path.stem in names:
            print(path.stem, flush=True)
            write(path)


if __name__ == "__main__":
    main(sys.argv[1:])
