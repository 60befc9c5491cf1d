"""A tree of texts as lines with branches.

Teaches `layout.blocks` and `rows.to_dict` the type `Tree`. Tokens that follow one another without a branch
share a line: "·upon│ ·a│ ·time"; no token shows a space of its own, so a bar before a space is the view's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf, log
from typing import Any

from tokenglass.text import safe_line, safe_text
from tokenglass.types import Node, Step, Tree
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Fold, Item, Line, Outline, Piece, Row, Table
from tokenglass.views.candidates import tints
from tokenglass.views.cells import cell_width
from tokenglass.views.figures import count, percent, together
from tokenglass.views.layout import blocks

MOST_LINES = 200
NOTES_IN_SIGHT = 10
LONGEST_LINE = 24  # cells of tokens before they go on in a line of their own, below the same branch
DEEPEST = 8  # levels of branches drawn as such; deeper ones say their level
# how a token was chosen -> its sign beside the place, and what that means; the favourite needs none
MARKS = {
    "sampled": ("~", "drawn by chance"),
    "forced": ("!", "put there by hand"),
    "draft": ("»", "guessed ahead"),
    "expanded": ("+", "unfolded to look ahead"),
}
PLACE = Column("rank", "place", "right", keep=6)
P = Column("p", "probability", "point", keep=7, short="p")
TEXT = Column("token", "text")
_MARK = Column("verdict", "", keep=8)


@dataclass(eq=False)
class _Run:
    """Places that follow one another without a branch: one line of the drawing.

    Attributes:
        nodes: the places, first to last.
        followers: the runs that follow and are drawn.
        hidden: how many places follow that are not drawn.
    """

    nodes: list[Node]
    followers: list[_Run] = field(default_factory=list)
    hidden: int = 0


@dataclass(frozen=True)
class _Branch:
    """A run where it stands, or a number of places left out there.

    Attributes:
        what: the run, or how many places.
        lead: what stands before its first line.
        below: what stands before its further lines.
    """

    what: _Run | int
    lead: str
    below: str


def tree_blocks(tree: Tree, limit: int = MOST_LINES) -> tuple[Block, ...]:
    """A tree from the prompt to its ends; `limit` is the most lines, those nearest to the prompt first."""
    top = _runs(tree.root, limit)
    branches = list(_branches(top))
    drawn = [node for branch in branches if isinstance(branch.what, _Run) for node in branch.what.nodes]
    prompt = b"".join(tree.vocabulary.token(i).bytes for i in tree.prompt_ids[-32:])
    labels = _labels(tree.root)
    several = any(isinstance(branch.what, _Run) and len(branch.what.nodes) > 1 for branch in branches)
    together = "a line of several tokens has the probability of all of them" if several else ""
    facts = [_facts(tree), f"the prompt: {labels}" if labels else "", together, _legend(drawn)]
    found: list[Block] = [Line("texts after ", "heading", tail=safe_text(prompt))]
    found += [Line(text, "facts") for text in facts if text]
    if branches:
        table_rows = tuple(row for branch in branches for row in _rows(branch))
        marks = (_MARK,) if any(row.cells.get("verdict") for row in table_rows) else ()
        found.append(Outline(_items(top), Table((PLACE, *marks, P, TEXT), table_rows)))
    return (*found, *_notes((tree.root, *drawn)))


def _notes(nodes: Iterable[Node]) -> tuple[Block, ...]:
    """What was noted on places, the first ones in sight."""
    said = [(node.id, text) for node in nodes for text in node.notes]
    told = [Line(f"note on place {i}: {safe_line(text)}", "sentence") for i, text in said]
    first, more = told[:NOTES_IN_SIGHT], told[NOTES_IN_SIGHT:]
    return (*first, Fold(count(len(more), "more note"), tuple(more), printed=True)) if more else tuple(first)


blocks.register(Tree)(tree_blocks)


def _facts(tree: Tree) -> str:
    depths: dict[int, int] = {}
    for node in tree:  # a place is younger than the one before it
        depths[node.id] = 0 if node.parent is None else depths.get(node.parent.id, 0) + 1
    ends = sum(1 for node in tree if not node.children)
    facts = [count(len(depths), "place"), count(ends, "end"), f"up to {count(max(depths.values()), 'token')}"]
    pruned = len(tree) - len(depths)
    return " · ".join([*facts, *([f"{pruned:,} more pruned"] if pruned else [])])


def _legend(nodes: Iterable[Node]) -> str:
    origins = {_origin(node) for node in nodes}
    return " · ".join(f"{mark} {meaning}" for origin, (mark, meaning) in MARKS.items() if origin in origins)


# ------------------------------------------------------------------------------------------------- lines


def _runs(root: Node, limit: int) -> _Run:
    """The runs below the prompt, level by level until `limit` of them are drawn; the prompt is the first."""
    top = _Run([root])
    waiting, left = deque([top]), limit
    while waiting:
        run = waiting.popleft()
        for child in run.nodes[-1].children.values():
            if left <= 0:
                run.hidden += sum(1 for _ in child.below())
                continue
            follower = _Run(_unbranched(child))
            run.followers.append(follower)
            waiting.append(follower)
            left -= 1
    return top


def _unbranched(node: Node) -> list[Node]:
    """A place and those after it up to the next branch, label, or change in how tokens were chosen."""
    found = [node]
    while len(node.children) == 1 and not _labels(node, counted=False):
        child = next(iter(node.children.values()))
        if child.count != node.count or _origin(child) != _origin(node):
            break
        found.append(child)
        node = child
    return found


def _origin(node: Node) -> str:
    return "" if node.step is None else node.step.origin


def _branches(top: _Run) -> Iterator[_Branch]:
    """All below a run, parents first, siblings in order of creation."""
    waiting = _siblings(top, "", 1)
    while waiting:
        what, bars, level, last = waiting.pop()
        shown = bars if level <= DEEPEST else f"({level}) "
        further = bars + ("  " if last else "│ ")
        yield _Branch(what, shown + ("└ " if last else "├ "), further if level <= DEEPEST else shown + "  ")
        if isinstance(what, _Run):
            waiting += _siblings(what, further, level + 1)


def _siblings(run: _Run, bars: str, level: int) -> list[tuple[_Run | int, str, int, bool]]:
    """(what, the bars before it, its level, whether it is the last) of what follows a run, last first."""
    follow: list[_Run | int] = [*run.followers, *([run.hidden] if run.hidden else [])]
    return [(what, bars, level, index == 0) for index, what in enumerate(reversed(follow))]


def _rows(branch: _Branch) -> Iterator[Row]:
    """The lines of one branch; the first has its numbers."""
    run = branch.what
    if isinstance(run, int):
        yield Row({"rank": "…", "token": f"{branch.lead}… {count(run, 'more place')}"}, None, "pruned")
        return
    steps = [node.step for node in run.nodes if node.step is not None]
    first, *further = _lines(steps)
    p = together(step.p_final for step in steps)
    cells = {
        "rank": _numbers(run.nodes),
        "verdict": MARKS.get(steps[0].origin, ("",))[0],
        "p": percent(p),
        "token": branch.lead + first,
        "note": _labels(run.nodes[-1]),
    }
    yield Row(cells, tints=tints(p=p))
    bar = "│ " if run.followers or run.hidden else "  "
    yield from (Row({"token": branch.below + bar + text}) for text in further)


def _numbers(nodes: list[Node]) -> str:
    """From the first place to the last; a dash where no number between is missing."""
    first, last = nodes[0].id, nodes[-1].id
    return str(first) if first == last else f"{first}{'–' if last - first + 1 == len(nodes) else '…'}{last}"


def _lines(steps: Iterable[Step]) -> list[str]:
    """Tokens with bars between, in lines of about `LONGEST_LINE` cells."""
    found = [""]
    for step in steps:
        text = step.token.text
        if found[-1] and cell_width(found[-1]) + cell_width(text) > LONGEST_LINE:
            found[-1] += "│"
            found.append(text)
        else:
            found[-1] += f"│ {text}" if found[-1] else text
    return found


def _labels(node: Node, counted: bool = True) -> str:
    """What is special about a place: its name, how many samples came by, notes, why the text ended there."""
    ended = "" if node.step is None else node.step.finish_reason or ""
    labels = (
        f'"{safe_line(node.name)}"' if node.name else "",
        f"×{node.count:,}" if node.count and counted else "",
        count(len(node.notes), "note") if node.notes else "",
        ended,
    )
    return " · ".join(filter(None, labels))


# ----------------------------------------------------------------------------------------------- outline


def _items(top: _Run) -> tuple[Item, ...]:
    """The runs below one as entries, built from the ends so that no depth is too deep."""
    order, waiting = [], [top]
    while waiting:
        run = waiting.pop()
        order.append(run)
        waiting += run.followers
    below: dict[int, tuple[Item, ...]] = {}
    for run in reversed(order):
        more = (Item("", note=f"… {count(run.hidden, 'more place')}"),) if run.hidden else ()
        below[id(run)] = (*(_item(each, below.pop(id(each))) for each in run.followers), *more)
    return below[id(top)]


def _item(run: _Run, items: tuple[Item, ...]) -> Item:
    steps = [node.step for node in run.nodes if node.step is not None]
    p = together(step.p_final for step in steps)
    mark = MARKS.get(steps[0].origin, ("",))[0]
    pieces = tuple(Piece(step.token.text, p=step.p_final, hint=_hint(step)) for step in steps)
    return Item(f"{_numbers(run.nodes)} {mark}".rstrip(" "), pieces, p, _labels(run.nodes[-1]), items)


def _hint(step: Step) -> str:
    rank = "unknown" if step.rank is None else f"{step.rank:,}"
    return f"{percent(step.p_final)} · rank {rank}"


# --------------------------------------------------------------------------------------------------- rows


@rows.to_dict.register
def _(result: Tree) -> dict[str, Any]:
    sums: dict[int, float | None] = {}
    nodes = []
    for node in result:
        before = 0.0 if node.parent is None else sums.get(node.parent.id, 0.0)
        p = 1.0 if node.step is None else node.step.p_final
        sums[node.id] = None if before is None or p is None else before + (log(p) if p > 0.0 else -inf)
        nodes.append(node_row(node, sums[node.id]))
    return {
        "prompt_ids": rows.plain(result.prompt_ids),
        "n_pruned": len(result) - len(nodes),
        "configs": rows.plain(result.configs),
        "nodes": nodes,
    }


def node_row(node: Node, logprob: float | None) -> dict[str, Any]:
    """One place; `logprob` is the sum of the log-probabilities, after the chain, of the tokens up to it."""
    shared = {
        "node": node.id,
        "parent": None if node.parent is None else node.parent.id,
        "config": node.config,
        "name": node.name,
        "notes": node.notes,
        "count": node.count,
        "text_logprob": logprob,
    }
    return dict(rows.plain(shared | ({} if node.step is None else step_row(node.step))))


def step_row(step: Step) -> dict[str, Any]:
    """A step without its candidates and stages, which a tree would repeat thousands of times."""
    token = step.token
    named = {"id": token.id, "token": token.text, "bytes": token.bytes, "kind": token.kind}
    return dict(rows.plain(named | {name: getattr(step, name) for name in _KEPT}))


_KEPT = (
    *("position", "text", "logit", "logprob", "p", "p_final", "rank", "entropy_bits", "margin"),
    *("origin", "draw", "cdf", "finish_reason"),
)
