"""Reading texts with models whose cache cannot be rewound: recurrent ones, hybrids, and those without any.

A recurrent state is overwritten by each token, so it is copied before a text goes on, and only texts that go
on from where one ended gain from it; all others are read from their start. One text at a time: padding would
become a part of the state.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache

from tokenglass.engines.base import Prefix
from tokenglass.engines.hf.memory import Answer
from tokenglass.engines.hf.network import Floats, Need, Network, Rows
from tokenglass.engines.hf.planning import Ids

MOST_STATES = 16
MOST_STEPS = 16  # tokens added to a state one by one; more are read from the start, in one run


class StateMemory:
    """The states at the ends of the texts read last; see `memory.Memory`."""

    def __init__(self, network: Network, bound: int) -> None:
        self._network, self._bound = network, bound
        self._states: OrderedDict[Ids, Any] = OrderedDict()
        self.tokens_run = 0

    @property
    def keeps(self) -> frozenset[str]:
        """A fork in the middle of a text is read from its start, and texts run one by one."""
        return frozenset()

    def clear(self) -> None:
        """Forget everything."""
        self._states.clear()

    def answers(self, prefixes: Sequence[Prefix], need: Need) -> list[Answer]:
        """What the model says after each text."""
        found = []
        for prefix in prefixes:
            rows = self._read(prefix.ids, need)
            hidden = {layer: states[0] for layer, states in rows.hidden.items()}
            found.append(Answer(rows.logits[0], hidden, None))
        return found

    def pieces(self, ids: Ids, size: int) -> Iterable[Floats]:
        """Logits of every position; the whole text in one run, because a state goes on by single tokens."""
        rows = self._network([ids], Need(len(ids))).logits[0]
        self.tokens_run += len(ids)
        return (rows[at : at + size] for at in range(0, len(ids), size))

    def _read(self, ids: Ids, need: Need) -> Rows:
        known = [begun for begun in self._states if ids[: len(begun)] == begun]
        known = [begun for begun in known if need.tail <= len(ids) - len(begun) <= MOST_STEPS]
        if known:
            begun = max(known, key=len)
            self._states.move_to_end(begun)
            cache = copy.deepcopy(self._states[begun])
            rows = self._stepwise(ids, len(begun), cache, need)
        else:
            # A single token looks like a step: some models (RecurrentGemma in transformers 5.23) would go on
            # from whatever they read last. Without a cache it is a text.
            cache = DynamicCache(config=self._network.config) if len(ids) > 1 else None
            rows = self._network([ids], need, cache)
            self.tokens_run += len(ids)
        if cache is not None:
            self._keep(ids, cache)
        return rows

    def _stepwise(self, ids: Ids, start: int, cache: Any, need: Need) -> Rows:
        """Tokens one by one: the state of a recurrent layer is a step's, not a run's."""
        one = Need(1, need.layers, 1)
        steps = [self._network([[token]], one, cache) for token in ids[start:]]
        self.tokens_run += len(steps)
        hidden = {
            layer: np.concatenate([step.hidden[layer] for step in steps[-need.hidden_last :]], axis=1)
            for layer in need.layers
        }
        return Rows(np.concatenate([step.logits for step in steps[-need.last :]], axis=1), hidden)

    def _keep(self, ids: Ids, cache: Any) -> None:
        self._states[ids] = cache
        self._states.move_to_end(ids)
        size = n_bytes(cache)
        while len(self._states) > 1 and (
            len(self._states) > MOST_STATES or len(self._states) * size > self._bound
        ):
            self._states.popitem(last=False)


class PlainMemory:
    """No memory at all, for models that keep none in a form that is known; see `memory.Memory`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.tokens_run = 0

    @property
    def keeps(self) -> frozenset[str]:
        """Every text is read from its start, one by one."""
        return frozenset()

    def clear(self) -> None:
        """Nothing to forget."""

    def answers(self, prefixes: Sequence[Prefix], need: Need) -> list[Answer]:
        """What the model says after each text."""
        found = []
        for prefix in prefixes:
            rows = self._network([prefix.ids], need)
            self.tokens_run += len(prefix.ids)
            hidden = {layer: states[0] for layer, states in rows.hidden.items()}
            found.append(Answer(rows.logits[0], hidden, None))
        return found

    def pieces(self, ids: Ids, size: int) -> Iterable[Floats]:
        """Logits of every position, from one run over the whole text."""
        rows = self._network([ids], Need(len(ids))).logits[0]
        self.tokens_run += len(ids)
        return (rows[at : at + size] for at in range(0, len(ids), size))


def n_bytes(cache: Any) -> int:
    """Memory of the tensors in a cache."""
    found, level = 0, list(cache.layers)
    while level:
        value = level.pop()
        if isinstance(value, torch.Tensor):
            found += value.nbytes
        elif isinstance(value, dict):
            level.extend(value.values())
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            level.extend(vars(value).values())
    return found
