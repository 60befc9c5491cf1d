"""Stages that forbid tokens, by id or by what came before."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tokenglass.errors import NoTokenAllowed
from tokenglass.stages.base import BaseStage, below, inside, require, require_whole, short
from tokenglass.stages.context import EVERYTHING, Context, Window
from tokenglass.stages.row import MASKED, Ids, Row


def _whole_ids(parameter: str, ids: Sequence[int]) -> None:
    for token_id in ids:
        require_whole(parameter, token_id, 0)


def _masked(row: Row, ids: Ids) -> Row:
    return row.masked(ids) if len(ids) else row


@dataclass(frozen=True)
class SuppressTokens(BaseStage):
    """Forbid tokens at every step.

    Args:
        ids: token ids.

    Raises:
        ValueError: an id that is no whole number >= 0.

    Source: transformers' `suppress_tokens`.

    >>> SuppressTokens((1,))([2.0, 3.0]).tolist()
    [2.0, -inf]
    """

    ids: tuple[int, ...]
    name = "suppress_tokens"

    def __post_init__(self) -> None:
        _whole_ids(self.name, self.ids)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row without them."""
        return _masked(row, below(self._array, len(row))), state

    @cached_property
    def _array(self) -> Ids:
        return np.unique(np.array(self.ids, dtype=np.int64))


@dataclass(frozen=True)
class BeginSuppressTokens(BaseStage):
    """Forbid tokens at one early step only.

    Args:
        ids: token ids.
        step: at which step, from 0; transformers takes 1 where a forced BOS token comes first.

    Raises:
        ValueError: a parameter outside its range.

    Source: transformers' `begin_suppress_tokens`.

    >>> stage = BeginSuppressTokens((1,))
    >>> stage([2.0, 3.0], Context((5,))).tolist(), stage([2.0, 3.0], Context((5,), (0,))).tolist()
    ([2.0, -inf], [2.0, 3.0])
    """

    ids: tuple[int, ...]
    step: int = 0
    name = "begin_suppress_tokens"

    def __post_init__(self) -> None:
        _whole_ids(self.name, self.ids)
        require_whole("step", self.step, 0)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row without them, at that step."""
        if context.step != self.step:
            return row, state
        return _masked(row, inside(np.array(self.ids, dtype=np.int64), len(row))), state


@dataclass(frozen=True)
class AllowedTokens(BaseStage):
    """Forbid every token that is not listed.

    Args:
        ids: token ids, at least one.

    Raises:
        ValueError: no id, or one that is no whole number >= 0.

    Source: vLLM's `allowed_token_ids`.

    >>> AllowedTokens((1,))([2.0, 1.0]).tolist()
    [-inf, 1.0]
    """

    ids: tuple[int, ...]
    name = "allowed_token_ids"

    def __post_init__(self) -> None:
        require(len(self.ids) > 0, self.name, "at least one id", self.ids)
        _whole_ids(self.name, self.ids)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with nothing else."""
        return only(row, self._array), state

    @cached_property
    def _array(self) -> Ids:
        return np.array(self.ids, dtype=np.int64)


@dataclass(frozen=True)
class MinLength(BaseStage):
    """Forbid the end of the text while the whole sequence, prompt included, is shorter than n tokens.

    Args:
        n: >= 0.

    Raises:
        ValueError: n outside its range.

    Source: transformers' `min_length`.

    >>> MinLength(3)([2.0, 3.0], Context((5,), (0,), eos_ids=(1,))).tolist()
    [2.0, -inf]
    """

    n: int
    name = "min_length"

    def __post_init__(self) -> None:
        require_whole(self.name, self.n, 0)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row without an end, while it is too early."""
        return (row if context.position >= self.n else _masked(row, context.eos(len(row)))), state


@dataclass(frozen=True)
class MinNewTokens(BaseStage):
    """Forbid the end of the text while fewer than n tokens have been written.

    Args:
        n: >= 0.

    Raises:
        ValueError: n outside its range.

    Source: transformers' `min_new_tokens`, vLLM's `min_tokens`.

    >>> MinNewTokens(2)([2.0, 3.0], Context((5,), (0,), eos_ids=(1,))).tolist()
    [2.0, -inf]
    """

    n: int
    name = "min_new_tokens"

    def __post_init__(self) -> None:
        require_whole(self.name, self.n, 0)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row without an end, while it is too early."""
        return (row if context.step >= self.n else _masked(row, context.eos(len(row)))), state


@dataclass(frozen=True)
class NoRepeatNgram(BaseStage):
    """Forbid every token that would complete an n-gram seen before, prompt included.

    Args:
        n: >= 1; 1 forbids every token seen.
        window: where n-grams are looked for.

    Raises:
        ValueError: n outside its range.

    Source: Paulus et al. 2017, arXiv:1705.04304; transformers' `no_repeat_ngram_size`.

    >>> NoRepeatNgram(2)([1.0, 1.0, 1.0], Context((0, 1, 0))).tolist()
    [1.0, -inf, 1.0]
    """

    n: int
    window: Window = EVERYTHING
    name = "no_repeat_ngram_size"

    def __post_init__(self) -> None:
        require_whole(self.name, self.n, 1)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row without completions."""
        ids = self.window.ids(context)
        return _masked(row, inside(completions(ids, ids, self.n), len(row))), state


@dataclass(frozen=True)
class EncoderNoRepeatNgram(BaseStage):
    """Forbid every token that would complete an n-gram of the prompt.

    Args:
        n: >= 1; 1 forbids every token of the prompt.

    Raises:
        ValueError: n outside its range.

    Source: transformers' `encoder_no_repeat_ngram_size`.

    >>> EncoderNoRepeatNgram(2)([1.0, 1.0, 1.0], Context((0, 1), (2, 0))).tolist()
    [1.0, -inf, 1.0]
    """

    n: int
    name = "encoder_no_repeat_ngram_size"

    def __post_init__(self) -> None:
        require_whole(self.name, self.n, 1)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row without completions."""
        return _masked(row, inside(completions(context.prompt, context.ids, self.n), len(row))), state


def completions(source: Ids, ids: Ids, n: int) -> Ids:
    """The ids that follow, in `source`, each place where the last n - 1 of `ids` occur.

    >>> completions(np.array([1, 2, 1, 3]), np.array([7, 1]), 2).tolist()
    [2, 3]
    """
    if len(source) < n or len(ids) < n - 1:
        return np.empty(0, dtype=np.int64)
    places = np.arange(len(source) - n + 1)
    for offset in range(n - 1):
        places = places[source[places + offset] == ids[len(ids) - n + 1 + offset]]
    return source[places + n - 1]


@dataclass(frozen=True)
class PrefixAllowedTokens(BaseStage):
    """Allow only what a function of the ids so far allows.

    Where every token it allows was masked before, its tokens come back with score 0, as in transformers.

    Args:
        function: takes (batch index, ids so far as a (T,) array) and returns the allowed ids.
        revive: bring the allowed tokens back from a dead row; a beam search, which does so only when every
            beam is dead, turns it off and calls `revived` itself.

    Raises:
        NoTokenAllowed: the function allowed nothing.
        ValueError: no function of two arguments, or one that returned no list of ids of the vocabulary.

    Source: De Cao et al. 2020, arXiv:2010.00904; transformers' `prefix_allowed_tokens_fn`.

    >>> PrefixAllowedTokens(lambda batch, ids: [1])([2.0, 1.0], Context((0,))).tolist()
    [-inf, 1.0]
    """

    function: Callable[[int, Ids], Sequence[int]]
    revive: bool = True
    name = "prefix_allowed_tokens_fn"

    def __post_init__(self) -> None:
        wanted = "a function of (batch index, ids)"
        require(callable(self.function), self.name, wanted, self.function)
        try:
            inspect.signature(self.function).bind(0, ())
        except TypeError as error:
            raise ValueError(
                f"{self.name} must be {wanted}, got one that does not take them: {error}"
            ) from None
        except ValueError:  # written in C, without a signature to read
            pass

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with nothing else."""
        kept = only(row, self._allowed(row, context))
        return (self.revived(row, context) if kept.argmax < 0 and self.revive else kept), state

    def revived(self, row: Row, context: Context) -> Row:
        """The allowed tokens at 0, all others masked."""
        scores = np.full(len(row), MASKED)
        scores[self._allowed(row, context)] = 0.0
        return row.with_scores(scores)

    def _allowed(self, row: Row, context: Context) -> Ids:
        result = self.function(context.batch_index, context.ids.copy())
        allowed = _ids_in(result)
        if allowed is not None and not len(allowed):
            raise NoTokenAllowed(context.position, self.name)
        if allowed is None or int(allowed.min()) < 0 or int(allowed.max()) >= len(row):
            interval = f"a list of ids in [0, {len(row) - 1}]"
            raise ValueError(f"{self.name} must return {interval}, got {short(result)}")
        return allowed.astype(np.int64)


def _ids_in(result: Any) -> Ids | None:
    """What a function returned as a (n,) array of whole numbers; None where it is no such list."""
    listed = result.tolist() if hasattr(result, "tolist") else result
    if not isinstance(listed, list | tuple | set | frozenset | range):
        return None
    try:
        ids = np.array(list(listed) or np.empty(0, dtype=np.int64))
    except (ValueError, TypeError):  # lists of different lengths
        return None
    return ids if ids.ndim == 1 and ids.dtype.kind in "iu" else None


def only(row: Row, ids: Ids) -> Row:
    """The row with every other id masked; candidates stay candidates.

    Raises:
        ValueError: an id outside the vocabulary.
    """
    if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < len(row)):
        worst = int(ids.max()) if int(ids.max()) >= len(row) else int(ids.min())
        raise ValueError(f"token ids must be in [0, {len(row) - 1}], got {worst}")
    if row.order is None:
        keep = np.zeros(len(row), dtype=np.bool_)
        keep[ids] = True
        listed, _ = row.values()
        return row.kept_where(listed, keep if listed is None else keep[listed])
    scores = np.full(len(row), MASKED)
    scores[ids] = row.scores[ids]
    return row.with_scores(scores)
