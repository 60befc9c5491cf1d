"""Which of the given keywords change nothing in a run.

A keyword acts in some kinds of run only (`Field.when`), beside others that must be on, or unless another
takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenglass.config.modes import VLLM_GREEDY, conditions
from tokenglass.config.table import BY_NAME, NEEDS, NO_EFFECT, REPLACED_BY

_OFF: Mapping[str, Any] = {"repetition_penalty": 1.0}  # all others are off at 0 or None
_PICKS = frozenset({"mirostat", "adaptive_target"})  # they draw the token themselves
_LUCK = frozenset({"seed", "rng"})


def without_effect(given: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    """The names among `given` that change nothing under the effective `values`, in order."""
    in_force = conditions(values)
    return tuple(
        name
        for name, value in given.items()
        if name in NO_EFFECT
        or (name in BY_NAME and not in_force[BY_NAME[name].when] and not decides(name, values))
        or (value is not None and _is_idle(name, values))
    )


def decides(name: str, values: Mapping[str, Any]) -> bool:
    """Whether it is this keyword that turned sampling off: vLLM's temperature of 0."""
    return (
        name == "temperature"
        and values["preset"] == "vllm"
        and values[name] is not None
        and values[name] < VLLM_GREEDY
    )


def draws(values: Mapping[str, Any]) -> bool:
    """Whether chance decides anything: which token, or in llama.cpp's chain, which always runs, XTC."""
    return _draws_tokens(values) or (values["preset"] == "llama.cpp" and bool(values.get("xtc_probability")))


def _draws_tokens(values: Mapping[str, Any]) -> bool:
    """Whether tokens are drawn; llama.cpp's temperature of 0 leaves a single candidate."""
    frozen = values["preset"] == "llama.cpp" and values["temperature"] == 0.0
    return bool(values["do_sample"]) and not (frozen and not _is_on("dynatemp_range", values))


def _is_idle(name: str, values: Mapping[str, Any]) -> bool:
    if name in _LUCK:
        return not draws(values)
    if name in _PICKS and not values["do_sample"]:
        return True
    taker = REPLACED_BY.get(name)
    if taker is not None and values.get(taker) not in (None, BY_NAME[taker].default):
        return True
    return not all(any(_is_on(n, values) for n in names.split()) for names in NEEDS.get(name, ()))


def _is_on(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a keyword is switched on; one that the preset does not know stands in nobody's way."""
    return name not in values or values[name] not in (None, 0, _OFF.get(name))
