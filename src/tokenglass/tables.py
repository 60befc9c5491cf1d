"""From what was read at a place to the table that people see."""

from __future__ import annotations

from tokenglass.chain import Plan
from tokenglass.reading.readings import Reading
from tokenglass.stages.ledger import Ledger
from tokenglass.types import NextTokens, Vocabulary


def next_table(
    vocabulary: Vocabulary, ids: tuple[int, ...], reading: Reading, books: Ledger, plan: Plan, n: int
) -> NextTokens:
    """What was read after some ids, and what the chain made of it, as a next-token table."""
    changed = len(books.rows) > 1
    listing = reading.heard.listing
    return NextTokens(
        prompt_ids=ids,
        position=len(ids) - 1,
        logits=reading.known_logits,
        n=n,
        vocabulary=vocabulary,
        final=reading.known_final(books) if changed else None,
        stages=books.stages if changed else (),
        config=plan.config.to_dict(),
        coverage=1.0 if listing is None else listing.coverage,
        books=books,
        listing=listing,
    )
