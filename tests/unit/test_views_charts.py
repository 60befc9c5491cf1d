"""Charts: the numbers of the results, in altair (whose schema checks them) and in matplotlib's axes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from math import log2
from typing import Any

import matplotlib
import pytest

from tests.support import model, writes
from tests.unit.view_samples import (
    ALL_NASTY,
    CHAIN,
    CHAINED,
    COMPARISON,
    GENERATION,
    OPTIONS,
    PLAIN,
    RESULTS,
    SCORE,
    SESSION,
    TREE,
)
from tokenglass.errors import MissingDependency
from tokenglass.types.shown import Charted

matplotlib.use("agg")

WITH_CHARTS = {name: result for name, result in RESULTS.items() if isinstance(result, Charted)}
EVERY_CHART = pytest.mark.parametrize("result", WITH_CHARTS.values(), ids=WITH_CHARTS)


@pytest.fixture
def ax() -> Iterator[Any]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    yield axes
    pyplot.close(figure)


def values(chart: Any) -> list[dict[str, Any]]:
    """The data in a chart, after its schema was checked; no address in it, so nothing is fetched."""
    document = chart.to_dict()
    without_schema = json.dumps({key: value for key, value in document.items() if key != "$schema"})
    assert "http" not in without_schema and '"url"' not in without_schema
    return list(document["data"]["values"])


@EVERY_CHART
def test_altair_accepts_every_chart(result: Charted) -> None:
    document = result.plot().to_dict()
    assert document["title"] and "\x1b" not in json.dumps(document, ensure_ascii=False)


@EVERY_CHART
def test_axes_come_back_with_the_picture_in_them(result: Charted, ax: Any) -> None:
    assert result.plot(ax=ax) is ax
    assert ax.patches or ax.lines or ax.collections
    assert ax.get_title()


def test_bars_are_the_rows_and_the_rest() -> None:
    found = values(PLAIN.plot())
    assert [row["token"] for row in found] == [*(f"{r.rank} {r.text}" for r in PLAIN.rows), "… all others"]
    assert [row["probability"] for row in found] == [*(r.p for r in PLAIN.rows), pytest.approx(PLAIN.rest_p)]
    assert sum(row["probability"] for row in found) == pytest.approx(1.0, abs=1e-5)


def test_bars_show_before_and_after_the_chain() -> None:
    after = [row["probability"] for row in values(CHAINED.plot()) if row["series"] == "after the chain"]
    assert after == [*(r.p_final for r in CHAINED.rows), 0.0]


def test_bars_in_axes_have_the_same_lengths(ax: Any) -> None:
    PLAIN.plot(ax=ax)
    assert [bar.get_width() for bar in ax.patches][:-1] == pytest.approx([row.p for row in PLAIN.rows])


def test_a_curve_goes_from_the_first_rank_to_the_last() -> None:
    found = values(PLAIN.plot(kind="curve"))
    assert (found[0]["place"], found[-1]["place"]) == (1, len(PLAIN.logits))
    assert found[0]["value"] == pytest.approx(PLAIN.rows[0].p)
    assert [row["value"] for row in found] == sorted((row["value"] for row in found), reverse=True)
    with pytest.raises(ValueError, match="kind must be 'bars' or 'curve', got 'pie'"):
        PLAIN.plot(kind="pie")


def test_lines_are_entropy_and_surprise() -> None:
    found = values(GENERATION.plot())
    entropy, surprise = (
        [row["value"] for row in found if row["series"] == s] for s in ("entropy", "surprise")
    )
    assert entropy == [step.entropy_bits for step in GENERATION.steps]
    assert surprise == pytest.approx([-log2(step.p) for step in GENERATION.steps])
    scored = [row["value"] for row in values(SCORE.plot()) if row["series"] == "surprise"]
    assert scored[0] is None and scored[1:] == [row.surprisal_bits for row in list(SCORE.rows)[1:]]


def test_bars_of_options_and_of_what_moved() -> None:
    assert [r["probability"] for r in values(OPTIONS.plot())][:2] == [row.p for row in OPTIONS.rows]
    assert [r["probability"] for r in values(COMPARISON.plot())] == [0.5, 0.25, 0.25, 0.5]


def test_a_tree_has_a_mark_for_each_place_and_a_line_for_each_way(ax: Any) -> None:
    edges, nodes, names = TREE.plot().to_dict()["layer"]
    assert len(nodes["data"]["values"]) == len(names["data"]["values"]) == len(list(TREE))
    assert len(edges["data"]["values"]) == len(list(TREE)) - 1
    lanes = {row["lane"] for row in nodes["data"]["values"]}
    assert lanes == set(range(len(TREE.leaves())))  # one lane for each end
    assert SESSION.plot().to_dict()["title"] == TREE.plot().to_dict()["title"]
    session = model(writes("once")).session("o")
    session.step(2)
    session.plot(ax=ax)
    assert [text.get_text() for text in ax.texts] == ["the prompt", "n", "c"]


def test_a_token_is_no_formula(ax: Any) -> None:
    """Matplotlib would stop at a lone dollar pair, or draw what stands between as mathematics."""
    ALL_NASTY.plot(ax=ax)
    assert not any(label.get_parse_math() for label in ax.get_yticklabels())
    tree = model(writes("o$\\x$")).session("o")
    tree.step(4)
    tree.plot(ax=ax)
    assert not any(text.get_parse_math() for text in ax.texts)


def test_what_has_no_chart_has_no_plot() -> None:
    from tokenglass.views.charts.pictures import picture

    assert not hasattr(CHAIN, "plot")
    with pytest.raises(TypeError, match="there is no chart of a Chain"):
        picture(CHAIN)


def test_without_altair_the_message_says_what_to_type(monkeypatch: pytest.MonkeyPatch, ax: Any) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingDependency, match=r"pip install 'tokenglass\[plot\]'"):
        PLAIN.plot()
    assert PLAIN.plot(ax=ax) is ax
