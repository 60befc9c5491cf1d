"""The law of what `generate` writes, for every sampler: chi-square against a distribution made elsewhere.

The expected distributions come from transformers' warpers, from llama.cpp's samplers or from the formula in
float64; the draws from keywords, through the plan, the loop and the engine. Half of them are of texts written
alone, half of sixteen samples written side by side, and each half has the law. Seeds are fixed; a true law
would fail a test with probability 1e-6 a chi-square, all of them together with less than 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity.llamacpp import Candidates, Sampler
from tests.support import ByteTokenizer
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model

stats = pytest.importorskip("scipy.stats")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
Law = np.ndarray
Given = dict[str, Any]
NAMES: Any = ByteTokenizer()
SIZE = 24
DRAWS = 10_016 if FULL else 1_504  # of each law, in two halves that sixteen divides
REJECT_BELOW = 1e-6
SAMPLES = 16  # side by side
ROW = (np.random.default_rng(3).normal(size=SIZE) * 1.1).astype(np.float32)


def table(rule: Any, size: int = SIZE) -> Model:
    return Model(TableEngine(rule, size, context_length=1 << 20), NAMES)


STEADY = table(lambda ids: ROW)


def softmax(scores: Any) -> Law:
    weights = np.exp(np.asarray(scores, dtype=np.float64) - np.max(scores))
    return np.asarray(weights / weights.sum())


def by_transformers(*classes: Any) -> Law:
    """The law that transformers' warpers leave."""
    scores = torch.tensor(ROW)[None]
    for warper in classes:
        scores = warper(torch.zeros((1, 1), dtype=torch.long), scores)
    return softmax(scores[0].numpy())


def by_llama_cpp(*samplers: Sampler) -> Law:
    """The law that llama.cpp's samplers leave; the last may be one that also draws."""
    left = Candidates(ROW)
    for sampler in samplers:
        sampler(left)
    law = np.zeros(SIZE)
    law[left.entries["id"]] = softmax(left.entries["logit"])
    return law


def xtc(chance: float, threshold: float) -> Law:
    """Its two outcomes, mixed."""
    fires = by_llama_cpp(Sampler("xtc", 1.0, threshold, 0, 0))
    return chance * fires + (1 - chance) * softmax(ROW)


def vllm(temperature: float, min_p: float, top_k: int, top_p: float) -> Law:
    """min-p, then top-k, then top-p, on probabilities in float64."""
    p = softmax(ROW / temperature)
    p[p < min_p * p.max()] = 0.0
    p[np.argsort(-p)[top_k:]] = 0.0
    order = np.argsort(-p / p.sum())
    better = np.cumsum(p[order] / p.sum()) - p[order] / p.sum()
    p[order[better >= top_p]] = 0.0
    return np.asarray(p / p.sum())


def default_chain() -> Law:
    samplers = [
        Sampler("top_k", 40),
        Sampler("top_p", 0.95, 0),
        Sampler("min_p", 0.05, 0),
        Sampler("temp", 0.8),
    ]
    return by_llama_cpp(*samplers)


HF = transformers.generation.logits_process
PLAIN: Given = {"do_sample": True, "top_k": 0}
LAWS: dict[str, tuple[Given, Callable[[], Law]]] = {
    "plain": ({}, lambda: softmax(ROW)),
    "temperature": ({"temperature": 0.6}, lambda: by_transformers(HF.TemperatureLogitsWarper(0.6))),
    "hot": ({"temperature": 2.5}, lambda: by_transformers(HF.TemperatureLogitsWarper(2.5))),
    "top_k": ({"top_k": 6}, lambda: by_transformers(HF.TopKLogitsWarper(6))),
    "top_p": ({"top_p": 0.8}, lambda: by_transformers(HF.TopPLogitsWarper(0.8))),
    "min_p": ({"min_p": 0.08}, lambda: by_transformers(HF.MinPLogitsWarper(0.08))),
    "typical_p": ({"typical_p": 0.6}, lambda: by_transformers(HF.TypicalLogitsWarper(0.6))),
    "epsilon": ({"epsilon_cutoff": 0.03}, lambda: by_transformers(HF.EpsilonLogitsWarper(0.03))),
    "eta": ({"eta_cutoff": 0.1}, lambda: by_transformers(HF.EtaLogitsWarper(0.1))),
    "top_h": ({"top_h": 0.5}, lambda: by_transformers(HF.TopHLogitsWarper(0.5))),
    "all of transformers'": (
        {"temperature": 1.4, "top_k": 15, "top_p": 0.9, "min_p": 0.05, "typical_p": 0.95},
        lambda: by_transformers(
            HF.TemperatureLogitsWarper(1.4),
            HF.TopKLogitsWarper(15),
            HF.TopPLogitsWarper(0.9),
            HF.MinPLogitsWarper(0.05),
            HF.TypicalLogitsWarper(0.95),
        ),
    ),
    "top_n_sigma": ({"top_n_sigma": 1.2}, lambda: by_llama_cpp(Sampler("top_n_sigma", 1.2))),
    "xtc": ({"xtc_probability": 0.5, "xtc_threshold": 0.03}, lambda: xtc(0.5, 0.03)),
    "dynamic temperature": (
        {"dynatemp_range": 0.7, "dynatemp_exponent": 1.5},
        lambda: by_llama_cpp(Sampler("temp_ext", 1.0, 0.7, 1.5)),
    ),
    "preset llama.cpp": ({"preset": "llama.cpp"}, default_chain),
    "preset llama.cpp, its numbers": ({"preset": "llama.cpp", "rng": "llama.cpp"}, default_chain),
    "preset vllm": ({"preset": "vllm"}, lambda: softmax(ROW)),
    "preset vllm, truncated": (
        {"preset": "vllm", "temperature": 1.3, "min_p": 0.1, "top_k": 9, "top_p": 0.85},
        lambda: vllm(1.3, 0.1, 9, 0.85),
    ),
    "torch's numbers": ({"rng": "torch"}, lambda: softmax(ROW)),
}
# their rows change with what was drawn: only the first token of a text has a law of one line
FIRST: dict[str, tuple[Given, Callable[[], Law]]] = {
    "mirostat 1": (
        {"mirostat": 1, "mirostat_tau": 1.5},
        lambda: by_llama_cpp(Sampler("mirostat", SIZE, 0, 1.5, 0.1, 100)),
    ),
    "mirostat 2": (
        {"mirostat": 2, "mirostat_tau": 1.5},
        lambda: by_llama_cpp(Sampler("mirostat_v2", 0, 1.5, 0.1)),
    ),
    "mirostat 2 of llama.cpp": (
        {"preset": "llama.cpp", "mirostat": 2, "mirostat_tau": 2.0},
        lambda: by_llama_cpp(Sampler("temp", 0.8), Sampler("mirostat_v2", 0, 2.0, 0.1)),
    ),
    "adaptive_p": (
        {"adaptive_target": 0.1},
        lambda: by_llama_cpp(Sampler("adaptive_p", 0.1, 0.9, 0)),
    ),
}


def keywords(given: Given) -> Given:
    return given if "preset" in given else {**PLAIN, **given}


def assert_laws(alone: Any, together: Any, law: Law) -> None:
    """Of each half, and of all."""
    alone, together = list(alone), list(together)
    assert len(alone) + len(together) == DRAWS
    for ids in (alone, together, alone + together):
        assert_law(ids, law)


def assert_law(ids: list[int], law: Law) -> None:
    """Chi-square over the tokens, those expected fewer than five times taken together."""
    counts = np.bincount(np.asarray(ids), minlength=len(law))
    assert counts[law < 1e-12].sum() == 0  # what is cut off is never drawn
    often = law * len(ids) >= 5
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(law[often], law[~often].sum()) * len(ids)
    kept = expected > 1e-9
    assert kept.sum() > 1  # there is something to get wrong
    assert stats.chisquare(observed[kept], expected[kept]).pvalue > REJECT_BELOW


@pytest.mark.parametrize("name", LAWS)
def test_texts_follow_the_law(name: str) -> None:
    """Token after token of one text, and of sixteen texts in one call."""
    given, law = LAWS[name]
    alone = STEADY.generate([0], seed=101, max_new_tokens=DRAWS // 2, **keywords(given))
    more: Given = {"num_return_sequences": SAMPLES, "max_new_tokens": DRAWS // 2 // SAMPLES}
    together = STEADY.generate([0], seed=202, **more, **keywords(given))
    assert len({s.ids for s in together.sequences}) == SAMPLES
    assert_laws(alone.ids, [i for s in together.sequences for i in s.ids], law())


@pytest.mark.parametrize("name", FIRST)
def test_first_tokens_follow_the_law(name: str) -> None:
    """Over seeds, one text each, and over samples of sixteen to a seed."""
    given, law = FIRST[name]
    one = {"max_new_tokens": 1, **keywords(given)}
    alone = [STEADY.generate([0], seed=seed, **one).ids[0] for seed in range(DRAWS // 2)]
    rounds = range(DRAWS, DRAWS + DRAWS // 2 // SAMPLES)
    together = [STEADY.generate([0], seed=seed, num_return_sequences=SAMPLES, **one) for seed in rounds]
    assert_laws(alone, [s.ids[0] for out in together for s in out.sequences], law())


MARKOV = (np.random.default_rng(4).normal(size=(6, 6)) * 0.7).astype(np.float32)
OTHER = (MARKOV + np.random.default_rng(5).normal(size=(6, 6)) * 0.8).astype(np.float32)
DRAFTS: dict[str, tuple[Given, float]] = {
    "drafts of another model": ({"assistant_model": table(lambda ids: OTHER[ids[-1]], 6)}, 1.0),
    "long drafts": (
        {
            "assistant_model": table(lambda ids: OTHER[ids[-1]], 6),
            "num_assistant_tokens": 7,
            "assistant_confidence_threshold": 0.0,
        },
        1.0,
    ),
    "drafts and a chain": (
        {"assistant_model": table(lambda ids: OTHER[ids[-1]], 6), "temperature": 0.7},
        0.7,
    ),
    "drafts copied from the text": ({"prompt_lookup_num_tokens": 4}, 1.0),
    "copied drafts and a chain": ({"prompt_lookup_num_tokens": 4, "temperature": 1.6}, 1.6),
    "no drafts": ({}, 1.0),
}


@pytest.mark.parametrize("name", DRAFTS)
def test_drafts_do_not_change_the_models_law(name: str) -> None:
    """Transitions of a six-state chain: chi-square over all of them, given where each started.

    What is accepted, what is rejected and drawn anew, and the token after a round all must fit together.
    """
    given, temperature = DRAFTS[name]
    m = table(lambda ids: MARKOV[ids[-1]], 6)
    out = m.generate([0], seed=404, max_new_tokens=DRAWS, **PLAIN, **given)
    if given:
        verdicts = [d.verdict for step in out.search for d in step.drafts]
        assert min(verdicts.count("accepted"), verdicts.count("rejected")) > DRAWS / 20
    ids, seen = [0, *out.ids], np.zeros((6, 6))
    np.add.at(seen, (ids[:-1], ids[1:]), 1)
    law = np.array([softmax(row / temperature) for row in MARKOV])
    expected = seen.sum(axis=1, keepdims=True) * law
    assert expected.min() > 1
    statistic = float(((seen - expected) ** 2 / expected).sum())
    assert stats.chi2.sf(statistic, 6 * 5) > REJECT_BELOW


def test_dola_sampling_follows_the_contrast() -> None:
    """The last layer's ln p minus layer 1's through the same head, of what is within 0.1 of the best."""
    from tests.parity.goldens.shared import Ids, pair

    class Named(Ids):
        def decode(self, ids: Any, **_: Any) -> str:
            return str(ids)

    engine, theirs = pair("gpt2")
    prompt = [3, 14, 15, 92]
    with torch.no_grad():
        out = theirs(torch.tensor([prompt]), output_hidden_states=True)
        early = theirs.lm_head(out.hidden_states[1][0, -1]).double()
    final = torch.log_softmax(out.logits[0, -1].double(), dim=-1)
    contrast = final - torch.log_softmax(early, dim=-1)
    law = softmax(np.where(final.exp() >= 0.1 * final.exp().max(), contrast, -np.inf))
    m = Model(engine, Named())  # type: ignore[arg-type]
    given: Given = {
        "do_sample": True,
        "top_k": 0,
        "max_new_tokens": 1,
        "dola_layers": [1],
        "eos_token_id": None,
    }
    ids = [m.generate(prompt, seed=seed, **given).ids[0] for seed in range(DRAWS)]
    assert_law(ids, law)
