"""The histogram of the scores that a step does not keep, against numpy's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import model, writes
from tokenglass.types import Tail
from tokenglass.types.tails import BINS

scores = st.floats(-1e4, 1e4, width=32)


def tail_of(row: Any, m: int) -> Tail | None:
    row = np.array(row, dtype=np.float32)
    return Tail.of(row, np.sort(row)[::-1][:m])


@settings(max_examples=200, deadline=None)
@given(st.lists(scores | st.sampled_from([-np.inf, 0.0, 1.0]), min_size=1, max_size=400), st.integers(1, 64))
def test_each_score_lies_in_its_bin_or_on_its_edge(row: list[float], m: int) -> None:
    """Counted from below, the bins lead and trail numpy's sorted values by no more than the stated slack."""
    values = np.sort(np.array(row, dtype=np.float32))[::-1]
    if values[0] == -np.inf:
        return  # such a row has no distribution, so no step
    below = values[m:][values[m:] > -np.inf].astype(np.float64)
    found = tail_of(row, m)
    assert found is not None and found.counts.sum() == len(below) and (found.counts >= 0).all()
    if not len(below):
        assert len(found.counts) == 0
        return
    assert (found.low, found.high) == (below[-1], values[min(m, len(values)) - 1])
    width = (found.high - found.low) / BINS
    slack = 1e-3 * width + 1e-30
    for i, seen in enumerate(np.cumsum(found.counts)[:-1], start=1):
        edge = found.low + i * width
        assert np.count_nonzero(below < edge - slack) <= seen <= np.count_nonzero(below <= edge + slack)


@pytest.mark.parametrize("row", [[3e38, 0.0, -3e38], [np.nan, 1.0, 0.0]])
def test_where_there_is_no_histogram_it_is_unknown(row: list[float]) -> None:
    assert tail_of(row, 1) is None


def test_a_step_keeps_it() -> None:
    """257 bytes: 64 of them in the head, 193 at logit 0, which is the head's least as well."""
    (step,) = model(writes("a")).stream("x", max_new_tokens=1)
    assert step.tail is not None
    assert (step.tail.low, step.tail.high, step.tail.counts.sum()) == (0.0, 0.0, 257 - 64)
