"""The chain alone: ten stages with their records and the draw, at 49,152 tokens, against the peers' chains.

Each step gets a fresh row of SmolLM2's and the 200 tokens before it. The peers run the same stages on the
same rows and keep no records.

    python benchmarks/chain.py
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from compare import report, seconds
from peers import PROMPTS

import tokenglass as tg
from tokenglass import stages as s
from tokenglass.engines.base import Prefix
from tokenglass.random import Philox
from tokenglass.select import Draw, LlamaDraw, Selector

sys.path.insert(0, str(Path(__file__).parents[1]))  # llama.cpp's samplers stand with the tests

STEPS, HISTORY, EOS = 40, 200, (0,)
Rows = Sequence[tuple[np.ndarray, tuple[int, ...]]]

BIASES = (((260,), -1.0), ((281,), 0.5), ((253, 1270), 2.0))
BAD_WORDS = ((905,), (457, 732), (1041, 28, 253))
BEGINNING: tuple[s.Stage, ...] = (
    s.SequenceBias(BIASES),
    s.RepetitionPenalty(1.2),
    s.NoRepeatNgram(3),
    s.BadWords(BAD_WORDS),
    s.MinNewTokens(HISTORY),
    s.Temperature(0.8),
)
TRANSFORMERS = {
    "with top-k": (*BEGINNING, s.TopK(50), s.TopP(0.9), s.MinP(0.05), s.TypicalP(0.95)),
    "wide": (*BEGINNING, s.TopP(0.9), s.MinP(0.05), s.TypicalP(0.95), s.EpsilonCutoff(3e-4)),
    "wide and hot": (
        *(*BEGINNING[:-1], s.Temperature(2.0)),
        *(s.TopP(0.99), s.TypicalP(0.99), s.MinP(1e-4), s.EpsilonCutoff(1e-6)),
    ),
}
BREAKERS = ((198,), (42,), (18,), (26,))
LLAMA_BEGINNING: tuple[s.Stage, ...] = (
    s.LogitBias(((260, -1.0), (281, 0.5), (905, -np.inf))),
    s.Penalties(1.1, 0.1, 0.1),
    s.Dry(0.8, breakers=BREAKERS, last_n=HISTORY),
    s.TopNSigma(3.0),
)
LLAMA_END: tuple[s.Stage, ...] = (
    s.TypicalP(0.95, tie="candidate_order"),
    s.TopP(0.9, compare="head"),
    s.MinP(0.05, compare="logits"),
    s.Xtc(0.5, 0.1, seed=0),
    s.Temperature(0.8),
)
LLAMA = {
    "with top-k": (*LLAMA_BEGINNING, s.TopK(40, tie="candidate_order"), *LLAMA_END),
    "wide": (*LLAMA_BEGINNING, *LLAMA_END, s.DynamicTemperature(0.9, 0.2)),
}


def rows(model: tg.Model) -> Rows:
    """(logits, the HISTORY ids before) at the last STEPS places of a text drawn from the model."""
    prefix = Prefix(model.prompt_ids(PROMPTS[0]))
    found: list[tuple[np.ndarray, tuple[int, ...]]] = []
    while len(found) < STEPS:
        forward = model.engine.forward([prefix])
        logits = forward.logits[0, 0].copy()
        if len(prefix.ids) >= HISTORY:
            found.append((logits, prefix.ids[-HISTORY:]))
        drawn = Draw().select(s.Row.of(logits), s.Context(prefix.ids, source=Philox(seed=1)))
        prefix = prefix.extended(drawn.token_id, forward.nodes[0])
    return found


def ours(
    chain: Sequence[s.Stage], found: Rows, draw: Selector, *, record: bool, listed: bool
) -> Callable[[int], float]:
    """Median seconds of a step."""

    def step(logits: np.ndarray, ids: tuple[int, ...], states: Any) -> Any:
        context = s.Context(ids[:20], ids[20:], eos_ids=EOS, source=Philox(seed=1))
        row = s.Row.of(logits, candidates=listed)
        ledger = s.run(chain, row, context, states, record=record)
        return ledger, draw.select(ledger.row, context)

    ledger, _ = step(*found[0], None)
    return lambda _: statistics.median(seconds(lambda r=r: step(*r, ledger.states)) for r in found)


def transformers_chain(chain: Sequence[s.Stage], found: Rows, threads: int) -> Callable[[int], float]:
    """The same stages as transformers' processors, softmax and multinomial; median seconds of a step."""
    import torch
    from transformers.generation import logits_process as t

    bad = [list(ids) for ids in BAD_WORDS]
    makers: dict[str, Callable[[Any], Any]] = {
        "sequence_bias": lambda _: t.SequenceBiasLogitsProcessor([[list(ids), b] for ids, b in BIASES]),
        "repetition_penalty": lambda x: t.RepetitionPenaltyLogitsProcessor(x.penalty),
        "no_repeat_ngram_size": lambda x: t.NoRepeatNGramLogitsProcessor(x.n),
        "bad_words_ids": lambda _: t.NoBadWordsLogitsProcessor(bad, eos_token_id=list(EOS)),
        "min_new_tokens": lambda x: t.MinNewTokensLengthLogitsProcessor(20, x.n, list(EOS)),
        "temperature": lambda x: t.TemperatureLogitsWarper(x.t),
        "top_k": lambda x: t.TopKLogitsWarper(x.k),
        "top_p": lambda x: t.TopPLogitsWarper(x.p),
        "min_p": lambda x: t.MinPLogitsWarper(x.p),
        "typical_p": lambda x: t.TypicalLogitsWarper(x.p),
        "epsilon_cutoff": lambda x: t.EpsilonLogitsWarper(x.epsilon),
    }
    processors = t.LogitsProcessorList([makers[stage.name](stage) for stage in chain])

    def step(logits: np.ndarray, ids: tuple[int, ...]) -> None:
        scores = processors(torch.tensor([ids]), torch.from_numpy(logits)[None])
        torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1)

    def run(_: int) -> float:
        usual = torch.get_num_threads()
        torch.set_num_threads(threads or usual)
        with torch.inference_mode():
            elapsed = statistics.median(seconds(lambda r=r: step(*r)) for r in found)
        torch.set_num_threads(usual)
        return elapsed

    return run


def llama_chain(chain: Sequence[s.Stage], found: Rows) -> Callable[[int], float]:
    """The same stages as llama.cpp's samplers and its draw; median seconds of a step."""
    from tests.parity.llamacpp import Candidates, Sampler

    size = len(found[0][0])
    makers: dict[str, Callable[[Any], Any]] = {
        "logit_bias": lambda x: Sampler.logit_bias(size, dict(x.biases)),
        "penalties": lambda x: Sampler("penalties", size, 64, x.repeat, x.frequency, x.presence),
        "dry": lambda x: Sampler.dry(x.multiplier, x.base, x.allowed_length, HISTORY, BREAKERS),
        "top_n_sigma": lambda x: Sampler("top_n_sigma", x.n),
        "top_k": lambda x: Sampler("top_k", x.k),
        "typical_p": lambda x: Sampler("typical", x.p, 1),
        "top_p": lambda x: Sampler("top_p", x.p, 1),
        "min_p": lambda x: Sampler("min_p", x.p, 1),
        "xtc": lambda x: Sampler("xtc", x.probability, x.threshold, 0, x.seed),
        "temperature": lambda x: Sampler("temp", x.t),
        "dynamic_temperature": lambda x: Sampler("temp_ext", x.t, x.delta, x.exponent),
    }
    samplers = [*(makers[stage.name](stage) for stage in chain), Sampler("dist", 1)]
    reading = [x for x, stage in zip(samplers, chain, strict=False) if stage.name in ("penalties", "dry")]

    def step(logits: np.ndarray) -> None:
        candidates = Candidates(logits)
        for sampler in samplers:
            sampler(candidates)

    def timed(logits: np.ndarray, ids: tuple[int, ...]) -> float:
        for sampler in reading:
            sampler.reset().accept(ids)
        return seconds(lambda: step(logits))

    return lambda _: statistics.median(timed(*r) for r in found)


def main() -> None:
    found = rows(tg.load("smollm2"))
    for title, chain in TRANSFORMERS.items():
        assert len(chain) == 10
        report(
            f"transformers' order, {title}: one step, records and draw (must 2 ms)",
            {
                "tokenglass": ours(chain, found, Draw(), record=True, listed=False),
                "transformers, default threads": transformers_chain(chain, found, 0),
                "transformers, one thread": transformers_chain(chain, found, 1),
                "tokenglass, no records": ours(chain, found, Draw(), record=False, listed=False),
            },
            must=None,
            target=None,
        )
    for title, chain in LLAMA.items():
        assert len(chain) == 10
        report(
            f"llama.cpp's order, {title}: one step, records and draw (must 2 ms)",
            {
                "tokenglass": ours(chain, found, LlamaDraw(1), record=True, listed=True),
                "llama.cpp": llama_chain(chain, found),
                "tokenglass, no records": ours(chain, found, LlamaDraw(1), record=False, listed=True),
            },
            must=None,
            target=None,
        )


if __name__ == "__main__":
    main()
