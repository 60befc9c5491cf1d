"""Stored numbers against the reader of the gguf package and against torch."""

from __future__ import annotations

import numpy as np
import pytest

from tokenglass.engines import tensors
from tokenglass.engines.tensors import Blocks, Dense

SHAPE = (6, 512)


def stored(kind: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random bytes of a block type with finite scales, and what the gguf package reads from them."""
    gguf = pytest.importorskip("gguf")
    rng = np.random.default_rng(seed)
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    raw = rng.integers(0, 256, (SHAPE[0], SHAPE[1] // block, size), dtype=np.uint8)
    halves = {"Q4_0": (0,), "Q4_1": (0, 2), "Q4_K": (0, 2), "Q8_0": (0,), "Q6_K": (208,), "Q5_0": (0,)}[kind]
    for at in halves:
        scale = rng.normal(0, 0.1, raw.shape[:2]).astype("<f2")
        raw[..., at : at + 2] = scale[..., None].view(np.uint8)
    raw = raw.reshape(SHAPE[0], -1)
    return raw, gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[kind])


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q4_K", "Q8_0"])
def test_blocks_stand_for_the_stored_values(kind: str) -> None:
    """Tolerance 2e-5: w = d (q - 8) + (m + 8 d) rounds elsewhere than d q + m, on values up to about 10."""
    raw, want = stored(kind)
    blocks = tensors.read_blocks(raw, kind, SHAPE)
    assert blocks.shape == SHAPE
    assert np.abs(tensors.widen(blocks).weight - want).max() < 2e-5


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q4_K", "Q8_0", "Q6_K", "Q5_0"])
def test_any_type_is_read_as_float32(kind: str) -> None:
    raw, want = stored(kind, seed=1)
    got = tensors.read_floats(raw.reshape(-1), kind, SHAPE)
    assert got.dtype == np.float32
    assert np.abs(got - want).max() < 2e-5


def test_bfloat16_is_widened_exactly() -> None:
    torch = pytest.importorskip("torch")
    want = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    raw = want.view(torch.int16).numpy().view(np.uint8).reshape(-1)
    assert np.array_equal(tensors.read_floats(raw, "BF16", (4, 8)), want.float().numpy())


def test_float32_is_not_copied() -> None:
    raw = np.arange(12, dtype=np.float32).view(np.uint8)
    assert np.shares_memory(tensors.read_floats(raw, "F32", (3, 4)), raw)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q8_0"])
def test_stacking_and_reordering_rows(kind: str) -> None:
    raw, want = stored(kind, seed=2)
    blocks = tensors.read_blocks(raw, kind, SHAPE)
    both = tensors.stack([blocks, tensors.take_rows(blocks, np.array([5, 4, 3, 2, 1, 0]))])
    assert isinstance(both, Blocks)
    assert np.abs(tensors.widen(both).weight - np.concatenate([want, want[::-1]])).max() < 2e-5


def test_matrices_of_different_kinds_are_not_stacked() -> None:
    raw, want = stored("Q4_0")
    assert tensors.stack([tensors.read_blocks(raw, "Q4_0", SHAPE), Dense(want)]) is None


def test_missing_biases_are_zeros_when_stacked() -> None:
    a, b = Dense(np.ones((2, 3), np.float32), np.full(2, 7, np.float32)), Dense(np.ones((1, 3), np.float32))
    stacked = tensors.stack([a, b])
    assert isinstance(stacked, Dense) and stacked.bias is not None
    assert stacked.bias.tolist() == [7, 7, 0]
