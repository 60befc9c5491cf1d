"""Broken model files: cut anywhere, flipped anywhere, or built to waste memory and time.

Each child process takes many cases. A case must end with a header or with a `TokenglassError` of one line,
within a second of CPU time; no child's peak memory may grow by 200 MB over its start. Seeds are fixed,
and a failing case is named by its number, so that it can be run alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

FULL = os.environ.get("TOKENGLASS_FULL") == "1"
N_CASES = 2_000 if FULL else 200
N_CHILDREN = 4
MAX_SECONDS = 1.0 if FULL else 4.0  # of CPU; a neighbour on the same core makes each of them longer
MAX_GROWTH_MB = 200

CHILD = """
import json, sys
from tests.fuzz import test_headers
print(json.dumps(getattr(test_headers, sys.argv[1])(*json.loads(sys.argv[2]))))
"""


def gguf_seed() -> bytes:
    """A sound model with every kind of value, so that a flip can hit each of them."""
    from tests.unit.test_files_gguf import (
        ARRAY,
        BOOL,
        F32,
        STRING,
        U8,
        Parts,
        key,
        number,
        numbers,
        text,
        u32,
        u64,
    )

    parts = Parts()
    parts.keys |= {
        "byte": key("x.byte", U8, b"\x07"),
        "truth": key("x.truth", BOOL, b"\x01"),
        "real": key("x.real", F32, b"\0\0\x80\x3f"),
        "words": key("x.text", STRING, text("é" * 40)),
        "truths": key("x.truths", ARRAY, u32(BOOL) + u64(3) + b"\0\1\0"),
        "numbers": numbers("x.numbers", list(range(50))),
        "alignment": number("general.alignment", 32),
    }
    return parts.build()


def safetensors_seed() -> bytes:
    from tests.unit.test_files_safetensors import packed, tensor

    names = [f"model.layers.{n}.weight" for n in range(6)]
    header: dict[str, Any] = {n: tensor("BF16", [2, 4], [16 * i, 16 * i + 16]) for i, n in enumerate(names)}
    return packed({"__metadata__": {"format": "pt", "é": "\x1b"}, **header}, bytes(96))


def broken(seed: bytes, case: int) -> bytes:
    """Case number `case` of a sound file: cut, flipped, or with a piece overwritten, repeated or removed."""
    import random

    rng = random.Random(case)
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at = rng.randrange(len(data)) if data else 0
        length = min(rng.choice((1, 2, 4, 8, 30)), len(data) - at)
        match rng.randrange(7):
            case 0:
                del data[at:]
            case 1:
                data[at : at + 1] = bytes([data[at] ^ (1 << rng.randrange(8))]) if data else b""
            case 2:
                data[at : at + length] = rng.randbytes(length)
            case 3:
                # numbers that sit on the edges of lengths and counts
                edge = rng.choice(
                    (0, 1, 0x7F, 1 << 16, (1 << 31) - 1, 1 << 32, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
                )
                data[at : at + 8] = edge.to_bytes(8, "little")
            case 4:
                data[at:at] = data[at : at + length] * rng.randrange(1, 40)
            case 5:
                del data[at : at + length]
            case 6:
                data[at : at + length] = rng.choice((b"\0", b"\xff", b"[", b"{", b'"', b"9"))[:1] * length
    return bytes(data)


def memory_mb(peak: bool) -> float:
    """Resident memory of this process in MB, now or at most so far.

    Linux's `ru_maxrss` starts with the parent's, so the kernel's own figure for this program is read there.
    """
    import resource

    try:
        status = Path("/proc/self/status").read_text().split()
        return int(status[status.index("VmHWM:" if peak else "VmRSS:") + 1]) * 1024 / 1e6
    except OSError:  # macOS counts in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def attempt(kind: str, path: Path) -> None:
    """One reading; the header is gone when it ends."""
    from tokenglass.files import gguf, safetensors

    if kind == "gguf":
        gguf.check_model(gguf.read_header(path))
    else:
        safetensors.read_header(path)


def run(kind: str, cases: Iterable[tuple[str, Path]]) -> dict[str, Any]:
    """Read broken files one after the other; returns counts, the slowest case and the growth of memory."""
    import time

    from tokenglass.errors import TokenglassError
    from tokenglass.files import gguf, safetensors  # noqa: F401 - before memory is measured

    start = memory_mb(peak=False)
    outcome: dict[str, Any] = {"sound": 0, "refused": 0, "slowest": [0.0, ""], "wrong": []}
    for name, path in cases:
        began = time.process_time()
        try:
            attempt(kind, path)
            outcome["sound"] += 1
        except TokenglassError as error:
            outcome["refused"] += 1
            if not str(error).isprintable() or not str(error):
                outcome["wrong"].append(f"{name}: {error!r}")
        except Exception as error:
            outcome["wrong"].append(f"{name}: {error!r}")
        outcome["slowest"] = max(outcome["slowest"], [time.process_time() - began, name])
    return outcome | {"growth_mb": memory_mb(peak=True) - start}


def run_broken(kind: str, first: int, last: int, file: str) -> dict[str, Any]:
    """A child's share of the random cases."""
    seed, path = gguf_seed() if kind == "gguf" else safetensors_seed(), Path(file)

    def cases() -> Iterator[tuple[str, Path]]:
        for case in range(first, last):
            path.write_bytes(broken(seed, case))
            yield f"case {case}", path

    return run(kind, cases())


def run_files(kind: str, *names: str) -> dict[str, Any]:
    """Files that the parent wrote, because writing them here would take memory itself."""
    return run(kind, [(name, Path(name)) for name in names])


def run_hungry(n_bytes: int) -> dict[str, Any]:
    """What the measure says of a child that takes this much and gives it back."""
    start = memory_mb(peak=False)
    taken = bytearray(b"x") * n_bytes
    del taken
    return {"growth_mb": memory_mb(peak=True) - start}


def child(task: str, *arguments: Any) -> dict[str, Any]:
    root = Path(__file__).parents[2]
    paths = [str(root), *(path for path in sys.path if path)]
    process = subprocess.run(
        [sys.executable, "-c", CHILD, task, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60 + N_CASES * MAX_SECONDS / N_CHILDREN,
    )
    assert process.returncode == 0, process.stderr
    outcome: dict[str, Any] = json.loads(process.stdout)
    return outcome


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read with getrusage")
@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_broken_headers(kind: str, tmp_path: Path) -> None:
    share = N_CASES // N_CHILDREN
    outcomes = [
        child("run_broken", kind, n * share, (n + 1) * share, str(tmp_path / "broken"))
        for n in range(N_CHILDREN)
    ]
    assert [wrong for outcome in outcomes for wrong in outcome["wrong"]] == []
    for outcome in outcomes:
        assert outcome["slowest"][0] < MAX_SECONDS, outcome
        assert outcome["growth_mb"] < MAX_GROWTH_MB, outcome
    # a flip in a name or in the data leaves a sound file; most others must not
    refused = sum(outcome["refused"] for outcome in outcomes)
    assert 0.5 * N_CASES < refused < N_CASES


def hostile() -> dict[str, bytes]:
    """Files that are as large as the limits allow and made of whatever costs most to read."""
    import struct

    from tests.unit.test_files_gguf import ARRAY, STRING, key, text, u32, u64
    from tests.unit.test_files_safetensors import packed

    def gguf(*keys: bytes) -> bytes:
        return b"GGUF" + u32(3) + u64(0) + u64(len(keys)) + b"".join(keys)

    def many(item: bytes, count: int) -> bytes:
        return key("a", ARRAY, u32(STRING) + u64(count) + item * count)

    face, mib = "😀".encode(), 1 << 20
    rows = b"".join(
        text(f"{n:0128}") + struct.pack("<IQQQQIQ", 4, 1, 1, 1, 1, 0, 32 * n) for n in range(32_768)
    )
    return {
        "gguf: 1.27 million short texts": gguf(many(text("x"), 1_150_000)),
        "gguf: 850,000 wide texts": gguf(many(text(face + b"xyzw"), 850_000)),
        "gguf: a million empty texts": gguf(many(text(""), 1_270_000)),
        "gguf: bytes that are no text": gguf(many(text(b"\xff" * 8), 850_000)),
        "gguf: one wide text of 27 MiB": gguf(key("a", STRING, text(face + b"x" * (27 * mib)))),
        "gguf: 28 MiB of truth values": gguf(key("a", ARRAY, u32(7) + u64(27 * mib) + bytes(27 * mib))),
        "gguf: keys of 65,000 bytes": gguf(*(key(f"{n:065000}", 0, b"\1") for n in range(400))),
        "gguf: 32,768 tensors": b"GGUF" + u32(3) + u64(32_768) + u64(0) + rows,
        "safetensors: empty objects": packed(b'{"a":[' + b"{}," * 200_000 + b"{}]}"),
        "safetensors: small objects": packed(b'{"a":[' + b'{"":0},' * 200_000 + b"{}]}"),
        "safetensors: empty lists": packed(b'{"a":[' + b"[]," * 300_000 + b"[]]}"),
        "safetensors: names": packed(b"{" + b",".join(b'"%d":0' % n for n in range(430_000)) + b"}"),
        "safetensors: the same name": packed(b"{" + b'"a":0,' * 400_000 + b'"b":0}'),
        "safetensors: fractions": packed(b'{"a":[' + b"0.5," * 400_000 + b"0]}"),
        "safetensors: one wide text": packed(b'{"a":"' + face + b"x" * (8 * mib) + b'"}'),
        "safetensors: one text of 25 MiB": packed(b'{"a":"' + b"x" * (25 * mib) + b'"}'),
        "safetensors: 99 MB of nothing": packed(b"{" + b" " * 99_000_000 + b"}"),
        "safetensors: nested": packed(b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000),
        "safetensors: long numbers": packed(b'{"a":[' + b",".join([b"1" * 4_299] * 5_500) + b"]}"),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read with getrusage")
@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_hostile_headers_stay_within_a_second_and_200_mb(kind: str, tmp_path: Path) -> None:
    names = []
    for name, data in hostile().items():
        if name.startswith(kind):
            path = tmp_path / name.partition(": ")[2]
            path.write_bytes(data)
            names.append(str(path))
    outcome = child("run_files", kind, *names)
    assert outcome["wrong"] == [] and outcome["sound"] + outcome["refused"] == len(names)
    assert outcome["slowest"][0] < MAX_SECONDS, outcome
    assert outcome["growth_mb"] < MAX_GROWTH_MB, outcome


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read with getrusage")
def test_the_measure_of_memory_sees_what_was_given_back() -> None:
    """220 MB taken and freed must show as growth above 200 MB, so that the tests above can fail."""
    assert 210 < child("run_hungry", 220_000_000)["growth_mb"] < 260
