"""Rounds of drafting and verifying: several guessed tokens are read by the model in one run.

Knows nothing about where drafts come from. Greedy and comparing rounds write exactly what plain decoding
writes, up to near-ties that rounding decides (each draft records its margin); sampling rounds with the
drafter's own distribution keep the model's law. Source: Leviathan et al. 2022, arXiv:2211.17192, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import count
from math import inf
from typing import Literal, Protocol

import numpy as np

from tokenglass.asking import recorded
from tokenglass.engines.base import Prefix
from tokenglass.reading.paths import Heard, Path, Reader, Reading, sequence
from tokenglass.recording import checked
from tokenglass.search.records import Draft, DraftStep
from tokenglass.select.base import Choice, Draw, Greedy, choose_by_id
from tokenglass.stages.base import scores_of
from tokenglass.stages.row import Row
from tokenglass.types import FinishReason, Origin
from tokenglass.types import Sequence as Written

Bonus = Literal["next", "residual", "correction"]


@dataclass(frozen=True)
class Proposal:
    """What a drafter suggests.

    Attributes:
        tokens: the drafts, possibly none.
        rows: the drafter's own scores at each, after the chain; empty where it has none.
        budget: how many there might have been.
        source: (start, stop) of the positions they were copied from.
        ngram: how many ids were found again there.
    """

    tokens: tuple[int, ...] = ()
    rows: tuple[Row, ...] = ()
    budget: int = 0
    source: tuple[int, int] | None = None
    ngram: int | None = None


class Drafter(Protocol):
    """Suggests tokens."""

    def propose(self, path: Path, room: int) -> Proposal:
        """At most `room` tokens that may follow a path."""
        ...

    def learn(self, drafted: int, accepted: int) -> None:
        """How many of its drafts were accepted."""
        ...


@dataclass(frozen=True)
class Verified:
    """One position of a round: the token written there, and what is known of the draft."""

    reading: Reading
    choice: Choice
    draft: Draft | None
    bonus: Bonus | None


def rounds(
    reader: Reader, drafter: Drafter, do_sample: bool
) -> Generator[DraftStep, None, tuple[Written, ...]]:
    """Draft, verify, write; until the text ends.

    Args:
        reader: of the model that decides.
        drafter: guesses.
        do_sample: draw instead of taking the best.

    Raises:
        NoTokenAllowed: every token was banned.
    """
    path = reader.start()
    for step in count():
        # 1) somebody guesses; one more token always follows the guesses, so they leave room for it
        size = len(path.ids)
        room = min(reader.watch.total - 1, reader.engine.info.context_length) - size
        proposal = drafter.propose(path, room) if room > 0 else Proposal()
        # 2) the model reads all guesses in one run
        heard = _hear(reader, path, proposal.tokens)
        # 3) position by position: accept, or write the model's own token and stop
        drafts: list[Draft] = []
        bonus: Bonus | None = None
        reason: FinishReason | None = None
        for i, word in enumerate(heard):
            done = _verify(reader, replace(word, path=path), proposal, i, do_sample)
            drafts += [done.draft] if done.draft is not None else []
            origin: Origin = "draft" if done.bonus is None else done.choice.origin
            choice = done.choice
            written = recorded(reader, done.reading, choice.token_id, origin, choice.draw, choice.cdf)
            bonus, reason = done.bonus, reader.reason(path, done.choice.token_id)
            path = reader.extended(done.reading, written)
            if bonus is not None or reason is not None:
                break
        accepted = sum(draft.verdict == "accepted" for draft in drafts)
        drafter.learn(len(proposal.tokens), accepted)
        yield _record(step, size, proposal, drafts, path, bonus, reason)
        if reason is not None:
            return (sequence(path.written, reader.vocabulary, reason),)
    raise AssertionError


def _hear(reader: Reader, path: Path, tokens: tuple[int, ...]) -> list[Heard]:
    """The model's word after a path and after each draft; the handle is of the path with all drafts."""
    ids = (*path.ids, *tokens)
    others = reader.others([replace(path, ids=ids)])
    forward = reader.engine.forward([Prefix(ids, path.node), *others], last=len(tokens) + 1)
    rows = forward.logits
    heard = []
    for i in range(len(tokens) + 1):
        # a handle must stand for a leading part of the ids it comes with, and a rejection shortens those
        node, other_node = forward.nodes if others else (*forward.nodes, None)
        if i < len(tokens):
            node, other_node = path.node, path.other_node
        place = len(path.ids) + i
        own = checked(None if rows is None else rows[:1, i : i + 1], place, repaired=reader.repairs)
        other = None
        if others and rows is not None:
            other = checked(rows[1:, i : i + 1], place, repaired=reader.repairs)
        heard.append(Heard(path, node, own, other_node=other_node, unconditional=other))
    return heard


def _verify(reader: Reader, heard: Heard, proposal: Proposal, i: int, do_sample: bool) -> Verified:
    """What the model makes of the i-th draft, or writes after the last one."""
    (reading,) = reader.judge([heard])
    reading.ledger.require_alive(len(heard.path.ids))
    context = reader.context(heard.path)
    if do_sample and i < len(proposal.rows):
        return _speculate(reader, reading, proposal, i)
    choice = Draw().select(reading.row, context) if do_sample else Greedy().select(reading.row, context)
    if i == len(proposal.tokens):
        return Verified(reading, choice, None, "next")
    token_id = proposal.tokens[i]
    right = choice.token_id == token_id
    q = _p(proposal.rows[i], token_id) if proposal.rows else None
    draft = _draft(reading, token_id, right, q, wanted=choice.token_id)
    return Verified(reading, choice, draft, None if right else "correction")


def _speculate(reader: Reader, reading: Reading, proposal: Proposal, i: int) -> Verified:
    """Accept with probability p / q, else draw from what the model wants more than the drafter does."""
    token_id, theirs = proposal.tokens[i], proposal.rows[i]
    context = reader.context(reading.path)
    p, q = reading.p(token_id), _p(theirs, token_id)
    ratio, u = p / q, context.uniform("accept")
    draft = replace(_draft(reading, token_id, u <= ratio, q), ratio=ratio, draw=u)
    if u <= ratio:
        return Verified(reading, Choice(token_id, p, reading.row), draft, None)
    more = np.maximum(_probs(reading.row) - _probs(theirs), 0.0)
    rest = Row.of(scores_of(more)) if more.sum() > 0 else reading.row
    choice = choose_by_id(rest, context.uniform("residual"))
    return Verified(reading, choice, draft, "residual")


def _draft(reading: Reading, token_id: int, right: bool, q: float | None, wanted: int | None = None) -> Draft:
    return Draft(
        position=len(reading.path.ids),
        token_id=token_id,
        verdict="accepted" if right else "rejected",
        p=reading.p(token_id),
        q=q,
        ratio=None,
        draw=None,
        wanted=wanted,
        margin=None if reading.margin == inf else reading.margin,
    )


def _record(
    step: int,
    size: int,
    proposal: Proposal,
    drafts: list[Draft],
    path: Path,
    bonus: Bonus | None,
    reason: FinishReason | None,
) -> DraftStep:
    unread = [
        Draft(size + i, token_id, "unread", None, None, None, None, None, None)
        for i, token_id in enumerate(proposal.tokens)
        if i >= len(drafts)
    ]
    return DraftStep(
        step=step,
        position=size,
        drafts=(*drafts, *unread),
        written=path.ids[size:],
        bonus=bonus,
        budget=proposal.budget,
        source=proposal.source,
        ngram=proposal.ngram,
        finish_reason=reason,
    )


def _probs(row: Row) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return row.moments.probs(row.scores)


def _p(row: Row, token_id: int) -> float:
    return float(row.moments.probs(row.scores[token_id]))
