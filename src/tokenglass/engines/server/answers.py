"""An answer's numbers, believed only where they can be true; knows nothing about kinds of servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf, isnan
from typing import Any, NamedTuple

import numpy as np

from tokenglass.errors import RemoteError
from tokenglass.types import Listing

# Servers sum in float32 over a vocabulary: llama.cpp's 49,152 probabilities came to 1.0002.
_SLACK = 0.01


class Entry(NamedTuple):
    """One token that a server listed.

    Attributes:
        id: None where the server named it by a text that several tokens, or none, may stand for.
        logprob: natural log of its probability.
        spelt: its bytes, or None where the server does not say them.
    """

    id: int | None
    logprob: float
    spelt: bytes | None = None


def listing_of(entries: Sequence[Entry], vocab_size: int) -> Listing:
    """What entries say, best first; it ends before the first one whose token is not known.

    Raises:
        RemoteError: they cannot be true.
    """
    likely = sorted((e for e in entries if e.logprob > -inf), key=lambda e: (-e.logprob, e.id or 0))
    named: list[Entry] = []
    for entry in likely:
        if entry.id is None:
            break  # all behind it would have a rank that is not theirs
        named.append(entry)
    ids = np.array([entry.id for entry in named], dtype=np.int64)
    if not len(ids):
        raise wrong(
            "names none of its likeliest tokens by an id, by bytes, or by a text that only one token has"
        )
    if len(set(ids.tolist())) != len(ids):
        raise wrong("lists a token twice")
    if ids.min() < 0 or ids.max() >= vocab_size:
        raise wrong(f"lists a token id outside the vocabulary of {vocab_size:,}")
    logprobs = np.minimum(np.array([entry.logprob for entry in named], dtype=np.float32), np.float32(0.0))
    total = float(np.exp(logprobs.astype(np.float64)).sum())
    others = vocab_size - len(ids)
    if total > 1.0 + _SLACK:
        raise wrong(f"lists probabilities that sum to {total:.4g}")
    if total + others * exp(float(logprobs[-1])) < 1.0 - _SLACK:
        raise wrong(f"lists probabilities that cannot sum to 1 over {vocab_size:,} tokens")
    return Listing(ids, logprobs, 1.0 if others == 0 else min(1.0, total))


def wrong(what: str) -> RemoteError:
    """An answer that cannot be true, in one line."""
    return RemoteError(f"the server {what}; its answer was not used")


def member(found: Any, *path: str | int) -> Any:
    """What lies at a path of keys and indices in an answer.

    Raises:
        RemoteError: nothing does.
    """
    for key in path:
        fits = isinstance(found, Mapping) if isinstance(key, str) else isinstance(found, list)
        try:
            found = found[key] if fits else None
        except (KeyError, IndexError):
            found = None
        if found is None:
            raise wrong(f"answers without {'.'.join(map(str, path))}")
    return found


def logprob(value: Any) -> float:
    """A log-probability.

    Raises:
        RemoteError: no number, NaN, or above 0 by more than rounding.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or isnan(value) or value > _SLACK:
        raise wrong("gives a log-probability that is none")
    return float(value)


def whole(value: Any) -> int:
    """A whole number.

    Raises:
        RemoteError: it is none.
    """
    if type(value) is not int or abs(value) >= 1 << 62:
        raise wrong("gives a token id or a count that is no whole number")
    return value


def spelling(value: Any) -> bytes | None:
    """Bytes given as a list of numbers; None where they are not given.

    Raises:
        RemoteError: no such list.
    """
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(b) is int and 0 <= b < 256 for b in value):
        raise wrong("spells a token with something that is no bytes")
    return bytes(value)
