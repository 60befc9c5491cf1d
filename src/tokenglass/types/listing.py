"""What a server that shows only its likeliest tokens says, and what follows from it for all the others."""

from __future__ import annotations

from math import exp, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Listing(NamedTuple):
    """The likeliest tokens after one prefix, as a server lists them.

    Their log-probabilities are normalised over the whole vocabulary, so they are exact; the logits behind
    them are known up to an offset that nobody tells.

    Attributes:
        ids: (K,) best first, equal log-probabilities by id; no token outside is likelier than the last.
        logprobs: (K,) float32, natural logs.
        coverage: the sum of their probabilities, at most 1.
    """

    ids: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    coverage: float

    @property
    def rest_p(self) -> float:
        """Probability of all tokens that are not listed together."""
        return max(0.0, 1.0 - self.coverage)

    @property
    def p_at_most(self) -> float:
        """No token that is not listed has a higher probability: the smallest that is listed."""
        return exp(float(self.logprobs[-1]))

    def rank(self, token_id: int) -> int | None:
        """Rank of a listed token from 1; None for any other."""
        place = np.flatnonzero(self.ids == token_id)
        return int(place[0]) + 1 if len(place) else None

    def entropy_bounds(self, vocab_size: int) -> tuple[float, float]:
        """The least and the most bits that the entropy can be.

        Most where the tokens that are not listed share their probability evenly, least where each has as much
        as the smallest that is listed.

        >>> listing = Listing(np.array([0]), np.log(np.array([0.5], np.float32)), 0.5)
        >>> [round(bits, 6) for bits in listing.entropy_bounds(5)]
        [1.0, 2.0]
        """
        lp = self.logprobs.astype(np.float64)
        known = float(-(np.exp(lp) * lp).sum() / np.log(2.0))
        rest, others = self.rest_p, vocab_size - len(self.ids)
        if rest <= 0.0 or others <= 0:
            return known, known
        most = known - rest * log2(rest / others)
        return min(most, known - rest * float(lp[-1]) / float(np.log(2.0))), most


class Told(NamedTuple):
    """What a server says of one token of a text that it was given.

    Attributes:
        listing: the likeliest tokens in its place.
        logprob: natural log of its own probability, exact whether it is listed or not.
        rank: from 1; None where the server does not say, for a token that is not listed.
    """

    listing: Listing
    logprob: float
    rank: int | None

    @property
    def coverage(self) -> float:
        """Share of the probability that is known in its place: of the listed tokens and of its own."""
        own = 0.0 if self.rank is not None and self.rank <= len(self.listing.ids) else exp(self.logprob)
        return min(1.0, self.listing.coverage + own)
