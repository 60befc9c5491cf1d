"""Truncation stages against transformers' own classes, on random and adversarial rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.parity.stage_rows import Scores, rows, same
from tokenglass.stages import EpsilonCutoff, EtaCutoff, MinP, TopH, TopK, TopP, TypicalP

torch = pytest.importorskip("torch")
process = pytest.importorskip("transformers.generation.logits_process")

# Two float32 programs may put a token that stands exactly at a threshold on different sides. A row counts as
# marginal when one side gives the other's answer for a parameter this much larger or smaller, relatively.
ROUNDING = 2e-6
Make = Callable[[float], Any]


def reference(processor: Any, scores: Scores) -> Scores:
    result: Scores = processor(torch.zeros((1, 1), dtype=torch.long), torch.from_numpy(scores.copy())[None])
    return np.asarray(result[0])


def agrees(ours: Make, theirs: Make, parameter: float, scores: Scores) -> str:
    """Says "equal", "marginal" (see ROUNDING) or "different"."""
    mine, other = ours(parameter)(scores), reference(theirs(parameter), scores)
    if same(mine, other):
        return "equal"
    for nudged in (parameter * (1 - ROUNDING), min(1.0, parameter * (1 + ROUNDING))):
        if same(mine, reference(theirs(nudged), scores)) or same(ours(nudged)(scores), other):
            return "marginal"
    return "different"


CASES: dict[str, tuple[Callable[[float, int], Any], Callable[[float, int], Any], list[float]]] = {
    "top_p": (
        TopP,
        lambda p, n: process.TopPLogitsWarper(p, min_tokens_to_keep=n),
        [0.0, 0.1, 0.5, 0.9, 0.95, 0.999, 1.0],
    ),
    "min_p": (MinP, lambda p, n: process.MinPLogitsWarper(p, min_tokens_to_keep=n), [0.0, 0.05, 0.1, 1.0]),
    "typical_p": (
        TypicalP,
        lambda p, n: process.TypicalLogitsWarper(p, min_tokens_to_keep=n),
        [0.1, 0.2, 0.5, 0.9, 0.95],
    ),
    "epsilon_cutoff": (
        EpsilonCutoff,
        lambda p, n: process.EpsilonLogitsWarper(p, min_tokens_to_keep=n),
        [3e-4, 9e-4, 0.1, 0.3],
    ),
    "eta_cutoff": (
        EtaCutoff,
        lambda p, n: process.EtaLogitsWarper(p, min_tokens_to_keep=n),
        [3e-4, 2e-3, 0.1, 0.3],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_stage_keeps_the_same_probabilities_as_transformers(name: str) -> None:
    """At most one row in a hundred stands so near a threshold that rounding decides."""
    ours, theirs, usual = CASES[name]
    rng = np.random.default_rng(1)
    verdicts = []
    for scores in rows(seed=11):
        parameter = float(rng.choice(usual) if rng.random() < 0.6 else rng.uniform(1e-3, 0.999))
        min_keep = int(rng.choice([1, 1, 2, 3]))
        make = [lambda p, n=min_keep, stage=stage: stage(p, n) for stage in (ours, theirs)]
        verdicts.append(agrees(*make, parameter, scores))
    assert "different" not in verdicts
    assert verdicts.count("marginal") <= 0.01 * len(verdicts)


def test_top_h_equals_transformers_up_to_the_rounding_of_its_entropy() -> None:
    """Both keep a count that exact arithmetic allows for a threshold 2e-6 off, mostly the same.

    float32 gives ln p near p = 1 an error of 6e-8 and the sums another; at h = 1, where a sum is compared
    with itself in another order, and on uniform rows that error decides.
    """
    rng = np.random.default_rng(4)
    equal = []
    for scores in rows(seed=14):
        h = float(rng.choice([0.1, 0.4, 0.6, 1.0]) if rng.random() < 0.4 else rng.uniform(1e-3, 1.0))
        ours, theirs = TopH(h)(scores), reference(process.TopHLogitsWarper(h), scores)
        p = np.sort(np.exp(scores.astype(np.float64) - scores.max()))[::-1][:100]
        p = p[p > 0] / p.sum()
        share = np.cumsum(-p * np.log(p))
        slack = 2e-6 * (1.0 + share[-1])
        least = max(1, np.count_nonzero(share <= h * share[-1] - slack))
        most = max(1, np.count_nonzero(share <= h * share[-1] + slack))
        for kept in (ours, theirs):
            n = np.count_nonzero(np.exp(kept - kept.max()))
            assert least <= n <= most
            assert np.array_equal(np.sort(kept)[::-1][:n], np.sort(scores)[::-1][:n])
        equal.append(same(ours, theirs))
    assert np.mean(equal) > 0.85


def test_top_k_keeps_the_same_ids_as_transformers() -> None:
    """Ties of the k-th are all kept, so even the ids are defined."""
    rng = np.random.default_rng(2)
    for scores in rows(seed=12):
        k, min_keep = int(rng.choice([1, 2, 5, 50, 5000])), int(rng.choice([1, 1, 3]))
        theirs = reference(process.TopKLogitsWarper(k, min_tokens_to_keep=min_keep), scores)
        assert np.array_equal(TopK(k, min_keep)(scores), theirs)


def long_rows(scale: float) -> list[Scores]:
    """Flat rows of 49,152 tokens with a plateau of equal ones: what is kept goes far beyond a sorted head."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(3):
        scores = (rng.normal(size=49_152) * scale).astype(np.float32)
        scores[rng.integers(0, 49_152, 5000)] = np.float32(0.25)
        found.append(scores)
    return found


@pytest.mark.parametrize("scale", [0.3, 2.0])
@pytest.mark.parametrize("p", [0.3, 0.9, 0.99])
def test_top_p_of_a_whole_vocabulary_equals_transformers(scale: float, p: float) -> None:
    """The bisection for a long nucleus stops at the same token."""
    for scores in long_rows(scale):
        assert agrees(TopP, process.TopPLogitsWarper, p, scores) != "different"


@pytest.mark.parametrize("scale", [0.3, 2.0])
@pytest.mark.parametrize("p", [0.3, 0.9, 0.99])
def test_typical_p_of_a_whole_vocabulary_equals_transformers(scale: float, p: float) -> None:
    """Over 49,152 tokens torch's float32 sums are off by up to 4e-5, which moves a few tokens."""
    for scores in long_rows(scale):
        ours = TypicalP(p)(scores)
        theirs = reference(process.TypicalLogitsWarper(p), scores)
        logprobs = scores - np.log(np.exp(scores.astype(np.float64)).sum())
        distance = np.abs(logprobs - (np.exp(logprobs) * logprobs).sum())
        threshold = distance[np.isfinite(ours)].max()
        differ = np.isfinite(ours) != np.isfinite(theirs)
        assert np.abs(distance[differ] - threshold).max(initial=0.0) < 1e-3
        assert np.count_nonzero(differ) <= 0.001 * np.count_nonzero(np.isfinite(ours)) + 3
