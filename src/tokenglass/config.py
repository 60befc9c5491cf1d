"""What a generation was asked to do: transformers' names, meanings and defaults, with where each came from.

Every `GenerationConfig` field and `generate()` argument of transformers 5.x is listed here: honoured, without
effect here, or not built yet and refused by name. Nothing is ignored in silence.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tokenglass.errors import Unsupported

Source = Literal["you", "generation_config.json", "model", "default"]

DEFAULT_NEW_TOKENS = 20
# name -> default; None means "off" or "decided by the model"
HONOURED: Mapping[str, Any] = {
    "max_new_tokens": None,
    "max_length": None,
    "eos_token_id": None,
    "stop_strings": None,
    "max_time": None,
    "seed": None,
}
# Accepted, and listed as having no effect: they steer memory, outputs or padding, never a token of one
# sequence.
NO_EFFECT = frozenset(
    """use_cache cache_implementation cache_config max_cache_len output_attentions output_hidden_states
    output_scores output_logits return_dict_in_generate pad_token_id bos_token_id decoder_start_token_id
    is_assistant compile_config disable_compile continuous_batching_config low_memory prefill_chunk_size
    synced_gpus streamer attention_mask tokenizer transformers_version use_model_defaults""".split()
)
# Values that switch a field off, so that copied configurations work before the feature exists.
OFF: Mapping[str, tuple[Any, ...]] = {
    "do_sample": (None, False),
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "num_beam_groups": (None, 1),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "repetition_penalty": (None, 1.0),
    "encoder_repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "guidance_scale": (None, 1.0),
    "renormalize_logits": (None, False),
    "remove_invalid_values": (None, False),
    "token_healing": (None, False),
    "use_mtp": (None, False),
}
# These act only when sampling or searching; transformers ignores them (with a warning) in greedy runs.
ONLY_SAMPLING = frozenset("temperature top_k top_p min_p top_h typical_p epsilon_cutoff eta_cutoff".split())
ONLY_SEARCH = frozenset("length_penalty early_stopping diversity_penalty".split())
NOT_YET = frozenset(
    """bad_words_ids forced_bos_token_id forced_eos_token_id exponential_decay_length_penalty suppress_tokens
    begin_suppress_tokens sequence_bias watermarking_config num_assistant_tokens
    num_assistant_tokens_schedule assistant_confidence_threshold prompt_lookup_num_tokens
    max_matching_ngram_size assistant_early_exit assistant_lookbehind target_lookbehind
    assistant_ensemble_weight speculation_type penalty_alpha dola_layers constraints force_words_ids
    logits_processor stopping_criteria prefix_allowed_tokens_fn assistant_model assistant_tokenizer
    negative_prompt_ids negative_prompt_attention_mask custom_generate rng preset order logit_bias""".split()
)
KNOWN = {*HONOURED, *NO_EFFECT, *OFF, *ONLY_SAMPLING, *ONLY_SEARCH, *NOT_YET}


@dataclass(frozen=True)
class GenerationConfig:
    """An effective configuration.

    Attributes:
        max_new_tokens: how many tokens are written at most.
        eos_ids: ids that end the text; empty when switched off.
        stop_strings: texts that end it, matched on bytes.
        max_time: seconds after which no further token is written, or None.
        seed: of the randomness; greedy runs use none.
        sources: where each value came from.
        no_effect: names that were given and change nothing here.
    """

    max_new_tokens: int
    eos_ids: frozenset[int] = frozenset()
    stop_strings: tuple[str, ...] = ()
    max_time: float | None = None
    seed: int | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    no_effect: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, defaults included."""
        return {
            "do_sample": False,
            "num_beams": 1,
            "max_new_tokens": self.max_new_tokens,
            "eos_token_id": sorted(self.eos_ids),
            "stop_strings": list(self.stop_strings),
            "max_time": self.max_time,
            "seed": self.seed,
            "no_effect": list(self.no_effect),
        }


def resolve(
    given: Mapping[str, Any],
    *,
    model_defaults: Mapping[str, Any] | None = None,
    model_eos: tuple[int, ...] = (),
    prompt_length: int = 0,
    vocab_size: int = 0,
) -> GenerationConfig:
    """The effective configuration of a call.

    Absent takes the model's generation_config.json, then the default; None switches off where transformers'
    does. `max_new_tokens` wins over `max_length`, which counts the prompt.

    Args:
        given: the caller's keywords.
        model_defaults: fields of the model's generation_config.json.
        model_eos: end-of-text ids by the model's own files, used when neither of the above says.
        prompt_length: tokens of the prompt.
        vocab_size: ids are checked against it; 0 checks nothing.

    Raises:
        TypeError: an unknown keyword; the nearest one is named.
        ValueError: a value outside its interval.
        Unsupported: a feature that is not built yet, by name.
    """
    defaults = dict(model_defaults or {})
    _refuse_unbuilt(given)
    ignored = [n for n in given if n in NO_EFFECT or n in ONLY_SAMPLING or n in ONLY_SEARCH]
    sources: dict[str, Source] = {}

    def value(name: str) -> Any:
        if name in given:
            sources[name] = "you"
            return given[name]
        if defaults.get(name) is not None:
            sources[name] = "generation_config.json"
            return defaults[name]
        sources[name] = "default"
        return HONOURED[name]

    eos_ids = _ids(value("eos_token_id"), vocab_size)
    if sources["eos_token_id"] == "default":
        sources["eos_token_id"], eos_ids = "model", frozenset(model_eos)
    return GenerationConfig(
        max_new_tokens=_budget(value("max_new_tokens"), value("max_length"), prompt_length, sources),
        eos_ids=eos_ids,
        stop_strings=_stop_strings(value("stop_strings")),
        max_time=_max_time(value("max_time")),
        seed=_seed(value("seed")),
        sources=sources,
        no_effect=tuple(ignored),
    )


def _refuse_unbuilt(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"unknown keyword {name!r}{hint}")
        if (name in OFF and value not in OFF[name]) or (name in NOT_YET and value is not None):
            raise Unsupported(f"{name}={value!r}", "this version decodes greedily; leave it out")


def _budget(new: Any, total: Any, prompt_length: int, sources: dict[str, Source]) -> int:
    """Tokens to write: `max_new_tokens`, else what `max_length` leaves after the prompt, else 20."""
    if new is not None:
        return _whole("max_new_tokens", new, 1)
    if total is None:
        return DEFAULT_NEW_TOKENS
    limit = _whole("max_length", total, 1)
    if limit <= prompt_length:
        if sources["max_length"] != "you":
            return DEFAULT_NEW_TOKENS  # a model's own default must not make a long prompt an error
        raise ValueError(
            f"max_length counts the prompt: it must be above {prompt_length}, got {limit}; "
            "raise it or set max_new_tokens"
        )
    return limit - prompt_length


def _whole(name: str, value: Any, least: int) -> int:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not float(value).is_integer() or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def _ids(value: Any, vocab_size: int) -> frozenset[int]:
    ids = (
        [] if value is None else list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    )
    for token in ids:
        if (
            not isinstance(token, int)
            or isinstance(token, bool)
            or (vocab_size and not 0 <= token < vocab_size)
        ):
            most = vocab_size - 1 if vocab_size else "the vocabulary size - 1"
            raise ValueError(f"eos_token_id must hold ids in [0, {most}], got {token!r}")
    return frozenset(ids)


def _stop_strings(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    strings = list(value) if isinstance(value, list | tuple) else [value]
    for text in strings:
        if not isinstance(text, str) or not text or not _is_unicode(text):
            raise ValueError(f"stop_strings must be texts of at least one character, got {text!r}")
    return tuple(strings)


def _is_unicode(text: str) -> bool:
    """Whether a text has UTF-8 bytes, which a lone surrogate has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _max_time(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        raise ValueError(f"max_time must be a number of seconds above 0, got {value!r}")
    return float(value)


def _seed(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise ValueError(f"seed must be a whole number in [0, 2**64 - 1], got {value!r}")
    return value
