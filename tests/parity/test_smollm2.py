"""The embedded model against transformers reading the same file: 210 Q4_1 matrices and a Q8_0 embedding.

Tolerances as in `test_engine_transformers`. The exact engine multiplies the blocks as they are; transformers
widens them to float32 first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity.families import reference
from tests.parity.test_engine_transformers import LOGIT, assert_same
from tokenglass.engines.base import Prefix

PROMPTS = [
    "Once upon a time, generative models",
    "def fibonacci(n):\n",
    "The capital of France is",
    "1, 2, 3, 4,",
    "Ein Mops kam in die Küche und",
]
NEW = 200 if FULL else 30


@pytest.fixture(scope="module")
def text_ids(smollm2: Any) -> list[int]:
    text = " ".join(f"{i}. {prompt} ..." for i, prompt in enumerate(PROMPTS * 8))
    return smollm2.tokenize(text).ids[:300]


def test_every_position(smollm2: Any, smollm2_transformers: Any, text_ids: list[int]) -> None:
    assert_same(smollm2.logits(text_ids), reference(smollm2_transformers, text_ids))


def test_batch_equals_one_by_one(smollm2: Any, smollm2_transformers: Any) -> None:
    prompts = [smollm2.tokenize(p).ids for p in PROMPTS]
    batch = smollm2.engine.forward([Prefix(tuple(ids)) for ids in prompts]).logits
    for row, ids in zip(batch, prompts, strict=True):
        assert_same(row, reference(smollm2_transformers, ids)[-1:])


def test_hidden_states_without_the_last_norm(smollm2: Any, smollm2_transformers: Any) -> None:
    """`unembed(norm=True)` of an inner layer equals transformers' final norm and head (the logit lens)."""
    import torch

    ids = smollm2.tokenize(PROMPTS[0]).ids
    forward = smollm2.engine.forward([Prefix(tuple(ids))], layers=[12])
    with torch.no_grad():
        hidden = smollm2_transformers(torch.tensor([ids]), output_hidden_states=True).hidden_states[12][
            0, -1:
        ]
        want = smollm2_transformers.lm_head(smollm2_transformers.model.norm(hidden)).numpy()
    assert np.abs(smollm2.engine.unembed(forward.hidden[12][0], norm=True) - want).max() < LOGIT


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_tokens(smollm2: Any, smollm2_transformers: Any, prompt: str) -> None:
    """Token for token, end-of-text off; sequences may part only where the margin is below the tolerance."""
    import torch

    ids = smollm2.tokenize(prompt).ids
    ours = smollm2.generate(ids, max_new_tokens=NEW, eos_token_id=None)
    smollm2_transformers.generation_config.eos_token_id = None  # absent, it would be the file's own
    with torch.no_grad():
        output = smollm2_transformers.generate(torch.tensor([ids]), max_new_tokens=NEW, do_sample=False)
    theirs = output[0, len(ids) :].tolist()
    for step, want in zip(ours.steps, theirs, strict=True):
        if step.id != want:
            assert step.margin < LOGIT, f"parted at {step.position} with margin {step.margin}"
            return


def test_fast_is_near_exact(smollm2: Any, text_ids: list[int]) -> None:
    """Another answer, for int8 activations, but a near one; docs/performance.md has the distance."""
    import tokenglass as tg
    from tokenglass.numbers import log_softmax

    with tg.load("smollm2", precision="fast") as fast:
        rows = zip(smollm2.logits(text_ids), fast.logits(text_ids), strict=True)
        divergences = []
        for exact_row, fast_row in rows:
            p, q = log_softmax(exact_row), log_softmax(fast_row)
            divergences.append(float(np.sum(np.exp(p) * (p - q))))
    assert 0 < np.mean(divergences) < 0.05  # nats; 0 would mean that fast is not fast at all
