"""Stored numbers to float32, or to 4- and 8-bit blocks that the runtime multiplies as they are.

Knows storage formats (safetensors dtypes, GGUF block types); knows nothing about architectures. Block
layouts: ggml's `ggml-common.h`. Types that no kernel of the runtime maps exactly are widened to float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenglass.errors import ModelUnsupported

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Precision = Literal["exact", "fast"]

BLOCK = 32  # weights that share one scale, in every block kind kept here
FOUR_BIT = frozenset({"Q4_0", "Q4_1", "Q4_K"})
EIGHT_BIT = frozenset({"Q8_0"})
PLAIN: dict[str, Any] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "F64": np.dtype("<f8")}


@dataclass(frozen=True, slots=True)
class Dense:
    """A matrix in float32: y = x W^T + b.

    Attributes:
        weight: (out, in) float32.
        bias: (out,) float32, or None.
    """

    weight: Floats
    bias: Floats | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return (int(self.weight.shape[0]), int(self.weight.shape[1]))

    @property
    def kind(self) -> str:
        """What may be stacked with what."""
        return "dense"


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix in blocks of 32 along `in`: w = scale * (q - zero) + offset.

    Attributes:
        bits: 4 (zero is 8) or 8 (zero is 128).
        quants: (out, in / 32, 4 * bits) uint8, two 4-bit values a byte, even element in the low half.
        scales: (out, in / 32) float32.
        offsets: (out, in / 32) float32 added to every weight of a block, or None.
        bias: (out,) float32, or None.
    """

    bits: int
    quants: Bytes
    scales: Floats
    offsets: Floats | None
    bias: Floats | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return (int(self.scales.shape[0]), int(self.scales.shape[1]) * BLOCK)

    @property
    def kind(self) -> str:
        """What may be stacked with what."""
        return f"blocks{self.bits}{'' if self.offsets is None else '+'}"


Linear = Dense | Blocks


def stack(linears: Sequence[Linear]) -> Linear | None:
    """Several matrices over one input as a single one, rows in order; None where their kinds differ."""
    first = linears[0]
    if len(linears) == 1:
        return first
    if len({linear.kind for linear in linears}) > 1:
        return None
    bias = None
    if any(linear.bias is not None for linear in linears):
        parts = [np.zeros(m.shape[0], np.float32) if m.bias is None else m.bias for m in linears]
        bias = np.concatenate(parts)
    if isinstance(first, Dense):
        return Dense(np.concatenate([m.weight for m in linears if isinstance(m, Dense)]), bias)
    blocks = [m for m in linears if isinstance(m, Blocks)]
    offsets = [m.offsets for m in blocks if m.offsets is not None]
    return Blocks(
        first.bits,
        np.concatenate([m.quants for m in blocks]),
        np.concatenate([m.scales for m in blocks]),
        np.concatenate(offsets) if offsets else None,
        bias,
    )


def take_rows(linear: Linear, index: NDArray[np.int64]) -> Linear:
    """The same matrix with its outputs in another order."""
    bias = None if linear.bias is None else linear.bias[index]
    if isinstance(linear, Dense):
        return Dense(linear.weight[index], bias)
    offsets = None if linear.offsets is None else linear.offsets[index]
    return replace(
        linear, quants=linear.quants[index], scales=linear.scales[index], offsets=offsets, bias=bias
    )


def widen(linear: Linear) -> Dense:
    """A matrix as float32."""
    if isinstance(linear, Dense):
        return linear
    out = linear.shape[0]
    q = linear.quants
    if linear.bits == 4:
        q = np.stack([q & 15, q >> 4], axis=-1).reshape(out, -1, BLOCK)
    weight = (q.astype(np.float32) - np.float32(8 if linear.bits == 4 else 128)) * linear.scales[..., None]
    if linear.offsets is not None:
        weight += linear.offsets[..., None]
    return Dense(weight.reshape(linear.shape), linear.bias)


def keeps_blocks(dtype: str, precision: Precision) -> bool:
    """Whether a stored type is multiplied in its blocks at this precision."""
    return dtype in FOUR_BIT or (precision == "fast" and dtype in EIGHT_BIT)


def read_blocks(raw: Bytes, dtype: str, shape: tuple[int, ...]) -> Blocks:
    """Raw bytes of a block type to `Blocks`.

    Q4_0: w = d (q - 8), stored low halves first. Q4_1: w = d q + m = d (q - 8) + (m + 8 d). Q4_K: eight
    blocks share a float16 scale and minimum, each with a 6-bit factor: w = d s q - dmin t. Q8_0: w = d q.
    """
    rows = raw.reshape(shape[0], -1)
    if dtype == "Q4_0":
        return Blocks(4, *_q4_0(rows))
    if dtype == "Q4_1":
        return Blocks(4, *_q4_1(rows))
    if dtype == "Q4_K":
        return Blocks(4, *_q4_k(rows))
    if dtype == "Q8_0":
        return Blocks(8, *_q8_0(rows))
    raise ModelUnsupported(f"{dtype} weights have no block kernel")


def _halves(data: Bytes) -> Floats:
    """(..., 2) bytes to (...,) float32 through float16."""
    values: Floats = np.ascontiguousarray(data).view("<f2")[..., 0].astype(np.float32)
    return values


def _pair(halves: Bytes) -> Bytes:
    """(..., 16) bytes holding elements j and j + 16 to (..., 16) bytes holding 2j and 2j + 1."""
    low, high = halves & 15, halves >> 4
    packed = np.empty_like(halves)
    packed[..., :8] = low[..., 0::2] | (low[..., 1::2] << 4)
    packed[..., 8:] = high[..., 0::2] | (high[..., 1::2] << 4)
    return packed


def _q4_0(rows: Bytes) -> tuple[Bytes, Floats, None]:
    blocks = rows.reshape(len(rows), -1, 18)
    return _pair(blocks[..., 2:]), _halves(blocks[..., :2]), None


def _q4_1(rows: Bytes) -> tuple[Bytes, Floats, Floats]:
    blocks = rows.reshape(len(rows), -1, 20)
    scales, minima = _halves(blocks[..., :2]), _halves(blocks[..., 2:4])
    return _pair(blocks[..., 4:]), scales, minima + np.float32(8) * scales


def _q4_k(rows: Bytes) -> tuple[Bytes, Floats, Floats]:
    n = len(rows)
    blocks = rows.reshape(n, -1, 144)  # float16 d, float16 dmin, 12 bytes of 6-bit factors, 128 of nibbles
    d, dmin = _halves(blocks[..., :2]), _halves(blocks[..., 2:4])
    f = blocks[..., 4:16]
    factor = np.concatenate([f[..., :4] & 63, (f[..., 8:] & 15) | ((f[..., :4] >> 6) << 4)], axis=-1)
    minimum = np.concatenate([f[..., 4:8] & 63, (f[..., 8:] >> 4) | ((f[..., 4:8] >> 6) << 4)], axis=-1)
    scales = (d[..., None] * factor).reshape(n, -1)
    offsets = np.float32(8) * scales - (dmin[..., None] * minimum).reshape(n, -1)
    # 32 bytes hold 64 elements: the low halves are the first 32, the high halves the next 32
    nibbles = blocks[..., 16:].reshape(n, -1, 4, 32)
    q = np.stack([nibbles & 15, nibbles >> 4], axis=3).reshape(n, -1, BLOCK)
    return q[..., 0::2] | (q[..., 1::2] << 4), scales, offsets


def _q8_0(rows: Bytes) -> tuple[Bytes, Floats, None]:
    blocks = rows.reshape(len(rows), -1, 34)
    return blocks[..., 2:] ^ np.uint8(128), _halves(blocks[..., :2]), None  # int8 + 128 flips the top bit


def read_floats(raw: Bytes, dtype: str, shape: tuple[int, ...]) -> Floats:
    """Raw bytes of any stored type to float32 in `shape`; F32 is a view that copies nothing."""
    if dtype in PLAIN:
        values: Floats = raw.view(PLAIN[dtype]).astype(np.float32, copy=False).reshape(shape)
        return values
    if dtype == "BF16":
        # a bfloat16 is the upper half of a float32; safetensors' own numpy reader refuses the type
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype == "Q8_0":
        return _widened_q8_0(raw, shape)
    if keeps_blocks(dtype, "fast"):
        return widen(read_blocks(raw, dtype, (int(np.prod(shape[:-1])), shape[-1]))).weight.reshape(shape)
    return _dequantized(raw, dtype, shape)


def _widened_q8_0(raw: Bytes, shape: tuple[int, ...]) -> Floats:
    """In one pass without copies: the head of the default model has 28 million of them, at every start."""
    blocks = raw.reshape(-1, 34)
    values = np.empty((len(blocks), BLOCK), np.float32)
    np.multiply(blocks[:, 2:].view(np.int8), _halves(blocks[:, :2])[:, None], out=values)
    return values.reshape(shape)


def _dequantized(raw: Bytes, dtype: str, shape: tuple[int, ...]) -> Floats:
    import gguf

    try:
        kind = gguf.GGMLQuantizationType[dtype]
        values = gguf.quants.dequantize(raw.reshape(*shape[:-1], -1), kind)
    except (KeyError, NotImplementedError) as error:
        raise ModelUnsupported(f"{dtype} weights cannot be read; convert the model to Q8_0 or F16") from error
    return np.ascontiguousarray(values, dtype=np.float32).reshape(shape)
