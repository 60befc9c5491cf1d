"""What a session looks like at one moment, as rows: the tokens, what may come next, the chain, the tree.

Every number comes from the library's own rows; nothing is computed here a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tokenglass.numbers import LN2, top_n
from tokenglass.select import Choice, Draw
from tokenglass.stages.row import MASKED
from tokenglass.text import safe_text
from tokenglass.types import NextTokens, Token
from tokenglass.views.rows import plain
from tokenglass.workbench.params import JsonDict
from tokenglass.workbench.sessions import Held
from tokenglass.workbench.treerows import tree_of


def state(held: Held, n: int, since: int | None = None, **more: Any) -> JsonDict:
    """Everything a view shows of a session where it stands.

    Args:
        held: the session.
        n: rows of the next-token table.
        since: the revision of the tree that the view has; None where it has none.
        **more: what an operation adds.
    """
    session, node = held.session, held.session.node
    tree = tree_of(held)
    furthest = next((each for each in session.furthest().lineage() if each.parent is node), None)
    return {
        "session": held.id,
        "model": session.model.info.name,
        "node": node.id,
        "text": session.text,
        "tokens": token_rows(held, tree.rows),
        "next": next_row(held, n),
        "last": None if node.step is None else node.step.to_dict(),
        "can_undo": node.parent is not None,
        "can_redo": furthest is not None,
        "redo_token": None if furthest is None or furthest.step is None else furthest.step.token.text,
        "finish_reason": session.finish_reason,
        **settings(held),
        "tree": tree.told(since),
        **more,
    }


def settings(held: Held) -> JsonDict:
    """The keywords and the chain they stand for; made once for each change."""
    writer = held.session.writer
    if held.kept.get("settings_of") is not writer:
        chain = writer.plan.describe().to_dict()
        config = {
            "given": plain(writer.given),
            "effective": chain["config"],
            "sources": chain["sources"],
            "no_effect": chain["no_effect"],
            "warnings": chain["warnings"],
        }
        short = {name: chain[name] for name in ("mode", "preset", "stages", "selection")}
        held.kept["settings_of"], held.kept["settings"] = writer, {"config": config, "chain": short}
    found: JsonDict = held.kept["settings"]
    return found


# ------------------------------------------------------------------------------------------------ tokens


def token_rows(held: Held, nodes: Mapping[int, JsonDict]) -> list[JsonDict]:
    """One row for each token of prompt and text; the prompt's own have numbers once they were scored."""
    session = held.session
    tokens = [session.tree.vocabulary.token(i) for i in session.ids]
    groups = character_groups(tokens)
    marks = session.template
    scores = held.kept.get("prompt_scores", {})
    found = []
    for position, token_id in enumerate(session.prompt_ids):
        token = tokens[position]
        row = {"position": position, "id": int(token_id), "token": token.text, "bytes": token.bytes.hex()}
        row |= {"kind": token.kind, "group": groups[position], "is_prompt": True, "node": 0}
        row |= {"template": marks[position] if marks else None}
        found.append({**row, **_UNSCORED, **scores.get(position, {})})
    path = [node.id for node in session.node.lineage()][-2::-1]
    for position, node in enumerate(path, start=len(session.prompt_ids)):
        more = {"group": groups[position], "is_prompt": False, "template": None}
        bits = {"surprisal_bits": surprisal_bits(nodes[node]["logprob"])}
        found.append({**nodes[node], **more, **bits})
    return found


_UNSCORED: JsonDict = {
    name: None
    for name in ("logprob", "p", "surprisal_bits", "rank", "entropy_bits", "p_final", "origin", "draw")
}


def surprisal_bits(logprob: float | None) -> float | None:
    """A natural log-probability in bits of surprise."""
    return None if logprob is None else -logprob / LN2


def character_groups(tokens: Sequence[Token]) -> list[JsonDict | None]:
    """For tokens that hold pieces of one character: the first and the last of them, and the character."""
    ends = np.cumsum([len(token.bytes) for token in tokens]).tolist() if tokens else []
    data = b"".join(token.bytes for token in tokens)
    found: list[JsonDict | None] = [None] * len(tokens)
    for index, token in enumerate(tokens[:-1]):
        first = ends[index] - 1
        while first > max(0, ends[index] - 4) and data[first] & 0xC0 == 0x80:
            first -= 1
        size = {0xC: 2, 0xD: 2, 0xE: 3, 0xF: 4}.get(data[first] >> 4, 1) if token.bytes else 1
        if first + size <= ends[index]:
            continue
        try:
            character = data[first : first + size].decode()
        except UnicodeDecodeError:
            continue
        members = [
            i for i, end in enumerate(ends) if end > first and end - len(tokens[i].bytes) < first + size
        ]
        group = {"first": members[0], "last": members[-1], "token": safe_text(character)}
        for member in members:
            found[member] = found[member] or group
    return found


# ------------------------------------------------------------------------------------------------- tables


def next_row(held: Held, n: int) -> JsonDict:
    """The next-token table here, with what the configuration would pick."""
    return {**table_row(held.table, n), **_picked(held)}


def table_row(table: NextTokens, n: int) -> JsonDict:
    """A table of `n` rows, each with its probability after each stage where there is a chain."""
    shown = replace(table, n=n)
    row = shown.to_dict()
    if shown.books is not None and len(shown.stages) > 1:
        trail = shown.books.probs([each.id for each in shown.rows])  # type: ignore[attr-defined]
        for index, each in enumerate(row["rows"]):
            each["trail"] = plain(trail[:, index])
    return row


def _picked(held: Held) -> JsonDict:
    """What a step would write here, and where the likeliest cells lie on the line from 0 to 1."""
    choice, refused = held.picked
    if choice is None:
        return {"pick": None, "refused": refused or None, "draw_preview": None}
    return {"pick": _choice(held, choice), "refused": None, "draw_preview": _cells(held)}


def _choice(held: Held, choice: Choice) -> JsonDict:
    token, reading = held.session.tree.vocabulary.token(choice.token_id), held.session.reading
    # as the step's record will have it: from the chain's own sums, unless the selector made another row
    p_final = reading.p(choice.token_id) if choice.row is reading.row else choice.p
    shown = {"id": choice.token_id, "token": token.text, "p_final": p_final}
    return dict(plain({**shown, "origin": choice.origin, "draw": choice.draw, "cdf": choice.cdf}))


def _cells(held: Held) -> list[JsonDict] | None:
    """The widest cells of the line that a draw falls on, in order; None where nothing is drawn by id.

    The line is the one that `select.choose_by_id` looks a number up on: float64 throughout, in order of id.
    """
    session, scores = held.session, held.session.reading.row.scores
    if not isinstance(session.plan.selector, Draw):
        return None
    ids = np.flatnonzero(scores != MASKED)
    weights = np.exp(scores[ids].astype(np.float64) - float(scores.max()))
    ends = np.cumsum(weights)
    vocabulary, total = session.tree.vocabulary, float(ends[-1])
    widest = np.searchsorted(ids, np.sort(top_n(scores, min(_MOST_CELLS, len(ids)))))
    return [
        {
            "id": int(ids[i]),
            "token": vocabulary.token(int(ids[i])).text,
            "start": float(ends[i] - weights[i]) / total,
            "end": float(ends[i]) / total,
        }
        for i in widest
        if weights[i] > 0.0
    ]


_MOST_CELLS = 50
