"""What every weights file has in common: tensors at checked byte ranges, and views of their raw bytes.

Knows nothing about families or about how a number is stored inside a block.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenglass.errors import ModelDamaged, ModelNotFound


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies.

    Attributes:
        name: as the file names it.
        dtype: "F32", "F16", "BF16", or a GGUF block type such as "Q4_1".
        shape: numpy order, rows first (a GGUF's own order reversed); the last axis is stored contiguously.
        offset: absolute byte offset in its file.
        nbytes: size in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    @property
    def size(self) -> int:
        """Number of elements."""
        product = 1
        for length in self.shape:
            product *= length
        return product


def shown(text: str, limit: int = 80) -> str:
    r"""Text from a file, safe inside an error message: quoted, escaped and cut.

    >>> shown("a\x1bb")
    "'a\\x1bb'"
    """
    return ascii(text if len(text) <= limit else text[: limit - 3] + "...")


def damaged(path: Path, problem: str, advice: str = "get the file again") -> ModelDamaged:
    """The one-line error for a file that contradicts its format."""
    name = path.name if path.name.isprintable() else ascii(path.name)
    return ModelDamaged(f"{name} is damaged: {problem}; {advice}")


def check_layout(tensors: Iterable[TensorInfo], start: int, size: int, path: Path) -> None:
    """Refuse tensors that overlap each other or reach outside [start, size) of the file.

    Raises:
        ModelDamaged: names the first offending tensor.
    """
    end, before = start, ""
    for tensor in sorted(tensors, key=lambda t: (t.offset, t.nbytes)):
        if tensor.offset < end:
            what = f"overlaps {shown(before)}" if before else "begins inside the header"
            raise damaged(path, f"tensor {shown(tensor.name)} {what} (byte {tensor.offset:,})")
        end, before = tensor.offset + tensor.nbytes, tensor.name
        if end > size:
            problem = f"tensor {shown(before)} ends at byte {end:,} of {size:,} (a cut download?)"
            raise damaged(path, problem)


@contextmanager
def open_model(path: Path) -> Iterator[tuple[BufferedReader, int]]:
    """Open a regular file for reading, with its size; devices and pipes, which never end, are refused.

    Raises:
        ModelNotFound: no such file, or it may not be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(None, "not a file")
        file = open(path, "rb")  # noqa: SIM115 - closed below; only opening may fail in these ways
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, error) from error
    try:
        with file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ModelNotFound:
    return ModelNotFound(f"{shown(str(path))} cannot be read ({cause(error)}); check the path")


def cause(error: BaseException) -> str:
    """The few words of an operating system error, without its numbers and paths."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def map_file(path: Path) -> NDArray[np.uint8]:
    """A whole file as a read-only byte array; pages are read when touched.

    Raises:
        ModelNotFound: no such file, or it may not be read.
        ModelDamaged: it is empty.
    """
    with open_model(path) as (file, size):
        if not size:
            raise damaged(path, "it is empty")
        return np.memmap(file, dtype=np.uint8, mode="r")


def map_tensor(info: TensorInfo, path: Path | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The raw bytes of a tensor, (nbytes,) uint8: a read-only view that copies nothing.

    Args:
        info: from a checked header of the same file.
        path: the file, or the array of `map_file` when many tensors of one file are wanted.
    """
    source = map_file(path) if isinstance(path, Path) else path
    view: NDArray[np.uint8] = np.asarray(source)[info.offset : info.offset + info.nbytes]
    if len(view) != info.nbytes:
        raise ModelDamaged(f"tensor {shown(info.name)} is cut short: the file changed; get the file again")
    return view
