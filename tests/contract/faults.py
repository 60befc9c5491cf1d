"""Everything that may go wrong between tokenglass and a model server, one by one.

A fault answers questions about next tokens in the server's place. `PASSES` are over after a moment, so the
text must come out as if nothing had been; after the others the call ends with one line that contains `says`.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.contract.scripted_peer import Answer, Fault

KEY = "sk-secret-0123456789abcdef"
SILENCE_S = 0.4  # how long a test waits for an answer; faults stay silent for longer
_LONG_S = 1.5


@dataclass(frozen=True)
class Case:
    """One fault.

    Attributes:
        act: gives the answer.
        says: part of the error; None where it passes.
        is_silent: it is the waiting that ends it, so that the test waits for less long.
    """

    act: Fault
    says: str | None
    is_silent: bool = False


def _changed(change: Callable[[dict[str, Any]], None]) -> Fault:
    """The healthy answer with something changed in its first token's list."""

    def act(answer: Answer) -> None:
        document = json.loads(json.dumps(answer.document))
        change(document)
        answer.send(document)

    return act


def _top(document: dict[str, Any]) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = document["completion_probabilities"][0]["top_logprobs"]
    return table


def _first(name: str, value: Any) -> Fault:
    return _changed(lambda document: _top(document)[0].__setitem__(name, value))


def _every(logprob: float) -> Fault:
    return _changed(lambda document: [each.__setitem__("logprob", logprob) for each in _top(document)])


def _raw(document: str) -> Fault:
    return lambda answer: answer.send(document.encode())


def _one(logprob: str) -> Fault:
    return _raw(f'{{"completion_probabilities": [{{"top_logprobs": [{{"id": 1, "logprob": {logprob}}}]}}]}}')


def _status(status: int, body: Any = None, **headers: str) -> Fault:
    said = {"error": {"message": "no"}} if body is None else body
    return lambda answer: answer.send(said, status, **headers)


def _once(first: Fault) -> Fault:
    return lambda answer: first(answer) if answer.number == 1 else answer.send(answer.document)


def _half(answer: Answer) -> None:
    data = json.dumps(answer.document).encode()
    answer.start(**{"Content-Length": str(len(data))})
    answer.write(data[: len(data) // 2])
    answer.hang_up()


def _half_then_silence(answer: Answer) -> None:
    _half(answer)
    time.sleep(_LONG_S)


def _close(answer: Answer) -> None:
    answer.hang_up()


def _silence(answer: Answer) -> None:
    time.sleep(_LONG_S)
    answer.hang_up()


def _head_then_silence(answer: Answer) -> None:
    answer.start(**{"Content-Length": "100"})
    time.sleep(_LONG_S)
    answer.hang_up()


def _trickle(answer: Answer) -> None:
    answer.start(**{"Content-Length": "100000"})
    for _ in range(100):
        answer.write(b" ")
        time.sleep(SILENCE_S / 5)
    answer.hang_up()


def _flood(answer: Answer) -> None:
    answer.start(**{"Connection": "close"})
    answer.hang_up()
    for _ in range(80):
        answer.write(b" " * (1 << 20))


@cache
def _much_in_little() -> bytes:
    return gzip.compress(b" " * (80 << 20), 1)


def _bomb(answer: Answer) -> None:
    answer.send(_much_in_little(), Content_Encoding="gzip")


def _garbage(answer: Answer) -> None:
    answer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    answer.hang_up()


def _endless_head(answer: Answer) -> None:
    answer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Again: " + b"a" * 300_000 + b"\r\n\r\n{}")
    answer.hang_up()


def _torn_chunks(answer: Answer) -> None:
    answer.start(**{"Transfer-Encoding": "chunked"})
    answer.write(b"zz\r\n{}\r\n")
    answer.hang_up()


def _not_gzip(answer: Answer) -> None:
    answer.send(b"{}", Content_Encoding="gzip")


def _twice(document: dict[str, Any]) -> None:
    table = _top(document)
    table.append(dict(table[0]))


def _drop(*path: str) -> Fault:
    def change(document: dict[str, Any]) -> None:
        found: Any = document
        for key in path[:-1]:
            found = found[0][key] if isinstance(found, list) else found[key]
        found = found[0] if isinstance(found, list) else found
        del found[path[-1]]

    return _changed(change)


LATE = "does not answer in time"
NOT_USED = "its answer was not used"
FAULTS: dict[str, Case] = {
    # the line
    "closes at once": Case(_close, "broke off"),
    "closes at once, once": Case(_once(_close), None),
    "never answers": Case(_silence, LATE, True),
    "never answers, once": Case(_once(_silence), None, True),
    "head, then silence": Case(_head_then_silence, LATE, True),
    "half an answer": Case(_half, "broke off"),
    "half an answer, once": Case(_once(_half), None),
    "half an answer, then silence": Case(_half_then_silence, LATE, True),
    "a byte now and then": Case(_trickle, LATE, True),
    "an answer without end": Case(_flood, "that is too much"),
    "a compressed answer without end": Case(_bomb, "that is too much"),
    "no HTTP at all": Case(_garbage, "broke off"),
    "a head without end": Case(_endless_head, "broke off"),
    "torn chunks": Case(_torn_chunks, "broke off"),
    "compressed it says, and is not": Case(_not_gzip, "no HTTP answer"),
    # what its status says
    "moved, 301": Case(_status(301, Location="http://127.0.0.1:9/v1/completions"), "never followed"),
    "moved, 307": Case(_status(307, Location="http://127.0.0.1:9/completion"), "never followed"),
    "moved to nowhere, 302": Case(_status(302), "never followed"),
    "bad request, 400": Case(
        _status(400, {"error": {"message": "bad \x1b[31mthing\nhere"}}), "bad ⟨ESC⟩[31mthing"
    ),
    "wrong key, 401": Case(_status(401, {"error": f"the key {KEY} is wrong"}), "the key [key] is wrong"),
    "forbidden, 403": Case(_status(403, {"message": KEY * 3}), "[key][key][key]"),
    "no such path, 404": Case(_status(404, b"<html>not found</html>"), "<html>not found</html>"),
    "too many, 429, once": Case(_once(_status(429, Retry_After="0")), None),
    "too many, 429, always": Case(_status(429, Retry_After="0"), "answers 429"),
    "too many, 429, come in an hour": Case(_status(429, Retry_After="3600"), "asks to wait 3,600 seconds"),
    "too many, 429, come in 2200": Case(
        _status(429, Retry_After="Wed, 01 Jan 2200 00:00:00 GMT"), "asks to wait"
    ),
    "too many, 429, come soon": Case(_once(_status(429, Retry_After="soon")), None),
    "broken, 500": Case(_status(500, {"detail": "CUDA out of memory"}), "answers 500: CUDA out of memory"),
    "bad gateway, 502": Case(_status(502, b"<html>" + b"x" * 5000), "answers 502"),
    "overloaded, 503, once": Case(_once(_status(503)), None),
    "gateway timeout, 504": Case(_status(504, b""), "answers 504: no reason"),
    # what it says
    "nothing": Case(_raw(""), "no JSON"),
    "a page": Case(_raw("<!doctype html><p>Welcome"), "no JSON"),
    "a list": Case(_raw("[1, 2]"), "where an object belongs"),
    "a number": Case(_raw("17"), "where an object belongs"),
    "nested without end": Case(_raw("[" * 100_000), "no JSON"),
    "no UTF-8": Case(lambda answer: answer.send(b'{"a": "\xff\xfe"}'), "no JSON"),
    "an error with status 200": Case(_raw('{"error": {"message": "slot is gone"}}'), "answers without"),
    "no probabilities": Case(_drop("completion_probabilities"), "answers without completion_probabilities"),
    "an empty list": Case(
        _changed(lambda d: d.__setitem__("completion_probabilities", [])), "answers without"
    ),
    "no list of tokens": Case(_drop("completion_probabilities", "top_logprobs"), "answers without"),
    "a text for a list": Case(
        _changed(lambda d: d["completion_probabilities"][0].__setitem__("top_logprobs", "x")), NOT_USED
    ),
    "an empty list of tokens": Case(
        _changed(lambda d: d["completion_probabilities"][0].__setitem__("top_logprobs", [])), "names none"
    ),
    # its numbers
    "NaN": Case(_one("NaN"), "no JSON"),
    "too large for a float": Case(_one("1e999"), "that is none"),
    "a log-probability as text": Case(_first("logprob", "-1.5"), "that is none"),
    "a log-probability of null": Case(_first("logprob", None), "answers without"),
    "true for a log-probability": Case(_first("logprob", True), "that is none"),
    "a log-probability above 0": Case(_first("logprob", 2.0), "that is none"),
    "probabilities above 1 together": Case(_every(-0.01), "sum to"),
    "probabilities far below 1 together": Case(_every(-100.0), "cannot sum to 1"),
    "nothing but impossible tokens": Case(_one("-1e999"), "names none"),
    # its tokens
    "an id beyond the vocabulary": Case(_first("id", 70_000), "outside the vocabulary"),
    "an id below 0": Case(_first("id", -1), "outside the vocabulary"),
    "an id that is no whole number": Case(_first("id", 1.5), "no whole number"),
    "an id beyond 64 bits": Case(_first("id", 1 << 80), "no whole number"),
    "no id": Case(_changed(lambda d: _top(d)[0].pop("id")), "answers without id"),
    "a token twice": Case(_changed(_twice), "lists a token twice"),
    "bytes that are none": Case(_first("bytes", [300]), "no bytes"),
    "another prefix was read": Case(_changed(lambda d: d.__setitem__("tokens_evaluated", 3)), "tokens where"),
}
