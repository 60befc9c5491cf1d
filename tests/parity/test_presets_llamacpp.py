"""The preset "llama.cpp" against a chain of its own samplers, strung as `common_sampler_init` strings them.

Ours is built from keywords, by the configuration and the plan; theirs from the same numbers by hand. The
candidates must stand in the same order, with probabilities equal to 2e-6 (float32 in llama.cpp; a dynamic
temperature's powf and the sums of softmax may differ in the last places), and every seeded draw must be the
same token, the generators going on from draw to draw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity.llamacpp import Candidates, Sampler
from tests.support import EOS, ByteTokenizer, model
from tokenglass.chain import Plan, plan
from tokenglass.config import resolve
from tokenglass.errors import NoTokenAllowed
from tokenglass.stages import Context, Row, run
from tokenglass.types import Token

Rng = np.random.Generator
Given = dict[str, Any]
SIZE = 1500
STEPS = 2000 if FULL else 160  # for each kind of configuration
SWITCH = 20  # draws with one configuration, before the next is made
P_ERROR = SIZE * 2.0**-24  # llama.cpp divides by a float32 running sum over the candidates
# common_params_sampling's own, but for the grammar
DEFAULTS: Given = {
    "temperature": 0.8,
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "top_n_sigma": -1.0,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
    "typical_p": 1.0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "adaptive_target": -1.0,
    "adaptive_decay": 0.9,
    "repeat_last_n": 64,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": 64,
    "dry_sequence_breakers": ("\n", ":", '"', "*"),
    "logit_bias": {},
    "ignore_eos": False,
}
ORDER = "penalties dry top_n_sigma top_k typical_p top_p min_p xtc temperature".split()


class Words(ByteTokenizer):
    """Bytes, the end of text, and words without punctuation: a breaker stands for its own bytes alone."""

    def __len__(self) -> int:
        return SIZE

    def token(self, token_id: int) -> Token:
        return Token(token_id, b"w%d" % token_id) if token_id > EOS else super().token(token_id)


NAMES: Any = Words()


def some(rng: Rng, *values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def truncation(rng: Rng) -> Given:
    return {
        "top_k": some(rng, 0, 1, 7, 40, 300),
        "top_p": some(rng, 0.0, 0.5, 0.9, 1.0),
        "min_p": some(rng, 0.0, 0.01, 0.2),
        "temperature": some(rng, 0.3, 0.8, 1.0, 1.7),
    }


def penalties(rng: Rng) -> Given:
    return {
        "repetition_penalty": some(rng, 0.9, 1.0, 1.1, 1.5),
        "frequency_penalty": some(rng, -0.5, 0.0, 0.3),
        "presence_penalty": some(rng, 0.0, 0.7),
        "repeat_last_n": some(rng, 0, 1, 5, 64, 200),
    }


def dry(rng: Rng) -> Given:
    return {
        "dry_multiplier": some(rng, 0.8, 2.0),
        "dry_base": some(rng, 1.0, 1.3, 1.75),
        "dry_allowed_length": some(rng, 0, 1, 2),
        "dry_penalty_last_n": some(rng, 0, 9, 64),
        "dry_sequence_breakers": some(rng, (), ("\n",), ("\n", ":", '"', "*"), (":\n", "*")),
    }


def biases(rng: Rng) -> Given:
    ids = rng.integers(0, 40, 5)
    values = [float(np.float32(rng.normal() * 4)) for _ in ids[1:]]
    bias = dict(zip(ids[1:].tolist(), values, strict=True)) | {int(ids[0]): -np.inf}
    return {"logit_bias": bias, "ignore_eos": some(rng, True, False)}


def everything(rng: Rng) -> Given:
    more = {"top_n_sigma": some(rng, 2.0, 4.0), "dynatemp_range": some(rng, 0.0, 0.4)}
    chance = {"xtc_probability": 0.5, "xtc_threshold": some(rng, 0.0, 0.05, 0.3)}
    return truncation(rng) | penalties(rng) | dry(rng) | biases(rng) | more | chance


KINDS: dict[str, Callable[[Rng], Given]] = {
    "defaults": lambda r: {},
    "truncation": truncation,
    # a masked candidate is NaN to llama.cpp's typical sampler: nothing is masked here
    "typical": lambda r: truncation(r) | {"typical_p": some(r, 0.3, 0.8, 0.95), "top_k": some(r, 5, 40, 200)},
    "top_n_sigma": lambda r: truncation(r) | {"top_n_sigma": some(r, 0.5, 1.0, 3.0)},
    "temperature 0": lambda r: truncation(r) | penalties(r) | {"temperature": 0.0},
    "dynamic temperature": lambda r: {
        **truncation(r),
        "dynatemp_range": some(r, 0.2, 0.5, 3.0),
        "dynatemp_exponent": some(r, 0.5, 1.0, 2.0),
    },
    "penalties": penalties,
    "dry": dry,
    "biases": biases,
    "xtc": lambda r: {"xtc_probability": some(r, 0.3, 1.0), "xtc_threshold": some(r, 0.02, 0.1, 0.6)},
    "everything": everything,
    "another order": lambda r: everything(r) | {"shuffled": True},
    # with mirostat nothing but biases and the temperature acts, whatever else is given
    "mirostat 1": lambda r: {
        **(everything(r) if r.random() < 0.5 else biases(r) | {"temperature": some(r, 0.7, 1.0)}),
        "dynatemp_range": 0.0,
        "mirostat": 1,
        "mirostat_tau": some(r, 1.0, 3.0, 6.0),
        "mirostat_eta": some(r, 0.0, 0.1, 0.5),
    },
    "mirostat 2": lambda r: {
        **(everything(r) if r.random() < 0.5 else biases(r) | {"temperature": some(r, 0.7, 1.0)}),
        "dynatemp_range": 0.0,
        "mirostat": 2,
        "mirostat_tau": some(r, 1.0, 3.0, 6.0),
        "mirostat_eta": some(r, 0.0, 0.1, 0.5),
    },
    "adaptive_p": lambda r: {
        **truncation(r),
        "adaptive_target": some(r, 0.05, 0.3, 0.8),
        "adaptive_decay": some(r, 0.0, 0.5, 0.9),
    },
}


def samplers(given: Given, seed: int, order: list[str]) -> list[Sampler]:
    """llama.cpp's own, in the order that `common_sampler_init` gives them."""
    v = DEFAULTS | given
    bias = dict(v["logit_bias"]) | ({EOS: -np.inf} if v["ignore_eos"] else {})
    first = [Sampler.logit_bias(SIZE, bias)] if bias else []
    if v["mirostat"]:
        tau, eta = v["mirostat_tau"], v["mirostat_eta"]
        one = v["mirostat"] == 1
        own = (
            Sampler("mirostat", SIZE, seed, tau, eta, 100) if one else Sampler("mirostat_v2", seed, tau, eta)
        )
        return [*first, Sampler("temp", v["temperature"]), own]
    last_n, breakers = v["dry_penalty_last_n"], [list(b.encode()) for b in v["dry_sequence_breakers"]]
    repeat = (v["repetition_penalty"], v["frequency_penalty"], v["presence_penalty"])
    make: dict[str, Callable[[], Sampler]] = {
        "penalties": lambda: Sampler("penalties", SIZE, v["repeat_last_n"], *repeat),
        "dry": lambda: Sampler.dry(
            v["dry_multiplier"], v["dry_base"], v["dry_allowed_length"], last_n, breakers
        ),
        "top_n_sigma": lambda: Sampler("top_n_sigma", v["top_n_sigma"]),
        "top_k": lambda: Sampler("top_k", v["top_k"]),
        "typical_p": lambda: Sampler("typical", v["typical_p"], 0),
        "top_p": lambda: Sampler("top_p", v["top_p"], 0),
        "min_p": lambda: Sampler("min_p", v["min_p"], 0),
        "xtc": lambda: Sampler("xtc", v["xtc_probability"], v["xtc_threshold"], 0, seed),
        "temperature": lambda: Sampler(
            "temp_ext", v["temperature"], v["dynatemp_range"], v["dynatemp_exponent"]
        ),
    }
    if not v["dry_multiplier"] or not last_n:  # off: the entry point for tests cannot make an empty one
        order = [name for name in order if name != "dry"]
    adaptive = v["adaptive_target"] >= 0.0
    target = (v["adaptive_target"], v["adaptive_decay"])
    last = Sampler("adaptive_p", *target, seed) if adaptive else Sampler("dist", seed)
    return [*first, *(make[name]() for name in order), last]


def row_of(rng: Rng) -> np.ndarray:
    """Peaked, flat and Zipf-like rows without ties, in which the history's tokens matter."""
    base = (rng.normal(size=SIZE) * some(rng, 0.3, 1.0, 3.0), -1.2 * np.log1p(rng.permutation(SIZE)))
    scores = some(rng, *base) + rng.normal(size=SIZE) * 1e-3
    scores[:16] += some(rng, 0.0, 3.0)
    scores[[*b'\n:*"', EOS]] += some(rng, 0.0, 3.0)
    return np.asarray(scores, dtype=np.float32)


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores.astype(np.float64) - scores.max())
    return np.asarray(weights / weights.sum())


class Pair:
    """Our plan and llama.cpp's chain, side by side on one text."""

    def __init__(self, given: Given, seed: int, rng: Rng) -> None:
        given = dict(given)
        order = list(ORDER)
        self.prompt = rng.choice([*range(6), *b'\n:*"'], 30).tolist()
        given = {"preset": "llama.cpp", "rng": "llama.cpp", "seed": seed, **given}
        if given.pop("shuffled", False):
            rng.shuffle(order)
            active = {e.name.replace("dynamic_", ""): e.name for e in self.planned(given).entries}
            given["order"] = [active[n] for n in ("logit_bias", *order) if n in active]
        self.plan = self.planned(given)
        self.samplers = samplers(given, seed, order)
        for sampler in self.samplers:
            sampler.accept(self.prompt)
        self.written: list[int] = []
        self.states: Any = None
        self.memory = self.plan.selector.start()

    def planned(self, given: Given) -> Plan:
        config = resolve(given, model_eos=(EOS,), prompt_length=len(self.prompt), vocab_size=SIZE)
        return plan(config, NAMES, SIZE, self.prompt)

    def step(self, scores: np.ndarray) -> bool:
        """One token; whether candidates were dropped."""
        theirs = Candidates(scores)
        for sampler in self.samplers[:-1]:
            sampler(theirs)
        context = Context(self.prompt, self.written, eos_ids=(EOS,), source=self.plan.source())
        ledger = run(self.plan.stages, Row.of(scores, candidates=True), context, self.states)
        same_candidates(ledger.row, theirs)
        if ledger.row.argmax < 0:
            # a threshold of 0 lets XTC keep only a forbidden token: llama.cpp writes it, here it is an error
            with pytest.raises(NoTokenAllowed):
                self.plan.selector.select(ledger.row, context, self.memory)
            self.accept(int(theirs.entries["id"][0]), ledger.states)
            return True
        # adaptive-p and mirostat go on from there, and the draw itself
        self.samplers[-1](theirs)
        choice = self.plan.selector.select(ledger.row, context, self.memory)
        if choice.origin == "sampled":  # greedy leaves the list alone, mirostat cuts it even to one token
            same_candidates(choice.row, theirs)
        assert choice.token_id == theirs.selected
        entry = theirs.entries[theirs.entries["id"] == choice.token_id][0]
        assert choice.p == pytest.approx(entry["p"], rel=P_ERROR)
        self.accept(choice.token_id, ledger.states)
        self.memory = choice.state
        return len(theirs.entries) < SIZE

    def accept(self, token_id: int, states: Any) -> None:
        for sampler in self.samplers:
            sampler.accept([token_id])
        self.written.append(token_id)
        self.states = states


def same_candidates(row: Row, theirs: Candidates) -> None:
    """The same ids in the same order with the same weights; only equal logits may change places.

    `std::sort` promises equal ones no order: of what top-n-sigma masked it does not even say which are left.
    """
    entries = theirs.entries
    assert row.order is not None and len(row.order) == len(entries)
    _, group, sizes = np.unique(entries["logit"], return_inverse=True, return_counts=True)
    alive = entries["logit"] > -np.inf
    alone = alive & (sizes[group] == 1)
    np.testing.assert_array_equal(row.order[alone], entries["id"][alone])
    np.testing.assert_array_equal(np.sort(row.order[alive]), np.sort(entries["id"][alive]))
    if alive.any():
        ours = softmax(row.scores[row.order])
        np.testing.assert_allclose(ours, softmax(entries["logit"]), rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_chains_and_draws_equal_llama_cpps(kind: str) -> None:
    """Texts of twenty tokens, each with a seed and a configuration of its own."""
    rng = np.random.default_rng(sum(kind.encode()))
    for _ in range(STEPS // SWITCH):
        pair = Pair(KINDS[kind](rng), int(rng.integers(2**32)), rng)
        for _ in range(SWITCH):
            pair.step(row_of(rng))


@pytest.mark.parametrize("seed", [0, 42, 2**32 - 2])
def test_a_thousand_draws_of_the_defaults(seed: int) -> None:
    """One text: one word too many of a generator, and all later tokens would differ."""
    rng = np.random.default_rng(seed)
    pair = Pair({}, seed, rng)
    shortened = [pair.step(row_of(rng)) for _ in range(1000)]
    assert all(shortened)


COLD: dict[str, Given] = {
    "xtc acts at temperature 0": {"temperature": 0.0, "xtc_probability": 0.7, "xtc_threshold": 0.05},
    "dynamic temperature around 0": {"temperature": 0.0, "dynatemp_range": 0.5},
    "mirostat at temperature 0": {"temperature": 0.0, "mirostat": 2, "repetition_penalty": 1.5},
    "adaptive_p at temperature 0": {"temperature": 0.0, "adaptive_target": 0.3},
    "adaptive_p with a target of 0": {"adaptive_target": 0.0},
}


@pytest.mark.parametrize("given", COLD.values(), ids=COLD)
def test_corners_equal_llama_cpps(given: Given) -> None:
    """A 0 switches some things off and others not."""
    rng = np.random.default_rng(8)
    for seed in range(5):
        pair = Pair(given, seed, rng)
        for _ in range(SWITCH):
            pair.step(row_of(rng))


@pytest.mark.parametrize("given", [{}, {"temperature": 1.3, "xtc_probability": 0.5}, {"mirostat": 2}])
def test_generate_writes_what_llama_cpps_chain_writes(given: Given) -> None:
    """From the keywords of `generate` to the tokens, on a table model of bytes."""
    rows = np.random.default_rng(9).normal(size=(257, 257)).astype(np.float32) * 3
    out = model(lambda ids: rows[ids[-1]], eos_ids=()).generate(
        "ab", preset="llama.cpp", rng="llama.cpp", seed=77, max_new_tokens=100, **given
    )
    chain = [Sampler("penalties", 257, 64, 1.0, 0.0, 0.0), *samplers(given, 77, ORDER)]
    for i, token_id in enumerate(out.ids):
        theirs = Candidates(rows[(*b"ab", *out.ids)[i + 1]])
        for sampler in chain:
            sampler(theirs)
        assert theirs.selected == token_id
        for sampler in chain:
            sampler.accept([token_id])
