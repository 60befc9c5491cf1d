"""Small models for the page: numbers that look like a language model's, over bytes or over chosen tokens."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests.support import SIZE, ByteTokenizer
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.types import Token, Tokenization


def spread(size: int, favourites: Sequence[int] = (), scale: float = 1.2) -> Any:
    """Logits from a checksum of the ids: the same everywhere, no two equal, some ids likelier than others."""

    def rule(ids: tuple[int, ...]) -> np.ndarray:
        random = np.random.default_rng(zlib.crc32(np.array(ids, np.int64).tobytes()))
        row = (scale * random.standard_normal(size)).astype(np.float32)
        row[list(favourites)] += 3.0
        return row

    return rule


def bytes_model() -> Model:
    """257 tokens: the bytes, most of them parts of no character, and an end of text that is rare."""
    letters = [*range(97, 123), 32, 0xC3, 0xA9]
    tokenizer: Any = ByteTokenizer()
    return Model(TableEngine(spread(SIZE, letters), SIZE, eos_ids=(256,)), tokenizer)


class ChosenTokenizer:
    """Bytes as tokens, and after them tokens of any content."""

    lossless = True
    chat_template = None

    def __init__(self, contents: Sequence[bytes]) -> None:
        self.contents = [*(bytes([b]) for b in range(256)), *contents]

    def __len__(self) -> int:
        return len(self.contents)

    def token(self, token_id: int) -> Token:
        return Token(token_id, self.contents[token_id])

    def find(self, text: str) -> int:
        return self.contents.index(text.encode())

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False
    ) -> Tokenization:
        data = text.encode()
        tokens = (Token(b, bytes([b]), "normal", (i, i + 1)) for i, b in enumerate(data))
        return Tokenization(text, tuple(tokens))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        return b"".join(self.contents[i] for i in ids).decode(errors="replace")


def chosen_model(contents: Sequence[bytes], name: str = "table") -> Model:
    """A model that writes the given contents above all; its name is the given one."""
    tokenizer: Any = ChosenTokenizer(contents)
    size = len(tokenizer)
    engine = TableEngine(spread(size, range(256, size), scale=0.4), size, eos_ids=(), context_length=8192)
    engine._info = replace(engine.info, name=name)
    return Model(engine, tokenizer)


def repeating(model: Model) -> Model:
    """A model that remembers its logits: the same numbers, without another run for each configuration."""
    known: dict[tuple[int, ...], Any] = {}

    def rule(ids: tuple[int, ...]) -> Any:
        if ids not in known:
            known[ids] = model.logits(list(ids))[-1]
        return known[ids]

    info = model.info
    engine = TableEngine(rule, info.vocab_size, context_length=info.context_length)
    engine._info = replace(info, capabilities=engine.info.capabilities)
    return Model(engine, model.tokenizer, model.generation_defaults)
