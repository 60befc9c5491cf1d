"""One line of a trace: strict JSON within bounds, sealed with a checksum.

A line is one JSON object in ASCII. Its last entry is `"crc"`, the CRC-32 (as in zlib) of all bytes before the comma
that leads to it, in hexadecimal, so that a changed number does not pass for a true one. A line without one,
as another program may write it, is read all the same.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

MAX_LINE = 16 << 20  # bytes; a header with a prompt of a million ids has 8 MB
MAX_ITEMS = 2_000_000  # entries of lists and objects in one line: what they take when parsed stays below 1 GB
MAX_DEPTH = 48

_SEAL = re.compile(rb',"crc":"([0-9a-f]{8})"}\n?\Z')


def write_line(data: dict[str, Any]) -> bytes:
    """An event as one sealed line, newline included.

    Raises:
        ValueError: a NaN or an infinity, or a line that `parse_line` would refuse.
    """
    body = json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii")[:-1]
    line = body + b',"crc":"%08x"}\n' % zlib.crc32(body)
    if problem := _too_large(line):
        raise ValueError(problem)
    if _depth_above(data, MAX_DEPTH):
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
    return line


def parse_line(line: bytes) -> dict[str, Any]:
    """The object of one line.

    Raises:
        ValueError: says in a few words what is wrong with it.
    """
    if problem := _too_large(line):
        raise ValueError(problem)
    seal = _SEAL.search(line)
    if seal and zlib.crc32(line[: seal.start()]) != int(seal[1], 16):
        raise ValueError("its checksum is wrong, so something in it was changed")
    try:
        data = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error.msg} at character {error.pos + 1:,})") from None
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    if _depth_above(data, MAX_DEPTH):
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
    return data


def _too_large(line: bytes) -> str:
    if len(line) > MAX_LINE:
        return f"it has {len(line):,} bytes, more than the {MAX_LINE:,} allowed"
    items = line.count(b",") + line.count(b"[") + line.count(b"{")
    return f"it has more than the {MAX_ITEMS:,} entries allowed" if items > MAX_ITEMS else ""


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it is no strict JSON: {name}")


def _depth_above(data: Any, limit: int) -> bool:
    """Level by level, because recursion is what a hostile file wants."""
    level = [data]
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
