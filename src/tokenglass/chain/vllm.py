"""vLLM's chain (V1): penalties on what was written, min-p before top-k and top-p, clamped biases."""

from __future__ import annotations

from tokenglass import stages
from tokenglass.chain import makers
from tokenglass.chain.makers import Workshop
from tokenglass.config.values import require
from tokenglass.stages.base import Stage
from tokenglass.stages.context import GENERATED
from tokenglass.stages.words import vllm_bad_words

_LEAST_TEMPERATURE, _MOST_TEMPERATURE, _MOST_BIAS = 0.01, 2.0, 100.0


def bad_words(w: Workshop) -> Stage | None:
    """Words with and without a leading space, matched against what was written."""
    texts = w["bad_words"]
    if not texts:
        return None
    words = vllm_bad_words(texts, w.encode, w.tokenizer)
    w.warnings.extend(words.warnings)
    return stages.BadWords(words.sequences, GENERATED, spare_eos=False)


def logit_bias(w: Workshop) -> Stage | None:
    """Biases clamped to [-100, 100]."""
    biases = {i: min(_MOST_BIAS, max(-_MOST_BIAS, b)) for i, b in makers.biases_of(w).items()}
    return stages.LogitBias.of(biases) if biases else None


def temperature(w: Workshop) -> Stage | None:
    """Never below 0.01; above 2 is refused."""
    t = 1.0 if w["temperature"] is None else w["temperature"]
    require(t <= _MOST_TEMPERATURE, "temperature", "at most 2 in vLLM", t)
    t = max(t, _LEAST_TEMPERATURE)
    return None if t == 1.0 else stages.Temperature(t)


def min_p(w: Workshop) -> Stage | None:
    """Compared in probabilities."""
    return stages.MinP(w["min_p"]) if w["min_p"] else None


def top_p(w: Workshop) -> Stage | None:
    """With 1 - p computed in float32."""
    p = w["top_p"]
    if p is None or p >= 1.0:
        return None
    require(p > 0.0, "top_p", "in (0, 1] in vLLM", p)
    return stages.TopP(p, compare="tail_float32")


PROCESSORS = (
    (makers.structure, makers.STRUCTURES),
    (makers.allowed_token_ids, ("allowed_token_ids",)),
    (bad_words, ("bad_words",)),
    (makers.min_new_tokens, ("min_new_tokens",)),
    (logit_bias, ("logit_bias",)),
    (None, ("logits_processor",)),
    (makers.repetition_penalty, ("repetition_penalty",)),
    (makers.frequency_penalty, ("frequency_penalty",)),
    (makers.presence_penalty, ("presence_penalty",)),
)
WARPERS = (
    (temperature, ("temperature",)),
    (min_p, ("min_p",)),
    (makers.top_k, ("top_k",)),
    (top_p, ("top_p",)),
)
