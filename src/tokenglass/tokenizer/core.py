"""A tokenizer as the rest of tokenglass sees it: text to tokens with exact bytes, and back.

Knows nothing about files or algorithms: a `Scheme` turns text into ids, and `Tokenizer` gives every id its
bytes and its place in the text, answers questions about the vocabulary and says in one line what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from typing import Protocol

from tokenglass.errors import Unsupported
from tokenglass.text import safe_line, safe_text
from tokenglass.types import Kind, Token, Tokenization

Span = tuple[int, int]
Piece = tuple[int, Span | None]
# Where a stretch lies, the symbols it is made of in the vocabulary's alphabet, and the tokens it becomes.
Word = tuple[Span, list[str], list[int]]

_QUOTED = 40  # characters of a text, and tokens of its split, that an error message shows
_SHOWN = 8


class Scheme(Protocol):
    """One way of turning text into ids. Safe to call from several threads.

    Attributes:
        kind: what it is, such as "BPE byte-level".
        size: number of ids.
        special_ids: control and unknown tokens.
        lossless: every text comes back byte for byte (behind the space that `prefix_space` adds).
        missing_bytes: bytes of UTF-8 that no token can write; text loses them.
        prefix_space: text gets a space in front.
    """

    kind: str
    size: int
    special_ids: frozenset[int]
    lossless: bool
    missing_bytes: bytes
    prefix_space: bool

    def pieces(self, text: str, add_special_tokens: bool, parse_special: bool) -> list[Piece]:
        """The tokens of `text`: (id, (start, end) in its UTF-8 bytes, or None for an added token)."""
        ...

    def entry(self, token_id: int) -> tuple[bytes, Kind]:
        """Exact bytes and kind of an id below `size`."""
        ...

    def entries(self) -> list[tuple[bytes, Kind]]:
        """The same of all of them, in order."""
        ...

    def named(self, text: str) -> Iterator[int]:
        """Ids that may stand for exactly `text`, the likeliest first."""
        ...

    def text(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The ids as text, malformed bytes replaced."""
        ...

    def words(self, text: str) -> list[Word]:
        """The stretches of `text` that become tokens without regard to one another, in order."""
        ...


class Tokenizer:
    """Text to token ids and back. Immutable, safe to use from several threads.

    Args:
        scheme: how text becomes ids.
        name: of the model or file, for people.
        roles: "bos", "eos", "unk", "sep", "pad", "mask" -> id, as far as they are known.
        chat_template: jinja source that renders messages, or None.
        size: number of ids, where a model has more rows than its tokenizer has tokens.
    """

    def __init__(
        self,
        scheme: Scheme,
        *,
        name: str = "",
        roles: Mapping[str, int] | None = None,
        chat_template: str | None = None,
        size: int | None = None,
    ) -> None:
        self.scheme = scheme
        self.name = name
        self.roles: Mapping[str, int] = dict(roles or {})
        self.chat_template = chat_template
        self._size = scheme.size if size is None else size
        if self._size < scheme.size:
            raise ValueError(f"size must be at least {scheme.size}, the number of tokens, got {self._size}")
        self._entries: dict[int, Token] = {}

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<Tokenizer {safe_line(self.name)[:_QUOTED]!r}: {self.kind}, {len(self):,} tokens>"

    @property
    def vocab_size(self) -> int:
        """Number of ids; the largest is one less."""
        return self._size

    @property
    def kind(self) -> str:
        """The method, such as "BPE byte-level", "SentencePiece BPE", "WordPiece" or "Unigram"."""
        return self.scheme.kind

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text, or None."""
        return self.roles.get("bos")

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text, or None."""
        return self.roles.get("eos")

    @property
    def unk_id(self) -> int | None:
        """The token for what cannot be written, or None."""
        return self.roles.get("unk")

    @property
    def special_ids(self) -> frozenset[int]:
        """Ids that stand for no text: control tokens and the unknown token."""
        return self.scheme.special_ids

    @property
    def special_tokens(self) -> dict[str, str]:
        """The tokens with a role, as chat templates know them: "bos_token" -> "<s>"."""
        return {
            f"{role}_token": self.token_bytes(token_id).decode("utf-8", "replace")
            for role, token_id in self.roles.items()
        }

    @property
    def lossless(self) -> bool:
        """Whether every text comes back byte for byte, behind the space that `prefix_space` adds.

        False where the vocabulary lacks a byte (`missing_bytes`) or normalises; a text without what is lost
        still comes back exactly, which the tokens' bytes and spans show.
        """
        return self.scheme.lossless

    @property
    def missing_bytes(self) -> bytes:
        """Bytes of UTF-8 that no token can write: text loses them, and no span covers them."""
        return self.scheme.missing_bytes

    @property
    def prefix_space(self) -> bool:
        """Whether text gets a space in front, so that its first word is written like any other."""
        return self.scheme.prefix_space

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False
    ) -> Tokenization:
        """Cut a text into tokens.

        Args:
            text: any text, an empty one too.
            add_special_tokens: add what the model expects around a text, such as BOS (span None).
            parse_special: read "<|im_end|>" and its like as the tokens they name instead of as plain text.

        Raises:
            ValueError: a lone surrogate, which is half a character and no text.
        """
        _check_text(text)
        tokens = tuple(
            Token(token_id, entry.bytes, entry.kind, span)
            for token_id, span in self.scheme.pieces(text, add_special_tokens, parse_special)
            for entry in (self.token(token_id),)
        )
        return Tokenization(text, tokens)

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        """The ids as a text to read: malformed or half characters become U+FFFD, a prefix space is left out.

        For the exact bytes, or the continuation of a text, see `decode_bytes`.

        Raises:
            ValueError: an id outside the vocabulary.
        """
        known = [self._checked(token_id) for token_id in ids]
        return self.scheme.text([i for i in known if i < self.scheme.size], skip_special_tokens)

    def decode_bytes(self, ids: Iterable[int], *, skip_special_tokens: bool = False) -> bytes:
        """The exact bytes of the ids one after the other: nothing stripped, replaced or cleaned up.

        Raises:
            ValueError: an id outside the vocabulary.
        """
        tokens = [self.token(token_id) for token_id in ids]
        skipped = self.special_ids if skip_special_tokens else frozenset()
        return b"".join(token.bytes for token in tokens if token.id not in skipped)

    def token(self, token_id: int) -> Token:
        """The vocabulary entry of an id (span None).

        Raises:
            ValueError: an id outside the vocabulary.
        """
        token_id = index(token_id)
        entry = self._entries.get(token_id)
        if entry is None:
            self._checked(token_id)
            named: tuple[bytes, Kind] = (b"", "control")  # a row that no token uses
            if token_id < self.scheme.size:
                named = self.scheme.entry(token_id)
            entry = self._entries[token_id] = Token(token_id, *named)
        return entry

    def entries(self) -> list[tuple[bytes, Kind]]:
        """Exact bytes and kind of every id, in order; much faster than asking for each."""
        unused: tuple[bytes, Kind] = (b"", "control")
        return [*self.scheme.entries(), *[unused] * (self._size - self.scheme.size)]

    def token_bytes(self, token_id: int) -> bytes:
        """Exactly what an id stands for; may be half a character."""
        return self.token(token_id).bytes

    def find(self, text: str) -> int:
        """The id of the one token that stands for exactly `text`.

        Raises:
            ValueError: there is none; says how the text is really split, and the nearest token.
        """
        _check_text(text)
        found = self._exactly(text)
        if found is not None:
            return found
        if not text:
            raise ValueError("an empty text has no token; give the text of one token, or its id")
        pieces = self.encode(text, add_special_tokens=False).tokens
        split = " + ".join(f'"{token.text}" ({token.id})' for token in pieces[:_SHOWN])
        more = f" and {len(pieces) - _SHOWN:,} more" if len(pieces) > _SHOWN else ""
        really = f"it becomes {split}{more}" if pieces else "this vocabulary cannot write it"
        nearest = self._nearest(text)
        hint = "" if nearest is None else f'; the nearest token is "{nearest.text}" ({nearest.id})'
        raise ValueError(f'no single token is "{_quote(text)}": {really}{hint}')

    def padded_to(self, size: int) -> Tokenizer:
        """This tokenizer for a model with more rows than tokens; the rows above stand for no text.

        Raises:
            ValueError: fewer rows than tokens.
        """
        return Tokenizer(
            self.scheme, name=self.name, roles=self.roles, chat_template=self.chat_template, size=size
        )

    def to_json(self) -> str:
        """A GGUF's vocabulary as one document, which `tokenglass.tokenizer.from_json` loads more quickly.

        Raises:
            Unsupported: the tokenizer comes from a tokenizer.json or such, which can be loaded itself.
        """
        vocabulary = getattr(self.scheme, "vocabulary", None)
        if vocabulary is None:
            raise Unsupported("saving a tokenizer that is no GGUF's", "load it from its own files")
        text: str = vocabulary.to_json()
        return text

    def _checked(self, token_id: int) -> int:
        number = index(token_id)
        if not 0 <= number < self._size:
            raise ValueError(f"token id must be in [0, {self._size - 1}], got {number}")
        return number

    def _exactly(self, text: str) -> int | None:
        data = text.encode()
        return next((i for i in self.scheme.named(text) if data and self.token_bytes(i) == data), None)

    def _nearest(self, text: str) -> Token | None:
        """With or without the space in front, in another case, or the longest token that begins the text."""
        bare = text.lstrip(" ")
        variants = [" " + bare, bare]
        variants += [f(form) for form in (text, *variants) for f in (str.lower, str.title, str.upper)]
        beginnings = (text[:end] for end in range(min(len(text), _QUOTED), 0, -1))
        for variant in (*variants, *beginnings):
            if (found := self._exactly(variant)) is not None:
                return self.token(found)
        return None


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {type(text).__name__}; decode bytes as UTF-8 first")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text has half a character, the lone surrogate U+{ord(text[error.start]):04X}, at position "
            f"{error.start}; no UTF-8 text can hold it: remove it, or decode the input with errors='replace'"
        ) from None


def _quote(text: str) -> str:
    return safe_text(text[:_QUOTED]) + ("…" if len(text) > _QUOTED else "")
