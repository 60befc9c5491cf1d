"""Views as stored files, reviewed by eye: `TOKENGLASS_REWRITE_GOLDEN=1 pytest tests/golden` rewrites them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.search_samples import SEARCHES
from tests.unit.view_samples import RESULTS
from tokenglass.views.html import to_html
from tokenglass.views.terminal import to_text

HERE = Path(__file__).parent
ALL = RESULTS | SEARCHES


def rounded(value: Any) -> Any:
    """Floats to seven digits: the last ones are the processor's own."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


DRAWN = {
    "txt": lambda result: f"{to_text(result, 80)}\n\n{'=' * 20}\n\n{to_text(result, 20)}\n",
    "html": lambda result: to_html(result).replace("<tr", "\n<tr").replace("<div", "\n<div") + "\n",
    "json": lambda result: json.dumps(rounded(result.to_dict()), indent=1, allow_nan=False) + "\n",
}


@pytest.mark.parametrize("form", DRAWN)
@pytest.mark.parametrize("name", ALL)
def test_view_is_as_reviewed(name: str, form: str) -> None:
    drawn = DRAWN[form](ALL[name])
    path = HERE / f"{name}.{form}"
    if os.environ.get("TOKENGLASS_REWRITE_GOLDEN"):
        path.write_text(drawn, encoding="utf-8", newline="\n")
    assert drawn == path.read_text(encoding="utf-8")
