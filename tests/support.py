"""A model without files: one token for each byte, logits from a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.types import Token, Tokenization

EOS = 256
SIZE = 257


class ByteTokenizer:
    """Bytes as tokens, and an end-of-text token after them."""

    lossless = True
    chat_template = None

    def __len__(self) -> int:
        return SIZE

    def token(self, token_id: int) -> Token:
        return Token(EOS, b"<end>", "control") if token_id == EOS else Token(token_id, bytes([token_id]))

    def find(self, text: str) -> int:
        data = text.encode()
        if len(data) != 1:
            raise ValueError(f"no single token stands for {text!r}")
        return data[0]

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False
    ) -> Tokenization:
        tokens = (Token(b, bytes([b]), "normal", (i, i + 1)) for i, b in enumerate(text.encode()))
        return Tokenization(text, tuple(tokens))

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        pieces = (self.token(i) for i in ids)
        data = b"".join(t.bytes for t in pieces if not (skip_special_tokens and t.kind == "control"))
        return data.decode(errors="replace")


def writes(text: str, *, then: int = EOS) -> Callable[[tuple[int, ...]], np.ndarray]:
    """A rule that copies a text byte by byte (it finds its place by the last bytes), then says `then`.

    The chosen byte has logit 2, the byte after it in the alphabet 1, all others 0.
    """
    data = text.encode()

    def rule(ids: tuple[int, ...]) -> np.ndarray:
        written = bytes(i for i in ids if i < 256)
        place = next((n for n in range(len(data), -1, -1) if written.endswith(data[:n])), 0)
        best = data[place] if place < len(data) else then
        row = np.zeros(SIZE, np.float32)
        row[(best + 1) % SIZE], row[best] = 1.0, 2.0
        return row

    return rule


def model(rule: Callable[[tuple[int, ...]], Any] | Mapping[int, Sequence[float]], **options: Any) -> Model:
    """A model over bytes with the given rule."""
    options.setdefault("eos_ids", (EOS,))
    tokenizer: Any = ByteTokenizer()
    defaults = options.pop("generation_defaults", None)
    return Model(TableEngine(rule, SIZE, **options), tokenizer, defaults)


def shown(value: object, most: int = 40) -> str:
    """A value as the name of a test: the same in every process, so without any address in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:most]
