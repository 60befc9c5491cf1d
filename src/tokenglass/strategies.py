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
from tokenglass.types.searching import SearchRecords
from tokenglass.types.shown import ShowsItsState, Tabular

Run = Generator[SearchStep, None, tuple[Sequence, ...]]


class Search(ShowsItsState, Tabular):
    """A search as it goes: iterate for its records; afterwards `sequences` holds the texts, best first.

    It shows itself as far as it went.
    """

    def __init__(self, run: Run, vocabulary: Vocabulary) -> None:
        self._run, self._vocabulary = run, vocabulary
        self._taken: list[SearchStep] = []
        self._sequences: tuple[Sequence, ...] = ()

    def __repr__(self) -> str:
        return f"<Search at step {len(self._taken)}{', finished' if self._sequences else ''}>"

    @property
    def state(self) -> SearchRecords:
        """The records that were taken so far."""
        return SearchRecords(tuple(self._taken), self._vocabulary)

    @property
    def sequences(self) -> tuple[Sequence, ...]:
        """The finished texts, best first; empty until the last record was taken."""
        return self._sequences

    def __iter__(self) -> Iterator[SearchStep]:
        return self

    def __next__(self) -> SearchStep:
        try:
            record = next(self._run)
        except StopIteration as end:
            self._sequences = end.value or self._sequences
            raise
        self._taken.append(record)
        return record


def searching(engine: Engine, vocabulary: Vocabulary, prompt_ids: tuple[int, ...], plan: Plan) -> Search:
    """The search of a plan, ready to go.

    Args:
        engine: gives logits for ids.
        vocabulary: names ids.
        prompt_ids: at least one id.
        plan: of a mode that is a search.
    """
    run: Callable[..., Run] = _RUNS[plan.config.mode]
    return Search(
        run(
            engine,
            vocabulary,
            prompt_ids,
            options(plan.config),
            plan.stages,
            limits=limits_of(plan.config),
            negative_ids=plan.negative_ids,
            **_more(plan, engine, vocabulary),
        ),
        vocabulary,
    )


def options(config: GenerationConfig) -> Any:
    """The options of the search that a configuration asks for; None where it asks for none.

    Raises:
        ValueError: a value outside its interval.
    """
    make = _OPTIONS.get(config.mode)
    return None if make is None else make(config)


def _more(plan: Plan, engine: Engine, vocabulary: Vocabulary) -> dict[str, Any]:
    """What some searches need besides."""
    config, mode = plan.config, plan.config.mode
    more: dict[str, Any] = {} if mode in _NEVER_DRAW else {"source": plan.source()}
    if mode == "beam_sample" and config["rng"] == "torch":
        more["torch_seed"] = config.seed
    if mode == "dola":
        more["tie_word_embeddings"] = engine.info.tie_word_embeddings
    if mode == "assisted":
        more["assistant"] = _drafter(config["assistant_model"], vocabulary)
    return more


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
_BEAMS = ("num_beams", "num_return_sequences", "length_penalty", "early_stopping")


def _named(config: GenerationConfig, *names: str) -> dict[str, Any]:
    return {name: config[name] for name in names}


def _beams(config: GenerationConfig) -> Any:
    return search.BeamOptions(**_named(config, *_BEAMS), do_sample=config.sampling)


def _groups(config: GenerationConfig) -> Any:
    names = ("num_beam_groups", "diversity_penalty", "pad_token_id")
    return search.DiverseBeamOptions(**_named(config, *_BEAMS, *names))


def _constrained(config: GenerationConfig) -> Any:
    return search.ConstrainedBeamOptions(**_named(config, *_BEAMS, "force_words_ids"))


def _contrastive(config: GenerationConfig) -> Any:
    return search.ContrastiveOptions(**_named(config, "penalty_alpha", "top_k"))


def _dola(config: GenerationConfig) -> Any:
    return search.DolaOptions(dola_layers=config["dola_layers"], do_sample=config.sampling)


def _assisted(config: GenerationConfig) -> Any:
    assistant = config["assistant_model"]
    if not hasattr(assistant, "engine") or not hasattr(assistant, "tokenizer"):
        raise ValueError(f"assistant_model must be what load() returns, got {type(assistant).__name__}")
    return search.AssistedOptions(
        **_named(config, "num_assistant_tokens", "num_assistant_tokens_schedule"),
        assistant_confidence_threshold=config["assistant_confidence_threshold"] or 0.0,
        do_sample=config.sampling,
    )


def _lookup(config: GenerationConfig) -> Any:
    return search.LookupOptions(
        prompt_lookup_num_tokens=config["prompt_lookup_num_tokens"],
        max_matching_ngram_size=config["max_matching_ngram_size"] or 2,
        do_sample=config.sampling,
    )


_OPTIONS: dict[str, Callable[[GenerationConfig], Any]] = {
    "beam_search": _beams,
    "beam_sample": _beams,
    "group_beam_search": _groups,
    "constrained_beam_search": _constrained,
    "contrastive_search": _contrastive,
    "dola": _dola,
    "assisted": _assisted,
    "prompt_lookup": _lookup,
}


def _drafter(assistant: Any, vocabulary: Vocabulary) -> Engine:
    """The engine of a second model, whose tokens must be the first one's: drafts are compared by id."""
    theirs = assistant.tokenizer
    same = len(theirs) == len(vocabulary) and all(
        theirs.token(i).bytes == vocabulary.token(i).bytes for i in range(len(vocabulary))
    )
    if not same:
        raise ValueError("assistant_model must have the same tokens; load a model of the same family")
    engine: Engine = assistant.engine
    return engine
