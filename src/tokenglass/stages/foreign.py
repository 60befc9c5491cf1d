"""Logits processors made for transformers, as stages.

Neither torch nor transformers is imported before such a processor is called: one is known by the names of its
classes, or by taking two arguments where a function of the scores takes one.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from tokenglass.errors import MissingDependency
from tokenglass.stages.base import Stage, as_stage
from tokenglass.stages.context import Context
from tokenglass.stages.row import Floats, Row

Processor = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class ForeignProcessor:
    """A processor called as transformers calls it: tensors of ids (1, T) and scores (1, V), scores back.

    What a processor remembers is inside it and cannot be undone. So this stage's state is a copy of it: each
    step works on a copy of the copy before, and the object that was given stays as it is. A step can thus be
    run again, forked and undone; only what a plain function keeps outside itself is out of reach. A torch
    module that a processor holds is shared, not copied. Rows come one at a time, while transformers hands
    over all beams or prompts at once: a processor that looks across rows sees only its own.

    Args:
        processor: takes (input_ids, scores); called for every row.
        name: what to call it.

    Raises:
        MissingDependency: torch is not installed.
        ValueError: it returned something that is no (1, V) tensor, or cannot be copied.

    Source: transformers' `logits_processor`.
    """

    processor: Processor
    name: str = "logits_processor"

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """Its public attributes that are a number, a text, true or false, or a short list of these."""
        values = vars(self.processor) if hasattr(self.processor, "__dict__") else {}
        return {name: value for name, value in values.items() if not name.startswith("_") and _simple(value)}

    def start(self) -> Processor:
        """A copy of the processor as it was given."""
        return self._copied(self.processor)

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The processor's row, and the processor as it is afterwards."""
        torch = _torch()
        processor = self._copied(state if state is not None else self.processor)
        ids = torch.from_numpy(context.ids[None].copy())
        result = processor(ids, torch.from_numpy(row.scores[None].copy()))
        if not isinstance(result, torch.Tensor) or tuple(result.shape) != (1, len(row)):
            shape = f" of shape {tuple(result.shape)}" if hasattr(result, "shape") else ""
            raise ValueError(
                f"logits_processor stage {self.name!r} must return a tensor of shape (1, {len(row)}), "
                f"got {type(result).__name__}{shape}; end it with 'return scores'"
            )
        return row.with_scores(_floats(result)), processor

    def _copied(self, processor: Processor) -> Processor:
        torch = _torch()
        held = vars(processor).values() if hasattr(processor, "__dict__") else ()
        shared = {id(value): value for value in held if isinstance(value, torch.nn.Module)}
        try:
            return copy.deepcopy(processor, shared)
        except (TypeError, AttributeError, RuntimeError, copy.Error) as error:
            raise ValueError(
                f"logits_processor stage {self.name!r} cannot be copied, so a step could not be undone "
                f"({error}); give it a __deepcopy__, or give a function of the scores instead"
            ) from error


def as_processor(item: Stage | Processor | Callable[[Floats], ArrayLike]) -> Stage:
    """One entry of `logits_processor` as a stage: a stage, a function of (V,) scores, or a foreign processor.

    Raises:
        TypeError: none of these, or a class where an instance is needed.

    >>> def louder(scores):
    ...     return 2 * scores
    >>> def only_short(input_ids, scores):
    ...     return scores
    >>> type(as_processor(louder)).__name__, type(as_processor(only_short)).__name__
    ('UserStage', 'ForeignProcessor')
    """
    if isinstance(item, type):
        raise TypeError(f"logits_processor needs an instance, got the class {item.__name__}: call it first")
    if not isinstance(item, Stage) and callable(item) and _is_foreign(item):
        return ForeignProcessor(cast(Processor, item), getattr(item, "__name__", type(item).__name__))
    return as_stage(item)  # type: ignore[arg-type]


def _is_foreign(item: Callable[..., Any]) -> bool:
    """Whether it must be called with ids and scores.

    Raises:
        TypeError: it takes neither one nor two arguments.
    """
    parents = [parent for parent in type(item).__mro__ if parent.__module__.startswith("transformers.")]
    named = any(parent.__name__ in ("LogitsProcessor", "LogitsProcessorList") for parent in parents)
    try:
        signature = inspect.signature(item)
    except ValueError:  # written in C, without a signature to read: numpy's functions, say
        return named
    if not named and _takes(signature, 1):
        return False
    if not _takes(signature, 2):
        raise TypeError(
            f"a logits processor must take (scores) or (input_ids, scores), "
            f"got {getattr(item, '__name__', type(item).__name__)}{signature}"
        )
    return True


def _takes(signature: inspect.Signature, n: int) -> bool:
    try:
        signature.bind(*[None] * n)
    except TypeError:
        return False
    return True


def _simple(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= 8 and all(map(_simple, value))
    return value is None or isinstance(value, bool | int | float | str)


def _floats(result: Any) -> Floats:
    array: Floats = result.detach().cpu().float().numpy()[0]
    return np.array(array, dtype=np.float32)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependency("a logits processor of tensors", "pip install 'tokenglass[hf]'") from error
    return torch
