"""Penalties on tokens that were there before, and on not stopping.

Which earlier tokens count is a parameter, `window`: systems differ in it more than in the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenglass.stages.base import BaseStage, inside, require, require_whole
from tokenglass.stages.context import EVERYTHING, GENERATED, LAST_64, Context, Window
from tokenglass.stages.row import Floats, Row


@dataclass(frozen=True)
class RepetitionPenalty(BaseStage):
    """Make every token of the window less likely, once: positive scores divided by it, negative multiplied.

    Depends on where the scores' zero is, so logits and log-probabilities are treated differently.

    Args:
        penalty: > 0; above 1 discourages, below 1 encourages, 1 is off.
        window: prompt and written tokens, by default all, as in transformers and vLLM.

    Raises:
        ValueError: penalty outside its range.

    Source: Keskar et al. 2019, arXiv:1909.05858, with the sign rule of transformers.

    >>> RepetitionPenalty(2.0)([2.0, -1.0, 0.5], Context((0, 0, 1))).tolist()
    [1.0, -2.0, 0.5]
    """

    penalty: float
    window: Window = EVERYTHING
    name = "repetition_penalty"

    def __post_init__(self) -> None:
        require(0.0 < self.penalty < np.inf, "repetition_penalty", "> 0 and finite", self.penalty)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with the window's tokens penalised."""
        ids = inside(self.window.ids(context), len(row))
        if self.penalty == 1.0 or not len(ids):
            return row, state
        return row.replaced(ids, repelled(row.scores[ids], np.float32(self.penalty))), state


@dataclass(frozen=True)
class EncoderRepetitionPenalty(BaseStage):
    """Make the prompt's tokens more likely: the repetition penalty with 1 / penalty, over the prompt.

    Args:
        penalty: > 0; above 1 encourages the prompt's tokens, 1 is off.

    Raises:
        ValueError: penalty outside its range.

    Source: transformers' `EncoderRepetitionPenaltyLogitsProcessor` ("hallucination penalty").

    >>> EncoderRepetitionPenalty(2.0)([2.0, -1.0, 0.5], Context((0, 1), (2,))).tolist()
    [4.0, -0.5, 0.5]
    """

    penalty: float
    name = "encoder_repetition_penalty"

    def __post_init__(self) -> None:
        require(0.0 < self.penalty < np.inf, "encoder_repetition_penalty", "> 0 and finite", self.penalty)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with the prompt's tokens favoured."""
        ids = inside(context.prompt, len(row))
        if self.penalty == 1.0 or not len(ids):
            return row, state
        return row.replaced(ids, repelled(row.scores[ids], np.float32(1.0 / self.penalty))), state


@dataclass(frozen=True)
class FrequencyPenalty(BaseStage):
    """Subtract the penalty once for each time a token occurs in the window.

    Args:
        penalty: finite; negative encourages, 0 is off. Usual range -2 to 2.
        window: by default the written tokens, as in vLLM and the OpenAI API.

    Raises:
        ValueError: penalty not finite.

    Source: the OpenAI API's `frequency_penalty`.

    >>> FrequencyPenalty(0.5)([2.0, 1.0, 0.0], Context((2,), (0, 0, 1))).tolist()
    [1.0, 0.5, 0.0]
    """

    penalty: float
    window: Window = GENERATED
    name = "frequency_penalty"

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.penalty)), "frequency_penalty", "finite", self.penalty)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with repeated tokens penalised by count."""
        ids, counts = np.unique(self.window.ids(context), return_counts=True)
        ids, counts = ids[ids < len(row)], counts[ids < len(row)].astype(np.float32)
        if self.penalty == 0.0 or not len(ids):
            return row, state
        return row.replaced(ids, row.scores[ids] - np.float32(self.penalty) * counts), state


@dataclass(frozen=True)
class PresencePenalty(BaseStage):
    """Subtract the penalty from every token that occurs in the window.

    Args:
        penalty: finite; negative encourages, 0 is off. Usual range -2 to 2.
        window: by default the written tokens, as in vLLM and the OpenAI API.

    Raises:
        ValueError: penalty not finite.

    Source: the OpenAI API's `presence_penalty`.

    >>> PresencePenalty(0.5)([2.0, 1.0, 0.0], Context((2,), (0, 0, 1))).tolist()
    [1.5, 0.5, 0.0]
    """

    penalty: float
    window: Window = GENERATED
    name = "presence_penalty"

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.penalty)), "presence_penalty", "finite", self.penalty)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with the tokens that are present penalised."""
        ids = inside(self.window.ids(context), len(row))
        if self.penalty == 0.0 or not len(ids):
            return row, state
        return row.replaced(ids, row.scores[ids] - np.float32(self.penalty)), state


@dataclass(frozen=True)
class Penalties(BaseStage):
    """Repetition, frequency and presence penalty in one, over one window: llama.cpp's `penalties`.

    Candidates count as unsorted afterwards.

    Args:
        repeat: > 0, 1 is off.
        frequency: finite, 0 is off.
        presence: finite, 0 is off.
        window: by default the last 64 tokens, the prompt's included.

    Raises:
        ValueError: a parameter outside its range.

    Source: llama.cpp's `llama_sampler_init_penalties`.

    >>> Penalties(2.0, 0.5, 1.0)([2.0, -1.0, 0.5], Context((0, 0, 1))).tolist()
    [-1.0, -3.5, 0.5]
    """

    repeat: float = 1.0
    frequency: float = 0.0
    presence: float = 0.0
    window: Window = LAST_64
    name = "penalties"

    def __post_init__(self) -> None:
        require(0.0 < self.repeat < np.inf, "repeat_penalty", "> 0 and finite", self.repeat)
        require(bool(np.isfinite(self.frequency)), "frequency_penalty", "finite", self.frequency)
        require(bool(np.isfinite(self.presence)), "presence_penalty", "finite", self.presence)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with the window's tokens penalised."""
        if self.window.last_n == 0 or (self.repeat, self.frequency, self.presence) == (1.0, 0.0, 0.0):
            return row, state
        ids, counts = np.unique(self.window.ids(context), return_counts=True)
        ids, counts = ids[ids < len(row)], counts[ids < len(row)].astype(np.float32)
        scores = repelled(row.scores[ids], np.float32(self.repeat))
        scores = scores - (counts * np.float32(self.frequency) + np.float32(self.presence))
        return row.replaced(ids, scores, is_sorted=False), state


@dataclass(frozen=True)
class ExponentialDecayLengthPenalty(BaseStage):
    """Make the end of the text ever more likely, from some length on.

    Past `first` written tokens, end-of-text scores s grow by abs(s) (factor^n - 1), n counting from there.
    A masked end stays masked.

    Args:
        first: >= 0, how many tokens may be written before it begins.
        factor: > 0 and finite; above 1 makes the end more likely.

    Raises:
        ValueError: a parameter outside its range.

    Source: transformers' `ExponentialDecayLengthPenalty`.

    >>> stage = ExponentialDecayLengthPenalty(1, 2.0)
    >>> stage([1.0, -1.0], Context((0,), (0, 0, 0), eos_ids=(1,))).tolist()
    [1.0, 2.0]
    """

    first: int
    factor: float
    name = "exponential_decay_length_penalty"

    def __post_init__(self) -> None:
        require_whole("exponential_decay_length_penalty[0]", self.first, 0)
        require(
            0.0 < self.factor < np.inf, "exponential_decay_length_penalty[1]", "> 0 and finite", self.factor
        )

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row with the end favoured."""
        past = context.step - self.first
        ids = context.eos(len(row))
        if past <= 0 or not len(ids):
            return row, state
        scores = row.scores[ids]
        try:
            growth = np.float32(self.factor**past - 1.0)
        except OverflowError:
            growth = np.finfo(np.float32).max
        with np.errstate(over="ignore", invalid="ignore"):
            raised = np.minimum(scores + np.abs(scores) * growth, np.finfo(np.float32).max)
        return row.replaced(ids, np.where(np.isfinite(scores), raised, scores)), state


def repelled(scores: Floats, penalty: np.float32) -> Floats:
    """Negative scores multiplied by the penalty, others divided by it."""
    with np.errstate(over="ignore"):
        repelled: Floats = np.where(scores < 0, scores * penalty, scores / penalty)
    return repelled
