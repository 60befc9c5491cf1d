"""Will a model fit? Estimated from checked headers before a single weight is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from tokenglass.errors import ModelUnsupported
from tokenglass.files import gguf, safetensors
from tokenglass.files.layout import ModelFiles
from tokenglass.files.tensors import TensorInfo, shown

# Block types whose weights stay as they are; all others are widened to float32.
KEPT = {"exact": frozenset({"Q4_0", "Q4_1", "Q4_K"}), "fast": frozenset({"Q4_0", "Q4_1", "Q4_K", "Q8_0"})}
WORKSPACE = 256_000_000  # runtime, graph, activations and a key/value cache of some thousand positions
SPARE = 1.1  # repacked blocks carry their scales apart; allocators round up

Precision = Literal["exact", "fast"]


def estimate_memory(files: ModelFiles, precision: Precision = "exact", width: int | None = 0) -> int:
    """Bytes that running a model will take, within about a third.

    Args:
        files: the model.
        precision: of the native engine.
        width: bytes of a weight in another engine, None for those it is stored in; 0 is the native engine.

    Raises:
        ModelDamaged: a header is wrong.
    """
    weights = sum(_held(tensor, precision, width) for tensor in _tensors(files))
    return int(weights * SPARE) + WORKSPACE


def free_memory() -> int | None:
    """Bytes that may be allocated without swapping, by kernel and control group; None where unknown."""
    figures = [figure for figure in (_available(), _group_rest()) if figure is not None]
    return min(figures, default=None)


def refuse_too_large(
    files: ModelFiles, precision: Precision = "exact", free: int | None = None, width: int | None = 0
) -> None:
    """Refuse a model that would not fit the free memory; where that is unknown nothing is refused.

    Raises:
        ModelUnsupported: says how much is needed and how much is free.
    """
    free = free_memory() if free is None else free
    needed = estimate_memory(files, precision, width)
    if free is not None and needed > free:
        raise ModelUnsupported(
            f"{shown(files.name)} needs about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; "
            "close other programs, or choose a smaller model or a more compact GGUF of it"
        )


def _tensors(files: ModelFiles) -> Iterable[TensorInfo]:
    if files.gguf:
        yield from gguf.read_header(files.gguf).tensors.values()
    else:
        for path in files.weights:
            yield from safetensors.read_header(path).tensors.values()


def _held(tensor: TensorInfo, precision: Precision, width: int | None) -> int:
    if width != 0:
        return tensor.nbytes if width is None else width * tensor.size
    return tensor.nbytes if tensor.dtype in KEPT[precision] else 4 * tensor.size


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def _group_rest() -> int | None:
    """What the control group (a container's limit) leaves; page cache inside it can be reclaimed."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        state = (group / "memory.stat").read_text(encoding="ascii").split()
        cached = int(state[state.index("inactive_file") + 1])
    except (OSError, ValueError, IndexError):  # no such files, or "max": no limit
        return None
    return max(0, limit - used + cached)
