"""A session as people see it: its tokens, what may come next, and the tree with the other branches.

Teaches `layout.blocks` and `rows.to_dict` the type `SessionState`.
"""

from __future__ import annotations

from typing import Any

from tokenglass.text import safe_line, safe_message
from tokenglass.types import Step, Token
from tokenglass.types.sessions import SessionState
from tokenglass.views import rows
from tokenglass.views.blocks import WRITTEN, Block, Fold, Line, Piece, Strip
from tokenglass.views.figures import bits, count, percent
from tokenglass.views.layout import blocks, next_blocks
from tokenglass.views.trees import tree_blocks
from tokenglass.views.values import parameters


@blocks.register
def _(result: SessionState) -> tuple[Block, ...]:
    pieces = (*map(_given, result.prompt), *map(_written, result.steps))
    return (
        Line(f"session on {safe_line(result.model)}", "heading"),
        Line(_facts(result), "facts"),
        Strip(pieces, written=len(result.prompt), newest=True),
        *_following(result),
        *_other_branches(result),
    )


def _following(result: SessionState) -> tuple[Block, ...]:
    if result.failure:
        return (Line(f"what comes next is unknown: {safe_message(result.failure)}", "sentence"),)
    return () if result.next is None else next_blocks(result.next)


def _facts(result: SessionState) -> str:
    facts = [
        count(len(result.prompt), "prompt token"),
        f"{WRITTEN} " * bool(result.steps) + count(len(result.steps), "new token"),
        f"at place {result.node}",
        parameters(result.config),
        f"the text has ended: {result.finish_reason}" if result.finish_reason else "",
    ]
    return " · ".join(filter(None, facts))


def _given(token: Token) -> Piece:
    return Piece(token.text, "prompt", hint=f"id {token.id} · prompt")


def _written(step: Step) -> Piece:
    hint = (
        f"id {step.id} · {percent(step.p)} · rank {step.rank:,} · {bits(step.entropy_bits)} · {step.origin}"
    )
    return Piece(step.token.text, "chosen", step.p, hint)


def _other_branches(result: SessionState) -> tuple[Block, ...]:
    """The tree, where it holds more than what stands above."""
    n = sum(1 for _ in result.tree)
    if n <= len(result.steps) + 1:
        return ()
    return (Fold(f"the tree: {count(n, 'place')}", tree_blocks(result.tree)),)


@rows.to_dict.register
def _(result: SessionState) -> dict[str, Any]:
    return {
        "model": result.model,
        "node": result.node,
        "prompt_ids": [int(token.id) for token in result.prompt],
        "ids": [int(token.id) for token in result.prompt] + [int(step.id) for step in result.steps],
        "finish_reason": result.finish_reason,
        "config": rows.plain(result.config),
        "steps": [rows.to_dict(step) for step in result.steps],
        **({"failure": result.failure} if result.failure else {}),
        "next": None if result.next is None else rows.to_dict(result.next),
        "tree": rows.to_dict(result.tree),
    }
