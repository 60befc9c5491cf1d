"""`tokenglass export`: the rows of a trace, or of another program's response, as a file."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenglass.cli.outcome import OK
from tokenglass.cli.routing import UsageError
from tokenglass.cli.screen import Screen, note, print_json
from tokenglass.errors import TraceError
from tokenglass.text import safe_line, safe_message
from tokenglass.traces import (
    FORMATS,
    Table,
    candidate_table,
    export,
    foreign_table,
    import_responses,
    tree_table,
)
from tokenglass.traces.exports import SUFFIXES
from tokenglass.traces.reading import parse
from tokenglass.traces.storage import read_bytes
from tokenglass.views.blocks import Line
from tokenglass.views.figures import count

DRAWINGS = ("dot", "svg", "markdown")
PAGE = "html"  # the page itself, over the recorded rows
WHOLE = (*DRAWINGS, PAGE)
_TRACE = b'{"schema":'
ENDINGS = {**SUFFIXES, ".html": PAGE}


def run(given: Namespace) -> int:
    """Write a file and say how many rows it has."""
    chosen = given.format or ENDINGS.get(Path(given.output).suffix.lower())
    if chosen is None:
        endings = ", ".join(ENDINGS)
        raise UsageError(f"-o must end in one of {endings}, got {given.output!r}; or give --format")
    if given.candidates and chosen in WHOLE:
        raise UsageError(f"{chosen} shows the tree; leave out --candidates, or write csv, jsonl or parquet")
    if Path(given.output).exists() and Path(given.output).samefile(given.trace):
        raise UsageError("-o must not be the file that is read; name another")
    rows, n, notes = _handed_out(given) if chosen == PAGE else _exported(given, chosen)
    if given.json:
        document = {"path": given.output, "format": chosen, "rows": rows, "rows_n": n}
        print_json(document | {"notes": notes})
        return OK
    for line in notes:
        note(f"note: {safe_message(line)}")
    Screen().show([Line(f"{count(n, rows)} in {safe_line(given.output)}")])
    return OK


def _exported(given: Namespace, chosen: str) -> tuple[str, int, list[str]]:
    """What one row of the written file is, how many there are, and what is to be said of it."""
    table, rows, notes = _table(given, chosen)
    counted = Counted(table)
    export(replace(table, make=counted), given.output, chosen)
    return rows, counted.n, notes


def _handed_out(given: Namespace) -> tuple[str, int, list[str]]:
    """The page over a trace, in one file."""
    from tokenglass import handout

    data = read_bytes(Path(given.trace))
    if not data.startswith(_TRACE):
        raise UsageError("html shows a trace, and this is no trace; write csv, jsonl or parquet")
    trace = parse(data, Path(given.trace).name)
    handout.write(handout.of_trace(trace), given.output)
    return "place", sum(not node.pruned for node in trace.nodes), [trace.torn] if trace.torn else []


class Counted:
    """The rows of a table, and how many the last reader took."""

    def __init__(self, table: Table) -> None:
        self.table, self.n = table, 0

    def __call__(self) -> Iterator[dict[str, Any]]:
        """The rows, from the first."""
        self.n = 0
        for row in self.table:
            self.n += 1
            yield row


def _table(given: Namespace, chosen: str) -> tuple[Table, str, list[str]]:
    """The table, what one of its rows is, and what is to be said of the file."""
    data = read_bytes(Path(given.trace))
    if not data.startswith(_TRACE):
        return _foreign(given, data, chosen)
    trace = parse(data, Path(given.trace).name)
    torn = [trace.torn] if trace.torn else []
    nodes = {Path(given.trace).name: [node for node in trace.nodes if not node.pruned]}
    if given.candidates:
        return candidate_table(nodes), "candidate", torn
    return tree_table(nodes), "place", torn


def _foreign(given: Namespace, data: bytes, chosen: str) -> tuple[Table, str, list[str]]:
    """The candidates of another program's response; of which distribution is said."""
    name = safe_line(Path(given.trace).name)
    try:
        record = import_responses(data)
    except TraceError as error:
        raise TraceError(f"{name} is no trace, and no response with logprobs: {error}") from error
    if chosen in DRAWINGS:
        formats = ", ".join(name for name in FORMATS if name not in DRAWINGS)
        raise UsageError(f"{chosen} draws a trace's tree, and {name} is a response; write {formats}")
    kinds = dict.fromkeys(step.distribution for each in record.sequences for step in each.steps)
    said = {"model": "the model's own", "post_sampling": "after its sampling stages", "unknown": "not said"}
    notes = [f"what its probabilities are of: {', '.join(said[kind] for kind in kinds)}"]
    missing = [step.missing_p for each in record.sequences for step in each.steps]
    known = [p for p in missing if p is not None]
    if known:
        notes.append(f"up to {max(known):.3g} of a step's probability is on tokens it does not list")
    return foreign_table(record), "candidate", notes
