"""The widget's messages without a browser: answers, streams, stopping, errors, and moves made in Python."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from tests.support import model, writes
from tokenglass.notebook.carrier import Carrier
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
    assert heard.sent[-1]["event"] == "stopped"
    assert heard.session.text.startswith("onc") and len(heard.session.text) < 16
    assert signal.getsignal(signal.SIGINT) is before


def test_the_widget_shows_moves_of_python_and_lets_forks_alone() -> None:
    pytest.importorskip("anywidget", reason="the live view needs tokenglass[notebook]")
    from tokenglass.notebook.widget import LiveView

    session = model(writes("once upon a time")).session("on")
    sent: list[Any] = []
    widget = session.widget()
    assert isinstance(widget, LiveView) and widget.session is session
    widget.send = lambda content, buffers=None: sent.append(content)
    session.step()
    assert sent[-1]["event"] == "push" and sent[-1]["data"]["text"] == "onc"
    count = len(sent)
    session.fork().step()
    assert len(sent) == count
    other = session.model.explore("up")
    assert other.session is not session and other.session.text == "up"


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
