"""How a text's tokens came about: the stretches that are cut apart first, and the merges inside each.

Knows nothing about files or screens. The merges are the tokenizer's own, replayed in its own order, and the
result is compared with the tokens it really gives: where they differ there is no history, not a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenglass.errors import Unsupported
from tokenglass.tokenizer.core import Span, Tokenizer, Word
from tokenglass.tokenizer.merging import Merge, Rank, merge
from tokenglass.types import Token


@dataclass(frozen=True, slots=True)
class Joining:
    """One merge.

    Attributes:
        left: bytes of the left piece.
        right: bytes of the right piece.
        index: of the left piece among the pieces before the merge.
        rank: the pair's place in the order of merges, lower first: of byte-level BPE its place in the list,
            from 0; of SentencePiece the score of the piece it makes, with its sign turned.
    """

    left: bytes
    right: bytes
    index: int
    rank: float


@dataclass(frozen=True, slots=True)
class Merges:
    """One stretch of text from its first symbols to its tokens.

    Attributes:
        span: (start, end) in the text's bytes.
        symbols: bytes of the symbols that merging starts from.
        joinings: the merges in order; None where the tokenizer did something else than merge.
        ids: the tokens it becomes.
    """

    span: Span
    symbols: tuple[bytes, ...]
    joinings: tuple[Joining, ...] | None
    ids: tuple[int, ...]


def says_words(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer says where it cuts a text first, so that `words` answers."""
    return getattr(tokenizer, "scheme", None) is not None


def says_merges(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer merges pairs, so that `merges` answers."""
    return getattr(getattr(tokenizer, "scheme", None), "rank", None) is not None


def words(tokenizer: Tokenizer, text: str) -> list[Word]:
    """The stretches of a text that become tokens without regard to one another.

    Raises:
        Unsupported: the tokenizer does not say.
    """
    if not says_words(tokenizer):
        raise Unsupported("words of this tokenizer", "it does not say where it cuts; look at its tokens")
    tokenizer.encode(text)  # one line about a text that is none
    found: list[Word] = tokenizer.scheme.words(text)
    return found


def merges(tokenizer: Tokenizer, text: str) -> list[Merges]:
    """Every stretch of a text with the merges that made its tokens.

    Raises:
        Unsupported: the tokenizer does not merge, as WordPiece and Unigram do not.
    """
    found = words(tokenizer, text)
    if not says_merges(tokenizer):
        raise Unsupported(f"merges of a {tokenizer.kind} tokenizer", "it has none; only BPE merges pairs")
    rank: Rank = tokenizer.scheme.rank  # type: ignore[attr-defined]
    return [_merged(tokenizer, rank, word) for word in found]


def _merged(tokenizer: Tokenizer, rank: Rank, word: Word) -> Merges:
    span, symbols, ids = word
    in_bytes = tokenizer.scheme.symbol_bytes  # type: ignore[attr-defined]  # where there is a rank there is this
    log: list[Merge] = []
    left_over = merge(list(symbols), rank, log)
    pieces = tuple(map(in_bytes, symbols))
    same = _spelled(map(in_bytes, left_over), [tokenizer.token(token_id) for token_id in ids])
    return Merges(span, pieces, _joinings(pieces, log) if same else None, tuple(ids))


def _spelled(pieces: Iterable[bytes], tokens: Sequence[Token]) -> bool:
    """Whether the pieces are the tokens; one that is none may stand as the tokens of its bytes."""
    left = list(tokens)
    for piece in pieces:
        size = len(piece) if left and left[0].kind == "byte" else 1
        spelled, left = left[:size], left[size:]
        if b"".join(token.bytes for token in spelled) != piece:
            return False
    return not left


def _joinings(pieces: tuple[bytes, ...], log: list[Merge]) -> tuple[Joining, ...]:
    """The merges as they change the row of pieces."""
    alive = {slot: piece for slot, piece in enumerate(pieces)}  # in order: a merge only takes away
    found = []
    for rank, left, right in log:
        index = list(alive).index(left)
        found.append(Joining(alive[left], alive[right], index, rank))
        alive[left] += alive.pop(right)
    return tuple(found)
