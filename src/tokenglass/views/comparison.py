"""Comparisons: how far two distributions lie apart at each position, what moved most, where two texts part.

Teaches `layout.blocks` and `rows.to_dict` the type `Comparison`, so that terminal, HTML and JSON know it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import inf
from typing import Any

from tokenglass.text import safe_line
from tokenglass.types.comparison import Comparison, Difference, Parted, Shift, Side
from tokenglass.types.tokens import Token
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Line, Row, Table
from tokenglass.views.candidates import TOKEN
from tokenglass.views.figures import count, percent, significant
from tokenglass.views.layout import blocks
from tokenglass.views.values import parameters

_KINDS = {"prompts": "two prompts", "configs": "two configurations", "models": "two models"}
_ENDLESS = "∞: one side gives a probability to what the other rules out"
_BOUNDED = "a server lists only its likeliest tokens: x–y is the least and the most that a number can be"
APART = (
    Column("kl_ab", "KL(a‖b)", "point", keep=4),
    Column("kl_ba", "KL(b‖a)", "point", keep=3),
    Column("js", "JS", "point", keep=6),
    Column("tv", "TV", "point", keep=7),
)
_TOPS = (Column("top_a", "likeliest for a", keep=5, short="a"), Column("top_b", "for b", keep=5, short="b"))
_POSITIONS = (Column("index", "#", "right", keep=8), *APART, *_TOPS, Column("token", "after"))
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
    if any(row.bounds for row in result.positions):
        found.append(Line(_BOUNDED, "facts"))
    if end.movers:
        found.append(Line("what moved most at the prompt's end", "heading"))
        found.append(Table(_MOVERS, tuple(map(_mover, end.movers))))
    elif end.bounds is None:
        found.append(Line("at the prompt's end nothing moved", "sentence"))
    else:
        found.append(Line("at the prompt's end nothing moved for certain", "sentence"))
    found.append(Line("what each wrote", "heading"))
    for label, side in (("a", result.a), ("b", result.b)):
        shown = safe_line("".join(step.text for step in side.generation.steps))
        found.append(Line(f"{label}: {shown}", "sentence"))
    return (*found, Line(why(result), "sentence"))


def _sides(result: Comparison) -> tuple[Block, ...]:
    prompt = Line("prompt: ", "facts", tail=safe_line(result.a.generation.prompt_text))
    named = (("a: ", result.a), ("b: ", result.b))
    if result.kind == "prompts":
        return tuple(Line(n, "facts", tail=safe_line(side.generation.prompt_text)) for n, side in named)
    if result.kind == "models":
        return (prompt, *(Line(f"{n}{_model(side)}", "facts") for n, side in named))
    keywords = _own(result.a.keywords, result.b.keywords), _own(result.b.keywords, result.a.keywords)
    pairs = zip("ab", keywords, strict=True)
    return (prompt, *(Line(f"{n}: {parameters(k) or 'nothing of its own'}", "facts") for n, k in pairs))


def _model(side: Side) -> str:
    return f"{safe_line(side.info.name)} ({side.info.family}, {side.info.precision})"


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
        "kl_ab": _measure(found, "kl_ab_bits"),
        "kl_ba": _measure(found, "kl_ba_bits"),
        "js": _measure(found, "js_bits"),
        "tv": _measure(found, "tv"),
        "top_a": favourite(found.top_a.token, found.top_a.p_a),
        "top_b": favourite(found.top_b.token, found.top_b.p_b),
    }


def _measure(found: Difference, name: str) -> str:
    """A measure as it is, or the least and the most that it can be."""
    value = getattr(found, name)
    if value is None and found.bounds is not None:
        return "–".join(map(figure, getattr(found.bounds, name)))
    return figure(value)


def figure(x: float | None) -> str:
    """A divergence or a log-probability, which may be endless or unknown."""
    if x is None:
        return "unknown"
    return {inf: "∞", -inf: "-∞"}.get(x) or significant(x)


def favourite(token: Token, p: float | None) -> str:
    """The likeliest outcome with its probability."""
    return f"{_shown(token)} {'' if p is None else percent(p)}".rstrip(" ")


def _shown(token: Token) -> str:
    return token.text or "no text"


def _position(row: Difference) -> Row:
    return Row({"index": str(row.index_a), **_apart(row), "token": row.token.text})


def _mover(row: Shift) -> Row:
    cells = {
        "p_a": "–" if row.p_a is None else percent(row.p_a),
        "p_b": "–" if row.p_b is None else percent(row.p_b),
        "rank_a": "–" if row.rank_a is None else f"{row.rank_a:,}",
        "rank_b": "–" if row.rank_b is None else f"{row.rank_b:,}",
        "token": _shown(row.token),
    }
    tints = {name: p for name, p in (("p_a", row.p_a), ("p_b", row.p_b)) if p is not None}
    return Row(cells, tints=tints)


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
        "positions": plain_rows(map(difference_row, result.positions)),
        "parting": None if result.parting is None else _parted(result.parting),
        "why": why(result),
        "a": _side(result.a),
        "b": _side(result.b),
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "model": side.info.name,
        "precision": side.info.precision,
        "sha256": side.info.sha256,
        "keywords": rows.plain(side.keywords),
        "generation": rows.to_dict(side.generation),
    }


def plain_rows(items: Iterable[Mapping[str, Any]]) -> Any:
    """Rows as JSON values: a number that JSON cannot hold is null, with its name beside it."""
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


def difference_row(found: Difference) -> dict[str, Any]:
    """All numbers of one position, not yet made plain."""
    return {
        "index_a": found.index_a,
        "index_b": found.index_b,
        "offset": found.offset,
        **token_row(found.token),
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
        **({} if found.bounds is None else {"bounds": asdict(found.bounds)}),
    }


def _shift(row: Shift) -> dict[str, Any]:
    return {
        **token_row(row.token),
        "p_a": row.p_a,
        "p_b": row.p_b,
        "rank_a": row.rank_a,
        "rank_b": row.rank_b,
    }


def token_row(token: Token) -> dict[str, Any]:
    """A token as JSON values."""
    return {"id": token.id, "token": token.text, "bytes": token.bytes.hex(), "kind": token.kind}
