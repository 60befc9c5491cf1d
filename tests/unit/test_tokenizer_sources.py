"""Where tokenizers come from: folders and files, and what is said of those that are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenglass.errors import ModelDamaged, ModelNotFound, ModelUnsupported
from tokenglass.tokenizer import from_tokenizer_json, from_vocab_merges, load_tokenizer
from tokenglass.tokenizer.alphabet import to_byte_level

VOCAB = {to_byte_level(bytes([byte])): byte for byte in range(256)} | {"he": 256, "<|endoftext|>": 257}


def write_pair(folder: Path, vocab: str = "vocab.json", merges: str = "merges.txt") -> Path:
    (folder / vocab).write_text(json.dumps(VOCAB), encoding="utf-8")
    (folder / merges).write_text("#version: 0.2\nh e\n", encoding="utf-8")
    return folder


def document(**changes: Any) -> dict[str, Any]:
    """A byte-level tokenizer.json of 258 tokens."""
    special = {"id": 257, "content": "<|endoftext|>", "special": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special | flags],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": VOCAB, "merges": [["h", "e"]]},
        **changes,
    }


def write_json(folder: Path, **changes: Any) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(document(**changes)), encoding="utf-8")
    return folder


@pytest.mark.parametrize("names", [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")])
def test_folders_with_vocab_and_merges(names: tuple[str, str], tmp_path: Path) -> None:
    ours = load_tokenizer(write_pair(tmp_path, *names))
    assert ours.encode("hehe").ids == [256, 256] and ours.lossless
    assert ours.eos_id == ours.bos_id == 257 and ours.name == tmp_path.name
    assert ours.encode("<|endoftext|>", parse_special=True).ids == [257]
    assert len(ours.encode("<|endoftext|>")) == 13


def test_vocab_and_merges_with_bos_as_configured(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"add_bos_token": true, "add_prefix_space": true}')
    ours = load_tokenizer(write_pair(tmp_path))
    assert [(t.id, t.span) for t in ours.encode("he")] == [(257, None), (32, None), (256, (0, 2))]
    assert ours.encode("he", add_special_tokens=False).ids == [32, 256]


def test_a_tokenizer_json_comes_first(tmp_path: Path) -> None:
    write_pair(write_json(tmp_path, model={"type": "BPE", "vocab": VOCAB, "merges": []}))
    assert load_tokenizer(tmp_path).encode("he").ids == [104, 101]
    assert load_tokenizer(tmp_path / "tokenizer.json").encode("he").ids == [104, 101]
    assert from_vocab_merges(tmp_path / "vocab.json", tmp_path / "merges.txt").encode("he").ids == [256]


def test_truncation_and_padding_in_the_file_are_ignored(tmp_path: Path) -> None:
    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "x",
    }
    ours = load_tokenizer(write_json(tmp_path, truncation=truncation, padding=padding))
    assert len(ours.encode("abcde")) == 5


def test_the_family_fills_in_what_no_file_says(tmp_path: Path) -> None:
    write_json(tmp_path)
    assert load_tokenizer(tmp_path).eos_id is None
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert load_tokenizer(tmp_path).eos_id == 257
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": null}')
    assert load_tokenizer(tmp_path).eos_id is None


def test_several_templates_by_name(tmp_path: Path) -> None:
    templates = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    write_json(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    assert load_tokenizer(tmp_path).chat_template == "d"


@pytest.mark.parametrize(
    ("pre_tokenizer", "ids"),
    [
        ({"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, [97, 98]),
        ({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}, [97, 98]),
    ],
)
def test_the_space_in_front_can_be_switched_off(pre_tokenizer: Any, ids: list[int], tmp_path: Path) -> None:
    vocab = VOCAB | {"▁": 258}
    model = {"type": "BPE", "vocab": vocab, "merges": []}
    write_json(tmp_path, pre_tokenizer=pre_tokenizer, model=model)
    assert load_tokenizer(tmp_path).prefix_space and len(load_tokenizer(tmp_path).encode("ab")) == 3
    ours = load_tokenizer(tmp_path, add_prefix_space=False)
    assert ours.encode("ab").ids == ids and not ours.prefix_space
    assert load_tokenizer(tmp_path, add_prefix_space=True).prefix_space


def test_the_space_that_a_normalizer_adds_can_be_switched_off(tmp_path: Path) -> None:
    """As in Llama 2's file; the decoder then takes no space off either."""
    steps = [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]
    decoders = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]
    write_json(
        tmp_path,
        model={"type": "BPE", "vocab": VOCAB | {"▁": 258}, "merges": []},
        pre_tokenizer=None,
        normalizer={"type": "Sequence", "normalizers": steps},
        decoder={"type": "Sequence", "decoders": decoders},
    )
    ours = load_tokenizer(tmp_path)
    assert ours.encode("a b").ids == [258, 97, 258, 98] and ours.decode([258, 97]) == "a"
    bare = load_tokenizer(tmp_path, add_prefix_space=False)
    assert bare.encode("a b").ids == [97, 258, 98] and bare.decode([258, 97]) == " a"


def test_a_space_that_cannot_be_switched_is_refused(tmp_path: Path) -> None:
    """Behind a step that cuts, the switch would put a space before every piece."""
    steps = [{"type": "Digits", "individual_digits": True}, document()["pre_tokenizer"]]
    write_json(tmp_path, pre_tokenizer={"type": "Sequence", "pretokenizers": steps})
    assert load_tokenizer(tmp_path).encode("a1").ids == [97, 49]
    with pytest.raises(ModelUnsupported, match="put the space into the text instead"):
        load_tokenizer(tmp_path, add_prefix_space=True)


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({}, ModelNotFound, "it needs tokenizer.json, or vocab.json and merges.txt"),
        ({"vocab.json": "{}"}, ModelNotFound, "no tokenizer in"),
        ({"tokenizer.model": "x"}, ModelUnsupported, "save a tokenizer.json beside it"),
        ({"a.gguf": "x", "b.gguf": "x"}, ModelNotFound, "holds 2 .gguf files; name one"),
        ({"tokenizer.json": ""}, ModelDamaged, "tokenizer.json is damaged"),
        ({"tokenizer.json": "[1"}, ModelDamaged, "tokenizer.json is damaged"),
        ({"tokenizer.json": "{}"}, ModelDamaged, "tokenizer.json is damaged"),
        ({"tokenizer.json": "[" * 100_000}, ModelDamaged, "tokenizer.json is damaged"),
        ({"tokenizer.json": "\udcff"}, ModelDamaged, "is no UTF-8 text"),
        ({"vocab.json": "[]", "merges.txt": ""}, ModelDamaged, "vocab.json is damaged"),
        ({"vocab.json": '{"a": 0}', "merges.txt": "x y"}, ModelDamaged, "vocab.json is damaged"),
        ({"vocab.json": '{"a": -1}', "merges.txt": ""}, ModelDamaged, "vocab.json is damaged"),
    ],
)
def test_folders_without_a_tokenizer(
    files: dict[str, str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(error, match=message) as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["[1]", "{", "\udcff", "[" * 100_000])
def test_damaged_files_beside_a_tokenizer(text: str, tmp_path: Path) -> None:
    write_json(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ModelDamaged, match=r"tokenizer_config\.json"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        {"bos_token": 3, "eos_token": ["x"], "unk_token": {"a": 1}, "additional_special_tokens": [1, None]},
        {"added_tokens_decoder": {"5": "x"}, "chat_template": [1, {"name": "default"}], "tokenizer_class": 7},
        {
            "added_tokens_decoder": {"five": {"content": "x"}, "5": {}, "5" * 5_000: 1},
            "extra_special_tokens": 3,
        },
        {"added_tokens_decoder": [1], "extra_special_tokens": {"a": 5}, "chat_template": {}},
    ],
)
def test_odd_values_beside_a_tokenizer_are_no_special_tokens(config: dict[str, Any], tmp_path: Path) -> None:
    write_json(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = load_tokenizer(tmp_path)
    assert len(ours) == 258 and ours.special_tokens == {} and ours.chat_template is None


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere", ModelNotFound, "no tokenizer at"),
        ("nowhere.json", ModelNotFound, "no tokenizer at"),
        ("nowhere.gguf", ModelNotFound, "no tokenizer at"),
        ("weights.bin", ModelUnsupported, "weights.bin is no tokenizer"),
        ("vocab.json", ModelUnsupported, "vocab.json is no tokenizer"),
        ("short.gguf", ModelDamaged, "short.gguf"),
    ],
)
def test_files_that_are_no_tokenizer(name: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    for present in ("weights.bin", "vocab.json", "short.gguf"):
        (tmp_path / present).write_bytes(b"GGUF")
    with pytest.raises(error, match=message) as caught:
        load_tokenizer(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_file_too_large_to_be_a_tokenizer_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ModelDamaged, match="1,073,741,824 bytes, more than the 67,108,864 allowed"):
        from_tokenizer_json(tmp_path / "tokenizer.json")


def test_a_tokenizer_that_fails_on_a_text_says_so_in_one_line(tmp_path: Path) -> None:
    model = {
        "type": "WordPiece", "vocab": {"a": 0}, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
    }  # fmt: skip
    ours = load_tokenizer(
        write_json(tmp_path, model=model, added_tokens=[], pre_tokenizer=None, decoder=None)
    )
    assert ours.encode("a").ids == [0] and ours.kind == "WordPiece"
    with pytest.raises(ModelUnsupported, match="the tokenizer failed on this text: WordPiece error"):
        ours.encode("b")


def test_a_gap_in_the_numbering_stands_for_nothing(tmp_path: Path) -> None:
    model = {"type": "BPE", "vocab": VOCAB | {"z": 300}, "merges": []}
    del model["vocab"]["<|endoftext|>"]
    added = [document()["added_tokens"][0] | {"id": 400}]
    ours = load_tokenizer(write_json(tmp_path, model=model, added_tokens=added))
    assert ours.find("<|endoftext|>") < len(ours)
    assert all(ours.token(i) is not None for i in range(len(ours)))


def test_importing_loads_no_heavy_package() -> None:
    code = (
        "import sys, tokenglass.tokenizer, tokenglass.chat;"
        "heavy = ('tokenizers', 'jinja2', 'gguf', 'transformers', 'onnxruntime');"
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
