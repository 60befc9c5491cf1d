"""The Tokenizer: tokens, bytes, spans, questions about the vocabulary, and one-line errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenglass.errors import ModelDamaged, ModelUnsupported
from tokenglass.tokenizer import Tokenizer, from_json
from tokenglass.tokenizer.alphabet import byte_token, to_byte_level
from tokenglass.tokenizer.schemes import scheme_for
from tokenglass.tokenizer.vocabulary import GgufVocabulary, from_metadata
from tokenglass.types import Token

ALPHABET = [to_byte_level(bytes([byte])) for byte in range(256)]
MERGES = ["Ġ P", "a r", "i s", "ĠP ar", "ĠPar is", "P ar", "Ã ©"]
NAMED = ["<|end|>", "<unk>", "[gap]"]
TOKENS = [*ALPHABET, *(merge.replace(" ", "") for merge in MERGES), *NAMED]
CONTROL, UNKNOWN, UNUSED = 3, 2, 5


def metadata(**changes: Any) -> dict[str, Any]:
    """A byte-level GGUF vocabulary: bytes 0 to 255, then what the merges make, then three special tokens."""
    types = np.ones(len(TOKENS), np.int32)
    types[-3:] = CONTROL, UNKNOWN, UNUSED
    values = {
        "general.name": "tiny",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": list(TOKENS),
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.eos_token_id": 263,
        "tokenizer.chat_template": "{{ messages }}",
    }
    values |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return {key: value for key, value in values.items() if value is not None}


def tokenizer(add_prefix_space: bool | None = None, **changes: Any) -> Tokenizer:
    vocabulary = from_metadata(metadata(**changes), "tiny.gguf")
    return Tokenizer(
        scheme_for(vocabulary, add_prefix_space), name=vocabulary.name, roles=vocabulary.roles,
        chat_template=vocabulary.chat_template,
    )  # fmt: skip


def test_tokens_carry_bytes_and_places() -> None:
    """One token for " Paris" and one for the two bytes of é; € has no merges: three thirds of a character."""
    tokens = tokenizer().encode("in Paris é€").tokens
    assert [(token.bytes, token.span) for token in tokens] == [
        (b"i", (0, 1)),
        (b"n", (1, 2)),
        (b" Paris", (2, 8)),
        (b" ", (8, 9)),
        (b"\xc3\xa9", (9, 11)),
        (b"\xe2", (11, 12)),
        (b"\x82", (12, 13)),
        (b"\xac", (13, 14)),
    ]
    assert tokens[5].text == "⟨E2⟩"


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_a_lossless_tokenizer_loses_nothing(text: str) -> None:
    ours = tokenizer()
    assert ours.lossless and ours.missing_bytes == b""
    encoded = ours.encode(text)
    assert b"".join(token.bytes for token in encoded) == text.encode() == ours.decode_bytes(encoded.ids)
    assert ours.decode(encoded.ids) == text


def test_special_tokens_are_text_unless_asked_for() -> None:
    ours = tokenizer()
    plain = ours.encode("a<|end|>")
    assert len(plain) == 8 and {token.kind for token in plain} == {"normal"}
    parsed = ours.encode("a<|end|>b", parse_special=True).tokens
    assert parsed[1] == Token(263, b"<|end|>", "control", (1, 8)) and parsed[2].span == (8, 9)
    assert ours.encode("[gap]", parse_special=True).ids == plain_ids("[gap]"), "unused tokens are never read"


def plain_ids(text: str) -> list[int]:
    return list(text.encode())


def test_kinds_and_special_ids() -> None:
    ours = tokenizer()
    assert [ours.token(i).kind for i in (0, 263, 264, 265)] == ["normal", "control", "unknown", "control"]
    assert ours.special_ids == {263, 264, 265}
    assert ours.decode([65, 263, 66]) == "A<|end|>B"
    assert ours.decode([65, 263, 66], skip_special_tokens=True) == "AB"
    assert ours.decode_bytes([65, 263, 0xE2], skip_special_tokens=True) == b"A\xe2"
    assert ours.decode([0xE2, 0x82]) == "\ufffd"


def test_bos_and_eos_are_added_without_a_place() -> None:
    ours = tokenizer(bos_token_id=264, add_bos_token=True, add_eos_token=True)
    tokens = ours.encode("a").tokens
    assert [(token.id, token.span) for token in tokens] == [(264, None), (97, (0, 1)), (263, None)]
    assert ours.encode("a", add_special_tokens=False).ids == [97]
    assert ours.encode("").ids == [264, 263]
    assert ours.special_tokens == {"bos_token": "<unk>", "eos_token": "<|end|>"}


def test_a_space_in_front_is_part_of_no_place() -> None:
    ours = tokenizer(add_prefix_space=True)
    assert [(t.bytes, t.span) for t in ours.encode("Paris")] == [(b" Paris", (0, 5))]
    assert [(t.bytes, t.span) for t in ours.encode(" Paris")] == [(b" Paris", (0, 6))]
    assert [(t.bytes, t.span) for t in ours.encode("x")] == [(b" ", None), (b"x", (0, 1))]
    assert ours.prefix_space and not tokenizer().prefix_space


def test_bytes_that_no_token_writes_are_left_out_and_named() -> None:
    tokens = list(TOKENS)
    tokens[4] = tokens[0xC3] = "Ωno byte"
    tokens[0xC3] = "Ωneither"
    ours = tokenizer(tokens=tokens)
    assert ours.missing_bytes == b"\x04\xc3" and not ours.lossless
    assert [(t.id, t.span) for t in ours.encode("a\x04b")] == [(97, (0, 1)), (98, (2, 3))]
    with pytest.raises(ValueError, match="this vocabulary cannot write it"):
        ours.find("\x04")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Paris!", r'no single token is "Paris!": it becomes "Par" \(261\) \+ "is" \(258\) \+ "!" \(33\); '
                   r'the nearest token is "Par" \(261\)'),
        ("paris", r'the nearest token is "·Paris" \(260\)'),
        ("\x1b[31m", r'no single token is "⟨ESC⟩\[31m"'),
        ("x" * 999, r'"x{40}…": it becomes ("x" \(120\) \+ ){7}"x" \(120\) and 991 more'),
        ("", "an empty text has no token"),
        ("a\ud800", r"lone surrogate U\+D800, at position 1"),
    ],
)  # fmt: skip
def test_what_is_no_single_token_is_explained(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        tokenizer().find(text)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_single_tokens_are_found() -> None:
    ours = tokenizer()
    assert [ours.find(text) for text in (" Paris", "é", "<|end|>", "\0", " ")] == [260, 262, 263, 0, 32]


@pytest.mark.parametrize("text", ["\ud800", "ab\udfffc"])
def test_half_a_character_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="no UTF-8 text can hold it: remove it"):
        tokenizer().encode(text)


@pytest.mark.parametrize("text", [b"bytes", None, 3, ["a"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(TypeError, match="text must be a str"):
        tokenizer().encode(text)


@pytest.mark.parametrize("token_id", [-1, 266, 10**9])
def test_ids_outside_are_refused(token_id: int) -> None:
    ours = tokenizer()
    for call in (ours.token, ours.token_bytes, lambda i: ours.decode([i]), lambda i: ours.decode_bytes([i])):
        with pytest.raises(ValueError, match=rf"token id must be in \[0, 265\], got {token_id}"):
            call(token_id)


def test_numpy_ids_are_ids() -> None:
    ours = tokenizer()
    assert ours.token(np.int64(97)) == ours.token(97)
    assert ours.decode(np.array([97, 98])) == "ab"
    with pytest.raises(TypeError):
        ours.token(97.0)


def test_rows_beyond_the_vocabulary() -> None:
    """A model may have more rows than its tokenizer has tokens; they stand for nothing."""
    padded = tokenizer().padded_to(300)
    assert len(padded) == padded.vocab_size == 300
    assert padded.token(299) == Token(299, b"", "control")
    assert padded.decode([97, 299, 98]) == "ab" and padded.encode("a").ids == [97]
    with pytest.raises(ValueError, match="size must be at least 266, the number of tokens, got 265"):
        tokenizer().padded_to(265)


def test_a_saved_vocabulary_is_the_same() -> None:
    ours = tokenizer(bos_token_id=264)
    again = from_json(ours.to_json())
    assert again.encode("in Paris é").ids == ours.encode("in Paris é").ids
    assert [again.token(i) for i in range(266)] == [ours.token(i) for i in range(266)]
    assert again.name == "tiny" and again.special_tokens == ours.special_tokens


def test_a_saved_vocabulary_keeps_bytes_that_are_no_text() -> None:
    tokens = [*TOKENS[:-1], b"\xff\xfe".decode("utf-8", "surrogateescape")]
    ours = tokenizer(tokens=tokens)
    assert ours.token_bytes(265) == b"\xff\xfe"
    assert from_json(ours.to_json().encode().decode()).token_bytes(265) == b"\xff\xfe"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "other"}', '{"format": "tokenglass.vocabulary/1"}']
)
def test_what_is_no_saved_vocabulary_is_refused(text: str) -> None:
    with pytest.raises(ModelDamaged, match="not a saved vocabulary"):
        from_json(text)


def test_many_threads_get_the_same_ids() -> None:
    ours = tokenizer()
    texts = [f"in Paris {i} é€ <|end|>" for i in range(200)]
    expected = [ours.encode(text, parse_special=i % 2 == 0).ids for i, text in enumerate(texts)]
    fresh = tokenizer()
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fresh.encode, text, parse_special=i % 2 == 0) for i, text in enumerate(texts)]
        assert [job.result().ids for job in jobs] == expected


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "bert"}, ModelUnsupported, "kind 'bert'"),
        ({"model": "t5"}, ModelUnsupported, "load a folder with the model's tokenizer.json"),
        ({"model": None}, ModelUnsupported, "holds no vocabulary"),
        ({"model": "\x1b[2J"}, ModelUnsupported, r"kind '⟨ESC⟩\[2J'"),
        ({"pre": "superbpe"}, ModelUnsupported, "rule 'superbpe'"),
        ({"pre": [1]}, ModelUnsupported, "cuts text by the rule"),
        ({"tokens": []}, ModelDamaged, "empty vocabulary"),
        ({"tokens": "abc"}, ModelDamaged, "tokenizer.ggml.tokens is not a list of texts"),
        ({"tokens": ["a", "b", "a"]}, ModelDamaged, "token 'a' appears twice"),
        ({"merges": None}, ModelDamaged, "without merges"),
        ({"merges": np.arange(3)}, ModelDamaged, "merges is not a list of texts"),
        ({"token_type": np.ones(3, np.int32)}, ModelDamaged, "not a list of 266 numbers"),
        ({"token_type": "x"}, ModelDamaged, "not a list of 266 numbers"),
        (
            {"model": "llama", "scores": np.full(266, np.nan)},
            ModelDamaged,
            "a score of the vocabulary is no number",
        ),
        ({"model": "llama", "scores": np.ones(9)}, ModelDamaged, "scores is not a list of 266 numbers"),
    ],
)
def test_damaged_and_foreign_vocabularies_are_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        from_metadata(metadata(**changes), "tiny.gguf")
    assert "\n" not in str(caught.value)


def test_empty_tokens_have_a_name() -> None:
    """As in llama.cpp; the vocabulary of some models has a gap."""
    tokens = list(TOKENS)
    tokens[0xC0] = ""
    assert tokenizer(tokens=tokens).token_bytes(0xC0) == b"[EMPTY_192]"


def test_scored_vocabulary_without_byte_tokens_uses_the_unknown_token() -> None:
    tokens = ["<unk>", "<s>", "</s>", "▁", "a", "▁a"]
    vocabulary = GgufVocabulary(
        "llama", "", tokens, scores=[0, 0, 0, -2, -3, -1], types={0: UNKNOWN, 1: CONTROL, 2: CONTROL},
        roles={"bos": 1, "eos": 2, "unk": 0}, add_bos=True, add_space_prefix=True,
    )  # fmt: skip
    ours = Tokenizer(scheme_for(vocabulary), roles=vocabulary.roles)
    assert [(t.id, t.span) for t in ours.encode("a b")] == [(1, None), (5, (0, 1)), (3, (1, 2)), (0, (2, 3))]
    assert ours.missing_bytes and not ours.lossless and ours.kind == "SentencePiece BPE"


def test_scored_vocabulary_writes_other_characters_as_bytes() -> None:
    tokens = ["<unk>", "<s>", "</s>", *(byte_token(byte) for byte in range(256)), "▁", "é"]
    types = {0: UNKNOWN, 1: CONTROL, 2: CONTROL} | dict.fromkeys(range(3, 259), 6)
    vocabulary = GgufVocabulary("llama", "", tokens, scores=[0.0] * len(tokens), types=types)
    ours = Tokenizer(scheme_for(vocabulary))
    assert [(t.bytes, t.kind, t.span) for t in ours.encode("é€")] == [
        ("é".encode(), "normal", (0, 2)),
        (b"\xe2", "byte", (2, 3)),
        (b"\x82", "byte", (3, 4)),
        (b"\xac", "byte", (4, 5)),
    ]
    assert ours.find("é") == 260 and ours.find("\x00") == 3
