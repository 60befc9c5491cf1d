"""Stages that add to the scores of chosen tokens or sequences, and stages that force one token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tokenglass.stages.base import BaseStage, require, require_whole
from tokenglass.stages.context import EVERYTHING, Context, Window
from tokenglass.stages.row import MASKED, Floats, Ids, Row

Sequences = tuple[tuple[tuple[int, ...], float], ...]


class _Group(NamedTuple):
    """Sequences of one length: what must precede (N, n - 1), what is biased (N,), and by how much (N,)."""

    prefixes: Ids
    last: Ids
    values: Floats


class _Biases(NamedTuple):
    """Sequences by length, and what those of one token come to: distinct ids (N,) and their biases (N,)."""

    always: tuple[Ids, Floats]
    groups: list[_Group]


def _biases(sequences: Sequences) -> _Biases:
    by_length: dict[int, list[tuple[tuple[int, ...], float]]] = {}
    for ids, value in sequences:
        by_length.setdefault(len(ids), []).append((ids, value))
    single = by_length.pop(1, [])
    always = _summed(
        np.array([ids[0] for ids, _ in single], dtype=np.int64),
        np.array([value for _, value in single], dtype=np.float32),
    )
    groups = [
        _Group(
            np.array([ids[:-1] for ids, _ in group], dtype=np.int64),
            np.array([ids[-1] for ids, _ in group], dtype=np.int64),
            np.array([value for _, value in group], dtype=np.float32),
        )
        for group in by_length.values()
    ]
    return _Biases(always, groups)


def _summed(ids: Ids, values: Floats) -> tuple[Ids, Floats]:
    """Distinct ids, and the sum in float32 of what each is given, in turn."""
    unique, where = np.unique(ids, return_inverse=True)
    bias = np.zeros(len(unique), dtype=np.float32)
    np.add.at(bias, where, values)
    return unique, bias


def _biased(row: Row, biases: _Biases, ids: Ids) -> Row:
    """The row plus, in float32, the sum of the biases of all sequences that the next token would complete."""
    targets, bias = biases.always
    for group in biases.groups:
        n = group.prefixes.shape[1]
        if n <= len(ids) and len(fits := np.flatnonzero((group.prefixes == ids[len(ids) - n :]).all(axis=1))):
            targets = np.concatenate([targets, group.last[fits]])
            bias = np.concatenate([bias, group.values[fits]])
    if not len(targets):
        return row
    if targets is not biases.always[0]:
        targets, bias = _summed(targets, bias)
    if int(targets[-1]) >= len(row):
        raise ValueError(f"token ids must be in [0, {len(row) - 1}], got {int(targets[-1])}")
    if (bias == MASKED).all():
        return row.masked(targets)
    return row.replaced(targets, row.scores[targets] + bias)


def _check(parameter: str, sequences: Sequences) -> None:
    require(len(sequences) > 0, parameter, "at least one sequence", sequences)
    for ids, value in sequences:
        require(len(ids) > 0, parameter, "sequences of at least one token id", ids)
        for token_id in ids:
            require_whole(parameter, token_id, 0)
        require(not np.isnan(value) and value != np.inf, parameter, "numbers or -inf", value)


@dataclass(frozen=True)
class SequenceBias(BaseStage):
    """Add a bias to the token that would complete a sequence, and to single tokens always.

    Args:
        sequences: (ids, bias) pairs, each sequence once.
        window: what may match the beginning of a sequence.

    Raises:
        ValueError: no sequence, an empty one, or an id or bias that is none.

    Source: transformers' `sequence_bias`.

    >>> stage = SequenceBias((((1,), 2.0), ((5, 0), -3.0)))
    >>> stage([1.0, 1.0], Context((5,))).tolist(), stage([1.0, 1.0], Context((4,))).tolist()
    ([-2.0, 3.0], [1.0, 3.0])
    """

    sequences: Sequences
    window: Window = EVERYTHING
    name = "sequence_bias"

    def __post_init__(self) -> None:
        _check(self.name, self.sequences)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The biased row."""
        return _biased(row, self._grouped, self.window.ids(context)), state

    @cached_property
    def _grouped(self) -> _Biases:
        return _biases(self.sequences)


@dataclass(frozen=True)
class BadWords(BaseStage):
    """Forbid the token that would complete a forbidden sequence.

    Args:
        sequences: token ids of each; ids that are the whole of one end-of-text token are left alone, as
            transformers does, when `spare_eos`.
        window: what may match the beginning; vLLM looks at written tokens only.
        spare_eos: see above.

    Raises:
        ValueError: no sequence, an empty one, or an id that is none.

    Source: transformers' `bad_words_ids`, vLLM's `bad_words`.

    >>> BadWords(((5, 0), (1,)))([1.0, 1.0, 1.0], Context((5,))).tolist()
    [-inf, -inf, 1.0]
    """

    sequences: tuple[tuple[int, ...], ...]
    window: Window = EVERYTHING
    spare_eos: bool = True
    name = "bad_words_ids"

    def __post_init__(self) -> None:
        _check(self.name, tuple((ids, 0.0) for ids in self.sequences))

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row without completions."""
        spared: set[tuple[int, ...]] = {(i,) for i in context.eos_ids} if self.spare_eos else set()
        groups = self._grouped if spared.isdisjoint(self.sequences) else self._without(spared)
        return _biased(row, groups, self.window.ids(context)), state

    @cached_property
    def _grouped(self) -> _Biases:
        return self._without(set())

    def _without(self, spared: set[tuple[int, ...]]) -> _Biases:
        return _biases(tuple((ids, -np.inf) for ids in dict.fromkeys(self.sequences) if ids not in spared))


@dataclass(frozen=True)
class LogitBias(BaseStage):
    """Add a bias to single tokens at every step; -inf forbids.

    Candidates keep their order even where the bias makes it untrue, as in llama.cpp.

    Args:
        biases: (id, bias) pairs, each id once.

    Raises:
        ValueError: an id or a bias that is none.

    Source: llama.cpp's and the OpenAI API's `logit_bias`.

    >>> LogitBias.of({0: -1.0, 1: float("-inf")})([1.0, 1.0]).tolist()
    [0.0, -inf]
    """

    biases: tuple[tuple[int, float], ...]
    name = "logit_bias"

    def __post_init__(self) -> None:
        _check(self.name, tuple(((i,), value) for i, value in self.biases))

    @classmethod
    def of(cls, biases: Mapping[int, float]) -> LogitBias:
        """From a mapping."""
        return cls(tuple((int(i), float(value)) for i, value in biases.items()))

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The biased row."""
        return _biased(row, self._grouped, np.empty(0, dtype=np.int64)), state

    @cached_property
    def _grouped(self) -> _Biases:
        return _biases(tuple(((i,), value) for i, value in self.biases))


@dataclass(frozen=True)
class ForcedBos(BaseStage):
    """Force one token when the sequence holds exactly one, so never after a longer prompt.

    Args:
        token_id: >= 0.

    Raises:
        ValueError: token_id outside its range.

    Source: transformers' `forced_bos_token_id`.

    >>> ForcedBos(1)([2.0, 1.0], Context((5,))).tolist(), ForcedBos(1)([2.0, 1.0], Context((5, 6))).tolist()
    ([-inf, 0.0], [2.0, 1.0])
    """

    token_id: int
    name = "forced_bos_token_id"

    def __post_init__(self) -> None:
        require_whole(self.name, self.token_id, 0)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The forced row, at that length."""
        return (forced(row, (self.token_id,)) if context.position == 1 else row), state


@dataclass(frozen=True)
class ForcedEos(BaseStage):
    """Force the end of the text when one token is left before `Context.max_length`.

    Args:
        token_ids: any of these, all equally likely.

    Raises:
        ValueError: no id, or one outside its range.

    Source: transformers' `forced_eos_token_id`.

    >>> ForcedEos((1,))([2.0, 1.0], Context((5,), (0,), max_length=3)).tolist()
    [-inf, 0.0]
    """

    token_ids: tuple[int, ...]
    name = "forced_eos_token_id"

    def __post_init__(self) -> None:
        require(len(self.token_ids) > 0, self.name, "at least one id", self.token_ids)
        for token_id in self.token_ids:
            require_whole(self.name, token_id, 0)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The forced row, at the last step."""
        last = context.max_length is not None and context.position == context.max_length - 1
        return (forced(row, self.token_ids) if last else row), state


def forced(row: Row, ids: Sequence[int]) -> Row:
    """Only `ids`, at score 0.

    Raises:
        ValueError: an id outside the vocabulary.
    """
    if max(ids) >= len(row):
        raise ValueError(f"token ids must be in [0, {len(row) - 1}], got {max(ids)}")
    scores = np.full(len(row), MASKED)
    scores[list(ids)] = 0.0
    return row.with_scores(scores)
