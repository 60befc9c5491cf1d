"""GGUF headers: a bounded reader in pure Python that runs before anything else touches the file.

Knows what the container is made of (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) and nothing
about what a model does with it; `check_model` looks at the values. Whatever the bytes, reading ends within a
second and about 170 MB, with a header or with a one-line `ModelDamaged`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from tokenglass.files.ggml import GGML_TYPES
from tokenglass.files.gguf_check import check_model
from tokenglass.files.gguf_cursor import MAX_HEADER, MIB, Cursor, NeedMore, key_label
from tokenglass.files.tensors import TensorInfo, check_layout, open_model, shown

__all__ = ["GgufHeader", "check_model", "read_header"]

FIRST_READ = 2 * MIB  # holds the default model's header; a larger one is read on and parsed again
MAX_KEYS = 4_096
MAX_TENSORS = 32_768
MAX_KEY = 65_535  # the format's own limit
MAX_TENSOR_NAME = 128  # ggml's own is 64, 128 in some builds
MAX_DIMS = 4
MAX_ALIGNMENT = 65_536

_Row = tuple[
    str, int, tuple[int, ...], int
]  # of the tensor table: name, type, shape, offset behind the header


@dataclass(frozen=True)
class GgufHeader:
    """Everything a GGUF file says before its weights.

    Attributes:
        path: the file.
        size: its length in bytes.
        version: 2 or 3.
        alignment: of tensor data, in bytes.
        metadata: key -> Python value; treat it as read-only. An array of texts is a list[str], where bytes
            that are not UTF-8 stand as lone surrogates, as `.decode("utf-8", "surrogateescape")` makes them.
            An array of numbers is a numpy array. A single text has such bytes as backslash escapes.
        tensors: name -> where it lies; every one inside the file, none overlapping.
    """

    path: Path
    size: int
    version: int
    alignment: int
    metadata: dict[str, Any] = field(repr=False)
    tensors: dict[str, TensorInfo] = field(repr=False)

    @property
    def architecture(self) -> str:
        """The family as the file names it, such as "llama"; "" where it does not."""
        name = self.metadata.get("general.architecture", "")
        return name if isinstance(name, str) else ""

    def field(self, name: str, default: Any = None) -> Any:
        """A value of the architecture's own keys: `field("block_count")` reads "llama.block_count"."""
        return self.metadata.get(f"{self.architecture}.{name}", default)


_alive: WeakValueDictionary[tuple[object, ...], GgufHeader] = WeakValueDictionary()


def read_header(path: Path) -> GgufHeader:
    """Read and check the structure of a GGUF file's header; an unchanged file still in use is not read twice.

    Raises:
        ModelNotFound: the file is not there or may not be read.
        ModelDamaged: anything in it contradicts the format; says what and where.
    """
    path = Path(path)
    with open_model(path) as (file, size):
        state = os.fstat(file.fileno())
        key = (path, size, state.st_mtime_ns, state.st_ino, state.st_dev)
        header = _alive.get(key)
        if header is None:
            data = file.read(min(size, FIRST_READ))
            try:
                header = _parse(Cursor(path, size, data, last=len(data) == size))
            except NeedMore:
                data += file.read(min(size, MAX_HEADER) - len(data))
                header = _parse(Cursor(path, size, data, last=True))
            _alive[key] = header
    return header


def _parse(cursor: Cursor) -> GgufHeader:
    version = _version(cursor)
    n_tensors, n_keys = cursor.u64(), cursor.u64()
    cursor.limit(n_tensors, MAX_TENSORS, "tensors")
    cursor.limit(n_keys, MAX_KEYS, "keys")
    metadata = _metadata(cursor, n_keys)
    alignment = _alignment(cursor, metadata)
    rows = [_row(cursor) for _ in range(n_tensors)]
    start = -(-cursor.at // alignment) * alignment
    tensors = _placed(cursor, rows, start, alignment)
    check_layout(tensors.values(), start, cursor.size, cursor.path)
    return GgufHeader(cursor.path, cursor.size, version, alignment, metadata, tensors)


def _version(cursor: Cursor) -> int:
    magic = cursor.data[:4]
    if magic != b"GGUF":
        if not magic:
            raise cursor.wrong("it is empty")
        raise cursor.wrong(f"it begins with {magic!r}, not with b'GGUF'", "this may be another kind of file")
    cursor.at = 4
    version = cursor.u32()
    if version in (2 << 24, 3 << 24):
        raise cursor.wrong("it is a big-endian GGUF", "get the little-endian file")
    if version not in (2, 3):
        raise cursor.wrong(f"GGUF version {version} is unknown (2 and 3 are readable)", "convert it anew")
    return version


def _metadata(cursor: Cursor, n_keys: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index in range(n_keys):
        cursor.where = f"key {index + 1} of {n_keys}"
        key = cursor.name(MAX_KEY)
        cursor.where = key_label(key)
        if key in found:
            raise cursor.wrong(f"{cursor.where} appears twice")
        found[key] = cursor.value()
    return found


def _alignment(cursor: Cursor, metadata: dict[str, Any]) -> int:
    value = metadata.get("general.alignment", 32)
    if not (type(value) is int and 0 < value <= MAX_ALIGNMENT and value & (value - 1) == 0):
        text = shown(str(value), 20)
        raise cursor.wrong(f"general.alignment is {text}, not a power of 2 up to {MAX_ALIGNMENT:,}")
    return value


def _row(cursor: Cursor) -> _Row:
    cursor.where = "the tensor table"
    name = cursor.name(MAX_TENSOR_NAME)
    cursor.where = f"tensor {shown(name)}"
    n_dims = cursor.u32()
    cursor.limit(n_dims, MAX_DIMS, f"dimensions in {cursor.where}")
    dims = tuple(cursor.u64() for _ in range(n_dims))
    kind, offset = cursor.u32(), cursor.u64()
    return name, kind, dims[::-1], offset


def _placed(cursor: Cursor, rows: list[_Row], start: int, alignment: int) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for name, kind, shape, offset in rows:
        cursor.where = f"tensor {shown(name)}"
        if name in tensors:
            raise cursor.wrong(f"{cursor.where} appears twice")
        if offset % alignment:
            raise cursor.wrong(f"{cursor.where} lies at offset {offset:,}, not a multiple of {alignment}")
        dtype, nbytes = _extent(cursor, kind, shape)
        tensors[name] = TensorInfo(name, dtype, shape, start + offset, nbytes)
    return tensors


def _extent(cursor: Cursor, kind: int, shape: tuple[int, ...]) -> tuple[str, int]:
    """The name of a storage type, and the bytes a tensor of that shape takes."""
    if kind not in GGML_TYPES:
        raise cursor.wrong(f"{cursor.where} has type {kind}, which is unknown", "get another conversion")
    dtype, block, width = GGML_TYPES[kind]
    size = 1
    for length in shape:
        size *= length
    if not 0 < size < 1 << 62:
        raise cursor.wrong(f"{cursor.where} has the impossible shape {list(shape)}")
    if (shape[-1] if shape else 1) % block:
        raise cursor.wrong(f"{cursor.where} has a row length that is not a multiple of {dtype}'s {block}")
    return dtype, size // block * width
