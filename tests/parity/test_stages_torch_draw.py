"""`rng="torch"` against torch's global generator, seeded as a user of transformers seeds it."""

from __future__ import annotations

import numpy as np
import pytest

from tokenglass.random import Mt19937
from tokenglass.select import TorchDraw
from tokenglass.stages import Context, Row
from tokenglass.stages.watermark import permutation

torch = pytest.importorskip("torch")
NOWHERE = Context()


@pytest.mark.parametrize(
    ("size", "batch", "draws"), [(50, 1, 200), (50, 4, 50), (49_152, 1, 5), (49_152, 3, 3)]
)
def test_draws_equal_those_after_manual_seed(size: int, batch: int, draws: int) -> None:
    """Sampling in transformers: softmax, then `torch.multinomial(probs, num_samples=1)` over the batch."""
    rng = np.random.default_rng(61)
    selector = TorchDraw(1234)
    state = None
    torch.manual_seed(1234)
    for _ in range(draws):
        scores = (rng.normal(size=(batch, size)) * 2).astype(np.float32)
        scores[:, size // 2 :] = -np.inf
        probs = torch.softmax(torch.from_numpy(scores), dim=-1)
        expected = torch.multinomial(probs, num_samples=1)[:, 0].tolist()
        choices = selector.select_batch([Row.of(row) for row in scores], [NOWHERE] * batch, state)
        assert [choice.token_id for choice in choices] == expected
        state = choices[0].state


def test_a_state_draws_the_same_again() -> None:
    """The state is a value: drawing twice from it gives the same, and the global generator is left alone."""
    row = Row.of(np.zeros(1000, dtype=np.float32))
    selector = TorchDraw(5)
    before = torch.get_rng_state()
    first = selector.select(row, NOWHERE)
    again = [selector.select(row, NOWHERE, first.state).token_id for _ in range(3)]
    assert len(set(again)) == 1
    assert torch.equal(before, torch.get_rng_state())


def test_mersenne_twister_gives_torchs_words() -> None:
    """One seeding for llama.cpp, torch and this: a permutation needs hundreds of words to be right."""
    for seed in (0, 12345, 15485863 * 977):
        generator = torch.Generator().manual_seed(seed)
        assert permutation(500, seed, 500) == tuple(torch.randperm(500, generator=generator).tolist())


def test_mersenne_twister_is_the_published_one() -> None:
    """The C++ standard fixes the 10,000th word of the default seed: 4123659995."""
    words, after = Mt19937(5489, 9999).words(1)
    assert int(words[0]) == 4123659995
    assert after == Mt19937(5489, 10_000)
