"""The widget's messages without a browser: answers, streams, stopping, errors, and moves made in Python."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

from tests.support import model, writes
from tokenglass.errors import TokenglassError
from tokenglass.notebook import interrupts
from tokenglass.notebook.carrier import Carrier
from tokenglass.session import Session
from tokenglass.views.handout import notebook
from tokenglass.workbench import Workbench


class Heard:
    """A carrier over a session of bytes, and every message it sends."""

    def __init__(self, prompt: str = "on") -> None:
        self.session = model(writes("once upon a time")).session(prompt)
        bench = Workbench(self.session.model)
        self.id = bench.sessions.add(self.session).id
        self.sent: list[dict[str, Any]] = []
        self.answered: list[Any] = []
        self.carrier = Carrier(bench, self.sent.append, lambda view, answer: self.answered.append(answer))

    def ask(self, op: str, number: int = 1, **params: Any) -> None:
        self.carrier.heard(
            {"view": "v", "number": number, "op": op, "params": {"session": self.id, **params}}
        )


def test_a_call_moves_the_session_and_is_answered_to_its_view() -> None:
    heard = Heard()
    heard.ask("step")
    (answer,) = heard.sent
    assert (answer["view"], answer["number"], answer["event"]) == ("v", 1, "answer")
    assert heard.session.text == answer["data"]["text"] == "onc"
    assert heard.answered == [answer["data"]]


@pytest.mark.parametrize(
    ("op", "params", "said"),
    [
        ("nothing", {}, "there is no operation"),
        ("step", {"token": "\ud800"}, ""),
        ("step", {"wrong": 1}, "step has no parameter 'wrong'"),
        ("goto", {"node": 99}, "node must be in"),
    ],
)
def test_what_is_wrong_is_an_answer(op: str, params: dict[str, Any], said: str) -> None:
    heard = Heard()
    heard.ask(op, **params)
    assert [message["event"] for message in heard.sent] == ["error"]
    assert said in heard.sent[0]["data"]["message"] and "\n" not in heard.sent[0]["data"]["message"]
    assert heard.session.text == "on"


def test_messages_that_are_none_are_passed_over() -> None:
    heard = Heard()
    heard.carrier.heard({})
    heard.carrier.heard({"view": "v", "number": 7, "stop": True})
    assert heard.sent == []


def test_a_stream_comes_item_by_item() -> None:
    heard = Heard()
    heard.ask("play", count=4)
    assert [message["event"] for message in heard.sent] == ["item"] * 4 + ["answer"]
    assert heard.session.text == "once u"


def test_a_stream_ends_when_its_view_says_so() -> None:
    heard = Heard()

    async def reader() -> None:
        heard.ask("play", count=14)
        while len(heard.sent) < 2:
            await asyncio.sleep(0)
        heard.carrier.heard({"view": "v", "number": 1, "stop": True})
        while heard.sent[-1]["event"] != "stopped":
            await asyncio.sleep(0.001)

    asyncio.run(reader())
    assert 3 <= len(heard.session.text) < 16  # what was written is kept
    heard.ask("step", number=2)
    assert heard.sent[-1]["event"] == "answer"  # and the session goes on


def test_an_interrupt_ends_a_stream_and_keeps_what_is_there() -> None:
    known = writes("once upon a time")

    def rule(ids: tuple[int, ...]) -> Any:
        if len(ids) == 5:
            signal.raise_signal(signal.SIGINT)
        return known(ids)

    heard = Heard()
    heard.session.model.engine._rule = rule  # type: ignore[attr-defined]
    before = signal.getsignal(signal.SIGINT)
    heard.ask("play", count=14)
    end = heard.sent[-1]
    assert (end["event"], end["data"]["paused"]) == ("answer", "stopped")  # the view knows where it stands
    assert end["data"]["text"] == heard.session.text == "once "  # with the token that was under way
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_between_two_tokens_is_heard() -> None:
    """A kernel ignores the signal between cells, which is where a view's text is written."""
    heard = Heard()

    async def kernel() -> None:
        heard.ask("play", count=14)
        while len(heard.sent) < 2:
            await asyncio.sleep(0)
        signal.raise_signal(signal.SIGINT)
        while heard.sent[-1]["event"] == "item":
            await asyncio.sleep(0)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        asyncio.run(kernel())
        assert heard.sent[-1]["data"]["paused"] == "stopped" and len(heard.session.text) < 16
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_cell_that_ends_late_leaves_interrupts_as_they_were() -> None:
    """A cell that waits may begin before a text and end after it, and puts back what it found."""
    told: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: told.append(number))
    try:
        with interrupts.heard() as first:
            found = signal.signal(signal.SIGINT, signal.default_int_handler)  # the cell begins
        signal.signal(signal.SIGINT, found)  # and ends
        signal.raise_signal(signal.SIGINT)
        assert not first.came and told == [signal.SIGINT]
        with interrupts.heard() as second:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # another cell ends
            interrupts.listen()
            signal.raise_signal(signal.SIGINT)
        assert second.came and told == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_message_from_another_thread_waits_for_the_loop_of_the_cell() -> None:
    """JupyterLab hands messages to another thread while a cell runs; until it ends the session is its own."""

    async def kernel() -> None:
        heard = Heard()
        thread = threading.Thread(target=heard.ask, args=("step",))
        thread.start()
        thread.join()
        assert heard.sent == [] and heard.session.text == "on"
        await asyncio.sleep(0.01)
        assert heard.sent[0]["event"] == "answer" and heard.session.text == "onc"

    asyncio.run(kernel())


def shown(session: Session) -> tuple[Any, list[Any]]:
    """A widget of a session, and what it sends from now on."""
    pytest.importorskip("anywidget", reason="the live view needs tokenglass[notebook]")
    sent: list[Any] = []
    widget = session.widget()
    widget.send = lambda content, buffers=None: sent.append(content)
    return widget, sent


def test_the_widget_shows_moves_of_python_and_lets_forks_alone() -> None:
    session = model(writes("once upon a time")).session("on")
    widget, sent = shown(session)
    assert widget.session is session
    session.step()
    assert sent[-1]["event"] == "push" and sent[-1]["data"]["text"] == "onc"
    count = len(sent)
    session.fork().step()
    assert len(sent) == count
    other = session.model.explore("up")
    assert other.session is not session and other.session.text == "up"


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.set(temperature=0.5, do_sample=True),
        lambda session: session.name("here"),
        lambda session: session.note("look"),
        lambda session: session.expand(limit=3),
        lambda session: session.prune(),
        lambda session: session.undo(),
        lambda session: session.goto(0),
    ],
)
def test_whatever_changes_a_session_in_python_is_shown(change: Any) -> None:
    session = model(writes("once upon a time")).session("on")
    session.step()
    _, sent = shown(session)
    change(session)
    assert [message["event"] for message in sent] == ["push"]
    assert sent[0]["data"]["config"]["given"] == dict(session.writer.given)
    assert sent[0]["data"]["tree"]["n_nodes"] == len(list(session.tree))
    named = {row["node"]: (row["name"], row["notes"]) for row in sent[0]["data"]["tree"]["nodes"]}
    assert all(named[node.id] == (node.name, list(node.notes)) for node in session.tree)


def test_a_running_cell_moves_the_view_now_and_then_and_at_its_end_for_certain() -> None:
    """Pictures come while a cell runs, not one for every token; each tells what changed since the last."""

    async def cell() -> None:
        session = model(writes("once upon a time, and so on and on")).session("o")
        _, sent = shown(session)
        session.step()
        assert [message["data"]["text"] for message in sent] == ["on"]  # at once
        session.step(20)
        assert len(sent) < 5
        await asyncio.sleep(0.01)
        assert sent[-1]["data"]["text"] == session.text and len(session.text) == 22
        assert sent[-1]["data"]["tree"]["since"] is not None
        assert len(sent[-1]["data"]["tree"]["nodes"]) <= 20

    asyncio.run(cell())


def test_a_session_that_cannot_be_shown_does_not_break_the_cell() -> None:
    """The move itself went well; only what follows it cannot be computed."""
    known = writes("once upon a time")

    def rule(ids: tuple[int, ...]) -> Any:
        if len(ids) == 3:
            raise TokenglassError("the model is gone")
        return known(ids)

    session = model(rule).session("on")
    _, sent = shown(session)
    assert session.step().text == "c"  # type: ignore[union-attr]
    assert sent == [{"event": "failed", "view": "", "data": {"message": "the model is gone"}}]


def test_a_page_without_a_kernel_shows_the_session() -> None:
    """GitHub and mails know nothing of widgets and take the HTML or the text beside it."""
    session = model(writes("once upon a time")).session("on")
    widget, _ = shown(session)
    session.step()
    data, _ = widget._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/html"] == session._repr_html_() and data["text/plain"] == str(session)


def test_another_prompt_in_the_cell_lets_the_first_session_alone() -> None:
    first = model(writes("once upon a time")).session("on")
    widget, sent = shown(first)
    widget._carrier.heard({"view": "v", "number": 1, "op": "open", "params": {"prompt": "up"}})
    assert widget.session is not first and widget.session.text == "up"
    count = len(sent)
    first.step()
    assert len(sent) == count
    widget.session.step()
    assert sent[-1]["data"]["text"] == "upo"


def test_the_module_loads_nothing_and_is_the_same_each_time() -> None:
    code = notebook.module("1.2.3")
    assert code == notebook.module("1.2.3")
    assert "export default" in code and '"tokenglass.widget.1.2.3"' in code
    for forbidden in ("innerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert forbidden not in code
    styles = notebook.styles()
    assert ":root" not in styles and "url(" not in styles and ":host" in styles


def test_without_anywidget_the_message_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from tokenglass.errors import MissingDependency

    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tokenglass\[notebook\]'"):
        model(writes("a")).session("a").widget()
