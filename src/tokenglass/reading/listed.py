"""A reading from a server that lists only its likeliest tokens: the record says what is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isnan, nan
from typing import Any

import numpy as np

from tokenglass.chain import Plan
from tokenglass.config import SEARCHES
from tokenglass.engines.base import Floats
from tokenglass.errors import Unsupported
from tokenglass.reading.readings import Heard, Reading
from tokenglass.recording import TOP
from tokenglass.select.base import Choice, Greedy, Selector
from tokenglass.stages.base import Stage
from tokenglass.stages.books import Overview
from tokenglass.stages.ledger import Ledger
from tokenglass.stages.listed import WITH_LIST, ListedLedger, reasons_against
from tokenglass.stages.row import MASKED
from tokenglass.stages.sums import Doubles, Ids
from tokenglass.types import Listing, Origin, Step, Vocabulary


def reading_of(heard: Heard, ledger: Ledger, chain: tuple[Stage, ...], vocabulary: Vocabulary) -> Reading:
    """What was heard and what the chain made of it, checked where only the likeliest tokens were told.

    Raises:
        Unsupported: a stage's outcome hangs on tokens that a server did not list.
    """
    if heard.listing is None:
        return Reading(heard, ledger, vocabulary)
    return ListedReading(heard, ListedLedger.of(ledger, chain, heard.listing), vocabulary)


def require_listable(plan: Plan) -> None:
    """Refuse, before anything runs, a plan that would be wrong with a list of the likeliest tokens.

    Raises:
        Unsupported: names the keyword, and says why.
    """
    config = plan.config
    if config.mode in SEARCHES:
        name = config.mode.replace("_", " ")
        raise Unsupported(
            f"{name} {WITH_LIST}", "a search scores the whole vocabulary; use the onnx or hf engine"
        )
    if config["token_healing"]:
        raise Unsupported(
            f"token_healing {WITH_LIST}", "the tokens that agree with a text need not be among them"
        )
    for name, reason in reasons_against((*plan.stages, plan.selector)):
        raise Unsupported(f"{name} {WITH_LIST}", reason)


@dataclass(frozen=True)
class ListedReading(Reading):
    """As `Reading`, of a listing: what the server did not tell is None or NaN."""

    @property
    def _listing(self) -> Listing:
        assert self.heard.listing is not None
        return self.heard.listing

    @property
    def _books(self) -> ListedLedger:
        assert isinstance(self.ledger, ListedLedger)
        return self.ledger

    @property
    def known_logits(self) -> Floats:
        """(V,) log-probabilities of the listed tokens, NaN for all others."""
        row = np.full(len(self.logits), nan, dtype=np.float32)
        row[self._listing.ids] = self._listing.logprobs
        return row

    def known_final(self, books: Ledger) -> Floats:
        """(V,) log-probabilities after the chain, -inf for what was removed, NaN for what is unknown."""
        assert isinstance(books, ListedLedger)
        scores, known = books.row.scores, books.known[-1]
        row = np.where(scores == MASKED, MASKED, np.float32(nan))
        if known.is_complete or known.sums:
            ids = self._listing.ids[scores[self._listing.ids] > MASKED]
            row[ids] = np.log(books.row.moments.probs(scores[ids])).astype(np.float32)
        return row

    def alive(self) -> tuple[Ids, Doubles, float]:
        """The listed tokens that may be written, and the most that another may have.

        Raises:
            Unsupported: their probabilities after the chain are unknown.
        """
        scores, known = self.row.scores, self._books.known[-1]
        if not (known.is_complete or known.sums):
            raise Unsupported(
                "unfolding by probability after this chain", "set top_k among the listed tokens"
            )
        ids = self._listing.ids[np.argsort(-scores[self._listing.ids], kind="stable")]
        probs = self._probs(scores[ids])
        others = 0.0 if known.is_complete else float(self._probs(np.float32(known.ceiling)))
        return ids[probs > 0.0], probs[probs > 0.0], others

    def require_choice(self, selector: Selector) -> None:
        """Refuse what the listed tokens do not decide."""
        super().require_choice(selector)
        self._books.require_choosable(len(self.path.ids), greedy=isinstance(selector, Greedy))

    @cached_property
    def margin(self) -> float:
        """Score of the best token minus the runner-up's, or minus the most that an unlisted one can have."""
        scores = np.sort(self.row.scores[self._listing.ids])[::-1]
        others = max(float(scores[1]) if len(scores) > 1 else -inf, self._books.known[-1].ceiling)
        return float(scores[0]) - others

    @cached_property
    def _short(self) -> Overview:
        ids, logprobs = self._listing.ids[:TOP], self._listing.logprobs[:TOP]
        return Overview(self.heard.row, ids, logprobs, 0.0, nan)

    @cached_property
    def _top_final(self) -> Doubles:
        final: Doubles = self._books.probs(self._short.top_ids)[-1]
        return final

    def p(self, token_id: int) -> float:
        """A token's probability after the chain; NaN where it is unknown."""
        return float(self._books.probs([token_id])[-1, 0])

    def step(
        self, token_id: int, origin: Origin, draw: float | None = None, cdf: tuple[float, float] | None = None
    ) -> Step:
        """The record of choosing a token here."""
        return self._honest(super().step(token_id, origin, draw, cdf))

    def chosen(self, choice: Choice, selector: Selector) -> Step:
        """The record of what a selector chose here."""
        return self._honest(super().chosen(choice, selector))

    def _honest(self, step: Step) -> Step:
        """A step without what the server did not tell."""
        listing, rank = self._listing, self._listing.rank(step.id)
        logprob = None if rank is None else float(listing.logprobs[rank - 1])
        unknown: dict[str, Any] = {"logit": None, "entropy_bits": None}
        return replace(
            step,
            **unknown,
            logprob=logprob,
            rank=rank,
            p_final=None if step.p_final is None or isnan(step.p_final) else step.p_final,
            coverage=listing.coverage,
            entropy_bounds=listing.entropy_bounds(len(self.logits)),
            p_at_most=listing.p_at_most if rank is None else None,
        )
