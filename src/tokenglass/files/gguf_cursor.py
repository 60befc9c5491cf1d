"""A cursor over the bytes of a GGUF header, with every step bounded before it is taken.

Knows how GGUF writes numbers, texts and arrays; not what a header is made of (that is `gguf`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tokenglass.errors import ModelDamaged
from tokenglass.files.tensors import damaged, shown

MIB = 1 << 20
MAX_HEADER = 32 * MIB  # the largest published vocabularies (260,000 tokens, 450,000 merges) need about 13
# What decoded texts may occupy: an object of at most 92 bytes (with its place in a list) and 4 bytes a
# character. The largest published vocabularies come to about 80 MB by this count.
MAX_DECODED = 112 * MIB
TEXT_COST = 92

BOOL, STRING, ARRAY = 7, 8, 9
SCALARS: dict[int, str] = {  # value type -> struct and numpy format, little-endian
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    BOOL: "<B",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_UNPACK = {kind: (struct.Struct(form).unpack_from, struct.calcsize(form)) for kind, form in SCALARS.items()}
_U32 = struct.Struct("<I").unpack_from
_U64 = struct.Struct("<Q").unpack_from


class NeedMore(Exception):
    """The header goes on behind what was read so far."""


class Cursor:
    """Reads forward through `data`, the first bytes of a file.

    Attributes:
        at: index of the next byte.
        where: what is being read, for messages.
        last: no more bytes will come: the file or the limit ends with `data`.
    """

    def __init__(self, path: Path, size: int, data: bytes, last: bool) -> None:
        self.path = path
        self.size = size
        self.data = data
        self.last = last
        self.at = 0
        self.decoded = 0
        self.where = "the header"

    def u32(self) -> int:
        """The next four bytes."""
        return int(self._number(_U32, 4))

    def u64(self) -> int:
        """The next eight bytes."""
        return int(self._number(_U64, 8))

    def value(self) -> Any:
        """A type number and the value it announces."""
        kind = self.u32()
        if kind == STRING:
            return self._bytes(self.u64()).decode("utf-8", "backslashreplace")
        if kind == ARRAY:
            return self._array(self.u32(), self.u64())
        unpack, width = self._known(kind, "has")
        value = self._number(unpack, width)
        if kind != BOOL:
            return value
        if value > 1:
            raise self.wrong(f"{self.where} is a truth value of {value}")
        return value == 1

    def name(self, limit: int) -> str:
        """A short text that must be UTF-8."""
        length = self.u64()
        self.limit(length, limit, f"bytes in the name of {self.where}")
        try:
            return self._bytes(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong(f"{self.where} has a name that is not UTF-8") from None

    def limit(self, value: int, most: int, what: str) -> None:
        """Refuse a count before anything is done that often."""
        if value > most:
            raise self.wrong(f"{value:,} {what}, more than the {most:,} allowed")

    def wrong(self, problem: str, advice: str = "get the file again") -> ModelDamaged:
        """The error that says what is wrong in this file."""
        return damaged(self.path, problem, advice)

    def _array(self, kind: int, count: int) -> Any:
        if kind == STRING:
            return self._texts(count)
        if kind == ARRAY:
            raise self.wrong(f"{self.where} is an array of arrays, which no reader accepts")
        width = self._known(kind, "is an array of")[1]
        self._reach(count * width)
        self._spend(0, count * width // 4)
        values = np.frombuffer(self.data, dtype=SCALARS[kind], count=count, offset=self.at)
        self.at += count * width
        if kind != BOOL:
            return values.copy()
        if count and values.max() > 1:
            raise self.wrong(f"{self.where} holds a truth value of {values.max()}")
        return values.astype(bool)

    def _texts(self, count: int) -> list[str]:
        """An array of texts; bytes that are not UTF-8 become lone surrogates, so a token keeps its bytes."""
        self._reach(count * 8)
        self._spend(count, 0)
        try:
            return self._decoded_texts(count, bytes.decode)
        except UnicodeDecodeError:
            return self._decoded_texts(count, lambda piece: piece.decode("utf-8", "surrogateescape"))

    def _decoded_texts(self, count: int, decode: Callable[[bytes], str]) -> list[str]:
        """The hot loop: 98,000 texts in the default model, on the way to every start."""
        data, at, end = self.data, self.at, self.at
        most = min(len(data), at + 8 * count + (MAX_DECODED - self.decoded) // 4)
        found: list[str] = []
        try:
            for _ in range(count):
                end = at + 8 + _U64(data, at)[0]
                if end > most:
                    break
                found.append(decode(data[at + 8 : end]))
                at = end
        except (struct.error, OverflowError):  # the buffer ends inside a length
            end = len(data) + 1
        self._reach(end - self.at)
        self._spend(0, end - self.at - 8 * count)
        self.at = end
        return found

    def _known(self, kind: int, verb: str) -> tuple[Callable[[bytes, int], tuple[Any, ...]], int]:
        if kind not in _UNPACK:
            raise self.wrong(f"{self.where} {verb} value type {kind}, which does not exist")
        return _UNPACK[kind]

    def _bytes(self, length: int) -> bytes:
        self._reach(length)
        self._spend(1, length)
        piece = self.data[self.at : self.at + length]
        self.at += length
        return piece

    def _number(self, unpack: Callable[[bytes, int], tuple[Any, ...]], width: int) -> Any:
        self._reach(width)
        (value,) = unpack(self.data, self.at)
        self.at += width
        return value

    def _reach(self, length: int) -> None:
        """Refuse to go on where fewer than `length` bytes follow; ask for more where the file has them."""
        end = self.at + length
        if end <= len(self.data):
            return
        if end > self.size:
            raise self.wrong(f"{self.where} needs {end:,} bytes of {self.size:,} (a cut download?)")
        if end > MAX_HEADER or self.last:
            raise self.wrong(f"{self.where} makes the header larger than {MAX_HEADER:,} bytes")
        raise NeedMore

    def _spend(self, n_texts: int, n_chars: int) -> None:
        self.decoded += TEXT_COST * n_texts + 4 * n_chars
        if self.decoded > MAX_DECODED:
            raise self.wrong(f"{self.where} holds more text than any known model has")


def key_label(key: str) -> str:
    """How messages call a metadata key."""
    return f"key {shown(key)}"
