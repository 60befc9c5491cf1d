"""The hand-out against the library: what it puts in force anew equals the chain, or holds it between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FULL
from tests.page.browser import opened
from tests.page.toys import bytes_model, repeating
from tests.support import model as byte_model
from tokenglass import handout
from tokenglass.model import Model
from tokenglass.session import Session

KEPT = 64
# The chain divides and sums in float32; 1e-6 of a probability is what the library's own tests grant it.
TOLERANCE = 2e-6
EXACT = [
    {"do_sample": True, "top_k": k, "temperature": t, "top_p": p, "min_p": m}
    for k, t, p, m in itertools.product((1, 5, 40), (0.3, 0.7, 1.0, 1.7), (1.0, 0.85), (None, 0.05))
] + [{"do_sample": True, "top_k": None, "top_p": p} for p in (0.1, 0.25)]
BETWEEN = [
    {"do_sample": True, "top_k": k, "temperature": t, "top_p": p, "min_p": m}
    for k, t, p, m in itertools.product((None, 64, 150), (0.6, 1.0, 1.6), (1.0, 0.93), (None, 0.002))
] + [{"do_sample": True, "top_k": None, "top_p": 0.35}]  # more than the 64 kept rows hold at one place


_CALL = """([operation, params]) => document.querySelector("tg-app").backend.call(operation, params)
  .catch((error) => ({ error: error.message, field: error.field }))"""


class Handed:
    """A hand-out in a browser, asked as the page asks it."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def call(self, operation: str, **params: Any) -> Any:
        return self.page.evaluate(_CALL, [operation, {"session": "recorded", **params}])


def written(model: Model, prompt: str) -> Session:
    """A tree with a branch, from the middle of which there are tables on both sides."""
    session = model.session(prompt, do_sample=True, seed=5, top_k=20)
    session.step(3)
    session.undo(2)
    session.step(token=session.next.rows[1].id)
    return session


@pytest.fixture(scope="module", params=["table", "smollm2"])
def pair(request: Any, browser: Any, tmp_path_factory: Any) -> Iterator[tuple[Session, Handed]]:
    name = request.param
    model = bytes_model() if name == "table" else repeating(request.getfixturevalue("smollm2"))
    session = written(model, "Once upon a time")
    path = tmp_path_factory.mktemp("handed") / "session.html"
    session.hand_out(path)
    with opened(browser, path.as_uri(), path.as_uri()) as page:
        page.wait_for_selector("table.next")
        yield session, Handed(page)
        assert page.reports.requests == 1  # the file itself


def places(session: Session) -> list[tuple[int, tuple[int, ...]]]:
    """The prompt, an end, and with full counts every place between."""
    nodes = list(session.tree)
    return [(node.id, session.tree.ids(node)) for node in (nodes if FULL else nodes[:: len(nodes) - 1])]


def alike(ours: dict[str, Any], theirs: dict[str, Any], *names: str) -> None:
    """The same values under these names; numbers to what float32 grants."""
    for name in names:
        number = isinstance(theirs[name], float)
        assert ours[name] == (pytest.approx(theirs[name], rel=1e-6, abs=1e-9) if number else theirs[name]), (
            name
        )


def between(row: dict[str, Any], name: str, value: float) -> None:
    if row[name] is not None:
        assert row[name] == pytest.approx(value, rel=1e-5, abs=TOLERANCE)
    else:
        low, high = row[f"{name}_range"]
        assert low - TOLERANCE <= value <= high + TOLERANCE and low < high


@pytest.mark.parametrize("config", EXACT if FULL else EXACT[::5], ids=str)
def test_what_the_head_settles_is_exact(config: dict[str, Any], pair: tuple[Session, Handed]) -> None:
    session, handed = pair
    assert "error" not in handed.call("set", config=config)
    for node, ids in places(session):
        found = handed.call("goto", node=node, n=KEPT)["next"]
        want = session.model.next_tokens(list(ids), n=KEPT, **config).to_dict()
        for ours, theirs in zip(found["rows"], want["rows"], strict=True):
            assert (ours["id"], ours["removed_by"]) == (theirs["id"], theirs["removed_by"])
            assert ours["p"] == pytest.approx(theirs["p"], rel=1e-6)
            assert ours["p_final"] == pytest.approx(theirs["p_final"], abs=TOLERANCE)
            if (
                theirs["removed"] is not None
                and theirs["removed"]["rank"] is not None
                and ours["removed"]["p"] is not None
            ):
                assert ours["removed"]["rank"] == theirs["removed"]["rank"]
                assert ours["removed"]["p"] == pytest.approx(theirs["removed"]["p"], abs=TOLERANCE)
        assert [stage["name"] for stage in found["stages"]] == [stage["name"] for stage in want["stages"]]
        for ours, theirs in zip(found["stages"][1:], want["stages"][1:], strict=True):
            assert ours["params"] == theirs["params"] and ours["alive"] == theirs["alive"]
            between(ours, "mass_kept", theirs["mass_kept"])
            if ours["entropy_bits"] is not None:
                assert ours["entropy_bits"] == pytest.approx(theirs["entropy_bits"], abs=1e-4)
        assert found["rest_p_final"] == pytest.approx(want["rest_p_final"], abs=TOLERANCE)


@pytest.mark.parametrize("config", BETWEEN if FULL else BETWEEN[::5], ids=str)
def test_what_it_does_not_settle_lies_between_the_bounds(
    config: dict[str, Any], pair: tuple[Session, Handed]
) -> None:
    session, handed = pair
    assert "error" not in handed.call("set", config=config)
    for node, ids in places(session):
        found = handed.call("goto", node=node, n=KEPT)["next"]
        want = session.model.next_tokens(list(ids), n=KEPT, **config).to_dict()
        for ours, theirs in zip(found["rows"], want["rows"], strict=True):
            between(ours, "p_final", theirs["p_final"])
        for ours, theirs in zip(found["stages"], want["stages"], strict=True):
            between(ours, "alive", theirs["alive"])
            between(ours, "mass_kept", theirs["mass_kept"])
        between(found, "rest_p_final", want["rest_p_final"])


def test_bounds_are_worth_having(pair: tuple[Session, Handed]) -> None:
    """At twice the usual temperature the interval of the likeliest token is narrower than a fifth of it."""
    _, handed = pair
    handed.call("set", config={"do_sample": True, "top_k": None, "temperature": 2.0})
    row = handed.call("goto", node=0)["next"]["rows"][0]
    low, high = row.get("p_final_range") or (row["p_final"], row["p_final"])
    assert 0 < low <= high < 1.2 * low


def test_recorded_tables_are_the_models(pair: tuple[Session, Handed]) -> None:
    """Without any setting of the reader's every place has the session's own table."""
    session, handed = pair
    given = dict(session.writer.given)
    handed.call("set", config=given)
    for node, ids in places(session):
        found = handed.call("goto", node=node, n=KEPT)["next"]
        want = session.model.next_tokens(list(ids), n=KEPT, **given).to_dict()
        for ours, theirs in zip(found["rows"], want["rows"], strict=True):
            alike(
                ours, theirs, "logit", "logprob", "p", "p_final", "id", "token", "bytes", "kind", "removed_by"
            )
        assert found["stages"] == want["stages"]
        assert found["entropy_bits"] == want["entropy_bits"] and found["rest_n"] == want["rest_n"]
        assert found["rest_p"] == pytest.approx(want["rest_p"], abs=1e-6)
        assert found["rest_p_final"] == pytest.approx(want["rest_p_final"], abs=1e-6)


_TOKEN = ("position", "id", "token", "bytes", "kind", "group", "is_prompt", "node", "p", "logprob", "rank")
_TOKEN += ("entropy_bits", "p_final", "origin", "draw", "surprisal_bits", "template")


def test_the_state_is_the_servers(pair: tuple[Session, Handed]) -> None:
    """The same rows as the workbench makes, but for what a file has no session and no dice for."""
    from tokenglass.workbench import Workbench
    from tokenglass.workbench.states import state

    session, handed = pair
    bench = Workbench(session.model)
    held = bench.sessions.add(session)
    handed.call("set", config=dict(session.writer.given))
    ours, theirs = handed.call("goto", node=session.node.id), state(held, 10)
    assert ours["tree"]["nodes"] == theirs["tree"]["nodes"]
    assert (ours["text"], ours["node"], ours["can_undo"], ours["can_redo"]) == (
        theirs["text"],
        theirs["node"],
        theirs["can_undo"],
        theirs["can_redo"],
    )
    assert ours["last"]["why"] == theirs["last"]["why"]
    for mine, yours in zip(ours["last"]["top"], theirs["last"]["top"], strict=True):
        assert mine["p"] == pytest.approx(yours["p"], rel=1e-6) and mine["p_final"] == yours["p_final"]
    assert ours["config"]["effective"] == theirs["config"]["effective"] and ours["chain"] == theirs["chain"]
    bench.call("surprisal", {"session": held.id})
    for mine, yours in zip(ours["tokens"], state(held, 10)["tokens"], strict=True):
        alike(mine, yours, *_TOKEN)
    for position in range(len(session.ids)):
        mine = handed.call("at", position=position)
        yours = bench.call("at", {"session": held.id, "position": position})
        assert [row["p"] for row in mine["next"]["rows"]] == pytest.approx(
            [row["p"] for row in yours["next"]["rows"]], rel=1e-6
        )
        assert (mine["came"] is None) == (yours["came"] is None)
        if mine["came"] is not None:
            alike(mine["came"], yours["came"], "id", "token", "rank", "p")
    bench.close()


def test_moves_go_where_the_recording_went(pair: tuple[Session, Handed]) -> None:
    session, handed = pair
    handed.call("set", config=dict(session.writer.given))
    start = handed.call("goto", node=0)
    assert start["can_undo"] is False and start["redo_token"] is not None
    forward = handed.call("step")
    back = handed.call("undo")
    assert back["node"] == 0 and handed.call("redo")["node"] == forward["node"]
    children = [node for node in session.tree.node(forward["node"]).children.values()]
    for child in children:
        handed.call("goto", node=forward["node"])
        assert handed.call("step", token=child.step.id)["node"] == child.id
    handed.call("goto", node=forward["node"])
    chosen = {child.step.id for child in children}
    stranger = next(row.id for row in session.model.next_tokens("x", n=40).rows if row.id not in chosen)
    assert "the recording did not go there" in handed.call("step", token=stranger)["error"]
    assert "needs a model" in handed.call("open", prompt="another")["error"]
    assert "needs a model" in handed.call("generate", prompt="x", config={})["error"]
    assert handed.call("set", config={"repetition_penalty": 1.3})["field"] == "repetition_penalty"
    assert "above 0" in handed.call("set", config={"do_sample": True, "temperature": -1})["error"]


def test_look_ups_know_the_head_and_bound_the_rest(pair: tuple[Session, Handed]) -> None:
    session, handed = pair
    handed.call("set", config=dict(session.writer.given))
    handed.call("goto", node=0)
    table = session.model.next_tokens(list(session.prompt_ids), n=KEPT + 1, **dict(session.writer.given))
    found = handed.call("lookup", token=table.rows[40].id)
    assert found["row"]["p"] == pytest.approx(table.rows[40].p, rel=1e-6)
    assert found["account"]["removed"]["stage"] == table.rows[40].removed_by == "top_k"
    said = handed.call("lookup", token=table.rows[KEPT].id)["error"]
    bound = float(said.rpartition("at most ")[2].rstrip(" %")) / 100
    assert table.rows[KEPT].p <= bound * 1.01 and bound == pytest.approx(table.rows[KEPT - 1].p, rel=1e-2)
    curve = handed.call("curve")
    assert curve["points"][:KEPT] == [
        [n, pytest.approx(row.p, rel=1e-6)] for n, row in enumerate(table.rows[:KEPT], 1)
    ]
    assert curve["exact"] == KEPT and [cut["alive"] for cut in curve["cuts"]] == [20]


def test_a_trace_alone_says_where_it_knows_nothing(browser: Any, tmp_path: Path) -> None:
    from tokenglass.traces import read

    session = written(bytes_model(), "Once")
    session.save(tmp_path / "kept.jsonl")
    session.close()
    path = tmp_path / "kept.html"
    handout.write(handout.of_trace(read(tmp_path / "kept.jsonl")), path)
    with opened(browser, path.as_uri(), path.as_uri()) as page:
        page.wait_for_selector("text=was not recorded here")
        handed = Handed(page)
        end = handed.call("state")["next"]
        assert end["rows"] == [] and end["entropy_bits"] is None and "not recorded" in end["unknown"]
        assert "not recorded" in handed.call("at", position=0)["error"]
        assert handed.call("undo")["next"]["rows"]
        assert [stage["name"] for stage in handed.call("state")["chain"]["stages"]] == ["top_k"]
        assert page.reports.requests == 1


def test_older_steps_without_a_tail_have_wider_bounds(browser: Any, tmp_path: Path) -> None:
    """A trace of an earlier version: the sum is known, how the tail spreads is not."""
    from dataclasses import replace

    session = written(bytes_model(), "Once")
    for node in session.tree:
        if node.step is not None:
            node.step = replace(node.step, tail=None)
    path = tmp_path / "old.html"
    session.hand_out(path)
    config = {"do_sample": True, "top_k": None, "temperature": 1.5}
    with opened(browser, path.as_uri(), path.as_uri()) as page:
        page.wait_for_selector("table.next")
        handed = Handed(page)
        handed.call("set", config=config)
        row = handed.call("goto", node=0)["next"]["rows"][0]
        want = session.model.next_tokens(list(session.prompt_ids), **config).rows[0]
        between(row, "p_final", want.p_final)
        assert row["p_final"] is None and row["p_final_range"][1] < inf


def test_ties_at_the_edge_of_the_head_are_no_number(browser: Any, tmp_path: Path) -> None:
    """All but two of 257 logits are equal: whether top-k 64 keeps equals outside the head is not recorded."""
    from tests.support import writes

    session = byte_model(writes("ab")).session("x")
    session.step()
    path = tmp_path / "ties.html"
    session.hand_out(path)
    with opened(browser, path.as_uri(), path.as_uri()) as page:
        page.wait_for_selector("table.next")
        handed = Handed(page)
        config = {"do_sample": True, "top_k": 64}
        handed.call("set", config=config)
        found = handed.call("goto", node=0, n=KEPT)["next"]
        want = session.model.next_tokens("x", n=KEPT, **config).to_dict()
        assert want["stages"][1]["alive"] == 257
        between(found["stages"][1], "alive", 257)
        between(found["rows"][0], "p_final", want["rows"][0]["p_final"])


def test_a_model_without_logits_is_refused_by_name(tmp_path: Path) -> None:
    """What a server shows is its best few, from which nothing can be put in force anew."""
    from dataclasses import replace

    from tokenglass.errors import Unsupported

    session = bytes_model().session("Once")
    engine: Any = session.model.engine
    engine._info = replace(engine.info, name="far\x1baway", capabilities=frozenset({"tree"}))
    with pytest.raises(Unsupported, match=r"a hand-out of far.*away is not supported: it gives no numbers"):
        session.hand_out(tmp_path / "no.html")
    assert not (tmp_path / "no.html").exists()
