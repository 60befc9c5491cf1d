"""The engine protocol: a pure function from token ids to logits.

The loop, the searches and the tree speak only ids. Key/value caches, prefix sharing and batching are an
engine's private business; a caller may hand back the opaque `Prefix.node` it was given to save the engine the
search for a cached prefix, and loses nothing but time when it does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tokenglass.types import EngineInfo, Listing, Told

Floats = NDArray[np.float32]

# Everything that `EngineInfo.capabilities` may hold; docs/engines.md says which engine has which.
CAPABILITIES: Mapping[str, str] = {
    "logits": "gives unnormalised logits over the whole vocabulary",
    "positions": "gives rows after every position of a text, not only the last",
    "hidden": "gives the hidden states of its layers",
    "unembed": "turns hidden states into logits, with and without the final norm",
    "tree": "keeps what it has read: a fork, a rewind or a longer text costs only what is new",
    "again": "gives logits of positions that it has read for no more than the head's work",
    "batch": "runs several texts in one pass over the weights",
    "listed": "gives log-probabilities of its likeliest tokens only, normalised over the vocabulary",
    "told": "says of each token of a text how probable it found it, whether it lists it or not",
    "ids": "sends token ids as they are, where others send their text",
}


@dataclass(frozen=True, slots=True)
class Prefix:
    """Token ids from the very start of a sequence.

    Attributes:
        ids: all ids, the first is position 0; never empty.
        node: the engine's handle for some leading part of `ids`, from an earlier `Forward.nodes`, or None.
    """

    ids: tuple[int, ...]
    node: Any = None

    def extended(self, token_id: int, node: Any = None) -> Prefix:
        """This prefix with one more token; `node` is the handle the engine gave for this prefix."""
        return Prefix((*self.ids, token_id), node if node is not None else self.node)


@dataclass(frozen=True, slots=True)
class Forward:
    """What one call of `Engine.forward` returns for B prefixes.

    Attributes:
        logits: (B, last, V) float32: rows of the last `last` positions of each prefix, oldest first. None
            from an engine that sees only its likeliest tokens.
        hidden: layer -> (B, hidden_last, D) float32. Layer 0 is the embeddings, n the output after the final
            norm, as transformers' `hidden_states`.
        nodes: B opaque handles, one for each whole prefix.
        top: from such an engine: what it lists after each whole prefix.
    """

    logits: Floats | None
    nodes: tuple[Any, ...]
    hidden: Mapping[int, Floats] = field(default_factory=dict)
    top: tuple[Listing, ...] = ()


@runtime_checkable
class Engine(Protocol):
    """A model as a pure function of token ids. Safe to call from several threads."""

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        ...

    def forward(
        self,
        prefixes: Sequence[Prefix],
        *,
        last: int = 1,
        layers: Sequence[int] = (),
        hidden_last: int = 1,
    ) -> Forward:
        """Logits of the last `last` positions of each prefix, and hidden states of `layers`.

        Raises:
            ValueError: an empty prefix, or an id outside the vocabulary.
            ContextOverflow: a prefix is longer than the context.
        """
        ...

    def unembed(self, hidden: Floats, *, norm: bool) -> Floats:
        """Hidden states (..., D) to logits (..., V), through the final norm first where `norm`."""
        ...

    def iter_logits(self, ids: Sequence[int], chunk: int = 64) -> Iterator[Floats]:
        """Logits of every position of `ids` as (t, V) pieces, t <= chunk, in bounded memory."""
        ...

    def close(self) -> None:
        """Release sessions, caches and files; the engine cannot be used afterwards."""
        ...


@runtime_checkable
class Batches(Protocol):
    """What an engine may offer besides, for many prompts in a row: a beginning that is always the same."""

    def begin_batch(self) -> None:
        """Drop what is cached and get ready for many prompts: what follows depends on nothing before it.

        Handles of earlier calls are worth nothing afterwards, and harmless.
        """
        ...


@runtime_checkable
class Tells(Protocol):
    """What an engine without logits offers instead, where it can ("told" among its capabilities)."""

    @property
    def longest_told(self) -> int:
        """Ids that a text may have."""
        ...

    def iter_told(self, ids: Sequence[int], start: int, top: int) -> Iterator[Told]:
        """What is said of each token of a text from index `start` on, at least 1, and of the tokens before.

        Args:
            ids: the text.
            start: index of the first token that is asked about.
            top: likeliest tokens wanted in the place of each; there may be more, or fewer.

        Raises:
            Unsupported: nothing is, and why.
        """
        ...
