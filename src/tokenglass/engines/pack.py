"""Graphs and repacked weights kept from one start to the next, so that a warm start builds nothing.

One file a model and precision in the user's cache: a JSON header, then the serialised graphs and the body's
arrays, 64-byte aligned and mapped rather than read. The header carries a digest of everything after it, which
is checked while the sessions are being made; a file that fails is thrown away and made again.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import struct
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.engines.nodes import Part

MAGIC = b"tgpack02"
LARGEST_HEADER = 1 << 22
ALIGNMENT = 64
KEPT = 8  # packs; a model of 7 billion parameters has one of 4 GB
Array = NDArray[Any]


class Pack:
    """A mapped pack file.

    Attributes:
        body: graph and arrays of the body.
        head_model: the head's graph; its weights are made from the model file.
    """

    def __init__(self, path: Path) -> None:
        data = self._map = np.memmap(path, dtype=np.uint8, mode="r")
        (size,) = struct.unpack("<Q", bytes(data[len(MAGIC) : len(MAGIC) + 8]))
        if bytes(data[: len(MAGIC)]) != MAGIC or size > LARGEST_HEADER:
            raise ValueError("not a pack file")
        start = len(MAGIC) + 8
        header = json.loads(bytes(data[start : start + size]))
        self._payload = data[_aligned(start + size) :]
        self._digest: str = header["sha256"]
        entries: dict[str, list[Any]] = header["entries"]
        arrays = {name: self._array(*entry) for name, entry in entries.items()}
        self.head_model = arrays.pop("head.onnx").tobytes()
        self.body = Part(arrays.pop("body.onnx").tobytes(), arrays)

    def _array(self, dtype: str, shape: list[int], offset: int, nbytes: int) -> Array:
        raw = self._payload[offset : offset + nbytes]
        return np.asarray(raw).view(np.dtype(dtype)).reshape(shape)

    def release(self) -> None:
        """Let go of the pages that were read: the sessions have copies, and what is needed comes back."""
        advise = getattr(self._map.base, "madvise", None)  # not on Windows
        if advise is not None:
            advise(mmap.MADV_DONTNEED)

    def is_whole(self) -> bool:
        """Whether the contents have the digest that was written with them; reads the whole file."""
        return hashlib.sha256(self._payload.data).hexdigest() == self._digest


def open_pack(path: Path) -> Pack | None:
    """The pack at a path, or None where there is none or it is not one."""
    try:
        pack = Pack(path)
        with suppress(OSError):
            os.utime(path)  # so that `prune` knows which were used last
        return pack
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def prune(folder: Path) -> None:
    """Keep the packs used last; every altered copy of a model would otherwise leave one for good."""
    with suppress(OSError):
        packs = sorted(folder.glob("*.pack"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in packs[KEPT:]:
            path.unlink(missing_ok=True)


def write_pack(path: Path, body: Part, head_model: bytes) -> None:
    """Keep graphs and body arrays for the next start; a disk that refuses costs only time."""
    arrays: Mapping[str, Array] = {
        "body.onnx": np.frombuffer(body.model, np.uint8),
        "head.onnx": np.frombuffer(head_model, np.uint8),
        **body.weights,
    }
    entries: dict[str, list[Any]] = {}
    digest, offset = hashlib.sha256(), 0
    for name, array in arrays.items():
        entries[name] = [array.dtype.str, list(array.shape), offset, array.nbytes]
        padding = _aligned(offset + array.nbytes) - offset - array.nbytes
        digest.update(np.ascontiguousarray(array).data)
        digest.update(bytes(padding))
        offset += array.nbytes + padding
    header = json.dumps({"sha256": digest.hexdigest(), "entries": entries}).encode()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, header, list(arrays.values()))
        prune(path.parent)


def _write(path: Path, header: bytes, arrays: list[Array]) -> None:
    handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC + struct.pack("<Q", len(header)) + header)
            _pad(file)
            for array in arrays:
                file.write(np.ascontiguousarray(array).data)
                _pad(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _pad(file: Any) -> None:
    position = file.tell()
    file.write(bytes(_aligned(position) - position))


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
