"""A model that would not fit the free memory is refused before a weight is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.test_files_gguf import Parts
from tests.unit.test_models import make_folder, write
from tokenglass import models
from tokenglass.errors import ModelUnsupported
from tokenglass.files import checking, memory


def test_estimate_memory_counts_what_is_held(tmp_path: Path) -> None:
    """Float32 as it is, Q4_1 in its blocks, Q8_0 widened to 4 bytes unless fast: 640 + 128 + 40 here."""
    files = models.resolve(write(tmp_path / "x.gguf"))
    assert memory.estimate_memory(files) == int((640 + 128 + 40) * memory.SPARE) + memory.WORKSPACE
    parts = Parts()
    parts.rows["up"] = Parts().rows["up"].replace(b"\x03\0\0\0\0\x03", b"\x08\0\0\0\0\x03")  # Q4_1 -> Q8_0
    parts.data += bytes(100)
    files = models.resolve(write(tmp_path / "y.gguf", parts.build()))
    assert memory.estimate_memory(files, "fast") == int((640 + 128 + 68) * memory.SPARE) + memory.WORKSPACE
    assert memory.estimate_memory(files, "exact") == int((640 + 128 + 256) * memory.SPARE) + memory.WORKSPACE


def test_refuse_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = models.resolve(make_folder(tmp_path / "model"))
    memory.refuse_too_large(files, free=10**9)
    with pytest.raises(
        ModelUnsupported, match=r"needs about 0\.3 GB of memory, 0\.1 GB are free; close other"
    ):
        memory.refuse_too_large(files, free=100_000_000)
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    memory.refuse_too_large(files)
    monkeypatch.setattr(memory, "free_memory", lambda: 1)
    with pytest.raises(ModelUnsupported, match="needs about"):
        checking.checked_folder(files)


def test_free_memory_is_below_what_the_machine_has() -> None:
    free = memory.free_memory()
    assert free is None or 0 < free <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
