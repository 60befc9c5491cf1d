"""Options that choose what computes: refused in a line, handed to `load` whole, and said in documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

import tokenglass as tg
from tests import batch_model
from tests.unit import cli_world
from tokenglass.cli import run
from tokenglass.cli.options import parser
from tokenglass.cli.routing import COMMANDS

COMPUTING = ("explore", "next", "generate", "strategies", "score", "compare", "batch", "doctor")
LOADING = (*COMPUTING, "tokens", "serve")
ADDRESS = "http://127.0.0.1:9/v1"  # the discard port: nobody is asked
# options, and what is said; nothing is loaded for any of them
REFUSED = (
    (["--engine", "torch"], "choose from"),
    (["--dtype", "int8"], "choose from"),
    (["--threads", "0"], "at least 1"),
    (["--threads", "1025"], "at most 1024"),
    (["--engine", "hf", "--precision", "fast"], "--precision fast belongs to --engine onnx"),
    (["--engine", "server", "--precision", "fast"], "leave it or --engine server out"),
    (["--dtype", "float16", "--precision", "fast"], "leave it or --dtype out"),
    (["--engine", "onnx", "--dtype", "auto"], "--dtype belongs to --engine hf, not to onnx"),
    (["--engine", "server", "--dtype", "auto", "--device", "cpu"], "--dtype and --device belong to --engine"),
    (["-m", ADDRESS, "--engine", "onnx"], "goes with --engine server, not onnx"),
    (["-m", ADDRESS, "--threads", "2"], "--threads: settled by the server"),
    (["-m", ADDRESS, "--device", "cpu", "--precision", "fast"], "leave it or --device out"),
    (["-m", ADDRESS, "--precision", "fast"], "--precision: settled by the server"),
    (["--tokenizer", "gpt2"], "--tokenizer goes with the address of a server"),
)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of every `load`, which gives a model of the world."""
    asked: list[dict[str, Any]] = []

    def load(source: str, **arguments: Any) -> Any:
        asked.append({"source": source, **arguments})
        return cli_world.load()

    cli_world_paths(monkeypatch)
    monkeypatch.setattr(tg, "load", load)
    return asked


def cli_world_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenglass import models

    monkeypatch.setattr(models, "path", lambda name: Path("/models") / name)


def words_of(command: str, folder: Path) -> list[str]:
    """A command with what it needs besides."""
    needed = {"compare": ["Hi", "Ho"], "score": ["--text", "Hi"], "serve": ["--no-open"], "doctor": []}
    if command == "batch":
        rows = batch_model.write_jsonl(folder / "in.jsonl", ["Hi"])
        return ["batch", str(rows), "-o", str(folder / "out")]
    return [*(() if command == "explore" else (command,)), *needed.get(command, ["Hi"])]


@pytest.mark.parametrize("command", LOADING)
def test_what_goes_together_is_checked_before_anything_is_loaded(
    command: str, loads: list[Any], tmp_path: Path, capsys: Any
) -> None:
    words = words_of(command, tmp_path)
    for options, said in REFUSED:
        assert run([*words, *options]) == 2, options
        out, err = capsys.readouterr()
        assert said in err and err.startswith("tokenglass: ") and err.count("\n") == 1 and not out, options
    assert not loads


def test_every_command_that_loads_a_model_has_them() -> None:
    """By what the parsers themselves offer; `open` and `replay` take the engine of the record."""
    for command in ("explore", *COMMANDS):
        offered = parser(command).format_help()
        assert ("--engine" in offered) == (command in LOADING), command
        assert all((name in offered) == (command in LOADING) for name in ("--dtype", "--device")), command


@pytest.mark.parametrize("command", COMPUTING)
def test_they_reach_the_model_whole(command: str, loads: list[Any], tmp_path: Path) -> None:
    options = ["-m", "m", "--engine", "hf", "--dtype", "bfloat16", "--device", "cpu", "--threads", "3"]
    assert run([*words_of(command, tmp_path), *options, "--json"]) == 0
    wanted = {"engine": "hf", "dtype": "bfloat16", "device": "cpu", "threads": 3, "precision": "exact"}
    assert loads == [{"source": "m", **wanted}]


def test_other_models_of_a_command_get_them_too(loads: list[Any], capsys: Any) -> None:
    """The second of two, and one that drafts; a tokenizer only where an address lacks one."""
    assert run(["compare", "Hi", "--with-model", "other", "--threads", "2", "--json"]) == 0
    drafted = ["--assistant-model", "small", "--max-new-tokens", "1"]
    assert run(["generate", "Hi", *drafted, "--engine", "hf"]) == 0
    assert run(["compare", "Hi", "--with-model", ADDRESS, "--tokenizer", "t", "--json"]) == 0
    exact = {"precision": "exact"}
    assert loads == [
        {"source": "smollm2", "threads": 2, **exact},
        {"source": "other", "threads": 2, **exact},
        {"source": "smollm2", "engine": "hf", **exact},
        {"source": "small", "engine": "hf", **exact},
        {"source": "smollm2", **exact},
        {"source": ADDRESS, "tokenizer": "t", **exact},
    ]
    capsys.readouterr()
    assert run(["compare", "Hi", "--with-model", ADDRESS, "--threads", "2"]) == 2
    assert "settled by the server" in capsys.readouterr().err and len(loads) == 6


def test_tokens_are_cut_alike_by_all_engines_that_compute_here(
    loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a server has a tokenizer of its own, which must then be asked."""
    monkeypatch.setattr(tg, "load_tokenizer", cli_world.load_tokenizer)
    assert run(["tokens", "Hi", "--engine", "hf"]) == 0 and not loads
    assert run(["tokens", "Hi", "-m", "x.gguf", "--engine", "server"]) == 0
    assert loads == [{"source": "x.gguf", "precision": "exact", "engine": "server"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return batch_model.make(tmp_path_factory.mktemp("engines") / "m")


def documents(folder: Path, engine: str, capsys: Any) -> list[dict[str, Any]]:
    commands = (
        ["next", "Hi there", "-n", "257"],
        ["generate", "Hi there", "--max-new-tokens", "3"],
        ["generate", "Hi there", "--chain"],
        ["score", "--text", "Hi there"],
        ["score", "--text", "Hi", "--options", "a"],
        ["compare", "Hi", "Ho", "--max-new-tokens", "1"],
        ["strategies", "Hi", "--only", "beam_search", "--max-new-tokens", "1"],
        ["Hi there"],
    )
    found = []
    for words in commands:
        assert run([*words, "-m", str(folder), "--engine", engine, "--threads", "1", "--json"]) == 0, words
        found.append(json.loads(capsys.readouterr().out))
    return found


def test_documents_say_which_engine_ran(folder: Path, capsys: Any) -> None:
    """Both engines, against transformers itself; 5e-4 for float32 sums in other orders."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    ids = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode("Hi there").ids
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([ids])).logits[0, -1]
    theirs = logits.log_softmax(-1).numpy()
    for engine in ("onnx", "hf"):
        found = documents(folder, engine, capsys)
        assert [(d["engine"], d["precision"]) for d in found] == [(engine, "exact")] * len(found)
        assert all(found[5][side]["engine"] == engine for side in "ab")
        rows = {row["id"]: row["logprob"] for row in found[0]["rows"]}
        assert found[0]["prompt_ids"] == ids and len(rows) == len(theirs)
        np.testing.assert_allclose([rows[i] for i in range(len(rows))], theirs, atol=5e-4)


def test_dtype_is_said_and_computed(folder: Path, capsys: Any) -> None:
    pytest.importorskip("torch")
    words = ["next", "Hi there", "-m", str(folder), "--dtype", "bfloat16", "--device", "cpu", "--json"]
    assert run(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["engine"], document["precision"]) == ("hf", "bfloat16")
    assert run(["next", "Hi", "-m", str(folder), "--device", "tpu"]) == 2
    err = capsys.readouterr().err
    assert "device must be cpu, cuda, cuda:N or mps" in err and err.count("\n") == 1


def test_a_batch_keeps_its_engine(folder: Path, tmp_path: Path, capsys: Any) -> None:
    """It is in the manifest and in the document, and a run is not gone on with by another engine."""
    pytest.importorskip("torch")
    rows = batch_model.write_jsonl(tmp_path / "in.jsonl", batch_model.prompts(5))
    words = ["batch", str(rows), "-m", str(folder), "-o", str(tmp_path / "out"), "--json"]
    assert run([*words, "--engine", "hf", "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["engine"] == "hf"
    (manifest,) = (json.loads(p.read_text()) for p in (tmp_path / "out").glob("*anifest*"))
    assert manifest["model"]["engine"] == "hf"
    assert run([*words, "--engine", "onnx"]) == 3
    assert "engine" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_gpu_for_each_worker_has_no_number(tmp_path: Path, loads: list[Any], capsys: Any) -> None:
    words = [*words_of("batch", tmp_path), "--ray", "local", "--device", "cuda:1"]
    assert run(words) == 2 and "say --device cuda" in capsys.readouterr().err and not loads
