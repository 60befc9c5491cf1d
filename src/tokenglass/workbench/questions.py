"""Operations that ask about a place and move nobody: earlier positions, any token, the whole curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tokenglass.numbers import softmax
from tokenglass.stages.row import MASKED
from tokenglass.types import NextTokens
from tokenglass.views.rows import candidate, plain
from tokenglass.workbench import kinds
from tokenglass.workbench.kinds import CONFIG, DEFAULT_ROWS, POSITION, ROWS, SESSION, TOKEN
from tokenglass.workbench.params import JsonDict, Refused
from tokenglass.workbench.registry import operation
from tokenglass.workbench.sessions import Held
from tokenglass.workbench.states import surprisal_bits, table_row

if TYPE_CHECKING:
    from tokenglass.session import Session
    from tokenglass.workbench.bench import Workbench

HEAD = 200  # ranks of the curve that are all there
_POINTS = 200  # further on, evenly on a logarithmic axis


@operation(session=SESSION, position=POSITION, n=ROWS)
def at(bench: Workbench, session: str, position: int, n: int = DEFAULT_ROWS) -> JsonDict:
    """The next-token table after a position of prompt and text, with the token that came."""
    with bench.use(session) as held:
        table = table_at(held, position)
        ids = held.session.ids
        came = None if position + 1 == len(ids) else candidate(table.lookup(ids[position + 1]))
        return {"position": position, "next": table_row(table, n), "came": came}


@operation(session=SESSION, token=TOKEN, position=POSITION)
def lookup(bench: Workbench, session: str, token: int | str, position: int | None = None) -> JsonDict:
    """Any token's row and its way through the chain."""
    with bench.use(session) as held:
        table = table_at(held, position)
        return {"row": candidate(table.lookup(token)), "account": table.account(token).to_dict()}


@operation(session=SESSION, position=POSITION)
def curve(bench: Workbench, session: str, position: int | None = None) -> JsonDict:
    """The full distribution by rank, before and after the chain, and where each stage cuts it."""
    with bench.use(session) as held:
        table = table_at(held, position)
        final = None if table.final is None else _curve(table.final)
        return {
            "vocab_size": len(table.logits),
            "entropy_bits": table.entropy_bits,
            "points": _curve(table.logits),
            "final": final,
            "cuts": _cuts(table),
        }


@operation(session=SESSION, config=CONFIG, n=ROWS)
def chain(
    bench: Workbench, session: str | None = None, config: JsonDict | None = None, n: int = DEFAULT_ROWS
) -> JsonDict:
    """The chain of a session or of a configuration; of a session also each candidate's way through it."""
    if (session is None) == (config is None):
        raise Refused("chain needs one of session and config", "session")
    if session is None:
        found = bench.model.chain(**bench.config(config))
        return {**found.to_dict(), "tokenglass_code": tokenglass_code(config or {})}
    with bench.use(session) as held:
        writer, table = held.session.writer, held.table
        shown = table_row(table, n)
        accounts = [table.account(row["id"]).to_dict() for row in shown["rows"]]
        return {
            **writer.plan.describe().to_dict(),
            "tokenglass_code": tokenglass_code(plain(writer.given), *_named(held.session)),
            "records": shown["stages"],
            "accounts": accounts,
        }


@operation(session=SESSION)
def surprisal(bench: Workbench, session: str) -> JsonDict:
    """How surprising each token of the prompt itself is; states hold these numbers from then on."""
    with bench.use(session) as held:
        if "prompt_scores" not in held.kept:
            held.kept["prompt_scores"] = scored(held.session)
        scores = held.kept["prompt_scores"]
        return {"rows": [{"position": position, **row} for position, row in scores.items()]}


def scored(session: Session) -> dict[int, JsonDict]:
    """Position in the prompt -> the numbers of its token."""
    found: dict[int, JsonDict] = {}
    for position, row in enumerate(session.model.score(list(session.prompt_ids), top=0).to_dict()["rows"]):
        named = {name: row.get(name) for name in ("logprob", "p", "rank", "entropy_bits")}
        found[position] = named | {"surprisal_bits": surprisal_bits(row.get("logprob"))}
    return found


def table_at(held: Held, position: int | None) -> NextTokens:
    """The table after a position; None is the last.

    Raises:
        Refused: there is no such position.
    """
    session = held.session
    size, at_prompt = len(session.ids), len(session.prompt_ids)
    if position is None or position == size - 1:
        return held.table
    if position >= size:
        raise Refused(f"position must be in [0, {size - 1}], got {position}", "position")
    if position < at_prompt - 1:
        given = dict(session.writer.given)
        return session.model.next_tokens(session.prompt_ids[: position + 1], **given)
    line = list(session.node.lineage())[::-1]
    visitor = session.fork()
    visitor.stand(line[position - at_prompt + 1])
    return visitor.next


def _curve(scores: np.ndarray) -> list[list[float]]:
    """[rank, probability] of every rank at the head, then of ranks evenly far apart on a logarithmic axis."""
    probs = np.sort(softmax(scores))[::-1]
    alive = int(np.count_nonzero(probs))
    if alive <= HEAD:
        ranks = np.arange(1, alive + 1)
    else:
        tail = np.unique(np.geomspace(HEAD + 1, alive, _POINTS).round().astype(int))
        ranks = np.concatenate([np.arange(1, HEAD + 1), tail])
    return [[int(rank), float(probs[rank - 1])] for rank in ranks]


def _cuts(table: NextTokens) -> list[JsonDict]:
    """Where each stage that removed tokens cut: the last token it kept, by the model's own rank."""
    books, found = table.books, []
    rows = getattr(books, "rows", ())
    probs = softmax(table.logits)
    order = np.argsort(-table.logits, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    for stage, row in zip(table.stages[1:], rows[1:], strict=False):
        if not stage.removed:
            continue
        kept = np.flatnonzero(row.scores != MASKED)
        worst = int(rank[kept].max()) if len(kept) else 0
        found.append(
            {
                "stage": stage.name,
                "params": plain(stage.params),
                "alive": stage.alive,
                "rank": worst or None,
                "p": float(probs[order[worst - 1]]) if worst else None,
                "is_prefix": worst == len(kept),
            }
        )
    return found


def tokenglass_code(config: JsonDict, model: str = "smollm2", prompt: str = kinds.DEFAULT_PROMPT) -> str:
    """The same as a program of this library."""
    keywords = "".join(f",\n    {name}={value!r}" for name, value in config.items())
    return (
        f"import tokenglass as tg\n\nmodel = tg.load({model!r})\n"
        f"session = model.session(\n    {prompt!r}{keywords},\n)\nsession.step()"
    )


def _named(session: Session) -> tuple[str, str]:
    return session.model.info.name, session.model.detokenize(session.prompt_ids)
