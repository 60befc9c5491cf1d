"""What tokenizers are made of: alphabets, merging, rules for cutting, categories of characters."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenglass.tokenizer import alphabet, splitting
from tokenglass.tokenizer.merging import merge
from tokenglass.tokenizer.unicode_ranges import WHITE_SPACE, char_class

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


def members(char_set: str) -> set[int]:
    """The code points that the inside of a character class stands for, read independently of `re`."""
    codes, found, at = char_set, set(), 0
    while at < len(codes):
        at += codes[at] == "\\"
        first = last = ord(codes[at])
        at += 1
        if at < len(codes) and codes[at] == "-":
            at += 1 + (codes[at + 1] == "\\")
            last = ord(codes[at])
            at += 1
        found.update(range(first, last + 1))
    return found


@pytest.mark.parametrize("category", list("LNMPS"))
def test_categories_are_those_of_unicode_15_1(category: str) -> None:
    """Python's own tables agree; where Python has another version, on all characters that both know.

    Later versions may move a character to another category, which happens to a handful: up to 20 may differ.
    """
    ours = members(char_class(category))
    theirs = {c for c in range(0x110000) if unicodedata.category(chr(c)).startswith(category)}
    if unicodedata.unidata_version == "15.1.0":
        assert ours == theirs
    elif unicodedata.unidata_version < "15.1":
        unknown = {c for c in ours - theirs if unicodedata.category(chr(c)) == "Cn"}
        assert len(ours ^ theirs) - len(unknown) <= 20 and len(unknown) < 6_000
    else:
        assert len(ours - theirs) <= 20 and len(theirs - ours) < 12_000


@pytest.mark.parametrize("category", list("LNMPS"))
def test_ascii_classes_are_the_ascii_part(category: str) -> None:
    short = char_class(category, ascii_only=True)
    assert members(short) == {c for c in members(char_class(category)) if c < 128}


def test_white_space_is_unicodes() -> None:
    """U+001C to U+001F, which `str.isspace` counts, are separators for Python alone (PropList.txt)."""
    expected = {c for c in range(0x110000) if chr(c).isspace()} - set(range(0x1C, 0x20))
    assert members(WHITE_SPACE) == expected


def test_byte_level_alphabet_is_gpt2s() -> None:
    """Each byte one printable character, and back; space, newline, delete, the first and last moved byte."""
    every = bytes(range(256))
    written = alphabet.to_byte_level(every)
    assert len(written) == len(set(written)) == 256
    assert written.isprintable() and " " not in written
    assert alphabet.from_byte_level(written) == every
    assert [written[b] for b in (0x20, 0x0A, 0x7F, 0x00, 0xAD)] == ["Ġ", "Ċ", "ġ", "Ā", "Ń"]


def test_other_alphabets_are_not_byte_level() -> None:
    assert alphabet.from_byte_level("a b") is None and alphabet.from_byte_level("▁") is None


@pytest.mark.parametrize("token", ["<0x0>", "<0x0G>", "0x0A", "<0x0A> ", "<0X0A>"])
def test_only_byte_tokens_are_bytes(token: str) -> None:
    assert alphabet.from_byte_token(token) is None


def slow_merge(parts: list[str], ranks: dict[tuple[str, str], float]) -> list[str]:
    """The definition: find the best pair, leftmost among equals, merge it, start again."""
    parts = list(parts)
    while len(parts) > 1:
        values = [ranks.get(pair, inf) for pair in pairwise(parts)]
        best = min(values)
        if best == inf:
            break
        at = values.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


PAIRS = st.tuples(st.text("ab", min_size=1, max_size=3), st.text("ab", min_size=1, max_size=3))


@given(st.text("ab", max_size=40), st.dictionaries(PAIRS, st.integers(0, 4).map(float), max_size=12))
def test_merging_equals_its_definition(text: str, ranks: dict[tuple[str, str], float]) -> None:
    merged = merge(list(text), lambda left, right: ranks.get((left, right)))
    assert merged == slow_merge(list(text), ranks)
    assert "".join(merged) == text


@pytest.mark.parametrize("rule", sorted(splitting.RULES))
def test_no_rule_loses_text(rule: str) -> None:
    splitter = splitting.Splitter(splitting.RULES[rule].patterns)
    everything = (
        "".join(chr(c) for c in range(0x3000) if not 0xD800 <= c < 0xE000) + "一龥가👍\U0010ffff'S'Ll 123456"
    )
    words = splitter.words(everything)
    assert "".join(words) == everything and all(words)


@given(text=st.text(st.characters(max_codepoint=127), max_size=80), data=st.data())
def test_ascii_patterns_cut_as_the_full_ones(text: str, data: st.DataObject) -> None:
    rule = splitting.RULES[data.draw(st.sampled_from(sorted(splitting.RULES)))]
    pieces = [text] if text else []
    for pattern in rule.patterns:
        full = splitting._compiled(pattern, False)
        pieces = [word for piece in pieces for word in full.split(piece) if word]
    assert splitting.Splitter(rule.patterns).words(text) == pieces


@given(TEXT)
def test_words_of_gpt2_begin_with_at_most_one_space(text: str) -> None:
    for word in splitting.Splitter(splitting.RULES["gpt-2"].patterns).words(text):
        assert not (word.startswith("  ") and word.strip(" \t\n\r"))
