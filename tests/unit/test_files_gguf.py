"""GGUF headers of sound files: read as gguf-py reads them, and built here for every other test of models."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenglass.errors import ModelDamaged
from tokenglass.files.ggml import BLOCKS, GGML_TYPES
from tokenglass.files.gguf import check_model, read_header
from tokenglass.files.tensors import map_file, map_tensor

U8, U32, I32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 5, 6, 7, 8, 9, 10


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return u64(len(data)) + data


def key(name: str | bytes, kind: int, payload: bytes) -> bytes:
    return text(name) + u32(kind) + payload


def number(name: str, value: int) -> bytes:
    return key(name, U32, u32(value))


def texts(name: str, values: list[str | bytes]) -> bytes:
    return key(name, ARRAY, u32(STRING) + u64(len(values)) + b"".join(map(text, values)))


def numbers(name: str, values: list[int], kind: int = I32) -> bytes:
    return key(name, ARRAY, u32(kind) + u64(len(values)) + b"".join(struct.pack("<i", v) for v in values))


def row(name: str | bytes, dims: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + u32(len(dims)) + b"".join(map(u64, dims)) + u32(kind) + u64(offset)


TOKENS: list[str | bytes] = ["<s>", "a", "b", "ab", "é"]


@dataclass
class Parts:
    """A small sound model of one block, in pieces that a test replaces one at a time."""

    magic: bytes = b"GGUF"
    version: int = 3
    n_tensors: int | None = None
    n_keys: int | None = None
    keys: dict[str, bytes] = field(
        default_factory=lambda: {
            "arch": key("general.architecture", STRING, text("llama")),
            "blocks": number("llama.block_count", 1),
            "width": number("llama.embedding_length", 32),
            "context": number("llama.context_length", 64),
            "heads": number("llama.attention.head_count", 4),
            "shared": number("llama.attention.head_count_kv", 2),
            "model": key("tokenizer.ggml.model", STRING, text("gpt2")),
            "tokens": texts("tokenizer.ggml.tokens", TOKENS),
            "types": numbers("tokenizer.ggml.token_type", [3, 1, 1, 1, 1]),
            "merges": texts("tokenizer.ggml.merges", ["a b"]),
            "bos": number("tokenizer.ggml.bos_token_id", 0),
            "eos": number("tokenizer.ggml.eos_token_id", 0),
        }
    )
    rows: dict[str, bytes] = field(
        default_factory=lambda: {
            "embedding": row("token_embd.weight", (32, 5), 0, 0),  # 5 x 32 float32 = 640 bytes
            "norm": row("blk.0.attn_norm.weight", (32,), 0, 640),
            "up": row("blk.0.ffn_up.weight", (32, 2), 3, 768),  # two Q4_1 blocks = 40 bytes
        }
    )
    data: bytes = bytes(range(256)) * 3 + bytes(40)

    def build(self) -> bytes:
        n_tensors = len(self.rows) if self.n_tensors is None else self.n_tensors
        n_keys = len(self.keys) if self.n_keys is None else self.n_keys
        head = self.magic + u32(self.version) + u64(n_tensors) + u64(n_keys)
        head += b"".join(self.keys.values()) + b"".join(self.rows.values())
        return head + bytes(-len(head) % 32) + self.data

    def write(self, folder: Path) -> Path:
        path = folder / "tiny.gguf"
        path.write_bytes(self.build())
        return path


def test_read_header_sound_file(tmp_path: Path) -> None:
    header = read_header(Parts().write(tmp_path))
    check_model(header)
    assert (header.version, header.alignment, header.architecture) == (3, 32, "llama")
    assert header.metadata["tokenizer.ggml.tokens"] == ["<s>", "a", "b", "ab", "é"]
    assert header.metadata["tokenizer.ggml.token_type"].tolist() == [3, 1, 1, 1, 1]
    assert header.field("block_count") == 1
    up = header.tensors["blk.0.ffn_up.weight"]
    assert (up.dtype, up.shape, up.nbytes, up.size) == ("Q4_1", (2, 32), 40, 64)
    assert up.offset + up.nbytes == header.size


def test_map_tensor_is_a_read_only_view_of_the_file(tmp_path: Path) -> None:
    path = Parts().write(tmp_path)
    norm = read_header(path).tensors["blk.0.attn_norm.weight"]
    raw = map_tensor(norm, map_file(path))
    assert raw.tobytes() == path.read_bytes()[norm.offset : norm.offset + 128]
    assert not raw.flags.writeable and not raw.flags.owndata
    assert map_tensor(norm, path).tobytes() == raw.tobytes()


def test_map_tensor_notices_a_file_that_shrank(tmp_path: Path) -> None:
    path = Parts().write(tmp_path)
    info = read_header(path).tensors["blk.0.ffn_up.weight"]
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelDamaged, match="cut short"):
        map_tensor(info, path)


def test_read_header_keeps_the_bytes_of_tokens_that_are_no_text(tmp_path: Path) -> None:
    """A byte-level token may be any bytes; a single value's are escaped, because it is only ever shown."""
    parts = Parts()
    parts.keys["tokens"] = texts("tokenizer.ggml.tokens", [b"\xff\xfe", b"\xe2\x82", "a", "b", ""])
    parts.keys["name"] = key("general.name", STRING, text(b"x\xff"))
    metadata = read_header(parts.write(tmp_path)).metadata
    found = [token.encode("utf-8", "surrogateescape") for token in metadata["tokenizer.ggml.tokens"]]
    assert found == [b"\xff\xfe", b"\xe2\x82", b"a", b"b", b""]
    assert metadata["general.name"] == "x\\xff"


def test_read_header_notices_a_changed_file(tmp_path: Path) -> None:
    """The header of a file in use is shared, and read again once the file is another one."""
    path = Parts().write(tmp_path)
    first = read_header(path)
    assert read_header(path) is first
    parts = Parts()
    parts.keys["more"] = number("general.more", 7)
    parts.write(tmp_path)
    assert read_header(path).metadata["general.more"] == 7


def test_read_header_larger_than_the_first_read(tmp_path: Path) -> None:
    """300,000 tokens of 10 bytes pass the first 2 MiB, so the rest is read and nothing is lost."""
    parts = Parts()
    many: list[str | bytes] = [f"{index:010}" for index in range(300_000)]
    parts.keys["tokens"] = texts("tokenizer.ggml.tokens", many)
    assert read_header(parts.write(tmp_path)).metadata["tokenizer.ggml.tokens"] == many


def test_read_header_all_value_types_as_gguf_py_writes_them(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "all.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    values: dict[str, Any] = {}
    scalars = {
        "uint8": 200,
        "int8": -3,
        "uint16": 60_000,
        "int16": -300,
        "uint32": 4_000_000_000,
        "int32": -5,
    }
    scalars |= {"float32": 0.5, "uint64": 1 << 63, "int64": -(1 << 62), "float64": 0.1, "bool": True}
    for kind, value in scalars.items():
        getattr(writer, f"add_{kind}")(f"x.{kind}", value)
        values[f"x.{kind}"] = value
    for name, array in {
        "ints": [1, -2],
        "floats": [0.5, 1.5],
        "bools": [True, False],
        "texts": ["", "ü"],
    }.items():
        writer.add_array(f"x.{name}", array)
        values[f"x.{name}"] = array
    rng = np.random.default_rng(5)
    arrays = {
        f"t{n}": rng.standard_normal(shape, dtype=np.float32)
        for n, shape in enumerate([(3,), (2, 5), (2, 3, 4)])
    }
    for name, array in arrays.items():
        writer.add_tensor(name, array)
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()

    header = read_header(path)
    for name, value in values.items():
        found = header.metadata[name]
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == value, name
    for name, array in arrays.items():
        assert header.tensors[name].shape == array.shape
        assert map_tensor(header.tensors[name], path).tobytes() == array.tobytes()


def test_read_header_embedded_model_as_gguf_py(smollm2_files: Any) -> None:
    gguf = pytest.importorskip("gguf")
    header = read_header(smollm2_files.path)
    check_model(header)
    reader = gguf.GGUFReader(smollm2_files.path)
    assert list(header.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        info = header.tensors[tensor.name]
        assert (info.offset, info.nbytes, info.dtype) == (
            tensor.data_offset,
            tensor.n_bytes,
            tensor.tensor_type.name,
        )
        assert info.shape == tuple(int(length) for length in reversed(tensor.shape))
    fields = {name: entry for name, entry in reader.fields.items() if not name.startswith("GGUF.")}
    assert header.metadata.keys() == fields.keys()
    for name, entry in fields.items():
        found = header.metadata[name]
        assert (found.tolist() if isinstance(found, np.ndarray) else found) == entry.contents(), name


def test_ggml_types_equal_gguf_py() -> None:
    gguf = pytest.importorskip("gguf")
    theirs = {kind.value: (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert {number: theirs.get(number) for number in GGML_TYPES} == GGML_TYPES
    assert BLOCKS["Q4_1"] == (32, 20)
