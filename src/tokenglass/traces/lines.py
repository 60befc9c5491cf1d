"""One line of a trace: strict JSON within bounds, sealed with a checksum.

A line is one JSON object in ASCII. Its last entry is `"crc"`, the CRC-32 (as in zlib) of all bytes before the
comma that leads to it, in hexadecimal, so that a changed number does not pass for a true one. A line without
one, as another program may write it, is read all the same.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

MAX_LINE = 16 << 20  # bytes; a header with a prompt of a million ids has 8 MB
MAX_LINES = 1_000_000  # of one trace
MAX_ITEMS = 2_000_000  # entries of lists and objects in one line; parsed they take about 130 MB
MAX_ALL_ITEMS = 20_000_000  # of all lines; a step has about 150
MAX_DEPTH = 48

_SEAL = re.compile(rb',"crc":"([0-9a-f]{8})"}\n?\Z')


class Budget:
    """What the lines of one trace may take together; the same for who writes and who reads."""

    def __init__(self) -> None:
        self.lines = self.items = 0

    def spend(self, line: bytes) -> None:
        """Count a line.

        Raises:
            ValueError: it is one too many.
        """
        if len(line) > MAX_LINE:
            raise ValueError(f"it has {len(line):,} bytes, more than the {MAX_LINE:,} allowed")
        items = line.count(b",") + line.count(b"[") + line.count(b"{")
        if items > MAX_ITEMS:
            raise ValueError(f"it has more than the {MAX_ITEMS:,} entries allowed")
        if self.lines >= MAX_LINES or self.items + items > MAX_ALL_ITEMS:
            raise ValueError(
                f"a trace may have {MAX_LINES:,} lines and {MAX_ALL_ITEMS:,} entries, it has more"
            )
        self.lines += 1
        self.items += items


def write_line(data: dict[str, Any]) -> bytes:
    """An event as one sealed line, newline included.

    Raises:
        ValueError: a NaN or an infinity, or nested too deep.
    """
    body = json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii")[:-1]
    line = body + b',"crc":"%08x"}\n' % zlib.crc32(body)
    _refuse_depth(data, line)
    return line


def parse_line(line: bytes) -> dict[str, Any]:
    """The object of one line, which was counted before.

    Raises:
        ValueError: says in a few words what is wrong with it.
    """
    seal = _SEAL.search(line, max(0, len(line) - 24))
    if seal and zlib.crc32(line[: seal.start()]) != int(seal[1], 16):
        raise ValueError("its checksum is wrong, so something in it was changed")
    data = parse_json(line)
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    return data


def parse_json(text: bytes) -> Any:
    """Strict JSON: no NaN, and no deeper than `MAX_DEPTH`.

    Raises:
        ValueError: says in a few words what is wrong with it.
    """
    try:
        data = json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({error.msg} at character {error.pos + 1:,})") from None
    _refuse_depth(data, text)
    return data


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it is no strict JSON: {name}")


def _refuse_depth(data: Any, line: bytes) -> None:
    """Refuse deep nesting, level by level, because recursion is what a hostile file wants."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH:
        return
    level = [data] if isinstance(data, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
