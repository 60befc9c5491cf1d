"""How probable a model finds a text that is given, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from math import exp, inf, isnan, log
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tokenglass.types.choices import Candidate
from tokenglass.types.shown import Charted
from tokenglass.types.tokens import Token, Vocabulary

LN2 = log(2.0)
# Name of a band of ranks -> the last rank in it; None for no end.
UNKNOWN = -1  # rank of a token that was scored, by a server that does not say where it ranks
BANDS: dict[str, int | None] = {"1": 1, "2-10": 10, "11-100": 100, "101-1000": 1000, "more": None}


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One token of a given text, and what the model expected in its place.

    Attributes:
        index: of the token among the ids, from 0.
        token: the vocabulary entry.
        logprob: natural log of its probability; None where nothing stands before it to predict it from.
        rank: by the model's logits, from 1; None where it was not scored, or a server does not say.
        entropy_bits: of the model's distribution in its place; None where it was not scored, or a server
            shows too little to tell.
        context: tokens the model had read before it, in its window.
        top: the likeliest tokens in its place, best first; it may be among them.
        coverage: share of the probability that is known in its place; 1.0 unless a server shows only some.
        entropy_bounds: the least and the most that the entropy can be; None where it was not scored.
    """

    index: int
    token: Token
    logprob: float | None
    rank: int | None
    entropy_bits: float | None
    context: int
    top: tuple[Candidate, ...] = ()
    coverage: float = 1.0
    entropy_bounds: tuple[float, float] | None = None

    @property
    def id(self) -> int:
        """The token id."""
        return self.token.id

    @property
    def text(self) -> str:
        """The token's safe display text."""
        return self.token.text

    @property
    def p(self) -> float | None:
        """Its probability; None where it was not scored."""
        return None if self.logprob is None else exp(self.logprob)

    @property
    def surprisal_bits(self) -> float | None:
        """Bits that it takes to say it, -log2 of `p`; None where it was not scored."""
        return None if self.logprob is None else 0.0 - self.logprob / LN2

    @property
    def band(self) -> str | None:
        """The band of its rank, such as "11-100"; None where that is not known."""
        if self.rank is None:
            return None
        rank = self.rank
        return next(name for name, last in BANDS.items() if last is None or rank <= last)


@dataclass(frozen=True, slots=True)
class PartlyKnown:
    """What a server leaves open in the place of each of T tokens: (T,) each.

    Attributes:
        coverages: share of the probability that is known.
        least: bits that the entropy has at least.
        most: and at most.
    """

    coverages: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]

    @classmethod
    def unscored(cls, size: int) -> PartlyKnown:
        """To be filled."""
        return cls(np.ones(size), np.zeros(size), np.zeros(size))

    def first(self, n: int) -> PartlyKnown:
        """Of the first n tokens."""
        return PartlyKnown(self.coverages[:n], self.least[:n], self.most[:n])


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """The numbers of T scored tokens, one array a column: some 100 bytes a token.

    Attributes:
        ids: (T,) token ids.
        logprobs: (T,) natural logs of their probabilities.
        ranks: (T,) ranks from 1; 0 for a token that was not scored, `UNKNOWN` where nobody says.
        entropies: (T,) bits; NaN where they are not known.
        logsumexps: (T,) over the full vocabulary, which turn a logit into its logprob.
        contexts: (T,) tokens read before each.
        top_ids: (T, k) ids of the likeliest tokens, best first; -1 where there are fewer.
        top_logits: (T, k) their logits; of a server, whose logits are unknown, log-probabilities.
        partly: what a server leaves open; None where every number is over the full vocabulary.
    """

    ids: NDArray[np.int64]
    logprobs: NDArray[np.float64]
    ranks: NDArray[np.int64]
    entropies: NDArray[np.float64]
    logsumexps: NDArray[np.float64]
    contexts: NDArray[np.int64]
    top_ids: NDArray[np.int64]
    top_logits: NDArray[np.float32]
    partly: PartlyKnown | None = None

    @classmethod
    def unscored(cls, ids: Sequence[int], k: int, *, partly: bool = False) -> ScoreColumns:
        """Columns to be filled for these ids, with k alternatives for each; `partly` by a server."""
        size = len(ids)
        return cls(
            ids=np.array(ids, dtype=np.int64),
            logprobs=np.zeros(size),
            ranks=np.zeros(size, dtype=np.int64),
            entropies=np.zeros(size),
            logsumexps=np.zeros(size),
            contexts=np.zeros(size, dtype=np.int64),
            top_ids=np.full((size, k), -1, dtype=np.int64),
            top_logits=np.zeros((size, k), dtype=np.float32),
            partly=PartlyKnown.unscored(size) if partly else None,
        )

    def first(self, n: int) -> ScoreColumns:
        """The columns of the first n tokens."""
        arrays = {item.name: getattr(self, item.name)[:n] for item in fields(self) if item.name != "partly"}
        return ScoreColumns(**arrays, partly=self.partly and self.partly.first(n))

    def row(self, index: int, vocabulary: Vocabulary) -> ScoreRow:
        """One token's numbers."""
        token, context = vocabulary.token(int(self.ids[index])), int(self.contexts[index])
        rank = int(self.ranks[index])
        if not rank:
            return ScoreRow(index, token, None, None, None, context)
        logprob, entropy = float(self.logprobs[index]), float(self.entropies[index])
        top = self._top(index, vocabulary)
        if self.partly is None:
            return ScoreRow(index, token, logprob, rank, entropy, context, top, 1.0, (entropy, entropy))
        return ScoreRow(
            index,
            token,
            logprob,
            None if rank == UNKNOWN else rank,
            None if isnan(entropy) else entropy,
            context,
            top,
            float(self.partly.coverages[index]),
            (float(self.partly.least[index]), float(self.partly.most[index])),
        )

    def _top(self, index: int, vocabulary: Vocabulary) -> tuple[Candidate, ...]:
        normaliser = float(self.logsumexps[index])
        found = []
        for rank, token_id in enumerate(self.top_ids[index].tolist(), start=1):
            if token_id >= 0:
                logit = float(self.top_logits[index, rank - 1])
                logprob = logit - normaliser
                p = exp(logprob)
                known = logit if self.partly is None else None  # a server tells logits up to an offset
                found.append(Candidate(rank, vocabulary.token(token_id), known, logprob, p, p))
        return tuple(found)


class ScoreRows(Sequence[ScoreRow]):
    """Rows of a score, each made when it is asked for; a slice is as lazy.

    Args:
        columns: where the numbers are.
        vocabulary: names the ids.
        places: indices of the rows.
    """

    def __init__(self, columns: ScoreColumns, vocabulary: Vocabulary, places: range) -> None:
        self._columns, self._vocabulary, self._places = columns, vocabulary, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> ScoreRow: ...
    @overload
    def __getitem__(self, index: slice) -> ScoreRows: ...
    def __getitem__(self, index: int | slice) -> ScoreRow | ScoreRows:
        if isinstance(index, slice):
            return ScoreRows(self._columns, self._vocabulary, self._places[index])
        return self._columns.row(self._places[index], self._vocabulary)

    def __iter__(self) -> Iterator[ScoreRow]:
        return (self._columns.row(place, self._vocabulary) for place in self._places)


@dataclass(frozen=True, repr=False, eq=False)
class Score(Charted):
    """How probable a model finds a given text.

    Attributes:
        text: what was scored.
        columns: the numbers of each id that the model read, a begin-of-text token in front included.
        vocabulary: names the ids.
        n_bytes: UTF-8 bytes of text that the scored tokens stand for; control tokens stand for none.
        window: most tokens that the model read at once.
        stride: by how many tokens each window begins after the one before; None where one window held all.
    """

    text: str
    columns: ScoreColumns
    vocabulary: Vocabulary
    n_bytes: int
    window: int
    stride: int | None = None

    def __post_init__(self) -> None:
        import tokenglass.views.scores  # noqa: F401 - teaches the views this type

    @property
    def rows(self) -> ScoreRows:
        """One row for each id, in order."""
        return ScoreRows(self.columns, self.vocabulary, range(len(self.columns.ids)))

    @property
    def ids(self) -> list[int]:
        """All ids that were read or scored."""
        ids: list[int] = self.columns.ids.tolist()
        return ids

    @property
    def n_tokens(self) -> int:
        """Ids there are, scored or not."""
        return len(self.columns.ids)

    @cached_property
    def _scored(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.columns.ranks)

    @property
    def coverage(self) -> float:
        """Share of the probability that is known in the place of a scored token, in the mean.

        1.0 unless a server shows only its best. What is not known bears on entropies, bands and alternatives;
        the probability of each token itself, and with it `bits` and `perplexity`, is known in any case.
        """
        partly = self.columns.partly
        if partly is None or not self.n_scored:
            return 1.0
        return float(partly.coverages[self._scored].mean())

    @property
    def n_scored(self) -> int:
        """Tokens that were scored: all but the first id, which nothing predicts."""
        return len(self._scored)

    @property
    def first_scored(self) -> int | None:
        """Index of the first id that was scored; None where none was."""
        return int(self._scored[0]) if self.n_scored else None

    @property
    def least_context(self) -> int | None:
        """Fewest tokens that a window left before a scored token; None where each had all before it."""
        contexts = self.columns.contexts[self._scored]
        cut = contexts[contexts < self._scored]
        return int(cut.min()) if len(cut) else None

    @cached_property
    def bits(self) -> float:
        """What all scored tokens take together; 0.0 where none was scored."""
        return 0.0 - float(self.columns.logprobs[self._scored].sum()) / LN2

    @property
    def perplexity(self) -> float | None:
        """Exp of the mean surprise in nats: how many equally likely tokens would surprise as much."""
        if not self.n_scored:
            return None
        try:
            return exp(self.bits * LN2 / self.n_scored)
        except OverflowError:
            return inf

    @property
    def bits_per_byte(self) -> float | None:
        """Bits over the bytes they pay for, which compares models of different vocabularies."""
        return self.bits / self.n_bytes if self.n_bytes else None

    @cached_property
    def bands(self) -> dict[str, int]:
        """How many scored tokens had a rank in each of `BANDS`, of those whose rank is known."""
        ranks = self.columns.ranks[self.columns.ranks > 0]
        counts, below = {}, 0
        for name, last in BANDS.items():
            upto = len(ranks) if last is None else int(np.count_nonzero(ranks <= last))
            counts[name], below = upto - below, upto
        return counts

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each id."""
        rows: list[dict[str, Any]] = self.to_dict()["rows"]
        return rows
