"""Processors made for transformers, run as stages, against calling them directly: the same bits come out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tokenglass.errors import MissingDependency
from tokenglass.stages import Context, MinP, NoRepeatNgram, Row, Stage, UserStage, run
from tokenglass.stages.foreign import ForeignProcessor, as_processor

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZE = 50
CONTEXT = Context((3, 7, 3), (9, 3))
SCORES = np.random.default_rng(0).normal(scale=3.0, size=SIZE).astype(np.float32)


class Counting(transformers.LogitsProcessor):
    """Stateful: the n-th call forbids token n, and it writes into the scores it was given."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        scores[:, self.calls] = -float("inf")
        self.calls += 1
        return scores


class Duck:
    """Derived from nothing, but called like a processor."""

    strength = 3.0  # of the class, not of the object

    def __init__(self, bonus: float) -> None:
        self.bonus = bonus
        self.ids = [1, 2]
        self.table = np.zeros(3)
        self._secret = "no"

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        return scores.double().index_fill(1, input_ids[0, -1:], self.bonus)


def masked(row: Row) -> list[int]:
    return np.flatnonzero(row.scores == -np.inf).tolist()


PROCESSORS = [
    transformers.MinPLogitsWarper(min_p=0.1),
    transformers.NoRepeatNGramLogitsProcessor(2),
    transformers.RepetitionPenaltyLogitsProcessor(1.3),
    transformers.TypicalLogitsWarper(mass=0.5),
    transformers.SequenceBiasLogitsProcessor([[[9, 3, 5], 2.5], [[4], -1.0]]),
    transformers.WatermarkLogitsProcessor(vocab_size=SIZE, device="cpu"),
    transformers.LogitsProcessorList(
        [transformers.TemperatureLogitsWarper(0.5), transformers.TopKLogitsWarper(5)]
    ),
    Duck(2.0),
]


@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: type(processor).__name__)
@pytest.mark.parametrize("candidates", [False, True], ids=["plain", "candidates"])
def test_a_processor_does_what_it_does_in_transformers(processor: Any, candidates: bool) -> None:
    """The same bits: nothing is computed in between. No prompt changes, no row changes."""
    stage = as_processor(processor)
    row = Row.of(SCORES.copy(), candidates=candidates)
    after, _ = stage.apply(row, CONTEXT, None)
    direct = processor(torch.tensor([[3, 7, 3, 9, 3]]), torch.tensor(SCORES[None].copy()))
    np.testing.assert_array_equal(after.scores, direct[0].to(torch.float32).numpy())
    np.testing.assert_array_equal(row.scores, SCORES)
    assert CONTEXT.ids.tolist() == [3, 7, 3, 9, 3]
    assert (after.order is None) == (not candidates)
    assert stage.name == type(processor).__name__


def test_they_agree_with_the_stages_of_the_same_method() -> None:
    """Two implementations of one method: what is left is the same set."""
    chain = [as_processor(p) for p in PROCESSORS[:2]]
    theirs = run(chain, Row.of(SCORES), CONTEXT)
    ours = run([MinP(0.1), NoRepeatNgram(2)], Row.of(SCORES), CONTEXT)
    assert masked(theirs.row) == masked(ours.row)
    assert [record.alive for record in theirs.stages] == [record.alive for record in ours.stages]


def test_what_a_processor_remembers_is_a_value() -> None:
    """A step can be run again, forked and undone; the object that was given is never called itself."""
    processor = Counting()
    chain, row = [as_processor(processor)], Row.of(np.ones(4))
    first = run(chain, row, CONTEXT)
    second = run(chain, row, CONTEXT, first.states)
    again = run(chain, row, CONTEXT, first.states)
    third = run(chain, row, CONTEXT, second.states)
    assert [masked(x.row) for x in (first, second, again, third)] == [[0], [1], [1], [2]]
    assert masked(run(chain, row, CONTEXT).row) == [0]
    assert processor.calls == 0
    assert row.scores.tolist() == [1.0] * 4


def test_a_model_inside_a_processor_is_shared_not_copied() -> None:
    class Holder:
        def __init__(self) -> None:
            self.model = torch.nn.Linear(1, 1)

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            return scores

    processor = Holder()
    _, state = as_processor(processor).apply(Row.of([1.0]), Context((0,)), None)
    assert state is not processor
    assert state.model is processor.model


def test_parameters_are_the_simple_public_attributes() -> None:
    assert as_processor(Duck(2.0)).params == {"bonus": 2.0, "ids": [1, 2]}  # type: ignore[attr-defined]
    params = as_processor(transformers.MinPLogitsWarper(min_p=0.1)).params  # type: ignore[attr-defined]
    assert params == {"min_p": 0.1, "filter_value": -float("inf"), "min_tokens_to_keep": 1}


def test_each_kind_of_item_becomes_a_stage() -> None:
    """A stage stays itself, a function of the scores is a user's stage, two arguments make a processor."""
    min_p = MinP(0.1)
    assert as_processor(min_p) is min_p
    assert isinstance(as_processor(lambda scores: scores), UserStage)
    assert isinstance(as_processor(np.tanh), UserStage)  # no signature to read

    def scaled(scores: Any, factor: float = 2.0) -> Any:
        return factor * scores

    def plain(input_ids: Any, scores: Any) -> Any:
        return scores + input_ids.shape[1]

    assert as_processor(scaled).apply(Row.of([1.0]), CONTEXT, None)[0].scores.tolist() == [2.0]
    stage = as_processor(plain)
    assert isinstance(stage, ForeignProcessor) and isinstance(stage, Stage)
    assert stage.name == "plain"
    assert stage.params == {}
    assert stage.apply(Row.of([1.0]), CONTEXT, None)[0].scores.tolist() == [6.0]


class NeedsMore(transformers.LogitsProcessor):
    def __call__(self, input_ids: Any, scores: Any, mask: Any) -> Any:
        return scores


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (transformers.MinPLogitsWarper, "an instance, got the class MinPLogitsWarper: call it first"),
        (NeedsMore(), r"must take \(scores\) or \(input_ids, scores\), got NeedsMore\(input_ids"),
        (lambda: None, r"must take \(scores\) or \(input_ids, scores\)"),
        (3, "a stage must be a function of the scores or have name and apply, got 3"),
    ],
)
def test_what_is_no_processor_is_refused(item: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        as_processor(item)


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (None, "got NoneType;"),
        (torch.zeros(2), r"got Tensor of shape \(2,\)"),
        (np.zeros((1, 2)), r"got ndarray of shape \(1, 2\)"),
    ],
    ids=["nothing", "flat", "array"],
)
def test_a_processor_that_returns_no_row_is_told_what_to_return(result: Any, got: str) -> None:
    def broken(input_ids: Any, scores: Any) -> Any:
        return result

    with pytest.raises(ValueError, match=rf"'broken' must return a tensor of shape \(1, 2\), {got}"):
        as_processor(broken).apply(Row.of([0.0, 1.0]), CONTEXT, None)


def test_a_processor_that_cannot_be_copied_is_refused() -> None:
    """A generator cannot be copied: a step with it could not be undone."""

    class Stream:
        def __init__(self) -> None:
            self.numbers = (n for n in range(9))

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            return scores + next(self.numbers)

    with pytest.raises(ValueError, match="'Stream' cannot be copied, so a step could not be undone"):
        as_processor(Stream()).apply(Row.of([0.0]), CONTEXT, None)


def test_without_torch_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    stage = as_processor(lambda input_ids, scores: scores)
    with pytest.raises(MissingDependency, match=r"tokenglass\[hf\]"):
        stage.apply(Row.of([0.0]), CONTEXT, None)


def test_nothing_is_imported_before_a_processor_is_called() -> None:
    code = (
        "import sys; from tokenglass.stages.foreign import as_processor\n"
        "as_processor(lambda input_ids, scores: scores)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
