"""Operations that open a session and move in it: each answers with the state it led to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tokenglass.select import choose_by_id
from tokenglass.workbench.kinds import (
    CONFIG,
    DEFAULT_ROWS,
    IDS,
    MESSAGES,
    NODE,
    ROWS,
    SESSION,
    SINCE,
    TEXT,
    TOKEN,
)
from tokenglass.workbench.params import JsonDict, Refused, flag, number, text, whole
from tokenglass.workbench.registry import operation
from tokenglass.workbench.sessions import Held
from tokenglass.workbench.states import state, table_row

if TYPE_CHECKING:
    from tokenglass.workbench.bench import Workbench

MOST_TAKEN_BACK = 1 << 20


def answer(
    held: Held, n: int, started: float | None = None, since: int | None = None, **more: Any
) -> JsonDict:
    """The state that an operation led to, with the milliseconds that model and chain took."""
    started = time.perf_counter() if started is None else started
    held.table  # noqa: B018 - the model is read here, so that step_ms covers it
    return state(held, n, since, step_ms=(time.perf_counter() - started) * 1000.0, **more)


@operation(
    prompt=TEXT,
    messages=MESSAGES,
    ids=IDS,
    config=CONFIG,
    n=ROWS,
    add_special_tokens=flag("add what the model's tokenizer adds"),
    parse_special=flag("read <|...|> in the prompt as control tokens"),
    model=text(256, "one of the models here", least=1),
)
def open_(
    bench: Workbench,
    prompt: str | None = None,
    messages: list[JsonDict] | None = None,
    ids: list[int] | None = None,
    config: JsonDict | None = None,
    n: int = DEFAULT_ROWS,
    add_special_tokens: bool = True,
    parse_special: bool = False,
    model: str | None = None,
) -> JsonDict:
    """Open a session on a prompt: a text, a conversation, or token ids."""
    given = [each for each in (prompt, messages, ids) if each is not None]
    if len(given) != 1:
        raise Refused("open needs one of prompt, messages and ids", "prompt")
    started, found = time.perf_counter(), bench.named(model)
    asked: Any = given[0]
    if prompt is not None and (parse_special or not add_special_tokens):
        asked = found.tokenize(prompt, add_special_tokens=add_special_tokens, parse_special=parse_special).ids
    held = bench.sessions.add(found.session(asked, **bench.config(config)))
    try:
        return answer(held, n, started)
    except BaseException:  # a prompt that cannot be read opens nothing
        bench.sessions.close(held.id)
        raise


@operation(session=SESSION, n=ROWS, since=SINCE)
def state_(bench: Workbench, session: str, n: int = DEFAULT_ROWS, since: int | None = None) -> JsonDict:
    """What a session looks like now."""
    with bench.use(session) as held:
        return answer(held, n, since=since)


@operation(
    session=SESSION,
    token=TOKEN,
    u=number(0.0, 1.0, "a number in [0, 1) rolled by hand: the token whose cell holds it"),
    count=whole(1, 64, "how many tokens the configuration picks"),
    n=ROWS,
    since=SINCE,
    reroll=flag("draw with another random number than those used here before"),
)
def step(
    bench: Workbench,
    session: str,
    token: int | str | None = None,
    u: float | None = None,
    count: int = 1,
    n: int = DEFAULT_ROWS,
    since: int | None = None,
    reroll: bool = False,
) -> JsonDict:
    """Append the token that the configuration picks, a given one, or the one a rolled number falls on."""
    with bench.use(session) as held:
        started = time.perf_counter()
        if token is not None and u is not None:
            raise Refused("step takes token or u, not both", "u")
        if u is not None:
            token = choose_by_id(held.session.reading.row, u).token_id
        if token is not None:
            held.session.step(token=token)
        else:
            held.session.step(count, reroll=reroll)
        return answer(held, n, started, since)


_BACK = whole(1, MOST_TAKEN_BACK, "how many tokens")


@operation(session=SESSION, count=_BACK, n=ROWS, since=SINCE)
def undo(
    bench: Workbench, session: str, count: int = 1, n: int = DEFAULT_ROWS, since: int | None = None
) -> JsonDict:
    """Take back the last tokens; nothing is lost."""
    with bench.use(session) as held:
        started = time.perf_counter()
        held.session.undo(count)
        return answer(held, n, started, since)


@operation(session=SESSION, count=_BACK, n=ROWS, since=SINCE)
def redo(
    bench: Workbench, session: str, count: int = 1, n: int = DEFAULT_ROWS, since: int | None = None
) -> JsonDict:
    """Bring tokens back that were taken back."""
    with bench.use(session) as held:
        started = time.perf_counter()
        held.session.redo(count)
        return answer(held, n, started, since)


@operation(session=SESSION, node=NODE, n=ROWS, since=SINCE)
def goto(
    bench: Workbench, session: str, node: int | str, n: int = DEFAULT_ROWS, since: int | None = None
) -> JsonDict:
    """Stand on any place of the tree."""
    with bench.use(session) as held:
        started = time.perf_counter()
        held.session.goto(node)
        return answer(held, n, started, since)


@operation(session=SESSION, config=CONFIG, n=ROWS, since=SINCE)
def set_(
    bench: Workbench, session: str, config: JsonDict, n: int = DEFAULT_ROWS, since: int | None = None
) -> JsonDict:
    """Take this whole set of generation keywords from here on; the answer also holds the table before.

    A keyword left out goes back to its default, but for the seed; null is off, as None is in Python.
    """
    with bench.use(session) as held:
        started, before = time.perf_counter(), table_row(held.table, n)
        seed = held.session.writer.given.get("seed")
        kept = {} if seed is None else {"seed": seed}
        held.session.take({**kept, **bench.config(config)})
        return answer(held, n, started, since, before=before)


@operation(session=SESSION)
def close(bench: Workbench, session: str) -> JsonDict:
    """Let a session go."""
    bench.sessions.close(session)
    return {}
