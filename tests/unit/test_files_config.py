"""JSON beside a model: bounded, and never an invitation to run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenglass.errors import ModelDamaged, ModelNotFound, ModelUnsupported
from tokenglass.files.config import check_config, read_json, refuse_code

CONFIG = Path("config.json")
SOUND = {
    "vocab_size": 10,
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "eos_token_id": [1, 9],
}


def written(folder: Path, data: bytes | Any) -> Path:
    path = folder / "config.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    return path


def test_read_json_as_json_reads_it(tmp_path: Path) -> None:
    data = b'{"a": [1, 2.5, null, true, "\\u00e9\xc3\xa9"], "b": {"c": Infinity}, "a2": 1, "a2": 2}'
    assert read_json(written(tmp_path, data)) == json.loads(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it is not JSON (line 1: Expecting value)"),
        (b"[1]", "it is not a JSON object"),
        (b"{\n'a': 1}", "it is not JSON (line 2:"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "nested deeper than 32"),
        (b'{"a":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "nested deeper than 32"),
        (b'{"a":' + b"1" * 4_301 + b"}", "more than 4,300 digits"),
        (b"{" + b" " * (4 << 20) + b"}", "it has 4,194,306 bytes, more than the 4,194,304 allowed"),
        (b'{"a":[' + b"{}," * 300_000 + b"{}]}", "more entries than any known model"),
    ],
)
def test_read_json_refuses(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged) as caught:
        read_json(written(tmp_path, data))
    assert message in str(caught.value) and str(caught.value).isprintable()


def test_read_json_depth_32_is_allowed(tmp_path: Path) -> None:
    value = read_json(written(tmp_path, b'{"a":' * 32 + b"1" + b"}" * 32))
    assert isinstance(value["a"], dict)


def test_read_json_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="cannot be read"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"auto_map": {"AutoModel": "evil--repo.Model"}}, "auto_map"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"_attn_implementation_internal": "user/kernel"}, "_attn_implementation_internal"),
        ({"text_config": {"auto_map": {"AutoConfig": "x.Y"}}}, "auto_map"),
        ({"sub": [[{"deep": {"trust_remote_code": 1}}]]}, "trust_remote_code"),
    ],
)
def test_refuse_code_names_the_key(config: Any, key: str) -> None:
    with pytest.raises(
        ModelUnsupported, match=rf"config\.json asks to run code .*'{key}'.* never done; choose"
    ):
        refuse_code(config, CONFIG)


@pytest.mark.parametrize(
    "config", [{}, {"auto_map": None}, {"trust_remote_code": False}, {"model_type": "auto_map"}]
)
def test_refuse_code_accepts_what_asks_for_none(config: Any) -> None:
    refuse_code(config, CONFIG)


@pytest.mark.parametrize(
    "config",
    [
        {},
        SOUND,
        {"vocab_size": 50257, "n_embd": 768, "n_head": 12, "n_positions": 1024, "bos_token_id": 50256},
        {**SOUND, "hidden_size": 10, "head_dim": 8},
        {**SOUND, "eos_token_id": None},
    ],
)
def test_check_config_accepts(config: Any) -> None:
    check_config(config, CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be an integer in [1, 2,097,152], got '0'"),
        ({"vocab_size": "10"}, "vocab_size must be an integer"),
        ({"vocab_size": 10.0}, "vocab_size must be an integer in [1, 2,097,152], got '10.0'"),
        ({"num_hidden_layers": -1}, "num_hidden_layers must be"),
        ({"n_layer": 5_000}, "n_layer must be an integer in [1, 4,096], got '5000'"),
        ({"max_position_embeddings": 1 << 40}, "max_position_embeddings must be"),
        ({"num_key_value_heads": 3}, "4 heads cannot share num_key_value_heads, 3"),
        ({"hidden_size": 9}, "hidden_size 9 cannot be divided by 4 heads"),
        ({"bos_token_id": 10}, "bos_token_id must be an integer in [0, 9], got '10'"),
        ({"eos_token_id": [1, 10]}, "eos_token_id must be an integer in [0, 9], got '10'"),
        ({"eos_token_id": -1}, "eos_token_id must be"),
        ({"eos_token_id": True}, "eos_token_id must be an integer in [0, 9], got 'True'"),
        ({"vocab_size": "\x1b]52;c;x\x07"}, "got '\\x1b]52;c;x\\x07'"),
    ],
)
def test_check_config_refuses(change: Any, message: str) -> None:
    with pytest.raises(ModelDamaged) as caught:
        check_config({**SOUND, **change}, CONFIG)
    assert message in str(caught.value) and str(caught.value).isprintable()
