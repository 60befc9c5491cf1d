"""What may stand where a model is expected: refused at once, in one line that says what to do."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import tokenglass as tg
from tokenglass.errors import ModelDamaged, ModelNotFound, ModelUnsupported, TokenglassError

posix = pytest.mark.skipif(os.name != "posix", reason="devices, fifos and links are a POSIX thing")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with everything that may stand where a model is expected."""
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "a\nb.gguf").write_bytes(b"x\n")
    for name in ("x.bin", "x.pt", "x.safetensors", "x.txt"):
        (tmp_path / name).write_bytes(b"\x80\x04x.")
    for name in ("nothing", "pickled", "no_config", "huge_header"):
        (tmp_path / name).mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04x.")
    (tmp_path / "pickled" / "config.json").write_text("{}")
    (tmp_path / "no_config" / "model.safetensors").write_bytes(bytes(8))
    (tmp_path / "huge_header" / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "huge_header" / "model.safetensors").write_bytes(b"\xff" * 7 + b"\x7f{}")
    if os.name == "posix":
        os.mkfifo(tmp_path / "fifo.gguf")
        (tmp_path / "endless.gguf").symlink_to("/dev/zero")
        (tmp_path / "loop1").symlink_to("loop2")
        (tmp_path / "loop2").symlink_to("loop1")
        (tmp_path / "nothing" / "again").symlink_to(".")
    return tmp_path


NO_MODELS = {
    "empty.gguf": (ModelDamaged, "it is empty"),
    "folder.gguf": (ModelNotFound, "holds no model"),
    "a\nb.gguf": (ModelDamaged, "begins with b'x"),
    "x.bin": (ModelUnsupported, "is a pickle"),
    "x.pt": (ModelUnsupported, "is a pickle"),
    "x.safetensors": (ModelUnsupported, "holds weights alone"),
    "x.txt": (ModelUnsupported, "is not a model"),
    "nothing": (ModelNotFound, "holds no model"),
    "pickled": (ModelUnsupported, "a pickle, which can run any code"),
    "no_config": (ModelNotFound, "no config.json"),
    "huge_header": (ModelDamaged, "bytes of 10"),
    "not_there": (ModelNotFound, "there is no file or folder"),
}
POSIX_ONLY = {
    "fifo.gguf": (ModelNotFound, "not a file"),
    "endless.gguf": (ModelNotFound, "not a file"),
    "loop1": (ModelNotFound, "leads nowhere"),
    "nothing/again/again": (ModelNotFound, "holds no model"),
}


@pytest.mark.parametrize("name", [*NO_MODELS, *(pytest.param(name, marks=posix) for name in POSIX_ONLY)])
def test_what_is_no_model_is_refused_at_once(place: Path, name: str) -> None:
    kind, says = (NO_MODELS | POSIX_ONLY)[name]
    started = time.perf_counter()
    with pytest.raises(kind) as refused:
        tg.load(place / name)
    assert says in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(TokenglassError) as refused:
        tg.load_tokenizer(place / name)
    assert "\n" not in str(refused.value)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("source", "kind", "says"),
    [
        ("", ValueError, "source must name a model"),
        ("a\0b", ValueError, "source must name a model"),
        ("x" * 5000, ModelNotFound, "check the path"),
        ("a\ud800", ModelNotFound, "check the path"),
        ("\x1b[31m", ModelNotFound, r"'\x1b[31m'"),
        ("file:///etc/passwd", ModelNotFound, "no file or folder"),
        ("/dev/zero", ModelUnsupported, "is not a model"),
    ],
    ids=lambda value: ascii(value)[:20] if isinstance(value, str) else "",
)
def test_sources_that_name_nothing(source: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as refused:
        tg.load(source)
    assert says in str(refused.value) and len(str(refused.value)) < 300
    with pytest.raises((TokenglassError, ValueError)):
        tg.load_tokenizer(source)


def test_a_revision_where_there_are_none(place: Path) -> None:
    """Taking a revision and loading something else would be a wrong number without a word."""
    for source in ("smollm2", str(place / "empty.gguf"), str(place / "nothing")):
        for call in (tg.load, tg.load_tokenizer):
            with pytest.raises(ValueError, match="leave revision out"):
                call(source, revision="main")


@pytest.mark.parametrize(
    "options",
    [{"engine": 5}, {"precision": "half"}, {"precision": None}]
    + [{"threads": value} for value in (0, -1, 1.5, 10**9, "2")],
    ids=str,
)
def test_bad_options_of_load(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        tg.load("smollm2", **options)


@pytest.fixture(scope="module")
def copied(smollm2_files: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the embedded model's file that a test may damage and must mend."""
    path = tmp_path_factory.mktemp("damaged") / "copy.gguf"
    shutil.copyfile(smollm2_files.path, path)
    return path


CUTS = [4, 100, 1_000_000, 3_000_000, 98_000_000]


@pytest.mark.parametrize("size", CUTS)
def test_a_cut_file_says_where(copied: Path, size: int) -> None:
    short = copied.with_name("cut.gguf")
    with copied.open("rb") as whole:
        short.write_bytes(whole.read(size))
    started = time.perf_counter()
    with pytest.raises(ModelDamaged, match=r"cut\.gguf is damaged: .* of [0-9,]+ .*get the file again"):
        tg.load(short)
    assert time.perf_counter() - started < 5


def test_a_flipped_byte_is_an_answer_or_one_line(copied: Path) -> None:
    """Bytes of the header, tensor table and vocabulary set to extremes, one place at a time.

    A flip inside a name or a token's text cannot be told from another model; all others are refused.
    """
    from tokenglass.files import gguf

    header = gguf.read_header(copied)
    end = min(tensor.offset for tensor in header.tensors.values())
    draw = random.Random(20)
    refused = 0
    with copied.open("r+b") as file:
        table = _offset_of(file.read(end), b"token_embd.weight")
        places = [draw.randrange(300) for _ in range(40)] + [
            draw.randrange(table - 8, end) for _ in range(40)
        ]
        for place in places:
            width = draw.choice([1, 4, 8])
            file.seek(place)
            before = file.read(width)
            _overwrite(file, place, draw.choice([b"\xff", b"\0", b"\x7f", b"\x80"]) * width)
            try:
                gguf.check_model(gguf.read_header(copied))
            except TokenglassError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) < 400
            finally:
                _overwrite(file, place, before)
    assert refused > len(places) // 3
    gguf.check_model(gguf.read_header(copied))


def _offset_of(data: bytes, name: bytes) -> int:
    offset = data.index(name)
    assert data.count(name) == 1
    return offset


def _overwrite(file: Any, place: int, data: bytes) -> None:
    file.seek(place)
    file.write(data)
    file.flush()
