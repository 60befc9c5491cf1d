"""A model given as a table: for tests, documentation and thought experiments. Loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tokenglass.engines.base import Forward, Prefix
from tokenglass.errors import ContextOverflow, Unsupported
from tokenglass.types import EngineInfo

Floats = NDArray[np.float32]
Rule = Callable[[tuple[int, ...]], Sequence[float] | Floats]


class TableEngine:
    """Logits by rule instead of by weights.

    Args:
        rule: a function from all ids so far to a row of logits (V,), or a mapping from the last id to such a
            row.
        vocab_size: V.
        context_length: tokens it can read.
        eos_ids: ids that end a text.
        bos_id: the id that begins one, or None.

    >>> engine = TableEngine({0: [0.0, 1.0], 1: [1.0, 0.0]}, vocab_size=2)
    >>> engine.forward([Prefix((0, 1))], last=2).logits[0].tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """

    def __init__(
        self,
        rule: Rule | Mapping[int, Sequence[float]],
        vocab_size: int,
        *,
        context_length: int = 1024,
        eos_ids: tuple[int, ...] = (),
        bos_id: int | None = None,
    ) -> None:
        self._rule = rule
        self._info = EngineInfo(
            name="table",
            family="table",
            engine="table",
            precision="exact",
            parameters=0,
            vocab_size=vocab_size,
            context_length=context_length,
            eos_ids=eos_ids,
            bos_id=bos_id,
            capabilities=frozenset({"logits", "positions"}),
        )

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return self._info

    def forward(
        self,
        prefixes: Sequence[Prefix],
        *,
        last: int = 1,
        layers: Sequence[int] = (),
        hidden_last: int = 1,
    ) -> Forward:
        """Rows of the last positions of each prefix; see `base.Engine.forward`."""
        if layers:
            raise Unsupported("hidden states of a table engine")
        for prefix in prefixes:
            self._check(prefix.ids, last)
        rows = [[self._row(p.ids[: len(p.ids) - last + 1 + i]) for i in range(last)] for p in prefixes]
        return Forward(np.array(rows, dtype=np.float32), tuple(None for _ in prefixes))

    def unembed(self, hidden: Floats, *, norm: bool) -> Floats:
        """A table has no hidden states."""
        raise Unsupported("hidden states of a table engine")

    def iter_logits(self, ids: Sequence[int], chunk: int = 64) -> Iterator[Floats]:
        """Logits of every position of `ids` as (t, V) pieces."""
        ids = tuple(ids)
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        self._check(ids, 1)
        for start in range(0, len(ids), chunk):
            stop = min(start + chunk, len(ids))
            yield np.stack([self._row(ids[: i + 1]) for i in range(start, stop)])

    def close(self) -> None:
        """Nothing to release."""

    def _check(self, ids: tuple[int, ...], last: int) -> None:
        if not ids:
            raise ValueError("a prefix must hold at least one token, got none")
        if len(ids) > self._info.context_length:
            raise ContextOverflow(len(ids), self._info.context_length)
        if not 1 <= last <= len(ids):
            raise ValueError(f"last must be in [1, {len(ids)}] for a prefix of {len(ids)} tokens, got {last}")
        for token in ids:
            if not 0 <= token < self._info.vocab_size:
                raise ValueError(f"token id must be in [0, {self._info.vocab_size - 1}], got {token}")

    def _row(self, ids: tuple[int, ...]) -> Floats:
        row = self._rule(ids) if callable(self._rule) else self._rule[ids[-1]]
        return np.asarray(row, dtype=np.float32)
