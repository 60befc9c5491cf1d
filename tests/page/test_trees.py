"""A large tree on the page: each answer holds what changed, and what is shown is all of it."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.conftest import FULL
from tests.page.browser import opened
from tests.page.serving import Site

# Each move of the page, and the same from elsewhere: a page that was passed by catches up.
MOVES: list[tuple[str, dict[str, Any]]] = [
    ("step", {}),
    ("undo", {}),
    ("step", {"token": 120}),
    ("name", {"text": "here"}),
    ("note", {"text": "a note"}),
    ("goto", {"node": 0}),
    ("redo", {"count": 2}),
    ("set", {"config": {"do_sample": True, "seed": 3}}),
    ("sample", {"samples": 4, "max_new_tokens": 3}),
    ("prune", {}),
    ("expand", {"mass": 0.3, "limit": 20}),
]
TREE = "() => document.querySelector('tg-app').store.state.tree"
ACT = """async ([op, params]) => {
  const state = await document.querySelector("tg-app").store.act(op, params);
  return state && state.session;
}"""


def grown(site: Site, session: str, n: int) -> None:
    """The tree of a session grows to so many places."""
    while site.api("expand", session=session, mass=0.99, depth=3, limit=1000)["tree"]["n_nodes"] < n:
        site.api("step", session=session)


def test_a_large_tree_is_sent_once_and_stays_whole(browser: Any, table_site: Site) -> None:
    with opened(browser, table_site.url, table_site.home) as page:
        page.locator("table.next tr.rest").wait_for()
        session = page.evaluate("() => document.querySelector('tg-app').store.state.session")
        grown(table_site, session, 1200 if FULL else 400)
        sizes: list[int] = []
        page.on(
            "response", lambda answer: sizes.append(len(answer.body())) if "/api/" in answer.url else None
        )
        assert page.evaluate(ACT, ["state", {}]) == session  # all that was grown meanwhile
        page.wait_for_timeout(200)
        assert max(sizes) > 150_000
        sizes.clear()
        for op, params in MOVES:
            assert page.evaluate(ACT, [op, params]) == session, op
            same(page, table_site, session)
        page.wait_for_timeout(200)
        assert len(sizes) >= len(MOVES) and max(sizes) < 100_000, sizes


def test_a_page_that_was_passed_by_catches_up(browser: Any, table_site: Site) -> None:
    """Somebody else moves in the session; and an answer that does not fit is asked for whole."""
    with opened(browser, table_site.url, table_site.home) as page:
        page.locator("table.next tr.rest").wait_for()
        session = page.evaluate("() => document.querySelector('tg-app').store.state.session")
        for op, params in MOVES:
            table_site.api(op, session=session, **params)
            table_site.api("step", session=session, token=97)
            assert page.evaluate(ACT, ["step", {"token": 98}]) == session
            same(page, table_site, session)
        whole: list[str] = []
        page.on("request", lambda request: whole.append(request.url) if "api/state" in request.url else None)

        def shortened(route: Any) -> None:
            """As if rows had been lost on the way."""
            answer = route.fetch()
            row = json.loads(answer.body())
            row["tree"]["nodes"] = row["tree"]["nodes"][:-1]
            route.fulfill(response=answer, json=row)

        page.route(re.compile("api/step"), shortened)
        assert page.evaluate(ACT, ["step", {"token": 99}]) == session
        same(page, table_site, session)
        assert len(whole) == 1
        page.unroute_all()


def same(page: Any, site: Site, session: str) -> None:
    """The page's tree is the server's, row for row in the same order, and it is drawn."""
    shown, told = page.evaluate(TREE), site.api("state", session=session)["tree"]
    assert shown == told
    page.wait_for_function(
        "(n) => document.querySelector('tg-tree .note').textContent.startsWith(n)",
        arg=f"{told['n_nodes']:,} place",
    )


# A view in a notebook, whose kernel is the server: what another view was answered comes to it as a push.
WIDGET = """async (session) => {
  const { WidgetBackend } = await import("/notebook/backend.js");
  const token = sessionStorage.getItem("tokenglass.token");
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token}` };
  const other = async (op, params) => {
    const answer = await fetch(`/api/${op}`, { method: "POST", headers, body: JSON.stringify(params) });
    return answer.json();
  };
  const asked = [];
  let heard;
  const model = {
    get: () => null, off() {}, on: (name, tell) => { if (name === "msg:custom") heard = tell; },
    async send({ view, number, op, params }) {
      asked.push(op);
      heard({ view, number, event: "answer", data: await other(op, params) });
    },
  };
  const backend = new WidgetBackend(model);
  const pushed = (data) => new Promise((resolve) => {
    const off = backend.onPush((found) => { off(); resolve(found.tree); });
    heard({ event: "push", view: "another", data });
  });
  const trees = [(await backend.call("state", { session })).tree];
  trees.push((await backend.call("step", { session, since: trees[0].revision })).tree);
  trees.push(await pushed(await other("step", { session, since: trees[1].revision })));
  const unseen = await other("step", { session });
  trees.push(await pushed(await other("step", { session, since: unseen.tree.revision })));
  return [trees.map((tree) => tree.nodes.map((row) => row.node)), asked, trees.at(-1)];
}"""


def test_a_view_in_a_notebook_takes_what_another_view_was_answered(browser: Any, table_site: Site) -> None:
    """What builds on rows that it has is put together here; what does not is asked for whole."""
    with opened(browser, table_site.url, table_site.home) as page:
        page.locator("table.next tr.rest").wait_for()
        session = table_site.api("open", prompt="a")["session"]
        nodes, asked, last = page.evaluate(WIDGET, session)
        assert nodes == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3, 4]]
        assert asked == ["state", "step", "state"]
        assert last == table_site.api("state", session=session)["tree"]
