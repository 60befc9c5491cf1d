"""A tree as tables: one row for each node, or for each candidate of each node; the layout of exports.

Cells are plain values; bytes are bytes, what is unknown is None. `token` is safe display text, the truth is
in `token_id` and `bytes`. Knows nothing about sessions or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tokenglass.traces.arrow import batches, capsule
from tokenglass.types import Candidate, Step, Token
from tokenglass.types.shown import frame

Kind = Literal["text", "int", "float", "bytes", "bool"]
Row = dict[str, Any]

NODE_COLUMNS: dict[str, Kind] = {
    "session": "text",
    "node": "int",
    "parent": "int",
    "depth": "int",
    "position": "int",
    "token_id": "int",
    "token": "text",
    "bytes": "bytes",
    "kind": "text",
    "text": "text",
    "logit": "float",
    "logprob": "float",
    "p": "float",
    "rank": "int",
    "entropy_bits": "float",
    "p_final": "float",
    "margin": "float",
    "draw": "float",
    "cdf_low": "float",
    "cdf_high": "float",
    "origin": "text",
    "finish_reason": "text",
    "name": "text",
    "notes": "text",
}
CANDIDATE_COLUMNS: dict[str, Kind] = {
    "session": "text",
    "node": "int",
    "parent": "int",
    "depth": "int",
    "position": "int",
    "rank": "int",
    "token_id": "int",
    "token": "text",
    "bytes": "bytes",
    "kind": "text",
    "logit": "float",
    "logprob": "float",
    "p": "float",
    "p_final": "float",
    "removed_by": "text",
    "chosen": "bool",
}


class TreeNode(Protocol):
    """A place in a tree of tokens, as much of it as a table needs."""

    @property
    def id(self) -> int:
        """Number in order of creation; the prompt is 0."""
        ...

    @property
    def parent(self) -> TreeNode | None:
        """The place before, or None for the prompt."""
        ...

    @property
    def step(self) -> Step | None:
        """The token that led here, or None for the prompt."""
        ...

    @property
    def name(self) -> str:
        """Given by a person, or ""."""
        ...

    @property
    def notes(self) -> Iterable[str]:
        """Given by a person, oldest first."""
        ...


@dataclass(frozen=True)
class Table:
    """Rows with known columns, made anew each time they are asked for.

    pandas, polars, duckdb and pyarrow take it as it is, through the Arrow stream it offers.

    Attributes:
        columns: name -> kind, in order.
        make: makes the rows.
        is_tree: one row a node, so that it can be drawn.
    """

    columns: Mapping[str, Kind]
    make: Callable[[], Iterator[Row]]
    is_tree: bool = False

    def __iter__(self) -> Iterator[Row]:
        return self.make()

    def to_pandas(self) -> Any:
        """A pandas.DataFrame."""
        return frame(list(self))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """This table for every library that speaks Arrow's C stream; needs pyarrow."""
        return capsule(batches(self.columns, self), requested_schema)


def tree_table(sessions: Mapping[str, Iterable[TreeNode]]) -> Table:
    """One row for each node.

    Args:
        sessions: name -> its nodes, which can be gone through more than once.
    """
    return Table(NODE_COLUMNS, lambda: _rows(sessions, _node_rows), is_tree=True)


def candidate_table(sessions: Mapping[str, Iterable[TreeNode]]) -> Table:
    """One row for each candidate of each node, by rank.

    A chosen token that is not among the likeliest has a row too. The prompt has no candidates, so no row.
    """
    return Table(CANDIDATE_COLUMNS, lambda: _rows(sessions, _candidate_rows))


def _rows(
    sessions: Mapping[str, Iterable[TreeNode]], of_node: Callable[[TreeNode, Row], Iterator[Row]]
) -> Iterator[Row]:
    for session, nodes in sessions.items():
        depths: dict[int, int] = {}
        for node in nodes:
            parent = None if node.parent is None else node.parent.id
            place = {
                "session": _utf8(session),
                "node": node.id,
                "parent": parent,
                "depth": _depth(node, depths),
            }
            yield from of_node(node, place)


def _depth(node: TreeNode, known: dict[int, int]) -> int:
    """Steps from the prompt; remembers what it counted."""
    above: list[int] = []
    place: TreeNode | None = node
    while place is not None and place.id not in known:
        above.append(place.id)
        place = place.parent
    depth = -1 if place is None else known[place.id]
    for node_id in reversed(above):
        depth += 1
        known[node_id] = depth
    return known[node.id]


def _node_rows(node: TreeNode, place: Row) -> Iterator[Row]:
    step = node.step
    row = dict.fromkeys(NODE_COLUMNS) | place
    if step is not None:
        low, high = step.cdf or (None, None)
        row |= _token(step.token) | {
            "position": step.position,
            "text": _utf8(step.text),
            "logit": step.logit,
            "logprob": step.logprob,
            "p": step.p,
            "rank": step.rank,
            "entropy_bits": step.entropy_bits,
            "p_final": step.p_final,
            "margin": step.margin,
            "draw": step.draw,
            "cdf_low": low,
            "cdf_high": high,
            "origin": step.origin,
            "finish_reason": step.finish_reason,
        }
    notes = "\n".join(node.notes)
    yield row | {"name": _utf8(node.name) or None, "notes": _utf8(notes) or None}


def _candidate_rows(node: TreeNode, place: Row) -> Iterator[Row]:
    step = node.step
    if step is None:
        return
    place = place | {"position": step.position}
    rows: list[Candidate] = list(step.top)
    if step.id not in (row.id for row in rows):
        own = (step.rank, step.token, step.logit, step.logprob, step.p, step.p_final)
        rows.append(Candidate(*own, p_at_most=step.p_at_most))
    for row in rows:
        yield (
            place
            | _token(row.token)
            | {
                "rank": row.rank,
                "logit": row.logit,
                "logprob": row.logprob,
                "p": row.p,
                "p_final": row.p_final,
                "removed_by": row.removed_by,
                "chosen": row.id == step.id,
            }
        )


def _utf8(text: str) -> str:
    """Text that every file and library takes: a lone surrogate, which a name may hold, as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _token(token: Token) -> Row:
    return {"token_id": token.id, "token": token.text, "bytes": token.bytes, "kind": token.kind}
