"""What may come next: every token of the vocabulary with its numbers, and what each stage did to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, inf
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.types.shown import Charted, Tabular
from tokenglass.types.tokens import Token, Vocabulary


@dataclass(frozen=True, slots=True)
class Candidate:
    """One token that may come next.

    Attributes:
        rank: 1 is the most likely by the model's own logits; equal logits rank by id.
        token: the vocabulary entry.
        logit: the model's own score.
        logprob: natural log of `p`.
        p: the model's own probability, over the full vocabulary.
        p_final: probability after the chain of stages; 0.0 when a stage removed it.
        removed_by: name of the stage that removed it, or None.
    """

    rank: int
    token: Token
    logit: float
    logprob: float
    p: float
    p_final: float
    removed_by: str | None = None

    @property
    def id(self) -> int:
        """The token id."""
        return self.token.id

    @property
    def text(self) -> str:
        """The token's safe display text."""
        return self.token.text


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage of the chain did at one step.

    Attributes:
        name: the stage's name, such as "top_k"; the first is always "model".
        params: its parameters.
        alive: tokens with a probability above zero afterwards.
        mass_kept: share of the incoming probability that survived, in [0, 1].
        entropy_bits: entropy afterwards; NaN where a score is NaN or infinite, so that there is no
            distribution.
        argmax: id of the most likely token afterwards; -1 when none is alive.
        removed: how many tokens it removed.
        changed: how many of the tokens alive afterwards have another score than before.
        facts: numbers of its own, such as the temperature it arrived at or the random number it drew.
    """

    name: str
    params: Mapping[str, Any]
    alive: int
    mass_kept: float
    entropy_bits: float
    argmax: int
    removed: int = 0
    changed: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Removal:
    """How a token left the chain.

    Attributes:
        stage: name of the stage that removed it; "model" where its score was -inf to begin with.
        rank: its rank just before, from 1; None where the model ruled it out or nobody counted.
        p: its probability just before.
    """

    stage: str
    rank: int | None
    p: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What one token looked like after one stage.

    Attributes:
        stage: the stage's name; the first is "model".
        score: the token's score; -inf where it is removed.
        p: its probability.
        rank: among all tokens, from 1; None where it is removed.
    """

    stage: str
    score: float
    p: float
    rank: int | None


@dataclass(frozen=True, repr=False)
class Account(Tabular):
    """One token's way through the chain at one step.

    Attributes:
        token: the vocabulary entry.
        effects: the model's word and one entry for each stage, in order.
        removed: how it left the chain, or None where it stayed.
    """

    token: Token
    effects: tuple[Effect, ...]
    removed: Removal | None = None


class Books(Protocol):
    """What a run of the chain left behind; `stages.ledger.Ledger` keeps them."""

    @property
    def removed(self) -> Mapping[int, Removal]:
        """Token id -> how it left, for every token that did."""
        ...

    def effects(self, token_id: int) -> tuple[Effect, ...]:
        """A token's way through the chain."""
        ...


@dataclass(frozen=True, repr=False)
class NextTokens(Charted):
    """Which tokens may come after a prompt, with numbers over the full vocabulary.

    Attributes:
        prompt_ids: the ids the model read, up to and including `position`.
        position: index in the prompt after which these tokens would stand, from 0.
        logits: (V,) float32, the model's own.
        n: how many rows the table shows.
        vocabulary: names the ids.
        final: (V,) float32 scores after the chain, or None where no stage changed anything.
        stages: what each stage did, the model first.
        config: the effective configuration.
        coverage: share of the probability mass that is known; 1.0 unless a server shows only its best.
        books: of the chain, for `account` and `removed`; None where there was no chain.
    """

    prompt_ids: tuple[int, ...]
    position: int
    logits: NDArray[np.float32]
    n: int
    vocabulary: Vocabulary
    final: NDArray[np.float32] | None = None
    stages: tuple[Stage, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    coverage: float = 1.0
    books: Books | None = field(default=None, compare=False)

    @property
    def removed(self) -> Mapping[int, Removal]:
        """Token id -> how it left the chain, for every token that did."""
        return {} if self.books is None else self.books.removed

    @cached_property
    def _summary(self) -> numbers.Summary:
        return numbers.summarize(self.logits)

    @cached_property
    def _final_logsumexp(self) -> float:
        return self._summary.logsumexp if self.final is None else numbers.summarize(self.final).logsumexp

    @property
    def entropy_bits(self) -> float:
        """Entropy of the model's own distribution in bits; 2 to its power is the effective choices."""
        return self._summary.entropy_bits

    @cached_property
    def rows(self) -> tuple[Candidate, ...]:
        """The `n` most likely tokens by the model's own logits, best first."""
        ids = numbers.top_n(self.logits, self.n)
        return tuple(self._row(int(token_id), rank) for rank, token_id in enumerate(ids, start=1))

    @cached_property
    def rest_p(self) -> float:
        """The model's own probability of all tokens outside `rows`, so that rows and rest sum to 1."""
        ids = [row.id for row in self.rows]
        others = np.delete(self.logits, ids)
        if not len(others):
            return 0.0
        return float(np.exp(others.astype(np.float64) - self._summary.logsumexp).sum())

    def lookup(self, token: str | int) -> Candidate:
        """The row of any token, by id or by its exact text.

        Raises:
            ValueError: no such id, or no single token stands for exactly that text.
        """
        if isinstance(token, bool) or not isinstance(token, str | int | np.integer):
            raise ValueError(f"a token is looked up by its id or its text, got {token!r}")
        token_id = self.vocabulary.find(token) if isinstance(token, str) else int(token)
        if not 0 <= token_id < len(self.logits):
            raise ValueError(f"token id must be in [0, {len(self.logits) - 1}], got {token_id}")
        return self._row(token_id, numbers.rank(self.logits, token_id))

    def _row(self, token_id: int, rank: int) -> Candidate:
        logit = float(self.logits[token_id])
        logprob = logit - self._summary.logsumexp
        p = exp(logprob)
        p_final = p if self.final is None else self._p_final(float(self.final[token_id]))
        removal = self.removed.get(token_id) if p_final == 0.0 else None
        removed_by = None if removal is None else removal.stage
        return Candidate(rank, self.vocabulary.token(token_id), logit, logprob, p, p_final, removed_by)

    def _p_final(self, score: float) -> float:
        """Also where no token is left, so that there is nothing to divide by."""
        return 0.0 if score == -inf else exp(score - self._final_logsumexp)

    def account(self, token: str | int) -> Account:
        """Any token's way through the chain: its score, probability and rank after each stage.

        Raises:
            ValueError: no such id, or no single token stands for exactly that text.
        """
        row = self.lookup(token)
        if self.books is None:
            return Account(row.token, (Effect("model", row.logit, row.p, row.rank),))
        return Account(row.token, self.books.effects(row.id), self.books.removed.get(row.id))

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each row."""
        rows: list[dict[str, Any]] = self.to_dict()["rows"]
        return rows
