"""torch's own draw: the tokens that `torch.manual_seed(s)` and transformers' `generate` would give.

torch is imported when the first number is drawn. Its multinomial races exponentials, V of them for each row
and step, so there is no single number to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenglass.errors import MissingDependency
from tokenglass.select.base import Choice, require_alive
from tokenglass.stages.context import Context
from tokenglass.stages.row import Row


@dataclass(frozen=True)
class TorchDraw:
    """`torch.multinomial` over the softmax, on CPU.

    The state is the generator's, as bytes, so that a step can be forked and undone. transformers draws for
    all rows of a batch in one call, finished ones included: `select_batch` does the same.

    Args:
        seed: what `torch.manual_seed` would be given.

    Raises:
        MissingDependency: torch is not installed.
    """

    seed: int
    name = "torch"

    def start(self) -> bytes:
        """The generator's state after seeding."""
        return _state(_torch().Generator().manual_seed(self.seed))

    def select(self, row: Row, context: Context, state: bytes | None = None) -> Choice:
        """The drawn token."""
        return self.select_batch([row], [context], state)[0]

    def select_batch(
        self, rows: Sequence[Row], contexts: Sequence[Context], state: bytes | None = None
    ) -> list[Choice]:
        """One token for each row, all drawn in one call; every choice carries the same new state."""
        torch = _torch()
        for row, context in zip(rows, contexts, strict=True):
            require_alive(row, context)
        generator = torch.Generator()
        generator.set_state(torch.frombuffer(bytearray(state or self.start()), dtype=torch.uint8))
        probs = torch.softmax(torch.from_numpy(np.stack([row.scores for row in rows])), dim=-1)
        drawn = torch.multinomial(probs, num_samples=1, generator=generator)[:, 0].tolist()
        after = _state(generator)
        return [
            Choice(token_id, float(probs[i, token_id]), row, after)
            for i, (row, token_id) in enumerate(zip(rows, drawn, strict=True))
        ]


def _state(generator: Any) -> bytes:
    return bytes(generator.get_state().numpy().tobytes())


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependency("rng='torch'", "pip install 'tokenglass[hf]'") from error
    return torch
