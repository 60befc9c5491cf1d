"""What a session knows beyond its steps: the tables of its open ends, of its prompt, and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokenglass.errors import TokenglassError
from tokenglass.handout.recording import Recording
from tokenglass.treewriter import TreeWriter
from tokenglass.views.handout import KEPT, table_reading
from tokenglass.workbench.questions import scored

if TYPE_CHECKING:
    from tokenglass.session import Session

JsonDict = dict[str, Any]
MOST_ENDS = 64  # open ends whose tables go along; each is one run of the model
MOST_INSIDE = 256  # positions of the prompt


def recording(session: Session) -> Recording:
    """All of a session."""
    tree, model = session.tree, session.model
    chains = [TreeWriter.of(model, tree, given).plan.describe() for given in tree.configs]
    furthest = list(session.furthest().lineage())
    return Recording(
        tree,
        model.info,
        model.detokenize(session.prompt_ids),
        chains,
        defaults=model.plan({"do_sample": True}, session.prompt_ids).config.values,
        here=session.node,
        config=session.writer.config,
        redo={node.parent.id: node.id for node in furthest if node.parent is not None},
        template=session.template,
        ends=dict(_ends(session)),
        inside=dict(_inside(session)),
        scores=scored(session) if len(session.prompt_ids) > 1 else {},
    )


def _ends(session: Session) -> Iterator[tuple[int, JsonDict]]:
    """The readings at places after which nothing was written: this one first, then the likeliest."""
    visitor = session.fork()
    open_ends = [node for node in session.leaves() if node is not session.node]
    for node in [session.node, *open_ends][:MOST_ENDS]:
        if any(not child.pruned for child in node.children.values()):
            continue
        visitor.stand(node)
        try:
            yield node.id, _live(visitor.next)
        except (TokenglassError, ValueError):
            continue  # the context is full, or nothing is allowed: the file says that it knows nothing


def _inside(session: Session) -> Iterator[tuple[int, JsonDict]]:
    """The readings inside the prompt."""
    given = dict(session.writer.given)
    for position in range(min(len(session.prompt_ids) - 1, MOST_INSIDE)):
        yield position, _live(session.model.next_tokens(session.prompt_ids[: position + 1], **given))


def _live(table: Any) -> JsonDict:
    books, row = table.books, None
    if books is not None and len(table.stages) > 1:
        row = books.probs([each.id for each in replace(table, n=KEPT).rows])
    return table_reading(table, row)
