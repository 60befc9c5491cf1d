"""`tokenglass score` and `compare`: the numbers are those of the rows, and Ctrl-C keeps what is done."""

from __future__ import annotations

import io
import json
import os
import sys
from itertools import pairwise
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.unit import cli_world
from tests.unit.view_samples import WORDS
from tokenglass.cli import run

TEXT = "Once upon a time, generative models"
IDS = [cli_world.ENTRIES.index(word) for word in WORDS[: TEXT.count(" ") + 3]]


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tg, "load", cli_world.load, raising=False)


def bits(token: int, after: int) -> float:
    """Surprise of a token after another, from the world's own row: softmax in float64, then log2."""
    row = cli_world.rule((after,)).astype(np.float64)
    return float(-np.log2(np.exp(row[token]) / np.exp(row).sum()))


def document(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> dict[str, Any]:
    assert run([*argv, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_surprise_is_that_of_the_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert b"".join(cli_world.ENTRIES[i] for i in IDS) == TEXT.encode()
    found = document(capsys, "score", "--text", TEXT, "--top", "2", "--no-bos")
    assert [row["id"] for row in found["rows"]] == IDS and found["complete"] is True
    expected = [bits(token, after) for after, token in pairwise(IDS)]
    # float32 logits of at most 6 carry 5e-7, the sums here and there float64
    assert [row["surprisal_bits"] for row in found["rows"][1:]] == pytest.approx(expected, abs=1e-5)
    assert found["bits"] == pytest.approx(sum(expected), abs=1e-4)
    assert all(len(row["top"]) == 2 for row in found["rows"][1:])
    begun = document(capsys, "score", "--text", TEXT)  # by default the world's begin-of-text token goes first
    assert [row["id"] for row in begun["rows"]] == [cli_world.EOS, *IDS] and begun["first_scored"] == 1
    assert begun["rows"][1]["surprisal_bits"] == pytest.approx(bits(IDS[0], cli_world.EOS), abs=1e-5)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_file_pipe_and_text_are_one(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = TEXT.encode() + ending.encode()
    (tmp_path / "text.txt").write_bytes(data)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    expected = document(capsys, "score", "--text", TEXT)
    assert document(capsys, "score", str(tmp_path / "text.txt")) == expected
    assert document(capsys, "score", "-") == expected


def test_a_file_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.bin").write_bytes(b"abc\xff")
    assert run(["score", str(tmp_path / "x.bin")]) == 2
    assert "is not UTF-8: byte 0xff at offset 3" in capsys.readouterr().err


def test_options_are_scored_after_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    words = [WORDS[len(IDS)].decode(), "".join(word.decode() for word in WORDS[len(IDS) : len(IDS) + 2])]
    found = document(capsys, "score", "--text", TEXT, "--options", words[0], "--options", words[1])
    ids = [cli_world.ENTRIES.index(word) for word in WORDS[len(IDS) - 1 : len(IDS) + 2]]
    one, two = bits(ids[1], ids[0]), bits(ids[2], ids[1])
    expected = [2.0**-one, 2.0 ** -(one + two)]
    assert [exp(row["logprob"]) for row in found["rows"]] == pytest.approx(expected, rel=1e-5)
    assert [row["text"] for row in found["rows"]] == words and "beginning of" in found["rows"][0]["notes"][0]


def test_ctrl_c_shows_what_is_scored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond the context the text is read in windows; stopped in the third, the first two are whole."""
    text = (TEXT + " ") * 16
    whole = document(capsys, "score", "--text", text)
    from tokenglass.engines.table import TableEngine

    runs, real = [], TableEngine.iter_logits

    def counted(self: TableEngine, *args: Any, **kwargs: Any) -> Any:
        runs.append(1)
        if len(runs) == 3:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(TableEngine, "iter_logits", counted)
    part = document(capsys, "score", "--text", text, code=130)
    n = part["n_tokens"]
    # windows of 64 with strides of 32: one predicts ids 1 to 64, the next 65 to 96
    assert n == 97 and part["complete"] is False and whole["n_tokens"] > n
    assert part["rows"] == whole["rows"][:n]
    assert text.startswith(part["text"]) and part["text"].startswith((TEXT + " ") * 2)
    known = [row["surprisal_bits"] for row in whole["rows"][1:n]]
    spelled = b"".join(bytes.fromhex(row["bytes"]) for row in whole["rows"][1:n])
    assert part["bits"] == pytest.approx(sum(known), rel=1e-9)
    assert part["bits_per_byte"] == pytest.approx(sum(known) / len(spelled), rel=1e-9)
    runs.clear()
    assert run(["score", "--text", text]) == 130
    assert capsys.readouterr().err == f"stopped after 97 of {whole['n_tokens']} tokens\n"
    runs[:] = [1, 1]
    assert run(["score", "--text", text]) == 130
    assert capsys.readouterr().err == "tokenglass: stopped\n"


def test_a_bar_follows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal it is a line that the next one replaces; the last leaves it empty."""
    from tokenglass.cli import scoring

    lines: list[str] = []
    monkeypatch.setattr(scoring, "passing", lines.append)
    assert run(["score", "--text", TEXT]) == 0
    assert lines[-2:] == ["█" * 24 + f"  {1 + len(IDS)} of {1 + len(IDS)} tokens", ""]
    assert lines[0].strip().endswith(f" 1 of {1 + len(IDS)} tokens") and capsys.readouterr().err == ""


# ------------------------------------------------------------------------------------------------ compare


def test_two_prompts_lie_as_far_apart_as_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "compare", TEXT, "Once upon", "--max-new-tokens", "1")
    p, q = (
        np.exp(row) / np.exp(row).sum()
        for row in (cli_world.rule((i,)).astype(np.float64) for i in (IDS[-1], IDS[1]))
    )
    (end,) = found["positions"]
    assert found["kind"] == "prompts"
    assert end["kl_ab_bits"] == pytest.approx(float((p * np.log2(p / q)).sum()), abs=1e-5)
    assert end["tv"] == pytest.approx(float(np.abs(p - q).sum() / 2), abs=1e-6)


def test_configurations_are_those_typed(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["compare", TEXT, "--a", "do_sample", "--a", "top-k=3", "--b", "no_do_sample", "--seed", "5"]
    found = document(capsys, *argv, "--max-new-tokens", "2")
    assert found["kind"] == "configs" and found["basis"] == "chain"
    assert found["a"]["keywords"] == {"seed": 5, "max_new_tokens": 2, "do_sample": True, "top_k": 3}
    assert found["b"]["keywords"] == {"seed": 5, "max_new_tokens": 2, "do_sample": False}
    model = cli_world.load()
    expected = model.generate(TEXT, do_sample=True, top_k=3, seed=5, max_new_tokens=2)
    assert found["a"]["generation"]["ids"] == list(expected.ids)


def test_what_changes_nothing_is_said_of_its_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", TEXT, "--a", "top_k=3", "--b", "do_sample", "--max-new-tokens", "1"]) == 0
    assert capsys.readouterr().err == "a: note: top_k has no effect in a greedy run; add --do-sample\n"
    assert run(["compare", TEXT, "Once", "--max-new-tokens", "1", "--top-k", "3"]) == 0
    assert capsys.readouterr().err == "note: top_k has no effect in a greedy run; add --do-sample\n"


def test_two_models_of_one_kind_agree(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "compare", TEXT, "--with-model", "smollm2", "--max-new-tokens", "2")
    assert found["kind"] == "models" and found["agreement"] == 1.0 and found["parting"] is None
    assert len(found["positions"]) == len(IDS) + 1  # every place of the prompt, and the text's second token
    assert all(row["tv"] == 0.0 for row in found["positions"])


def test_wrong_keywords_are_refused_before_a_model_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(tg, "load", refuse)
    for words in (["--a", "top_p=2"], ["--b", "nothing=1"], ["--a", "top_k"]):
        assert run(["compare", TEXT, *words]) == 2
    monkeypatch.chdir(os.sep)
    assert run(["score", "missing.txt"]) == 3
    assert "loaded" not in capsys.readouterr().err
