"""Matrix products with a few rows, as branches and beams have them. Only the order of the sums differs.

torch asks MKL for (rows, in) x (in, out), and MKL is slow at few rows: eight take twice as long as one,
though the weights are read once in both. What helps depends on the processor's maker, by whom MKL chooses:

- Intel's: weights that MKL has packed for eight rows, a second copy of them (a quarter faster; the other way
  round would be twice as slow);
- any other: the same product the other way round, (out, in) x (in, rows) (up to a third faster).
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tokenglass.files.memory import free_memory

TURNED = range(2, 9)  # rows between which the other way round was never slower
PACKED = range(5, 9)  # rows for which a product with packed weights and MOST rows was never slower
MOST = 8
_SPARE = 3  # weights are packed where so many times their size is free

Way = Callable[[torch.nn.Linear, torch.Tensor], torch.Tensor]


def quicken(model: Any) -> None:
    """Let the linear layers of a float32 model take the quicker way at few rows; others stay."""
    mkl: Any = torch.backends.mkl
    if not mkl.is_available():
        return
    layers = [m for m in model.modules() if type(m) is torch.nn.Linear and _is_plain(m.weight)]
    way, few = (_Packed(layers), PACKED) if _is_intel() else (_turned, TURNED)
    for layer in layers:
        vars(layer)["forward"] = partial(_linear, layer, layer.forward, way, few)


def _is_intel() -> bool:
    told = platform.processor()  # a vendor on Windows; on Linux often nothing
    with contextlib.suppress(OSError):
        told += Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    return "GenuineIntel" in told


def _is_plain(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.is_contiguous()


def _linear(layer: torch.nn.Linear, whole: Any, way: Way, few: range, given: torch.Tensor) -> torch.Tensor:
    rows = given.numel() // given.shape[-1]
    product: torch.Tensor = way(layer, given.reshape(rows, -1)) if rows in few else whole(given)
    return product.view(*given.shape[:-1], -1) if rows in few else product


def _turned(layer: torch.nn.Linear, given: torch.Tensor) -> torch.Tensor:
    product = torch.mm(layer.weight, given.t()).t().contiguous()
    if layer.bias is not None:
        product += layer.bias
    return product


class _Packed:
    """Products with packed weights; all layers are packed when the first few rows come, or none."""

    def __init__(self, layers: Sequence[torch.nn.Linear]) -> None:
        self._layers = layers
        self._packed: dict[torch.nn.Linear, torch.Tensor] | None = None

    def __call__(self, layer: torch.nn.Linear, given: torch.Tensor) -> torch.Tensor:
        if self._packed is None:
            self._packed = self._pack()
        packed = self._packed.get(layer)
        if packed is None:
            return torch.nn.functional.linear(given, layer.weight, layer.bias)
        padded = torch.nn.functional.pad(given, (0, 0, 0, MOST - len(given)))
        product: torch.Tensor = torch.ops.mkl._mkl_linear(padded, packed, layer.weight, layer.bias, MOST)
        return product[: len(given)]

    def _pack(self) -> dict[torch.nn.Linear, torch.Tensor]:
        needed, free = _SPARE * sum(layer.weight.nbytes for layer in self._layers), free_memory()
        if not hasattr(torch.ops.mkl, "_mkl_linear") or free is None or needed > free:
            return {}
        pack = torch.ops.mkl._mkl_reorder_linear_weight
        return {layer: pack(layer.weight.detach(), MOST) for layer in self._layers}
