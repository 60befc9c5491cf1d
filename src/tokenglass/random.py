"""Random numbers that belong to a place, not to a moment.

tokenglass's own draws are counter-based: `uniform(seed, sample, position, purpose, k)` is a pure function, so
undo, branches, batches and forks never shift a later draw, and two configurations with one seed are compared
under the same luck. The definition, which a golden table test pins:

    key     = (seed mod 2**64, seed div 2**64)
    counter = (position, sample, purpose, k)      purpose: its ASCII bytes as a little-endian integer
    u       = (first word of Philox4x64-10(counter, key) div 2**11) / 2**53        in [0, 1)

Purposes in use: "draw" (the token), "xtc", "accept" and "residual" (speculative decoding), "beam" (k is the
index of the draw). `Mt19937` is the generator of llama.cpp and of torch's CPU build, as a value: a seed and
how many words were taken, which fits into a trace and can be forked.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; Matsumoto and Nishimura 1998.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
MAX_SEED = (1 << 128) - 1
MAX_SEED_32 = (1 << 32) - 1


class Source(Protocol):
    """Where a stage's or selector's uniform numbers come from."""

    def uniform(self, position: int, purpose: str, k: int = 0) -> float:
        """A number in [0, 1) that depends on nothing but the arguments and the source itself."""
        ...


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x64-10: four 64-bit words that are a function of a 256-bit counter and a 128-bit key.

    >>> [hex(word) for word in philox((0, 0, 0, 0), (0, 0))][:2]
    ['0x16554d9eca36314c', '0xdb20fe9d672d0fdc']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        low, high = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (high >> 64) ^ c1 ^ k0, high & _MASK, (low >> 64) ^ c3 ^ k1, low & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


@lru_cache(maxsize=64)
def _purpose_code(purpose: str) -> int:
    if not (purpose.isascii() and 0 < len(purpose) <= 8):
        raise ValueError(f"purpose must be 1 to 8 ASCII characters, got {purpose!r}")
    return int.from_bytes(purpose.encode(), "little")


def uniform(seed: int, sample: int, position: int, purpose: str, k: int = 0) -> float:
    """The number in [0, 1) that belongs to one use at one place.

    Args:
        seed: in [0, 2**128).
        sample: which sample of several, or how often the step was drawn anew; in [0, 2**64).
        position: index of the token in the whole sequence, from 0.
        purpose: what the number is for, 1 to 8 ASCII characters.
        k: which of several numbers for one purpose.

    >>> uniform(42, 0, 7, "draw") == uniform(42, 0, 7, "draw") != uniform(42, 1, 7, "draw")
    True
    """
    counter = (position & _MASK, sample & _MASK, _purpose_code(purpose), k & _MASK)
    return (philox(counter, (seed & _MASK, seed >> 64))[0] >> 11) * 2.0**-53


@dataclass(frozen=True, slots=True)
class Philox:
    """The default source: counter-based numbers of one seed and one sample.

    Raises:
        ValueError: seed outside [0, 2**128), or a negative sample.
    """

    seed: int
    sample: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed must be in [0, 2**128), got {self.seed}")
        if not 0 <= self.sample <= _MASK:
            raise ValueError(f"sample must be in [0, 2**64), got {self.sample}")

    def uniform(self, position: int, purpose: str, k: int = 0) -> float:
        """The number of this seed and sample for one use at one position."""
        return uniform(self.seed, self.sample, position, purpose, k)


def fresh_seed() -> int:
    """A seed from the system's entropy; of 32 bits: every generator takes it, and a person can retype it."""
    return secrets.randbits(32)


@dataclass(frozen=True, slots=True)
class Mt19937:
    """The Mersenne Twister as a value: its seed, and how many 32-bit words were taken from it.

    Each method returns its result and the generator that comes after.

    Raises:
        ValueError: seed outside [0, 2**32).

    >>> generator = Mt19937(5489)
    >>> words, generator = generator.words(1)
    >>> int(words[0]), generator.taken
    (3499211612, 1)
    """

    seed: int
    taken: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED_32:
            raise ValueError(f"seed must be in [0, 2**32) for this generator, got {self.seed}")

    def words(self, n: int) -> tuple[NDArray[np.uint32], Mt19937]:
        """The next n words."""
        end = self.taken + n
        return _stream(self.seed).upto(end)[self.taken : end], Mt19937(self.seed, end)

    def double(self) -> tuple[float, Mt19937]:
        """A double in [0, 1) from two words, as C++'s `generate_canonical<double, 53>` makes it."""
        words, after = self.words(2)
        u = (float(words[0]) + float(words[1]) * 2.0**32) / 2.0**64
        return min(u, 1.0 - 2.0**-53), after

    def single(self) -> tuple[float, Mt19937]:
        """A float32 in [0, 1) from one word, as C++'s `generate_canonical<float, 24>` makes it."""
        words, after = self.words(1)
        return min(float(np.float32(words[0])) / 2.0**32, 1.0 - 2.0**-24), after


class _Stream:
    """The words of one seed so far: a cache, grown on demand, that never changes what was handed out."""

    def __init__(self, seed: int) -> None:
        # RandomState seeds with init_genrand, as std::mt19937 and torch do; the newer Generator does not.
        self._source = np.random.RandomState(seed)
        self._words = np.empty(0, dtype=np.uint32)
        self._lock = Lock()

    def upto(self, end: int) -> NDArray[np.uint32]:
        with self._lock:
            if end > len(self._words):
                n = max(end - len(self._words), 1248, len(self._words))
                more = self._source.randint(0, 2**32, size=n, dtype=np.uint32)
                self._words = np.concatenate([self._words, more])
            return self._words


@lru_cache(maxsize=16)
def _stream(seed: int) -> _Stream:
    return _Stream(seed)
