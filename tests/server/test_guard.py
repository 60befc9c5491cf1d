"""Every route and method, asked for by the wrong host, another site, and without the secret of this run."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from tests.server.world import HOST, TOKEN, Answer, asked, bench, guarded
from tokenglass.server.guard import HEADERS, MOST_BODY, MOST_HEADERS
from tokenglass.server.running import Address, is_loopback, listening
from tokenglass.workbench import OPERATIONS

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
# What a browser on another site, a name that was rebound, or a program that guesses would send.
FOREIGN: dict[str, dict[str, str]] = {
    "another host": {"host": "evil.example"},
    "the port of another": {"host": "127.0.0.1:8001"},
    "no port": {"host": "127.0.0.1"},
    "a name that was rebound": {"host": "localhost.evil.example:8000"},
    "another origin": {"origin": "http://evil.example"},
    "the origin of another port": {"origin": "http://127.0.0.1:9000"},
    "our host by another scheme": {"origin": f"https://{HOST}"},
    "no origin that has a name": {"origin": "null"},
    "another site": {"sec-fetch-site": "cross-site"},
    "another page of this machine": {"sec-fetch-site": "same-site"},
    "a made-up site": {"sec-fetch-site": "same-origin, cross-site"},
}
STRANGE: dict[str, dict[str, str]] = {
    "no token": {"authorization": ""},
    "the token of another run": {"authorization": "Bearer another-secret"},
    "the token as a password": {"authorization": f"Basic {TOKEN}"},
    "the token without its kind": {"authorization": TOKEN},
    "the token and more": {"authorization": f"Bearer {TOKEN}x"},
}


@pytest.fixture(scope="module")
def app() -> Any:
    return guarded(bench())


def addresses(app: Any) -> list[str]:
    found = [route.path for route in app._app.routes]
    assert {f"/api/{name}" for name in OPERATIONS} | {"/api/openapi.json"} <= set(found)
    return [*found, "/api", "/api/none", "/none", "//", "/../api/info", "/index.html/../../api/info", "*"]


def refused(answer: Answer, status: int) -> bool:
    """Turned away with one line by the guard itself."""
    return answer.status == status and set(answer.row["error"]) == {"type", "message"}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_every_route_refuses_other_sites(app: Any, headers: dict[str, str]) -> None:
    """The token is right in each case: a browser that has it must not lend it to another site."""
    for path, method in product(addresses(app), METHODS):
        assert refused(asked(app, method, path, headers=headers), 403), (method, path)


@pytest.mark.parametrize("headers", STRANGE.values(), ids=STRANGE)
def test_every_route_but_the_pages_own_files_wants_the_token(app: Any, headers: dict[str, str]) -> None:
    open_paths = app._open
    assert not [path for path in open_paths if path.startswith("/api")]
    for path, method in product(addresses(app), METHODS):
        if not (path in open_paths and method in ("GET", "HEAD")):
            assert refused(asked(app, method, path, headers=headers, token=None), 401), (method, path)


def test_two_of_a_header_are_refused(app: Any) -> None:
    """Which of them the application would read is nobody's guess."""
    twice = {
        "host": (HOST, 403),
        "origin": (f"http://{HOST}", 403),
        "authorization": (f"Bearer {TOKEN}", 401),
        "content-length": ("2", 413),
    }
    for name, (value, status) in twice.items():
        others = {
            "host": "evil.example",
            "origin": "null",
            "authorization": "Bearer x",
            "content-length": "3",
        }
        headers = [(name, value), (name, others[name])]
        assert refused(asked(app, "POST", "/api/info", b"{}", headers=headers), status), name


@pytest.mark.parametrize("headers", [*FOREIGN.values(), *STRANGE.values()], ids=[*FOREIGN, *STRANGE])
def test_a_websocket_is_refused_as_well(app: Any, headers: dict[str, str]) -> None:
    for path in addresses(app):
        assert asked(app, "GET", path, kind="websocket", headers=headers, token=None).status == 1008


def test_a_websocket_with_everything_right_finds_nothing(app: Any) -> None:
    for path in addresses(app):
        assert asked(app, "GET", path, kind="websocket").status != 101


def test_our_own_page_comes_in(app: Any) -> None:
    """The refusals above are not of everything."""
    own = [{}, {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]
    own += [{"host": "localhost:8000", "origin": "http://localhost:8000"}, {"host": "LOCALHOST:8000"}]
    for headers in own:
        assert asked(app, "POST", "/api/info", b"{}", headers=headers).status == 200
    assert asked(app, "GET", "/api/openapi.json").row["openapi"].startswith("3.")
    assert asked(app, "GET", "/", token=None).status == 200


def test_only_what_is_there_in_the_way_it_is_there(app: Any) -> None:
    for path, method in product(addresses(app), METHODS):
        answer = asked(app, method, path, b"{}")
        allowed = path.removeprefix("/api/") in OPERATIONS and method == "POST"
        allowed |= method in ("GET", "HEAD") and (path in app._open or path == "/api/openapi.json")
        assert (answer.status not in (404, 405)) == allowed, (method, path, answer.status)
        assert answer.status < 500


def test_every_answer_says_what_a_browser_may_do_with_it(app: Any) -> None:
    answers = [
        asked(app, "GET", "/", token=None),
        asked(app, "POST", "/api/info", b"{}"),
        asked(app, "POST", "/api/info", token=None),
        asked(app, "GET", "/none"),
        asked(app, "PUT", "/api/info"),
        asked(app, "POST", "/api/generate", b'{"prompt": "a", "config": {"max_new_tokens": 1}}'),
    ]
    assert {answer.status for answer in answers} == {200, 401, 404, 405}
    for answer in answers:
        assert HEADERS.items() <= answer.headers.items()
        assert "access-control-allow-origin" not in answer.headers
        assert ("no-store" in answer.headers["cache-control"]) or answer.headers["etag"]
    assert (
        "unsafe" not in HEADERS["content-security-policy"] and "*" not in HEADERS["content-security-policy"]
    )


def test_a_file_is_known_by_its_content(app: Any) -> None:
    first = asked(app, "GET", "/", token=None)
    again = asked(app, "GET", "/", token=None, headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


# ------------------------------------------------------------------------------------------------- sizes


def test_a_body_has_a_most(app: Any) -> None:
    """One byte below the bound is read and refused as what it is; one above is not read."""
    just = b'{"text": "' + b"x" * (MOST_BODY - 12) + b'"}'
    assert len(just) == MOST_BODY
    assert asked(app, "POST", "/api/tokenize", just).status == 400
    assert refused(asked(app, "POST", "/api/tokenize", just + b" "), 413)
    declared = {"content-length": str(MOST_BODY + 1)}
    assert refused(asked(app, "POST", "/api/tokenize", b"{}", headers=declared), 413)
    for nonsense in ("-1", "1e3", "", "２"):
        headers = {"content-length": nonsense.encode().decode("latin-1")}
        assert refused(asked(app, "POST", "/api/info", b"{}", headers=headers), 413), nonsense


def test_headers_have_a_most(app: Any) -> None:
    assert asked(app, "POST", "/api/info", b"{}", headers={"x": "y" * (MOST_HEADERS - 200)}).status == 200
    assert refused(asked(app, "POST", "/api/info", b"{}", headers={"x": "y" * MOST_HEADERS}), 431)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"text": "a", "text": "b"}', "'text' is given twice"),
        (b'{"prompt": "a", "config": {"top_k": 1, "top_k": 2}}', "'top_k' is given twice"),
        (b'{"u": NaN}', "NaN is no JSON number"),
        (b'{"u": -Infinity}', "-Infinity is no JSON number"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[]", "takes a JSON object"),
        (b'"text"', "takes a JSON object"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_body_that_is_none_is_said_in_a_line(app: Any, body: bytes, said: str) -> None:
    operation = "step" if b'"u"' in body or b'"n"' in body else "open" if b"config" in body else "tokenize"
    answer = asked(app, "POST", f"/api/{operation}", body)
    assert answer.status == 400
    assert said in answer.row["error"]["message"] and "\n" not in answer.row["error"]["message"]


def test_a_body_is_json_by_its_name_too(app: Any) -> None:
    """A form of another site can send text/plain without asking."""
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "x"):
        answer = asked(app, "POST", "/api/info", b"{}", headers={"content-type": kind})
        assert (answer.status, answer.row["error"]["type"]) == (415, "BadMediaType")


# ----------------------------------------------------------------------------------------------- address


def test_the_token_stands_where_no_browser_sends_it() -> None:
    address = Address("127.0.0.1", 1234, "s3cret")
    assert address.url == "http://127.0.0.1:1234/#token=s3cret"
    assert address.hosts == ["127.0.0.1:1234", "[::1]:1234", "localhost:1234"]
    assert Address("192.0.2.7", 1234, "x").hosts == ["192.0.2.7:1234"]
    assert Address("::1", 80, "x").site == "http://[::1]:80/"


def test_which_addresses_are_this_machines_own() -> None:
    assert [host for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8") if not is_loopback(host)] == []
    assert [host for host in ("0.0.0.0", "192.0.2.7", "::", "example.org", "") if is_loopback(host)] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_every_address_at_once_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="one address of this machine"):
        listening(host, 0)


def test_an_error_quotes_nothing_that_acts(app: Any) -> None:
    """What is quoted of a request goes through the gate that every screen has."""
    body = json.dumps({"\x1b[31m\u202e<script>": 1}).encode()
    message = asked(app, "POST", "/api/info", body).row["error"]["message"]
    assert message.isprintable() and "\\x1b" in message
