"""The engine over a transformers model: checks what is asked, and hands it to the memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tokenglass.engines.base import Forward, Prefix
from tokenglass.engines.hf.network import Need, Network
from tokenglass.engines.hf.trial import tried
from tokenglass.errors import ContextOverflow, EngineError, Unsupported
from tokenglass.types import EngineInfo

Floats = NDArray[np.float32]

DEFAULT_CACHE_BYTES = 1 << 30
PIECE = 256  # tokens of one run when every position's logits are wanted


class HfEngine:
    """A causal model of transformers as a pure function of token ids; see `base.Engine`.

    Args:
        model: a loaded model of `AutoModelForCausalLM`.
        info: what is known of it from its files; sizes and capabilities are found by running it.
        cache_bytes: bound on keys and values kept for prefixes that do not run at the moment.

    Raises:
        ModelUnsupported: it does not run, or its logits are not numbers.
    """

    def __init__(self, model: object, info: EngineInfo, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self._lock = threading.RLock()
        network = Network(model)
        trial = tried(network, cache_bytes)
        self._head, self._norm = trial.head, trial.norm
        self._network: Network | None = network
        self._memory = trial.memory
        self._info = replace(
            info,
            vocab_size=trial.vocab_size,
            layers=trial.layers or info.layers,
            hidden_size=trial.hidden_size or info.hidden_size,
            capabilities=frozenset({"logits", "positions"})
            | trial.memory.keeps
            | ({"hidden"} if trial.layers else set())
            | ({"unembed"} if trial.head is not None and trial.norm is not None else set()),
        )

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return self._info

    @property
    def tokens_run(self) -> int:
        """Tokens that went through the model so far."""
        return self._memory.tokens_run

    def close(self) -> None:
        """Release the model and what it remembers."""
        with self._lock:
            self._memory.clear()
            self._network = self._head = self._norm = None

    def begin_batch(self) -> None:
        """Forget what was read: what follows depends on nothing before it, and holds no memory for it.

        All that a run's shape hangs on besides the texts is what is remembered; what was found out at the
        start (`trial`) stays.
        """
        with self._lock:
            self._open()
            self._memory.clear()

    # ------------------------------------------------------------ protocol

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
            ValueError: an empty prefix, an id outside the vocabulary, `last` beyond a prefix, no such layer.
            ContextOverflow: a prefix is longer than the context.
            Unsupported: `layers`, of a model that shows no hidden states.
        """
        if not prefixes:
            raise ValueError("prefixes must hold at least one prefix, got none")
        for prefix in prefixes:
            self._check(prefix.ids)
            for name, value in (("last", last), ("hidden_last", hidden_last)):
                _within(name, value, len(prefix.ids))
        self._check_layers(layers)
        distinct = {prefix.ids: prefix for prefix in prefixes}
        places = {ids: place for place, ids in enumerate(distinct)}
        with self._lock:
            self._open()
            found = self._memory.answers(list(distinct.values()), Need(last, tuple(layers), hidden_last))
        answers = [found[places[prefix.ids]] for prefix in prefixes]
        hidden = {layer: np.stack([answer.hidden[layer] for answer in answers]) for layer in layers}
        logits = np.stack([answer.logits for answer in answers])
        return Forward(logits, tuple(answer.node for answer in answers), hidden)

    def unembed(self, hidden: Floats, *, norm: bool) -> Floats:
        """Hidden states (..., D) to logits (..., V), through the final norm first where `norm`.

        The output embedding alone, as DoLa in transformers has it: what some models do to their logits
        afterwards (soft caps, scales) is left out.

        Raises:
            Unsupported: a model whose head takes something else, or without a final norm.
        """
        with self._lock:
            self._open()
            if self._head is None:
                raise Unsupported("unembed", f"{self._info.name} has no head that takes hidden states")
            if norm and self._norm is None:
                raise Unsupported("unembed with norm=True", f"{self._info.name} has no final norm")
            modules = [self._norm, self._head] if norm else [self._head]
            rows = np.ascontiguousarray(hidden.reshape(-1, hidden.shape[-1]), dtype=np.float32)
            logits = self._open().through(modules, rows)
        return logits.reshape(*hidden.shape[:-1], -1)

    def iter_logits(self, ids: Sequence[int], chunk: int = 64) -> Iterator[Floats]:
        """Logits of every position of `ids` as (t, V) pieces, t <= chunk.

        In bounded memory, and without touching what is remembered; a model whose cache cannot be rewound
        reads the whole text at once.

        Raises:
            ValueError: no ids, an id outside the vocabulary, or a chunk below 1.
            ContextOverflow: more ids than the context holds.
        """
        ids = tuple(ids)
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        self._check(ids)
        self._open()
        pieces = iter(self._memory.pieces(ids, chunk * max(1, PIECE // chunk)))
        while True:
            with self._lock:  # not while the caller has the piece
                self._open()
                piece = next(pieces, None)
            if piece is None:
                return
            for at in range(0, len(piece), chunk):
                yield piece[at : at + chunk]

    # ------------------------------------------------------------- private

    def _open(self) -> Network:
        if self._network is None:
            raise EngineError(f"{self._info.name} was closed; load it again")
        return self._network

    def _check(self, ids: Sequence[int]) -> None:
        if not ids:
            raise ValueError("a prefix must hold at least one token, got none")
        if len(ids) > self._info.context_length:
            raise ContextOverflow(len(ids), self._info.context_length)
        low, high = min(ids), max(ids)
        if low < 0 or high >= self._info.vocab_size:
            wrong = low if low < 0 else high
            raise ValueError(f"token id must be in [0, {self._info.vocab_size - 1}], got {wrong}")

    def _check_layers(self, layers: Sequence[int]) -> None:
        if layers and "hidden" not in self._info.capabilities:
            raise Unsupported("hidden states", f"{self._info.name} shows none")
        for layer in layers:
            if not 0 <= layer <= self._info.layers:
                raise ValueError(f"layer must be in [0, {self._info.layers}], got {layer}")


def _within(name: str, value: int, size: int) -> None:
    if not 1 <= value <= size:
        raise ValueError(f"{name} must be in [1, {size}] for a prefix of {size} tokens, got {value}")
