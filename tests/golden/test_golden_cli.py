"""What commands print, as stored files: `TOKENGLASS_REWRITE_GOLDEN=1 pytest tests/golden` rewrites them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

import tokenglass
from tests.golden.test_golden_views import rounded
from tests.unit import cli_world
from tokenglass.cli import run

HERE = Path(__file__).parent
PROMPT = "Once upon a time, naïve models"
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
    "keywords": ["generate", "--help"],
    "next_json": ["next", PROMPT, "-n", "2", "--json"],
    "error_json": ["-m", "missing", PROMPT, "--json"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_prints_what_was_reviewed(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
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
    printed = f"{out}[exit code {code}]\n"
    path = HERE / f"cli_{name}.txt"
    if os.environ.get("TOKENGLASS_REWRITE_GOLDEN"):
        path.write_text(printed, encoding="utf-8", newline="\n")
    assert printed == path.read_text(encoding="utf-8")
