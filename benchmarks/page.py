"""The page's server on the embedded model: a key press, typing, many at once.

A key press is one `step` over HTTP until its state is parsed; its peer is one run of the engine for one token
in this process. The server runs as `tokenglass serve` does, in a process of its own.

python benchmarks/page.py [--seconds 20]
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from compare import seconds
from peers import PROMPTS

import tokenglass as tg
from tokenglass.engines.base import Prefix

ROUNDS = 40
READING = 0.3  # seconds that somebody looks at a table before the next key
CLIENTS = 16
KEY_RATIO, KEY_MS = 1.3, 10.0  # must: at most this many steps and so much more
TYPING_MS = 16.0


class Page:
    """A connection as a browser keeps one."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection(told["host"], told["port"], timeout=120)
        token = told["url"].partition("#token=")[2]
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def call(self, operation: str, **params: Any) -> Any:
        """One operation, from the request to the parsed answer."""
        answer = self.begin(operation, **params)
        row = json.loads(answer.read())
        assert answer.status == 200, row
        return row

    def begin(self, operation: str, **params: Any) -> http.client.HTTPResponse:
        """One operation, from which lines can be read as they come."""
        self._connection.request("POST", f"/api/{operation}", json.dumps(params), self._headers)
        return self._connection.getresponse()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@contextmanager
def served() -> Iterator[dict[str, Any]]:
    """The server, and what it says of itself."""
    command = [sys.executable, "-m", "tokenglass", "serve", "--no-open", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def key_presses(page: Page, model: tg.Model) -> None:
    """Enter, Enter ... with time to read between, and held down."""
    told = page.call("open", prompt=PROMPTS[0])
    ids = model.prompt_ids(PROMPTS[0])
    node = model.engine.forward([Prefix(ids)]).nodes[0]
    keys: dict[str, list[float]] = {"read, then press": [], "held down": [], "one run of the engine": []}
    for number in range(ROUNDS):
        for name, pause in (("read, then press", READING), ("held down", 0.0)):
            time.sleep(pause)
            keys[name].append(1e3 * seconds(lambda: page.call("step", session=told["session"])))
        time.sleep(READING / 2)  # so that the server has done what it does in idle time
        ids = (*ids, 1000 + number)
        start = time.perf_counter()
        node = model.engine.forward([Prefix(ids, node)]).nodes[0]
        keys["one run of the engine"].append(1e3 * (time.perf_counter() - start))
    step = statistics.median(keys["one run of the engine"])
    print(f"\nkey press to the parsed state (must {KEY_RATIO}x the engine + {KEY_MS:g} ms)")
    for name, times in keys.items():
        most = "" if name.startswith("one") else f"   limit {KEY_RATIO * step + KEY_MS:.1f} ms"
        print(f"  {name:<24} median {statistics.median(times):7.2f} ms   (min {min(times):.2f}){most}")


def typing(page: Page) -> None:
    """A text of 2,000 characters after each letter."""
    text = (PROMPTS[0] + " ") * 80
    times = [1e3 * seconds(lambda n=n: page.call("tokenize", text=text[n : n + 2000])) for n in range(ROUNDS)]
    print(f"\ntokenize 2,000 characters (must {TYPING_MS:g} ms)")
    print(f"  median {statistics.median(times):.2f} ms   (min {min(times):.2f}, max {max(times):.2f})")


def crowd(told: dict[str, Any], wanted: float) -> None:
    """Many who each read a long text as it is written, and one who clicks."""
    end, read = time.monotonic() + wanted, [0] * CLIENTS
    clicks: list[float] = []

    def reader(number: int) -> None:
        config = {"max_new_tokens": 4000, "do_sample": True, "seed": number, "eos_token_id": None}
        page = Page(told)
        answer = page.begin("generate", prompt=PROMPTS[0], config=config)
        while time.monotonic() < end:
            line = answer.readline()
            assert line, "the stream broke"
            read[number] += line.startswith(b"event: item")
        page.close()

    def clicker() -> None:
        page = Page(told)
        session = page.call("open", prompt=PROMPTS[0])["session"]
        while time.monotonic() < end:
            time.sleep(1.0)
            clicks.append(1e3 * seconds(lambda: page.call("step", session=session)))

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(CLIENTS)]
    threads.append(threading.Thread(target=clicker))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fair = sum(read) / CLIENTS
    print(f"\n{CLIENTS} clients for {wanted:g} s (must: slowest at least half of the fair share)")
    print(f"  {sum(read) / wanted:.1f} tokens/s in all, slowest {min(read) / fair:.2f} of the fair share")
    print(f"  a click meanwhile: median {statistics.median(clicks):.1f} ms, max {max(clicks):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the crowd stays")
    wanted = parser.parse_args().seconds
    model = tg.load()
    with served() as told:
        page = Page(told)
        key_presses(page, model)
        typing(page)
        page.close()
        crowd(told, wanted)


if __name__ == "__main__":
    main()
