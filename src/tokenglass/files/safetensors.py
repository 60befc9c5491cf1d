"""Safetensors headers: a bounded reader in pure Python that runs before anything else touches the file.

The format (https://github.com/huggingface/safetensors#format): 8 bytes of length, a JSON object, the data.
Whatever the bytes, reading ends within a second and about 170 MB, with a header or a one-line `ModelDamaged`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenglass.errors import ModelDamaged, ModelNotFound
from tokenglass.files.config import parse_object, read_json
from tokenglass.files.tensors import TensorInfo, check_layout, damaged, open_model, shown

MAX_HEADER = 100_000_000  # the format's own limit; what the parsed JSON may occupy is bounded besides
MAX_INDEX = 16 << 20
MAX_TENSORS = 65_536
MAX_SHARDS = 1_024
MAX_DIMS = 8
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

BITS: dict[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "C64": 64,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}

# A plain file name: no folder, no drive, no hidden file, nothing a screen would act on.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.safetensors")


@dataclass(frozen=True)
class SafetensorsHeader:
    """Everything a safetensors file says before its weights.

    Attributes:
        path: the file.
        size: its length in bytes.
        metadata: the file's own texts, such as {"format": "pt"}.
        tensors: name -> where it lies; together they fill the file without hole or overlap.
    """

    path: Path
    size: int
    metadata: dict[str, str] = field(repr=False)
    tensors: dict[str, TensorInfo] = field(repr=False)


def read_header(path: Path) -> SafetensorsHeader:
    """Read and check the header of a safetensors file.

    Raises:
        ModelNotFound: the file is not there or may not be read.
        ModelDamaged: anything in it contradicts the format; says what and where.
    """
    path = Path(path)
    with open_model(path) as (file, size):
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise damaged(path, f"its header needs {8 + length:,} bytes of {size:,} (a cut download?)")
        if length > MAX_HEADER:
            raise damaged(path, f"its header has {length:,} bytes, more than the {MAX_HEADER:,} allowed")
        data = file.read(length)
    if data[:1] != b"{":
        raise damaged(
            path, f"its header begins with {data[:1]!r}, not with b'{{'", "this may be another kind of file"
        )
    entries = parse_object(data, path, partial(_unique, path))
    del data
    metadata = _metadata(entries.pop("__metadata__", {}), path)
    if len(entries) > MAX_TENSORS:
        raise damaged(path, f"{len(entries):,} tensors, more than the {MAX_TENSORS:,} allowed")
    start = 8 + length
    tensors = {name: _tensor(name, entry, start, path) for name, entry in entries.items()}
    check_layout(tensors.values(), start, size, path)
    _check_full(sum(tensor.nbytes for tensor in tensors.values()), size - start, path)
    return SafetensorsHeader(path, size, metadata, tensors)


def read_index(folder: Path) -> tuple[SafetensorsHeader, ...]:
    """The checked headers of a sharded model, in the order of their names.

    Every weight of the index must lie in the shard it names, and every shard's weights must be in the index.
    Shards are plain file names in the same folder; symlinks, as the hub's cache makes them, are followed.

    Raises:
        ModelNotFound: the index or a shard is missing.
        ModelDamaged: the index and the shards contradict each other.
    """
    folder = Path(folder)
    path = folder / INDEX
    places = shard_names(path)
    headers = tuple(read_header(folder / name) for name in sorted(set(places.values())))
    for header in headers:
        for name in header.tensors:
            if places.get(name) != header.path.name:
                raise damaged(
                    path, f"{header.path.name} holds {shown(name)}, which the index does not place there"
                )
    found = {name for header in headers for name in header.tensors}
    if missing := places.keys() - found:
        name = min(missing)
        raise damaged(path, f"{shown(name)} is not in {places[name]}, where the index places it")
    return headers


def shard_names(path: Path) -> dict[str, str]:
    """Weight name -> shard file name, from an index file.

    Raises:
        ModelNotFound: no such file.
        ModelDamaged: not an index, or a shard's name is not a plain file name.
    """
    places = read_json(path, MAX_INDEX).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise damaged(path, "it has no weight_map")
    shards = set()
    for name, shard in places.items():
        if not isinstance(shard, str) or not _PLAIN_NAME.fullmatch(shard):
            raise damaged(path, f"{shown(name)} lies in {shown(str(shard))}, which is not a plain file name")
        shards.add(shard)
        if len(shards) > MAX_SHARDS:
            raise damaged(path, f"more than {MAX_SHARDS:,} shards")
    return places


def read_folder(folder: Path) -> tuple[SafetensorsHeader, ...]:
    """The checked headers of a folder's weights, single or sharded.

    Raises:
        ModelNotFound: the folder has neither `model.safetensors` nor its index.
        ModelDamaged: a header or the index is wrong.
    """
    folder = Path(folder)
    if (folder / SINGLE).exists():
        return (read_header(folder / SINGLE),)
    if (folder / INDEX).exists():
        return read_index(folder)
    raise ModelNotFound(f"{shown(folder.name)} has neither {SINGLE} nor {INDEX}; give a folder with weights")


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(a for a, b in pairwise(sorted(name for name, _ in pairs)) if a == b)
        raise damaged(path, f"{shown(twice)} appears twice")
    return found


def _metadata(value: Any, path: Path) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise damaged(path, "its __metadata__ is not an object of texts")
    return value


def _tensor(name: str, entry: Any, start: int, path: Path) -> TensorInfo:
    where = f"tensor {shown(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise damaged(path, f"{where} does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise damaged(
            path, f"{where} has dtype {shown(str(dtype))}, which is unknown", "get another conversion"
        )
    if not _is_counts(shape) or len(shape) > MAX_DIMS:
        raise damaged(path, f"{where} has the impossible shape {shown(str(shape))}")
    if not _is_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise damaged(path, f"{where} has the impossible offsets {shown(str(offsets))}")
    info = TensorInfo(name, dtype, tuple(shape), start + offsets[0], offsets[1] - offsets[0])
    if info.nbytes * 8 != info.size * BITS[dtype]:
        raise _wrong_size(info, path)
    return info


def _wrong_size(info: TensorInfo, path: Path) -> ModelDamaged:
    shape = shown(str(list(info.shape)))
    return damaged(
        path, f"tensor {shown(info.name)} has {info.nbytes:,} bytes, which {info.dtype} {shape} has not"
    )


def _is_counts(value: Any) -> bool:
    """A list of integers from 0 to 2**62; a bool is not one, nor is 1.0."""
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 62 for item in value)


def _check_full(used: int, present: int, path: Path) -> None:
    if used != present:
        raise damaged(
            path,
            f"its tensors take {used:,} bytes of {present:,}, so {abs(present - used):,} are unaccounted for",
        )
