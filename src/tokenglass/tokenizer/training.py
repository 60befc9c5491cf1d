"""Training a small byte-level BPE tokenizer on a text, with Hugging Face's `tokenizers` library.

Training counts and never draws: the same text gives the same tokenizer, merge by merge.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tokenglass.tokenizer.alphabet import from_byte_level
from tokenglass.tokenizer.core import Tokenizer
from tokenglass.tokenizer.library import LibraryScheme

BYTES = 256  # every vocabulary has a token for each byte, so that it can write any text
LEAST_COUNT = 2  # a pair that stands in the text once says nothing about language


@dataclass(frozen=True, slots=True)
class Learned:
    """One merge that training chose.

    Attributes:
        left: bytes of the left token.
        right: bytes of the right token.
        count: how often the pair was joined in the text.
    """

    left: bytes
    right: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Trained:
    """A tokenizer that was just trained.

    Attributes:
        tokenizer: ready to use.
        learned: its merges, in the order in which they were chosen.
        document: the whole tokenizer as a tokenizer.json, by which two can be compared.
    """

    tokenizer: Tokenizer
    learned: tuple[Learned, ...]
    document: str


def train(text: str, vocab_size: int) -> Trained:
    """Train byte-level BPE, cut into words as GPT-2 does, on one text.

    Args:
        text: what to learn from.
        vocab_size: tokens to end with, at least `BYTES`; fewer come out where no pair stands there twice.

    Raises:
        ValueError: a vocabulary smaller than the bytes.
    """
    if vocab_size < BYTES:
        raise ValueError(f"vocab_size must be at least {BYTES}, a token for each byte, got {vocab_size}")
    import tokenizers

    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    cutter = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer, backend.decoder = cutter, tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=LEAST_COUNT,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([text], trainer)
    document = backend.to_str()
    pairs = [tuple(pair) for pair in json.loads(document)["model"]["merges"]]
    words = Counter(word for word, _ in cutter.pre_tokenize_str(text))
    return Trained(Tokenizer(LibraryScheme(backend), name="trained"), tuple(_counted(words, pairs)), document)


def _counted(words: Counter[str], pairs: list[Any]) -> Iterator[Learned]:
    """The merges, each with its pair's count: all of it happens once more, as plainly as possible."""
    rows = {word: list(word) for word in words}
    for left, right in pairs:
        count = 0
        for word in [word for word in rows if left + right in word]:
            rows[word], times = _joined(rows[word], left, right)
            count += times * words[word]
        yield Learned(_bytes(left), _bytes(right), count)


def _joined(pieces: list[str], left: str, right: str) -> tuple[list[str], int]:
    """The pieces with each pair joined, and how often that was."""
    found: list[str] = []
    times = 0
    for piece in pieces:
        if found and found[-1] == left and piece == right:
            found[-1] += right
            times += 1
        else:
            found.append(piece)
    return found, times


def _bytes(token: str) -> bytes:
    data = from_byte_level(token)
    assert data is not None  # the alphabet that training began with
    return data
