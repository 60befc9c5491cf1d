"""Which search a plan asks for: from effective values to one of the generators of `search`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from tokenglass import search
from tokenglass.chain import Plan
from tokenglass.config import GenerationConfig
from tokenglass.decode import limits_of
from tokenglass.engines.base import Engine
from tokenglass.search import SearchStep
from tokenglass.types import Sequence, Vocabulary

Choices = tuple[Any, dict[str, Any]]  # the options of a search, and further arguments
Run = Generator[SearchStep, None, tuple[Sequence, ...]]


class Search:
    """A search as it goes: iterate for its records; afterwards `sequences` holds the texts, best first."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sequences: tuple[Sequence, ...] = ()

    @property
    def sequences(self) -> tuple[Sequence, ...]:
        """The finished texts, best first; empty until the last record was taken."""
        return self._sequences

    def __iter__(self) -> Iterator[SearchStep]:
        return self

    def __next__(self) -> SearchStep:
        try:
            return next(self._run)
        except StopIteration as end:
            self._sequences = end.value or self._sequences
            raise


def searching(engine: Engine, vocabulary: Vocabulary, prompt_ids: tuple[int, ...], plan: Plan) -> Search:
    """The search of a plan, ready to go.

    Args:
        engine: gives logits for ids.
        vocabulary: names ids.
        prompt_ids: at least one id.
        plan: of a mode that is a search.
    """
    run: Callable[..., Run] = _RUNS[plan.config.mode]
    options, more = _OPTIONS[plan.config.mode](plan.config, engine, vocabulary)
    drawing = () if plan.config.mode in _NEVER_DRAW else ("source",)
    arguments: dict[str, Any] = {name: plan.source() for name in drawing} | more
    return Search(
        run(
            engine,
            vocabulary,
            prompt_ids,
            options,
            plan.stages,
            limits=limits_of(plan.config),
            negative_ids=plan.negative_ids,
            **arguments,
        )
    )


_NEVER_DRAW = frozenset({"contrastive_search", "group_beam_search", "constrained_beam_search"})
_RUNS: dict[str, Callable[..., Any]] = {
    "beam_search": search.beam_search,
    "beam_sample": search.beam_search,
    "group_beam_search": search.diverse_beam_search,
    "constrained_beam_search": search.constrained_beam_search,
    "contrastive_search": search.contrastive_search,
    "dola": search.dola,
    "assisted": search.assisted,
    "prompt_lookup": search.prompt_lookup,
}


def _beams(config: GenerationConfig) -> dict[str, Any]:
    return {
        "num_beams": config["num_beams"],
        "num_return_sequences": config["num_return_sequences"],
        "length_penalty": config["length_penalty"],
        "early_stopping": config["early_stopping"],
        "do_sample": config.sampling,
    }


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _beam_options(config: GenerationConfig, engine: Engine, vocabulary: Vocabulary) -> Choices:
    more = {"torch_seed": config.seed} if config.sampling and config["rng"] == "torch" else {}
    return search.BeamOptions(**_beams(config)), more


def _group_options(config: GenerationConfig, engine: Engine, vocabulary: Vocabulary) -> Choices:
    groups, penalty = config["num_beam_groups"], config["diversity_penalty"]
    options = search.DiverseBeamOptions(
        **_beams(config),
        num_beam_groups=groups,
        diversity_penalty=penalty,
        pad_token_id=config["pad_token_id"],
    )
    return options, {}


def _constrained_options(config: GenerationConfig, engine: Engine, vocabulary: Vocabulary) -> Choices:
    return search.ConstrainedBeamOptions(**_beams(config), force_words_ids=config["force_words_ids"]), {}


def _contrastive_options(config: GenerationConfig, engine: Engine, vocabulary: Vocabulary) -> Choices:
    return search.ContrastiveOptions(penalty_alpha=config["penalty_alpha"], top_k=config["top_k"]), {}


def _dola_options(config: GenerationConfig, engine: Engine, vocabulary: Vocabulary) -> Choices:
    return search.DolaOptions(dola_layers=config["dola_layers"], do_sample=config.sampling), {
        "tie_word_embeddings": engine.info.tie_word_embeddings
    }


def _assisted_options(config: GenerationConfig, engine: Engine, vocabulary: Vocabulary) -> Choices:
    options = search.AssistedOptions(
        num_assistant_tokens=config["num_assistant_tokens"],
        num_assistant_tokens_schedule=config["num_assistant_tokens_schedule"],
        assistant_confidence_threshold=_or(config["assistant_confidence_threshold"], 0.0),
        do_sample=config.sampling,
    )
    return options, {"assistant": _drafter(config["assistant_model"], vocabulary)}


def _drafter(assistant: Any, vocabulary: Vocabulary) -> Engine:
    """The engine of a second model, whose tokens must be the first one's: drafts are compared by id."""
    if not hasattr(assistant, "engine") or not hasattr(assistant, "tokenizer"):
        raise ValueError(
            f"assistant_model must be a loaded model, got {type(assistant).__name__}; load() makes one"
        )
    theirs = assistant.tokenizer
    same = len(theirs) == len(vocabulary) and all(
        theirs.token(i).bytes == vocabulary.token(i).bytes for i in range(len(vocabulary))
    )
    if not same:
        raise ValueError(
            "assistant_model must have the same tokens, got a model with others; load one of the same family"
        )
    engine: Engine = assistant.engine
    return engine


def _lookup_options(config: GenerationConfig, engine: Engine, vocabulary: Vocabulary) -> Choices:
    options = search.LookupOptions(
        prompt_lookup_num_tokens=config["prompt_lookup_num_tokens"],
        max_matching_ngram_size=_or(config["max_matching_ngram_size"], 2),
        do_sample=config.sampling,
    )
    return options, {}


_OPTIONS: dict[str, Callable[[GenerationConfig, Engine, Vocabulary], Choices]] = {
    "beam_search": _beam_options,
    "beam_sample": _beam_options,
    "group_beam_search": _group_options,
    "constrained_beam_search": _constrained_options,
    "contrastive_search": _contrastive_options,
    "dola": _dola_options,
    "assisted": _assisted_options,
    "prompt_lookup": _lookup_options,
}
