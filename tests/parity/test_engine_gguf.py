"""GGUF weights kept in their blocks against transformers over the dequantised values.

Tolerances as in `test_engine_transformers`: the exact engine multiplies float32 activations with the blocks'
exact values, only the order of the sums differs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity import gguf_models
from tests.parity.families import reference
from tests.parity.test_engine_transformers import assert_same
from tokenglass.engines import opening
from tokenglass.engines.base import Prefix
from tokenglass.engines.pack import prune
from tokenglass.engines.tensors import Blocks
from tokenglass.errors import ModelUnsupported
from tokenglass.files.gguf import read_header
from tokenglass.files.layout import from_gguf
from tokenglass.numbers import log_softmax

pytest.importorskip("transformers")
pytest.importorskip("gguf")
CASES = [(kind, dtype) for kind in gguf_models.ARCHITECTURES for dtype in ("Q4_0", "F32")]
CASES += [("LlamaConfig", dtype) for dtype in ("Q4_1", "Q4_K", "Q8_0", "F16", "BF16", "Q5_1")]
CASES += [("Qwen2Config", "Q4_1"), ("GPT2Config", "Q8_0"), ("GPTNeoXConfig", "Q4_K")]


def opened(path: Path, precision: str) -> Any:
    return opening.open_gguf(from_gguf(path, path.stem), read_header(path), precision)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    kind, dtype = request.param
    path = tmp_path_factory.mktemp("gguf") / f"{kind}-{dtype}.gguf"
    return dtype, path, gguf_models.write(kind, path, dtype)


def ids_of(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, 256, length).tolist()


def test_exact_equals_transformers(stored: tuple[str, Path, Any]) -> None:
    dtype, path, theirs = stored
    source = opened(path, "exact")
    first = source.weights.down(0)
    assert isinstance(first, Blocks) == (dtype in ("Q4_0", "Q4_1", "Q4_K"))
    engine = opening.start(source, threads=1)
    ids = ids_of(1, 60)
    assert_same(engine.forward([Prefix(tuple(ids))], last=60).logits[0], reference(theirs, ids))
    prompts = [ids_of(10 + i, 5 + i) for i in range(6)]
    batch = engine.forward([Prefix(tuple(p)) for p in prompts]).logits
    for row, prompt in zip(batch, prompts, strict=True):
        assert_same(row, reference(theirs, prompt)[-1:])


def test_the_float32_body_equals_the_blocks(stored: tuple[str, Path, Any]) -> None:
    """What answers large batches after a while is the same model: started early here."""
    dtype, path, theirs = stored
    engine = opening.start(opened(path, "exact"), threads=1)
    engine._batches = 1000
    ids = ids_of(2, 40)
    assert_same(engine.forward([Prefix(tuple(ids))], last=40).logits[0], reference(theirs, ids))
    assert (engine._dense is not None) == (dtype in ("Q4_0", "Q4_1", "Q4_K"))


def test_fast_is_near_or_refused(stored: tuple[str, Path, Any]) -> None:
    """Rounding activations to int8 moves these sharp models by less than a tenth of a nat on average."""
    dtype, path, theirs = stored
    if dtype not in ("Q4_0", "Q4_1", "Q4_K", "Q8_0"):
        with pytest.raises(ModelUnsupported, match="precision='fast' needs weights in blocks"):
            opening.start(opened(path, "fast"), threads=1)
        return
    engine = opening.start(opened(path, "fast"), threads=1)
    ids = ids_of(3, 40)
    ours = engine.forward([Prefix(tuple(ids))], last=40).logits[0]
    distance = []
    for a, b in zip(ours, reference(theirs, ids), strict=True):
        q, p = log_softmax(a), log_softmax(b)
        distance.append(float((np.exp(p) * (p - q)).sum()))
    assert 0 < np.mean(distance) < 0.1


def test_a_second_start_uses_the_pack_and_gives_the_same_bits(
    stored: tuple[str, Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtype, path, _ = stored
    monkeypatch.setenv("TOKENGLASS_HOME", str(tmp_path))
    prefix = Prefix(tuple(ids_of(4, 20)))
    rows = [opening.start(opened(path, "exact"), threads=1).forward([prefix]).logits for _ in range(2)]
    packs = list((tmp_path / "graphs").glob("*.pack")) if (tmp_path / "graphs").exists() else []
    assert len(packs) == (dtype in ("Q4_0", "Q4_1", "Q4_K"))
    assert np.array_equal(rows[0], rows[1])
    for pack in packs:  # one flipped byte in the weights: thrown away and made again
        data = bytearray(pack.read_bytes())
        data[-200] ^= 1
        pack.write_bytes(data)
        again = opening.start(opened(path, "exact"), threads=1).forward([prefix]).logits
        assert np.array_equal(again, rows[0])
        assert pack.read_bytes() != bytes(data)


def test_only_the_packs_used_last_are_kept(tmp_path: Path) -> None:
    for age in range(12):
        path = tmp_path / f"{age}.pack"
        path.write_bytes(b"x")
        os.utime(path, (1000 - age, 1000 - age))
    prune(tmp_path)
    assert sorted(int(p.stem) for p in tmp_path.glob("*.pack")) == list(range(8))


@pytest.mark.parametrize("damage", [b"", b"tgpack02", b"tgpack02" + b"\xff" * 40, b"nonsense" * 10])
def test_a_damaged_pack_is_made_again(damage: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENGLASS_HOME", str(tmp_path))
    path = tmp_path / "model.gguf"
    gguf_models.write("LlamaConfig", path, "Q4_0")
    want = opening.start(opened(path, "exact"), threads=1).forward([Prefix((1, 2))]).logits
    (pack,) = (tmp_path / "graphs").glob("*.pack")
    pack.write_bytes(damage)
    got = opening.start(opened(path, "exact"), threads=1).forward([Prefix((1, 2))]).logits
    assert np.array_equal(got, want)
