"""Safetensors headers and indexes: read as the safetensors library does, and refused with one line."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenglass.errors import ModelDamaged, ModelNotFound
from tokenglass.files.safetensors import (
    BITS,
    INDEX,
    SINGLE,
    read_folder,
    read_header,
    read_index,
    shard_names,
)
from tokenglass.files.tensors import map_tensor

SOUND = {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}


def packed(header: Any, data: bytes = bytes(16), length: int | None = None) -> bytes:
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(body) if length is None else length) + body + data


def tensor(dtype: Any = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def write(folder: Path, name: str, tensors: dict[str, int]) -> Path:
    """A shard whose float32 vectors have the given lengths."""
    header, end = {}, 0
    for key, length in tensors.items():
        header[key] = tensor(shape=[length], offsets=[end, end + 4 * length])
        end += 4 * length
    (folder / name).write_bytes(packed(header, bytes(end)))
    return folder / name


def test_read_header_equals_the_library(tmp_path: Path) -> None:
    """Same names, shapes and bytes as the library's own writer, for every dtype torch can give it."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    kinds = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    kinds |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
    kinds |= {"BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
    tensors = {f"w.{name}": torch.arange(6).reshape(2, 3).to(kind) for name, kind in kinds.items()}
    tensors |= {"scalar": torch.tensor(1.5), "nothing": torch.zeros(0, 4)}
    path = tmp_path / SINGLE
    save_file(tensors, path, metadata={"format": "pt", "note": "é\x1b"})

    header = read_header(path)
    assert header.metadata == {"format": "pt", "note": "é\x1b"}
    assert header.tensors.keys() == tensors.keys()
    for name, value in tensors.items():
        info = header.tensors[name]
        assert info.shape == tuple(value.shape) and info.size == value.numel()
        assert map_tensor(info, path).tobytes() == bytes(value.untyped_storage())
        assert info.dtype == name.removeprefix("w.") or not name.startswith("w.")


def test_read_header_random_files_as_the_library(tmp_path: Path) -> None:
    numpy_file = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(11)
    for round_ in range(20):
        shapes = [tuple(rng.integers(0, 5, rng.integers(0, 4))) for _ in range(rng.integers(1, 6))]
        arrays = {f"{round_}/{n}": rng.standard_normal(shape).astype("f4") for n, shape in enumerate(shapes)}
        path = tmp_path / "random.safetensors"
        numpy_file.save_file(arrays, path)
        header = read_header(path)
        assert {name: info.shape for name, info in header.tensors.items()} == {
            n: a.shape for n, a in arrays.items()
        }
        assert all(map_tensor(header.tensors[n], path).tobytes() == a.tobytes() for n, a in arrays.items())


def test_read_header_padded_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "padded.safetensors"
    path.write_bytes(packed(json.dumps(SOUND).encode() + b"   \n"))
    assert read_header(path).tensors["a"].shape == (2, 2)


def bad(**entry: Any) -> bytes:
    return packed({"a": tensor(**entry)})


CASES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "its header needs 8 bytes of 0 (a cut download?)"),
    "seven bytes": (bytes(7), "its header needs 8 bytes of 7"),
    "header of no length": (packed(b"", b""), "its header begins with b'', not with b'{'"),
    "header behind the end": (packed(SOUND, length=10_000), "its header needs 10,008 bytes of 8"),
    "header near 2**64": (
        packed(SOUND, length=(1 << 64) - 1),
        "its header needs 18,446,744,073,709,551,623 bytes",
    ),
    "not an object": (packed([1]), "its header begins with b'[', not with b'{'"),
    "leading space": (packed(b" {}"), "its header begins with b' '"),
    "not JSON": (packed(b'{"a": }'), "it is not JSON (line 1: Expecting value)"),
    "two documents": (packed(b"{} {}"), "it is not JSON (line 1: Extra data)"),
    "not UTF-8": (packed(b'{"\xff": 1}'), "byte 2 is not UTF-8"),
    "number of 5,000 digits": (packed(b'{"a": ' + b"1" * 5000 + b"}"), "a number of more than 4,300 digits"),
    "nested lists": (packed(b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"), "nested deeper than 32"),
    "nested objects": (packed(b'{"a":' * 20_000 + b"1" + b"}" * 20_000), "nested deeper than 32"),
    "too many entries": (packed(b'{"a":[' + b"1," * 600_000 + b"1]}"), "more entries than any known model"),
    "name twice": (packed(b'{"a": 1, "b": 2, "a": 3}'), "'a' appears twice"),
    "field twice": (packed(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "'dtype' appears twice"),
    "metadata a list": (packed({**SOUND, "__metadata__": []}), "__metadata__ is not an object of texts"),
    "metadata numbers": (
        packed({**SOUND, "__metadata__": {"a": 1}}),
        "__metadata__ is not an object of texts",
    ),
    "no fields": (packed({"a": {}}), "tensor 'a' does not have exactly dtype, shape and data_offsets"),
    "one field more": (packed({"a": {**tensor(), "x": 1}}), "tensor 'a' does not have exactly"),
    "tensor a number": (packed({"a": 1}), "tensor 'a' does not have exactly"),
    "dtype unknown": (bad(dtype="F31"), "tensor 'a' has dtype 'F31', which is unknown"),
    "dtype a number": (bad(dtype=1), "tensor 'a' has dtype '1', which is unknown"),
    "dtype with an escape": (bad(dtype="\x1b[1m"), "has dtype '\\x1b[1m'"),
    "shape negative": (bad(shape=[-4]), "tensor 'a' has the impossible shape '[-4]'"),
    "shape a float": (bad(shape=[4.0]), "impossible shape '[4.0]'"),
    "shape true": (bad(shape=[True, 4]), "impossible shape '[True, 4]'"),
    "shape of nine": (bad(shape=[1] * 9), "impossible shape '[1, 1, 1,"),
    "shape overflows": (bad(shape=[1 << 61, 1 << 61, 8]), "tensor 'a' has 16 bytes, which F32"),
    "offsets of one": (bad(offsets=[0]), "impossible offsets '[0]'"),
    "offsets backwards": (bad(offsets=[16, 0]), "impossible offsets '[16, 0]'"),
    "offsets NaN": (
        packed(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[NaN,16]}}'),
        "impossible offsets '[nan, 16]'",
    ),
    "offsets behind the end": (bad(shape=[8], offsets=[0, 32]), "tensor 'a' ends at byte"),
    "size of another dtype": (bad(dtype="F16"), "tensor 'a' has 16 bytes, which F16 '[4]' has not"),
    "a hole first": (packed({"a": tensor(shape=[2], offsets=[8, 16])}), "so 8 are unaccounted for"),
    "a hole between": (
        packed({"a": tensor(shape=[1], offsets=[0, 4]), "b": tensor(shape=[2], offsets=[8, 16])}),
        "its tensors take 12 bytes of 16, so 4 are unaccounted for",
    ),
    "bytes left over": (packed(SOUND, bytes(17)), "its tensors take 16 bytes of 17"),
    "a byte short": (packed(SOUND, bytes(15)), "tensor 'a' ends at byte"),
    "overlap": (
        packed({"a": tensor(shape=[3], offsets=[0, 12]), "b": tensor(shape=[2], offsets=[8, 16])}),
        "tensor 'b' overlaps 'a'",
    ),
    "same place": (packed({"a": tensor(), "b": tensor()}), "overlaps"),
}


@pytest.mark.parametrize("case", CASES)
def test_read_header_refuses(case: str, tmp_path: Path) -> None:
    data, message = CASES[case]
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelDamaged) as caught:
        read_header(path)
    line = str(caught.value)
    assert message in line
    assert line.startswith("bad.safetensors is damaged: ") and line.isprintable() and ";" in line


def test_read_header_refuses_a_header_above_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "sparse.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 1 << 38))
        file.truncate(1 << 40)
    with pytest.raises(ModelDamaged, match="more than the 100,000,000 allowed"):
        read_header(path)


def test_every_refused_file_is_refused_by_the_library_too(tmp_path: Path) -> None:
    """We never refuse what the reference reader accepts, except what only bounds memory or screens."""
    library = pytest.importorskip("safetensors")
    ours_alone = {"one field more"}
    for case, (data, _) in CASES.items():
        path = tmp_path / "bad.safetensors"
        path.write_bytes(data)
        try:
            with library.safe_open(path, framework="numpy"):
                assert case in ours_alone, case
        except library.SafetensorError:
            pass


def test_bits_of_every_dtype_the_library_knows(tmp_path: Path) -> None:
    """One tensor of 24 elements for each dtype opens in the library with exactly the size we compute."""
    library = pytest.importorskip("safetensors")
    for dtype, bits in BITS.items():
        path = tmp_path / "one.safetensors"
        path.write_bytes(packed({"a": tensor(dtype, [24], [0, 3 * bits])}, bytes(3 * bits)))
        assert read_header(path).tensors["a"].nbytes == 3 * bits
        with library.safe_open(path, framework="numpy") as opened:
            assert opened.get_slice("a").get_shape() == [24]


def sharded(folder: Path, **places: str) -> Path:
    """Two shards with a, b and c, and an index with some places changed."""
    write(folder, "model-00001-of-00002.safetensors", {"a": 3, "b": 1})
    write(folder, "model-00002-of-00002.safetensors", {"c": 2})
    one, two = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    weight_map = {"a": one, "b": one, "c": two} | places
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": weight_map}))
    return folder


def test_read_index_finds_every_weight_where_it_says(tmp_path: Path) -> None:
    headers = read_index(sharded(tmp_path))
    assert [header.path.name[:11] for header in headers] == ["model-00001", "model-00002"]
    assert [list(header.tensors) for header in headers] == [["a", "b"], ["c"]]
    assert [header.path for header in read_folder(tmp_path)] == [header.path for header in headers]


def test_read_index_follows_symlinks_as_the_hub_cache_has_them(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    snapshot = tmp_path / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    sharded(tmp_path / "blobs")
    for file in (tmp_path / "blobs").iterdir():
        os.symlink(file, snapshot / file.name)
    assert len(read_index(snapshot)) == 2


@pytest.mark.parametrize(
    ("places", "message"),
    [
        (
            {"c": "model-00001-of-00002.safetensors"},
            "'c' is not in model-00001-of-00002.safetensors, where the index",
        ),
        ({"d": "model-00002-of-00002.safetensors"}, "'d' is not in model-00002-of-00002.safetensors"),
        (
            {"a": "model-00002-of-00002.safetensors"},
            "model-00001-of-00002.safetensors holds 'a', which the index does not",
        ),
        ({"c": "../other.safetensors"}, "'c' lies in '../other.safetensors', which is not a plain file name"),
        ({"c": "/etc/x.safetensors"}, "which is not a plain file name"),
        ({"c": "sub/x.safetensors"}, "which is not a plain file name"),
        ({"c": "..\\x.safetensors"}, "which is not a plain file name"),
        ({"c": "C:x.safetensors"}, "which is not a plain file name"),
        ({"c": ".hidden.safetensors"}, "which is not a plain file name"),
        ({"c": "pytorch_model.bin"}, "'pytorch_model.bin', which is not a plain file name"),
        ({"c": "x\x1b.safetensors"}, "'x\\x1b.safetensors', which is not a plain file name"),
        ({"c": 7}, "'7', which is not a plain file name"),
    ],
)
def test_read_index_refuses(places: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged) as caught:
        read_index(sharded(tmp_path, **places))
    assert message in str(caught.value) and str(caught.value).isprintable()


def test_read_index_missing_shard(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"model-.*cannot be read"):
        read_index(sharded(tmp_path, c="model-00003-of-00003.safetensors"))


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {}}])
def test_shard_names_refuses_what_is_no_index(index: Any, tmp_path: Path) -> None:
    path = tmp_path / INDEX
    path.write_text(json.dumps(index))
    with pytest.raises(ModelDamaged, match="it has no weight_map"):
        shard_names(path)


def test_read_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"has neither model\.safetensors nor"):
        read_folder(tmp_path)
