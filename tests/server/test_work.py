"""Many at once: fair turns, a place for each and no more, gone when they leave, over within seconds."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FULL
from tests.server.world import TEXT, bench, guarded, posted, seen_works, served, streaming
from tokenglass.server import work
from tokenglass.server.running import Address, listening
from tokenglass.workbench import Workbench
from tokenglass.workbench.turns import Cancelled, Turnstile, Work

CLIENTS = 16
STREAM_SECONDS = 300.0 if FULL else 3.0
PATIENCE = 20.0  # seconds until something that should happen is given up


def called(address: Address, operation: str, **params: Any) -> tuple[int, Any]:
    """(status, row) of one call over the network."""
    request = urllib.request.Request(
        f"{address.site}api/{operation}",
        json.dumps(params).encode(),
        {"authorization": f"Bearer {address.token}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {**json.load(error), "retry_after": error.headers["retry-after"]}


def until(true: Callable[[], bool]) -> None:
    """Wait for something, and fail where it does not come."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


@contextmanager
def observed(over: Workbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Address, work.Works]]:
    """A server, and its requests at work."""
    made = seen_works(monkeypatch)
    with served(over) as address:
        yield address, made[0]


# ------------------------------------------------------------------------------------------------- turns


def test_turns_go_round() -> None:
    """Three that always want, each queued again before a turn ends: any three turns are one of each."""
    turnstile, order, left = Turnstile(), list[str](), dict.fromkeys("abc", 30)

    def eager(name: str) -> None:
        while left[name]:
            with turnstile.turn():
                until(lambda: len(turnstile._waiting) == sum(n > 0 for n in left.values()) - 1)
                left[name] -= 1
                order.append(name)

    threads = [threading.Thread(target=Work().run, args=(eager, name)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    rounds = [order[place : place + 3] for place in range(0, 90, 3)]
    assert len(order) == 90 and [sorted(each) for each in rounds] == [["a", "b", "c"]] * 30


def test_a_new_request_goes_before_those_that_were_served() -> None:
    turnstile, order = Turnstile(), list[str]()
    text, click, idle = Work(), Work(), Work(idle=True)

    def take(name: str) -> None:
        with turnstile.turn():
            order.append(name)

    text.run(take, "text")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with turnstile.turn():
            entered.set()
            leave.wait(PATIENCE)

    holder = threading.Thread(target=Work().run, args=(hold,))
    holder.start()
    assert entered.wait(PATIENCE)
    threads = []
    for own, name in ((idle, "idle"), (text, "text again"), (click, "click")):
        threads.append(threading.Thread(target=own.run, args=(take, name)))
        threads[-1].start()
        waiting = len(threads)
        until(lambda: len(turnstile._waiting) == waiting)  # noqa: B023 - it is waited for at once
    leave.set()
    for thread in [holder, *threads]:
        thread.join(PATIENCE)
    assert order == ["text", "click", "text again", "idle"]


def test_cancelled_work_ends_while_it_waits_and_holds_nobody_up() -> None:
    turnstile, ended = Turnstile(), threading.Event()
    waiting, after = Work(), Work()

    def take() -> None:
        with turnstile.turn():
            raise AssertionError("it was cancelled")

    def cancelled() -> None:
        with pytest.raises(Cancelled):
            waiting.run(take)
        ended.set()

    with turnstile.turn():
        thread = threading.Thread(target=cancelled)
        thread.start()
        until(lambda: len(turnstile._waiting) == 1)
        waiting.cancel()
        assert ended.wait(PATIENCE)
    thread.join(PATIENCE)
    with pytest.raises(Cancelled):
        waiting.run(take)

    def free() -> str:
        with turnstile.turn():
            return "free"

    assert after.run(free) == "free"


# ----------------------------------------------------------------------------------------------- streams


def test_many_clients_stream_fairly_and_nothing_is_mixed() -> None:
    """Each client begins at another letter of one text; what it reads must go on from there."""
    with served(bench(seconds=0.001)) as address:
        end = time.monotonic() + STREAM_SECONDS
        read = [0] * CLIENTS
        errors: list[str] = []

        def client(number: int) -> None:
            begun = 2 * number + 1
            expected = (TEXT * 100)[begun:]
            params = {"prompt": TEXT[:begun], "config": {"max_new_tokens": 4096}}
            while time.monotonic() < end:
                with streaming(address, "generate", **params) as events:
                    for place, (event, row) in enumerate(events):
                        if event != "item" or row["step"]["text"] != expected[place]:
                            errors.append(f"client {number}, token {place}: {event} {str(row)[:200]}")
                            return
                        read[number] += 1
                        if time.monotonic() >= end:
                            return

        threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(STREAM_SECONDS + 60)
        assert not errors
        assert not any(thread.is_alive() for thread in threads)
        fair = sum(read) / CLIENTS
        assert min(read) >= fair / 2 and fair > 1, read


def test_a_client_that_leaves_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with observed(bench(seconds=0.01), monkeypatch) as (address, works):
        with streaming(address, "generate", prompt="a", config={"max_new_tokens": 4096}) as events:
            assert [event for event, _ in islice(events, 3)] == ["item"] * 3
            assert works.running == 1
        until(lambda: works.running == 0)


def test_a_client_that_leaves_a_call_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 samples of 512 tokens would take a minute here; the place is free after the run under way."""
    over = bench(seconds=0.005)
    with observed(over, monkeypatch) as (address, works):
        session = called(address, "open", prompt="a", config={"do_sample": True, "seed": 1})[1]["session"]
        with streaming(address, "sample", session=session, samples=16, max_new_tokens=512):
            until(lambda: works.running == 1)
        until(lambda: works.running == 0)
        status, row = called(address, "step", session=session)
        assert status == 200 and row["can_undo"], "the session lives on"


def test_a_full_house_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MOST_STREAMS", 2)
    params = {"prompt": "a", "config": {"max_new_tokens": 4096}}
    with observed(bench(seconds=0.01), monkeypatch) as (address, works), ExitStack() as open_streams:
        for _ in range(2):
            events = open_streams.enter_context(streaming(address, "generate", **params))
            assert next(events)[0] == "item"
        status, row = called(address, "generate", **params)
        assert (status, row["error"]["type"], row["retry_after"]) == (429, "Busy", "1")
        assert called(address, "tokenize", text="a")[0] == 200, "a click has places of its own"
        open_streams.close()
        until(lambda: works.running == 0)
        with streaming(address, "generate", **params) as events:
            assert next(events)[0] == "item"


def test_as_many_calls_as_there_are_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MOST_CALLS", 0)
    answer = posted(guarded(), "info")
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")


def test_a_stream_that_is_refused_is_no_stream() -> None:
    app = guarded()
    assert posted(app, "generate", prompt="a", config={"top_k": 1, "tpo_p": 1}).status == 400
    answer = posted(app, "play", session="none")
    assert (answer.status, answer.row["error"]["type"]) == (404, "NoSession")


def test_a_defect_says_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a call nor a stream shows a message of an error that nobody raised on purpose."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("/secret/path")

    app = guarded(over := bench())
    monkeypatch.setattr(over.model.engine, "forward", broken)
    with pytest.raises(RuntimeError):  # for the log; starlette answers first
        posted(app, "open", prompt="a")
    with pytest.raises(RuntimeError):
        posted(app, "generate", prompt="a")


# --------------------------------------------------------------------------------------------------- end

SERVER = """
import sys
from tests.server.world import bench
from tokenglass.server.running import listening, serve
serve(bench(0.01), listening("127.0.0.1", 0), "127.0.0.1", lambda a: print(a.port, a.token, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(sent: signal.Signals) -> None:
    """With streams under way; 5 seconds is the promise, which the wait holds it to."""
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=root,
        env={**os.environ, "TOKENGLASS_TRACEBACK": "1"},  # so that it says what goes wrong
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            port, token = process.stdout.readline().split()
            address = Address("127.0.0.1", int(port), token)
            params = {"prompt": "a", "config": {"max_new_tokens": 4096}}
            with ExitStack() as streams:
                for _ in range(3):
                    events = streams.enter_context(streaming(address, "generate", **params))
                    assert next(events)[0] == "item"
                process.send_signal(sent)
                process.wait(timeout=5)
                assert list(events)[-1][1]["error"]["type"] == "Ended"
        finally:
            process.kill()
        assert "ERROR" not in process.stderr.read()


def test_answers_leave_without_delay() -> None:
    """A connection that waits for acknowledgements makes each answer 40 ms late."""

    async def told() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def heard(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken = writer.get_extra_info("socket")
            found.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listening("127.0.0.1", 0)
        async with await asyncio.start_server(heard, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            option = await found
            writer.close()
        return option

    assert asyncio.run(told())
