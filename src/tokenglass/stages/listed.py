"""A chain over a row of which a server told only the likeliest tokens: what is still exact, and what is not.

Such a row is filled up: the tokens that are not listed share the probability that is left evenly. The sums
and the order of the listed tokens are then exact, and a stage whose outcome hangs on the others only through
their sum, or through the fact that none of them is likelier than the last one listed, comes out exact too.
This module follows a run stage by stage, says which numbers are known after each, and refuses, by name, a
stage whose outcome would hang on what nobody told. Filler never leaves it: what is unknown is NaN or None.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from math import inf, log, nan
from typing import Any

import numpy as np

from tokenglass.errors import Unsupported
from tokenglass.stages.base import Stage
from tokenglass.stages.ledger import Ledger, Removed, is_built_in
from tokenglass.stages.row import MASKED, Doubles, Floats, Ids, Mask, Row
from tokenglass.stages.scaling import Temperature
from tokenglass.stages.truncation import EpsilonCutoff, MinP, TopK, TopP
from tokenglass.types import Effect, Listing, Removal

WITH_LIST = "with a server that lists only its likeliest tokens"
_CUTS = (TopK, TopP, MinP, EpsilonCutoff)
_NEED_SUMS = (TopP, EpsilonCutoff)
# What needs no other token's score, and what only draws, which `require_choosable` judges later.
_FREE = frozenset(
    {"temperature", "top_k", "top_p", "min_p", "epsilon_cutoff", "greedy", "sample", "dist", "torch"}
)
_LEAST_REST = 1e-9  # where the listed probabilities sum to 1 by rounding, the others still have some
# Stages that add to scores or forbid tokens: what they do to a token does not hang on any other.
_TOKEN_BY_TOKEN = frozenset(
    {
        *("sequence_bias", "logit_bias", "frequency_penalty", "presence_penalty", "penalties", "dry"),
        *("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "allowed_token_ids"),
        *("min_length", "min_new_tokens", "prefix_allowed_tokens_fn"),
        *("regex", "choice", "json_schema", "grammar"),
        *("forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens"),
    }
)


def filled(listing: Listing, vocab_size: int) -> Floats:
    """Log-probabilities (V,) float32: the listed ones, and for every other token an even share."""
    others = vocab_size - len(listing.ids)
    share = log(max(listing.rest_p, _LEAST_REST) / others) if others else 0.0
    row = np.full(vocab_size, min(share, float(listing.logprobs[-1])), dtype=np.float32)
    row[listing.ids] = listing.logprobs
    return row


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the tokens that are not listed, at one place of the chain.

    Attributes:
        ceiling: no score of theirs is higher; -inf where all of them are removed.
        sums: the sum over all tokens is known, and with it every listed token's probability.
    """

    ceiling: float
    sums: bool = True

    @property
    def is_complete(self) -> bool:
        """Whether only listed tokens are left, of which everything is known."""
        return self.ceiling == -inf


@dataclass(frozen=True)
class ListedLedger(Ledger):
    """The books of a run over such a row, with the filler taken out again.

    Attributes:
        listing: what the server told.
        known: what is known at each row.
    """

    listing: Listing
    known: tuple[Known, ...]

    @classmethod
    def of(cls, books: Ledger, chain: Sequence[Stage], listing: Listing) -> ListedLedger:
        """Check a run over a filled row.

        Raises:
            Unsupported: a stage's outcome hangs on tokens that the server did not list.
        """
        unlisted = np.ones(len(books.row), dtype=np.bool_)
        unlisted[listing.ids] = False
        known = [Known(float(listing.logprobs[-1]) if unlisted.any() else -inf)]
        shares = [True]  # whether it is known, after each stage, how much of the probability stayed
        for stage, (before, after) in zip(chain, pairwise(books.rows), strict=True):
            shares.append(_share_is_known(before, after, known[-1], unlisted))
            known.append(_after(stage, before, after, known[-1], unlisted))
        records = [
            replace(
                record,
                entropy_bits=record.entropy_bits if here.is_complete else nan,
                mass_kept=record.mass_kept if share else nan,
            )
            for record, here, share in zip(books.stages, known, shares, strict=True)
        ]
        every = {field.name: getattr(books, field.name) for field in fields(books)}
        return cls(**{**every, "stages": tuple(records)}, listing=listing, known=tuple(known))

    @cached_property
    def removed(self) -> Removed:
        """Which stage removed which token."""
        return _Removed(self)

    def followed_by(self, selector: Any, row: Row, facts: Mapping[str, float]) -> Ledger:
        """The books with one more stage, of a selector that needs a row of which everything is known."""
        books = super().followed_by(selector, row, facts)
        every = {field.name: getattr(books, field.name) for field in fields(Ledger)}
        return replace(self, **every, known=(*self.known, Known(-inf)))

    def is_listed(self, token_id: int) -> bool:
        """Whether the server told this token."""
        return self.listing.rank(token_id) is not None

    def probs(self, ids: Sequence[int] | Ids) -> Doubles:
        """(stages + 1, len(ids)) probability of each id after each stage; NaN where it is unknown."""
        found = super().probs(ids)
        strangers = np.array([not self.is_listed(int(i)) for i in ids], dtype=np.bool_)
        for row, known in zip(found, self.known, strict=True):
            if not known.is_complete:
                row[strangers | (not known.sums)] = nan
        return found

    def removals(self, ids: Ids, trail: Doubles) -> dict[int, Removal]:
        """How those of the listed `ids` that are masked at the end left."""
        return {token_id: self.removed[token_id] for token_id in ids.tolist() if token_id in self.removed}

    def effects(self, token_id: int) -> tuple[Effect, ...]:
        """A token's score, probability and rank after each stage, as far as they are known."""
        steps = zip(self.names, self.rows, self.known, self.probs([token_id])[:, 0], strict=True)
        return tuple(
            Effect(name, self._score(row, known, token_id), float(p), self.rank(index, token_id))
            for index, (name, row, known, p) in enumerate(steps)
        )

    def _score(self, row: Row, known: Known, token_id: int) -> float:
        score = float(row.scores[token_id])
        return score if known.is_complete or self.is_listed(token_id) or score == MASKED else nan

    def rank(self, index: int, token_id: int) -> int | None:
        """The rank, in one of the rows, of a token that certainly no unlisted one has overtaken."""
        row, known = self.rows[index], self.known[index]
        score = row.scores[token_id]
        if not self.is_listed(token_id) or score == MASKED or score < known.ceiling:
            return None
        scores = row.scores[self.listing.ids]
        same = np.count_nonzero(self.listing.ids[scores == score] < token_id)
        return int(np.count_nonzero(scores > score) + same) + 1

    def require_choosable(self, position: int, *, greedy: bool) -> None:
        """Refuse to choose where a token that the server did not list might have been the right one.

        Raises:
            Unsupported: the best listed token may not be the best, or a draw needs them all.
        """
        known = self.known[-1]
        if known.is_complete:
            return
        if not greedy:
            raise Unsupported(f"drawing at position {position} from listed tokens only", self._advice)
        best = self.row.scores[self.listing.ids].max()
        if best == MASKED or best < known.ceiling:
            raise Unsupported(
                f"choosing at position {position}",
                f"the chain lets none of the {len(self.listing.ids)} listed tokens stay surely the best",
            )

    @property
    def _advice(self) -> str:
        return (
            "the server does not tell the probability of each token; "
            f"set top_k to at most {len(self.listing.ids) - 1}"
        )


class _Removed(Removed):
    """As `Removed`, without the filler's numbers."""

    def __init__(self, books: ListedLedger) -> None:
        super().__init__(books.names, books.rows)
        self._books = books

    def __getitem__(self, token_id: int) -> Removal:
        index = self.stage_index(token_id)
        if index == 0:
            return Removal(self._names[0], None, 0.0)
        books = self._books
        p = float(books.probs([token_id])[index - 1, 0])
        return Removal(self._names[index], books.rank(index - 1, token_id), p)


# ------------------------------------------------------------------------------------------ stage by stage


def _share_is_known(before: Row, after: Row, known: Known, unlisted: Mask) -> bool:
    """Whether all that went is known: of the tokens that are not listed all went, or none."""
    if known.is_complete:
        return True
    went = (before.scores > MASKED) & (after.scores == MASKED)
    stayed = after.scores[unlisted] > MASKED
    return not went.any() or (known.sums and not (stayed.any() and went[unlisted].any()))


def _after(stage: Stage, before: Row, after: Row, known: Known, unlisted: Mask) -> Known:
    if known.is_complete:
        return known
    if isinstance(stage, _CUTS):
        return _after_cut(stage, before, after, known, unlisted)
    if isinstance(stage, Temperature):
        return _after_temperature(stage, before, after, known, unlisted)
    if stage.name in _TOKEN_BY_TOKEN:
        return _after_changes(before, after, known, unlisted)
    raise _beyond_the_list(stage, "it needs every token's score; let top_k cut first, among the listed ones")


def _beyond_the_list(stage: Stage, reason: str) -> Unsupported:
    return Unsupported(f"{stage.name} {WITH_LIST}", reason)


def _after_cut(stage: Stage, before: Row, after: Row, known: Known, unlisted: Mask) -> Known:
    """A stage that keeps the best is exact where it surely dropped every token that is not listed.

    That is so where it dropped a listed one that is at least as good as they can be, and where all it kept is
    better than they can be.
    """
    if _keeps_all(stage, len(before)):
        return known
    if isinstance(stage, _NEED_SUMS) and not known.sums:
        raise _beyond_the_list(stage, "after other stages the sum over all tokens is unknown; set top_k too")
    dropped = before.scores[(after.scores == MASKED) & ~unlisted]
    kept = after.scores[after.scores > MASKED]
    is_sure = (
        not (after.scores[unlisted] > MASKED).any()
        and len(dropped)
        and dropped.max() >= known.ceiling
        and kept.min() > known.ceiling
    )
    if not is_sure:
        n = int(np.count_nonzero(~unlisted))
        raise _beyond_the_list(
            stage, f"it cuts beyond the {n} that are listed; set it narrower, or top_k too"
        )
    return Known(-inf)


def _keeps_all(stage: Stage, size: int) -> bool:
    whole = isinstance(stage, TopK) and stage.k >= size
    off = isinstance(stage, MinP) and stage.p <= 0.0
    return whole or off or (isinstance(stage, TopP) and stage.p >= 1.0)


def _after_temperature(stage: Temperature, before: Row, after: Row, known: Known, unlisted: Mask) -> Known:
    if after is before:
        return known
    if not (after.scores[unlisted] > MASKED).any():  # a temperature of 0 leaves the best alone
        return Known(-inf)
    return Known(known.ceiling / stage.t, sums=False)


def _after_changes(before: Row, after: Row, known: Known, unlisted: Mask) -> Known:
    """Stages that judge token by token: what they add to an unlisted one moves its bound by as much."""
    alive = unlisted & (after.scores > MASKED)
    if not alive.any() or int(np.count_nonzero(after.scores > MASKED)) == 1:
        return Known(-inf)
    change = float((after.scores[alive] - before.scores[alive]).max())
    touched = bool((after.scores[unlisted] != before.scores[unlisted]).any())
    return Known(known.ceiling + change, known.sums and not touched)


# ---------------------------------------------------------------------------------------- before the run

_OFFSET = (
    "it treats positive and negative logits differently, and the server tells logits up to an offset only"
)
_TWO = "it mixes two rows of the whole vocabulary, and the server lists only its likeliest tokens"
_ALL = "it looks at every token of the vocabulary, and the server lists only its likeliest"
_REFUSED: Mapping[str, str] = {
    "repetition_penalty": _OFFSET,
    "encoder_repetition_penalty": _OFFSET,
    "exponential_decay_length_penalty": _OFFSET,
    "guidance_scale": _TWO,
    "remove_invalid_values": _ALL,
    "watermarking_config": _ALL,
    "mirostat": _ALL,
    "mirostat_v2": _ALL,
}


def reasons_against(chain: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """(name, reason) of each stage or selector that would be wrong with any list of the likeliest tokens.

    Args:
        chain: the stages in order, and the selector.
    """
    is_cut = False
    for each in chain:
        is_cut = is_cut or (isinstance(each, _CUTS) and not _keeps_all(each, sys.maxsize))
        if isinstance(each, Stage) and not is_built_in(each):
            yield each.name, f"it is a stage of your own, and {_ALL}"
        elif each.name in _REFUSED:
            yield each.name, _REFUSED[each.name]
        elif each.name == "penalties" and getattr(each, "repeat", 1.0) != 1.0:
            yield "repeat_penalty", _OFFSET
        elif not is_cut and each.name not in _TOKEN_BY_TOKEN | _FREE:
            yield each.name, f"{_ALL}; let top_k cut first"
