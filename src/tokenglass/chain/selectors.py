"""Who picks the token under a configuration, and how that is described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenglass.config import BY_NAME, GenerationConfig
from tokenglass.config.modes import adapts
from tokenglass.select import AdaptiveP, Draw, Greedy, LlamaDraw, Mirostat, MirostatV2, Selector, TorchDraw

_KEYWORDS = {
    "beam_search": ("num_beams", "length_penalty", "early_stopping", "num_return_sequences"),
    "beam_sample": ("num_beams", "length_penalty", "early_stopping", "num_return_sequences", "seed", "rng"),
    "group_beam_search": (
        "num_beams",
        "num_beam_groups",
        "diversity_penalty",
        "length_penalty",
        "early_stopping",
    ),
    "constrained_beam_search": ("num_beams", "force_words_ids", "length_penalty", "early_stopping"),
    "contrastive_search": ("penalty_alpha", "top_k"),
    "dola": ("dola_layers", "seed"),
    "assisted": (
        *("num_assistant_tokens", "num_assistant_tokens_schedule"),
        *("assistant_confidence_threshold", "seed"),
    ),
    "prompt_lookup": ("prompt_lookup_num_tokens", "max_matching_ngram_size", "seed"),
    "greedy": (),
    "sample": ("seed", "rng", "num_return_sequences"),
}


def selector(config: GenerationConfig) -> Selector:
    """Greedy, or what draws; searches pick for themselves and are given greedy."""
    if config.mode != "sample" or config.seed is None:
        return Greedy()
    llama = config.seed if config["rng"] == "llama.cpp" else None
    if config["mirostat"]:
        kind = Mirostat if config["mirostat"] == 1 else MirostatV2
        return kind(config["mirostat_tau"], config["mirostat_eta"], llama)
    if adapts(config.values):
        return AdaptiveP(config["adaptive_target"], config["adaptive_decay"], llama)
    if config["temperature"] == 0.0 and not config["dynatemp_range"]:
        return Greedy()  # llama.cpp: its chain leaves one candidate
    if llama is not None:
        return LlamaDraw(llama)
    return TorchDraw(config.seed) if config["rng"] == "torch" else Draw()


def described(
    config: GenerationConfig, picks: Selector
) -> tuple[str, Mapping[str, Any], tuple[str, ...], str]:
    """(name, parameters, keywords, paper) of what picks the token."""
    keywords: tuple[str, ...] = _KEYWORDS[config.mode]
    if config["mirostat"] and config.sampling:
        keywords = ("mirostat", "mirostat_tau", "mirostat_eta", *keywords)
    elif adapts(config.values) and config.sampling:
        keywords = ("adaptive_target", "adaptive_decay", *keywords)
    name = picks.name if config.mode in ("greedy", "sample") else config.mode
    parameters = {k: config[k] for k in keywords if config[k] is not None}
    paper = next((BY_NAME[k].paper for k in keywords if BY_NAME[k].paper), "")
    return name, parameters, keywords, paper
