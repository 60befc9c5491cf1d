"""Faults of a model server: bounded time, one line, the partial text kept, nothing leaked."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.contract.faults import FAULTS, KEY, SILENCE_S, Case
from tests.contract.scripted_peer import Answer, ScriptedPeer
from tests.support import writes
from tokenglass.connecting import connect
from tokenglass.engines.server import Patience
from tokenglass.errors import EngineError, RemoteError

pytest.importorskip("httpx")

TEXT = "one step at a time"
HANGS_S = 30.0  # far beyond what the patience below allows; only a call that hangs gets there
PATIENCE = Patience(silence_s=20.0, answer_s=20.0, tries=2, pause_s=0.01, longest_pause_s=1.0)
SHORT = replace(PATIENCE, silence_s=SILENCE_S, answer_s=2 * SILENCE_S)


def within(call: Callable[[], Any]) -> Any:
    """What a call gives or raises; fails where it hangs."""
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, call()))
        except BaseException as error:
            outcome.append((False, error))

    thread = Thread(target=run, name="watched", daemon=True)
    thread.start()
    thread.join(HANGS_S)
    assert outcome, "the call hangs"
    fine, value = outcome[0]
    if fine:
        return value
    raise value


def sockets() -> int:
    """Open sockets of this process; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return 0
    found = 0
    for entry in folder.iterdir():
        try:
            found += os.readlink(entry).startswith("socket:")
        except OSError:
            continue  # the listing's own, closed by now
    return found


def whole_story(error: BaseException) -> str:
    """Everything an error carries along: its words, its traceback, and what it hangs on to."""
    told, seen, waiting = [], set[int](), [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        told += [str(each), repr(vars(each)), *traceback.format_exception(each, chain=False)]
        headers = getattr(getattr(each, "_request", None), "headers", None)
        told.append(repr(dict(headers)) if headers is not None else "")
        waiting += [each.__cause__, each.__context__]
    return "\n".join(told)


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedPeer]:
    monkeypatch.setenv("TOKENGLASS_API_KEY", KEY)
    served = ScriptedPeer(writes(TEXT), key=KEY)
    yield served
    served.close()


def from_third(case: Case) -> Callable[[Answer], None]:
    """Two healthy answers, then the fault, whose own count begins with it."""

    def act(answer: Answer) -> None:
        if answer.number <= 2:
            return answer.send(answer.document)
        case.act(Answer(answer.handler, answer.number - 2, answer.document))

    return act


def test_there_are_forty_at_least() -> None:
    assert len(FAULTS) >= 40
    assert {True, False} == {case.says is None for case in FAULTS.values()}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name: str, peer: ScriptedPeer, tmp_path: Path) -> None:
    """Each fault comes after two written tokens, to `generate` and to a session that is kept in a file."""
    import tokenglass as tg

    case = FAULTS[name]
    before = {thread.ident for thread in threading.enumerate()}
    open_before = sockets()
    model = connect(peer.address, patience=SHORT if case.is_silent else PATIENCE)
    peer.break_with(from_third(case))
    if case.says is None:
        assert within(lambda: model.generate("one", max_new_tokens=6)).text == " step "
    else:
        with pytest.raises(RemoteError) as caught:
            within(lambda: model.generate("one", max_new_tokens=6))
        error = caught.value
        assert case.says in str(error)
        assert str(error).isprintable() and len(str(error)) < 400  # one line, safe to print
        (partial,) = error.partial
        assert partial.text == " s" and partial.finish_reason == "error" and len(partial.steps) == 2
        assert KEY not in whole_story(error)
        asked = [path for path, _ in peer.asked if path == "/completion"]
        peer.break_with(lambda answer: answer.send(answer.document))
        session = model.session("one")
        session.save(tmp_path / "kept")
        session.step(2)
        peer.break_with(case.act)
        with pytest.raises(RemoteError):
            within(session.step)
        assert session.text == "one s"
        session.close()
        kept = tmp_path.joinpath("kept").read_bytes()
        assert KEY.encode() not in kept
        reopened = tg.open_session(tmp_path / "kept", model)
        assert reopened.text == "one s"
        peer.break_with(None)
        assert reopened.step().text == "t"  # and goes on when the server is well again
        reopened.close()
        assert len(asked) < 40
    for shown in (repr(model), str(model.info), repr(model.info.to_dict()), repr(vars(model.engine))):
        assert KEY not in shown
    model.close()
    within(lambda: _until(lambda: sockets() <= open_before + 1))  # the listener may be counted late
    left = [t for t in threading.enumerate() if t.ident not in before and t.name != "watched"]
    assert not [t for t in left if "process_request_thread" not in t.name], left


def _until(done: Callable[[], bool]) -> None:
    from time import sleep

    while not done():
        sleep(0.01)


def test_the_peer_dies_for_good(peer: ScriptedPeer) -> None:
    """No listener is left: what was written stays, and the address is named."""
    model = connect(peer.address, patience=PATIENCE)
    served = ScriptedPeer(writes(TEXT), key=KEY)
    mortal = connect(served.address, patience=PATIENCE)

    def die(answer: Answer) -> None:
        if answer.number <= 2:
            return answer.send(answer.document)
        served.server.shutdown()  # waits for the loop: its poll would keep the listener alive a moment longer
        served.server.server_close()
        answer.hang_up()

    served.break_with(die)
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        within(lambda: mortal.generate("one", max_new_tokens=6))
    assert served.address.removesuffix("/v1") in str(caught.value)
    assert caught.value.partial[0].text == " s"
    mortal.close()
    model.close()
    with pytest.raises(EngineError, match="closed"):
        model.next_tokens("one")


def test_no_redirect_is_followed(peer: ScriptedPeer) -> None:
    """The key goes to the address the user gave, and to no other."""
    other = ScriptedPeer(writes(TEXT))
    model = connect(peer.address, patience=PATIENCE)
    location = other.address.removesuffix("/v1") + "/completion"
    for status in (301, 302, 303, 307, 308):
        peer.break_with(lambda answer, status=status: answer.send(b"", status, Location=location))
        with pytest.raises(RemoteError, match="never followed"):
            model.next_tokens("one")
    assert other.asked == []
    model.close()
    other.close()


def test_a_key_that_was_set_for_any_program_stays_off_open_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_API_KEY goes over https or to this machine; TOKENGLASS_API_KEY is meant for the server."""
    from tokenglass.engines.server import parse_address

    monkeypatch.delenv("TOKENGLASS_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "shared")
    assert parse_address("http://192.0.2.1:8000/v1").key == ""
    assert parse_address("https://example.org/v1").key == "shared"
    assert parse_address("http://127.0.0.1:1/v1").key == "shared"
    monkeypatch.setenv("TOKENGLASS_API_KEY", "own")
    assert parse_address("http://192.0.2.1:8000/v1").key == "own"
    assert "own" not in repr(parse_address("http://192.0.2.1:8000/v1"))


@pytest.mark.parametrize(
    "address",
    [
        *("http://user:secret@host/v1", "http://host/v1?key=secret", "ftp://host/v1", "http://"),
        *("http://h:x/v1", "http://a b/"),
    ],
)
def test_an_address_that_is_none_is_refused_and_never_quotes_a_secret(address: str) -> None:
    from tokenglass.engines.server import parse_address

    with pytest.raises(ValueError) as caught:
        parse_address(address)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
