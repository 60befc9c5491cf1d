"""Results as data frames: the numbers of `to_dict`, in every library, and the long ones without a copy.

Addresses prove the absence of copies: a frame's buffer is the very memory of the result, or the one that the
stream handed over.
"""

from __future__ import annotations

import subprocess
import sys
from math import isclose
from typing import Any

import duckdb
import numpy as np
import pandas
import polars
import pyarrow
import pyarrow.compute
import pyarrow.csv
import pytest

from tests.doc_blocks import ROOT
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
from tokenglass.views import arrow

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
    without = {name for name, result in RESULTS.items() if name not in WITH_ROWS}
    assert without == {"info", "looked_up", "removed"}
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


@EVERY_RESULT
def test_arrays_put_together_from_buffers_are_sound(result: Tabular) -> None:
    table = pyarrow.table(result)
    table.validate(full=True)
    assert table.to_pylist() == result.to_arrow().to_pylist()


def test_a_view_holds_short_texts_and_points_to_long_ones() -> None:
    """Twelve bytes is where the format parts; every length around it, empty and unknown ones between."""
    pieces = [None if n == 5 else b"\xc3\xa9" * (n // 2) + b"x" * (n % 2) for n in range(40)]
    for made, kind in ((arrow.texts(pieces), pyarrow.string()), (arrow.blobs(pieces), pyarrow.binary())):
        made.validate(full=True)
        assert made.cast(kind).equals(pyarrow.array(pieces, pyarrow.binary()).cast(kind))
    assert arrow.texts([]).to_pylist() == [] and arrow.texts([None]).to_pylist() == [None]


def test_types_hang_on_the_result_and_not_on_its_values() -> None:
    """Frames of two sessions, or of an empty text and another, can be put under one another."""
    m = model(writes("once upon"))
    stepped = m.session("o")
    stepped.step(3)
    stepped.name("here")
    full = m.next_tokens("on", do_sample=True, top_k=2)
    for empty, other in (
        (m.session("o"), stepped),
        (m.tokenize(""), m.tokenize("once")),
        (m.next_tokens("on"), full),
        (m.score("o"), m.score("once")),
        (stepped.play(1), m.generate("on", do_sample=True, max_new_tokens=3)),
    ):
        schemas = [pyarrow.table(each).schema for each in (empty, other)]
        shared = set(schemas[0].names) & set(schemas[1].names)
        assert len(shared) >= 6
        frames = [each.to_pandas() for each in (empty, other)]
        for name in shared:
            assert schemas[0].field(name).type == schemas[1].field(name).type, name
            assert frames[0][name].dtype == frames[1][name].dtype, name


def test_what_pyarrow_itself_does_with_texts_works() -> None:
    """Some of its functions take no views: `to_arrow` has usual strings."""
    table = model(writes("once")).next_tokens("on", n=5).to_arrow()
    assert pyarrow.compute.equal(table["token"], "c").to_pylist()[0] is True
    assert table.sort_by("token")["token"].to_pylist()[0] == "c"
    target = pyarrow.BufferOutputStream()
    pyarrow.csv.write_csv(table.drop(["bytes"]), target)
    assert b'"c"' in target.getvalue().to_pybytes()


def test_a_frame_needs_no_pandas() -> None:
    """Importing it takes longer than all the rest; pyarrow's own constructors would."""
    code = """
import sys
from tests.support import model, writes
import polars
m = model(writes("once upon a time"))
session = m.session("on")
session.step(3)
for result in (m.next_tokens("on", do_sample=True, top_k=2), m.score("once"), session, m.tokenize("on")):
    polars.DataFrame(result)
print("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_who_removed_each_token_is_what_the_books_say() -> None:
    """Of the whole vocabulary at once, and of each token by itself."""
    result = model(writes("once")).next_tokens(
        "on", n=257, do_sample=True, top_k=40, top_p=0.5, bad_words_ids=[[99]]
    )
    table = result.to_arrow().to_pydict()
    said = {token_id: removal.stage for token_id, removal in result.removed.items()}
    assert len(set(said.values())) >= 2
    assert table["removed_by"] == [said.get(token_id) for token_id in table["id"]]


def test_a_name_that_is_no_text_reaches_every_library() -> None:
    session = model(writes("once")).session("on")
    session.name("a\ud800b")
    assert (
        session.to_pandas()["name"].tolist() == polars.DataFrame(session)["name"].to_list() == ["a\\ud800b"]
    )


def test_a_search_has_a_row_for_each_continuation_it_weighed() -> None:
    """Of each kind of search, with the ids that its records hold."""
    m = model(writes("once upon a time, once upon a time"))
    for keywords, name, weighed in (
        ({"num_beams": 3}, "fate", lambda step: [each.token_id for each in step.candidates]),
        ({"prompt_lookup_num_tokens": 3}, "verdict", lambda step: [each.token_id for each in step.drafts]),
    ):
        search = m.search("once upon a time, on", max_new_tokens=6, **keywords)
        records = list(search)
        frame = polars.DataFrame(search)
        assert frame["id"].to_list() == [i for step in records for i in weighed(step)]
        assert name in frame.columns and frame["step"].to_list() == sorted(frame["step"].to_list())


def test_settings_say_where_each_value_came_from() -> None:
    session = model(writes("once")).session("on", do_sample=True, top_k=7)
    frame = polars.DataFrame(session.config)
    found = {row["keyword"]: (row["value"], row["source"]) for row in frame.to_dicts()}
    assert found["top_k"] == ("7", "you") and found["temperature"] == ("1", "default")


def test_every_text_of_a_generation_is_in_its_frame() -> None:
    out = model(writes("once")).generate(
        "on", do_sample=True, num_return_sequences=3, max_new_tokens=2, seed=1
    )
    frame = polars.DataFrame(out)
    assert frame["sequence"].to_list() == [0, 0, 1, 1, 2, 2]
    assert frame["id"].to_list() == [i for sequence in out.sequences for i in sequence.ids]


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
    table = pyarrow.table(long_table()[0])
    assert table.schema.field("token").type == pyarrow.string_view()

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
    one, other = (pyarrow.table(result)["token"].chunks[0] for _ in range(2))
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


def test_a_sessions_frame_does_not_ask_its_model() -> None:
    asked: list[int] = []
    known = writes("once upon")

    def rule(ids: tuple[int, ...]) -> Any:
        asked.append(len(ids))
        return known(ids)

    session = model(rule).session("o")
    session.step(2)
    before = len(asked)
    assert len(session.to_pandas()) == 3 and len(asked) == before


def test_duckdb_asks_a_long_score() -> None:
    table = LONG_SCORE.to_arrow()
    ranked = duckdb.from_arrow(table).filter("rank = 1").count("*").fetchall()[0]
    assert ranked[0] == LONG_SCORE.bands["1"]


def test_without_the_extra_the_message_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
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
    by_state = {"OnScreen", "Session", "Search", "GenerationConfig"}
    left = below(Tabular) - shown - {"Tabular", "Charted"} - by_state
    assert left == {"WordChanges", "WordOrder"}, "give a new result a sample in view_samples"
    assert issubclass(Tabular, Shown)
