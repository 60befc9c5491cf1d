"""Beam sampling with torch's own draws: the texts of `torch.manual_seed(s)` and transformers' `generate`."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity import families
from tests.parity.goldens.shared import MODELS, SCORE, Ids, chain, film, likely, pair, until_eos
from tokenglass import stages
from tokenglass.random import Philox
from tokenglass.search import BeamOptions, Limits, beam_search

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
COUNT = 60 if FULL else 8  # for each of five families
PAD = families.VOCAB - 1


def configuration(rng: np.random.Generator, theirs: Any) -> tuple[list[int], dict[str, Any]]:
    prompt = rng.integers(3, PAD, int(rng.integers(2, 9))).tolist()
    beams = int(rng.integers(2, 6))
    eos = rng.choice(likely(theirs, prompt, 12), int(rng.choice([1, 1, 2])), replace=False).tolist()
    kept: dict[str, Any] = {
        "num_beams": beams,
        "num_return_sequences": int(rng.integers(1, beams + 1)),
        "length_penalty": float(rng.choice([-1.0, 0.0, 1.0])),
        "early_stopping": [False, True, "never"][rng.integers(3)],
        "max_new_tokens": int(rng.integers(1, 12)),
        "eos_token_id": eos,
    }
    if rng.random() < 0.4:
        kept["repetition_penalty"] = 1.3
    # all 211 tokens, few of them, or a flatter distribution
    kept |= [{"top_k": 0}, {"top_k": 30, "top_p": 0.95}, {"top_k": 0, "temperature": 1.7}][rng.integers(3)]
    return prompt, kept


def drawing_stages(kept: dict[str, Any]) -> list[stages.Stage]:
    """Transformers' order: penalties, temperature, top-k, top-p; the cuts keep one more than the eos ids."""
    least = len(kept["eos_token_id"]) + 1
    made = chain(kept)
    made += [stages.Temperature(kept["temperature"])] if "temperature" in kept else []
    made += [stages.TopK(kept["top_k"], min_keep=least)] if kept["top_k"] else []
    return made + ([stages.TopP(kept["top_p"], min_keep=least)] if "top_p" in kept else [])


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_draws_the_same_beams(name: str) -> None:
    ours, theirs = pair(name)
    rng = np.random.default_rng(sum(name.encode()) + 3)
    other = 0
    for seed in range(COUNT):
        prompt, kept = configuration(rng, theirs)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            out = theirs.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
                do_sample=True,
                pad_token_id=PAD,
                output_scores=True,
                return_dict_in_generate=True,
                **kept,
            )
        rows = [until_eos(row[len(prompt) :], kept["eos_token_id"]) for row in out.sequences.tolist()]
        real = [(r, s) for r, s in zip(rows, out.sequences_scores.tolist(), strict=True) if s > -1e5]
        fields = {n: kept[n] for n in BeamOptions.__dataclass_fields__ if n in kept}
        options = BeamOptions(**fields, do_sample=True)
        limits = Limits(max_new_tokens=kept["max_new_tokens"], eos_ids=tuple(kept["eos_token_id"]))
        run = beam_search(ours, Ids(), prompt, options, drawing_stages(kept), limits=limits, torch_seed=seed)
        _, got = film(run)
        if [list(s.ids) for s in got] != [row for row, _ in real]:
            other += 1
            continue
        for sequence, (_, score) in zip(got, real, strict=True):
            assert sequence.score == pytest.approx(score, abs=SCORE * max(1.0, abs(score)))
    # a race of some hundred quotients may be so close that the rounding of two honest sums decides it
    assert other <= COUNT // 20


def test_our_own_draws_have_the_law_of_torchs() -> None:
    """Both draw from one distribution: the first tokens agree by a chi-square of two samples."""
    from scipy.stats import chi2_contingency

    ours, _ = pair("gpt2")
    options, limits = BeamOptions(num_beams=2, do_sample=True), Limits(max_new_tokens=1)
    chains = [stages.TopK(12)]
    counts: list[Counter[int]] = [Counter(), Counter()]
    for seed in range(1500 if FULL else 400):
        for counter, luck in zip(counts, ({"source": Philox(seed)}, {"torch_seed": seed}), strict=True):
            (step, *_), _ = film(beam_search(ours, Ids(), [5, 9], options, chains, limits=limits, **luck))
            counter[step.candidates[0].token_id] += 1
    tokens = sorted(counts[0].keys() | counts[1].keys())
    often = [t for t in tokens if counts[0][t] + counts[1][t] >= 10]
    table = [[c[t] for t in often] + [sum(c.values()) - sum(c[t] for t in often)] for c in counts]
    table = [[row[i] for i in range(len(row)) if table[0][i] + table[1][i]] for row in table]
    assert chi2_contingency(table).pvalue > 1e-3


def test_a_sampling_beam_search_needs_numbers() -> None:
    ours, _ = pair("gpt2")
    with pytest.raises(ValueError, match="source must be given where do_sample=True, got None"):
        next(beam_search(ours, Ids(), [5], BeamOptions(do_sample=True), limits=Limits()))
