"""Which strategy a configuration asks for, which keywords act in it, and what cannot go together.

The decision is transformers' `get_generation_mode`, with the modes that its 5.x releases moved out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tokenglass.config.fields import Preset, When
from tokenglass.config.values import require

Mode = Literal[
    "greedy",
    "sample",
    "beam_search",
    "beam_sample",
    "group_beam_search",
    "constrained_beam_search",
    "contrastive_search",
    "dola",
    "assisted",
    "prompt_lookup",
]
BEAMS: frozenset[Mode] = frozenset(
    {"beam_search", "beam_sample", "group_beam_search", "constrained_beam_search"}
)
SEARCHES: frozenset[Mode] = BEAMS | {"contrastive_search", "dola", "assisted", "prompt_lookup"}
VLLM_GREEDY = 1e-5  # at a temperature below it vLLM takes the best token


def mode_of(values: Mapping[str, Any]) -> Mode:
    """The strategy."""
    if values.get("force_words_ids") is not None:
        return "constrained_beam_search"
    sampling = bool(values.get("do_sample"))
    if (values.get("num_beams") or 1) > 1:
        if (values.get("num_beam_groups") or 1) > 1:
            return "group_beam_search"
        return "beam_sample" if sampling else "beam_search"
    if not sampling and (values.get("top_k") or 0) > 1 and (values.get("penalty_alpha") or 0.0) > 0.0:
        return "contrastive_search"
    if values.get("dola_layers") is not None:
        return "dola"
    if values.get("assistant_model") is not None:
        return "assisted"
    if values.get("prompt_lookup_num_tokens") is not None:
        return "prompt_lookup"
    return "sample" if sampling else "greedy"


def adapts(values: Mapping[str, Any]) -> bool:
    """Whether adaptive-p picks the token; a negative target is off, 0 is not."""
    target = values.get("adaptive_target")
    return target is not None and target >= 0.0


def conditions(values: Mapping[str, Any]) -> Mapping[When, bool]:
    """For each kind of run, whether this is one: keywords of that kind change something then."""
    mode, sampling = mode_of(values), bool(values.get("do_sample"))
    truncating = sampling or values.get("preset") == "llama.cpp"  # whose chain runs at temperature 0, too
    return {
        "always": True,
        "sampling": truncating,
        "top_k": truncating or mode == "contrastive_search",
        "beams": mode in BEAMS,
        "groups": mode == "group_beam_search",
        "forced": mode == "constrained_beam_search",
        "contrastive": mode == "contrastive_search",
        "dola": mode == "dola",
        "assisted": mode == "assisted",
        "lookup": mode == "prompt_lookup",
        "guidance": values.get("guidance_scale") not in (None, 1.0),
        "mirostat": sampling and bool(values.get("mirostat")),
        "adaptive": sampling and adapts(values),
    }


def refuse_combinations(values: Mapping[str, Any], preset: Preset) -> None:
    """Refuse what cannot go together, by name and before the run.

    Raises:
        ValueError: two keywords that exclude each other.
    """
    mode, beams, returned = mode_of(values), values.get("num_beams") or 1, values["num_return_sequences"] or 1
    sampling = bool(values["do_sample"])
    if mode in BEAMS:
        require(beams > 1, "num_beams", "above 1 with force_words_ids", beams)
        if mode == "constrained_beam_search":
            groups = values.get("num_beam_groups") or 1
            require(groups == 1, "num_beam_groups", "1 with force_words_ids", groups)
        interval = f"at most num_beams = {beams}"
        require(returned <= beams, "num_return_sequences", interval, returned)
        if mode in ("group_beam_search", "constrained_beam_search"):
            require(not sampling, "do_sample", f"False with {mode.replace('_', ' ')}", True)
        require(not values.get("mirostat"), "mirostat", "0 with beams", values.get("mirostat"))
        require(not adapts(values), "adaptive_target", "off with beams", "")
        _no_second_search(values, f"num_beams={beams}")
    elif mode == "sample":
        require(
            not (returned > 1 and values.get("token_healing")),
            "num_return_sequences",
            "1 with token_healing",
            returned,
        )
    else:
        kind = "a greedy run: set do_sample=True or num_beams" if mode == "greedy" else mode.replace("_", " ")
        require(returned == 1, "num_return_sequences", f"1 in {kind}", returned)
    if mode in SEARCHES - BEAMS:
        _one_search(values, mode)
    _refuse_rng(values, mode)
    kinds = [n for n in ("regex", "choice", "json_schema", "grammar") if values.get(n) is not None]
    require(len(kinds) < 2, " and ".join(kinds) or "grammar", "given one at a time", "both")
    both = values.get("negative_prompt") is not None and values.get("negative_prompt_ids") is not None
    require(not both, "negative_prompt and negative_prompt_ids", "given one at a time", "both")


def _refuse_rng(values: Mapping[str, Any], mode: Mode) -> None:
    """Another system's random numbers only where that system draws."""
    rng = values["rng"]
    if not values["do_sample"] or rng == "tokenglass":
        return
    require(mode in ("sample", "beam_sample"), "rng", f"'tokenglass' in {mode.replace('_', ' ')}", rng)
    beams = mode == "beam_sample"
    require(not (beams and rng == "llama.cpp"), "rng", "'tokenglass' or 'torch' with beams", rng)
    own = adapts(values) or bool(values.get("mirostat"))
    interval = "'tokenglass' or 'llama.cpp' with mirostat or adaptive_target"
    require(not (own and rng == "torch"), "rng", interval, rng)


def _no_second_search(values: Mapping[str, Any], why: str) -> None:
    for name in ("dola_layers", "assistant_model", "prompt_lookup_num_tokens"):
        require(values.get(name) is None, name, f"absent with {why}", values.get(name))
    require(
        not values.get("penalty_alpha"), "penalty_alpha", f"absent with {why}", values.get("penalty_alpha")
    )


def _one_search(values: Mapping[str, Any], mode: Mode) -> None:
    """Of the searches with one text, one at a time; and none of them adapts its own randomness."""
    asked = [
        n for n in ("dola_layers", "assistant_model", "prompt_lookup_num_tokens") if values.get(n) is not None
    ]
    asked += ["penalty_alpha"] if mode == "contrastive_search" else []
    require(len(asked) == 1, " and ".join(asked), "given one at a time", "both")
    require(not values.get("mirostat"), "mirostat", f"0 in {mode.replace('_', ' ')}", values.get("mirostat"))
    require(not adapts(values), "adaptive_target", f"off in {mode.replace('_', ' ')}", "")
