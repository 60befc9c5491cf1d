"""A keyword's value as the rest of the program wants it, or a refusal that names it.

Whole numbers count as numbers, ids become tuples, texts become tuples; intervals that a stage or a search
checks itself are left to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Any

from tokenglass.config.fields import PRESETS, Field, Preset

RNGS = ("tokenglass", "llama.cpp", "torch")
MAX_SEED = (1 << 64) - 1
_MOST = 1 << 1023  # a whole number beyond has no float
_LEAST = {
    **dict.fromkeys("max_new_tokens max_length num_beams num_return_sequences num_beam_groups".split(), 1),
    **dict.fromkeys("num_assistant_tokens prompt_lookup_num_tokens max_matching_ngram_size".split(), 1),
    **dict.fromkeys("min_length min_new_tokens top_k repeat_last_n dry_penalty_last_n".split(), 0),
    **dict.fromkeys("dry_allowed_length no_repeat_ngram_size encoder_no_repeat_ngram_size".split(), 0),
    **dict.fromkeys("forced_bos_token_id pad_token_id seed mirostat".split(), 0),
}
# Where another system takes more: a top_k below 1, and in llama.cpp any min_p, is off or keeps the best.
_LEAST_IN: Mapping[Preset, Mapping[str, float]] = {"llama.cpp": {"top_k": -inf}, "vllm": {"top_k": -1}}
_ANY_IN: Mapping[Preset, frozenset[str]] = {"llama.cpp": frozenset({"min_p"})}


def plain(value: Any) -> Any:
    """The value with the scalars and arrays of numpy and torch in it turned into Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(plain, value))
    if type(value) is dict:
        return {plain(key): plain(part) for key, part in value.items()}
    return value


def checked(field: Field, value: Any, vocab_size: int, preset: Preset = "transformers") -> Any:
    """The value in its own form; None stays None.

    Args:
        field: the keyword.
        value: as given.
        vocab_size: ids are checked against it; 0 checks nothing.
        preset: whose intervals.

    Raises:
        ValueError: not of this kind, or outside its interval; names the keyword.
    """
    if value is None:
        return None
    if field.kind == "whole":
        least = _LEAST_IN.get(preset, {}).get(field.name, _LEAST[field.name])
        value = _whole(field.name, value, least)
    kinds = {"number": _number, "flag": _flag, "texts": _texts, "text": _text}
    if field.kind in kinds:
        value = kinds[field.kind](field.name, value)
    elif field.kind == "ids":
        value = _ids(field.name, value, vocab_size)
    if field.name in ("forced_bos_token_id", "pad_token_id"):
        _ids(field.name, value, vocab_size)
    if field.name == "force_words_ids":
        _phrases(field.name, value, vocab_size)
    if field.name in _RULES and field.name not in _ANY_IN.get(preset, ()):
        _RULES[field.name](value)
    return value


def require(right: bool, name: str, interval: str, value: Any) -> None:
    """Refuse a value by name.

    Raises:
        ValueError: it is not right.
    """
    if not right:
        raise ValueError(f"{name} must be {interval}, got {_short(value)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _whole(name: str, value: Any, least: float) -> int:
    number = isinstance(value, int) and not isinstance(value, bool)
    right = (number or (isinstance(value, float) and value.is_integer())) and value >= least
    require(right, name, "a whole number" + (f" of at least {least}" if isfinite(least) else ""), value)
    return int(value)


def _number(name: str, value: Any) -> float:
    right = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    right = right and (isinstance(value, float) or abs(value) < _MOST)
    require(right, name, "a number", value)
    return float(value)


def _flag(name: str, value: Any) -> bool:
    require(isinstance(value, bool), name, "True or False", value)
    return bool(value)


def _text(name: str, value: Any) -> str:
    require(isinstance(value, str) and _is_unicode(value), name, "a text", value)
    return str(value)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    require(isinstance(texts, Sequence), name, "a text or a list of texts", value)
    for text in texts:
        right = isinstance(text, str) and bool(text) and _is_unicode(text)
        require(right, name, "texts of at least one character", text)
    return tuple(texts)


def _is_unicode(text: str) -> bool:
    """Whether a text has UTF-8 bytes, which a lone surrogate has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ids(name: str, value: Any, vocab_size: int) -> tuple[int, ...]:
    ids = list(value) if isinstance(value, list | tuple | set | frozenset | range) else [value]
    if ids and isinstance(ids[0], list):  # transformers takes negative_prompt_ids with a batch dimension
        require(len(ids) == 1, name, "one list of ids", value)
        ids = ids[0]
    most = f"{vocab_size - 1}" if vocab_size else "the vocabulary size - 1"
    for token in ids:
        whole = isinstance(token, int) and not isinstance(token, bool)
        right = whole and token >= 0 and (not vocab_size or token < vocab_size)
        require(right, name, f"ids in [0, {most}]", token)
    return tuple(ids)


def _phrases(name: str, value: Any, vocab_size: int) -> None:
    """Ids of phrases, or of lists of phrases, however deep: their shape is the search's to check."""
    if isinstance(value, list | tuple):
        for part in value:
            if isinstance(part, list | tuple):
                _phrases(name, part, vocab_size)
            else:
                _ids(name, part, vocab_size)


def _temperature(value: float) -> None:
    require(0.0 <= value < float("inf"), "temperature", "a number of at least 0", value)


def _positive(name: str) -> Any:
    def rule(value: float) -> None:
        require(0.0 < value < float("inf"), name, "above 0 and finite", value)

    return rule


def _between(name: str, low: float, high: float) -> Any:
    def rule(value: float) -> None:
        require(low <= value <= high, name, f"in [{low:g}, {high:g}]", value)

    return rule


def _one_of(name: str, known: Sequence[Any]) -> Any:
    def rule(value: Any) -> None:
        require(value in known, name, "one of " + ", ".join(str(k) for k in known), value)

    return rule


def _seed(value: int) -> None:
    require(0 <= value <= MAX_SEED, "seed", "a whole number in [0, 2**64 - 1]", value)


def _max_time(value: float) -> None:
    require(0 < value < float("inf"), "max_time", "a number of seconds above 0", value)


def _decay(value: Any) -> None:
    pair = isinstance(value, list | tuple) and len(value) == 2
    right = pair and all(isinstance(v, int | float) and not isinstance(v, bool) and v == v for v in value)
    require(right, "exponential_decay_length_penalty", "a pair of numbers (start, factor)", value)


def _schema(value: Any) -> None:
    require(
        isinstance(value, Mapping | str | bool), "json_schema", "a JSON Schema as a mapping or a text", value
    )


def _functions(value: Any) -> None:
    require(isinstance(value, list | tuple), "logits_processor", "a list of stages", value)


def _callable(value: Any) -> None:
    require(callable(value), "prefix_allowed_tokens_fn", "a function of (batch index, ids)", value)


def _early(value: Any) -> None:
    require(isinstance(value, bool) or value == "never", "early_stopping", "True, False or 'never'", value)


def _unit(name: str) -> Any:
    return _between(name, 0.0, 1.0)


_SCHEDULES = ("constant", "heuristic", "heuristic_transient")
_RULES: Mapping[str, Any] = {
    "seed": _seed,
    "max_time": _max_time,
    "preset": _one_of("preset", PRESETS),
    "rng": _one_of("rng", RNGS),
    "mirostat": _one_of("mirostat", (0, 1, 2)),
    "temperature": _temperature,
    "early_stopping": _early,
    "exponential_decay_length_penalty": _decay,
    "json_schema": _schema,
    "logits_processor": _functions,
    "prefix_allowed_tokens_fn": _callable,
    "num_assistant_tokens_schedule": _one_of("num_assistant_tokens_schedule", _SCHEDULES),
    "repetition_penalty": _positive("repetition_penalty"),
    "encoder_repetition_penalty": _positive("encoder_repetition_penalty"),
    "dynatemp_exponent": _positive("dynatemp_exponent"),
    **{
        name: _unit(name)
        for name in (
            *("top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_h", "penalty_alpha"),
            *("xtc_probability", "xtc_threshold", "assistant_confidence_threshold"),
        )
    },
}
