"""Stages that change every score: temperature, dynamic temperature, normalisation, repair, guidance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenglass.stages import candidates
from tokenglass.stages.base import BaseStage, require
from tokenglass.stages.context import Context
from tokenglass.stages.row import MASKED, NO_FACTS, Floats, Row


@dataclass(frozen=True)
class Temperature(BaseStage):
    """Divide the scores by t: below 1 sharper, above 1 flatter; 0 leaves only the best token.

    Where a score divided by a tiny t would overflow, the best score is subtracted first, which changes no
    probability. At 0 the first of equal best scores stays: the lowest id, or the first candidate.

    Args:
        t: >= 0 and finite.

    Raises:
        ValueError: t outside its range.

    Source: Ackley, Hinton and Sejnowski 1985; divided in float32, as transformers and llama.cpp do.

    >>> Temperature(0.5)([2.0, 1.0]).tolist(), Temperature(0.0)([1.0, 2.0, 2.0]).tolist()
    ([4.0, 2.0], [-inf, 2.0, -inf])
    """

    t: float
    name = "temperature"

    def __post_init__(self) -> None:
        require(0.0 <= self.t < np.inf, "temperature", ">= 0 and finite", self.t)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The scaled row."""
        return (row if self.t == 1.0 else scaled(row, np.float32(self.t))), state


@dataclass(frozen=True)
class DynamicTemperature(BaseStage):
    """A temperature that follows the entropy: t - delta when the model is sure, t + delta when it is not.

    t' = low + (high - low) (H / ln n)^exponent, with low = max(0, t - delta), high = t + delta, H the entropy
    and n the number of the remaining candidates. The list is sorted on the way, as in llama.cpp.

    Args:
        t: the middle temperature, >= 0.
        delta: half the range, > 0.
        exponent: > 0 bends the curve.

    Raises:
        ValueError: a parameter outside its range.

    Source: kalomaze's entropy sampling (`dynatemp_range`, `dynatemp_exponent` in llama.cpp); compare Zhang et
    al. 2024, arXiv:2403.14541.

    >>> from tokenglass.numbers import softmax
    >>> softmax(DynamicTemperature(1.0, 0.5)([3.0, 2.0, 1.0])).round(3).tolist()
    [0.604, 0.273, 0.123]
    """

    t: float
    delta: float
    exponent: float = 1.0
    name = "dynamic_temperature"

    def __post_init__(self) -> None:
        require(0.0 <= self.t < np.inf, "temperature", ">= 0 and finite", self.t)
        require(0.0 < self.delta < np.inf, "dynatemp_range", "> 0 and finite", self.delta)
        require(0.0 < self.exponent < np.inf, "dynatemp_exponent", "> 0 and finite", self.exponent)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row at the temperature that its entropy asks for."""
        if row.argmax < 0 or row.n_candidates <= 1:
            return row, state
        if row.order is None:
            share = np.float32(row.moments.entropy_bits / np.log2(row.moments.alive))
        else:
            row = row.kept(candidates.best_first_of(row), ranked=True)
            share = candidates.entropy_share(candidates.softmax(row))
        t, delta = np.float32(self.t), np.float32(self.delta)
        low, high = max(np.float32(0.0), t - delta), t + delta
        now = low + (high - low) * np.float32(float(share) ** float(np.float32(self.exponent)))
        return scaled(row, now, facts={"temperature": float(now)}), state


@dataclass(frozen=True)
class RenormalizeLogits(BaseStage):
    """Turn scores into log-probabilities of what is left.

    Source: transformers' `LogitNormalization`.

    >>> [round(float(logprob), 4) for logprob in RenormalizeLogits()([0.0, 0.0])]
    [-0.6931, -0.6931]
    """

    name = "renormalize_logits"

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The log-probabilities."""
        return row.with_scores(log_softmax(row.scores), domain="logprobs", same_ranking=True), state


@dataclass(frozen=True)
class RemoveInvalidValues(BaseStage):
    """Make every score finite: NaN becomes 0, infinities the largest and smallest float32.

    Tokens that earlier stages masked get a finite score too, as in transformers.

    Source: transformers' `InfNanRemoveLogitsProcessor`.

    >>> RemoveInvalidValues()([float("nan"), float("inf"), 1.0]).tolist()
    [0.0, 3.4028234663852886e+38, 1.0]
    """

    name = "remove_invalid_values"

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The finite row."""
        if np.isfinite(row.scores).all():
            return row, state
        return row.with_scores(np.nan_to_num(row.scores, nan=0.0)), state


@dataclass(frozen=True)
class GuidanceScale(BaseStage):
    """Move away from what the model would say without the prompt: classifier-free guidance.

    scale (lp - lp_u) + lp_u, where lp are the row's log-probabilities and lp_u those of
    `Context.unconditional`, the logits after the negative prompt or after the last prompt token alone.
    A token that either row rules out keeps its own log-probability.

    Args:
        scale: finite; above 1 strengthens the prompt, 1 only normalises.

    Raises:
        ValueError: scale not finite, or no second row in the context.

    Source: Sanchez et al. 2023, arXiv:2306.17806.

    >>> from tokenglass.numbers import softmax
    >>> context = Context(unconditional=np.zeros(2, dtype=np.float32))
    >>> softmax(GuidanceScale(2.0)([1.0, 0.0], context)).round(4).tolist()
    [0.8808, 0.1192]
    """

    scale: float
    name = "guidance_scale"

    def __post_init__(self) -> None:
        require(bool(np.isfinite(self.scale)), "guidance_scale", "finite", self.scale)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The guided row."""
        own = log_softmax(row.scores)
        if self.scale == 1.0:
            return row.with_scores(own, domain="logprobs", same_ranking=True), state
        if context.unconditional is None:
            raise ValueError("guidance_scale needs a second row of logits: give the context `unconditional`")
        other = log_softmax(np.asarray(context.unconditional, dtype=np.float32))
        with np.errstate(invalid="ignore"):
            guided = np.float32(self.scale) * (own - other) + other
        guided = np.where((own > MASKED) & (other > MASKED), guided, own)
        return row.with_scores(guided, domain="logits"), state


def log_softmax(scores: Floats) -> Floats:
    """Log-probabilities of (V,) scores in float32, the normaliser summed in float64; all -inf stays so."""
    if scores.max() == MASKED:
        return scores
    shift = scores - scores.max()
    logprobs: Floats = shift - np.float32(np.log(np.exp(shift).sum(dtype=np.float64)))
    return logprobs


def scaled(row: Row, t: np.float32, facts: Mapping[str, float] = NO_FACTS) -> Row:
    """The row's scores divided by t in float32; at 0 the first best candidate alone keeps its score."""
    if row.argmax < 0:
        return row
    if t <= 0.0:
        ids = row.candidates
        best = int(ids[row.listed.argmax()])
        scores = np.full(len(row), MASKED)
        scores[best] = row.scores[best]
        return row.with_scores(scores, same_ranking=True, facts=facts)
    with np.errstate(over="ignore"):
        scores = row.scores / t
        if not np.isfinite(scores[row.argmax]):
            scores = (row.scores - row.scores[row.argmax]) / t
    return row.with_scores(scores, same_ranking=True, facts=facts)
