"""Texts whose keys may be shared, by their length.

LongRoPE models turn keys by one table up to a length and by another beyond it, so a short text's keys are
not the beginning of a long one's. transformers' `generate` reads everything again at that point, and a text
read whole is what its numbers mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def regimes(config: Any) -> Callable[[int], int]:
    """From a text's length to the table its keys are turned by: 0 up to the limit, 1 beyond."""
    text_config = config.get_text_config(decoder=True)
    limits = sorted(set(_limits(getattr(text_config, "rope_parameters", None) or {})))
    if not limits:
        return lambda length: 0
    return lambda length: sum(length > limit for limit in limits)


def _limits(parameters: Mapping[str, Any]) -> Iterator[int]:
    if parameters.get("rope_type") == "longrope":
        yield int(parameters["original_max_position_embeddings"])
    for value in parameters.values():  # one set for each kind of layer
        if isinstance(value, Mapping):
            yield from _limits(value)
