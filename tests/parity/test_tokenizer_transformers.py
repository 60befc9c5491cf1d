"""Tokenizers from tokenizer.json and from vocab + merges against transformers.

Where special tokens are not parsed, the reference is asked with `split_special_tokens=True`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.parity.nasty_text import NASTY, RANDOM, random_texts
from tokenglass.tokenizer import Tokenizer, from_vocab_merges, load_tokenizer

transformers = pytest.importorskip("transformers")

SPECIAL = ["<s>", "</s>", "<unk>", "<|im_end|>"]
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(corpus: list[str]) -> Any:
    """As GPT-2."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(corpus, trainers.BpeTrainer(initial_alphabet=alphabet, **_small()))
    return backend


def normalised(corpus: list[str]) -> Any:
    """As Qwen2: NFC first, words by a pattern, BOS added as Llama 3 does."""
    backend = byte_level(corpus)
    backend.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(tokenizers.Regex(QWEN), "isolated")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bos = ("<s>", backend.token_to_id("<s>"))
    backend.post_processor = processors.TemplateProcessing(single=["<s>", "$A"], special_tokens=[bos])
    return backend


def byte_fallback(corpus: list[str]) -> Any:
    """As Llama 2's tokenizer.json: spaces as "▁" by normalizers, unknown characters as bytes, BOS added."""
    backend = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    settings = _small()
    settings["special_tokens"] = [*settings["special_tokens"], *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = [line[i : i + 12] for line in corpus for i in range(0, len(line), 12)]
    backend.train_from_iterator(
        pieces, trainers.BpeTrainer(limit_alphabet=200, max_token_length=8, **settings)
    )
    document = json.loads(backend.to_str())
    document["added_tokens"] = [
        token for token in document["added_tokens"] if not token["content"].startswith("<0x")
    ]
    backend = tokenizers.Tokenizer.from_str(json.dumps(document))
    bos = ("<s>", backend.token_to_id("<s>"))
    backend.post_processor = processors.TemplateProcessing(single=["<s>", "$A"], special_tokens=[bos])
    return backend


def word_piece(corpus: list[str]) -> Any:
    """As BERT: lower case, accents stripped."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(corpus, trainers.WordPieceTrainer(**_small()))
    return backend


def unigram(corpus: list[str]) -> Any:
    """As T5: Viterbi over scores, "▁" for spaces, NFKC."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    prose = corpus[:-300]  # without the random texts: every character is a token of a Unigram vocabulary
    backend.train_from_iterator(prose, trainers.UnigramTrainer(unk_token="<unk>", **_small()))
    return backend


def _small() -> dict[str, Any]:
    return {"vocab_size": 1_000, "special_tokens": SPECIAL, "show_progress": False}


KINDS: dict[str, tuple[Callable[[list[str]], Any], str]] = {
    "byte_level": (byte_level, "BPE byte-level"),
    "normalised": (normalised, "BPE byte-level"),
    "byte_fallback": (byte_fallback, "BPE byte-fallback"),
    "word_piece": (word_piece, "WordPiece"),
    "unigram": (unigram, "Unigram"),
}


@pytest.fixture(scope="module", params=list(KINDS))
def pair(
    request: pytest.FixtureRequest, corpus: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Tokenizer, Any]:
    """The name of a kind, a trained tokenizer loaded by us, and the same loaded by transformers."""
    folder = tmp_path_factory.mktemp(request.param)
    backend = KINDS[request.param][0](corpus)
    whole = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        extra_special_tokens=["<|im_end|>"], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    whole.chat_template = "{{ messages[0].content }}"
    whole.save_pretrained(folder)
    return request.param, load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)


def texts(seed: int) -> list[str]:
    return NASTY + random_texts(RANDOM, seed)


def test_ids_equal_transformers(pair: tuple[str, Tokenizer, Any]) -> None:
    _, ours, theirs = pair
    for text in texts(seed=10):
        for special in (True, False):
            expected = theirs(text, add_special_tokens=special, split_special_tokens=not special)["input_ids"]
            got = ours.encode(text, add_special_tokens=special, parse_special=special).ids
            assert got == expected, ascii(text)


def test_text_equals_transformers(pair: tuple[str, Tokenizer, Any]) -> None:
    _, ours, theirs = pair
    for text in texts(seed=11)[:400]:
        ids = ours.encode(text, parse_special=True).ids
        for skip in (True, False):
            assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)


def test_vocabulary_equals_transformers(pair: tuple[str, Tokenizer, Any]) -> None:
    name, ours, theirs = pair
    assert len(ours) == ours.vocab_size == len(theirs)
    assert (ours.bos_id, ours.eos_id, ours.unk_id) == (
        theirs.bos_token_id,
        theirs.eos_token_id,
        theirs.unk_token_id,
    )
    assert ours.special_ids == set(theirs.all_special_ids)
    assert ours.kind == KINDS[name][1]
    assert ours.chat_template == theirs.chat_template
    named = {key: str(value) for key, value in theirs.special_tokens_map.items() if isinstance(value, str)}
    assert ours.special_tokens == named


def test_bytes_and_places(pair: tuple[str, Tokenizer, Any]) -> None:
    """Lossless: bytes are the text, each where its span says. Otherwise no token is where it is not."""
    name, ours, theirs = pair
    assert ours.lossless == (name == "byte_level")
    for text in texts(seed=12):
        data = text.encode()
        tokens = ours.encode(text, add_special_tokens=False).tokens
        if name == "byte_level" or (name == "normalised" and text.isascii()):
            assert b"".join(token.bytes for token in tokens) == data
            assert all(token.span and data[slice(*token.span)] == token.bytes for token in tokens)
        elif name in ("byte_fallback", "unigram"):
            _check_loose_places(text, tokens, theirs)


def _check_loose_places(text: str, tokens: Any, theirs: Any) -> None:
    """Spans are transformers' offsets, counted in bytes, or lie inside them where they are finer."""
    offsets = theirs(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)[
        "offset_mapping"
    ]
    for token, (first, last) in zip(tokens, offsets, strict=True):
        if token.span is not None:
            start, end = len(text[:first].encode()), len(text[:last].encode())
            assert start <= token.span[0] < token.span[1] <= end


def test_added_tokens_have_no_place(pair: tuple[str, Tokenizer, Any]) -> None:
    name, ours, _ = pair
    spans = [token.span for token in ours.encode("it <|im_end|>", parse_special=True)]
    if name in ("normalised", "byte_fallback"):
        assert spans[0] is None and ours.encode("").ids == [ours.bos_id]
    assert spans[-1] == (3, 13)


def test_single_tokens_are_found(pair: tuple[str, Tokenizer, Any]) -> None:
    """Every token whose bytes are a text is found by that text, as itself or as one of the same bytes."""
    _, ours, _ = pair
    for token_id in range(len(ours)):
        data = ours.token_bytes(token_id)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue
        if text:
            assert ours.token_bytes(ours.find(text)) == data


def test_gpt2_ids_as_printed(gpt2_files: Path) -> None:
    """The ids that the teaching notebooks print for gpt2 and distilgpt2."""
    gpt2 = load_tokenizer(gpt2_files)
    assert gpt2.encode("Udacity is the best place to learn about generative").ids == [
        52, 67, 4355, 318, 262, 1266, 1295, 284, 2193, 546, 1152, 876,
    ]  # fmt: skip
    assert gpt2.encode("I love Generative AI").ids == [40, 1842, 2980, 876, 9552]
    assert gpt2.encode("I am learning about generative ai and LLM's").ids == [
        40, 716, 4673, 546, 1152, 876, 257, 72, 290, 27140, 44, 338,
    ]  # fmt: skip
    assert gpt2.encode("I skip across the").ids == [40, 14267, 1973, 262]
    assert [gpt2.find(text) for text in (" languages", " programming", " learning", ".", " and")] == [
        8950, 8300, 4673, 13, 290,
    ]  # fmt: skip
    assert len(gpt2) == 50_257 and gpt2.bos_id == gpt2.eos_id == gpt2.unk_id == 50_256


@pytest.mark.parametrize("space", [False, True], ids=["as it is", "space in front"])
def test_gpt2_equals_transformers(space: bool, gpt2_files: Path) -> None:
    vocab, merges = gpt2_files / "encoder.json", gpt2_files / "vocab.bpe"
    ours = from_vocab_merges(vocab, merges, add_prefix_space=space)
    theirs = transformers.GPT2Tokenizer(
        vocab=json.loads(vocab.read_text()),
        merges=[tuple(line.split()) for line in merges.read_text(encoding="utf-8").splitlines()[1:] if line],
        add_prefix_space=space,
    )
    assert ours.lossless and ours.prefix_space == space
    for text in texts(seed=13):
        for special in (True, False):
            expected = theirs(text, split_special_tokens=not special)["input_ids"]
            assert ours.encode(text, parse_special=special).ids == expected, ascii(text)
        tokens = ours.encode(text).tokens
        data = b"".join(token.bytes for token in tokens)
        assert data in (text.encode(), b" " + text.encode() if space else b"")
        assert b"".join(text.encode()[slice(*token.span)] for token in tokens if token.span) == text.encode()
    if space:
        assert len(ours.encode("This weekend I plan to")) == 5
        assert (
            ours.encode("This").tokens[0].span == (0, 4) and ours.encode("This").tokens[0].bytes == b" This"
        )


def test_switching_the_prefix_space_of_a_tokenizer_json(corpus: list[str], tmp_path: Path) -> None:
    """Switched on in the file and switched on while loading are the same."""
    backend = byte_level(corpus)
    backend.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path, add_prefix_space=True)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    for text in NASTY:
        assert ours.encode(text, parse_special=True).ids == backend.encode(text).ids
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    backend.save(str(tmp_path / "tokenizer.json"))
    ours = load_tokenizer(tmp_path, add_prefix_space=True)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    for text in NASTY:
        assert ours.encode(text, parse_special=True).ids == backend.encode(text).ids


def test_configuration_files_as_transformers_reads_them(corpus: list[str], tmp_path: Path) -> None:
    """Tokens that only tokenizer_config.json knows, a role as an object, and a template in its own file."""
    byte_level(corpus).save(str(tmp_path / "tokenizer.json"))
    entry = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "added_tokens_decoder": {
            "1000": {"content": "<new>", **entry},
            "1001": {"content": "<plain>", **entry, "special": False},
        },
        "bos_token": {"content": "<s>", "__type": "AddedToken", **entry},
        "eos_token": "</s>",
        "pad_token": None,
        "additional_special_tokens": ["<extra>"],
        "chat_template": "unused",
        "model_max_length": 5,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    ours, theirs = load_tokenizer(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(ours) == len(theirs)
    assert ours.special_ids == {i for i, token in theirs.added_tokens_decoder.items() if token.special}
    assert (ours.bos_id, ours.eos_id, ours.unk_id) == (theirs.bos_token_id, theirs.eos_token_id, None)
    assert ours.chat_template == theirs.chat_template == "{{ messages }}"
    for text in ("a<new>b<plain>c<extra>d</s>", "<plain>", "<new>"):
        for special in (True, False):
            expected = theirs(text, split_special_tokens=not special)["input_ids"]
            assert ours.encode(text, parse_special=special).ids == expected
