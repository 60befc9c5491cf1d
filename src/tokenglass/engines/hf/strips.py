"""Keys and values of the texts that a model has read, in buffers that are written in place.

A strip is a batch of texts that end at one slot, padded on the left: what `generate` of transformers makes of
a batch. It grows in place as long as the next call goes on with the same texts, which is how texts are
written; a fork copies its prefix into a strip of its own. Knows transformers' cache; knows no model.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

ROOM = 64  # slots that a buffer has to spare when it is made

Ids = tuple[int, ...]


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # of transformers' own hook
    """Keys and values of one layer; `DynamicLayer` copies all of them for each token, this one none.

    A sliding window needs no layer of its own: what has left the window is masked. So it can come back
    after a rewind.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = 0
        self.buffers: list[torch.Tensor] = []  # keys and values, (B, heads, capacity, width) each

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make the first buffers."""
        self.dtype, self.device = key_states.dtype, key_states.device
        slots = self.length + key_states.shape[-2] + ROOM
        self.buffers = [self._empty(new, slots) for new in (key_states, value_states)]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (B, heads, n, width) behind what is there; returns views of everything so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[-2]
        self.reserve(end)
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, self.length : end] = new
        self.length = end
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.buffers)
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Slots in use."""
        return self.length

    def reserve(self, slots: int) -> None:
        """Room for `slots` in all; grows by half, so that growing copies each slot a few times at most."""
        if self.buffers and slots > self.buffers[0].shape[2]:
            wanted = slots + max(ROOM, slots // 2)
            old, self.buffers = self.buffers, [self._empty(buffer, wanted) for buffer in self.buffers]
            for new, before in zip(self.buffers, old, strict=True):
                new[:, :, : self.length] = before[:, :, : self.length]

    @staticmethod
    def _empty(like: torch.Tensor, slots: int) -> torch.Tensor:
        return like.new_empty((*like.shape[:2], slots, like.shape[3]))

    @property
    def n_bytes(self) -> int:
        """Memory held."""
        return sum(buffer.nbytes for buffer in self.buffers)


def growing_layers(config: Any) -> list[Any] | None:
    """Fresh layers for a model whose cache can be rewound; None where it cannot.

    Keys and values can be rewound: those of a position depend on what stands before it alone. The state of
    a recurrent layer is overwritten by each token.
    """
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    layers: list[Any] = []
    for layer in DynamicCache(config=config).layers:
        if type(layer) in plain:
            layers.append(GrowingLayer())
        elif type(layer).__name__ == "DummyLayer":  # it reads another layer's keys, and keeps nothing
            layers.append(layer)
        else:
            return None
    return layers


class Strip:
    """Texts of one batch.

    Attributes:
        rows: the ids that each row holds; the last of all stand in the last used slot.
        used: slots in use.
        grown: slots that the last run added.
        regime: which rotary tables its keys were made with; see `lengths`.
    """

    def __init__(self, layers: Sequence[Any], rows: Sequence[Ids], regime: int = 0) -> None:
        self.cache = Cache(layers=list(layers))
        self.rows = list(rows)
        self.used = self.grown = 0
        self.regime = regime

    @property
    def layers(self) -> list[Any]:
        """Those that keep keys and values."""
        return [layer for layer in self.cache.layers if isinstance(layer, GrowingLayer)]

    @property
    def n_bytes(self) -> int:
        """Memory held."""
        return sum(layer.n_bytes for layer in self.layers)

    def first_slot(self, row: int) -> int:
        """Where a row's text begins, after its padding."""
        return self.used - len(self.rows[row])

    def rewind(self, slot: int) -> None:
        """Let the next run write from a slot on."""
        for layer in self.layers:
            layer.length = slot

    def copy_row(self, source: int, target: int) -> None:
        """Overwrite a row with another one."""
        self.rows[target] = ()  # an interruption must not leave old ids beside new keys
        for layer in self.layers:
            for buffer in layer.buffers:
                buffer[target, :, : self.used] = buffer[source, :, : self.used]
        self.rows[target] = self.rows[source]


@dataclass(frozen=True, slots=True)
class Source:
    """Where leading tokens of a text are known: `count` of them, in a row of a strip."""

    strip: Strip
    row: int
    count: int

    @property
    def first_slot(self) -> int:
        """Where the text begins."""
        return self.strip.first_slot(self.row)


def gathered(layers: Sequence[Any], parts: Sequence[tuple[Source | None, int]], slots: int) -> list[Any]:
    """Layers of a new strip whose rows begin as texts that are known, copied.

    Args:
        layers: fresh ones; filled and returned.
        parts: for each row where to copy from, and how many tokens.
        slots: at which all rows end, >= every count; what a row does not fill is padding, zero.
    """
    model = next((source.strip for source, count in parts if source is not None and count), None)
    if model is None:
        return list(layers)
    growing = [layer for layer in layers if isinstance(layer, GrowingLayer)]
    for layer, like in zip(growing, model.layers, strict=True):
        place = like.buffers[0].new_empty(())
        layer.dtype, layer.device, layer.is_initialized = place.dtype, place.device, True
        layer.length = slots
        layer.buffers = [
            buffer.new_empty((len(parts), buffer.shape[1], slots + ROOM, buffer.shape[3]))
            for buffer in like.buffers
        ]
    for row, (source, count) in enumerate(parts):
        _fill(growing, row, source, count, slots)
    return list(layers)


def _fill(layers: Sequence[GrowingLayer], row: int, source: Source | None, count: int, slots: int) -> None:
    start = slots - count
    old = source.strip.layers if source is not None and count else [None] * len(layers)
    for layer, known in zip(layers, old, strict=True):
        for i, buffer in enumerate(layer.buffers):
            # zero: a masked slot is multiplied by 0, which does not help against a NaN that was left there
            buffer[row, :, :start] = 0
            if known is not None and source is not None:
                first = source.first_slot
                buffer[row, :, start:slots] = known.buffers[i][source.row, :, first : first + count]


def fresh(layers: Sequence[Any]) -> list[Any]:
    """A copy of layers that hold nothing yet."""
    return [copy.copy(layer) if not isinstance(layer, GrowingLayer) else GrowingLayer() for layer in layers]
