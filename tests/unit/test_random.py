"""Counter-based random numbers: pinned for good, and checked against numpy's Philox."""

from __future__ import annotations

import numpy as np
import pytest

from tokenglass.random import Mt19937, Philox, fresh_seed, philox, uniform

GOLDEN = [
    # seed, sample, position, purpose, k, u: a change of any of these numbers changes every saved run
    (0, 0, 0, "draw", 0, 0.5318264197639732),
    (42, 0, 0, "draw", 0, 0.6387492449904243),
    (42, 1, 0, "draw", 0, 0.11524699218905299),
    (42, 0, 1, "draw", 0, 0.19542018247427728),
    (42, 0, 0, "xtc", 0, 0.6362481629782698),
    (42, 0, 0, "accept", 3, 0.958744839448094),
    (42, 0, 7, "beam", 9, 0.8888301720027899),
    (2**64 + 5, 2, 1000, "residual", 0, 0.2736940869610256),
]


@pytest.mark.parametrize(("seed", "sample", "position", "purpose", "k", "u"), GOLDEN)
def test_uniform_is_pinned(seed: int, sample: int, position: int, purpose: str, k: int, u: float) -> None:
    assert uniform(seed, sample, position, purpose, k) == u
    assert Philox(seed, sample).uniform(position, purpose, k) == u


def test_philox_equals_numpys() -> None:
    """Its generator in numpy counts up before it makes a block, so its counter starts one lower."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        counter = tuple(int(word) for word in rng.integers(0, 2**64, 4, dtype=np.uint64))
        key = tuple(int(word) for word in rng.integers(0, 2**64, 2, dtype=np.uint64))
        number = sum(word << (64 * i) for i, word in enumerate(counter)) - 1
        theirs = np.random.Philox(counter=number % 2**256, key=key[0] + (key[1] << 64)).random_raw(4)
        assert philox(counter, key) == tuple(int(word) for word in theirs)  # type: ignore[arg-type]


def test_uniform_is_the_documented_function() -> None:
    """The words of the module docstring, computed with numpy's generator."""
    seed, sample, position, k = 2**70 + 3, 4, 12, 1
    code = int.from_bytes(b"xtc", "little")
    counter = position + (sample << 64) + (code << 128) + (k << 192) - 1
    word = int(np.random.Philox(counter=counter, key=seed).random_raw(1)[0])
    assert uniform(seed, sample, position, "xtc", k) == (word >> 11) / 2**53


def test_neighbours_share_no_numbers() -> None:
    """10,000 places, 10,000 different numbers, all in [0, 1)."""
    numbers = {
        uniform(s, n, t, p) for s in range(10) for n in range(10) for t in range(50) for p in ("draw", "xtc")
    }
    assert len(numbers) == 10_000
    assert 0.0 <= min(numbers) < 0.001
    assert 0.999 < max(numbers) < 1.0


@pytest.mark.parametrize("purpose", ["", "too long!", "é"])
def test_a_purpose_that_has_no_code_is_refused(purpose: str) -> None:
    with pytest.raises(ValueError, match="purpose must be 1 to 8 ASCII characters"):
        uniform(1, 0, 0, purpose)


def test_seeds_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"seed must be in \[0, 2\*\*128\), got -1"):
        Philox(-1)
    with pytest.raises(ValueError, match="sample must be in"):
        Philox(1, -1)
    with pytest.raises(ValueError, match=r"seed must be in \[0, 2\*\*32\)"):
        Mt19937(2**32)


def test_fresh_seeds_differ_and_fit_every_generator() -> None:
    seeds = {fresh_seed() for _ in range(20)}
    assert len(seeds) == 20  # two equal ones: 1 in 20 million runs
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_mersenne_twister_as_a_value() -> None:
    """Words come out the same in one piece or several, forwards or after going back."""
    start = Mt19937(7)
    together, _ = start.words(3000)
    first, after = start.words(5)
    second, _ = after.words(2995)
    assert np.array_equal(together, np.concatenate([first, second]))
    assert np.array_equal(start.words(5)[0], first)
    assert 0.0 <= start.single()[0] < 1.0


def test_canonical_floats_never_reach_1() -> None:
    """C++ promises [0, 1): the largest words round to 1 and are pulled back to the number below."""

    class AllOnes(Mt19937):
        def words(self, n: int) -> tuple[np.ndarray, Mt19937]:
            return np.full(n, 2**32 - 1, dtype=np.uint32), self

    assert AllOnes(0).double()[0] == 1.0 - 2.0**-53
    assert AllOnes(0).single()[0] == 1.0 - 2.0**-24
