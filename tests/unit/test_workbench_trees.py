"""Answers that hold what changed in a tree: put together they are all of it, whoever moved in it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.page.toys import bytes_model
from tests.support import model, writes
from tests.unit.workbench_calls import call, stream
from tokenglass.workbench import OPERATIONS, Workbench

STATES = {"state", "step", "undo", "redo", "goto", "set", "expand", "sample", "play", "name", "note", "prune"}


class View:
    """A view that keeps its own tree, out of what it is told."""

    def __init__(self, state: Any) -> None:
        self.revision, self.rows = -1, dict[int, Any]()
        self.take(state["tree"])

    def take(self, tree: Any) -> None:
        if tree["since"] is None:
            self.rows = {}
        else:
            assert tree["since"] <= self.revision
        self.rows |= {row["node"]: row for row in tree["nodes"]}
        for node in tree["gone"]:
            self.rows.pop(node, None)
        self.revision = tree["revision"]
        assert len(self.rows) == tree["n_nodes"]


def test_every_move_takes_a_revision() -> None:
    Workbench(bytes_model())  # fills the list
    assert {name for name, each in OPERATIONS.items() if "since" in each.params} == STATES


@pytest.mark.parametrize("seed", range(3))
def test_what_changed_put_together_is_the_whole_tree(seed: int) -> None:
    """Two views take turns in one session; the one that waited catches up, in order of creation as ever."""
    dice, bench = random.Random(seed), Workbench(bytes_model())
    first = call(bench, "open", prompt="a", config={"do_sample": True, "seed": seed})
    session, views = first["session"], [View(first), View(first)]
    for _ in range(50):
        view = dice.choice(views)
        node = dice.choice(list(view.rows))
        others = [each for each in view.rows if each != 0]
        moves: list[tuple[str, dict[str, Any]]] = [
            ("step", {"count": 3}),
            ("step", {"token": dice.randrange(97, 123)}),
            ("undo", {}),
            ("redo", {}),
            ("state", {}),
            ("expand", {"mass": 0.2, "limit": 6}),
            ("sample", {"samples": 3, "max_new_tokens": 3}),
            ("set", {"config": {"do_sample": True, "temperature": dice.random() + 0.1}}),
        ]
        if all(view.revision >= each.revision for each in views):  # it knows which places there are
            moves += [
                ("goto", {"node": node}),
                ("name", {"node": node, "text": f"n{dice.random()}"}),
                ("note", {"node": node, "text": "a note"}),
                *([("prune", {"node": dice.choice(others)})] if others else []),
            ]
        name, params = dice.choice(moves)
        view.take(call(bench, name, session=session, since=view.revision, n=1, **params)["tree"])
        whole = call(bench, "state", session=session, n=1)["tree"]
        assert list(view.rows.items()) == [(row["node"], row) for row in whole["nodes"]]
        assert (whole["since"], view.revision) == (None, whole["revision"])


def test_a_view_with_a_revision_that_never_was_is_told_everything() -> None:
    bench = Workbench(bytes_model())
    state = call(bench, "open", prompt="a")
    later = call(bench, "step", session=state["session"], since=state["tree"]["revision"] + 9)
    assert later["tree"]["since"] is None and [row["node"] for row in later["tree"]["nodes"]] == [0, 1]


def test_a_played_text_ends_with_what_changed() -> None:
    bench = Workbench(model(writes("abc def")))
    state = call(bench, "open", prompt="a")
    _, end = stream(bench, "play", session=state["session"], count=3, since=state["tree"]["revision"])
    assert [row["node"] for row in end["tree"]["nodes"]] == [1, 2, 3]
    again = call(bench, "undo", session=state["session"], since=end["tree"]["revision"])
    assert [(row["node"], row["on_path"]) for row in again["tree"]["nodes"]] == [(3, False)]


def test_a_step_in_a_tree_of_ten_thousand_places_carries_a_few() -> None:
    """Of 4.8 MB a key press carried, most is the tree; the rest is its table, its text and its step."""
    bench = Workbench(bytes_model())
    state = call(bench, "open", prompt="a")
    session = state["session"]
    while state["tree"]["n_nodes"] < 10_000:
        asked = {"session": session, "mass": 0.99, "depth": 3, "limit": 1000}
        state = bench.call("expand", asked)
        bench.call("step", {"session": session})
    whole = bench.call("state", {"session": session})
    step = bench.call("step", {"session": session, "since": whole["tree"]["revision"]})
    sizes = [len(json.dumps(each["tree"])) for each in (whole, step)]
    assert len(whole["tree"]["nodes"]) >= 10_000 and len(step["tree"]["nodes"]) <= 2
    assert sizes[0] > 3_000_000 and sizes[1] < 2_000
