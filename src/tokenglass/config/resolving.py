"""From the keywords of a call to one effective value each, with where it came from.

Absent takes the model's generation_config.json, then the default; None switches off where transformers' does.
Nothing is ignored in silence: a keyword without effect in this run is listed, an unknown one is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from tokenglass.config.effects import without_effect
from tokenglass.config.fields import PRESETS, Field, Preset, When
from tokenglass.config.modes import VLLM_GREEDY, Mode, conditions, mode_of, refuse_combinations
from tokenglass.config.table import BY_NAME, FIELDS, KNOWN, NEVER_OFF, REFUSED
from tokenglass.config.values import checked, plain, require
from tokenglass.errors import Unsupported
from tokenglass.types.settings import Setting, Settings
from tokenglass.types.shown import ShowsItsState, Tabular

Source = Literal["you", "generation_config.json", "model", "preset", "default", "fresh"]
DEFAULT_NEW_TOKENS = 20


@dataclass(frozen=True, repr=False)
class GenerationConfig(ShowsItsState, Tabular):
    """An effective configuration: one value for every keyword that the preset knows.

    Attributes:
        values: name -> value; None is off.
        sources: name -> where the value came from: "you", "generation_config.json", "model" (its own
            end-of-text ids), "preset" (a silent default of another system), "default", or "fresh" (a seed).
        prompt_length: tokens of the prompt.
        max_new_tokens: how many tokens are written at most.
        no_effect: names that were given and change nothing in this run.
        passed_over: names on which the model's generation_config.json has an opinion that the preset ignores.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, Source] = field(default_factory=dict)
    prompt_length: int = 0
    max_new_tokens: int = DEFAULT_NEW_TOKENS
    no_effect: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def __repr__(self) -> str:
        return repr(self.state).replace("<Settings", "<GenerationConfig", 1)

    @cached_property
    def mode(self) -> Mode:
        """Which strategy writes."""
        return mode_of(self.values)

    @cached_property
    def _conditions(self) -> Mapping[When, bool]:
        return conditions(self.values)

    def acts(self, name: str) -> bool:
        """Whether a keyword changes anything in this run."""
        return name in self.values and self._conditions[BY_NAME[name].when]

    @property
    def preset(self) -> Preset:
        """Whose order, windows, ties and silent defaults."""
        found: Preset = self.values.get("preset") or "transformers"
        return found

    @property
    def sampling(self) -> bool:
        """Whether tokens are drawn; never at temperature 0."""
        return bool(self["do_sample"])

    @property
    def max_length(self) -> int:
        """Most tokens of prompt and text together."""
        return self.prompt_length + self.max_new_tokens

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end the text, in the order given; none when switched off, or ignored as in vLLM."""
        ignored = self.preset == "vllm" and self["ignore_eos"]  # there it may be written, and means nothing
        return () if ignored else tuple(self["eos_token_id"] or ())

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Texts that end it, matched on bytes; the text is kept whole."""
        return tuple(self["stop_strings"] or ())

    @property
    def max_time(self) -> float | None:
        """Seconds after which no further token is begun."""
        seconds: float | None = self["max_time"]
        return seconds

    @property
    def seed(self) -> int | None:
        """Of the randomness; None where nothing is drawn."""
        number: int | None = self["seed"]
        return number

    @property
    def state(self) -> Settings:
        """The keywords that act, with where each value came from; what a notebook shows."""
        acting = [each.name for each in FIELDS if self[each.name] is not None and self.acts(each.name)]
        rows = [Setting(name, self[name], self.sources.get(name, "default")) for name in acting]
        return Settings(self.mode, self.preset, tuple(rows), self.no_effect, self.passed_over)

    def to_dict(self) -> dict[str, Any]:
        """What is in force, defaults included; keywords that are off or do not act are left out."""
        shown = {
            f.name: _shown(self[f.name]) for f in FIELDS if self[f.name] is not None and self.acts(f.name)
        }
        shown["max_new_tokens"] = self.max_new_tokens
        shown["eos_token_id"] = list(self.eos_ids)
        return {"mode": self.mode, **shown, "no_effect": list(self.no_effect)}


def _shown(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def resolve(
    given: Mapping[str, Any],
    *,
    model_defaults: Mapping[str, Any] | None = None,
    model_eos: tuple[int, ...] = (),
    prompt_length: int = 0,
    vocab_size: int = 0,
) -> GenerationConfig:
    """The effective configuration of a call.

    `max_new_tokens` wins over `max_length`, which counts the prompt. The presets of other systems ignore the
    model's generation_config.json.

    Args:
        given: the caller's keywords.
        model_defaults: fields of the model's generation_config.json.
        model_eos: end-of-text ids by the model's own files, used when neither of the above says.
        prompt_length: tokens of the prompt.
        vocab_size: ids are checked against it; 0 checks nothing.

    Raises:
        TypeError: an unknown keyword; the nearest one is named.
        ValueError: a value outside its interval, or keywords that cannot go together.
        Unsupported: a keyword that is refused, with the reason.
    """
    given = {n: plain(v) if n in BY_NAME and BY_NAME[n].kind != "object" else v for n, v in given.items()}
    _refuse_unknown(given)
    preset: Preset = "transformers" if given.get("preset") is None else given["preset"]
    require(preset in PRESETS, "preset", "one of " + ", ".join(PRESETS), preset)
    _refuse_foreign(given, preset)
    opinions = {n: v for n, v in (model_defaults or {}).items() if v is not None}
    defaults = opinions if preset == "transformers" else {}
    values: dict[str, Any] = {"preset": preset}
    sources: dict[str, Source] = {"preset": "you" if "preset" in given else "default"}
    for item in FIELDS:
        if item.name != "preset" and preset in item.presets:
            raw, sources[item.name] = _value(item, given, defaults, preset)
            values[item.name] = _from(sources[item.name], item, raw, vocab_size, preset)
    if sources["eos_token_id"] == "default":
        values["eos_token_id"], sources["eos_token_id"] = tuple(model_eos), "model"
    if sources["max_length"] != "you" if "max_length" in sources else False:
        values["max_length"] = _useful_length(values["max_length"], prompt_length)
    _settle_sampling(values, preset)
    refuse_combinations(values, preset)
    budget = _budget(values, prompt_length, preset)
    _settle_seed(values, sources)
    passed_over = tuple(n for n in opinions if n in BY_NAME and n not in defaults)
    return GenerationConfig(
        values, sources, prompt_length, budget, without_effect(given, values), passed_over
    )


def _value(
    item: Field, given: Mapping[str, Any], defaults: Mapping[str, Any], preset: Preset
) -> tuple[Any, Source]:
    if item.name in given and not (given[item.name] is None and item.name in NEVER_OFF):
        return given[item.name], "you"
    if defaults.get(item.name) is not None:
        return defaults[item.name], "generation_config.json"
    return item.default_of(preset), "preset" if preset in item.defaults else "default"


def _from(source: Source, item: Field, raw: Any, vocab_size: int, preset: Preset) -> Any:
    try:
        return checked(item, raw, vocab_size, preset)
    except ValueError as error:
        if source == "generation_config.json":
            raise ValueError(
                f"{error} in the model's generation_config.json; give {item.name} yourself"
            ) from None
        raise


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"unknown keyword {name!r}{hint}")
        if name in REFUSED:
            off, advice = REFUSED[name]
            if not any(value is o or value == o for o in off):
                raise Unsupported(name, advice)


def _refuse_foreign(given: Mapping[str, Any], preset: Preset) -> None:
    """A keyword that the imitated system does not have cannot mean anything there."""
    for name in given:
        if name in BY_NAME and preset not in BY_NAME[name].presets and not _is_off(name, given[name]):
            others = ", ".join(p for p in PRESETS if p in BY_NAME[name].presets)
            raise ValueError(f"{name} is not part of preset {preset!r}; leave it out, or take {others}")


def _is_off(name: str, value: Any) -> bool:
    return value is None or value == BY_NAME[name].default


def _useful_length(value: int | None, prompt_length: int) -> int | None:
    """A model's own default must not make a long prompt an error."""
    return None if value is not None and value <= prompt_length else value


def _settle_sampling(values: dict[str, Any], preset: Preset) -> None:
    """Temperature 0: the best token in vLLM, what the chain leaves in llama.cpp, refused in transformers."""
    values["do_sample"] = bool(values["do_sample"])
    temperature = 1.0 if values["temperature"] is None else values["temperature"]
    if preset == "vllm" and temperature < VLLM_GREEDY:
        values["do_sample"] = False
    if preset == "transformers" and values["do_sample"]:
        interval = "above 0 when sampling; for the best token set do_sample=False"
        require(temperature > 0.0, "temperature", interval, temperature)


def _settle_seed(values: dict[str, Any], sources: dict[str, Source]) -> None:
    luck_in_chain = bool(values.get("xtc_probability")) and values["preset"] == "llama.cpp"
    if not values["do_sample"] and not luck_in_chain:
        return
    if values["seed"] is None:
        from tokenglass.random import fresh_seed  # only here: it imports numpy, which help does not need

        values["seed"], sources["seed"] = fresh_seed(), "fresh"
    most = {"llama.cpp": 2**32 - 1, "torch": 2**63 - 1}.get(str(values["rng"]))
    if most is not None:
        require(values["seed"] <= most, "seed", f"at most {most} with rng={values['rng']!r}", values["seed"])


def _budget(values: dict[str, Any], prompt_length: int, preset: Preset) -> int:
    """Tokens to write: `max_new_tokens`, else what `max_length` leaves after the prompt, else the default."""
    if values["max_new_tokens"] is not None:
        return int(values["max_new_tokens"])
    total = values.get("max_length")
    if total is None:
        return DEFAULT_NEW_TOKENS
    if total <= prompt_length:
        raise ValueError(
            f"max_length counts the prompt: it must be above {prompt_length}, got {total}; "
            "raise it or set max_new_tokens"
        )
    return int(total) - prompt_length
