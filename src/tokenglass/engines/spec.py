"""What a decoder-only transformer is, in numbers: the one description that graphs are built from.

Knows the five supported architectures as data; knows nothing about files or ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Family = Literal["gpt2", "llama", "qwen2", "qwen3", "gpt_neox"]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding.

    Attributes:
        inv_freq: (width / 2,) float32 inverse frequencies in radians per position, scaling included.
    """

    inv_freq: tuple[float, ...]

    @property
    def width(self) -> int:
        """How many leading elements of a head are rotated."""
        return 2 * len(self.inv_freq)

    def tables(self, n_positions: int) -> tuple[Floats, Floats]:
        """Cosines and sines, each (n_positions, width / 2) float32.

        Angles are multiplied in float32, as transformers does, so that far positions round alike.
        """
        positions = np.arange(n_positions, dtype=np.float32)
        angles = np.outer(positions, np.asarray(self.inv_freq, dtype=np.float32))
        return np.cos(angles), np.sin(angles)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Numbers of one model, names as in transformers where it has them.

    Attributes:
        family: which layout of weights and blocks.
        head_dim: width of one head; need not be hidden_size / heads.
        rope: rotary embedding, or None where positions are learned.
        windows: for each layer, how many tokens (itself included) a token sees, or None for all.
        gated: the feed-forward multiplies an activated gate with `up` (SwiGLU).
        parallel: attention and feed-forward read the same residual (GPT-NeoX).
        qk_norm: queries and keys are normalised per head (Qwen3).
    """

    family: Family
    vocab_size: int
    context_length: int
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_size: int
    eps: float
    rms: bool
    activation: Activation
    gated: bool
    rope: Rope | None
    tied: bool
    parallel: bool = False
    qk_norm: bool = False
    windows: tuple[int | None, ...] = ()

    @property
    def window(self) -> int | None:
        """The sliding window of the layers that have one (they share it), or None."""
        return next((w for w in self.windows if w is not None and w < self.context_length), None)

    def is_local(self, layer: int) -> bool:
        """Whether a layer sees only the sliding window."""
        return self.window is not None and self.windows[layer] is not None


def default_rope(theta: float, width: int) -> Rope:
    """Plain rotary frequencies theta^(-2i/width) (Su et al. 2021, arXiv:2104.09864)."""
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    inv_freq = np.float32(1.0) / np.power(np.float32(theta), exponents, dtype=np.float32)
    return Rope(tuple(float(f) for f in inv_freq))


def linear_rope(rope: Rope, factor: float) -> Rope:
    """Positions stretched by `factor` (position interpolation, arXiv:2306.15595)."""
    inv_freq = np.asarray(rope.inv_freq, dtype=np.float32) / np.float32(factor)
    return Rope(tuple(float(f) for f in inv_freq))


def llama3_rope(rope: Rope, factor: float, low: float, high: float, original_context: int) -> Rope:
    """Llama 3.1's scaling: long waves stretched, short ones kept, a smooth band between.

    Source: transformers `_compute_llama3_parameters`, after Meta's release code.
    """
    inv_freq = np.asarray(rope.inv_freq, dtype=np.float32)
    wavelength = np.float32(2 * pi) / inv_freq
    smooth = (np.float32(original_context) / wavelength - np.float32(low)) / np.float32(high - low)
    blended = (1 - smooth) * inv_freq / np.float32(factor) + smooth * inv_freq
    scaled = np.where(wavelength > original_context / low, inv_freq / np.float32(factor), inv_freq)
    medium = (wavelength >= original_context / high) & (wavelength <= original_context / low)
    scaled = np.where(medium, blended, scaled)
    return Rope(tuple(float(f) for f in scaled.astype(np.float32)))


def divided_rope(rope: Rope, divisors: Floats) -> Rope:
    """Frequencies divided one by one, as a GGUF's `rope_freqs.weight` asks."""
    inv_freq = np.asarray(rope.inv_freq, dtype=np.float32) / divisors.astype(np.float32)
    return Rope(tuple(float(f) for f in inv_freq))
