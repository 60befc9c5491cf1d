"""The tokens a trace names, kept with it: opening a trace needs no tokenizer.

Knows how a token is written down and when it must be: the first time its id appears.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

from tokenglass.text import safe_line
from tokenglass.types import Kind, Token, Vocabulary

_KINDS: tuple[str, ...] = get_args(Kind)


def encode_token(token: Token) -> Any:
    """A vocabulary entry: its bytes in hexadecimal, with its kind unless that is "normal"."""
    return token.bytes.hex() if token.kind == "normal" else [token.bytes.hex(), token.kind]


def decode_token(token_id: int, data: Any) -> Token:
    """The entry from `encode_token`'s form.

    Raises:
        ValueError, TypeError: not that form.
    """
    text, kind = (data, "normal") if isinstance(data, str) else data
    if kind not in _KINDS:
        raise ValueError(f"a token is of no kind {str(kind)[:20]!a}")
    return Token(token_id, bytes.fromhex(text), cast(Kind, kind))


def new_tokens(ids: Iterable[int], vocabulary: Vocabulary, known: Mapping[int, Any]) -> dict[int, Token]:
    """Entries of the ids that are not known yet, in order of id."""
    return {token_id: vocabulary.token(token_id) for token_id in sorted({i for i in ids if i not in known})}


class RecordedVocabulary:
    """The part of a vocabulary that a trace names; satisfies `types.Vocabulary`.

    Args:
        size: of the whole vocabulary.
        tokens: id -> entry, as far as they are known; may grow while a trace is written.
    """

    def __init__(self, size: int, tokens: dict[int, Token] | None = None) -> None:
        self.size = size
        self.tokens = {} if tokens is None else tokens

    def __len__(self) -> int:
        return self.size

    def token(self, token_id: int) -> Token:
        """The vocabulary entry of an id.

        Raises:
            ValueError: the trace does not name it.
        """
        if token_id not in self.tokens:
            raise ValueError(f"token {token_id} is not named in this trace; open the trace with its model")
        return self.tokens[token_id]

    def find(self, text: str) -> int:
        """The id of the recorded token that stands for exactly `text`.

        Raises:
            ValueError: none that the trace names does.
        """
        data = text.encode("utf-8", "surrogatepass")
        found = [token for token in self.tokens.values() if token.bytes == data]
        if not found:
            shown = safe_line(text)
            raise ValueError(f"no token named in this trace stands for {shown!r}; give its id")
        return min(found, key=lambda token: (token.kind != "normal", token.id)).id
