"""Which positions of two runs answer the same question, and over which outcomes their answers are compared.

Two vocabularies have no outcome in common but the text itself. At an offset of the text where both runs have
a token's end, each says which token comes next, and with it which byte: the tokens' probabilities summed by
first byte. That is exact for the tokens each model has read; how it would go on after the same text cut into
other tokens is another question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from tokenglass.comparing.measures import LogProbs
from tokenglass.types import Step, Token, Tokenization

if TYPE_CHECKING:
    from tokenglass.model import Model

NO_TEXT = 256  # the outcome "a token that writes no text": control tokens, the unknown token, unused rows
Pair = tuple[int, int, int | None]  # index in a's ids, index in b's, offset in the text's bytes


def same_vocabulary(a: Model, b: Model) -> bool:
    """Whether every id stands for the same bytes in both."""
    if a.tokenizer is b.tokenizer:
        return True
    size = a.info.vocab_size
    if size != b.info.vocab_size:
        return False
    pairs = ((a.tokenizer.token(i), b.tokenizer.token(i)) for i in range(size))
    return all(x.bytes == y.bytes and x.kind == y.kind for x, y in pairs)


def text_of(token: Token) -> bytes:
    """The bytes a token adds to the text."""
    return b"" if token.kind in ("control", "unknown") else token.bytes


def byte_token(outcome: int) -> Token:
    """An outcome of `FirstBytes` as a token."""
    return Token(NO_TEXT, b"", "control") if outcome == NO_TEXT else Token(outcome, bytes([outcome]), "byte")


@dataclass(frozen=True)
class FirstBytes:
    """The next byte as a model sees it: probabilities of tokens, summed by their first byte.

    Attributes:
        first: (V,) first byte of each token, `NO_TEXT` where it adds none.
    """

    first: tuple[int, ...]

    @classmethod
    def of(cls, model: Model) -> FirstBytes:
        """Of a model's vocabulary."""
        texts = (text_of(model.tokenizer.token(i)) for i in range(model.info.vocab_size))
        return cls(tuple(text[0] if text else NO_TEXT for text in texts))

    @cached_property
    def _groups(self) -> tuple[LogProbs, LogProbs, LogProbs, LogProbs]:
        """Ids in order of first byte; where each byte's begin; how many they are; which byte it is."""
        first = np.array(self.first)
        order = np.argsort(first, kind="stable")
        outcomes, starts, sizes = np.unique(first[order], return_index=True, return_counts=True)
        return order, starts, sizes, outcomes

    def marginal(self, logs: LogProbs) -> LogProbs:
        """Log-probabilities of tokens (V,) as those of the next byte (257,); -inf where no token has it."""
        order, starts, sizes, outcomes = self._groups
        ordered = logs[order]
        best = np.maximum.reduceat(ordered, starts)
        best = np.where(best == -inf, 0.0, best)
        sums = np.add.reduceat(np.exp(ordered - np.repeat(best, sizes)), starts)
        found = np.full(NO_TEXT + 1, -inf)
        with np.errstate(divide="ignore"):
            found[outcomes] = best + np.log(sums)
        return found


def prompt_pairs(a: Tokenization, b: Tokenization) -> list[Pair]:
    """Indices before the last at which two tokenizations of one text have read the same bytes, in order.

    The bytes are those of the text itself (the tokens' spans), which a tokenizer may spell otherwise. Of
    several tokens that end at one place (bytes of one character, an added token) the last counts.
    """
    ends_a, ends_b = _ends(a), _ends(b)
    pairs = ((ends_a[end], ends_b[end], end) for end in sorted(ends_a.keys() & ends_b.keys()))
    return [pair for pair in pairs if pair[0] < len(a) - 1 and pair[1] < len(b) - 1]


def _ends(tokenization: Tokenization) -> dict[int, int]:
    """Offset -> index of the last token that ends there; none before the first byte."""
    return {token.span[1]: i for i, token in enumerate(tokenization.tokens) if token.span and token.span[1]}


def common_ids(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids two texts share from their start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def common_bytes(a: Sequence[Step], b: Sequence[Step]) -> int:
    """How many bytes two texts share from their start."""
    data = (b"".join(text_of(step.token) for step in steps) for steps in (a, b))
    return common_ids(*data)


def divided(a: Sequence[Step], b: Sequence[Step], shared: int) -> tuple[int, int]:
    """Index of each text's token that writes the first byte behind the shared ones, or ends the text there.

    The number of tokens where there is none, and where both texts end alike.
    """
    own, other = _token_at(a, shared), _token_at(b, shared)
    if all(i < len(steps) and not text_of(steps[i].token) for steps, i in ((a, own), (b, other))):
        return len(a), len(b)
    return own, other


def _token_at(steps: Sequence[Step], offset: int) -> int:
    end = 0
    for index, step in enumerate(steps):
        size = len(text_of(step.token))
        if end + size > offset or (end == offset and step.finish_reason is not None):
            return index
        end += size
    return len(steps)


def text_pairs(a: Sequence[Step], b: Sequence[Step], shared: int) -> list[tuple[int, int, int]]:
    """(tokens of a, tokens of b, bytes) at which both have written the same, and both write on.

    Args:
        a: the steps of one text.
        b: the steps of the other.
        shared: bytes that both have in common.
    """
    ends_a, ends_b = _written_ends(a, shared), _written_ends(b, shared)
    return [(ends_a[end], ends_b[end], end) for end in sorted(ends_a.keys() & ends_b.keys())]


def _written_ends(steps: Sequence[Step], shared: int) -> dict[int, int]:
    """Bytes -> tokens after which so many are written, before the last token, as far as `shared`."""
    found, end = {0: 0}, 0
    for count, step in enumerate(steps[:-1], start=1):
        end += len(text_of(step.token))
        if end > shared:
            break
        found.setdefault(end, count)
    return found
