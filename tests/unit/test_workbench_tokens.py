"""The workbench's operations about tokens: rows against the tokenizer's own, blocks against the text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import model as byte_model
from tests.support import writes
from tokenglass.engines.table import TableEngine
from tokenglass.errors import Unsupported
from tokenglass.model import Model
from tokenglass.text import safe_text
from tokenglass.tokenizer.training import train
from tokenglass.workbench import Refused, Workbench

CORPUS = "the thin thief thinks the things; café, 漢字 and 漢語. " * 9
TEXT = "the things, café 漢字\n<|im_end|>"


def trained_model(vocab_size: int) -> Model:
    tokenizer = train(CORPUS, vocab_size).tokenizer
    return Model(TableEngine(lambda ids: [0.0] * len(tokenizer), vocab_size=len(tokenizer)), tokenizer)


@pytest.fixture(scope="module")
def bench() -> Workbench:
    large, small = trained_model(330), trained_model(270)
    return Workbench(large, {"large": large, "small": small})


def shown(rows: list[dict[str, Any]], data: bytes) -> bytes:
    """The bytes that rows cover, each checked for its display text."""
    for row in rows:
        a, b = row["span"]
        assert row["token"] == safe_text(data[a:b])
    return b"".join(data[a:b] for a, b in (row["span"] for row in rows))


def test_characters_words_and_tokens_each_are_the_whole_text(bench: Workbench) -> None:
    found, data = bench.call("words", {"text": TEXT}), TEXT.encode()
    assert all(shown(found[name], data) == data for name in ("characters", "words", "tokens"))
    assert [row["token"] for row in found["words"][:4]] == ["the", "·things", ",", "·café"]
    assert len(found["characters"]) == len(TEXT) and found["n_bytes"] == len(data)
    assert [row["id"] for row in found["tokens"]] == bench.model.tokenizer.encode(TEXT).ids


def test_merges_end_with_the_tokens(bench: Workbench) -> None:
    found = bench.call("merges", {"text": TEXT})
    assert found["order"] == "place" and found["kind"] == "BPE byte-level"
    for word in found["words"]:
        pieces = [symbol["bytes"] for symbol in word["symbols"]]
        for merge in word["merges"]:
            i = merge["index"]
            assert pieces[i : i + 2] == [merge["left"]["bytes"], merge["right"]["bytes"]]
            pieces[i : i + 2] = [merge["bytes"]]
            assert merge["token"] == safe_text(bytes.fromhex(merge["bytes"])) and merge["rank"] >= 1
        assert pieces == [bench.model.tokenizer.token_bytes(i).hex() for i in word["ids"]]


@pytest.mark.parametrize("other", [{"other": "small"}, {"train_on": CORPUS, "vocab_size": 260}])
def test_blocks_are_the_same_bytes_on_both_sides(bench: Workbench, other: dict[str, Any]) -> None:
    found, data = bench.call("align", {"text": TEXT, **other}), TEXT.encode()
    assert [block["span"][0] for block in found["blocks"][1:]] == [
        block["span"][1] for block in found["blocks"][:-1]
    ]
    seen: dict[str, list[int]] = {"a": [], "b": []}
    for block in found["blocks"]:
        start, end = block["span"]
        for side in ("a", "b"):
            rows = [found[side]["tokens"][i] for i in block[side]]
            assert b"".join(bytes.fromhex(row["bytes"]) for row in rows) == data[start:end]
            seen[side] += block[side]
    assert all(seen[side] == list(range(found[side]["n_tokens"])) for side in ("a", "b"))
    assert any(len(block["a"]) == 1 and len(block["b"]) > 1 for block in found["blocks"])


def test_two_trainings_are_the_same(bench: Workbench) -> None:
    found = bench.call("train", {"text": CORPUS, "vocab_size": 275})
    first = train(CORPUS, 275)
    assert found["same"] and found["sha256"][0] == found["sha256"][1]
    assert found["vocab_size"] == 275 and len(found["merges"]) == 275 - 256
    assert [merge["bytes"] for merge in found["merges"]] == [
        (one.left + one.right).hex() for one in first.learned
    ]
    assert found["n_tokens"] == len(first.tokenizer.encode(CORPUS)) > found["n_tokens_model"]


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("train", {"text": "a", "vocab_size": 255}, "vocab_size"),
        ("train", {"text": "a", "vocab_size": 2001}, "vocab_size"),
        ("merges", {"text": "a" * 4001}, "text"),
        ("words", {"text": "\ud800"}, "text"),
        ("align", {"text": "a"}, "other"),
        ("align", {"text": "a", "other": "small", "train_on": "b"}, "other"),
        ("align", {"text": "a", "other": "none of them"}, "model"),
    ],
)
def test_wrong_parameters_are_named(bench: Workbench, name: str, given: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        bench.call(name, given)
    assert caught.value.field == field


def test_a_tokenizer_without_merges_says_so() -> None:
    with pytest.raises(Unsupported, match="does not say where it cuts"):
        Workbench(byte_model(writes("abc"))).call("merges", {"text": "abc"})


def test_an_empty_text_is_nothing(bench: Workbench) -> None:
    assert bench.call("merges", {"text": ""})["words"] == []
    assert bench.call("align", {"text": "", "other": "small"})["blocks"] == []
    assert bench.call("train", {"text": ""})["merges"] == []
