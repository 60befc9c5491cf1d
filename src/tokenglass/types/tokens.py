"""Tokens, and a text cut into them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from tokenglass.text import safe_text
from tokenglass.types.shown import Tabular

Kind = Literal["normal", "control", "byte", "unknown"]


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of a vocabulary, or one piece of a tokenized text.

    Attributes:
        id: the token id; with the bytes, the truth about a token.
        bytes: exactly what it stands for; may be half a UTF-8 character.
        kind: "normal", "control" (special: end of text, role marks), "byte" (a single-byte fallback) or
            "unknown" (the vocabulary's unknown token).
        span: (start, end) in the UTF-8 bytes of the text it came from; None for an entry of the vocabulary
            and for tokens that stand for no text (an added BOS).
    """

    id: int
    bytes: bytes
    kind: Kind = "normal"
    span: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        """Safe to put on any screen: white space and control characters visible, half characters as bytes."""
        return safe_text(self.bytes)


class Vocabulary(Protocol):
    """What results need to know of a tokenizer: names for ids, and ids for text."""

    def __len__(self) -> int: ...

    def token(self, token_id: int) -> Token:
        """The vocabulary entry of an id (span None)."""
        ...

    def find(self, text: str) -> int:
        """The id of the one token that stands for exactly `text`; ValueError when there is none."""
        ...


@dataclass(frozen=True, repr=False)
class Tokenization(Tabular):
    """A text cut into tokens.

    Attributes:
        text: the text as given.
        tokens: the pieces in order; concatenated bytes equal the text where the tokenizer is lossless.
    """

    text: str
    tokens: tuple[Token, ...]

    @cached_property
    def ids(self) -> list[int]:
        """The token ids."""
        return [token.id for token in self.tokens]

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[Token]:
        return iter(self.tokens)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each token."""
        rows: list[dict[str, Any]] = self.to_dict()["tokens"]
        return rows
