"""One question to a server, one answer: with timeouts, bounded retries, size limits, and errors in one line.

Knows HTTP and JSON, not what is asked. Every answer is untrusted: redirects are refused, bodies are read up
to a limit and a deadline, and what a server says is quoted safely and without the user's key.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from tokenglass.engines.server.address import Address
from tokenglass.errors import EngineError, MissingDependency, RemoteError
from tokenglass.text import safe_line

if TYPE_CHECKING:
    import httpx

JsonDict = dict[str, Any]
_MOST_BYTES = 64 << 20  # a vocabulary of 250,000 tokens with a probability each takes 25 MB
_MOST_QUOTED = 160
_WORTH_ANOTHER_TRY = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = range(300, 400)


@dataclass(frozen=True)
class Patience:
    """How long to wait, and how often to try.

    Attributes:
        connect_s: for a connection.
        silence_s: between two pieces of an answer; a long prompt takes its time to be read.
        answer_s: for a whole answer.
        tries: attempts at one question.
        pause_s: before the second try; twice as long before each further one, and a random half more or less.
        longest_pause_s: a server that asks to wait longer is not waited for.
    """

    connect_s: float = 5.0
    silence_s: float = 300.0
    answer_s: float = 600.0
    tries: int = 4
    pause_s: float = 0.25
    longest_pause_s: float = 30.0


class Refused(RemoteError):
    """The server answered that it will not do what was asked.

    Attributes:
        status: of the answer.
        said: its reason.
    """

    def __init__(self, message: str, status: int, said: str) -> None:
        self.status, self.said = status, said
        super().__init__(message)


class _Passing(Exception):
    """A failure that may be over at the next try; `wait` seconds from now, where the server said so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        self.reason, self.wait = reason, wait
        super().__init__(reason)


class Transport:
    """A line to one server. Safe to use from several threads.

    Args:
        address: where it is.
        patience: how long to wait.
        revived: called when no connection can be made or one broke; where it returns an address, the server
            lives there from now on.
    """

    def __init__(
        self,
        address: Address,
        patience: Patience | None = None,
        revived: Callable[[], Address | None] = lambda: None,
    ) -> None:
        self.address = address
        self.patience = patience or Patience()
        self._revived = revived
        self._client = self._opened()

    def __repr__(self) -> str:
        return f"<Transport to {self.address.shown}>"

    def close(self) -> None:
        """Close all connections; no question can be asked afterwards."""
        self._client.close()

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._client.is_closed

    def _opened(self) -> httpx.Client:
        try:
            import httpx
        except ImportError as error:
            raise MissingDependency("a model server", "pip install 'tokenglass[server]'") from error
        patience = self.patience
        return httpx.Client(
            timeout=httpx.Timeout(patience.silence_s, connect=patience.connect_s),
            follow_redirects=False,
            trust_env=not self.address.is_loopback,  # a proxy cannot reach this machine's own ports
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32),
        )

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> JsonDict:
        """The JSON object that a path answers: to a GET, or to a POST of `body`.

        Raises:
            Refused: the server says that it will not.
            RemoteError: it cannot be reached, or its answer cannot be read; says so in one line.
            EngineError: after `close`.
        """
        patience, failed = self.patience, ""
        wait: float | None = 0.0
        for attempt in range(patience.tries):
            time.sleep(wait or 0.0)
            try:
                return self._once(path, body)
            except _Passing as failure:
                failed, wait = failure.reason, failure.wait
            if wait is None:
                wait = patience.pause_s * 2**attempt * random.uniform(0.5, 1.5)
            if wait > patience.longest_pause_s:
                raise RemoteError(
                    f"{self._name} asks to wait {wait:,.0f} seconds ({failed}); try again later"
                )
        raise RemoteError(f"{self._name} {failed}; tried {patience.tries} times, {self._advice}")

    @property
    def _name(self) -> str:
        return f"the server at {safe_line(self.address.root)}"

    @property
    def _advice(self) -> str:
        return "see whether it runs, and try again"

    def _once(self, path: str, body: Mapping[str, Any] | None) -> JsonDict:
        import httpx

        if self._client.is_closed:
            raise EngineError("this engine was closed; load the model again")
        headers = {"Accept": "application/json"}
        if self.address.key:
            headers["Authorization"] = f"Bearer {self.address.key}"
        failure: Exception
        try:
            with self._client.stream(
                "GET" if body is None else "POST", self.address.root + path, json=body, headers=headers
            ) as response:
                return self._read(response, path)
        except httpx.TimeoutException:
            failure = _Passing("does not answer in time")
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            self.address = self._revived() or self.address
            connect = isinstance(error, httpx.ConnectError)
            failure = _Passing("cannot be reached" if connect else "broke off in mid-answer")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            failure = RemoteError(f"{self._name} sent no HTTP answer: {self._quoted(str(error))}")
        raise failure  # out here, where it does not hang on to an exception that holds the request's headers

    def _read(self, response: httpx.Response, path: str) -> JsonDict:
        status = response.status_code
        if status in _REDIRECTS:
            raise RemoteError(
                f"{self._name} points elsewhere for {path} (status {status}), which is never followed; "
                "give the address it really has"
            )
        data = self._body(response)
        if status >= 400:
            said = self._quoted(_reason(data))
            if status in _WORTH_ANOTHER_TRY:
                raise _Passing(f"answers {status}: {said}", _retry_after(response.headers.get("retry-after")))
            raise Refused(f"{self._name} refuses {path} with {status}: {said}{_hint(status)}", status, said)
        try:
            answer = json.loads(data, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise RemoteError(f"{self._name} answers {path} with something that is no JSON") from None
        if not isinstance(answer, dict):
            raise RemoteError(
                f"{self._name} answers {path} with a {type(answer).__name__} where an object belongs"
            )
        return answer

    def _body(self, response: httpx.Response) -> bytes:
        """The whole body, up to a size and a deadline: only here is a trickle bounded."""
        deadline = time.monotonic() + self.patience.answer_s
        pieces, size = list[bytes](), 0
        for piece in response.iter_bytes():
            size += len(piece)
            pieces.append(piece)
            if size > _MOST_BYTES:
                raise RemoteError(
                    f"{self._name} answers with more than {_MOST_BYTES >> 20} MiB; that is too much"
                )
            if time.monotonic() > deadline:
                raise _Passing("does not answer in time")
        return b"".join(pieces)

    def _quoted(self, text: str) -> str:
        """What a server said: safe to print, short, and without the key, should it repeat that."""
        if self.address.key:
            text = text.replace(self.address.key, "[key]")
        short = text if len(text) <= _MOST_QUOTED else text[:_MOST_QUOTED] + "…"
        return safe_line(" ".join(short.split())) or "no reason"


def _no_constant(name: str) -> float:
    """JSON has no NaN and no infinity, and no log-probability is one."""
    raise ValueError(name)


def _reason(data: bytes) -> str:
    """What an error's body says, as the kinds of servers put it."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return data[: 1 << 16].decode("utf-8", "replace")
    for name in ("error", "message", "detail"):
        while isinstance(found, dict) and name in found:
            found = found[name]
    return found if isinstance(found, str) else json.dumps(found)


def _hint(status: int) -> str:
    return "; put the key into TOKENGLASS_API_KEY and try again" if status in (401, 403) else ""


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a Retry-After header in either of its two forms."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), 1e9)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None
