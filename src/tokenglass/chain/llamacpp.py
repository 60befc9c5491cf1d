"""llama.cpp's chain: candidates that are dropped and reordered, its windows, ties and comparisons.

Read from `common/sampling.cpp` and `src/llama-sampler.cpp`. A grammar stands first, as since llama.cpp pull
request 17937; temperature stands last.
"""

from __future__ import annotations

from tokenglass import stages
from tokenglass.chain import makers
from tokenglass.chain.makers import Workshop
from tokenglass.stages.base import Stage
from tokenglass.stages.context import Window

DRY = (
    *("dry_multiplier", "dry_base", "dry_allowed_length"),
    *("dry_penalty_last_n", "dry_sequence_breakers"),
)


def logit_bias(w: Workshop) -> Stage | None:
    """Biases, and the end of text forbidden where it is ignored."""
    biases = makers.biases_of(w)
    if w["ignore_eos"]:
        biases |= dict.fromkeys(w.config.eos_ids, float("-inf"))
    return stages.LogitBias.of(biases) if biases else None


def penalties(w: Workshop) -> Stage | None:
    """Repetition, frequency and presence at once, over the last tokens of prompt and text."""
    repeat = 1.0 if w["repetition_penalty"] is None else w["repetition_penalty"]
    frequency, presence = w["frequency_penalty"] or 0.0, w["presence_penalty"] or 0.0
    if not w["repeat_last_n"] or (repeat, frequency, presence) == (1.0, 0.0, 0.0):
        return None
    return stages.Penalties(repeat, frequency, presence, Window(last_n=w["repeat_last_n"]))


def top_k(w: Workshop) -> Stage | None:
    """Exactly k."""
    return stages.TopK(w["top_k"], tie="candidate_order") if (w["top_k"] or 0) > 0 else None


def typical_p(w: Workshop) -> Stage | None:
    """Stops at the first token with which the sum exceeds p."""
    p = w["typical_p"]
    return None if p is None or p >= 1.0 else stages.TypicalP(p, tie="candidate_order")


def top_p(w: Workshop) -> Stage | None:
    """Running sum from the top."""
    p = w["top_p"]
    return None if p is None or p >= 1.0 else stages.TopP(p, compare="head")


def min_p(w: Workshop) -> Stage | None:
    """Compared in scores; above 1 only the best is left, as at 1."""
    p = w["min_p"] or 0.0
    return stages.MinP(p, compare="logits") if p > 0.0 else None


def fixed_temperature(w: Workshop) -> Stage | None:
    """Before mirostat it never follows the entropy."""
    return None if w["temperature"] in (None, 1.0) else stages.Temperature(w["temperature"])


def coldest(w: Workshop) -> Stage | None:
    """Without sampling: a temperature of 0, which leaves one candidate."""
    return stages.Temperature(0.0)


_BIAS = (logit_bias, ("logit_bias", "ignore_eos"))
_CUTS = (
    (makers.structure, makers.STRUCTURES),
    _BIAS,
    (
        penalties,
        ("repetition_penalty", "frequency_penalty", "presence_penalty", "repeat_last_n"),
    ),
    (makers.dry, DRY),
    (makers.top_n_sigma, ("top_n_sigma",)),
    (top_k, ("top_k",)),
    (typical_p, ("typical_p",)),
    (top_p, ("top_p",)),
    (min_p, ("min_p",)),
    (makers.xtc, ("xtc_probability", "xtc_threshold")),
)
CHAIN = (*_CUTS, (makers.temperature, ("temperature", "dynatemp_range", "dynatemp_exponent", "do_sample")))
GREEDY = (*_CUTS, (coldest, ("do_sample",)))
MIROSTAT = (
    (makers.structure, makers.STRUCTURES),
    _BIAS,
    (fixed_temperature, ("temperature", "do_sample")),
)
