"""Results as data frames: the numbers of `to_dict`, in every library, and the long ones without a copy.

Addresses prove the absence of copies: a frame's buffer is the very memory of the result, or the one that the
stream handed over.
"""

from __future__ import annotations

from math import isclose
from typing import Any

import duckdb
import numpy as np
import pandas
import polars
import pyarrow
import pytest

from tests.support import model, writes
from tests.unit.search_samples import SEARCHES
from tests.unit.view_samples import (
    ALL_NASTY,
    CHAINED,
    GENERATION,
    LONG_SCORE,
    NASTY_TEXT,
    OPTIONS,
    PLAIN,
    RESULTS,
    SCORE,
    SIZE,
    TREE,
    VOCABULARY,
    score_of,
)
from tokenglass.types import NextTokens, Shown
from tokenglass.types.shown import Tabular

WITH_ROWS = {name: result for name, result in (RESULTS | SEARCHES).items() if isinstance(result, Tabular)}
EVERY_RESULT = pytest.mark.parametrize("result", WITH_ROWS.values(), ids=WITH_ROWS)


def known(value: Any) -> Any:
    """None for every spelling of unknown."""
    return None if value is None or value is pandas.NA or value != value else value


def same(one: Any, other: Any) -> bool:
    one, other = known(one), known(other)
    return isclose(one, other) if isinstance(one, float) and isinstance(other, float) else one == other


@EVERY_RESULT
def test_pandas_polars_and_duckdb_hold_the_same(result: Tabular) -> None:
    frame, shared = result.to_pandas(), polars.DataFrame(result)
    counted = duckdb.from_arrow(result.to_arrow()).count("*").fetchall()[0]
    assert list(frame.columns) == shared.columns
    assert len(frame) == len(shared) == counted[0]
    for name in shared.columns:
        for one, other in zip(frame[name], shared[name].to_list(), strict=True):
            assert same(one, other) or "\ud800" in str(one), name


def test_what_has_no_rows_says_so() -> None:
    assert {name for name, result in RESULTS.items() if name not in WITH_ROWS} == {"info"}
    from tokenglass.views.columns import columns

    with pytest.raises(TypeError, match=r"a EngineInfo has no rows; use to_dict\(\)"):
        columns(RESULTS["info"])


ROWS = {
    "plain": (PLAIN, PLAIN.to_dicts()),
    "chained": (CHAINED, CHAINED.to_dicts()),
    "all_nasty": (ALL_NASTY, ALL_NASTY.to_dicts()),
    "tokens": (NASTY_TEXT, NASTY_TEXT.to_dicts()),
    "steps": (GENERATION, GENERATION.to_dicts()),
    "score": (SCORE, SCORE.to_dicts()),
    "options": (OPTIONS, OPTIONS.to_dicts()),
    "tree": (TREE, TREE.to_dict()["nodes"]),
}


@pytest.mark.parametrize("name", ROWS)
def test_columns_are_what_to_dict_says(name: str) -> None:
    """Names that both have hold the same in both; bytes are hexadecimal in one and bytes in the other."""
    result, dicts = ROWS[name]
    table = result.to_arrow().to_pylist()
    shared = [key for key in table[0] if key in dicts[-1] and key not in ("bytes", "notes", "name")]
    assert len(shared) >= 4 and len(table) == len(dicts)
    for row, expected in zip(table, dicts, strict=True):
        if "bytes" in row:
            assert (row["bytes"] or b"").hex() == expected.get("bytes", "")
        for key in shared:
            flagged = expected.get(f"{key}_nonfinite")
            assert same(row[key], float(flagged) if flagged else expected.get(key)), (key, row, expected)


def long_table(n: int = 50_000) -> tuple[NextTokens, Any]:
    """A table of the whole of a vocabulary of n tokens, most of them longer than a view holds inline."""

    class Many:
        def __len__(self) -> int:
            return n

        def token(self, token_id: int) -> Any:
            return type(VOCABULARY.token(0))(token_id, f" token number {token_id}".encode())

        def find(self, text: str) -> int:
            raise ValueError(text)

    logits = np.random.default_rng(7).normal(0.0, 4.0, n).astype(np.float32)
    return NextTokens((1,), 0, logits, n, Many()), logits


def address(series: polars.Series) -> int:
    return series.to_numpy(allow_copy=False).ctypes.data


def test_a_frame_of_a_long_score_is_the_scores_own_memory() -> None:
    """50,000 rows: ids, logprobs, ranks and entropies stand in polars where the score keeps them."""
    score = score_of([i % SIZE for i in range(50_000)])
    frame = polars.DataFrame(score)
    own = score.columns
    assert len(frame) == 50_000
    assert address(frame["id"]) == own.ids.ctypes.data
    assert address(frame["context"]) == own.contexts.ctypes.data
    table = pyarrow.table(score)
    for name, values in (("logprob", own.logprobs), ("rank", own.ranks), ("entropy_bits", own.entropies)):
        (piece,) = table[name].chunks
        assert piece.buffers()[1].address == values.ctypes.data
        assert piece.null_count == 1  # the first token, which nothing predicts
        (shown,) = pyarrow.chunked_array([frame[name].to_arrow()]).chunks
        assert shown.buffers()[1].address == values.ctypes.data


@pytest.mark.parametrize("columns", [("id", "rank", "logit", "logprob", "p"), ("token", "bytes", "kind")])
def test_polars_copies_nothing_of_what_the_stream_hands_over(columns: tuple[str, ...]) -> None:
    """Every buffer of the frame, those of its texts included, lies where it lay in the table."""
    table = long_table()[0].to_arrow()

    class Stream:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return table.__arrow_c_stream__(requested_schema)

    frame = polars.DataFrame(Stream())
    for name in columns:
        (sent,) = table[name].chunks
        arrived = frame[name].to_arrow(compat_level=polars.CompatLevel.newest())
        assert arrived.type == sent.type
        pairs = zip(sent.buffers(), arrived.buffers(), strict=True)
        sizes = {buffer.size for buffer in sent.buffers() if buffer is not None}
        assert max(sizes) >= 50_000
        for one, other in pairs:
            assert one is None or not one.size or one.address == other.address, name


def test_texts_of_a_vocabulary_are_kept_once() -> None:
    """Two tables of one vocabulary point to the same characters."""
    result, _ = long_table(5000)
    one, other = (result.to_arrow()["token"].chunks[0] for _ in range(2))
    assert [b.address for b in one.buffers()[2:]] == [b.address for b in other.buffers()[2:]]
    assert one.to_pylist()[:2] == [row.text for row in result.rows[:2]]


def test_the_longest_table_is_in_order_and_sums_to_one() -> None:
    result, logits = long_table()
    frame = polars.DataFrame(result)
    assert frame["id"].to_list() == np.argsort(-logits, kind="stable").tolist()
    assert frame["p"].sum() == pytest.approx(1.0, abs=1e-6)
    assert frame["token"][0] == result.rows[0].text and frame["rank"][49_999] == 50_000


def test_a_session_is_its_tree() -> None:
    session = model(writes("once upon")).session("o")
    session.step(3)
    frame = polars.DataFrame(session)
    assert frame["depth"].to_list() == [0, 1, 2, 3]
    assert frame["text"].to_list() == [None, "n", "c", "e"]
    assert session.to_pandas()["token"].tolist()[1:] == ["n", "c", "e"]


def test_duckdb_asks_a_long_score() -> None:
    table = LONG_SCORE.to_arrow()
    ranked = duckdb.from_arrow(table).filter("rank = 1").count("*").fetchall()[0]
    assert ranked[0] == LONG_SCORE.bands["1"]


def test_without_the_extra_the_message_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from tokenglass.errors import MissingDependency

    for package in ("pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, package, None)
    for call in (PLAIN.to_pandas, PLAIN.to_arrow, PLAIN.__arrow_c_stream__):
        with pytest.raises(MissingDependency, match=r"pip install 'tokenglass\[data\]'"):
            call()


def test_every_result_with_rows_is_covered() -> None:
    def below(kind: type) -> set[str]:
        return {kind.__name__} | {name for each in kind.__subclasses__() for name in below(each)}

    shown = {type(result).__name__ for result in WITH_ROWS.values()}
    left = below(Tabular) - shown - {"Tabular", "Charted", "ShowsItsState", "OnScreen", "Session"}
    assert left == {"WordChanges", "WordOrder"}, "give a new result a sample in view_samples"
    assert issubclass(Tabular, Shown)
