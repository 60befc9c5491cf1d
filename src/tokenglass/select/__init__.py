"""Who picks the token: argmax, a drawn number, mirostat, adaptive-p, and other systems' seeded draws."""

from __future__ import annotations

from tokenglass.select.base import Choice, Draw, Greedy, Selector, choose_by_id, margin
from tokenglass.select.llama import (
    AdaptiveP,
    AdaptiveState,
    LlamaDraw,
    Mirostat,
    MirostatState,
    MirostatV2,
)
from tokenglass.select.torch import TorchDraw

__all__ = [
    "AdaptiveP",
    "AdaptiveState",
    "Choice",
    "Draw",
    "Greedy",
    "LlamaDraw",
    "Mirostat",
    "MirostatState",
    "MirostatV2",
    "Selector",
    "TorchDraw",
    "choose_by_id",
    "margin",
]
