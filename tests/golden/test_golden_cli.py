"""What commands print, as stored files: `TOKENGLASS_REWRITE_GOLDEN=1 pytest tests/golden` rewrites them."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

import tokenglass
from tests.golden.test_golden_views import rounded
from tests.unit import cli_world
from tokenglass.cli import run

HERE = Path(__file__).parent
PROMPT = "Once upon a time, naïve models"
TRACE, TREE = "session.jsonl", "session.md"
COMMANDS = {
    "help": [],
    "explore": [PROMPT],
    "tokens": ["tokens", PROMPT],
    "next": ["next", PROMPT, "-n", "4", "--lookup", " time"],
    "generate": ["generate", PROMPT, "--steps"],
    "stages": ["next", PROMPT, "--do-sample", "--top-k", "3", "--stages", "--why", ","],
    "chain": ["generate", PROMPT, "--do-sample", "--seed", "1", "--top-p", "0.9", "--chain"],
    "samples": ["generate", PROMPT, "--do-sample", "--seed", "1", "--num-return-sequences", "2"],
    "beams": ["generate", PROMPT, "--num-beams", "2", "--max-new-tokens", "2", "--steps"],
    "strategies": ["strategies", PROMPT, "--seed", "1", "--max-new-tokens", "4"],
    "score": ["score", "--text", PROMPT],
    "score_options": ["score", "--text", PROMPT, "--options", " like", "--options", " have"],
    "compare": ["compare", PROMPT, "--a", "do_sample", "--a", "top_k=3", "--seed", "1", "-n", "3"],
    "open": ["open", TRACE],
    "replay": ["replay", TRACE, "-m", "smollm2"],
    "export": ["export", TRACE, "-o", TREE],
    "keywords": ["generate", "--help"],
    "next_json": ["next", PROMPT, "-n", "2", "--json"],
    "error_json": ["-m", "missing", PROMPT, "--json"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_prints_what_was_reviewed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if TRACE in COMMANDS[name]:
        cli_world.kept(TRACE)
    monkeypatch.setattr(tokenglass, "load", cli_world.load, raising=False)
    monkeypatch.setattr(tokenglass, "load_tokenizer", cli_world.load_tokenizer, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)  # times differ from run to run
    code = run(COMMANDS[name])
    out = capsys.readouterr().out
    if name == "keywords":  # above them stands what argparse words in its own way in each Python
        out = out[out.index("length and end:") :]
    if "--json" in COMMANDS[name]:
        out = json.dumps(rounded(json.loads(out)), indent=1) + "\n"
    if TREE in COMMANDS[name]:
        out += Path(TREE).read_text(encoding="utf-8")
    if name == "replay":  # installed versions differ from machine to machine
        out = re.sub(r"(?m)^(numpy|onnxruntime|tokenglass) .*\n", "", out)
    printed = f"{out}[exit code {code}]\n"
    path = HERE / f"cli_{name}.txt"
    if os.environ.get("TOKENGLASS_REWRITE_GOLDEN"):
        path.write_text(printed, encoding="utf-8", newline="\n")
    assert printed == path.read_text(encoding="utf-8")
