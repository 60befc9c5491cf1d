"""Comparisons: how far two distributions lie apart at each position, what moved most, where two texts part.

Teaches `layout.blocks` and `rows.to_dict` the types `Comparison`, `WordChanges` and `WordOrder`, so that
terminal, HTML and JSON know them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any

from tokenglass.text import safe_line
from tokenglass.types.comparison import (
    Arrangement,
    Comparison,
    Difference,
    Parted,
    Shift,
    Side,
    WordChange,
    WordChanges,
    WordOrder,
)
from tokenglass.types.tokens import Token
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Line, Row, Table
from tokenglass.views.candidates import TOKEN
from tokenglass.views.figures import count, percent, significant
from tokenglass.views.layout import blocks
from tokenglass.views.values import parameters

_KINDS = {"prompts": "two prompts", "configs": "two configurations", "models": "two models"}
_ENDLESS = "∞: one side gives a probability to what the other rules out"
_APART = (
    Column("kl_ab", "KL(a‖b)", "point", keep=4),
    Column("kl_ba", "KL(b‖a)", "point", keep=3),
    Column("js", "JS", "point", keep=6),
    Column("tv", "TV", "point", keep=7),
)
_TOPS = (Column("top_a", "likeliest for a", keep=5, short="a"), Column("top_b", "for b", keep=5, short="b"))
_POSITIONS = (Column("index", "#", "right", keep=8), *_APART, *_TOPS, TOKEN)
_MOVERS = (
    Column("p_a", "p for a", "point", short="a"),
    Column("p_b", "p for b", "point", short="b"),
    Column("rank_a", "rank a", "right", keep=5),
    Column("rank_b", "rank b", "right", keep=5),
    TOKEN,
)
UNITS = "KL and JS in bits (1 bit = 0.693 nats), TV from 0 to 1"


@blocks.register
def _(result: Comparison) -> tuple[Block, ...]:
    end = result.prompt_end
    found: list[Block] = [Line(_KINDS[result.kind], "heading"), *_sides(result), Line(scope(result), "facts")]
    found += [
        Table(_POSITIONS, tuple(_position(row) for row in result.positions)),
        Line(f"{UNITS}; {agreement(result)}", "facts"),
    ]
    if any(inf in (row.kl_ab_bits, row.kl_ba_bits) for row in result.positions):
        found.append(Line(_ENDLESS, "facts"))
    if end.movers:
        found.append(Line("what moved most at the prompt's end", "heading"))
        found.append(Table(_MOVERS, tuple(map(_mover, end.movers))))
    else:
        found.append(Line("at the prompt's end nothing moved", "sentence"))
    found.append(Line("what each wrote", "heading"))
    for label, side in (("a", result.a), ("b", result.b)):
        text = "".join(step.text for step in side.generation.steps)
        found.append(Line(f"{label}: {safe_line(text)}", "sentence"))
    return (*found, Line(why(result), "sentence"))


def _sides(result: Comparison) -> tuple[Block, ...]:
    prompt = Line("prompt: ", "facts", tail=safe_line(result.a.generation.prompt_text))
    named = (("a: ", result.a), ("b: ", result.b))
    if result.kind == "prompts":
        return tuple(Line(n, "facts", tail=safe_line(side.generation.prompt_text)) for n, side in named)
    if result.kind == "models":
        return (prompt, *(Line(f"{n}{safe_line(side.model)}", "facts") for n, side in named))
    keywords = _own(result.a.keywords, result.b.keywords), _own(result.b.keywords, result.a.keywords)
    pairs = zip("ab", keywords, strict=True)
    return (prompt, *(Line(f"{n}: {parameters(k) or 'nothing of its own'}", "facts") for n, k in pairs))


def _own(mine: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords in which one side differs from the other."""
    return {k: v for k, v in mine.items() if k not in other or repr(other[k]) != repr(v)}


def scope(result: Comparison) -> str:
    """What is compared, in one sentence."""
    if result.outcomes == "next bytes":
        return (
            "the models have different tokens: compared is the next byte, each vocabulary's probabilities "
            f"summed by first byte ({result.size} outcomes, one of them no text)"
        )
    own = "each model's own distributions" if result.kind == "models" else "the model's own distributions"
    whose = "what each chain leaves" if result.basis == "chain" else own
    return f"{whose}, over all {count(result.size, 'token')}"


def agreement(result: Comparison) -> str:
    """How often both find the same outcome likeliest."""
    same = sum(row.agree for row in result.positions)
    return f"both find the same likeliest at {same:,} of {count(len(result.positions), 'position')}"


def why(result: Comparison) -> str:
    """Where the two texts part and what each gave the other's token, in one sentence."""
    parting, a, b = result.parting, result.a, result.b
    if parting is None:
        return f"both wrote the same {count(len(a.generation.ids), 'token')}"
    told = [_wrote("a", parting.a, parting.index_a, a), _wrote("b", parting.b, parting.index_b, b)]
    return f"the texts part: {', '.join(told)}"


def _wrote(label: str, found: Shift | None, index: int, side: Side) -> str:
    if found is None:
        return f"{label} had ended ({side.generation.finish_reason})"
    known = {"a": found.p_a, "b": found.p_b}
    odds = " ".join(f"{name} {percent(p)}" for name, p in known.items() if p is not None)
    return f"{label} wrote {found.token.text} as token {index + 1} ({odds})"


def _apart(found: Difference) -> dict[str, str]:
    return {
        "kl_ab": _number(found.kl_ab_bits),
        "kl_ba": _number(found.kl_ba_bits),
        "js": _number(found.js_bits),
        "tv": _number(found.tv),
        "top_a": _top(found.top_a.token, found.top_a.p_a),
        "top_b": _top(found.top_b.token, found.top_b.p_b),
    }


def _number(x: float) -> str:
    return "∞" if x == inf else significant(x)


def _top(token: Token, p: float | None) -> str:
    return f"{_named(token)} {'' if p is None else percent(p)}".rstrip(" ")


def _named(token: Token) -> str:
    return token.text or "no text"


def _position(row: Difference) -> Row:
    return Row({"index": str(row.index_a), **_apart(row), "token": row.token.text})


def _mover(row: Shift) -> Row:
    cells = {
        "p_a": "–" if row.p_a is None else percent(row.p_a),
        "p_b": "–" if row.p_b is None else percent(row.p_b),
        "rank_a": "–" if row.rank_a is None else f"{row.rank_a:,}",
        "rank_b": "–" if row.rank_b is None else f"{row.rank_b:,}",
        "token": _named(row.token),
    }
    tints = {name: p for name, p in (("p_a", row.p_a), ("p_b", row.p_b)) if p is not None}
    return Row(cells, tints=tints)


@blocks.register
def _(result: WordChanges) -> tuple[Block, ...]:
    columns = (Column("name", "instead", keep=8), *_APART[2:], Column("p", "p", "point"), TOKEN)
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
            "js": _number(found.js_bits),
            "tv": _number(found.tv),
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
        Table(columns, tuple(_order(n, row, result.text) for n, row in enumerate(result.rows, start=1))),
    )


def orders(result: WordOrder) -> str:
    """How many orders there are, and how many are shown."""
    if result.seed is None:
        return f"all {result.possible:,} orders"
    return f"{len(result.rows):,} of {result.possible:,} orders, drawn with seed {result.seed}"


def reading(result: WordOrder) -> str:
    """After what the words were read, and so what their probability is."""
    if result.given is None:
        return "the first token of each is given, not scored"
    return f"each read after {result.given.text}"


def _order(number: int, row: Arrangement, given: str) -> Row:
    cells = {
        "rank": str(number),
        "logprob": _number(row.logprob),
        "n": str(row.scored),
        "tv": _number(row.difference.tv),
        "next": _top(row.difference.top_b.token, row.difference.top_b.p_b),
        "token": safe_line(row.text),
    }
    return Row(cells, role="chosen" if row.text == given else "")


# --------------------------------------------------------------------------------------------------- JSON


@rows.to_dict.register
def _(result: Comparison) -> dict[str, Any]:
    return {
        "kind": result.kind,
        "basis": result.basis,
        "outcomes": result.outcomes,
        "outcomes_n": result.size,
        "scope": scope(result),
        "agreement": result.agreement,
        "positions": _plain(map(_difference, result.positions)),
        "parting": None if result.parting is None else _parted(result.parting),
        "why": why(result),
        "a": _side(result.a),
        "b": _side(result.b),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "model": side.model,
        "keywords": rows.plain(side.keywords),
        "generation": rows.to_dict(side.generation),
    }


def _plain(items: Iterable[Mapping[str, Any]]) -> Any:
    return rows.plain(list(items))


def _parted(parting: Parted) -> Any:
    return rows.plain(
        {
            "index_a": parting.index_a,
            "index_b": parting.index_b,
            "a": None if parting.a is None else _shift(parting.a),
            "b": None if parting.b is None else _shift(parting.b),
        }
    )


def _difference(found: Difference) -> dict[str, Any]:
    return {
        "index_a": found.index_a,
        "index_b": found.index_b,
        "offset": found.offset,
        **_token(found.token),
        "kl_ab_bits": found.kl_ab_bits,
        "kl_ba_bits": found.kl_ba_bits,
        "js_bits": found.js_bits,
        "kl_ab_nats": found.kl_ab_nats,
        "kl_ba_nats": found.kl_ba_nats,
        "js_nats": found.js_nats,
        "tv": found.tv,
        "agree": found.agree,
        "top_a": _shift(found.top_a),
        "top_b": _shift(found.top_b),
        "movers": [_shift(row) for row in found.movers],
    }


def _shift(row: Shift) -> dict[str, Any]:
    return {
        **_token(row.token),
        "p_a": row.p_a,
        "p_b": row.p_b,
        "rank_a": row.rank_a,
        "rank_b": row.rank_b,
    }


def _token(token: Token) -> dict[str, Any]:
    return {"id": token.id, "token": token.text, "bytes": token.bytes.hex(), "kind": token.kind}


@rows.to_dict.register
def _(result: WordChanges) -> dict[str, Any]:
    found = [
        {"replacement": row.replacement, "prompt_text": row.prompt_text, **_difference(row.difference)}
        for row in result.rows
    ]
    return {"prompt_text": result.prompt_text, "word": result.word, "rows": _plain(found)}


@rows.to_dict.register
def _(result: WordOrder) -> dict[str, Any]:
    found = [
        {
            "text": row.text,
            "ids": row.ids,
            "logprob": row.logprob,
            "scored": row.scored,
            "difference": _difference(row.difference),
        }
        for row in result.rows
    ]
    return {
        "text": result.text,
        "possible": result.possible,
        "given": None if result.given is None else _token(result.given),
        "seed": result.seed,
        "rows": _plain(found),
    }
