"""What a stage is: a name, parameters, and a pure map from (row, context, state) to (row, state).

A built-in stage is a small frozen dataclass on `BaseStage`. A stage of your own may be one too, or any object
with a `name` and an `apply`, or just a function from (V,) scores to (V,) scores; `as_stage` takes them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from tokenglass.stages.context import Context
from tokenglass.stages.row import Floats, Ids, Row

Tie = Literal["keep_all", "lowest_id", "candidate_order"]
TIES: tuple[Tie, ...] = ("keep_all", "lowest_id", "candidate_order")


@runtime_checkable
class Stage(Protocol):
    """One unit of the chain. Never changes its input; whatever it remembers is in the state it returns."""

    @property
    def name(self) -> str:
        """What the user calls it, such as "top_p"."""
        ...

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row afterwards (the same object where nothing was to do) and the state for the next step."""
        ...


class BaseStage:
    """What built-in stages share: parameters as data, no state unless they say so, use on plain scores."""

    name: str

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """The parameters by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def start(self) -> Any:
        """The state before the first step; None for a stage that remembers nothing."""
        return None

    def __call__(self: Stage, scores: ArrayLike, context: Context | None = None) -> Floats:
        """(V,) scores in, (V,) scores out, from the initial state: for trying a stage out."""
        row, _ = self.apply(Row.of(scores), context or Context(), start(self))
        return row.scores


@dataclass(frozen=True)
class UserStage(BaseStage):
    """A function of the user's as a stage.

    Args:
        function: takes a copy of the (V,) float32 scores, which it may change, returns the new (V,) scores.
        name: what to call it.

    Raises:
        ValueError: the function returned something that is no (V,) row of numbers.

    >>> def forbid_zero(scores):
    ...     scores[0] = -np.inf
    ...     return scores
    >>> as_stage(forbid_zero)([1.0, 2.0]).tolist(), as_stage(forbid_zero).name
    ([-inf, 2.0], 'forbid_zero')
    """

    function: Callable[[Floats], ArrayLike]
    name: str = "user"

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """Nothing that could be shown: what the function does is its own business."""
        return {}

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The function's row."""
        result = self.function(row.scores.copy())
        scores = np.asarray(np.nan if result is None else result)
        if scores.shape != row.scores.shape or scores.dtype.kind not in "fiu":
            raise ValueError(
                f"logits_processor stage {self.name!r} must return {len(row)} numbers, one for each token, "
                f"got {type(result).__name__} of shape {scores.shape}; end it with 'return scores'"
            )
        return row.with_scores(np.array(scores, dtype=np.float32)), state


def as_stage(stage: Stage | Callable[[Floats], ArrayLike]) -> Stage:
    """A stage, from a stage or from a function from (V,) scores to (V,) scores.

    Raises:
        TypeError: neither.
    """
    if isinstance(stage, Stage):
        return stage
    if not callable(stage):
        raise TypeError(f"a stage must be a function of the scores or have name and apply, got {stage!r}")
    return UserStage(stage, getattr(stage, "__name__", type(stage).__name__))


@dataclass(frozen=True)
class Renamed(BaseStage):
    """A stage under another name, where its own is taken.

    Args:
        stage: what runs.
        name: what to call it.
    """

    stage: Stage
    name: str = ""

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """The stage's own."""
        return params(self.stage)

    def start(self) -> Any:
        """The stage's own."""
        return start(self.stage)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The stage's own."""
        return self.stage.apply(row, context, state)


def renamed(stage: Stage, name: str) -> Stage:
    """The stage under another name.

    >>> renamed(as_stage(abs), "abs#2").name
    'abs#2'
    """
    if isinstance(stage, BaseStage) and is_dataclass(stage) and "name" in [f.name for f in fields(stage)]:
        again: Stage = replace(stage, name=name)
        return again
    return Renamed(stage, name)


def start(stage: Stage) -> Any:
    """A stage's state before the first step; a stage without `start` begins with None."""
    begin = getattr(stage, "start", None)
    return begin() if begin is not None else None


def params(stage: object) -> Mapping[str, Any]:
    """A stage's parameters by name; a stage without `params` has none to show."""
    found: Mapping[str, Any] = getattr(stage, "params", {})
    return found


def scores_of(probs: ArrayLike) -> Floats:
    """Scores whose softmax is `probs`: their logarithms, -inf for 0. For examples and tests.

    >>> scores_of([1.0, 0.0]).tolist()
    [0.0, -inf]
    """
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(np.asarray(probs, dtype=np.float64)).astype(np.float32)
    return logs


def require(condition: bool, parameter: str, interval: str, value: object) -> None:
    """Refuse a wrong parameter by name.

    Raises:
        ValueError: the condition is false.
    """
    if not condition:
        raise ValueError(f"{parameter} must be {interval}, got {short(value)}")


def short(value: object) -> str:
    """A value in a message: one line of at most 80 characters."""
    text = " ".join(repr(value).split("\n"))
    return text if len(text) <= 80 else text[:77] + "..."


def require_whole(parameter: str, value: object, least: int) -> None:
    """Refuse a parameter that is no whole number of at least `least`.

    Raises:
        ValueError: it is not.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    require(whole and int(value) >= least, parameter, f"a whole number >= {least}", value)  # type: ignore[call-overload]


def require_number(parameter: str, value: object) -> float:
    """A finite number as Python's own.

    Raises:
        ValueError: it is none.
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    require(number and bool(np.isfinite(value)), parameter, "a finite number", value)  # type: ignore[call-overload]
    return float(value)  # type: ignore[arg-type]


def inside(ids: Ids, size: int) -> Ids:
    """The distinct ids that are in [0, size), ascending."""
    return below(np.unique(ids), size)


def below(ids: Ids, size: int) -> Ids:
    """Of distinct ascending ids those in [0, size)."""
    return ids if not len(ids) or (ids[0] >= 0 and ids[-1] < size) else ids[(ids >= 0) & (ids < size)]
