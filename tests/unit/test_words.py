"""Words given as text: the token sequences, and the truth about what they leave free.

What is said to be free is tried out: the stage that forbids the sequences must let every token of it pass.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenglass.stages import BadWords, Context, Row
from tokenglass.stages.context import GENERATED
from tokenglass.stages.spelling import Spelling
from tokenglass.stages.words import Words, vllm_bad_words, words_from_text
from tokenglass.types import Token

OTHERS = re.compile(r"'(.*)' is listed as token sequences; others can still write the same text, (.*)")


class Pieces:
    """A vocabulary of given tokens."""

    def __init__(self, *tokens: bytes, control: tuple[int, ...] = ()) -> None:
        self.tokens, self.control = tokens, control

    def __len__(self) -> int:
        return len(self.tokens)

    def token(self, token_id: int) -> Token:
        return Token(token_id, self.tokens[token_id], "control" if token_id in self.control else "normal")

    def find(self, text: str) -> int:
        return self.tokens.index(text.encode())

    def cut(self, text: str) -> list[int]:
        """The longest token that fits, again and again."""
        data, ids = text.encode(), []
        while data:
            best = max((t for t in self.tokens if data.startswith(t)), key=len)
            ids.append(self.tokens.index(best))
            data = data[len(best) :]
        return ids


def passes(ids: list[int] | tuple[int, ...], sequences: tuple[tuple[int, ...], ...], size: int) -> bool:
    """Whether the stage lets these ids be written one after the other."""
    stage = BadWords(sequences, window=GENERATED, spare_eos=False)
    for at, token_id in enumerate(ids):
        row, _ = stage.apply(Row.of(np.zeros(size)), Context((), tuple(ids[:at])), None)
        if row.scores[token_id] == -np.inf:
            return False
    return True


# -------------------------------------------------------------------------------------- other ways to write


def test_other_tokens_with_the_same_text_are_named() -> None:
    """The tokenizer writes "mess" as "m" + "ess"; "me" + "ss" is another way, and "messy" holds it."""
    pieces = Pieces(b"m", b"ess", b"me", b"ss", b"messy", b" ")
    words = words_from_text(["mess"], lambda text: [0, 1] if text == "mess" else [5], pieces)
    assert words.sequences == ((0, 1),)
    assert words.warnings[-1] == (
        "'mess' is listed as token sequences; others can still write the same text, "
        "as 'me' + 'ss', or inside 'messy'"
    )


def test_nothing_is_said_where_there_is_no_other_way() -> None:
    """One token for each letter and all twins listed: nothing is left to warn of; control writes none."""
    pieces = Pieces(b"a", b"A", b" ", b"aa", control=(3,))
    assert words_from_text(["a", "A"], pieces.cut, pieces) == Words(((0,), (1,)), ())


def test_a_twin_that_ends_in_a_listed_sequence_is_not_free() -> None:
    """The twin " a" is written " " + "a", and "a" is forbidden wherever it stands."""
    pieces = Pieces(b"a", b"A", b" ", b" A")
    assert words_from_text(["a"], pieces.cut).warnings == (
        "'a' is listed, but these twins are not: 'A', ' A'",
    )
    assert not passes(pieces.cut(" a"), ((0,),), 4)


def test_a_word_within_another_token_counts_all_of_them() -> None:
    pieces = Pieces(b"a", b"xa", b"axx", b"xaxx")
    warning = words_from_text(["a"], lambda text: [0], pieces).warnings[-1]
    assert warning.endswith("the same text, inside 'xa' and 2 more")


@given(
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=6, unique=True),
    st.text("ab", min_size=1, max_size=4),
    st.data(),
)
def test_a_way_is_found_exactly_when_there_is_one(tokens: list[str], word: str, data: Any) -> None:
    """Against all token sequences: the one named writes the word, passes the stage, and none is shorter."""
    pieces = Pieces(b"a", b"b", *(t.encode() for t in tokens if len(t) > 1))
    writings = [
        ids
        for n in range(1, len(word) + 1)
        for ids in product(range(len(pieces)), repeat=n)
        if b"".join(pieces.tokens[i] for i in ids) == word.encode()
    ]
    listed = data.draw(st.lists(st.sampled_from(writings), min_size=1, max_size=3, unique=True))
    turn = iter(listed)
    words = words_from_text([word] * len(listed), lambda text: next(turn, (0, 1) * 9), pieces)
    free = [ids for ids in writings if passes(ids, words.sequences, len(pieces))]
    named = [m[2] for w in words.warnings if (m := OTHERS.fullmatch(w)) and m[2].startswith("as ")]
    if not free:
        assert not named
        return
    texts = re.findall("'([ab]+)'", named[0].split(", or inside")[0])
    assert tuple(map(pieces.find, texts)) in free
    assert len(texts) == min(map(len, free))


def test_long_texts_cost_no_more_than_their_length() -> None:
    """300 spaces can be written in more ways than there are atoms; the search follows one to each place."""
    pieces = Pieces(*(b" " * n for n in range(1, 17)))
    warnings = words_from_text([" " * 300], pieces.cut, pieces).warnings
    assert any("others can still write the same text, as " in warning for warning in warnings)


# ----------------------------------------------------------------------------------------------------- vLLM


def test_vllm_lists_the_spaced_word_only_where_it_is_as_long() -> None:
    """By the rule in vLLM's source: same number of tokens, and another first one.

    "ab" = [1], " ab" = [2]: both. "cab" = [3, 1], " cab" = [4]: only the first. "b" = [5], " b" = [0, 5]:
    only the first, which is forbidden after the space as well. "db" = [6, 7], " db" = [6, 8]: only the first.
    White space in front does not count.
    """
    cut = {
        "ab": [1],
        " ab": [2],
        "cab": [3, 1],
        " cab": [4],
        "b": [5],
        " b": [0, 5],
        "db": [6, 7],
        " db": [6, 8],
    }
    words = vllm_bad_words(["  ab", "cab", "b", "b", "db"], lambda text: cut.get(text, [9]))
    assert words.sequences == ((1,), (2,), (3, 1), (5,), (6, 7))
    free = [warning.partition("not: ")[2].split(", ") for warning in words.warnings]
    assert ["' ab'" in twins for twins in free] == [False, False, False, False]
    assert ["' cab'" in twins for twins in free] == [False, True, False, False]
    assert ["' b'" in twins for twins in free] == [False, False, False, False]
    assert ["' db'" in twins for twins in free] == [False, False, False, True]


def test_vllm_lists_a_word_that_only_exists_without_a_space() -> None:
    assert vllm_bad_words(["x"], lambda text: [] if text[0] == " " else [1]).sequences == ((1,),)


@pytest.mark.parametrize(
    ("function", "texts", "message"),
    [
        (words_from_text, [""], "words must be texts of at least one character, got ''"),
        (words_from_text, "mess", "words must be a list of texts, got 'mess'"),
        (words_from_text, [3], "words must be texts of at least one character, got 3"),
        (vllm_bad_words, [""], "bad_words must be texts of at least one character, got ''"),
        (vllm_bad_words, ["  "], "bad_words must be texts of at least one token, got ''"),
        (vllm_bad_words, "mess", "bad_words must be a list of texts, got 'mess'"),
    ],
)
def test_bad_lists_are_named(function: Any, texts: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(texts, lambda text: list(text.encode()))


# ----------------------------------------------------------------------------------- the embedded tokenizer


@pytest.fixture(scope="module")
def tokenizer(smollm2_files: Any) -> Any:
    from tokenglass.tokenizer import load_tokenizer

    return load_tokenizer(smollm2_files.path)


def test_words_of_a_real_vocabulary(tokenizer: Any) -> None:
    """The trouble with vLLM's rule: "stupid" is three tokens, " stupid" one, which stays free."""

    def cut(text: str) -> Any:
        return tokenizer.encode(text, add_special_tokens=False).ids

    words = vllm_bad_words(["mess", "stupid"], cut, tokenizer)
    texts = [[tokenizer.token_bytes(i) for i in ids] for ids in words.sequences]
    assert texts == [[b"mess"], [b" mess"], [b"st", b"up", b"id"]]
    assert words.warnings == (
        "'mess' is listed, but these twins are not: 'Mess', ' Mess', 'MESS', ' MESS'",
        "'mess' is listed as token sequences; others can still write the same text, as 'mes' + 's', "
        "or inside '·messy' and 7 more",
        "'stupid' is listed, but these twins are not: ' stupid', 'Stupid', ' Stupid', 'STUPID', ' STUPID'",
        "'stupid' is listed as token sequences; others can still write the same text, "
        "as 'st' + 'u' + 'pid', or inside '·stupid'",
    )
    size = len(tokenizer)
    for free in (["mes", "s"], ["st", "u", "pid"], [" stupid"], [" messy"]):
        assert passes([tokenizer.find(text) for text in free], words.sequences, size)
    for listed in words.sequences:
        assert not passes(listed, words.sequences, size)


# ------------------------------------------------------------------------------------------------- spelling


def test_tokens_are_found_by_how_they_begin(tokenizer: Any) -> None:
    """Against a look at every token, bytes of 255 included, which sort last."""
    known = Spelling(Pieces(b"\xff", b"a", b"\xff\xff", b"ab", b"a", b"", b"\xff\xffa", control=(4,)))
    assert known.starting_with(b"\xff") == [0, 2, 6]
    assert known.starting_with(b"a") == [1, 3]
    assert known.exactly(b"a") == [1]
    assert known.goes_beyond(b"\xff\xff") and not known.goes_beyond(b"ab") and not known.goes_beyond(b"x")
    assert known.longest == 3
    real = Spelling(tokenizer)
    tokens = [t for t in map(tokenizer.token, range(len(tokenizer))) if t.kind == "normal" and t.bytes]
    for start in (b" th", b"http", b":", b"\xc3", b"qqqqq"):
        expected = {t.id for t in tokens if t.bytes.startswith(start)}
        assert set(real.starting_with(start)) == expected
        assert set(real.containing(start)) == {t.id for t in tokens if start in t.bytes and t.bytes != start}
        assert real.goes_beyond(start) == any(tokenizer.token_bytes(i) != start for i in expected)
