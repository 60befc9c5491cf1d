"""Don't repeat yourself: a penalty that grows with the length of the passage a token would repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any

import numpy as np

from tokenglass.stages.base import BaseStage, require, require_whole
from tokenglass.stages.context import Context, Window
from tokenglass.stages.row import Row
from tokenglass.types import Vocabulary

Breakers = tuple[tuple[int, ...], ...]
_LOG_FLOAT_MAX = np.float32(88.7228391)
_MAX_BREAKER_BYTES = 40
_MAX_TAIL = 20


@dataclass(frozen=True)
class Dry(BaseStage):
    """Subtract multiplier base^(n - allowed) from each token that would extend a repetition of length n.

    For every earlier place whose last n >= allowed_length tokens equal the last n of the text, the token that
    followed there is penalised, by its longest such n. Sequence breakers end a passage: nothing before the
    last breaker counts, and a token that is a breaker by itself is never penalised.

    Args:
        multiplier: 0 is off. Usual: 0.8.
        base: >= 1; below 1 is off in llama.cpp and refused here.
        allowed_length: >= 0, the longest repetition that costs nothing, less one.
        last_n: how far to look back, prompt included; 0 is off.
        breakers: token sequences that end a passage, such as those of `breakers_from_text`.

    Raises:
        ValueError: a parameter outside its range.

    Source: p-e-w 2024, oobabooga/text-generation-webui pull request 5677; as in llama.cpp.

    >>> history = [0, 1, 2, 2, 1, 2, 3, 0, 1, 2]  # a b c c b c y a b c
    >>> Dry(1.0, 2.0, 1)([0.0, 0.0, 0.0, 0.0], Context(history)).tolist()
    [0.0, -1.0, -4.0, -2.0]
    """

    multiplier: float
    base: float = 1.75
    allowed_length: int = 2
    last_n: int = 64
    breakers: Breakers = ()
    name = "dry"

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.multiplier)), "dry_multiplier", "finite", self.multiplier)
        require(1.0 <= self.base < np.inf, "dry_base", ">= 1 and finite", self.base)
        require_whole("dry_allowed_length", self.allowed_length, 0)
        require_whole("dry_penalty_last_n", self.last_n, 0)
        require(all(self.breakers), "dry_sequence_breakers", "sequences of at least one token", self.breakers)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with repetition penalised."""
        if self.multiplier == 0.0 or self.last_n == 0:
            return row, state
        newest_first = Window(last_n=self.last_n).ids(context)[::-1].tolist()
        if len(newest_first) <= self.allowed_length:
            return row, state
        limit = self._passage_limit(newest_first)
        if limit < self.allowed_length:
            return row, state
        longest = self._longest_repeats(newest_first, limit)
        ids = np.array([i for i in longest if i < len(row)], dtype=np.int64)
        penalties = np.array([self._penalty(longest[i]) for i in ids.tolist()], dtype=np.float32)
        return row.replaced(ids, row.scores[ids] - penalties, is_sorted=False), state

    @cached_property
    def _tails(self) -> dict[int, list[tuple[int, ...]]]:
        """What may follow a breaker's first token, by that token."""
        tails: dict[int, list[tuple[int, ...]]] = {}
        for head, *tail in self.breakers:
            tails.setdefault(head, []).append(tuple(tail))
        return tails

    def _passage_limit(self, newest_first: list[int]) -> int:
        """How many of the newest tokens stand after the last breaker."""
        for i, token in enumerate(newest_first):
            found = [
                len(tail)
                for tail in self._tails.get(token, ())
                if len(tail) <= i and tuple(newest_first[i - len(tail) : i][::-1]) == tail
            ]
            if found:
                return i - max(found)
        return len(newest_first)

    def _longest_repeats(self, newest_first: list[int], limit: int) -> dict[int, int]:
        """Token id -> length of the longest passage, at most `limit`, that it would extend."""
        longest: dict[int, int] = {}
        lengths = repeat_lengths(newest_first)
        for k in range(len(newest_first) - 1, 0, -1):
            length, follower = min(lengths[k], limit), newest_first[k - 1]
            if length >= self.allowed_length and longest.get(follower, -1) < length:
                longest[follower] = length
        return {token: n for token, n in longest.items() if () not in self._tails.get(token, ())}

    def _penalty(self, length: int) -> np.float32:
        exponent = length - self.allowed_length
        base = float(np.float32(self.base))
        if base > 1.000001:  # keeps the power inside float32
            exponent = min(exponent, int(_LOG_FLOAT_MAX / np.float32(log(base))))
        return np.float32(float(np.float32(self.multiplier)) * base**exponent)


def repeat_lengths(sequence: Sequence[int]) -> list[int]:
    """For each k, how many elements from k on equal the sequence's first ones: the Z-algorithm, O(n).

    >>> repeat_lengths([1, 2, 1, 2, 3])
    [5, 0, 2, 0, 0]
    """
    n = len(sequence)
    lengths = [n] + [0] * (n - 1)
    left = right = 0  # the furthest-reaching match so far is [left, right)
    for k in range(1, n):
        length = min(lengths[k - left], right - k) if k < right else 0
        while k + length < n and sequence[length] == sequence[k + length]:
            length += 1
        lengths[k] = length
        if k + length > right:
            left, right = k, k + length
    return lengths


def breakers_from_text(
    texts: Sequence[str], vocabulary: Vocabulary, tokenize: Callable[[str], Sequence[int]]
) -> Breakers:
    """All token sequences in which a sequence breaker given as text can occur.

    A token that contains the text breaks by itself; a token that ends with the text's beginning breaks when
    the tokens of the rest follow.

    Args:
        texts: such as the usual four: newline, colon, double quote, asterisk.
        vocabulary: bytes of every token.
        tokenize: text to ids, without special tokens.

    Raises:
        ValueError: an empty text.

    Source: llama.cpp's `get_overlapping_token_sequences`; at most 40 bytes of a text and 20 tokens of a rest.
    """
    words = [vocabulary.token(i).bytes for i in range(len(vocabulary))]
    found: dict[tuple[int, ...], None] = {}
    for text in texts:
        require(bool(text), "dry_sequence_breakers", "texts of at least one character", text)
        sought = text.encode()[:_MAX_BREAKER_BYTES]
        for token_id, word in enumerate(words):
            if sought in word:
                found[(token_id,)] = None
                continue
            for n in range(1, len(sought)):
                rest = sought[n:].decode(errors="ignore")
                if rest and word.endswith(sought[:n]):
                    found[(token_id, *list(tokenize(rest))[:_MAX_TAIL])] = None
    return tuple(found)
