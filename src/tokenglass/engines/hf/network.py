"""One call of a transformers model: ids in, numpy rows out. Knows torch; knows no text."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokenglass.errors import EngineError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Need:
    """Which rows of a text's end are wanted.

    Attributes:
        last: rows of logits.
        layers: whose hidden states.
        hidden_last: rows of those.
    """

    last: int = 1
    layers: tuple[int, ...] = ()
    hidden_last: int = 1

    @property
    def tail(self) -> int:
        """Tokens at the end of a text that must run, cached or not."""
        return max(self.last, self.hidden_last) if self.layers else self.last


@dataclass(frozen=True, slots=True)
class Rows:
    """What one call gives: logits (B, last, V), and for each layer (B, hidden_last, D)."""

    logits: Floats
    hidden: Mapping[int, Floats] = field(default_factory=dict)


@contextmanager
def computing() -> Iterator[None]:
    """Without gradients, and with what goes wrong in torch told in one line."""
    try:
        with torch.inference_mode():
            yield
    except (RuntimeError, torch.OutOfMemoryError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise EngineError(f"torch failed in mid-run: {line}") from error


class Network:
    """A causal model of transformers, in evaluation mode.

    Args:
        model: with its weights on one device.
    """

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.config = model.config
        self.device = next(model.parameters()).device
        self.dtype: torch.dtype = model.dtype
        accepted = set(inspect.signature(model.forward).parameters)
        self._keeps = "logits_to_keep" in accepted
        self._places = "position_ids" in accepted
        # recurrent models of the first kind call it so
        self._cache = "cache_params" if "cache_params" in accepted else "past_key_values"

    def __call__(
        self,
        rows: Sequence[Sequence[int]],
        need: Need,
        cache: Any = None,
        start: int = 0,
        first_slots: Sequence[int] | None = None,
    ) -> Rows:
        """Run the last n tokens of B texts.

        Args:
            rows: (B, n) token ids.
            need: what to give back, of the last positions.
            cache: what the tokens before have left; None where nothing is kept.
            start: slots that are in use before this call.
            first_slots: where each text begins; before it stands padding. None where nothing is padded.
        """
        asked: dict[str, Any] = {"use_cache": cache is not None, self._cache: cache}
        if self._keeps:
            asked["logits_to_keep"] = need.last
        if need.layers:
            asked["output_hidden_states"] = True
        if first_slots is not None:
            asked |= self._padding(start, len(rows[0]), first_slots)
        with computing():
            output = self.model(input_ids=torch.tensor(rows, device=self.device), return_dict=True, **asked)
            hidden = {
                layer: to_numpy(output.hidden_states[layer][:, -need.hidden_last :]) for layer in need.layers
            }
            return Rows(to_numpy(output.logits[:, -need.last :]), hidden)

    def through(self, modules: Sequence[Any], rows: Floats) -> Floats:
        """Rows (N, D) through some of the model's own modules, one after the other."""
        with computing():
            state = torch.from_numpy(rows).to(self.device, self.dtype)
            for module in modules:
                state = module(state)
            return to_numpy(state)

    def _padding(self, start: int, n: int, first_slots: Sequence[int]) -> dict[str, Any]:
        """The mask that hides padding, and positions that do not count it, as `generate` makes them."""
        slots = torch.arange(start + n, device=self.device)
        first = torch.tensor(first_slots, device=self.device)[:, None]
        asked = {"attention_mask": (slots >= first).long()}
        if self._places:
            asked["position_ids"] = (slots[start:] - first).clamp(min=0)
        return asked


def to_numpy(tensor: torch.Tensor) -> Floats:
    """As float32 on the host; a view where it is that already."""
    array: Floats = tensor.float().cpu().numpy()
    return array
