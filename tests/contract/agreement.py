"""How an engine's rows are compared with the rows they must equal."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.contract.subjects import Subject
from tokenglass.engines.base import Forward
from tokenglass.numbers import log_softmax


def assert_rows(subject: Subject, got: np.ndarray, want: np.ndarray) -> None:
    """Logits within the tolerance, which is stated for logits and log-probabilities alike."""
    assert got.shape == want.shape and got.dtype == np.float32
    assert np.abs(got - want).max() <= subject.tolerance
    for mine, theirs in zip(got.reshape(-1, got.shape[-1]), want.reshape(-1, want.shape[-1]), strict=True):
        assert np.abs(log_softmax(mine) - log_softmax(theirs)).max() <= 2 * subject.tolerance


def assert_last(subject: Subject, forward: Forward, i: int, want: np.ndarray) -> None:
    """The last row of the i-th prefix, whole or as the list of its best tokens; `want` is (V,) logits."""
    if forward.logits is not None:
        assert_rows(subject, forward.logits[i, -1:], want[None])
        return
    ids, logprobs, coverage = forward.top[i]
    true = log_softmax(want)
    assert len(ids) == len(set(np.asarray(ids).tolist())) > 0
    assert np.abs(np.asarray(logprobs) - true[np.asarray(ids)]).max() <= subject.tolerance
    # no token that is not listed is likelier than the least listed one, up to the tolerance
    rest = np.delete(true, np.asarray(ids))
    assert not len(rest) or rest.max() <= true[np.asarray(ids)].min() + 2 * subject.tolerance
    assert abs(coverage - float(np.exp(np.asarray(logprobs, np.float64)).sum())) < 1e-3  # rounding on the way


def last(subject: Subject, forward: Forward, i: int = 0) -> Any:
    """What the engine says of the last position, as something that two calls must agree on to the bit."""
    if forward.logits is not None:
        return forward.logits[i, -1].tobytes()
    ids, logprobs, _ = forward.top[i]
    return np.asarray(ids).tobytes() + np.asarray(logprobs).tobytes()
