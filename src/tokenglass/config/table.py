"""Every generation keyword, with what differs between systems and kinds of run.

transformers' `GenerationConfig` fields and `generate()` arguments, what only llama.cpp or vLLM has under
their names, and a few of our own (`seed`, `rng`, `preset`, `order`, `choice`, `negative_prompt`). Every
keyword of transformers 5.23 is in one of three lists: honoured (`FIELDS`), accepted without effect
(`NO_EFFECT`), refused with the reason (`REFUSED`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenglass.config.fields import ALL, HF, HF_LC, HF_VL, LC, Field, Group, Preset, When
from tokenglass.config.rows import ROWS, Row

# The silent defaults of other systems.
_LLAMA_CPP: Mapping[str, Any] = {
    "do_sample": True,
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.05,
}
_VLLM: Mapping[str, Any] = {"max_new_tokens": 16, "do_sample": True, "top_k": 0}
# Which systems know a keyword; all do, where it is not listed.
_PRESETS: Mapping[str, frozenset[Preset]] = {
    **dict.fromkeys(
        """max_length min_length top_h epsilon_cutoff eta_cutoff encoder_repetition_penalty
        no_repeat_ngram_size encoder_no_repeat_ngram_size exponential_decay_length_penalty
        bad_words_ids sequence_bias suppress_tokens begin_suppress_tokens forced_bos_token_id
        forced_eos_token_id remove_invalid_values prefix_allowed_tokens_fn token_healing num_beams
        length_penalty early_stopping num_beam_groups diversity_penalty force_words_ids pad_token_id
        renormalize_logits penalty_alpha dola_layers assistant_model num_assistant_tokens
        num_assistant_tokens_schedule assistant_confidence_threshold prompt_lookup_num_tokens
        max_matching_ngram_size guidance_scale negative_prompt_ids negative_prompt
        watermarking_config""".split(),
        HF,
    ),
    **dict.fromkeys(
        """min_new_tokens bad_words allowed_token_ids logits_processor""".split(),
        HF_VL,
    ),
    **dict.fromkeys(
        """dynatemp_range dynatemp_exponent top_n_sigma typical_p xtc_probability xtc_threshold mirostat
        mirostat_tau mirostat_eta adaptive_target adaptive_decay dry_multiplier dry_base
        dry_allowed_length dry_penalty_last_n dry_sequence_breakers""".split(),
        HF_LC,
    ),
    **dict.fromkeys(
        """repeat_last_n""".split(),
        LC,
    ),
}
# In which runs a keyword acts; in all, where it is not listed.
_WHEN: Mapping[When, str] = {
    "sampling": """temperature dynatemp_range dynatemp_exponent top_h top_n_sigma top_p min_p typical_p
        epsilon_cutoff eta_cutoff xtc_probability xtc_threshold mirostat adaptive_target""",
    "top_k": "top_k",
    "mirostat": "mirostat_tau mirostat_eta",
    "adaptive": "adaptive_decay",
    "beams": "length_penalty early_stopping num_beam_groups force_words_ids",
    "groups": "diversity_penalty pad_token_id",
    "contrastive": "penalty_alpha",
    "dola": "dola_layers",
    "assisted": "num_assistant_tokens num_assistant_tokens_schedule assistant_confidence_threshold",
    "lookup": "max_matching_ngram_size",
    "guidance": "negative_prompt_ids negative_prompt",
}
# name -> what must be on for it to change anything: one of the names in each text.
_DRY = ("dry_multiplier", "dry_penalty_last_n")
_LOOKS_BACK = ("repeat_last_n",)
NEEDS: Mapping[str, tuple[str, ...]] = {
    "dry_multiplier": ("dry_penalty_last_n",),
    "dry_penalty_last_n": ("dry_multiplier",),
    **dict.fromkeys(("dry_base", "dry_allowed_length", "dry_sequence_breakers"), _DRY),
    "xtc_threshold": ("xtc_probability",),
    "dynatemp_exponent": ("dynatemp_range",),
    "repeat_last_n": ("repetition_penalty frequency_penalty presence_penalty",),
    **dict.fromkeys(("repetition_penalty", "frequency_penalty", "presence_penalty"), _LOOKS_BACK),
}
# name -> what takes its place where it is given.
REPLACED_BY: Mapping[str, str] = {
    "max_length": "max_new_tokens",
    "min_length": "min_new_tokens",
    "adaptive_target": "mirostat",
    "adaptive_decay": "mirostat",
}
_PAPERS: Mapping[str, str] = {
    "rng": "Salmon et al. 2011 (Philox)",
    "temperature": "Ackley, Hinton and Sejnowski 1985",
    "dynatemp_range": "kalomaze; cf. arXiv:2403.14541",
    "top_h": "arXiv:2509.02510",
    "top_n_sigma": "arXiv:2411.07641",
    "top_k": "arXiv:1805.04833",
    "top_p": "arXiv:1904.09751",
    "min_p": "arXiv:2407.01082",
    "typical_p": "arXiv:2202.00666",
    "epsilon_cutoff": "arXiv:2210.15191",
    "eta_cutoff": "arXiv:2210.15191",
    "xtc_probability": "text-generation-webui #6335",
    "mirostat": "arXiv:2007.14966",
    "adaptive_target": "llama.cpp #17927",
    "repetition_penalty": "arXiv:1909.05858",
    "frequency_penalty": "OpenAI API",
    "presence_penalty": "OpenAI API",
    "dry_multiplier": "text-generation-webui #5677",
    "no_repeat_ngram_size": "arXiv:1705.04304",
    "prefix_allowed_tokens_fn": "arXiv:2010.00904",
    "regex": "arXiv:2307.09702",
    "grammar": "llama.cpp GBNF",
    "num_beam_groups": "arXiv:1610.02424",
    "force_words_ids": "arXiv:1804.06609",
    "penalty_alpha": "arXiv:2202.06417",
    "dola_layers": "arXiv:2309.03883",
    "assistant_model": "arXiv:2211.17192",
    "prompt_lookup_num_tokens": "github.com/apoorvumang/prompt-lookup-decoding",
    "guidance_scale": "arXiv:2306.17806",
    "watermarking_config": "arXiv:2301.10226",
}


def _field(group: Group, row: Row) -> Field:
    name, kind, interval, about, default = row
    systems: Mapping[Preset, Mapping[str, Any]] = {"llama.cpp": _LLAMA_CPP, "vllm": _VLLM}
    return Field(
        name,
        kind,
        group,
        interval,
        about,
        default,
        {preset: table[name] for preset, table in systems.items() if name in table},
        _PRESETS.get(name, ALL),
        next((when for when, names in _WHEN.items() if name in names.split()), "always"),
        _PAPERS.get(name, ""),
    )


FIELDS: tuple[Field, ...] = tuple(_field(group, row) for group, rows in ROWS.items() for row in rows)
BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}

# They steer memory, outputs or padding, never a token of one text.
NO_EFFECT = frozenset(
    """use_cache cache_implementation cache_config max_cache_len output_attentions output_hidden_states
    output_scores output_logits return_dict_in_generate bos_token_id decoder_start_token_id
    is_assistant compile_config disable_compile continuous_batching_config low_memory prefill_chunk_size
    synced_gpus streamer attention_mask tokenizer transformers_version use_model_defaults
    negative_prompt_attention_mask trust_remote_code""".split()
)
# None cannot switch these off: it means the default.
NEVER_OFF = frozenset(
    """preset rng num_beams num_return_sequences length_penalty early_stopping num_beam_groups
    diversity_penalty dynatemp_exponent xtc_threshold mirostat_tau mirostat_eta adaptive_decay repeat_last_n
    dry_base dry_allowed_length dry_penalty_last_n num_assistant_tokens
    num_assistant_tokens_schedule""".split()
)
# name -> (values that switch it off, what to do instead)
REFUSED: Mapping[str, tuple[tuple[object, ...], str]] = {
    "constraints": ((None,), "give the words as force_words_ids"),
    "stopping_criteria": (
        (None,),
        "use stop_strings, max_time or eos_token_id, or stop reading model.stream()",
    ),
    "custom_generate": ((None,), "it runs code of others; write a stage and give it as logits_processor"),
    "use_mtp": (
        (None, False),
        "models with multi-token prediction heads are not among the families run here",
    ),
    "speculation_type": ((None,), "use assistant_model or prompt_lookup_num_tokens"),
    "assistant_early_exit": ((None,), "use assistant_model or prompt_lookup_num_tokens"),
    "assistant_tokenizer": ((None,), "give an assistant_model with the same vocabulary"),
    "assistant_lookbehind": ((None, 10), "give an assistant_model with the same vocabulary"),
    "target_lookbehind": ((None, 10), "give an assistant_model with the same vocabulary"),
    "assistant_ensemble_weight": ((None,), "it changes what the model writes; leave it out"),
}
KNOWN = frozenset({*BY_NAME, *NO_EFFECT, *REFUSED})
