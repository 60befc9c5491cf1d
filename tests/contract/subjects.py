"""The engines under the contract suite: how each is opened, and what its numbers must equal.

A new engine joins with an entry in `SUBJECTS`: a function from a folder of its own to a `Subject`. What it
cannot do it says in `EngineInfo.capabilities`, and the suite then asserts that it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import FULL
from tests.parity import families
from tokenglass.engines.base import Engine
from tokenglass.engines.table import TableEngine

Rows = Callable[[Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class Subject:
    """A model under one engine, and what it must equal.

    Attributes:
        open: makes a new engine over the model, one that has read nothing yet; the suite closes it.
        reference: ids -> (T, V) logits of every position, by something that is not the engine.
        tolerance: on logits, or on log-probabilities where the engine gives only those. 5e-4 in float32: both
            sides sum the same products in another order, on logits of about 10.
        hidden: ids -> n + 1 arrays (T, D), as transformers' `hidden_states`; None where there are none.
        tokens_run: how many tokens an engine has read so far; None where it does not say.
        context: tokens that the model can read.
        ids: which ids prompts are made of.
        close: ends what several engines share, such as a server.
    """

    open: Callable[[], Engine]
    reference: Rows
    tolerance: float = 5e-4
    hidden: Callable[[Sequence[int]], Sequence[np.ndarray]] | None = None
    tokens_run: Callable[[Any], int] | None = None
    context: int = 256
    ids: range = field(default=range(3, 200))
    close: Callable[[], None] = lambda: None


def table(folder: Path) -> Subject:
    """Logits by a rule of the last two ids: the reference is the rule, so the tolerance is nothing."""
    rows = np.random.default_rng(4).normal(size=(families.VOCAB, families.VOCAB)).astype(np.float32) * 2

    def rule(ids: tuple[int, ...]) -> np.ndarray:
        return rows[(ids[-1] + 7 * (ids[-2] if len(ids) > 1 else 0)) % families.VOCAB]

    return Subject(
        open=lambda: TableEngine(rule, families.VOCAB, context_length=256, eos_ids=(2,)),
        reference=lambda ids: np.stack([rule(tuple(ids[: i + 1])) for i in range(len(ids))]),
        tolerance=0,
    )


def _seeded(name: str, folder: Path, make: Callable[[Path], Engine], run: Callable[[Any], int]) -> Subject:
    theirs = families.make(name, folder)
    return Subject(
        open=lambda: make(folder),
        reference=lru_cache(maxsize=None)(lambda ids: families.reference(theirs, list(ids))),
        hidden=partial(_hidden_states, theirs),
        tokens_run=run,
    )


def _hidden_states(model: Any, ids: Sequence[int]) -> list[np.ndarray]:
    import torch

    with torch.no_grad():
        states = model(torch.tensor([list(ids)]), output_hidden_states=True).hidden_states
    return [state[0].numpy() for state in states]


def onnx(name: str, folder: Path) -> Subject:
    """A seeded small model under the native engine."""
    return _seeded(name, folder, partial(families.engine, threads=1), lambda engine: engine._tree.count)


def hf(name: str, folder: Path) -> Subject:
    """A seeded small model under the hf engine: weights loaded once, the cache anew each time."""

    @lru_cache(maxsize=1)
    def loaded(folder: Path) -> Any:
        engine: Any = hf_engine(folder)
        return engine._network.model, engine.info

    def make(folder: Path) -> Engine:
        from tokenglass.engines.hf.engine import HfEngine

        return HfEngine(*loaded(folder))

    return _seeded(name, folder, make, lambda engine: engine.tokens_run)


def hf_engine(folder: Path, **options: Any) -> Engine:
    """The hf engine over a saved folder, on the CPU."""
    from tokenglass.engines.hf import opening
    from tokenglass.files.layout import from_folder

    return opening.open_folder(from_folder(folder, folder.name), device="cpu", threads=1, **options)


NATIVE = ("gpt2", "llama-grouped", "mistral-window")
# Families without a native graph: learned positions, ALiBi, windows, another table of rotations beyond 40
# tokens, a state that cannot be rewound (alone and beside attention), no cache that is known.
FOREIGN = ("opt", "bloom", "gemma2-window", "phi3-longrope", "mamba", "lfm2", "rwkv")

SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "table": table,
    **{f"onnx-{name}": partial(onnx, name) for name in (NATIVE if FULL else NATIVE[1:])},
    **{f"hf-{name}": partial(hf, name) for name in (NATIVE if FULL else NATIVE[1:2])},
    **{f"hf-{name}": partial(hf, name) for name in (families.OTHERS if FULL else FOREIGN)},
}

from tests.contract.server_subjects import SUBJECTS as SERVERS  # noqa: E402 - they are made of `Subject`

SUBJECTS |= SERVERS
