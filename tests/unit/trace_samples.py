"""Steps, headers and small trees for the tests of traces; no model."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from tokenglass.stages.context import Window
from tokenglass.traces import Header, Journal
from tokenglass.types import EngineInfo, Removal, Stage, Step, Tail, Token

SCHEMA = Path(__file__).resolve().parents[2] / "src/tokenglass/traces/trace.schema.json"
KINDS = ("normal", "control", "byte", "unknown")


class Names:
    """A vocabulary in which every id has bytes of its own, some of them half characters."""

    def __len__(self) -> int:
        return 1 << 20

    def token(self, token_id: int) -> Token:
        data = b" =\xff\x1b" + str(token_id).encode() if token_id % 5 == 0 else b" t%d" % token_id
        return Token(token_id, data, KINDS[token_id % 4 if token_id % 7 == 0 else 0])  # type: ignore[arg-type]

    def find(self, text: str) -> int:
        raise ValueError(text)


NAMES = Names()
INFO = EngineInfo(
    name="toy",
    family="table",
    engine="table",
    precision="exact",
    parameters=7,
    vocab_size=1 << 20,
    context_length=99,
    eos_ids=(2, 5),
    bos_id=None,
    sha256="ab" * 32,
    capabilities=frozenset({"tree", "batch"}),
    source="/nowhere/toy.gguf",
)


def header(**more: Any) -> Header:
    given = {"seed": 1, "sequence_bias": {(5,): -1.5}, "stop_strings": ("a", "\ud800")}
    return Header(
        model=INFO,
        prompt_ids=(10, 7),
        prompt_text="hé \ud800",
        tokenglass="0.1.0",
        config={"temperature": float("inf"), "top_k": None},
        given=given,
        **more,
    )


def step(seed: int = 0, *, width: int = 8, token_id: int | None = None, text: str = "x") -> Step:
    """A step whose numbers come from a seed, as a chain of four stages would leave it."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(1000, width, replace=False).astype(np.int64)
    logits = np.sort(rng.normal(size=width).astype(np.float32))[::-1].copy()
    chosen = int(ids[0]) if token_id is None else token_id
    stages = tuple(
        Stage(name, params, 9, float(rng.random()), float(rng.random()), chosen, facts={"mu": 0.25})
        for name, params in [
            ("model", {}),
            ("repetition_penalty", {"penalty": 1.1, "window": Window(prompt=False, last_n=64)}),
            ("sequence_bias", {"sequences": (((5,), float("-inf")),)}),
            ("top_k", {"k": 3}),
        ]
    )
    removed = {int(i): Removal("top_k", n or None, float(rng.random())) for n, i in enumerate(ids[3:])}
    return Step(
        position=int(rng.integers(100)),
        token=NAMES.token(chosen),
        text=text,
        logit=float(logits[0]),
        logprob=-float(rng.random()),
        rank=1,
        entropy_bits=float(rng.random()),
        p_final=float(rng.random()),
        origin="sampled",
        margin=float("inf"),
        top_ids=ids,
        top_logits=logits,
        top_final=rng.random(width),
        logsumexp=float(logits[0]) + 0.5,
        vocabulary=NAMES,
        stages=stages,
        removed=removed,
        draw=float(rng.random()),
        cdf=(0.0, 1 / 3),
        finish_reason=None,
        trail=rng.random((4, width)).astype(np.float32),
        tail=Tail(-9.5, float(logits[-1]), rng.integers(0, 1 << 20, 256)),
    )


def bits(value: Any) -> Any:
    """A value in which every number is its bits: a NaN equals itself, 0.0 is not -0.0, 1 is not 1.0."""
    if isinstance(value, float):
        return "nan" if value != value else struct.pack("<d", value)
    if isinstance(value, np.ndarray):
        return (value.dtype.newbyteorder("=").str, value.shape, value.tobytes())
    if isinstance(value, Token | Removal):
        return (type(value), *(bits(getattr(value, f.name)) for f in fields(value)))
    if isinstance(value, Stage | Tail):
        return tuple(bits(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, tuple | list):
        return (type(value), *map(bits, value))
    if isinstance(value, dict) or hasattr(value, "items"):
        return [(bits(key), bits(item)) for key, item in value.items()]
    return value


def contents(step: Step) -> dict[str, Any]:
    """All that a step holds but the way back to its model and who names its ids."""
    skipped = ("vocabulary", "reread")
    return {f.name: bits(getattr(step, f.name)) for f in fields(step) if f.name not in skipped}


def validator() -> Any:
    """Validates a line as JSON against the schema; strictly, so that NaN is no JSON."""
    import jsonschema

    checks = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))

    def validate(line: bytes) -> Any:
        data = json.loads(line, parse_constant=_refused)
        checks.validate(data)
        return data

    return validate


def _refused(name: str) -> None:
    raise AssertionError(f"{name} is no strict JSON")


def tree(journal: Journal) -> None:
    """The prompt, three tokens in a line, a branch beside the second, an undo, a name, notes and a prune."""
    for node, parent in [(1, 0), (2, 1), (3, 2), (4, 1)]:
        journal.step(node, parent, step(node, text=f"<{node}>"))
    journal.goto(2)
    journal.name(4, "=cmd|' /C calc'!A0")
    journal.note(4, "first")
    journal.note(4, "second | `x`")
    journal.prune(2)
    journal.counts(1, 2, 5)
    journal.set(1, {"top_k": 3}, {"top_k": 3, "temperature": 1.0})


def written(path: Path, fill: Callable[[Journal], None] = tree) -> Path:
    """A trace on the disk, closed."""
    with Journal.create(path, header(), NAMES, fill=fill):
        return path


def seeds(n: int) -> list[int]:
    return random.Random(4).sample(range(10**6), n)
