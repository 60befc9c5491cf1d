"""What may come next: every token of the vocabulary with its numbers, and what each stage did to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import exp, inf, isnan, nan
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.types.listing import Listing
from tokenglass.types.shown import Charted, Shown
from tokenglass.types.tokens import Token, Vocabulary


@dataclass(frozen=True, slots=True, repr=False)
class Candidate(Shown):
    """One token that may come next. What a server does not tell is None.

    Attributes:
        rank: 1 is the most likely by the model's own logits; equal logits rank by id.
        token: the vocabulary entry.
        logit: the model's own score.
        logprob: natural log of `p`.
        p: the model's own probability, over the full vocabulary.
        p_final: probability after the chain of stages; 0.0 when a stage removed it.
        removed_by: name of the stage that removed it, or None.
        p_at_most: a bound on `p` where `p` itself is unknown, else None.
    """

    rank: int | None
    token: Token
    logit: float | None
    logprob: float | None
    p: float | None
    p_final: float | None
    removed_by: str | None = None
    p_at_most: float | None = None

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
        mass_kept: share of the incoming probability that survived, in [0, 1]; NaN where a server does not
            tell enough to know it.
        entropy_bits: entropy afterwards; NaN where a score is NaN or infinite, so that there is no
            distribution, and where a server does not tell enough to know it.
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
        p: its probability just before; NaN where a server does not tell it.
    """

    stage: str
    rank: int | None
    p: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What one token looked like after one stage.

    Attributes:
        stage: the stage's name; the first is "model".
        score: the token's score; -inf where it is removed. From a server, its log-probability as the stages
            changed it: scores are known up to an offset.
        p: its probability.
        rank: among all tokens, from 1; None where it is removed.

    Score and probability are NaN, and the rank None, where a server does not tell enough to know them.
    """

    stage: str
    score: float
    p: float
    rank: int | None


@dataclass(frozen=True, repr=False)
class Account(Charted):
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
    def names(self) -> Sequence[str]:
        """Of the stages, "model" first."""
        ...

    def removers(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """(len(ids),) which of `names` removed each for good; -1 where nothing did."""
        ...

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
        logits: (V,) float32, the model's own. From a server that lists only its likeliest tokens: their
            log-probabilities, and NaN for all others.
        n: how many rows the table shows.
        vocabulary: names the ids.
        final: (V,) float32 scores after the chain, or None where no stage changed anything. From such a
            server: log-probabilities as far as they are known, and NaN elsewhere.
        stages: what each stage did, the model first.
        config: the effective configuration.
        coverage: share of the probability mass that is known; 1.0 unless a server shows only its best.
        books: of the chain, for `account` and `removed`; None where there was no chain.
        listing: what such a server listed; None from an engine that gives logits for the full vocabulary.
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
    listing: Listing | None = field(default=None, compare=False)

    @property
    def removed(self) -> Mapping[int, Removal]:
        """Token id -> how it left the chain, for every token that did."""
        return {} if self.books is None else self.books.removed

    @cached_property
    def _summary(self) -> numbers.Summary:
        return numbers.summarize(self.logits)

    @cached_property
    def _logsumexp(self) -> float:
        return self._summary.logsumexp if self.listing is None else 0.0

    @cached_property
    def _final_logsumexp(self) -> float:
        if self.listing is not None or self.final is None:
            return self._logsumexp
        return numbers.summarize(self.final).logsumexp

    @property
    def entropy_bits(self) -> float | None:
        """Entropy of the model's own distribution in bits; 2 to its power is the effective choices.

        None from a server that lists only its likeliest tokens; see `entropy_bounds`.
        """
        return self._summary.entropy_bits if self.listing is None else None

    @cached_property
    def entropy_bounds(self) -> tuple[float, float]:
        """The least and the most bits that the entropy can be; twice the entropy itself where it is known."""
        if self.listing is not None:
            return self.listing.entropy_bounds(len(self.logits))
        return self._summary.entropy_bits, self._summary.entropy_bits

    @cached_property
    def rows(self) -> tuple[Candidate, ...]:
        """The `n` most likely tokens by the model's own logits, best first; as many as a server lists."""
        listing = self.listing
        ids = numbers.top_n(self.logits, self.n) if listing is None else listing.ids[: self.n]
        return tuple(self._row(int(token_id), rank) for rank, token_id in enumerate(ids, start=1))

    @cached_property
    def rest_p(self) -> float:
        """The model's own probability of all tokens outside `rows`, so that rows and rest sum to 1."""
        rest = self.rest_of([row.id for row in self.rows])
        assert rest is not None  # the model's own probabilities of the rows are always known
        return rest

    def rest_of(self, ids: Sequence[int], *, final: bool = False) -> float | None:
        """Probability of every token but `ids`, by the model or after the chain; None where it is unknown."""
        scores = self.final if final and self.final is not None else self.logits
        if self.listing is not None:
            return self._rest_of_known(scores, ids)
        others = np.delete(scores, list(ids))
        logsumexp = self._final_logsumexp if final else self._logsumexp
        if not len(others) or logsumexp == -inf:  # no others, or no token is left
            return 0.0
        return float(np.exp(others.astype(np.float64) - logsumexp).sum())

    def _rest_of_known(self, logprobs: NDArray[np.float32], ids: Sequence[int]) -> float | None:
        """One minus the known probabilities of `ids`; of those that are unknown, the rest holds them too."""
        assert self.listing is not None
        known = logprobs[[i for i in ids if self.listing.rank(i) is not None]].astype(np.float64)
        return None if np.isnan(known).any() else max(0.0, 1.0 - float(np.exp(known).sum()))

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
        if self.listing is not None:
            return self._row(token_id, self.listing.rank(token_id))
        return self._row(token_id, numbers.rank(self.logits, token_id))

    def _row(self, token_id: int, rank: int | None) -> Candidate:
        token, listing = self.vocabulary.token(token_id), self.listing
        p_final = self._p_final(token_id)
        removal = self.removed.get(token_id) if p_final == 0.0 else None
        removed_by = None if removal is None else removal.stage
        if rank is None:
            assert listing is not None
            return Candidate(None, token, None, None, None, p_final, removed_by, listing.p_at_most)
        score = float(self.logits[token_id])
        logprob = score - self._logsumexp
        logit = score if listing is None else None
        return Candidate(rank, token, logit, logprob, exp(logprob), p_final, removed_by)

    def _p_final(self, token_id: int) -> float | None:
        if self.final is None:
            score, logsumexp = float(self.logits[token_id]), self._logsumexp
        else:
            score, logsumexp = float(self.final[token_id]), self._final_logsumexp
        if self.listing is not None and isnan(score):
            return None
        return 0.0 if score == -inf else exp(score - logsumexp)  # also where no token is left to divide by

    def account(self, token: str | int) -> Account:
        """Any token's way through the chain: its score, probability and rank after each stage.

        Raises:
            ValueError: no such id, or no single token stands for exactly that text.
        """
        row = self.lookup(token)
        if self.books is None:
            score = row.logit if self.listing is None else row.logprob
            return Account(row.token, (Effect("model", _or_nan(score), _or_nan(row.p), row.rank),))
        return Account(row.token, self.books.effects(row.id), self.books.removed.get(row.id))

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each row."""
        rows: list[dict[str, Any]] = self.to_dict()["rows"]
        return rows


def _or_nan(value: float | None) -> float:
    return nan if value is None else value
