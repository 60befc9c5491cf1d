"""Stages made outside the package, three ways, in one chain with records; every number worked by hand.

The model says 1/2, 1/4, 1/8, 1/8. The chain halves the weight of token 0, forbids the token written last, and
makes token 3 four times as likely at every step but the first. At the second step, with weights in eighths:

    model    4 2 1 1   H = 1/2 + 1/2 + 3/8 + 3/8
    halved   2 2 1 1   nothing goes
    veto     2 - 1 1   token 1, the second of equals, held 2/6
    louder   2 - 1 4   of 7
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np
import pytest

from tokenglass.stages import BaseStage, Context, Row, TopK, as_stage, run
from tokenglass.stages.base import scores_of

MODEL = [0.5, 0.25, 0.125, 0.125]


def halved(scores: np.ndarray) -> np.ndarray:
    """A function of the scores, which it may change."""
    scores[0] -= np.log(2.0)
    return scores


class Veto:
    """An object with a name and an apply, and nothing else."""

    name = "veto"

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        return row.masked(context.ids[-1:]), state


@dataclass(frozen=True)
class Louder(BaseStage):
    """A dataclass with parameters and a state, the number of steps so far."""

    token_id: int
    factor: float
    name = "louder"

    def start(self) -> int:
        return 0

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        if state == 0:
            return row, 1
        ids = np.array([self.token_id])
        raised = row.scores[ids] + np.float32(np.log(self.factor))
        return row.replaced(ids, raised, facts={"step": float(state)}), state + 1


CHAIN = [as_stage(halved), Veto(), Louder(3, 4.0)]
SECOND = [  # name, parameters, alive, removed, changed, mass kept, entropy in bits, most likely, facts
    ("model", {}, 4, 0, 0, 1.0, 1.75, 0, {}),
    ("halved", {}, 4, 0, 1, 1.0, log2(3.0) + 1 / 3, 0, {}),
    ("veto", {}, 3, 1, 0, 2 / 3, 1.5, 0, {}),
    ("louder", {"token_id": 3, "factor": 4.0}, 3, 0, 1, 1.0, log2(7.0) - 10 / 7, 3, {"step": 1.0}),
]
PROBS = [[1 / 2, 1 / 4, 1 / 8, 1 / 8], [1 / 3, 1 / 3, 1 / 6, 1 / 6], [1 / 2, 0, 1 / 4, 1 / 4]]
PROBS += [[2 / 7, 0, 1 / 7, 4 / 7]]


def test_three_ways_to_make_a_stage_keep_the_same_books() -> None:
    """Tolerance: the scores are float32 logarithms, so probabilities are good to 1e-7."""
    first = run(CHAIN, Row.of(scores_of(MODEL)), Context((2,)))
    assert first.states == (None, None, 1)
    assert first.rows[3] is first.rows[2]
    assert (first.stages[3].changed, first.stages[3].facts) == (0, {})
    second = run(CHAIN, Row.of(scores_of(MODEL)), Context((2,), (1,)), first.states)
    assert second.states == (None, None, 2)
    for record, (name, params, alive, removed, changed, mass, entropy, best, facts) in zip(
        second.stages, SECOND, strict=True
    ):
        assert (record.name, dict(record.params)) == (name, params)
        assert (record.alive, record.removed, record.changed) == (alive, removed, changed)
        assert record.mass_kept == pytest.approx(mass, abs=1e-6)
        assert record.entropy_bits == pytest.approx(entropy, abs=1e-6)
        assert (record.argmax, dict(record.facts)) == (best, facts)
    np.testing.assert_allclose(second.probs([0, 1, 2, 3]), PROBS, atol=1e-7)
    assert list(second.removed) == [1]
    removal = second.removed[1]
    assert (removal.stage, removal.rank) == ("veto", 2)
    assert removal.p == pytest.approx(1 / 3, abs=1e-7)


def test_a_step_can_be_run_again_from_its_states() -> None:
    """The state is a value that the caller carries: running a step leaves no trace in the chain."""
    row, context = Row.of(scores_of(MODEL)), Context((2,), (1,))
    states = run(CHAIN, row, Context((2,))).states
    once, again = run(CHAIN, row, context, states), run(CHAIN, row, context, states)
    np.testing.assert_array_equal(once.row.scores, again.row.scores)
    assert once.stages == again.stages
    np.testing.assert_array_equal(row.scores, scores_of(MODEL))


def test_a_built_in_stage_after_them_sees_what_they_left() -> None:
    """Two of 2 - 1 4: token 3 and token 0, six of the seven parts."""
    ledger = run([*CHAIN, TopK(2)], Row.of(scores_of(MODEL)), Context((2,), (1,)), (None, None, 1, None))
    assert np.flatnonzero(ledger.row.scores > -np.inf).tolist() == [0, 3]
    assert ledger.stages[4].mass_kept == pytest.approx(6 / 7, abs=1e-6)


@pytest.mark.parametrize("result", [None, [1.0], "ab", np.zeros((1, 2))])
def test_a_function_that_returns_no_row_is_told_what_to_return(result: Any) -> None:
    with pytest.raises(ValueError, match="must return 2 numbers, one for each token"):
        as_stage(lambda scores: result)([0.0, 1.0])  # type: ignore[operator]


def test_something_that_is_no_stage_is_refused() -> None:
    with pytest.raises(TypeError, match="a stage must be a function of the scores or have name and apply"):
        as_stage(3)  # type: ignore[arg-type]
