"""llama.cpp's selectors: its seeded draw, mirostat 1 and 2, adaptive-p.

With a seed they draw from a Mersenne Twister of their own, in candidate order, and reproduce llama.cpp's
draws; without one they draw from the context's source, in order of id. The arithmetic is float32 in candidate
order either way. States are small values: a generator's place and a few numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenglass.random import Mt19937
from tokenglass.select.base import Choice, choose_by_id, require_alive
from tokenglass.stages import candidates
from tokenglass.stages.base import require, require_whole
from tokenglass.stages.context import Context
from tokenglass.stages.row import MASKED, Doubles, Floats, Ids, Row


@dataclass(frozen=True)
class LlamaDraw:
    """llama.cpp's `dist`: inverse CDF in candidate order, float32 weights, double sums, mt19937.

    Args:
        seed: in [0, 2**32).

    Source: llama.cpp's `llama_sampler_dist_apply`.

    >>> LlamaDraw(42).select(Row.of([1.0, 2.0, 3.0], candidates=True), Context()).token_id
    2
    """

    seed: int
    name = "dist"

    def start(self) -> Mt19937:
        """The generator before its first draw."""
        return Mt19937(self.seed)

    def select(self, row: Row, context: Context, state: Mt19937 | None = None) -> Choice:
        """The candidate at which the running sum reaches the drawn share of the total."""
        require_alive(row, context)
        ids = row.candidates
        u, after = (state or self.start()).double()
        weights = candidates.weights_of(row.listed, is_sorted=candidates.counts_as_sorted(row))
        ends = np.cumsum(weights, dtype=np.float64)
        index = min(int(np.searchsorted(ends, u * ends[-1], side="left")), len(ids) - 1)
        return _chosen(row, ids, ends, index, u, after)


@dataclass(frozen=True, slots=True)
class MirostatState:
    """Mirostat's memory.

    Attributes:
        mu: the largest surprise allowed, in bits.
        generator: its own generator, or None where the context's source is used.
    """

    mu: float
    generator: Mt19937 | None


@dataclass(frozen=True)
class _MirostatBase:
    """What both versions share: the target, the learning rate, the draw and the update of mu."""

    tau: float = 5.0
    eta: float = 0.1
    seed: int | None = None

    def __post_init__(self) -> None:
        require(0.0 <= self.tau < np.inf, "mirostat_tau", ">= 0 and finite", self.tau)
        require(0.0 <= self.eta < np.inf, "mirostat_eta", ">= 0 and finite", self.eta)

    def start(self) -> MirostatState:
        """The limit at twice the target."""
        generator = None if self.seed is None else Mt19937(self.seed)
        return MirostatState(float(np.float32(2.0) * np.float32(self.tau)), generator)

    def _choose(self, row: Row, kept: Ids, context: Context, state: MirostatState) -> Choice:
        left = row.kept(kept, ranked=True)
        p = candidates.softmax_of(row.scores[kept])
        choice, generator = _draw(left, kept, p, context, state.generator)
        surprise = -_log2(p[kept == choice.token_id])[0]
        mu = np.float32(state.mu) - np.float32(self.eta) * (surprise - np.float32(self.tau))
        facts = {"mu": state.mu, "surprise_bits": float(surprise)}
        after = MirostatState(float(mu), generator)
        return Choice(choice.token_id, choice.p, left, after, "sampled", choice.draw, choice.cdf, facts)


@dataclass(frozen=True)
class Mirostat(_MirostatBase):
    """Keep the surprise of the text near tau bits: mirostat 1, by a Zipf fit of the best m tokens.

    Args:
        tau: the surprise aimed at, in bits a token, >= 0.
        eta: the learning rate, >= 0.
        seed: None draws from the context's source; a number in [0, 2**32) as llama.cpp does.
        m: how many tokens the exponent is fitted to, >= 2.

    Raises:
        ValueError: a parameter outside its range.

    Source: Basu et al. 2020, arXiv:2007.14966; as in llama.cpp.
    """

    m: int = 100
    name = "mirostat"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("mirostat_m", self.m, 2)

    def select(self, row: Row, context: Context, state: MirostatState | None = None) -> Choice:
        """A draw from the k best, k following from the fit and mu."""
        require_alive(row, context)
        state = state or self.start()
        ids = candidates.best_first_of(row)
        k = self._size(candidates.softmax_of(row.scores[ids]), np.float32(state.mu), len(row))
        return self._choose(row, ids[:k], context, state)

    def _size(self, p: Floats, mu: np.float32, n_vocab: int) -> int:
        n = min(self.m - 1, len(p) - 1)
        ranks = np.arange(1, n + 1, dtype=np.float32)
        one = np.float32(1.0)
        with np.errstate(all="ignore"):  # a fit to one token, or to equal ones, has no exponent
            steps = candidates.logs_of((ranks + one) / ranks)
            falls = candidates.logs_of(p[:n] / p[1 : n + 1])
            slope = candidates.total(steps * falls) / candidates.total(steps * steps)
            excess = slope - one
            share = excess * _power(2.0, mu) / (one - _power(n_vocab, -excess))
            k = _power(share, one / slope)
        # C++ turns what is no int into the least int, and then at least one token stays
        return max(1, int(k)) if abs(k) < 2.0**31 else 1


@dataclass(frozen=True)
class MirostatV2(_MirostatBase):
    """Keep the surprise of the text near tau bits: mirostat 2, by dropping tokens more surprising than mu.

    Args:
        tau: the surprise aimed at, in bits a token, >= 0.
        eta: the learning rate, >= 0.
        seed: None draws from the context's source; a number in [0, 2**32) as llama.cpp does.

    Raises:
        ValueError: a parameter outside its range.

    Source: Basu et al. 2020, arXiv:2007.14966; as in llama.cpp.
    """

    name = "mirostat_v2"

    def select(self, row: Row, context: Context, state: MirostatState | None = None) -> Choice:
        """A draw from the tokens that are not too surprising, of which the best is always one."""
        require_alive(row, context)
        state = state or self.start()
        ids = candidates.best_first_of(row)
        surprising = -_log2(candidates.softmax_of(row.scores[ids])) > np.float32(state.mu)
        n = int(surprising.argmax()) if surprising.any() else len(ids)
        return self._choose(row, ids[: max(1, n)], context, state)


@dataclass(frozen=True, slots=True)
class AdaptiveState:
    """Adaptive-p's memory: a moving average of the probabilities that chosen tokens had.

    Attributes:
        weighted: decaying sum of the probabilities.
        weight: decaying sum of ones.
        generator: its own generator, or None where the context's source is used.
    """

    weighted: float
    weight: float
    generator: Mt19937 | None


@dataclass(frozen=True)
class AdaptiveP:
    """Prefer tokens whose probability is near a target, and steer the average of the chosen ones there.

    Args:
        target: in [0, 1]; negative draws from the row as it is.
        decay: of the moving average, in [0, 0.99].
        seed: None draws from the context's source; a number in [0, 2**32) as llama.cpp does.

    Raises:
        ValueError: a parameter outside its range.

    Source: llama.cpp pull request 17927. Its state after a choice counts the choice: where another token is
    written instead, go on with the state before, as llama.cpp does.
    """

    target: float
    decay: float = 0.9
    seed: int | None = None
    name = "adaptive_p"

    def __post_init__(self) -> None:
        require(self.target <= 1.0, "adaptive_target", "at most 1; below 0 is off", self.target)
        require(0.0 <= self.decay <= 0.99, "adaptive_decay", "in [0, 0.99]", self.decay)

    def start(self) -> AdaptiveState:
        """An average that stands at the target."""
        weight = np.float32(1.0) / (np.float32(1.0) - np.float32(self.decay))
        weighted = np.float32(self.target) / (np.float32(1.0) - np.float32(self.decay))
        return AdaptiveState(
            float(weighted), float(weight), None if self.seed is None else Mt19937(self.seed)
        )

    def select(self, row: Row, context: Context, state: AdaptiveState | None = None) -> Choice:
        """A draw from the transformed row."""
        require_alive(row, context)
        state = state or self.start()
        ids, p = row.candidates, candidates.softmax(row)
        if self.target < 0.0:
            choice, generator = _draw(row, ids, p, context, state.generator)
            after = AdaptiveState(state.weighted, state.weight, generator)
            return Choice(choice.token_id, choice.p, row, after, "sampled", choice.draw, choice.cdf)
        aim = self._aim(state)
        turned = row.with_scores(_near(row, ids, p, aim), same_ranking=False)
        new_p = candidates.softmax_of(turned.scores[ids], is_sorted=candidates.counts_as_sorted(row))
        choice, generator = _draw(turned, ids, new_p, context, state.generator)
        decay, chosen = np.float32(self.decay), p[ids == choice.token_id][0]
        after = AdaptiveState(
            float(chosen + decay * np.float32(state.weighted)),
            float(np.float32(1.0) + decay * np.float32(state.weight)),
            generator,
        )
        facts = {"target": float(aim), "p_before": float(chosen)}
        return Choice(choice.token_id, choice.p, turned, after, "sampled", choice.draw, choice.cdf, facts)

    def _aim(self, state: AdaptiveState) -> np.float32:
        target = np.float32(self.target)
        average = np.float32(state.weighted) / np.float32(state.weight)
        return np.float32(min(max(np.float32(2.0) * target - average, np.float32(0.0)), np.float32(1.0)))


def _near(row: Row, ids: Ids, p: Floats, aim: np.float32) -> Floats:
    """Scores that fall off with the distance of p from the aim: quadratic near it, linear far away."""
    distance = np.abs((p - aim) * (np.float32(1.0) / np.float32(0.3)))
    fall = np.float32(10.0) * distance * distance / (np.float32(1.0) + distance)
    scores = np.full(len(row), MASKED)
    scores[ids] = np.where(row.listed > MASKED, np.float32(5.0) - fall, MASKED)
    return scores


def _draw(
    row: Row, ids: Ids, p: Floats, context: Context, generator: Mt19937 | None
) -> tuple[Choice, Mt19937 | None]:
    """From the context's source in order of id, or as C++'s `discrete_distribution` over p in list order."""
    if generator is None:
        return choose_by_id(row, context.uniform("draw")), None
    if len(ids) < 2:  # the distribution of one outcome draws no number
        return _chosen(row, ids, np.ones(1), 0, None, generator), generator
    shares = p.astype(np.float64)
    ends = np.cumsum(shares / np.cumsum(shares)[-1])
    ends[-1] = 1.0
    u, after = generator.double()
    return _chosen(row, ids, ends, int(np.searchsorted(ends, u, side="left")), u, after), after


def _chosen(row: Row, ids: Ids, ends: Doubles, index: int, u: float | None, state: Any) -> Choice:
    total = float(ends[-1])
    start, end = (float(ends[index - 1]) / total if index else 0.0), float(ends[index]) / total
    return Choice(int(ids[index]), end - start, row, state, "sampled", u, (start, end))


def _log2(p: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        logs: Floats = np.log2(p.astype(np.float64)).astype(np.float32)
    return logs


def _power(base: float | np.float32, exponent: np.float32) -> np.float32:
    return np.float32(np.float64(base) ** np.float64(exponent))
