"""What commands print, as stored files: `TOKENGLASS_REWRITE_GOLDEN=1 pytest tests/golden` rewrites them."""

from __future__ import annotations

import json
import os
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
    code = run(COMMANDS[name])
    out = capsys.readouterr().out
    if "--json" in COMMANDS[name]:
        out = json.dumps(rounded(json.loads(out)), indent=1) + "\n"
    printed = f"{out}[exit code {code}]\n"
    path = HERE / f"cli_{name}.txt"
    if os.environ.get("TOKENGLASS_REWRITE_GOLDEN"):
        path.write_text(printed, encoding="utf-8", newline="\n")
    assert printed == path.read_text(encoding="utf-8")
