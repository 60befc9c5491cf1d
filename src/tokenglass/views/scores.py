"""Scores of given text and of continuations: the text by how expected each token was, and tables.

Teaches `layout.blocks` and `rows.to_dict` the types `Score` and `OptionScores`. A band of ranks shows as a
sign under each token, so that nothing is told by colour alone.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np

from tokenglass.text import safe_line, safe_text
from tokenglass.types import OptionScore, OptionScores, Score, ScoreRow, Token
from tokenglass.views import rows
from tokenglass.views.blocks import Block, Column, Fold, Line, Piece, Role, Row, Strip, Table
from tokenglass.views.candidates import ID, TOKEN
from tokenglass.views.figures import bits, count, percent, significant
from tokenglass.views.layout import blocks

# The sign of each band of ranks, the more ink the less expected, and how the token itself stands out.
BAND_SIGNS = {"1": ".", "2-10": ":", "11-100": "+", "101-1000": "*", "more": "#"}
UNRANKED = "?"  # of a token that a server does not list and whose rank it does not say
BAND_ROLES: dict[str, Role] = {"1": "pruned", "101-1000": "chosen", "more": "chosen"}
STAND_OUT = ("101-1000", "more")
BAND_TITLES = {"1": "1st", "2-10": "2–10", "11-100": "11–100", "101-1000": "101–1,000", "more": "above"}

SHORT = 200  # tokens: of a longer text the most surprising ones are shown first
LONGEST_STRIP, LONGEST_TABLE, MOST_SURPRISING = 400, 2000, 20
SHOWN_TOP = 2


@blocks.register
def _(score: Score) -> tuple[Block, ...]:
    found: list[Block] = [Line(totals(score), "heading"), Line(_reading(score), "facts")]
    if not len(score.rows):
        return tuple(found)
    shown = score.rows[:LONGEST_STRIP]
    found += [Strip(tuple(map(_piece, shown))), Line(_legend(score), "facts")]
    if len(score.rows) <= SHORT:
        return (*found, _table(list(score.rows)))
    order = np.argsort(score.columns.logprobs, kind="stable")[:MOST_SURPRISING]
    first = score.rows[:LONGEST_TABLE]
    head = f"the first {len(first):,} of " if len(first) < len(score.rows) else ""
    return (
        *found,
        Line(f"the {len(order)} most surprising tokens", "heading"),
        _table([score.rows[int(place)] for place in order]),
        Fold(f"{head}{count(len(score.rows), 'row')}; to_dict() has them all", (_table(list(first)),)),
    )


def totals(score: Score) -> str:
    """Bits, perplexity and bits a byte in one line."""
    if score.perplexity is None:
        return "nothing scored: no token has another before it"
    facts = [
        count(score.n_scored, "scored token"),
        f"{significant(score.bits, 5)} bits",
        f"perplexity {significant(score.perplexity, 4)}",
    ]
    if score.bits_per_byte is not None:
        facts.append(f"{significant(score.bits_per_byte, 4)} bits a byte")
    return " · ".join(facts)


def _reading(score: Score) -> str:
    """Which token was scored first, how the text was read, and what of the probability is known."""
    facts = []
    if score.first_scored is not None:
        facts.append(f"scored from #{score.first_scored} on: nothing predicts the token before it")
    if score.stride is not None:
        facts.append(f"windows of {count(score.window, 'token')}, {score.stride:,} apart")
        facts.append(f"beyond the first, each token is read after at least {score.least_context or 0:,}")
    if score.coverage < 1.0:
        facts.append(f"in each place {percent(score.coverage)} of the probability is known, in the mean")
    return " · ".join(facts) or f"{count(len(score.rows), 'token')}"


def _legend(score: Score) -> str:
    """The signs with their ranks and how many tokens bear each."""
    signs = [f'"{BAND_SIGNS[name]}" {BAND_TITLES[name]} ({n:,})' for name, n in score.bands.items()]
    if unranked := score.n_scored - sum(score.bands.values()):
        signs.append(f'"{UNRANKED}" unknown ({unranked:,})')
    bold = "; bold: rank above 100" if any(score.bands[name] for name in STAND_OUT) else ""
    left_out = len(score.rows) - LONGEST_STRIP
    more = f" ({left_out:,} more tokens are not drawn)" if left_out > 0 else ""
    return f"sign at a token: its rank (how many tokens): {' | '.join(signs)}{bold}{more}"


def _piece(row: ScoreRow) -> Piece:
    if row.p is None or row.surprisal_bits is None:
        return Piece(row.text, "prompt", hint="not scored")
    if row.band is None:
        return Piece(row.text, "", row.p, f"{bits(row.surprisal_bits)} · {percent(row.p)}", UNRANKED)
    hint = f"{bits(row.surprisal_bits)} · rank {row.rank:,} · {percent(row.p)}"
    return Piece(row.text, BAND_ROLES.get(row.band, ""), row.p, hint, BAND_SIGNS[row.band])


def _table(scored: list[ScoreRow]) -> Table:
    columns = (
        Column("index", "#", "right", keep=5),
        ID,
        Column("bits", "surprise", "point"),
        Column("entropy", "entropy", "point", keep=3),
        Column("rank", "rank", "right", keep=6),
        Column("p", "probability", "point", keep=7, short="p"),
        TOKEN,
    )
    return Table(columns, tuple(map(_row, scored)), notes="instead")


def _row(row: ScoreRow) -> Row:
    cells = {"index": str(row.index), "id": str(row.id), "token": row.text}
    if row.p is None or row.surprisal_bits is None:
        return Row(cells | {"bits": "–", "entropy": "–", "rank": "–", "p": "–"}, role="rest")
    others = islice((c for c in row.top if c.id != row.id), SHOWN_TOP)
    cells |= {
        "bits": bits(row.surprisal_bits),
        "entropy": _entropy(row),
        "rank": "–" if row.rank is None else f"{row.rank:,} {BAND_SIGNS[row.band or '1']}",
        "p": percent(row.p),
        "note": " | ".join(_together(f"{percent(candidate.p)} {candidate.text}") for candidate in others),
    }
    stands_out = row.band is not None and BAND_ROLES.get(row.band) == "chosen"
    return Row(cells, role="chosen" if stands_out else "", tints={"p": row.p})


def _together(text: str) -> str:
    """`text` that no line breaks: a probability stays with its token."""
    return text.replace(" ", "\u00a0")


def _entropy(row: ScoreRow) -> str:
    """As it is, or between which bounds."""
    if row.entropy_bits is not None or row.entropy_bounds is None:
        return "–" if row.entropy_bits is None else bits(row.entropy_bits)
    least, most = row.entropy_bounds
    return f"{significant(least, 3)}–{bits(most)}"


@blocks.register
def _(scores: OptionScores) -> tuple[Block, ...]:
    best = scores.best
    found: list[Block] = [
        Line("continuations of ", "heading", tail=safe_text(scores.prompt_text)),
        Line(f"{percent(scores.p)} of all that the model may write here", "facts"),
        _options_table(scores.rows, best),
    ]
    if len(scores.groups) < len(scores.rows):
        found += [Line("without regard to white space at the edges", "heading"), _groups_table(scores)]
    return tuple(found)


def _options_table(options: tuple[OptionScore, ...], best: OptionScore) -> Table:
    columns = (
        Column("p", "probability", "point", keep=6, short="p"),
        Column("share", "of these", "point"),
        Column("mean", "by mean", "point", keep=4),
        Column("logprob", "logprob", "point", keep=3),
        Column("n", "tokens", "right", keep=2),
        Column("token", "continuation"),
    )
    return Table(columns, tuple(_option_row(option, option is best) for option in options))


def _option_row(option: OptionScore, best: bool) -> Row:
    cells = {
        "p": percent(option.p),
        "share": percent(option.share),
        "mean": percent(option.mean_share),
        "logprob": significant(option.logprob, 4),
        "n": str(len(option.tokens)),
        "token": safe_text(option.text),
        "note": "; ".join(map(safe_line, option.notes)),
    }
    return Row(cells, option.share, "chosen" if best else "", {"p": option.p, "share": option.share})


def _groups_table(scores: OptionScores) -> Table:
    columns = (
        Column("p", "probability", "point", keep=6, short="p"),
        Column("share", "of these", "point"),
        Column("token", "continuation"),
    )
    table_rows = [
        Row({"p": percent(group.p), "share": percent(group.share), "token": safe_text(group.name)})
        for group in scores.groups
    ]
    return Table(columns, tuple(table_rows))


# -------------------------------------------------------------------------------------------------- JSON

_TOTALS = """text n_tokens n_scored n_bytes first_scored window stride least_context coverage bits perplexity
    bits_per_byte bands"""
_NUMBERS = "logprob p surprisal_bits rank band entropy_bits context"
_OPTION = "text logprobs logprob p mean_logprob logprob_per_byte share mean_share notes"


@rows.to_dict.register
def _(score: Score) -> dict[str, Any]:
    return score_totals(score) | {"rows": [score_row(row) for row in score.rows]}


def score_totals(score: Score) -> dict[str, Any]:
    """A score without its rows."""
    return _plain(score, _TOTALS)


def score_row(row: ScoreRow) -> dict[str, Any]:
    """One token of a score."""
    top = [rows.candidate(candidate) for candidate in row.top]
    partly = _plain(row, "coverage entropy_bounds") if row.coverage < 1.0 else {}
    return {"index": row.index} | _json_token(row.token) | _plain(row, _NUMBERS) | partly | {"top": top}


@rows.to_dict.register
def _(scores: OptionScores) -> dict[str, Any]:
    groups = [_plain(group, "name texts p share") for group in scores.groups]
    options = [
        _plain(option, _OPTION) | {"tokens": list(map(_json_token, option.tokens))} for option in scores.rows
    ]
    return _plain(scores, "prompt_text prompt_ids p") | {"groups": groups, "rows": options}


def _json_token(token: Token) -> dict[str, Any]:
    return {"id": token.id, "token": token.text, "bytes": token.bytes.hex(), "kind": token.kind}


def _plain(value: Any, names: str) -> dict[str, Any]:
    """Fields and properties by name, as JSON values."""
    found: dict[str, Any] = rows.plain({name: getattr(value, name) for name in names.split()})
    return found
