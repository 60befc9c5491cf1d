"""From what was read at a place to the table that people see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokenglass import config as configuration
from tokenglass.asking import cut
from tokenglass.chain import Plan
from tokenglass.decode import limits_of, reader_of
from tokenglass.reading.readings import Reading
from tokenglass.stages.ledger import Ledger
from tokenglass.stages.row import Domain
from tokenglass.types import NextTokens, Vocabulary

if TYPE_CHECKING:
    from tokenglass.model import Model


def asked_table(model: Model, ids: tuple[int, ...], config: Mapping[str, Any], n: int) -> NextTokens:
    """The table after some ids under a configuration.

    Raises:
        ValueError: a strategy that has no table of one step.
    """
    plan = model.plan(config, ids)
    if plan.config.mode == "dola" or plan.config["token_healing"]:
        name = "dola_layers" if plan.config.mode == "dola" else "token_healing"
        raise ValueError(f"{name} shows only in what is written; use model.generate")
    domain: Domain = "logprobs" if plan.config.mode in configuration.BEAMS else "logits"
    reader = reader_of(model.engine, model.tokenizer, ids, plan, limits_of(plan.config), domain=domain)
    reading = reader.read([reader.start()])[0]
    books = cut(reader, reading, plan.selector, plan.selector.start())
    return next_table(model.tokenizer, ids, reading, books, plan, n)


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
