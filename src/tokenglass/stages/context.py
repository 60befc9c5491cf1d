"""What a stage may look at besides the scores: the tokens so far, limits, special ids, luck.

Knows nothing about models: a stage that needs a second row of logits gets it as an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tokenglass.random import Source
from tokenglass.stages.row import Floats, Ids
from tokenglass.types import Vocabulary


@dataclass(frozen=True)
class Context:
    """The surroundings of one step.

    Attributes:
        prompt_ids: the prompt's ids, never padding.
        generated_ids: the ids written since.
        max_length: most tokens the whole sequence may have, or None.
        eos_ids: ids that end the text.
        source: uniform numbers for stages and selectors that draw; None where nothing may draw.
        unconditional: (V,) logits without the prompt, for guidance; in the row's own domain of logits.
        vocabulary: names and bytes of the ids, for stages made by the user.
        batch_index: which prompt of a batch this is.
    """

    prompt_ids: Sequence[int] | Ids = ()
    generated_ids: Sequence[int] | Ids = ()
    max_length: int | None = None
    eos_ids: tuple[int, ...] = ()
    source: Source | None = None
    unconditional: Floats | None = None
    vocabulary: Vocabulary | None = None
    batch_index: int = 0

    @property
    def step(self) -> int:
        """How many tokens have been written, which is also this step's index from 0."""
        return len(self.generated_ids)

    @property
    def position(self) -> int:
        """Index, in the whole sequence, of the token about to be chosen."""
        return len(self.prompt_ids) + len(self.generated_ids)

    @cached_property
    def prompt(self) -> Ids:
        """(P,) the prompt's ids as an array."""
        return np.asarray(self.prompt_ids, dtype=np.int64)

    @cached_property
    def ids(self) -> Ids:
        """(P + G,) all ids so far, prompt first."""
        return np.concatenate([self.prompt, np.asarray(self.generated_ids, dtype=np.int64)])

    def eos(self, size: int) -> Ids:
        """The end-of-text ids below `size`, distinct."""
        return np.array(sorted({i for i in self.eos_ids if 0 <= i < size}), dtype=np.int64)

    def uniform(self, purpose: str, k: int = 0) -> float:
        """The uniform number that belongs to this position and purpose.

        Raises:
            ValueError: this context has no source of random numbers.
        """
        if self.source is None:
            raise ValueError(
                f"{purpose!r} needs random numbers: give the context a source, such as Philox(seed)"
            )
        return self.source.uniform(self.position, purpose, k)


@dataclass(frozen=True, slots=True)
class Window:
    """Which tokens a penalty looks back on.

    Attributes:
        prompt: the prompt counts.
        generated: the written tokens count.
        last_n: only the last n of those, or None for all; 0 is none.

    >>> Window(prompt=False).ids(Context((1, 2), (3, 4))).tolist()
    [3, 4]
    >>> Window(last_n=3).ids(Context((1, 2), (3, 4))).tolist()
    [2, 3, 4]
    """

    prompt: bool = True
    generated: bool = True
    last_n: int | None = None

    def __post_init__(self) -> None:
        if self.last_n is not None and self.last_n < 0:
            raise ValueError(f"last_n must be >= 0 or None, got {self.last_n}")

    def ids(self, context: Context) -> Ids:
        """The ids in the window, oldest first."""
        start = 0 if self.prompt else len(context.prompt)
        end = None if self.generated else len(context.prompt)
        ids = context.ids[start:end]
        return ids if self.last_n is None else ids[max(0, len(ids) - self.last_n) :]


EVERYTHING = Window()
GENERATED = Window(prompt=False)
LAST_64 = Window(last_n=64)
