"""GGUF vocabularies against llama.cpp's own vocabulary code: equal ids, equal bytes, exact places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers

from tests.conftest import FULL
from tests.parity.nasty_text import NASTY, RANDOM, random_texts
from tokenglass.errors import ModelUnsupported
from tokenglass.tokenizer import Tokenizer, from_gguf, from_json
from tokenglass.tokenizer.alphabet import byte_token, to_byte_level
from tokenglass.tokenizer.splitting import RULES

llama = pytest.importorskip(
    "tests.parity.llama_vocabulary", reason="llama.cpp's code comes in the wheel xllamacpp, for Linux"
)
Reference = llama.Reference

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def assert_same_ids(ours: Tokenizer, theirs: Any, texts: list[str]) -> None:
    for text in texts:
        for special in (False, True):
            options = {"add_special_tokens": special, "parse_special": special}
            assert ours.encode(text, **options).ids == theirs.encode(text, **options), ascii(text)


def assert_exact_places(tokenizer: Tokenizer, texts: list[str]) -> None:
    """Every token's bytes stand where its span says, in order, and nothing but missing bytes is left out."""
    for text in texts:
        data, at = text.encode(), 0
        for token in tokenizer.encode(text, add_special_tokens=False):
            assert token.span is not None
            start, end = token.span
            assert start >= at and data[start:end] == token.bytes, ascii(text)
            assert set(data[at:start]) <= set(tokenizer.missing_bytes), ascii(text)
            at = end
        assert set(data[at:]) <= set(tokenizer.missing_bytes), ascii(text)


def write_gguf(path: Path, tokens: list[Any], types: list[int], **fields: Any) -> Path:
    """A file with a vocabulary only. `fields` are keys below tokenizer.ggml, "name" excepted."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(fields.pop("name", "small"))
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_tokenizer_model(fields.pop("model", "gpt2"))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    for key, value in fields.items():
        name = f"tokenizer.ggml.{key}"
        if isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_array(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def byte_level(corpus: list[str]) -> tuple[list[str], list[str]]:
    """Tokens and merges of a small byte-level vocabulary, trained without any rule, so that rules matter."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1_500,
        show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=12,
    )
    pieces = [line[i : i + 24] for line in corpus for i in range(0, len(line), 24)]
    backend.train_from_iterator(pieces, trainer)
    model = json.loads(backend.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [" ".join(pair) for pair in model["merges"]]


@pytest.fixture(scope="session")
def sentencepiece_model(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small SentencePiece BPE with byte fallback and two user-defined symbols."""
    sentencepiece = pytest.importorskip("sentencepiece")
    prefix = tmp_path_factory.mktemp("sentencepiece") / "small"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus[:-300]),  # without the random texts, whose characters would fill it
        model_prefix=str(prefix),
        model_type="bpe",
        vocab_size=1_200,
        byte_fallback=True,
        character_coverage=0.99,
        user_defined_symbols=["<mark>", "<mark>>"],
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")


def scored_fields(model: Any) -> dict[str, Any]:
    """A SentencePiece model as the keys of a GGUF vocabulary."""
    size = model.get_piece_size()
    kinds = [
        (BYTE, model.is_byte),
        (CONTROL, model.is_control),
        (UNKNOWN, model.is_unknown),
        (UNUSED, model.is_unused),
    ]
    types = [next((kind for kind, asks in kinds if asks(i)), NORMAL) for i in range(size)]
    for symbol in ("<mark>", "<mark>>"):
        types[model.piece_to_id(symbol)] = USER_DEFINED
    return {
        "model": "llama",
        "tokens": [model.id_to_piece(i) for i in range(size)],
        "types": types,
        "scores": [float(model.get_score(i)) for i in range(size)],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }


def test_smollm2_ids_equal_llama_cpp(smollm2_files: Any) -> None:
    path = Path(smollm2_files.path)
    ours, theirs = from_gguf(path), Reference(path)
    texts = NASTY + random_texts(RANDOM, seed=0)
    assert_same_ids(ours, theirs, texts)
    assert_exact_places(ours, texts)
    assert ours.missing_bytes == b"\x04\x06\x13\x14\x16\x1d\xf1\xf2" and not ours.lossless


def test_smollm2_bytes_equal_llama_cpp(smollm2_files: Any) -> None:
    path = Path(smollm2_files.path)
    ours, theirs = from_gguf(path), Reference(path)
    assert len(ours) == len(theirs) == 49_152
    assert all(ours.token_bytes(i) == theirs.token_bytes(i) for i in range(len(ours)))
    ids = list(range(0, 49_152, 31))
    assert (
        ours.decode(ids).encode() == theirs.decode(ids, with_special=True).decode("utf-8", "replace").encode()
    )


def test_smollm2_saved_vocabulary_is_the_same(smollm2_files: Any) -> None:
    ours = from_gguf(Path(smollm2_files.path))
    again = from_json(ours.to_json())
    assert [again.encode(text).ids for text in NASTY] == [ours.encode(text).ids for text in NASTY]
    assert all(again.token(i) == ours.token(i) for i in range(len(ours)))
    assert again.chat_template == ours.chat_template and again.special_tokens == ours.special_tokens


ON_STD_REGEX = ("default", "falcon", "deepseek-coder", "deepseek-v3", "tekken", "gpt-4o")
OWN_RULES = ("gpt-2", "smollm", "llama-bpe", "dbrx", "glm4", "qwen2", "qwen35", *ON_STD_REGEX)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_cuts_as_llama_cpp(
    rule: str, byte_level: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    """Names of the same rule are tried on fewer texts, unless all counts are full."""
    tokens, merges = byte_level
    fields = {"pre": rule, "merges": merges, "bos_token_id": 0, "eos_token_id": 1}
    path = write_gguf(tmp_path / "v.gguf", tokens, [NORMAL] * len(tokens), **fields)
    ours, theirs = from_gguf(path), Reference(path)
    texts = NASTY + random_texts(RANDOM // 10, seed=2)
    if rule in ON_STD_REGEX or (rule not in OWN_RULES and not FULL):
        # std::regex overflows llama.cpp's stack on long runs
        texts = [text for text in texts if len(text) < 500][: None if rule in OWN_RULES or FULL else 40]
    assert_same_ids(ours, theirs, texts)
    assert_exact_places(ours, texts)


def test_a_rule_that_is_missing_is_default(byte_level: tuple[list[str], list[str]], tmp_path: Path) -> None:
    tokens, merges = byte_level
    path = write_gguf(tmp_path / "v.gguf", tokens, [NORMAL] * len(tokens), merges=merges)
    assert_same_ids(from_gguf(path), Reference(path), random_texts(100, seed=3))


def test_an_unknown_rule_is_refused_by_both(byte_level: tuple[list[str], list[str]], tmp_path: Path) -> None:
    tokens, merges = byte_level
    path = write_gguf(tmp_path / "v.gguf", tokens, [NORMAL] * len(tokens), merges=merges, pre="nonsense")
    with pytest.raises(ValueError, match="refuses"):
        Reference(path)
    with pytest.raises(ModelUnsupported, match="cuts text by the rule 'nonsense'"):
        from_gguf(path)


def test_special_tokens_are_found_as_llama_cpp_finds_them(
    byte_level: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    """Longest first over the whole text; user-defined ones always; names that look like control are."""
    tokens, merges = byte_level
    special = {
        "<|im_end|>": USER_DEFINED,  # overridden by its name
        "<a>": CONTROL,
        "<a><b>": CONTROL,
        "<b><c>": CONTROL,
        "mark": USER_DEFINED,
        "<unk>": UNKNOWN,
        "[PAD7]": UNUSED,
        "<fim_prefix>": NORMAL,  # overridden by its name
    }
    tokens, types = [*tokens, *special], [NORMAL] * len(tokens) + list(special.values())
    path = write_gguf(
        tmp_path / "v.gguf", tokens, types, merges=merges, pre="gpt-2", bos_token_id=5, add_bos_token=True,
        eos_token_id=6, add_eos_token=True,
    )  # fmt: skip
    ours, theirs = from_gguf(path), Reference(path)
    pieces = [*special, "x", " ", "<", "1", "\n", "é"]
    texts = ["".join(pieces[ord(c) % len(pieces)] for c in text) for text in random_texts(300, seed=4)]
    assert_same_ids(ours, theirs, [*texts, "", "<a><b><c>", "bookmarks"])
    assert all(
        ours.token_bytes(i) == theirs.token_bytes(i) for i in range(len(ours)) if tokens[i] != "[PAD7]"
    )
    assert ours.encode("x").ids[0] == 5 and ours.encode("x").ids[-1] == 6
    assert ours.encode("x").tokens[0].span is None


def test_holes_in_alphabet_and_merges(byte_level: tuple[list[str], list[str]], tmp_path: Path) -> None:
    """Bytes without a token are dropped, and so is what a merge makes that is no token, ASCII excepted."""
    tokens, merges = byte_level
    gone = {to_byte_level(bytes([byte])) for byte in b"\xc3e\x00\xe4"} | set(tokens[300:600:3])
    tokens = [token for token in tokens if token not in gone]
    path = write_gguf(tmp_path / "v.gguf", tokens, [NORMAL] * len(tokens), merges=merges, pre="smollm")
    ours, theirs = from_gguf(path), Reference(path)
    texts = NASTY + random_texts(RANDOM // 5, seed=5)
    assert_same_ids(ours, theirs, texts)
    assert ours.missing_bytes == b"\x00e\xc3\xe4" and not ours.lossless


@pytest.mark.parametrize("space", [True, False], ids=["space in front", "no space in front"])
def test_sentencepiece_ids_equal_llama_cpp(space: bool, sentencepiece_model: Any, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "v.gguf", **scored_fields(sentencepiece_model), add_space_prefix=space)
    ours, theirs = from_gguf(path), Reference(path)
    marked = [text.replace("a", "<mark>").replace("b", "</s>") for text in random_texts(100, seed=6)]
    texts = NASTY + marked + random_texts(RANDOM, seed=7)
    assert_same_ids(ours, theirs, texts)
    assert all(ours.token_bytes(i) == theirs.token_bytes(i) for i in range(len(ours)))
    for text in texts[:200]:
        ids = ours.encode(text, add_special_tokens=False).ids
        theirs_text = theirs.decode(ids, with_special=True).decode("utf-8", "replace")
        assert ours.decode(ids) == theirs_text, ascii(text)


def test_sentencepiece_places(sentencepiece_model: Any, tmp_path: Path) -> None:
    """Bytes concatenate to the text behind its space, except that a "▁" in it becomes a space."""
    path = write_gguf(tmp_path / "v.gguf", **scored_fields(sentencepiece_model))
    ours = from_gguf(path)
    for text in NASTY + random_texts(RANDOM // 5, seed=8):
        tokens = ours.encode(text, add_special_tokens=False).tokens
        written = b"".join(token.bytes for token in tokens).decode()
        if "<mark>" not in text:
            assert written == (" " + text.replace("▁", " ") if text else "")
        at = 0
        for token in tokens:
            if token.span is not None:
                assert token.span[0] == at and token.span[1] > at
                at = token.span[1]
        assert at == len(text.encode())


def test_sentencepiece_equals_the_library_it_comes_from(sentencepiece_model: Any, tmp_path: Path) -> None:
    """SentencePiece itself agrees where no control token is spelled out, which llama.cpp may then form."""
    path = write_gguf(tmp_path / "v.gguf", **scored_fields(sentencepiece_model))
    ours = from_gguf(path)
    texts = [text for text in random_texts(RANDOM // 5, seed=9) if "\0" not in text]
    same = [ours.encode(t, add_special_tokens=False).ids == sentencepiece_model.encode(t) for t in texts]
    assert sum(same) >= 0.98 * len(same)


def test_white_space_behind_special_tokens_of_phi3(sentencepiece_model: Any, tmp_path: Path) -> None:
    fields = scored_fields(sentencepiece_model)
    fields["tokens"].append("<|endoftext|>")
    fields["types"].append(CONTROL)
    fields["scores"].append(0.0)
    path = write_gguf(tmp_path / "v.gguf", **fields, name="Phi-3 mini")
    ours, theirs = from_gguf(path), Reference(path)
    texts = ["</s>  \n x</s> y", "<s>  \n x<mark> y", "<mark>  </s>", "<|endoftext|> \t x", "</s>", "</s> "]
    assert_same_ids(ours, theirs, texts)


def test_scores_that_tie_merge_from_the_left(tmp_path: Path) -> None:
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        *(byte_token(b) for b in range(256)),
        *"abcd",
        "ab",
        "bc",
        "cd",
        "abc",
        "bcd",
    ]
    types = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * 9]
    path = write_gguf(tmp_path / "v.gguf", tokens, types, model="llama", scores=[0.0] * len(tokens))
    assert_same_ids(
        from_gguf(path), Reference(path), ["abcd", "bcd", "dcba", "aabbccdd", "abcabcd" * 9, "xay"]
    )


def test_long_runs(smollm2_files: Any) -> None:
    """43,000 letters and 100,000 newlines, each one word, have the ids they should."""
    path = Path(smollm2_files.path)
    ours, theirs = from_gguf(path), Reference(path)
    sizes = (43_000, 100_000) if FULL else (4_300, 10_000)
    for text in ("A" * sizes[0], "\n" * sizes[1]):
        assert ours.encode(text).ids == theirs.encode(text)
