"""Exports: read back by other programs' readers, safe in spreadsheets and browsers, whole or not there."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.unit.trace_samples import NAMES, step, written
from tokenglass.errors import MissingDependency, TraceError
from tokenglass.traces import FORMATS, Table, candidate_table, export, read, tree_table
from tokenglass.types import Step, Token

NASTY = '</text><script>alert(1)</script>"]]>\\N\x1b[31m\u202e|`*_<b>\ud800\x00\r\n=1+1'


@dataclass(eq=False)
class Place:
    id: int
    parent: Place | None = None
    step: Step | None = None
    name: str = ""
    notes: list[str] = field(default_factory=list)


def named(token_id: int, data: bytes, text: str, **numbers: Any) -> Step:
    one = step(token_id, token_id=token_id)
    return replace(one, token=Token(token_id, data), text=text, logprob=-0.5, **numbers)


def family() -> list[Place]:
    """The prompt -> =SUM -> (" on", half a character); the last has nasty words all over."""
    prompt = Place(0)
    first = Place(1, prompt, named(1, b"=SUM(A1)", "=SUM(A1)"), name="+start")
    left = Place(2, first, named(2, b" on", " on", finish_reason="length"))
    right = Place(
        3, first, named(3, b"\xe2\x82", "", origin="forced", draw=None, cdf=None, margin=float("inf"))
    )
    right.name, right.notes = NASTY, [NASTY, "plain"]
    return [prompt, first, left, right]


def trees() -> Table:
    return tree_table({"s": family()})


def exported(table: Table, path: Path, **options: Any) -> str:
    export(table, path, **options)
    return path.read_bytes().decode("utf-8")


# ------------------------------------------------------------------------------------------------- tables


def test_tree_rows() -> None:
    rows = list(trees())
    assert [(r["node"], r["parent"], r["depth"]) for r in rows] == [
        (0, None, 0),
        (1, 0, 1),
        (2, 1, 2),
        (3, 1, 2),
    ]
    assert rows[0]["token"] is None and rows[0]["p"] is None
    assert (rows[2]["token"], rows[2]["bytes"], rows[2]["text"]) == ("·on", b" on", " on")
    assert rows[2]["p"] == pytest.approx(0.60653066) and rows[2]["logprob"] == -0.5  # e to the -0.5
    assert (rows[3]["token"], rows[3]["draw"], rows[3]["cdf_low"]) == ("⟨E2⟩⟨82⟩", None, None)
    assert rows[3]["notes"] == f"{NASTY}\nplain".replace("\ud800", "\\ud800")


def test_depth_of_a_part_of_a_tree() -> None:
    nodes = family()
    assert [row["depth"] for row in tree_table({"s": nodes[2:]})] == [2, 2]


def test_candidate_rows() -> None:
    """One row for each of the eight likeliest, and one for a chosen token that is none of them."""
    one = step(5)
    among = [Place(0), Place(1, Place(0), one)]
    rows = list(candidate_table({"s": among}))
    assert [row["rank"] for row in rows] == list(range(1, 9))
    assert [row["token_id"] for row in rows] == one.top_ids.tolist()
    assert [row["chosen"] for row in rows] == [True] + [False] * 7
    assert [row["removed_by"] for row in rows] == [None] * 3 + ["top_k"] * 5
    assert rows[0]["logprob"] == float(one.top_logits[0]) - one.logsumexp
    other = replace(step(5, token_id=1999), rank=812, logprob=-9.0)
    rows = list(candidate_table({"s": [Place(0), Place(1, Place(0), other)]}))
    last = rows[-1]
    assert len(rows) == 9 and (last["rank"], last["token_id"], last["chosen"]) == (812, 1999, True)


def test_tables_of_a_session() -> None:
    """A session's own tree goes in as it is."""
    from tests.support import model, writes

    session = model(writes("hello")).session("h")
    session.step(2)
    session.undo()
    session.step(token="x")
    session.name("end")
    rows = list(tree_table({"s": session.tree}))
    assert [(r["node"], r["parent"], r["depth"], r["token"], r["name"]) for r in rows] == [
        (0, None, 0, None, None),
        (1, 0, 1, "e", None),
        (2, 1, 2, "l", None),
        (3, 1, 2, "x", "end"),
    ]


def test_tables_of_a_trace(tmp_path: Path) -> None:
    """What comes from the file is what went into it."""
    trace = read(written(tmp_path / "t.jsonl"))
    rows = list(candidate_table({"t": trace.nodes}))
    assert len(rows) == 4 * 8 and rows[0]["bytes"] == NAMES.token(rows[0]["token_id"]).bytes


# ---------------------------------------------------------------------------------------------------- csv


def test_csv(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(trees(), tmp_path / "t.csv"), newline="")))
    assert list(rows[0]) == list(trees().columns)
    assert (rows[1]["token"], rows[1]["name"], rows[1]["text"]) == ("'=SUM(A1)", "'+start", "'=SUM(A1)")
    assert rows[3]["bytes"] == "0xe282" and rows[3]["margin"] == "inf" and rows[3]["draw"] == ""
    assert rows[3]["name"] == NASTY.replace("\ud800", "\\ud800")
    assert float(rows[2]["logit"]) == next(r["logit"] for r in trees() if r["node"] == 2)  # every digit


@pytest.mark.parametrize("start", list("=+-@\t\r\n＝＋－＠"))
def test_no_text_acts_as_a_formula(tmp_path: Path, start: str) -> None:
    nodes = [Place(0, name=f"{start}cmd|' /C calc'!A0", notes=[f"{start}1"])]
    text = exported(tree_table({f"{start}x": nodes}), tmp_path / "t.csv")
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert all(row[key].startswith(f"'{start}") for key in ("session", "name", "notes"))
    raw = exported(tree_table({"s": nodes}), tmp_path / "t.csv", raw=True)
    (row,) = csv.DictReader(io.StringIO(raw, newline=""))
    assert row["name"] == f"{start}cmd|' /C calc'!A0"


def test_numbers_below_zero_are_no_formulas(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(trees(), tmp_path / "t.csv"), newline="")))
    assert rows[2]["logprob"] == "-0.5"


def test_csv_in_pandas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    export(candidate_table({"s": family()}), tmp_path / "t.csv")
    read_back = pandas.read_csv(tmp_path / "t.csv")
    assert len(read_back) == len(list(candidate_table({"s": family()})))
    assert read_back["logit"].tolist() == [row["logit"] for row in candidate_table({"s": family()})]


# ------------------------------------------------------------------------------------------ jsonl, parquet


def test_jsonl_is_lossless_and_strict(tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    lines = exported(trees(), tmp_path / "t.jsonl").splitlines()
    rows = [json.loads(line, parse_constant=refuse) for line in lines]
    for row, original in zip(rows, trees(), strict=True):
        row["bytes"] = None if row["bytes"] is None else bytes.fromhex(row["bytes"])
        if row.pop("margin_nonfinite", None) == "inf":
            row["margin"] = float("inf")
        assert row == original


def test_lone_surrogates_become_their_escapes() -> None:
    assert next(iter(tree_table({"\udfff": [Place(0, name="\ud800")]})))["name"] == r"\ud800"


def test_parquet_is_lossless(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export(trees(), tmp_path / "t.parquet")
    rows = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert rows == list(trees())


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    empty = candidate_table({})
    export(empty, tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet").column_names == list(empty.columns)
    assert exported(empty, tmp_path / "t.csv") == ",".join(empty.columns) + "\r\n"


def test_tables_speak_arrow() -> None:
    """A library that knows nothing of ours takes the table through the Arrow stream, more than once."""
    pyarrow = pytest.importorskip("pyarrow")
    table = trees()
    for _ in range(2):
        taken = pyarrow.table(table)
        assert taken.column("token").to_pylist() == [row["token"] for row in table]
        assert str(taken.schema.field("bytes").type) == "binary"


def test_dataframes() -> None:
    pytest.importorskip("pandas")
    assert trees().to_pandas()["depth"].tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=re.escape("pip install 'tokenglass[data]'")):
        if name == "parquet":
            export(trees(), tmp_path / "t.parquet")
        else:
            trees().__arrow_c_stream__()
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------- drawings


def test_svg_is_xml_and_harmless(tmp_path: Path) -> None:
    text = exported(trees(), tmp_path / "t.svg")
    root = ElementTree.fromstring(text)
    tags = {element.tag.removeprefix("{http://www.w3.org/2000/svg}") for element in root.iter()}
    assert tags == {"svg", "rect", "g", "title", "text", "path"}
    assert not any(key.startswith("on") or "href" in key for e in root.iter() for key in e.attrib)
    titles = [e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 4 and titles[0] == "prompt" and titles[2].startswith("·on, p 0.6065, p_final ")
    assert "<script>alert(1)</script>" in titles[3] and "⟨ESC⟩[31m⟨U+202E⟩" in titles[3]


def test_svg_draws_branches_on_lines_of_their_own(tmp_path: Path) -> None:
    root = ElementTree.fromstring(exported(trees(), tmp_path / "t.svg"))
    boxes = [g[1] for g in root.iter("{http://www.w3.org/2000/svg}g")]
    places = [(int(box.attrib["x"]), int(box.attrib["y"])) for box in boxes]
    assert len(set(places)) == 4
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = places
    assert x0 < x1 < x2 == x3 and y0 == y1 == y2 < y3
    assert int(root.attrib["width"]) >= x3 + 124 and int(root.attrib["height"]) > y3 + 24


def test_dot_is_one_quoted_label_each(tmp_path: Path) -> None:
    """Every quote and backslash of the words is escaped: what is between the quotes is what was said."""
    text = exported(trees(), tmp_path / "t.dot")
    assert text.startswith("digraph tokenglass {") and text.endswith("}\n")
    assert "n0_1 -> n0_3" in text and "n0_0 -> n0_1" in text
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    assert '"' not in outside and "script" not in outside and re.fullmatch(r"[\x20-\x7e\n]*", outside)
    label = re.search(r'n0_3 \[label="(.*)"\];', text)
    assert label and "\\\\N" in label[1] and text.isprintable() is False and "\x1b" not in text


def test_markdown_shows_signs_instead_of_obeying_them(tmp_path: Path) -> None:
    text = exported(trees(), tmp_path / "t.md")
    assert r"\<script\>" in text and "<script>" not in text and "\x1b" not in text
    lines = text.splitlines()
    assert "## Ending 2" in lines and r"> \=SUM\(A1\) on  " in lines
    table = [line for line in lines if line.startswith("| ") and "---" not in line]
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert len(table) == 5 and set(columns) == {10}  # nine cells, whatever the words hold


def test_a_deep_tree_is_drawn_without_recursion(tmp_path: Path) -> None:
    nodes = [Place(0)]
    one = named(2, b"x", "x")
    for number in range(1, 5000):
        nodes.append(Place(number, nodes[-1], one))
    for ending in ("svg", "dot", "md"):
        assert exported(tree_table({"s": nodes}), tmp_path / f"t.{ending}").count("\n") >= 5000


def test_only_trees_are_drawn(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="svg draws a tree, got a table of candidates; give a tree_table"):
        export(candidate_table({"s": family()}), tmp_path / "t.svg")


# -------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("name", "options", "got"), [("t.xls", {}, "'.xls'"), ("t.csv", {"format": "toml"}, "'toml'")]
)
def test_unknown_formats(tmp_path: Path, name: str, options: Any, got: str) -> None:
    with pytest.raises(ValueError, match=f"csv, jsonl, parquet, dot, svg, markdown, got .*{got}"):
        export(trees(), tmp_path / name, **options)


@pytest.mark.parametrize("format", FORMATS)
def test_an_old_file_stays_until_the_new_one_is_complete(tmp_path: Path, format: str) -> None:
    """When the rows break off in the middle the old file is as it was, and nothing lies about."""
    if format == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / "out"
    path.write_text("old")

    def broken() -> Iterator[dict[str, Any]]:
        yield from list(trees())[:2]
        raise TraceError("damaged")

    with pytest.raises(TraceError, match="damaged"):
        export(Table(trees().columns, broken, is_tree=True), path, format)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["out"]
    export(trees(), path, format)
    assert path.read_bytes() != b"old" and [p.name for p in tmp_path.iterdir()] == ["out"]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "t.csv", tmp_path / "x\0.csv", tmp_path):
        with pytest.raises(TraceError, match="cannot be written") as caught:
            export(trees(), path, "csv")
        assert str(caught.value).isprintable()
