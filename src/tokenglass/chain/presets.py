"""The chain of each system as a literal list: which stages, in which order, made how.

Orders are read from transformers 5.23 (`_get_logits_processor`), llama.cpp (`common_sampler_init`) and vLLM
0.33 (V1). What only another system has stands in transformers' chain where it belongs by kind: penalties by
the penalties, truncation by truncation.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenglass.chain import llamacpp, makers, vllm
from tokenglass.chain.makers import Maker
from tokenglass.config import Preset

Line = tuple[Maker | None, tuple[str, ...]]  # the maker, and the keywords it stands for; None: the user's own
OWN = ("logits_processor",)

_PROCESSORS: tuple[Line, ...] = (
    (makers.guidance_scale, ("guidance_scale", "negative_prompt_ids", "negative_prompt")),
    (makers.sequence_bias, ("sequence_bias",)),
    (makers.logit_bias, ("logit_bias",)),
    (makers.encoder_repetition_penalty, ("encoder_repetition_penalty",)),
    (makers.repetition_penalty, ("repetition_penalty",)),
    (makers.frequency_penalty, ("frequency_penalty",)),
    (makers.presence_penalty, ("presence_penalty",)),
    (makers.dry, llamacpp.DRY),
    (makers.no_repeat_ngram_size, ("no_repeat_ngram_size",)),
    (makers.encoder_no_repeat_ngram_size, ("encoder_no_repeat_ngram_size",)),
    (makers.bad_words_ids, ("bad_words_ids", "bad_words")),
    (makers.allowed_token_ids, ("allowed_token_ids",)),
    (makers.min_length, ("min_length",)),
    (makers.min_new_tokens, ("min_new_tokens",)),
    (makers.prefix_allowed_tokens_fn, ("prefix_allowed_tokens_fn",)),
    (makers.structure, makers.STRUCTURES),
    (makers.forced_bos_token_id, ("forced_bos_token_id",)),
    (makers.forced_eos_token_id, ("forced_eos_token_id",)),
    (makers.remove_invalid_values, ("remove_invalid_values",)),
    (
        makers.exponential_decay_length_penalty,
        ("exponential_decay_length_penalty",),
    ),
    (makers.suppress_tokens, ("suppress_tokens", "ignore_eos")),
    (makers.begin_suppress_tokens, ("begin_suppress_tokens",)),
    (None, OWN),
)
_WARPERS: tuple[Line, ...] = (
    (makers.temperature, ("temperature", "dynatemp_range", "dynatemp_exponent")),
    (makers.top_h, ("top_h",)),
    (makers.top_n_sigma, ("top_n_sigma",)),
    (makers.top_k, ("top_k",)),
    (makers.top_p, ("top_p",)),
    (makers.min_p, ("min_p",)),
    (makers.typical_p, ("typical_p",)),
    (makers.epsilon_cutoff, ("epsilon_cutoff",)),
    (makers.eta_cutoff, ("eta_cutoff",)),
    (makers.xtc, ("xtc_probability", "xtc_threshold")),
)
_ALWAYS_LAST: tuple[Line, ...] = (
    (makers.watermarking_config, ("watermarking_config",)),
    (makers.renormalize_logits, ("renormalize_logits",)),
)


def lines(preset: Preset, sampling: bool, mirostat: bool) -> Sequence[Line]:
    """The lines of a preset that take part in a run.

    Args:
        preset: whose.
        sampling: truncation and temperature act only then, in transformers.
        mirostat: it replaces truncation; in llama.cpp everything but the biases and the temperature.
    """
    if preset == "llama.cpp":
        if not sampling:
            return llamacpp.GREEDY
        return llamacpp.MIROSTAT if mirostat else llamacpp.CHAIN
    if preset == "vllm":
        return (*vllm.PROCESSORS, *(vllm.WARPERS if sampling else ()))
    warpers = _WARPERS[:1] if mirostat else _WARPERS
    return (*_PROCESSORS, *(warpers if sampling else ()), *_ALWAYS_LAST)


def idle_keywords(preset: Preset, sampling: bool, mirostat: bool) -> frozenset[str]:
    """Keywords of stages that stand in the preset's chain, but take no part in such a run."""
    at_work = {k for _, keywords in lines(preset, sampling, mirostat) for k in keywords}
    return frozenset(k for _, keywords in lines(preset, True, False) for k in keywords) - at_work
