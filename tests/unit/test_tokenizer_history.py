"""Words, merges and training, against Hugging Face's `tokenizers` run with part of the merges."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from tests.parity.nasty_text import NASTY
from tokenglass.errors import Unsupported
from tokenglass.tokenizer import Tokenizer, load_tokenizer
from tokenglass.tokenizer.alphabet import to_byte_level
from tokenglass.tokenizer.history import Merges, merges, words
from tokenglass.tokenizer.library import LibraryScheme
from tokenglass.tokenizer.schemes import scheme_for
from tokenglass.tokenizer.training import BYTES, train
from tokenglass.tokenizer.vocabulary import GgufVocabulary, TokenType

README = Path(__file__).parents[2] / "README.md"
# A character newer than the categories of Unicode 15.1, which a GGUF is cut by, is none of a word to it.
OLD_ENOUGH = [text for text in NASTY if not set(text) & set("\u1c89\ua7cb\u2427")]
TEXT = "Preposterous, I'm flabbergasted! The tokens of 2,048 models; \t\n\n  漢字 café 👩‍👩‍👧 ½"


@pytest.fixture(scope="module")
def learned() -> Tokenizer:
    return train(README.read_text(encoding="utf-8"), 900).tokenizer


@pytest.fixture(scope="module")
def gguf(learned: Tokenizer) -> Tokenizer:
    """The same vocabulary as a GGUF file holds it."""
    model = json.loads(learned.scheme._backend.to_str())["model"]  # type: ignore[attr-defined]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    pairs = [" ".join(pair) for pair in model["merges"]]
    return Tokenizer(scheme_for(GgufVocabulary("gpt2", "gpt-2", tokens, pairs)))


def states(found: Merges) -> list[list[bytes]]:
    """The pieces before the first merge, and after each."""
    assert found.joinings is not None
    rows = [list(found.symbols)]
    for joining in found.joinings:
        row = list(rows[-1])
        assert row[joining.index : joining.index + 2] == [joining.left, joining.right]
        row[joining.index : joining.index + 2] = [joining.left + joining.right]
        rows.append(row)
    return rows


def cut_with(model: dict[str, Any], n_merges: int) -> models.BPE:
    """The library's own BPE that knows the first so many merges only."""
    pairs = [tuple(pair) for pair in model["merges"][:n_merges]]
    return models.BPE(vocab=model["vocab"], merges=pairs)


@pytest.mark.parametrize("which", ["learned", "gguf"])
def test_after_each_merge_the_pieces_are_those_of_fewer_merges(which: str, request: Any) -> None:
    """A merge of rank r comes before one of rank s > r, so all up to r is what a list cut behind r makes."""
    learned, own = request.getfixturevalue("learned"), request.getfixturevalue(which)
    model = json.loads(learned.scheme._backend.to_str())["model"]
    checked = 0
    for found in merges(own, TEXT):
        rows = states(found)
        assert found.joinings is not None
        highest = list(accumulate((int(j.rank) for j in found.joinings), max))
        written = to_byte_level(b"".join(found.symbols))
        for place, rank in enumerate(highest):
            if place + 1 < len(highest) and highest[place + 1] == rank:
                continue  # a later merge of a lower rank belongs to the same cut
            theirs = [token.value for token in cut_with(model, rank + 1).tokenize(written)]
            assert [to_byte_level(piece) for piece in rows[place + 1]] == theirs
            checked += 1
        assert rows[-1] == [own.token_bytes(token_id) for token_id in found.ids]
    assert checked > 25


@pytest.mark.parametrize("text", OLD_ENOUGH)
def test_words_are_the_librarys(learned: Tokenizer, gguf: Tokenizer, text: str) -> None:
    cutter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    at = [0, *accumulate(len(character.encode()) for character in text)]
    theirs = [(word, (at[a], at[b])) for word, (a, b) in cutter.pre_tokenize_str(text)]
    for own in (learned, gguf):
        found = words(own, text)
        assert [("".join(symbols), span) for span, symbols, _ in found] == theirs
        assert [i for _, _, ids in found for i in ids] == own.encode(text).ids


@pytest.mark.parametrize("text", OLD_ENOUGH)
def test_both_ways_to_a_history_agree(learned: Tokenizer, gguf: Tokenizer, text: str) -> None:
    assert merges(learned, text) == merges(gguf, text)


def sentencepiece() -> Tokenizer:
    """A word by two merges; é is no token and falls apart into its bytes."""
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "h", "i", "hi", "▁hi"]
    types = {0: int(TokenType.UNKNOWN)} | {i: int(TokenType.BYTE) for i in range(1, 257)}
    scores = [0.0] * 260 + [-1.0, -2.0]
    return Tokenizer(
        scheme_for(GgufVocabulary("llama", "", tokens, [], scores, types, {"unk": 0}, add_space_prefix=True))
    )


def test_a_space_in_front_belongs_to_no_byte_of_the_text() -> None:
    first, second = merges(sentencepiece(), "hi é")
    assert first.span == (0, 2) and states(first)[-1] == [b" hi"]
    assert [j.rank for j in first.joinings or ()] == [1.0, 2.0]
    assert second.span == (2, 5) and states(second) == [[b" ", "é".encode()]]
    assert [sentencepiece().token_bytes(i) for i in second.ids] == [b" ", b"\xc3", b"\xa9"]


def test_no_history_rather_than_a_wrong_one() -> None:
    """A whole word that is a token is taken at once, whatever the merges would make of it."""
    vocab = {token: number for number, token in enumerate(["a", "b", "c", "bc", "abc"])}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[("b", "c")], ignore_merges=True))
    (found,) = merges(Tokenizer(LibraryScheme(backend)), "abc")
    assert found.joinings is None and found.ids == (4,)


def test_the_end_of_a_word_may_be_part_of_a_symbol() -> None:
    backend = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=60, end_of_word_suffix="</w>", show_progress=False)
    backend.train_from_iterator(["the theme of the thesis"] * 3, trainer)
    own = Tokenizer(LibraryScheme(backend))
    found = merges(own, "the theme")
    assert [states(word)[-1] for word in found] == [[b"the "], [own.token_bytes(i) for i in found[1].ids]]


def test_what_does_not_merge_says_so() -> None:
    pieces = models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]")
    backend = tokenizers.Tokenizer(pieces)
    backend.normalizer, backend.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    own = Tokenizer(LibraryScheme(backend))
    assert [span for span, _, _ in words(own, "ab  A")] == [(0, 2), (4, 5)]
    with pytest.raises(Unsupported, match="only BPE merges pairs"):
        merges(own, "ab")


def test_training_twice_gives_the_same_tokenizer(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    first, second = train(text, 400), train(text, 400)
    assert first.document == second.document and first.learned == second.learned
    assert train(text[:-400], 400).document != first.document
    (tmp_path / "tokenizer.json").write_text(first.document, encoding="utf-8")
    assert load_tokenizer(tmp_path).encode(TEXT).ids == first.tokenizer.encode(TEXT).ids
    assert len(first.learned) == 400 - BYTES and first.tokenizer.lossless


def test_counts_of_training_by_hand() -> None:
    """Both words hold a + b twice, so four times; then ab + ab once each, so twice."""
    learned = train("abab abab", 300).learned
    assert [(one.left, one.right, one.count) for one in learned] == [(b"a", b"b", 4), (b"ab", b"ab", 2)]


def test_a_vocabulary_holds_every_byte() -> None:
    with pytest.raises(ValueError, match="at least 256, a token for each byte, got 255"):
        train("text", 255)
