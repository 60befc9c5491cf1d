"""What each strategy can be told: transformers' names and meanings, refused by name when out of range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from tokenglass.stages.base import require, require_whole

EarlyStopping = bool | Literal["never"]
Schedule = Literal["constant", "heuristic", "heuristic_transient"]


@dataclass(frozen=True, kw_only=True)
class BeamOptions:
    """Of beam search and beam sampling.

    Args:
        num_beams: beams kept at each step, >= 2.
        num_return_sequences: how many of the best are returned, in [1, num_beams].
        length_penalty: a hypothesis' score is its sum of log-probabilities / length ** length_penalty; above
            0 favours longer texts.
        early_stopping: False stops when the best beam, at its present length, cannot beat the worst finished
            one; "never" grants it the best length it could reach; True stops at `num_beams` finished ones.
        do_sample: draw the candidates instead of taking the best.

    Raises:
        ValueError: a value outside its interval.
    """

    num_beams: int = 2
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    do_sample: bool = False

    def __post_init__(self) -> None:
        require_whole("num_beams", self.num_beams, 2)
        require_whole("num_return_sequences", self.num_return_sequences, 1)
        fits = self.num_return_sequences <= self.num_beams
        require(
            fits, "num_return_sequences", f"at most num_beams = {self.num_beams}", self.num_return_sequences
        )
        require(_number(self.length_penalty), "length_penalty", "a finite number", self.length_penalty)
        right = isinstance(self.early_stopping, bool) or self.early_stopping == "never"
        require(right, "early_stopping", "False, True or 'never'", self.early_stopping)
        require(isinstance(self.do_sample, bool), "do_sample", "True or False", self.do_sample)


@dataclass(frozen=True, kw_only=True)
class DiverseBeamOptions(BeamOptions):
    """Of diverse beam search.

    Args:
        num_beam_groups: groups of equal size, >= 2, that divide `num_beams`.
        diversity_penalty: taken off a token's log-probability for each time an earlier group chose it at the
            same step, >= 0.
        pad_token_id: what a group that is done is taken to choose, and so what later groups avoid; the first
            eos id where None.
    """

    num_beam_groups: int = 2
    diversity_penalty: float = 0.0
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("num_beam_groups", self.num_beam_groups, 2)
        divides = self.num_beams % self.num_beam_groups == 0
        require(
            divides, "num_beam_groups", f"a divisor of num_beams = {self.num_beams}", self.num_beam_groups
        )
        right = _number(self.diversity_penalty) and self.diversity_penalty >= 0
        require(right, "diversity_penalty", "a number >= 0", self.diversity_penalty)
        require(not self.do_sample, "do_sample", "False with beam groups", self.do_sample)
        if self.pad_token_id is not None:
            require_whole("pad_token_id", self.pad_token_id, 0)


@dataclass(frozen=True, kw_only=True)
class ConstrainedBeamOptions(BeamOptions):
    """Of constrained beam search.

    Args:
        force_words_ids: what must appear in the text: each entry is the ids of one phrase, or a list of such
            phrases of which one must appear; in the second kind no phrase may be the beginning of another.
    """

    force_words_ids: Sequence[Sequence[int] | Sequence[Sequence[int]]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.do_sample, "do_sample", "False with forced words", self.do_sample)
        words = self.force_words_ids
        require(_list(words) and len(words) > 0, "force_words_ids", "a list of at least one phrase", words)
        for word in words:
            phrases: list[Any] = list(word) if _list(word) and len(word) and _list(word[0]) else [word]
            for phrase in phrases:
                right = _list(phrase) and len(phrase) and all(_id(i) for i in phrase)
                require(bool(right), "force_words_ids", "non-empty lists of token ids", phrase)
            for a in phrases:
                clash = any(a is not b and tuple(b[: len(a)]) == tuple(a) for b in phrases)
                require(not clash, "force_words_ids", "free of phrases that begin another choice", list(a))


@dataclass(frozen=True, kw_only=True)
class ContrastiveOptions:
    """Of contrastive search.

    Args:
        penalty_alpha: weight of likeness to what was written before, in [0, 1]; 0 is greedy.
        top_k: candidates at each step, >= 2.

    Raises:
        ValueError: a value outside its interval.
    """

    penalty_alpha: float
    top_k: int = 50

    def __post_init__(self) -> None:
        right = _number(self.penalty_alpha) and 0 <= self.penalty_alpha <= 1
        require(right, "penalty_alpha", "in [0, 1]", self.penalty_alpha)
        require_whole("top_k", self.top_k, 2)


@dataclass(frozen=True, kw_only=True)
class DolaOptions:
    """Of DoLa.

    Args:
        dola_layers: "low" or "high" half of the layers, or a list of layers; 0 is the embeddings.
        do_sample: draw from the contrasted scores instead of taking the best.

    Raises:
        ValueError: a value outside its interval.
    """

    dola_layers: Literal["low", "high"] | Sequence[int]
    do_sample: bool = False

    def __post_init__(self) -> None:
        layers = self.dola_layers
        right = (
            layers in ("low", "high") if isinstance(layers, str) else _list(layers) and all(map(_id, layers))
        )
        require(right and len(layers) > 0, "dola_layers", "'low', 'high' or a list of layers >= 0", layers)


@dataclass(frozen=True, kw_only=True)
class AssistedOptions:
    """Of assisted (speculative) decoding.

    Args:
        num_assistant_tokens: most tokens drafted in a round, >= 1.
        num_assistant_tokens_schedule: "constant", or "heuristic" and "heuristic_transient", which raise the
            number by 2 after a round in which all drafts were accepted and lower it by 1 otherwise.
        assistant_confidence_threshold: drafting stops after a token less likely than this, in [0, 1]; 0 is
            off. The threshold stays as it is.
        do_sample: draw instead of taking the best, by speculative sampling, which leaves the model's own
            distribution unchanged.

    Raises:
        ValueError: a value outside its interval.
    """

    num_assistant_tokens: int = 20
    num_assistant_tokens_schedule: Schedule = "constant"
    assistant_confidence_threshold: float = 0.4
    do_sample: bool = False

    def __post_init__(self) -> None:
        require_whole("num_assistant_tokens", self.num_assistant_tokens, 1)
        known = ("constant", "heuristic", "heuristic_transient")
        name, value = "num_assistant_tokens_schedule", self.num_assistant_tokens_schedule
        require(value in known, name, f"one of {', '.join(known)}", value)
        threshold = self.assistant_confidence_threshold
        right = _number(threshold) and 0 <= threshold <= 1
        require(right, "assistant_confidence_threshold", "in [0, 1]", threshold)


@dataclass(frozen=True, kw_only=True)
class LookupOptions:
    """Of prompt lookup.

    Args:
        prompt_lookup_num_tokens: most tokens copied in a round, >= 1.
        max_matching_ngram_size: how many last ids are looked for at most, >= 1.
        do_sample: draw each token and accept a draft only where the draw equals it; the tokens are those of
            plain sampling with the same seed.

    Raises:
        ValueError: a value outside its interval.
    """

    prompt_lookup_num_tokens: int = 10
    max_matching_ngram_size: int = 2
    do_sample: bool = False

    def __post_init__(self) -> None:
        require_whole("prompt_lookup_num_tokens", self.prompt_lookup_num_tokens, 1)
        require_whole("max_matching_ngram_size", self.max_matching_ngram_size, 1)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _list(value: object) -> bool:
    return isinstance(value, list | tuple | range)
