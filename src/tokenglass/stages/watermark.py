"""Watermarks: a bias or a tournament that a detector with the same key can find again in the text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from tokenglass.random import Mt19937
from tokenglass.stages.base import BaseStage, require, require_number, require_whole
from tokenglass.stages.context import Context
from tokenglass.stages.row import Ids, Row

_TABLE_SIZE = 1_000_003
_TRIED_BY_SELFHASH = 40
_MOST_KEY = 2**63 - 1


@dataclass(frozen=True)
class Watermark(BaseStage):
    """Add a bias to a "green" part of the vocabulary that follows from the tokens before.

    Args:
        ratio: share of the vocabulary that is green, in (0, 1).
        bias: added to green scores.
        key: the secret.
        scheme: "lefthash" seeds by the last token, "selfhash" by the last tokens and the candidate itself,
            and looks only at the 40 best.
        width: how many tokens selfhash reads, >= 1; nothing happens while the text is shorter.

    Raises:
        ValueError: a parameter outside its range.

    Source: Kirchenbauer et al. 2023, arXiv:2301.10226; the same green lists as transformers' on CPU.

    >>> Watermark(ratio=0.5)([0.0, 0.0, 0.0, 0.0], Context((5,))).tolist()
    [2.0, 2.0, 0.0, 0.0]
    """

    ratio: float = 0.25
    bias: float = 2.0
    key: int = 15485863
    scheme: Literal["lefthash", "selfhash"] = "lefthash"
    width: int = 1
    name = "watermarking_config"

    def __post_init__(self) -> None:
        require(
            0.0 < require_number("greenlist_ratio", self.ratio) < 1.0,
            "greenlist_ratio",
            "in (0, 1)",
            self.ratio,
        )
        require_number("bias", self.bias)
        require_whole("hashing_key", self.key, 0)
        require(self.key <= _MOST_KEY, "hashing_key", "at most 2**63 - 1", self.key)
        require(
            self.scheme in ("lefthash", "selfhash"), "seeding_scheme", "lefthash or selfhash", self.scheme
        )
        require_whole("context_width", self.width, 1)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with its green tokens raised."""
        if context.position < max(1, self.width):
            return row, state
        green = self._green(row, context.ids)
        if not len(green):
            return row, state
        return row.replaced(green, row.scores[green] + np.float32(self.bias)), state

    def _green(self, row: Row, ids: Ids) -> Ids:
        size = int(len(row) * self.ratio)
        if self.scheme == "lefthash":
            return _greens(len(row), self._seed(ids), size)
        tried = row.ranked(_TRIED_BY_SELFHASH)[:_TRIED_BY_SELFHASH].tolist()
        seeds = [self._seed(np.append(ids, token)) for token in tried]
        green = [t for t, seed in zip(tried, seeds, strict=True) if is_green(len(row), seed, size, t)]
        return np.array(green, dtype=np.int64)

    def _seed(self, ids: Ids) -> int:
        if self.scheme == "lefthash":
            seed = self.key * int(ids[-1])
        else:
            table, seen = _table(self.key), ids[-self.width :] % _TABLE_SIZE
            with np.errstate(over="ignore"):  # products wrap at 64 bits, as torch's do
                seed = int((np.int64(self.key) * (table[seen] + 1) * (table[seen[-1]] + 1)).min())
        return seed % (2**64 - 1)


@lru_cache(maxsize=2)
def _table(key: int) -> Ids:
    return np.array(permutation(_TABLE_SIZE, key, _TABLE_SIZE), dtype=np.int64)


@lru_cache(maxsize=256)
def _greens(size: int, seed: int, first: int) -> Ids:
    """A green list, kept: texts come back to the same last token."""
    greens = np.array(permutation(size, seed, first), dtype=np.int64)
    greens.flags.writeable = False
    return greens


@lru_cache(maxsize=1 << 16)
def is_green(size: int, seed: int, first: int, token_id: int) -> bool:
    """Whether `permutation` holds a token: its place is followed instead of everybody's."""
    partners, at, done = _partners(size, seed, first), token_id, 0
    while True:
        met = done + int((partners[done:] == at).argmax()) if done < len(partners) else -1
        if 0 <= met <= at and partners[met] == at:
            return True  # swapped down to place `met`, which no later swap touches
        if at >= len(partners):
            return at < first
        at, done = int(partners[at]), at + 1


def permutation(size: int, seed: int, first: int) -> tuple[int, ...]:
    """The first elements of torch's CPU `randperm(size)` after `manual_seed(seed)`.

    >>> permutation(20, 12345, 5)
    (10, 5, 1, 19, 8)
    """
    partners = _partners(size, seed, first).tolist()
    order = list(range(size))
    for i, j in enumerate(partners):
        order[i], order[j] = order[j], order[i]
    return tuple(order[:first])


def _partners(size: int, seed: int, first: int) -> Ids:
    """With which place each of the first places is swapped, in turn."""
    swaps = min(first, size - 1)
    words, _ = Mt19937(seed % 2**32).words(max(1, swaps))
    return np.arange(swaps) + (words[:swaps] % (size - np.arange(swaps))).astype(np.int64)
