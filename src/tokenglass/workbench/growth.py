"""Operations that grow or tend a session's tree: expand, sample, play, names, notes, pruning."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tokenglass.views.rows import candidate
from tokenglass.workbench.kinds import (
    DEFAULT_ROWS,
    MOST_ROWS,
    MOST_SIDE_BY_SIDE,
    NODE,
    ROWS,
    SESSION,
    SINCE,
    TOKEN,
)
from tokenglass.workbench.moves import answer
from tokenglass.workbench.params import JsonDict, list_of, number, text, whole
from tokenglass.workbench.registry import Stream, operation
from tokenglass.workbench.states import next_row

if TYPE_CHECKING:
    from tokenglass.workbench.bench import Workbench

DEEPEST = 64
LONGEST_SAMPLE = 512
LONGEST_PLAY = 1024
LONGEST_NAME = 256
LONGEST_NOTE = 4096
MOST_WATCHED = 16


@operation(
    session=SESSION,
    depth=whole(1, DEEPEST, "levels"),
    mass=number(0.0, 1.0, "at each place, take children until they hold this share"),
    p=number(0.0, 1.0, "only places at least this likely, given this one"),
    limit=whole(1, MOST_ROWS, "most places to make or visit"),
    n=ROWS,
    since=SINCE,
)
def expand(
    bench: Workbench,
    session: str,
    depth: int = 1,
    mass: float | None = None,
    p: float | None = None,
    limit: int = 100,
    n: int = DEFAULT_ROWS,
    since: int | None = None,
) -> JsonDict:
    """Unfold the likeliest children of a place, and theirs."""
    with bench.use(session) as held:
        started = time.perf_counter()
        found = held.session.expand(depth=depth, mass=mass, p=p, limit=limit)
        return answer(held, n, started, since, expansion=found.to_dict())


@operation(
    session=SESSION,
    samples=whole(1, MOST_SIDE_BY_SIDE, "how many continuations"),
    max_new_tokens=whole(1, LONGEST_SAMPLE, "tokens of each"),
    n=ROWS,
    since=SINCE,
)
def sample(
    bench: Workbench,
    session: str,
    samples: int = 8,
    max_new_tokens: int = 20,
    n: int = DEFAULT_ROWS,
    since: int | None = None,
) -> JsonDict:
    """Draw continuations from here and lay them over the tree."""
    with bench.use(session) as held:
        started = time.perf_counter()
        found = held.session.sample(samples, max_new_tokens=max_new_tokens)
        return answer(held, n, started, since, samples=found.to_dict())


@operation(
    session=SESSION,
    count=whole(1, LONGEST_PLAY, "most tokens to write"),
    entropy=number(0.0, 64.0, "pause where the model's entropy is at least this many bits"),
    watch=list_of(TOKEN, MOST_WATCHED, "pause where one of these tokens comes near the top"),
    top=whole(1, MOST_ROWS, "how near that is"),
    n=ROWS,
    since=SINCE,
)
def play(
    bench: Workbench,
    session: str,
    count: int = 20,
    entropy: float | None = None,
    watch: list[int | str] | None = None,
    top: int = 10,
    n: int = DEFAULT_ROWS,
    since: int | None = None,
) -> Stream:
    """Write on until a step is worth a look; each item is the step and the table after it."""
    paused, reason, watched = "length", f"{count} {'token' if count == 1 else 'tokens'} written", watch or ()
    player = object()
    for index in range(count):
        with bench.use(session) as held:  # let go between tokens: others may look, and go on from elsewhere
            if index == 0:
                held.kept["player"] = player
            elif held.kept.get("player") is not player:
                paused, reason = "stopped", "stopped"
                break
            played = held.session.play(1, entropy=entropy, watch=watched, top=top)
            row = {"node": held.session.node.id, "step": None, "next": next_row(held, n)}
        for step in played.steps:
            yield {**row, "step": step.to_dict()}
        if played.paused != "length":
            paused, reason = played.paused, played.reason
            break
    with bench.use(session) as held:
        rows = map(held.table.lookup, watched if paused == "watched" else ())
        seen = next((candidate(row) for row in rows if row.rank is not None and row.rank <= top), None)
        return answer(held, n, since=since, paused=paused, reason=reason, seen=seen)


@operation(session=SESSION)
def stop(bench: Workbench, session: str) -> JsonDict:
    """End what plays in a session: no token follows the one that is under way, and the stream ends with it.

    A client that hangs up ends it too, but cannot know whether one more token was written meanwhile.
    """
    with bench.use(session) as held:
        held.kept.pop("player", None)
    return {}


# ------------------------------------------------------------------------------------------------ tending


@operation(
    session=SESSION, node=NODE, text=text(LONGEST_NAME, 'the name; "" takes it away'), n=ROWS, since=SINCE
)
def name(
    bench: Workbench,
    session: str,
    text: str,
    node: int | str | None = None,
    n: int = DEFAULT_ROWS,
    since: int | None = None,
) -> JsonDict:
    """Name a place, or the one here, to go back to."""
    with bench.use(session) as held:
        held.session.name(text, node)
        return answer(held, n, since=since)


@operation(session=SESSION, node=NODE, text=text(LONGEST_NOTE, "the note", least=1), n=ROWS, since=SINCE)
def note(
    bench: Workbench,
    session: str,
    text: str,
    node: int | str | None = None,
    n: int = DEFAULT_ROWS,
    since: int | None = None,
) -> JsonDict:
    """Write a note on a place, or the one here."""
    with bench.use(session) as held:
        held.session.note(text, node)
        return answer(held, n, since=since)


@operation(session=SESSION, node=NODE, n=ROWS, since=SINCE)
def prune(
    bench: Workbench,
    session: str,
    node: int | str | None = None,
    n: int = DEFAULT_ROWS,
    since: int | None = None,
) -> JsonDict:
    """Take a place, or the one here, off with all that follows it."""
    with bench.use(session) as held:
        gone = held.session.prune(node)
        return answer(held, n, since=since, pruned=gone)
