"""What is told of a chain over the likeliest tokens alone equals the same chain over all of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tokenglass import numbers
from tokenglass import stages as s
from tokenglass.errors import NoTokenAllowed, Unsupported
from tokenglass.select.base import Greedy
from tokenglass.stages.listed import ListedLedger, filled
from tokenglass.types import Listing

SIZE = 97
CASES = 3000 if FULL else 600
Rng = np.random.Generator


def few(rng: Rng, most: int = 12) -> tuple[int, ...]:
    return tuple(int(i) for i in rng.choice(SIZE, int(rng.integers(1, most)), replace=False))


MAKERS: dict[str, Callable[[Rng], s.Stage]] = {
    "temperature": lambda r: s.Temperature(float(r.choice([0.2, 0.7, 1.0, 1.6]))),
    "top_k": lambda r: s.TopK(int(r.integers(1, 30))),
    "top_p": lambda r: s.TopP(float(r.uniform(0.05, 1.0))),
    "min_p": lambda r: s.MinP(float(r.uniform(0.0, 0.5))),
    "epsilon_cutoff": lambda r: s.EpsilonCutoff(float(10.0 ** r.uniform(-4, -1))),
    "logit_bias": lambda r: s.LogitBias(tuple((i, float(r.normal() * 2)) for i in few(r))),
    "forbidding bias": lambda r: s.LogitBias(tuple((i, -np.inf) for i in few(r))),
    "sequence_bias": lambda r: s.SequenceBias(tuple(((i,), float(r.normal() * 3)) for i in few(r))),
    "suppress": lambda r: s.SuppressTokens(few(r, 60)),
    "allowed": lambda r: s.AllowedTokens(few(r, 60)),
    "no_repeat_ngram": lambda r: s.NoRepeatNgram(int(r.integers(1, 3))),
    "presence and frequency": lambda r: s.Penalties(1.0, float(r.normal()), float(r.normal())),
}


def case(seed: int) -> tuple[np.ndarray, Listing, list[s.Stage], s.Context]:
    """A row of log-probabilities, its listed part, a chain of one to four stages, and ids written before."""
    rng = np.random.default_rng(seed)
    row = numbers.log_softmax(rng.normal(size=SIZE).astype(np.float32) * rng.choice([1, 3, 8]))
    row = row.astype(np.float32)
    ids = numbers.top_n(row, int(rng.integers(1, 40)))
    listing = Listing(ids, row[ids], float(np.exp(row[ids].astype(np.float64)).sum()))
    chain = [MAKERS[name](rng) for name in rng.choice(list(MAKERS), int(rng.integers(1, 5)))]
    return row, listing, chain, s.Context(few(rng), few(rng))


def same(told: float, true: float) -> bool:
    """Told, and then right; float32 scores, whose sum is taken in another order."""
    return math.isnan(told) or told == pytest.approx(true, abs=2e-5)


def test_what_is_told_is_true() -> None:
    told: Counter[str] = Counter()
    for seed in range(CASES):
        row, listing, chain, context = case(seed)
        whole = s.run(chain, s.Row.of(row), context)
        try:
            books = ListedLedger.of(s.run(chain, s.Row.of(filled(listing, SIZE)), context), chain, listing)
        except Unsupported as error:
            told["refused"] += 1
            assert "\n" not in str(error)
            continue
        check(seed, whole, books, told)
    # each way out occurs often enough to mean something
    assert min(told[name] for name in ("refused", "complete", "bounded", "chosen", "ranked")) >= CASES / 20


def check(seed: int, whole: s.Ledger, books: ListedLedger, told: Counter[str]) -> None:
    every = np.arange(SIZE)
    for mine, true in zip(books.probs(every).ravel(), whole.probs(every).ravel(), strict=True):
        assert same(mine, true), seed
    for index, (known, mine, true) in enumerate(zip(books.known, books.stages, whole.stages, strict=True)):
        assert same(mine.mass_kept, true.mass_kept) and same(mine.entropy_bits, true.entropy_bits), seed
        unlisted = np.setdiff1d(every, books.listing.ids)
        scores = whole.rows[index].scores
        if np.count_nonzero(scores > -np.inf) > 1:  # of a single one everything is known, listed or not
            assert (scores[unlisted] <= known.ceiling + 1e-5).all(), (seed, "a bound that does not hold")
        told["complete" if known.is_complete else "bounded"] += 1
        for token_id in books.listing.ids.tolist():
            rank = books.rank(index, token_id)
            if rank is not None:
                told["ranked"] += 1
                assert rank == numbers.rank(scores, token_id), (seed, index, token_id)
    for token_id, removal in books.removed.items():
        true_removal: Any = whole.removed[token_id]
        assert removal.stage == true_removal.stage, (seed, token_id)
        assert same(removal.p, true_removal.p) and removal.rank in (None, true_removal.rank), (seed, token_id)
    chosen(seed, whole, books, told)


def chosen(seed: int, whole: s.Ledger, books: ListedLedger, told: Counter[str]) -> None:
    """Greedy takes the same token, or says that it cannot know."""
    context = s.Context((1,))
    try:
        books.require_alive(0)
        books.require_choosable(0, greedy=True)
    except Unsupported:
        told["not chosen"] += 1
    except NoTokenAllowed:
        assert whole.row.argmax < 0, seed
    else:
        told["chosen"] += 1
        assert Greedy().select(books.row, context).token_id == whole.row.argmax, seed
