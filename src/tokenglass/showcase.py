"""One prompt under every strategy: what each writes, and where it first parts from greedy.

Every row is a plain `generate` call. All rows share one seed, so that draws differ because strategies differ,
not because luck does.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tokenglass.config import DEFAULT_NEW_TOKENS, resolve
from tokenglass.errors import TokenglassError
from tokenglass.random import fresh_seed
from tokenglass.types import Generation
from tokenglass.types.showcase import Parting, Showcase, Strategy

if TYPE_CHECKING:
    from tokenglass.model import Model, Prompt

_DRAWN: Mapping[str, Any] = {"do_sample": True, "top_k": 0}  # without transformers' own top_k of 50
STRATEGIES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "greedy": {"do_sample": False},
        "temperature": {**_DRAWN, "temperature": 0.7},
        "top_k": {"do_sample": True, "top_k": 20},
        "top_p": {**_DRAWN, "top_p": 0.9},
        "min_p": {**_DRAWN, "min_p": 0.1},
        "typical_p": {**_DRAWN, "typical_p": 0.9},
        "top_n_sigma": {**_DRAWN, "top_n_sigma": 1.0},
        "xtc": {**_DRAWN, "min_p": 0.02, "xtc_probability": 0.5, "xtc_threshold": 0.1},
        "mirostat": {"do_sample": True, "mirostat": 2, "mirostat_tau": 5.0},
        "repetition_penalty": {"do_sample": False, "repetition_penalty": 1.3},
        "no_repeat_ngram": {"do_sample": False, "no_repeat_ngram_size": 2},
        "beam_search": {"do_sample": False, "num_beams": 5},
        "beam_sample": {**_DRAWN, "num_beams": 5},
        "diverse_beams": {
            "do_sample": False,
            "num_beams": 4,
            "num_beam_groups": 2,
            "diversity_penalty": 1.0,
        },
        "contrastive": {"do_sample": False, "penalty_alpha": 0.6, "top_k": 4},
        "dola": {"do_sample": False, "dola_layers": "low"},
        "prompt_lookup": {"do_sample": False, "prompt_lookup_num_tokens": 5},
        "llama.cpp": {"preset": "llama.cpp"},
        "vllm": {"preset": "vllm"},
    }
)
# What makes another strategy, or another number of texts, of every row.
_THEIRS = frozenset(keyword for keywords in STRATEGIES.values() for keyword in keywords) | {
    *("assistant_model", "force_words_ids", "num_return_sequences")
}


def strategies(model: Model, prompt: Prompt, names: Sequence[str] | None = None, **config: Any) -> Showcase:
    """Write on after a prompt with every strategy.

    Args:
        model: that writes.
        prompt: text, ids or messages.
        names: of `STRATEGIES`; greedy comes first in any case. None takes all.
        **config: keywords for all of them, such as `max_new_tokens` (20), `seed` or `stop_strings`.

    Raises:
        TypeError: an unknown keyword.
        ValueError: no such strategy, a keyword that the strategies set themselves, or a wrong value.
        ContextOverflow: the prompt is longer than the model's context.

    A strategy that this engine cannot run, or that a keyword excludes, is listed with the reason.
    """
    shared, chosen = shared_config(config), chosen_names(names)
    ids = model.prompt_ids(prompt)
    return showcase_of(model, ids, each_strategy(model, ids, chosen, shared), shared)


def showcase_of(
    model: Model, prompt_ids: tuple[int, ...], rows: Iterable[Strategy], shared: Mapping[str, Any]
) -> Showcase:
    """The result of some runs, or of those that are done."""
    return Showcase(prompt_ids, model.detokenize(prompt_ids), tuple(rows), shared)


def chosen_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """The strategies asked for in the order of `STRATEGIES`, greedy always among them.

    Raises:
        ValueError: there is no such strategy; the nearest is named.
    """
    wanted = set(STRATEGIES if names is None else names)
    for name in wanted - set(STRATEGIES):
        near = difflib.get_close_matches(name, STRATEGIES, n=1)
        hint = f"did you mean {near[0]}?" if near else "they are " + ", ".join(STRATEGIES)
        raise ValueError(f"there is no strategy {name!r}; {hint}")
    return tuple(name for name in STRATEGIES if name in wanted or name == "greedy")


def shared_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of all rows, with one seed and one length.

    Raises:
        TypeError: an unknown keyword.
        ValueError: a keyword that the strategies set themselves, or a wrong value.
    """
    theirs = [name for name in config if name in _THEIRS]
    if theirs:
        raise ValueError(
            f"{', '.join(theirs)} is what the strategies differ in; leave it out, or use generate"
        )
    shared = dict(config)
    if not {"max_new_tokens", "max_length"} & set(shared):
        shared["max_new_tokens"] = DEFAULT_NEW_TOKENS
    if shared.get("seed") is None:
        shared["seed"] = fresh_seed()
    resolve(shared)
    return shared


def each_strategy(
    model: Model, prompt_ids: tuple[int, ...], names: Sequence[str], shared: Mapping[str, Any]
) -> Iterator[Strategy]:
    """Run one strategy after the other; greedy, the first, must work.

    Args:
        model: that writes.
        prompt_ids: at least one id.
        names: as `chosen_names` gives them.
        shared: as `shared_config` gives them.
    """
    greedy: Generation | None = None
    for name in names:
        keywords = STRATEGIES[name]
        started = time.perf_counter()
        try:
            generation = model.generate(prompt_ids, **{**shared, **keywords})
        except (TokenglassError, ValueError) as error:
            if greedy is None:
                raise
            yield Strategy(name, keywords, reason=str(error))
            continue
        seconds = time.perf_counter() - started
        parting = None if greedy is None else parted(generation, greedy)
        greedy = greedy or generation
        yield Strategy(name, keywords, generation, seconds, parting=parting)


def parted(generation: Generation, greedy: Generation) -> Parting | None:
    """Where a text first differs from the greedy one; None where it does not."""
    for index, (own, other) in enumerate(zip_longest(generation.steps, greedy.steps)):
        if own is None or other is None or own.id != other.id:
            return Parting(index, own, other)
    return None
