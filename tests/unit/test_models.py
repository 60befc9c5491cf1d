"""From a name to files: what is on this disk, what a person adds, what the list and the check say."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_files_gguf import Parts, key, number, text, texts
from tests.unit.test_files_safetensors import packed, sharded, tensor
from tests.unit.test_models_fetch import make_pin, make_wheel
from tokenglass import models
from tokenglass.errors import ModelDamaged, ModelNotFound, ModelUnsupported, TokenglassError, Unsupported
from tokenglass.files import cache, checking, embedded

TINY = Parts().build()
CONFIG = {"vocab_size": 4, "hidden_size": 2, "num_attention_heads": 1, "eos_token_id": 3}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, an empty hub cache, no network, and a small stand-in for the embedded model."""
    monkeypatch.setenv("TOKENGLASS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    wheel = make_wheel(
        tmp_path / "wheels", "tiny_model-1-py3-none-any.whl", "tiny_model/tiny.Q4_1.gguf", TINY
    )
    monkeypatch.setattr(embedded, "PINS", {"tiny": make_pin(wheel, "tiny_model/tiny.Q4_1.gguf", TINY)})
    return tmp_path / "home"


def make_folder(folder: Path, config: Any = CONFIG, rows: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    header = {"model.embed_tokens.weight": tensor(shape=[rows, 2], offsets=[0, rows * 8])}
    (folder / "model.safetensors").write_bytes(packed(header, bytes(rows * 8)))
    return folder


def add_tokenizer(folder: Path, n_tokens: int) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {f"t{n}": n for n in range(n_tokens)}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="t0")).save(
        str(folder / "tokenizer.json")
    )


def write(path: Path, data: bytes = TINY) -> Path:
    path.write_bytes(data)
    return path


def test_resolve_gguf_file(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.gguf")
    files = models.resolve(path)
    assert (files.name, files.kind, files.path, files.gguf, files.folder) == (
        str(path),
        "gguf",
        path,
        path,
        None,
    )
    assert (files.weights, files.config, files.n_bytes) == ((path,), None, len(TINY))
    assert files.sha256() == hashlib.sha256(TINY).hexdigest()


def test_resolve_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    for name in ("tokenizer.json", "generation_config.json", "merges.txt", "other.txt"):
        (folder / name).write_text("{}")
    files = models.resolve(str(folder))
    assert (files.kind, files.folder, files.gguf) == ("folder", folder, None)
    assert (files.config, files.generation_config) == (
        folder / "config.json",
        folder / "generation_config.json",
    )
    assert (files.tokenizer, files.tokenizer_config) == (folder / "tokenizer.json", None)
    assert [path.name for path in files.tokenizer_files] == ["tokenizer.json", "merges.txt"]


def test_resolve_sharded_folder_and_its_digest(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / "config.json").write_text("{}")
    files = models.resolve(folder)
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert [path.name for path in files.weights] == names
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    lines = f"{digests[0]}  {names[0]}\n{digests[1]}  {names[1]}\n"
    assert files.sha256() == hashlib.sha256(lines.encode()).hexdigest()


def test_resolve_folder_with_one_gguf(tmp_path: Path) -> None:
    write(tmp_path / "x.gguf")
    assert models.resolve(tmp_path).gguf == tmp_path / "x.gguf"


def test_resolve_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "x.gguf")
    assert models.resolve("~/x.gguf").path == tmp_path / "x.gguf"


REFUSED: dict[str, tuple[str, type[Exception], str]] = {
    "nothing": ("", ValueError, "source must name a model, got ''"),
    "NUL": ("a\0b", ValueError, "source must name a model, got 'a\\x00b'"),
    "pickle": ("{}/model.bin", ModelUnsupported, "'model.bin' is a pickle, which can run any code"),
    "pickle in capitals": ("{}/MODEL.PT", ModelUnsupported, "'MODEL.PT' is a pickle"),
    "pickle that is not there": ("{}/none.ckpt", ModelUnsupported, "'none.ckpt' is a pickle"),
    "safetensors alone": ("{}/w.safetensors", ModelUnsupported, "give the folder with its config.json"),
    "onnx": ("{}/w.onnx", ModelUnsupported, "'w.onnx' is no format tokenglass reads"),
    "text": ("{}/w.txt", ModelUnsupported, "'w.txt' is not a model; give a folder or a .gguf file"),
    "empty folder": (
        "{}/empty",
        ModelNotFound,
        "holds no model: neither model.safetensors with config.json nor",
    ),
    "folder of pickles": (
        "{}/pickles",
        ModelUnsupported,
        "its weights only as 'pytorch_model.bin', a pickle",
    ),
    "folder of two": (
        "{}/two",
        ModelUnsupported,
        "holds 2 GGUF files ('a.gguf', 'b.gguf'); name one of them",
    ),
    "no config": ("{}/bare", ModelNotFound, "has weights but no config.json; give the model's whole folder"),
    "missing file": ("{}/none.gguf", ModelNotFound, "there is no file or folder"),
    "missing relative": (
        "./none",
        ModelNotFound,
        "there is no file or folder './none'; check the path, or give",
    ),
    "missing name.gguf": ("none.gguf", ModelNotFound, "there is no file or folder 'none.gguf'"),
    "no id": ("a b", ModelNotFound, "there is no file or folder 'a b'"),
    "a prompt by mistake": ("word " * 2_000, ModelNotFound, "there is no file or folder 'word word"),
    "a path too long": ("./" + "x" * 5_000, ModelNotFound, "there is no file or folder './xxx"),
    "no such user": ("~nobody-of-that-name/x", ModelNotFound, "there is no file or folder '~nobody"),
    "escape": ("\x1b[2J", ModelNotFound, "there is no file or folder '\\x1b[2J'"),
    "server": (
        "http://127.0.0.1:8000/v1#x",
        Unsupported,
        "a model server is not supported: this version runs files",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_resolve_refuses(case: str, tmp_path: Path) -> None:
    for name in ("model.bin", "MODEL.PT", "w.safetensors", "w.onnx", "w.txt"):
        write(tmp_path / name, b"x")
    for name in ("empty", "pickles", "two", "bare"):
        (tmp_path / name).mkdir()
    write(tmp_path / "pickles" / "pytorch_model.bin")
    write(tmp_path / "two" / "b.gguf")
    write(tmp_path / "two" / "a.gguf")
    write(tmp_path / "bare" / "model.safetensors")
    source, kind, message = REFUSED[case]
    with pytest.raises(kind) as caught:
        models.resolve(source.format(tmp_path))
    assert message in str(caught.value) and str(caught.value).isprintable()


def test_resolve_folder_that_lacks_a_shard(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / "config.json").write_text("{}")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        ModelNotFound, match=r"lacks model-00002-of-00002\.safetensors, which its index lists"
    ):
        models.resolve(folder)


def cached_repository(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("b" * 40)
    (folder / "snapshots").mkdir()
    return make_folder(folder / "snapshots" / ("b" * 40))


def test_listing(home: Path, tmp_path: Path) -> None:
    assert [(row.name, row.where, row.present, row.path) for row in models.listing()] == [
        ("tiny", "embedded", False, None)
    ]
    parts = Parts()
    parts.keys["licence"] = key("general.license", 8, text("mit\x1b[2J"))
    models.add(write(tmp_path / "mine.gguf", parts.build()))
    models.add(write(tmp_path / "tiny.Q4_1.gguf"))
    cached_repository(tmp_path, "org/single").joinpath("README.md").write_text(
        "---\nlicense: cc-by-4.0\n---\n# x"
    )
    (tmp_path / "hub" / "models--org--broken" / "snapshots").mkdir(parents=True)
    rows = {row.name: row for row in models.listing()}
    assert {name: (row.where, row.licence) for name, row in rows.items()} == {
        "tiny": ("embedded", "MIT"),
        "mine": ("added", "mit\\x1b[2J"),
        "org/single": ("hub", "cc-by-4.0"),
    }
    assert all(row.present and row.path for row in rows.values())
    assert rows["tiny"].sha256 == hashlib.sha256(TINY).hexdigest() and rows["org/single"].sha256 == ""


def test_pull_refuses_a_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is already on this disk; pull takes smollm2 or a hub id"):
        models.pull(str(tmp_path))


def test_tokenizer_source(tmp_path: Path) -> None:
    models.add(write(tmp_path / "mine.gguf"))
    models.add(write(tmp_path / "tiny.Q4_1.gguf"))
    (tmp_path / "words").mkdir()
    assert models.tokenizer_source(tmp_path / "words") == tmp_path / "words", (
        "a folder without weights will do"
    )
    assert models.tokenizer_source("tiny") == models.path("tiny")
    assert models.tokenizer_source("mine") == models.path("mine")


def test_check_gguf(tmp_path: Path) -> None:
    models.add(write(tmp_path / "tiny.Q4_1.gguf"))
    checked = models.check("tiny")
    assert (checked.n_tensors, checked.vocab_size, checked.n_tokens, checked.pinned) == (3, 5, 5, True)
    assert checked.sha256 == hashlib.sha256(TINY).hexdigest()
    assert models.check(str(write(tmp_path / "x.gguf"))).pinned is False


def test_check_notices_what_size_and_time_hide(tmp_path: Path) -> None:
    """One byte is changed and the time put back: the remembered digest matches, the check reads again."""
    kept = models.add(write(tmp_path / "tiny.Q4_1.gguf")).path
    assert kept is not None
    state = kept.stat()
    with open(kept, "r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"x")
    os.utime(kept, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert models.resolve("tiny").path == kept
    with pytest.raises(
        ModelDamaged, match=r"tiny\.Q4_1\.gguf is damaged: its SHA-256 is [0-9a-f]{12}\.\.\., not"
    ):
        models.check("tiny")


def test_check_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    add_tokenizer(folder, 3)
    checked = models.check(str(folder))
    assert (checked.n_tensors, checked.vocab_size, checked.n_tokens) == (1, 4, 3)


@pytest.mark.parametrize(
    ("config", "rows", "tokens", "message"),
    [
        (CONFIG, 4, 5, "its tokenizer has 5 tokens for 4 rows of the embedding"),
        (CONFIG, 5, 4, "vocab_size is 4 but model.embed_tokens.weight is '[5, 2]'"),
        ({**CONFIG, "eos_token_id": 4}, 4, 4, "eos_token_id must be an integer in [0, 3], got '4'"),
        (
            {**CONFIG, "auto_map": {"AutoModel": "x.Y"}},
            4,
            4,
            "asks to run code that came with the model ('auto_map')",
        ),
    ],
)
def test_check_folder_refuses(config: Any, rows: int, tokens: int, message: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model", config, rows)
    add_tokenizer(folder, tokens)
    with pytest.raises(ModelUnsupported) as caught:
        models.check(str(folder))
    assert message in str(caught.value)


def test_check_folder_with_a_broken_tokenizer(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "model")
    (folder / "tokenizer.json").write_text('{"model": \x1b}')
    with pytest.raises(ModelDamaged, match=r"tokenizer\.json is not readable \('.*'\); get the file again"):
        models.check(str(folder))


def test_check_what_is_not_here() -> None:
    with pytest.raises(ModelNotFound, match="'org/none' is not on this disk"):
        models.check("org/none")


def test_digests_are_remembered_until_the_file_changes(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf")
    first = cache.digest_of(path)
    assert cache.known_digest(path) == first == hashlib.sha256(TINY).hexdigest()
    path.write_bytes(TINY + b"x")
    assert cache.known_digest(path) == "" and cache.digest_of(path) != first
    for content in ("", "[]", "{", '{"a": 1}', "[" * 100_000, json.dumps({str(path): [1, 2, 3, 4]})):
        (home / "digests.json").write_text(content)
        assert cache.digest_of(path) == hashlib.sha256(TINY + b"x").hexdigest(), "a damaged note is no harm"


def test_checked_gguf(tmp_path: Path) -> None:
    files = models.resolve(write(tmp_path / "x.gguf"))
    assert checking.checked_gguf(files).field("block_count") == 1
    parts = Parts()
    parts.keys["bos"] = number("tokenizer.ggml.bos_token_id", 9)
    files = models.resolve(write(tmp_path / "y.gguf", parts.build()))
    with pytest.raises(ModelDamaged, match="bos_token_id"):
        checking.checked_gguf(files)


def test_errors_are_one_line_whatever_the_file_is_called(tmp_path: Path) -> None:
    parts = Parts()
    parts.keys["tokens"] = texts("tokenizer.ggml.tokens", ["\n"])
    for name, data in {"a\x1b\nb.gguf": b"x", "\u202egpj.gguf": parts.build()}.items():
        files = models.resolve(write(tmp_path / name, data))
        with pytest.raises(TokenglassError) as caught:
            checking.checked_gguf(files)
        assert str(caught.value).isprintable() and "\u202e" not in str(caught.value)


def test_the_embedded_pin_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pin = embedded.SMOLLM2
    assert (pin.wheel_sha256[:8], pin.sha256[:8]) == ("bcc81830", "b179c952")
    assert (pin.wheel_bytes, pin.n_bytes, pin.file) == (
        92_871_040,
        98_362_432,
        "SmolLM2-135M-Instruct.Q4_1.gguf",
    )
