"""Scoring: hand-worked numbers, windows against brute force, odd texts, refusals, and how scores look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import exp, log, log2
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import EOS, ByteTokenizer
from tokenglass.engines.base import Prefix
from tokenglass.engines.table import TableEngine
from tokenglass.errors import ContextOverflow
from tokenglass.scoring import LONG_TEXT_WINDOW, score, score_chunks, score_options
from tokenglass.scoring.text import best
from tokenglass.types import Score, Shown
from tokenglass.views.cells import cell_width
from tokenglass.views.html import to_html
from tokenglass.views.terminal import to_text

TOKENIZER: Any = ByteTokenizer()
BOS = EOS  # the one control token of this vocabulary
# One distribution in every place: a with 1/2, b with 1/4, c and d with 1/8; nothing else exists.
HALVES = {97: 0.5, 98: 0.25, 99: 0.125, 100: 0.125}


def halves(_: tuple[int, ...]) -> np.ndarray:
    row = np.full(257, -np.inf, np.float32)
    for token_id, p in HALVES.items():
        row[token_id] = log(p)
    return row


def remembers(ids: tuple[int, ...]) -> np.ndarray:
    """A rule in which every token of the context matters, its place included."""
    seed = [len(ids), *ids]
    return np.random.default_rng(seed).normal(0, 2, 257).astype(np.float32)


def engine(rule: Any = halves, **options: Any) -> TableEngine:
    return TableEngine(rule, 257, **options)


# ------------------------------------------------------------------------------------------ numbers


def test_by_hand() -> None:
    """P(b) P(a) P(d) = 1/4 * 1/2 * 1/8 = 2^-6; the entropy is 1/2 + 2/4 + 2 * 3/8 = 1.75 bits."""
    got = score(engine(), TOKENIZER, "abad", top=3)
    assert got.bits == pytest.approx(6, abs=1e-6)  # float32 logits
    assert got.perplexity == pytest.approx(4, abs=1e-5)  # 2^(6 / 3)
    assert got.bits_per_byte == pytest.approx(2, abs=1e-6)
    assert [row.rank for row in got.rows] == [None, 2, 1, 4]
    assert [row.p for row in got.rows[1:]] == pytest.approx([0.25, 0.5, 0.125], abs=1e-7)
    assert [row.entropy_bits for row in got.rows[1:]] == pytest.approx([1.75] * 3, abs=1e-6)
    assert [[(c.rank, c.text) for c in row.top] for row in got.rows[1:]] == [
        [(1, "a"), (2, "b"), (3, "c")]
    ] * 3
    assert [c.p for c in got.rows[1].top] == pytest.approx([0.5, 0.25, 0.125], abs=1e-7)
    assert got.bands == {"1": 1, "2-10": 2, "11-100": 0, "101-1000": 0, "more": 0}
    assert (got.first_scored, got.n_scored, got.n_bytes, got.least_context) == (1, 3, 3, None)
    assert [row.context for row in got.rows] == [0, 1, 2, 3]


def test_bands_are_cut_where_they_say() -> None:
    row = -np.arange(2000, dtype=np.float32) / 100
    wide = TableEngine(lambda _: row, 2000)
    ids = [0, 0, 1, 9, 10, 99, 100, 999, 1000, 1999]  # ranks 1, 2, 10, 11, 100, 101, 1000, 1001, 2000

    class Ids:
        def token(self, token_id: int) -> Any:
            return TOKENIZER.token(token_id % 256)

        def decode(self, ids: Sequence[int]) -> str:
            return ""

    names: Any = Ids()
    got = score(wide, names, ids)
    assert got.bands == {"1": 1, "2-10": 2, "11-100": 2, "101-1000": 2, "more": 2}
    assert [r.band for r in got.rows[1:]] == [
        "1",
        *["2-10"] * 2,
        *["11-100"] * 2,
        *["101-1000"] * 2,
        *["more"] * 2,
    ]


def test_the_impossible_is_infinite_and_flagged() -> None:
    got = score(engine(), TOKENIZER, "az")
    assert (got.bits, got.perplexity) == (float("inf"), float("inf"))
    document = strict_json(got)
    assert (document["bits"], document["bits_nonfinite"]) == (None, "inf")
    assert (document["rows"][1]["logprob"], document["rows"][1]["p"]) == (None, 0.0)


def test_first_token_is_scored_from_bos() -> None:
    begins = engine(bos_id=BOS)
    plain, from_bos = (score(begins, TOKENIZER, "ba", bos=bos) for bos in (False, True))
    assert plain.ids == [98, 97] and from_bos.ids == [BOS, 98, 97]
    assert plain.bits == pytest.approx(1, abs=1e-6) and from_bos.bits == pytest.approx(3, abs=1e-6)
    assert (plain.n_bytes, from_bos.n_bytes) == (1, 2)
    assert from_bos.rows[0].logprob is None and from_bos.rows[1].rank == 2
    assert score(begins, TOKENIZER, [BOS, 98, 97], bos=True).ids == [BOS, 98, 97]  # never twice
    assert score(begins, TOKENIZER, "ba").ids == from_bos.ids  # a model that has one begins with it
    assert score(begins, TOKENIZER, [98, 97]).ids == [98, 97]  # ids are taken as they are
    assert score(engine(), TOKENIZER, "ba").ids == [98, 97]
    with pytest.raises(ValueError, match="bos must be False for a model without"):
        score(engine(bos_id=None), TOKENIZER, "ba", bos=True)


def test_ids_are_scored_as_they_are() -> None:
    text, ids = (score(engine(remembers), TOKENIZER, given) for given in ("né 👍", list("né 👍".encode())))
    assert text.text == ids.text == "né 👍"
    assert text.bits == ids.bits and text.n_bytes == ids.n_bytes == len("né 👍".encode()) - 1
    with_control = score(engine(remembers), TOKENIZER, [97, BOS, 98])
    assert (with_control.n_scored, with_control.n_bytes) == (2, 1)  # a control token is no text


@pytest.mark.parametrize(
    ("text", "bos", "rows", "scored"),
    [("", False, 0, 0), ("", True, 1, 0), ("a", False, 1, 0), ("a", True, 2, 1), ([], False, 0, 0)],
)
def test_hardly_any_text(text: Any, bos: bool, rows: int, scored: int) -> None:
    got = score(engine(bos_id=BOS), TOKENIZER, text, bos=bos)
    assert (len(got.rows), got.n_scored) == (rows, scored)
    assert (
        (got.first_scored is None) == (got.perplexity is None) == (got.bits_per_byte is None) == (not scored)
    )
    assert got.bits == pytest.approx(scored, abs=1e-6)  # P(a) = 1/2
    assert strict_json(got)["n_tokens"] == rows and to_text(got) and to_html(got)


# ------------------------------------------------------------------------------------------ windows


def by_brute_force(
    table: TableEngine, ids: Sequence[int], window: int, stride: int
) -> list[tuple[int, float]]:
    """(context, logprob) of every token but the first: the first window that reaches it predicts it."""
    found = []
    for place in range(1, len(ids)):
        start = 0
        while place - start > window:
            start += stride
        row = table.forward([Prefix(tuple(ids[start:place]))]).logits[0, 0].astype(np.float64)
        found.append((place - start, row[ids[place]] - np.log(np.exp(row).sum())))
    return found


@settings(deadline=None, max_examples=60)
@given(
    st.binary(min_size=2, max_size=150),
    st.integers(1, 40).flatmap(lambda w: st.tuples(st.just(w), st.integers(1, w))),
)
def test_windows(data: bytes, sizes: tuple[int, int]) -> None:
    window, stride = sizes
    table = engine(remembers, context_length=40)
    got = score(table, TOKENIZER, list(data), window=window, stride=stride, top=0)
    want = by_brute_force(table, list(data), window, stride)
    assert [row.context for row in got.rows[1:]] == [context for context, _ in want]
    assert [row.logprob for row in got.rows[1:]] == pytest.approx([logprob for _, logprob in want], abs=1e-6)
    cut = [context for place, (context, _) in enumerate(want, start=1) if context < place]
    assert got.least_context == min(cut, default=None)
    assert got.stride == (stride if len(data) - 1 > window else None)
    if cut:
        assert min(cut) == window - stride + 1  # as the arguments promise


def test_default_windows() -> None:
    """The whole context as long as it suffices: one id more than it holds is predicted, not read."""
    small = engine(remembers, context_length=20)
    fits, longer = (score(small, TOKENIZER, [97] * n, top=0) for n in (21, 22))
    assert (fits.window, fits.stride, fits.least_context) == (20, None, None)
    assert (longer.window, longer.stride, longer.least_context) == (20, 10, 11)
    wide = engine(context_length=4 * LONG_TEXT_WINDOW)
    long = score_chunks(wide, TOKENIZER, [97] * (4 * LONG_TEXT_WINDOW + 2))
    next(long), next(long)
    assert (long._score.window, long._score.stride) == (LONG_TEXT_WINDOW, LONG_TEXT_WINDOW // 2)


def test_in_pieces() -> None:
    """Every row once and in order; what is left undone is done when the score is asked for."""
    ids = [97 + n % 4 for n in range(300)]
    whole = score(engine(), TOKENIZER, ids, window=100, stride=30)
    pieces = score_chunks(engine(), TOKENIZER, ids, window=100, stride=30)
    seen, done = [], []
    for rows in pieces:
        seen += list(rows)
        done.append(pieces.n_done)
    assert seen == list(whole.rows) and done == sorted(done) and done[-1] == pieces.n_tokens == 300
    assert max(np.diff(done)) <= 64
    half = score_chunks(engine(), TOKENIZER, ids, window=100, stride=30)
    next(half), next(half)
    assert half.score.bits == whole.bits


def test_rows_are_lazy_and_compact() -> None:
    got = score(engine(), TOKENIZER, [97] * 1000)
    assert got.rows[-1].index == 999 and [r.index for r in got.rows[10:20:5]] == [10, 15]
    assert len(got.rows[5:]) == 995 and got.rows[5:][0] == got.rows[5]
    columns = got.columns
    assert columns.partly is None  # nothing is left open by an engine that computes here
    held = sum(getattr(columns, name).nbytes for name in columns.__slots__ if name != "partly")
    assert held <= 120 * 1000  # bytes; rows as objects would take some thousand each
    assert len(got.to_dicts()) == 1000


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 2500), st.integers(0, 12), st.integers(0, 2**32), st.sampled_from([1, 3, 1000]))
def test_best(size: int, k: int, seed: int, values: int) -> None:
    """Against a stable sort of the whole row; few different values make many ties."""
    rows = np.random.default_rng(seed).integers(0, values, (3, size)).astype(np.float32)
    rows[1, ::2] = -np.inf
    k = min(k, size)
    for got, row in zip(best(rows, k), rows, strict=True):
        assert got.tolist() == np.argsort(-row, kind="stable")[:k].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": -1}, "top must be at least 0, got -1"),
        ({"window": 0}, r"window must be in \[1, 1024\], the model's context, got 0"),
        ({"window": 1025}, r"window must be in \[1, 1024\], the model's context, got 1025"),
        ({"window": 8, "stride": 9}, r"stride must be in \[1, 8\], the window, got 9"),
        ({"stride": 0}, r"stride must be in \[1, 1024\], the window, got 0"),
    ],
)
def test_refused_before_anything_is_computed(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score_chunks(engine(), TOKENIZER, "ab", **options)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ([97, 257], ValueError, r"token id must be in \[0, 256\], got 257"),
        ([97, -1], ValueError, r"token id must be in \[0, 256\], got -1"),
        ([97, True], TypeError, "got True in it"),
        ([97, 1.0], TypeError, "got 1.0 in it"),
        (["a", "b"], TypeError, "got 'a' in it"),
        (b"ab", TypeError, "decode bytes as UTF-8 first"),
    ],
)
def test_no_text(text: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        score(engine(), TOKENIZER, text)


# ---------------------------------------------------------------------------------------- continuations


def test_options_by_hand() -> None:
    """P(a) = 1/2, P(ba) = 1/8, P(dd) = 1/64; by mean per token 1/2, 8^-1/2 and 1/8."""
    got = score_options(engine(), TOKENIZER, [97], ["a", "ba", "dd"])
    assert [row.p for row in got.rows] == pytest.approx([1 / 2, 1 / 8, 1 / 64], abs=1e-7)
    assert [row.share for row in got.rows] == pytest.approx([32 / 41, 8 / 41, 1 / 41], abs=1e-7)
    means = np.array([1 / 2, 8**-0.5, 1 / 8])
    assert [row.mean_share for row in got.rows] == pytest.approx(list(means / means.sum()), abs=1e-7)
    assert [row.mean_logprob for row in got.rows] == pytest.approx(list(np.log(means)), abs=1e-6)
    assert got.rows[2].logprob_per_byte == pytest.approx(-3 * log(2), abs=1e-6)
    assert got.best.text == "a" and got.prompt_text == "a" and not any(row.notes for row in got.rows)


def test_options_of_every_length_equal_the_score_of_the_whole() -> None:
    """After a prompt, sum and parts are those of the text as a whole; 150 tokens need three passes."""
    table = engine(remembers)
    prompt = list(b"Once")
    options = ["x", "xy", "xyz", "uvw", "word " * 30, " x", "né 👍"]
    got = score_options(table, TOKENIZER, prompt, options)
    for row, option in zip(got.rows, options, strict=True):
        whole = score(table, TOKENIZER, [*prompt, *option.encode()])
        assert row.logprobs == pytest.approx([r.logprob for r in whole.rows[len(prompt) :]], abs=1e-6)
        assert row.p == pytest.approx(exp(sum(row.logprobs)))
    assert sum(row.share for row in got.rows) == pytest.approx(1)
    assert sum(row.mean_share for row in got.rows) == pytest.approx(1)


def test_space_variants_stand_apart_and_together() -> None:
    got = score_options(engine(remembers), TOKENIZER, [97], ["b", " c", " b"], space_variants=True)
    assert [row.text for row in got.rows] == ["b", " b", " c", "c"]
    assert [(group.name, group.texts) for group in got.groups] == [("b", ("b", " b")), ("c", (" c", "c"))]
    for group in got.groups:
        alike = [row for row in got.rows if row.text.strip() == group.name]
        assert group.p == pytest.approx(sum(row.p for row in alike))
        assert group.share == pytest.approx(sum(row.share for row in alike))
    with pytest.raises(ValueError, match="options must differ"):
        score_options(engine(), TOKENIZER, [97], ["b", "b"])


def test_an_option_that_begins_another_is_counted_once() -> None:
    """P(a) = 1/2 holds P(ab) = 1/8: together with P(b) = 1/4 that makes 3/4."""
    got = score_options(engine(), TOKENIZER, [97], ["a", "ab", "b"])
    assert got.p == pytest.approx(0.75, abs=1e-6)
    assert got.rows[0].notes == ('also the beginning of "ab"',) and not got.rows[1].notes


def test_options_may_be_ids() -> None:
    got = score_options(engine(), TOKENIZER, [97], [[98, 97], (99,)])
    assert [row.text for row in got.rows] == ["ba", "c"]
    assert [-log2(row.p) for row in got.rows] == pytest.approx([3, 3], abs=1e-6)
    half, end = score_options(engine(remembers), TOKENIZER, [97], [list("👍".encode()[:2]), [EOS]]).rows
    assert (half.n_bytes, end.n_bytes, end.logprob_per_byte) == (2, 0, None)  # half a character; no text


@pytest.mark.parametrize(
    ("prompt", "options", "error", "message"),
    [
        ([], ["a"], ValueError, "prompt_ids must hold at least one id"),
        ([97], [], ValueError, "options must hold at least one text, got none"),
        ([97], ["a", ""], ValueError, "options must hold at least one token each, got ''"),
        ([97], [[300]], ValueError, r"token id must be in \[0, 256\], got 300"),
        ([97] * 20, ["ab"], ContextOverflow, "the prompt has 21 tokens but the model's context holds 20"),
    ],
)
def test_options_refused(prompt: list[int], options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        score_options(engine(context_length=20), TOKENIZER, prompt, options)


# ------------------------------------------------------------------------------------------------ views

NASTY = "a\x1b[31m\u202e👍<b>&amp;\n\t" + "x" * 30
SHOWN: dict[str, Shown] = {
    "nasty": score(engine(remembers), TOKENIZER, NASTY),
    "bos": score(engine(remembers, bos_id=BOS), TOKENIZER, "ab"),
    "long": score(engine(remembers), TOKENIZER, [97 + n % 20 for n in range(500)], window=100),
    "options": score_options(engine(remembers), TOKENIZER, [97, 10], [NASTY, "b", " b", "bc", "x" * 70]),
}


def strict_json(result: Shown) -> Any:
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


@pytest.mark.parametrize("result", SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_text_fits_and_does_nothing_to_the_terminal(result: Shown, width: int) -> None:
    text = to_text(result, width)
    assert all(cell_width(line) <= width for line in text.splitlines())
    assert not set(text) & {"\x1b", "\u202e", "\t"}


@pytest.mark.parametrize("result", SHOWN.values(), ids=SHOWN)
def test_json_and_html(result: Shown) -> None:
    assert strict_json(result) == result.to_dict()
    assert "<b>" not in to_html(result) and "\x1b" not in to_html(result)


def test_what_a_score_shows() -> None:
    """Each band has its own sign, so colour is not needed; the totals stand first."""
    text = to_text(score(engine(), TOKENIZER, "abad"), 100)
    assert text.splitlines()[0] == "3 scored tokens · 6.0000 bits · perplexity 4.000 · 2.000 bits a byte"
    assert "scored from #1 on: nothing predicts the token before it" in text
    assert "a│b│a│d│" in text and "  : . :" in text
    assert '"." 1st (1) | ":" 2–10 (2) | "+" 11–100 (0)' in text
    lines = [line for line in text.splitlines() if line.startswith("1 ")]
    assert lines[0].split() == ["1", "98", "2.00", "bits", "1.75", "bits", "2", ":", "25.0", "%", "b"]


def test_a_long_score_shows_its_surprises_first() -> None:
    got = SHOWN["long"]
    assert isinstance(got, Score)
    text = to_text(got, 200)
    assert "windows of 100 tokens, 50 apart · beyond the first, each token is read after at least 51" in text
    assert "the 20 most surprising tokens" in text and "… 500 rows; to_dict() has them all" in text
    assert "(100 more tokens are not drawn)" in text
    worst = min((row for row in got.rows if row.logprob is not None), key=lambda row: row.logprob or 0.0)
    table = text.partition("most surprising tokens")[2].splitlines()
    assert table[2].split()[0] == str(worst.index)
