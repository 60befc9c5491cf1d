"""A configuration as a call of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from tokenglass.config import BY_NAME, FIELDS, GenerationConfig

_OURS = frozenset(
    "preset order seed rng negative_prompt bad_words regex choice json_schema grammar".split()
) | {
    *("frequency_penalty", "presence_penalty", "logit_bias", "allowed_token_ids", "ignore_eos"),
    *("dynatemp_range", "dynatemp_exponent", "top_n_sigma", "xtc_probability", "xtc_threshold"),
    *("mirostat", "mirostat_tau", "mirostat_eta", "adaptive_target", "adaptive_decay", "repeat_last_n"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
}
_MOVED = {
    "contrastive_search": "4.55.4",
    "dola": "4.55.4",
    "group_beam_search": "4.56.2",
    "constrained_beam_search": "4.56.2",
}


def transformers_code(config: GenerationConfig, idle: frozenset[str] = frozenset()) -> str:
    """The call, with what transformers lacks in comments.

    Args:
        config: effective; values at transformers' defaults are left out unless the user gave them.
        idle: keywords whose stages take no part.
    """
    notes = _notes(config, idle)
    lines = [*(f"# {note}" for note in notes)]
    if config.sampling and config.seed is not None:
        lines.append(f"torch.manual_seed({config.seed})")
    lines.append("output = model.generate(")
    lines.append("    **inputs,")
    lines += [f"    {name}={_python(value)}," for name, value in _arguments(config) if name not in idle]
    lines.append(")")
    return "\n".join(lines)


def _arguments(config: GenerationConfig) -> list[tuple[str, Any]]:
    shown: list[tuple[str, Any]] = [("max_new_tokens", config.max_new_tokens)]
    for field in FIELDS:
        name = field.name
        if name in _OURS or name in ("max_new_tokens", "max_length"):
            continue
        passed_over = name in config.passed_over  # left out, the model's own opinion would come back
        if not config.acts(name) and not (passed_over and name not in config.values):
            continue
        value = config.values.get(name, field.default)
        given = passed_over or config.sources.get(name) in ("you", "generation_config.json")
        if name == "eos_token_id":
            if given:
                shown.append((name, list(value) if value else None))
        elif given or value != field.default:
            shown.append((name, _argument(config, name, value)))
    if config.stop_strings:
        shown.append(("tokenizer", _Name("tokenizer")))
    return shown


class _Name(str):
    """Python code rather than a text."""


def _argument(config: GenerationConfig, name: str, value: Any) -> Any:
    """A value as transformers wants it: functions and models by name, ids of a second prompt as a tensor."""
    if value is None:
        return None
    if BY_NAME[name].kind == "object":
        return _Name(name)
    if name == "negative_prompt_ids":
        rows = config["num_return_sequences"] if config.mode == "sample" else 1
        return _Name(f"torch.tensor([{list(value)}]{f' * {rows}' if rows > 1 else ''})")
    return value.to_dict() if hasattr(value, "to_dict") else value


def _python(value: Any) -> str:
    if isinstance(value, _Name):
        return str(value)
    if isinstance(value, float) and not isfinite(value):
        return f"float('{value}')"
    if isinstance(value, list | tuple):
        inner = ", ".join(map(_python, value))
        return f"[{inner}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_python(v)}" for k, v in value.items()) + "}"
    return repr(value) if isinstance(value, str | int | float | None) else type(value).__name__


def _notes(config: GenerationConfig, idle: frozenset[str]) -> list[str]:
    notes: list[str] = []
    if config.preset != "transformers":
        notes.append(f"{config.preset}'s order of stages, windows and ties differ: the result may too")
    if config["order"] is not None:
        notes.append("the order of stages cannot be changed in transformers")
    if config.mode in _MOVED:
        notes.append(
            f"{config.mode.replace('_', ' ')} needs transformers {_MOVED[config.mode]} or custom code"
        )
    if config.sampling and config["rng"] != "torch":
        notes.append("drawn from the same distribution by other random numbers; rng='torch' reproduces them")
    for name in sorted(_OURS - idle - {"preset", "order", "seed", "rng"}):
        field = next(f for f in FIELDS if f.name == name)
        if config[name] is not None and config[name] != field.default and config.acts(name):
            notes.append(f"no equivalent in transformers: {name}={_python(config[name])}")
    return notes
