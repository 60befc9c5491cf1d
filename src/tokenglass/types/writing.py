"""What was written: one step, one sequence, one generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, isnan
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenglass.types.choices import Account, Books, Candidate, Removal, Stage
from tokenglass.types.searching import SearchRecords
from tokenglass.types.shown import Charted
from tokenglass.types.tails import Tail
from tokenglass.types.tokens import Token, Vocabulary

Origin = Literal["greedy", "sampled", "forced", "draft", "expanded"]
FinishReason = Literal["eos", "length", "stop_string", "time", "context", "grammar", "cancelled", "error"]


@dataclass(frozen=True, repr=False)
class Step(Charted):
    """One token that was written, and the choice it was. What a server does not tell is None.

    Attributes:
        position: index of the token in the whole sequence, from 0.
        token: the vocabulary entry.
        text: the complete characters that this token finished, for streaming; "" for half a character.
        logit: the model's own score of the token.
        logprob: natural log of `p`.
        rank: rank by the model's own logits, from 1.
        entropy_bits: entropy of the model's own distribution at this step.
        p_final: probability after the chain.
        origin: "greedy", "sampled", "forced" (by a person), "draft", or "expanded" (to look ahead).
        margin: score of the best token minus the runner-up's, after the chain; how near the choice was.
        top_ids: (M,) ids of the likeliest tokens by the model's own logits, best first.
        top_logits: (M,) their logits; from a server that lists only its likeliest tokens, their
            log-probabilities, and `logsumexp` is 0.
        top_final: (M,) their probabilities after the chain; NaN where a server does not tell enough.
        logsumexp: over the full vocabulary, so that any stored logit gives its exact probability.
        vocabulary: names the ids.
        stages: what each stage of the chain did.
        removed: id -> how it left the chain, for removed tokens among the top.
        trail: (stages, M) probabilities of `top_ids` after each of `stages`; None where there was no chain.
        draw: the uniform number of a sampled token, else None.
        cdf: the interval of the draw's cell, else None.
        finish_reason: why generation ended with this token, else None.
        tail: how the logits below those of `top_ids` are spread; None where that was not recorded.
        reread: asks the model and the chain again, for `account`; None where that is not possible.
        coverage: share of the probability that is known; below 1.0 from a server that lists only its best.
        entropy_bounds: the least and the most bits of entropy, where the entropy itself is unknown.
        p_at_most: a bound on `p`, where `p` itself is unknown.
    """

    position: int
    token: Token
    text: str
    logit: float | None
    logprob: float | None
    rank: int | None
    entropy_bits: float | None
    p_final: float | None
    origin: Origin
    margin: float
    top_ids: NDArray[np.int64]
    top_logits: NDArray[np.float32]
    top_final: NDArray[np.float64]
    logsumexp: float
    vocabulary: Vocabulary
    stages: tuple[Stage, ...] = ()
    removed: Mapping[int, Removal] = field(default_factory=dict)
    draw: float | None = None
    cdf: tuple[float, float] | None = None
    finish_reason: FinishReason | None = None
    trail: NDArray[np.float32] | None = None
    tail: Tail | None = None
    reread: Callable[[], Books] | None = field(default=None, compare=False)
    coverage: float = 1.0
    entropy_bounds: tuple[float, float] | None = None
    p_at_most: float | None = None

    @property
    def id(self) -> int:
        """The token id."""
        return self.token.id

    @property
    def p(self) -> float | None:
        """The model's own probability of the token, over the full vocabulary."""
        return None if self.logprob is None else exp(self.logprob)

    @property
    def is_listed_only(self) -> bool:
        """Whether it was read from a server that lists only its likeliest tokens: scores have no offset."""
        return self.entropy_bits is None

    @cached_property
    def top(self) -> tuple[Candidate, ...]:
        """The likeliest tokens at this step, best first."""
        return tuple(self._candidate(i) for i in range(len(self.top_ids)))

    def _candidate(self, index: int) -> Candidate:
        token_id = int(self.top_ids[index])
        score, p_final = float(self.top_logits[index]), float(self.top_final[index])
        logprob = score - self.logsumexp
        removal = self.removed.get(token_id)
        return Candidate(
            rank=index + 1,
            token=self.vocabulary.token(token_id),
            logit=None if self.is_listed_only else score,
            logprob=logprob,
            p=exp(logprob),
            p_final=None if self.is_listed_only and isnan(p_final) else p_final,
            removed_by=None if removal is None else removal.stage,
        )

    def account(self, token: str | int) -> Account:
        """Any token's way through the chain at this step: score, probability and rank after each stage.

        The model is asked again, since a step does not keep the whole row.

        Raises:
            ValueError: no such id, or no single token stands for exactly that text; or the step cannot be
                asked again.
        """
        if self.reread is None:
            raise ValueError(
                "this step was not recorded with its model; ask model.next_tokens(ids, **config)"
            )
        token_id = self.vocabulary.find(token) if isinstance(token, str) else int(token)
        if not 0 <= token_id < len(self.vocabulary):
            raise ValueError(f"token id must be in [0, {len(self.vocabulary) - 1}], got {token_id}")
        books = self.reread()
        return Account(self.vocabulary.token(token_id), books.effects(token_id), books.removed.get(token_id))

    def why(self) -> str:
        """One sentence, built from the numbers, that says why this token was written."""
        from tokenglass.views import rows

        return rows.why(self)


@dataclass(frozen=True, repr=False)
class Sequence(Charted):
    """One written continuation.

    Attributes:
        ids: the new ids, end-of-sequence included, never padding.
        text: the continuation as text.
        steps: one for each new id.
        finish_reason: why it ended.
        score: what a search ranked it by; None for a single greedy or sampled run.
    """

    ids: tuple[int, ...]
    text: str
    steps: tuple[Step, ...]
    finish_reason: FinishReason
    score: float | None = None


@dataclass(frozen=True, repr=False)
class Generation(Charted):
    """What `generate` wrote.

    Attributes:
        prompt_ids: the ids it started from.
        prompt_text: those ids as text.
        sequences: at least one; best first for searches, by sample index for samples.
        config: the effective configuration, defaults included.
        search: the records of a search, step by step; empty where one text was written straight on.
        warnings: lines that the user should see.
        healing: what `token_healing` did to the prompt's end, else None.
    """

    prompt_ids: tuple[int, ...]
    prompt_text: str
    sequences: tuple[Sequence, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    search: SearchRecords | tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()
    healing: Any = None

    def __post_init__(self) -> None:
        vocabulary = next((step.vocabulary for text in self.sequences for step in text.steps), None)
        if vocabulary is not None and not isinstance(self.search, SearchRecords):
            object.__setattr__(self, "search", SearchRecords(tuple(self.search), vocabulary))

    @property
    def ids(self) -> tuple[int, ...]:
        """New ids of the first sequence."""
        return self.sequences[0].ids

    @property
    def text(self) -> str:
        """The first continuation, without the prompt."""
        return self.sequences[0].text

    @property
    def full_text(self) -> str:
        """Prompt and first continuation."""
        return self.prompt_text + self.text

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps of the first sequence."""
        return self.sequences[0].steps

    @property
    def finish_reason(self) -> FinishReason:
        """Why the first sequence ended."""
        return self.sequences[0].finish_reason

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each step of the first sequence."""
        steps: list[dict[str, Any]] = self.to_dict()["sequences"][0]["steps"]
        return steps
