"""The table of docs/engines.md is what the engines say of themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.contract import subjects
from tests.doc_blocks import ROOT
from tokenglass.engines import opening
from tokenglass.engines.base import CAPABILITIES

PAGE = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")


def rows() -> list[list[str]]:
    """The cells of the table of capabilities, its heading first."""
    table = PAGE.partition("<!-- tests/contract")[2].partition("-->")[2].strip().partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def column(name: str) -> set[str]:
    heading, _, *body = rows()
    place = heading.index(name)
    assert all(row[place] in ("yes", "no") for row in body)
    return {re.findall(r"`(\w+)`", row[0])[0] for row in body if row[place] == "yes"}


def test_every_capability_has_a_row() -> None:
    named = [re.findall(r"`(\w+)`", row[0])[0] for row in rows()[2:]]
    assert named == list(CAPABILITIES)


def test_columns(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    assert column("table") == subjects.table(tmp_path).open().info.capabilities
    assert column("onnx") == opening.CAPABILITIES
    for name, shape in (("hf", "bloom"), ("hf, recurrent", "mamba")):
        (tmp_path / shape).mkdir()
        engine: Any = subjects.hf(shape, tmp_path / shape).open()
        assert column(name) == engine.info.capabilities
