"""Operations about tokens alone: words, merges, two tokenizers side by side, a small one trained twice."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from tokenglass.text import safe_text
from tokenglass.tokenizer.history import Joining, Merges
from tokenglass.tokenizer.history import merges as merge_history
from tokenglass.tokenizer.history import words as words_of
from tokenglass.tokenizer.training import BYTES, Trained
from tokenglass.tokenizer.training import train as train_tokenizer
from tokenglass.types import Tokenization
from tokenglass.workbench.kinds import TEXT
from tokenglass.workbench.params import JsonDict, Refused, whole
from tokenglass.workbench.params import text as text_of
from tokenglass.workbench.registry import operation
from tokenglass.workbench.states import character_groups

if TYPE_CHECKING:
    from tokenglass.workbench.bench import Workbench

LONGEST = 4000  # characters, of which each becomes a row
MOST_TOKENS = 2000  # of a vocabulary trained here
SHORT_TEXT = text_of(LONGEST, "a text")
MODEL = text_of(256, "one of the models here", least=1)
VOCAB_SIZE = whole(BYTES, MOST_TOKENS, "tokens of the vocabulary, one for each byte among them")


@operation(text=SHORT_TEXT, model=MODEL)
def words(bench: Workbench, text: str, model: str | None = None) -> JsonDict:
    """One text as characters, as the words that are cut apart first, and as tokens."""
    tokenizer = bench.named(model).tokenizer
    data = text.encode()
    found = [span for span, _, _ in words_of(tokenizer, text)]
    return {
        "text": text,
        "n_bytes": len(data),
        "characters": list(_pieces(data, pairwise(accumulate((len(c.encode()) for c in text), initial=0)))),
        "words": list(_pieces(data, found)),
        "tokens": token_rows(tokenizer.encode(text, add_special_tokens=False)),
    }


def _pieces(data: bytes, spans: Any) -> Iterator[JsonDict]:
    return ({"token": safe_text(data[a:b]), "span": [a, b]} for a, b in spans)


def token_rows(found: Tokenization) -> list[JsonDict]:
    """The tokens of a text, each with the character it shares with others."""
    rows: list[JsonDict] = found.to_dict()["tokens"]
    return [row | {"group": g} for row, g in zip(rows, character_groups(found.tokens), strict=True)]


@operation(text=SHORT_TEXT, model=MODEL)
def merges(bench: Workbench, text: str, model: str | None = None) -> JsonDict:
    """How each word's tokens were merged, pair by pair."""
    tokenizer = bench.named(model).tokenizer
    found = merge_history(tokenizer, text)
    by_score = tokenizer.kind == "SentencePiece BPE"
    return {
        "text": text,
        "kind": tokenizer.kind,
        "order": "score" if by_score else "place",
        "words": [_history(word, text.encode(), by_score) for word in found],
    }


def _history(word: Merges, data: bytes, by_score: bool) -> JsonDict:
    start, end = word.span
    joinings = None
    if word.joinings is not None:
        joinings = [_joining(joining, by_score) for joining in word.joinings]
    return {
        "token": safe_text(data[start:end]),
        "span": [start, end],
        "symbols": [_shown(symbol) for symbol in word.symbols],
        "merges": joinings,
        "ids": list(word.ids),
    }


def _joining(joining: Joining, by_score: bool) -> JsonDict:
    """A merge; its rank as people count, from 1, or the score of what it makes."""
    return {
        "index": joining.index,
        "rank": -joining.rank if by_score else int(joining.rank) + 1,
        "left": _shown(joining.left),
        "right": _shown(joining.right),
        **_shown(joining.left + joining.right),
    }


def _shown(piece: bytes) -> JsonDict:
    return {"token": safe_text(piece), "bytes": piece.hex()}


@operation(
    text=SHORT_TEXT,
    other=text_of(256, "another model here, whose tokens are compared", least=1),
    train_on=TEXT.said("a text to train a small tokenizer on, which is compared"),
    vocab_size=VOCAB_SIZE,
    model=MODEL,
)
def align(
    bench: Workbench,
    text: str,
    other: str | None = None,
    train_on: str | None = None,
    vocab_size: int = 2 * BYTES,
    model: str | None = None,
) -> JsonDict:
    """Two tokenizers on one text, their tokens side by side wherever both have cut."""
    if (other is None) == (train_on is None):
        raise Refused("align needs one of other and train_on", "other")
    a = bench.named(model).tokenizer
    b = bench.named(other).tokenizer if train_on is None else train_tokenizer(train_on, vocab_size).tokenizer
    sides = [tokenizer.encode(text, add_special_tokens=False) for tokenizer in (a, b)]
    named = zip((a, b), (model or bench.model.info.name, other or "trained"), sides, strict=True)
    rows = [
        {"name": name, "vocab_size": len(tokenizer), "n_tokens": len(side), "tokens": token_rows(side)}
        for tokenizer, name, side in named
    ]
    return {"text": text, "a": rows[0], "b": rows[1], "blocks": _blocks(*sides)}


def _blocks(a: Tokenization, b: Tokenization) -> list[JsonDict]:
    """The shortest stretches of the text that both cut out, with the indexes of each one's tokens in them."""
    ends_a, ends_b = ({t.span[1] for t in side.tokens if t.span} for side in (a, b))
    cuts = [0, *sorted(end for end in ends_a & ends_b if end)]
    return [
        {"span": [start, end], "a": _inside(a, start, end), "b": _inside(b, start, end)}
        for start, end in pairwise(cuts)
    ]


def _inside(side: Tokenization, start: int, end: int) -> list[int]:
    return [i for i, t in enumerate(side.tokens) if t.span and start <= t.span[0] and t.span[1] <= end]


@operation(text=TEXT, vocab_size=VOCAB_SIZE, model=MODEL)
def train(bench: Workbench, text: str, vocab_size: int = 2 * BYTES, model: str | None = None) -> JsonDict:
    """Train a small byte-level BPE tokenizer twice on one text: the merges, and whether both are the same."""
    first, second = train_tokenizer(text, vocab_size), train_tokenizer(text, vocab_size)
    return {
        "n_bytes": len(text.encode()),
        "asked": vocab_size,
        "vocab_size": len(first.tokenizer),
        "merges": [
            {
                "left": _shown(one.left),
                "right": _shown(one.right),
                **_shown(one.left + one.right),
                "count": one.count,
            }
            for one in first.learned
        ],
        "same": first.document == second.document,
        "sha256": [_digest(first), _digest(second)],
        "n_tokens": len(first.tokenizer.encode(text)),
        "n_tokens_model": len(bench.named(model).tokenizer.encode(text, add_special_tokens=False)),
    }


def _digest(trained: Trained) -> str:
    return sha256(trained.document.encode()).hexdigest()
