"""Text to ids by a GGUF's own vocabulary, exactly as llama.cpp does it.

Byte-level BPE cuts text into words and merges bytes by a list of merges; SentencePiece's way merges
characters by the score of the token they make. In both, special tokens are cut out of the text first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache

from tokenglass.tokenizer.alphabet import (
    META_SPACE,
    NEVER_IN_UTF8,
    all_from_byte_level,
    byte_token,
    from_byte_level,
    from_byte_token,
    from_meta_space,
    to_byte_level,
)
from tokenglass.tokenizer.core import Piece, Word
from tokenglass.tokenizer.merging import merge
from tokenglass.tokenizer.splitting import RULES, Splitter
from tokenglass.tokenizer.vocabulary import BYTE_LEVEL, GgufVocabulary, TokenType
from tokenglass.types import Kind

_NOT_TEXT = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.UNUSED)
_MARKERS = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED)
_WHITE_SPACE = " \t\n\v\f\r"  # C's isspace
_REMEMBERED_WORD = 64  # characters; longer ones are rare, and remembering them would not bound the memory
_REMEMBERED_WORDS = 1 << 15

Pieces = tuple[tuple[int | None, int], ...]  # (id or None for a byte no token can write, bytes covered)


class GgufScheme:
    """What both kinds of GGUF vocabulary share: special tokens, entries and the order of things.

    Args:
        vocabulary: the file's.
        add_prefix_space: overrides whether text gets a space in front.
    """

    kind: str
    lossless: bool
    missing_bytes: bytes

    def __init__(self, vocabulary: GgufVocabulary, add_prefix_space: bool | None = None) -> None:
        self.vocabulary = vocabulary
        self.size = len(vocabulary.tokens)
        self.special_ids = frozenset(i for i, kind in vocabulary.types.items() if kind in _NOT_TEXT)
        wanted = vocabulary.add_space_prefix if add_prefix_space is None else add_prefix_space
        self.prefix_space: bool = wanted
        self._ids = vocabulary.ids
        self.entry = cache(self._entry)
        self._remembered = lru_cache(_REMEMBERED_WORDS)(self._word)
        # longest first, as llama.cpp looks for them
        markers = [i for i, kind in vocabulary.types.items() if kind in _MARKERS]
        self._markers = sorted(markers, key=lambda i: -len(_raw(vocabulary.tokens[i])))

    def pieces(self, text: str, add_special_tokens: bool, parse_special: bool) -> list[Piece]:
        """The tokens of `text`: (id, (start, end) in its UTF-8 bytes, or None for an added token)."""
        found: list[Piece] = []
        roles = self.vocabulary.roles
        if add_special_tokens and self.vocabulary.add_bos and "bos" in roles:
            found.append((roles["bos"], None))
        at, fresh = 0, True  # fresh: at the start, or behind a special token
        for part in self._parts(text, parse_special):
            if isinstance(part, tuple):
                token_id, length = part
                found.append((token_id, (at, at + length)))
            else:
                length = self._plain(part, at, fresh, found)
            at, fresh = at + length, isinstance(part, tuple)
        if add_special_tokens and self.vocabulary.add_eos and "eos" in roles:
            found.append((roles["eos"], None))
        return found

    def _entry(self, token_id: int) -> tuple[bytes, Kind]:
        """Exact bytes and kind of an id."""
        token, kind = self.vocabulary.tokens[token_id], self.vocabulary.token_type(token_id)
        if kind in _NOT_TEXT or kind == TokenType.USER_DEFINED:
            named: dict[int, Kind] = {TokenType.UNKNOWN: "unknown", TokenType.USER_DEFINED: "normal"}
            return _raw(token), named.get(kind, "control")
        if kind == TokenType.BYTE and (byte := from_byte_token(token)) is not None:
            return byte, "byte"
        return self.symbol_bytes(token), "normal"

    def entries(self) -> list[tuple[bytes, Kind]]:
        """Exact bytes and kind of every id."""
        return [self.entry(token_id) for token_id in range(self.size)]

    def named(self, text: str) -> Iterator[int]:
        """Ids that may stand for exactly `text`, the likeliest first."""
        for token in (self._written(text), text, *(byte_token(byte) for byte in text.encode()[:1])):
            if token in self._ids:
                yield self._ids[token]

    def text(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The ids as text, malformed bytes replaced."""
        kept = [i for i in ids if i not in self.special_ids] if skip_special_tokens else ids
        return b"".join(self.entry(i)[0] for i in kept).decode("utf-8", "replace")

    def words(self, text: str) -> list[Word]:
        """The stretches of `text` that merge without regard to one another; special tokens are none."""
        found, at, fresh = list[Word](), 0, True
        for part in self._parts(text, parse_special=False):
            if isinstance(part, str):
                start, spaced = at, self.prefix_space and self._wants_space(part, fresh)
                at -= spaced
                for word in self._words(" " + part if spaced else part):
                    ids = [i for i, _ in self._word(word) if i is not None]
                    span = max(at, start), at + len(word.encode())
                    found.append((span, list(self._written(word)), ids))
                    at = span[1]
            else:
                at += part[1]
            fresh = isinstance(part, tuple)
        return found

    def rank(self, left: str, right: str) -> float | None:
        """Which place a pair of symbols has in the order of merges, lower first; None: they never merge."""
        raise NotImplementedError

    def symbol_bytes(self, symbol: str) -> bytes:
        """What a symbol of the vocabulary's alphabet stands for."""
        raise NotImplementedError

    def _parts(self, text: str, parse_special: bool) -> Iterable[str | tuple[int, int]]:
        """Text with the special tokens in it cut out as (id, bytes covered)."""
        parts: list[str | tuple[int, int]] = [text]
        for token_id in self._markers:
            if not parse_special and token_id in self.special_ids:
                continue
            marker = self.vocabulary.tokens[token_id]
            if marker in text:
                parts = [piece for part in parts for piece in self._cut(part, marker, token_id)]
        return (part for part in parts if part)

    def _cut(
        self, part: str | tuple[int, int], marker: str, token_id: int
    ) -> Iterator[str | tuple[int, int]]:
        if isinstance(part, tuple):
            yield part
            return
        left, *rest = part.split(marker)
        yield left
        for right in rest:
            length = len(_raw(marker))
            if self.vocabulary.strips_after_special and marker not in ("<unk>", "<s>", "<|endoftext|>"):
                stripped = right.lstrip(_WHITE_SPACE)
                length += len(right) - len(stripped)
                right = stripped
            yield token_id, length
            yield right

    def _plain(self, text: str, at: int, fresh: bool, found: list[Piece]) -> int:
        """Append the tokens of a stretch that begins at byte `at`, no special token in it; its bytes."""
        start = at
        if self.prefix_space and self._wants_space(text, fresh):
            text, at = " " + text, at - 1
        for word in self._words(text):
            tokens = self._remembered(word) if len(word) <= _REMEMBERED_WORD else self._word(word)
            for token_id, length in tokens:
                if token_id is not None:
                    first, end = max(at, start), at + length
                    found.append((token_id, (first, end) if first < end else None))
                at += length
        return at - start

    def _wants_space(self, text: str, fresh: bool) -> bool:
        """Whether this stretch is one that the space goes in front of."""
        raise NotImplementedError

    def _words(self, text: str) -> list[str]:
        """Stretches that merge independently of one another."""
        raise NotImplementedError

    def _word(self, word: str) -> Pieces:
        """The tokens of one such stretch."""
        raise NotImplementedError

    def _written(self, text: str) -> str:
        """`text` in the vocabulary's alphabet."""
        raise NotImplementedError


class ByteLevelBpe(GgufScheme):
    """Byte-level BPE: GPT-2, Llama 3, Qwen, SmolLM2, GPT-NeoX and their like."""

    kind = "BPE byte-level"

    def __init__(self, vocabulary: GgufVocabulary, add_prefix_space: bool | None = None) -> None:
        super().__init__(vocabulary, add_prefix_space)
        rule = RULES[vocabulary.rule]
        self._splitter = Splitter(rule.patterns)
        self._whole_words = rule.whole_words
        self._ranks: dict[str, int] = dict(zip(vocabulary.merges, range(len(vocabulary.merges)), strict=True))
        if len(self._ranks) != len(vocabulary.merges):  # a pair listed twice has its first rank
            last = len(vocabulary.merges) - 1
            self._ranks = {pair: last - i for i, pair in enumerate(reversed(vocabulary.merges))}
        self.missing_bytes = bytes(
            byte
            for byte in range(256)
            if byte not in NEVER_IN_UTF8 and to_byte_level(bytes([byte])) not in self._ids
        )
        self.lossless = not self.missing_bytes

    def entries(self) -> list[tuple[bytes, Kind]]:
        """Exact bytes and kind of every id; the ordinary ones all at once."""
        types = self.vocabulary.types
        data = all_from_byte_level(
            ["" if i in types else token for i, token in enumerate(self.vocabulary.tokens)]
        )
        if data is None:
            return super().entries()
        found: list[tuple[bytes, Kind]] = [(each, "normal") for each in data]
        for token_id in types:
            found[token_id] = self.entry(token_id)
        return found

    def _wants_space(self, text: str, fresh: bool) -> bool:
        return not text.startswith(" ")

    def _words(self, text: str) -> list[str]:
        return self._splitter.words(text)

    def _word(self, word: str) -> Pieces:
        written = to_byte_level(word.encode())
        if self._whole_words and written in self._ids:
            return ((self._ids[written], len(written)),)
        tokens: list[tuple[int | None, int]] = []
        for symbol in merge(list(written), self.rank):
            if symbol in self._ids:
                tokens.append((self._ids[symbol], len(symbol)))
            else:  # llama.cpp looks such a symbol's bytes up one by one, and only ASCII is one byte there
                tokens += ((self._ids.get(char) if char.isascii() else None, 1) for char in symbol)
        return tuple(tokens)

    def rank(self, left: str, right: str) -> int | None:
        """The pair's place in the list of merges."""
        return self._ranks.get(f"{left} {right}")

    def symbol_bytes(self, symbol: str) -> bytes:
        """One byte for each character of GPT-2's alphabet; what is written in another stands for itself."""
        data = from_byte_level(symbol)
        return _raw(symbol) if data is None else data

    def _written(self, text: str) -> str:
        return to_byte_level(text.encode())


class ScoredMerges(GgufScheme):
    """SentencePiece's BPE: Llama 2, Mistral, TinyLlama and their like; what no token writes becomes bytes."""

    kind = "SentencePiece BPE"
    lossless = False  # a "▁" in the text comes back as a space

    def __init__(self, vocabulary: GgufVocabulary, add_prefix_space: bool | None = None) -> None:
        super().__init__(vocabulary, add_prefix_space)
        found = ((byte, self._byte_id(byte)) for byte in range(256))
        self._byte_ids = {byte: token_id for byte, token_id in found if token_id is not None}
        self.missing_bytes = bytes(sorted({*range(256)} - self._byte_ids.keys() - NEVER_IN_UTF8))
        # Where no token has a space behind another character, nothing merges across such a place.
        joined = any(META_SPACE in token.lstrip(META_SPACE) for token in vocabulary.tokens)
        self._stretch = re.compile(r"(?s:.+)" if joined else r"[ ▁]*[^ ▁]+|[ ▁]+")

    def text(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The ids as text, without the space that every text gets in front."""
        text = super().text(ids, skip_special_tokens)
        return text.removeprefix(" ") if self.prefix_space else text

    def _wants_space(self, text: str, fresh: bool) -> bool:
        return fresh

    def _words(self, text: str) -> list[str]:
        return self._stretch.findall(text)

    def _word(self, word: str) -> Pieces:
        tokens: list[tuple[int | None, int]] = []
        at = 0
        for symbol in merge(list(self._written(word)), self.rank):
            given = word[at : at + len(symbol)].encode()
            at += len(symbol)
            if symbol in self._ids:
                tokens.append((self._ids[symbol], len(given)))
            else:
                tokens += self._fallback(symbol.encode(), len(given))
        return tuple(tokens)

    def _fallback(self, data: bytes, given: int) -> list[tuple[int | None, int]]:
        """The tokens of a character that is none itself, of which the text has `given` bytes."""
        ids = [self._byte_ids.get(byte) for byte in data]
        if None in ids:
            return [(self.vocabulary.roles.get("unk"), given)]
        if given != len(data):  # a space, written as "▁"
            return [(ids[0], given), *((token_id, 0) for token_id in ids[1:])]
        return [(token_id, 1) for token_id in ids]

    def _byte_id(self, byte: int) -> int | None:
        itself = bytes([byte]).decode("utf-8", "surrogateescape")
        return self._ids.get(byte_token(byte), self._ids.get(itself))

    def rank(self, left: str, right: str) -> float | None:
        """The score of the token the pair would make, highest first."""
        token_id = self._ids.get(left + right)
        return None if token_id is None else -self.vocabulary.scores[token_id]

    def symbol_bytes(self, symbol: str) -> bytes:
        """UTF-8, with a space for each "▁"."""
        return from_meta_space(symbol)

    def _written(self, text: str) -> str:
        return text.replace(" ", META_SPACE)


def _raw(token: str) -> bytes:
    """The bytes of a token that is written as it is."""
    return token.encode("utf-8", "surrogateescape")


def scheme_for(vocabulary: GgufVocabulary, add_prefix_space: bool | None = None) -> GgufScheme:
    """The scheme that a vocabulary's `model` asks for."""
    family = ByteLevelBpe if vocabulary.model == BYTE_LEVEL else ScoredMerges
    return family(vocabulary, add_prefix_space)
