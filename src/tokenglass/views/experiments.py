"""Experiments with the words of a prompt: a word changed, or all of them in other orders.

Teaches `layout.blocks` and `rows.to_dict` the types `WordChanges` and `WordOrder`, so that terminal, HTML and
JSON know them.
"""

from __future__ import annotations

from typing import Any

from tokenglass.text import safe_line
from tokenglass.types.comparison import Arrangement, WordChange, WordChanges, WordOrder
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Line, Row, Table
from tokenglass.views.candidates import TOKEN
from tokenglass.views.comparison import APART, difference_row, favourite, figure, plain_rows, token_row
from tokenglass.views.figures import percent
from tokenglass.views.layout import blocks


@blocks.register
def _(result: WordChanges) -> tuple[Block, ...]:
    columns = (Column("name", "instead", keep=8), *APART[2:], Column("p", "p", "point"), TOKEN)
    first = result.rows[0].difference.top_a
    told = Row(
        {"name": safe_line(result.word), "js": "–", "tv": "–", "p": percent(first.p_a or 0.0)}
        | {"token": first.token.text},
        role="chosen",
    )
    return (
        Line("one word changed: ", "heading", tail=safe_line(result.prompt_text)),
        Line("a row for each word, with the likeliest next token; JS in bits, TV from 0 to 1", "facts"),
        Table(columns, (told, *map(_change, result.rows))),
    )


def _change(row: WordChange) -> Row:
    top, found = row.difference.top_b, row.difference
    return Row(
        {
            "name": safe_line(row.replacement) or "nothing",
            "js": figure(found.js_bits),
            "tv": figure(found.tv),
            "p": percent(top.p_b or 0.0),
            "token": top.token.text,
        }
    )


@blocks.register
def _(result: WordOrder) -> tuple[Block, ...]:
    columns = (
        Column("rank", "#", "right"),
        Column("logprob", "logprob", "point"),
        Column("n", "tokens", "right", keep=3),
        Column("tv", "TV", "point", keep=6),
        Column("next", "then comes", keep=5, short="next"),
        Column("token", "order"),
    )
    return (
        Line("the order of the words: ", "heading", tail=safe_line(result.text)),
        Line(f"{orders(result)}; {reading(result)}", "facts"),
        Line(
            "logprob is a natural log; TV, from 0 to 1, compares what comes next with the given order",
            "facts",
        ),
        Table(
            columns,
            tuple(_order(n, row, safe_line(result.text)) for n, row in enumerate(result.rows, start=1)),
        ),
    )


def orders(result: WordOrder) -> str:
    """How many orders there are, and how many are shown."""
    if result.seed is None:
        return f"all {result.possible:,} orders"
    return f"{len(result.rows):,} of {result.possible:,} orders, drawn with seed {result.seed}"


def reading(result: WordOrder) -> str:
    """After what the words were read, and so what their probability is."""
    token = result.given
    return (
        "the first token of each is given, not scored" if token is None else f"each read after {token.text}"
    )


def _order(number: int, row: Arrangement, given: str) -> Row:
    cells = {
        "rank": str(number),
        "logprob": figure(row.logprob),
        "n": str(row.scored),
        "tv": figure(row.difference.tv),
        "next": favourite(row.difference.top_b.token, row.difference.top_b.p_b),
        "token": safe_line(row.text),
    }
    return Row(cells, role="chosen" if cells["token"] == given else "")


@rows.to_dict.register
def _(result: WordChanges) -> dict[str, Any]:
    found = [
        {**_fields(row, "replacement", "prompt_text"), **difference_row(row.difference)}
        for row in result.rows
    ]
    return {**_fields(result, "prompt_text", "word"), "rows": plain_rows(found)}


@rows.to_dict.register
def _(result: WordOrder) -> dict[str, Any]:
    found = [
        {
            **_fields(row, "text", "ids", "logprob", "scored"),
            "difference": difference_row(row.difference),
        }
        for row in result.rows
    ]
    return {
        **_fields(result, "text", "possible", "seed"),
        "given": None if result.given is None else token_row(result.given),
        "rows": plain_rows(found),
    }


def _fields(value: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(value, name) for name in names}
