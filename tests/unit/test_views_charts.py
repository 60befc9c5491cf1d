"""Charts: the numbers of the results, in altair (whose schema checks them) and in matplotlib's axes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from math import inf, log2, nan
from typing import Any

import matplotlib
import numpy as np
import pytest

from tests.page.payloads import ALL
from tests.support import model, writes
from tests.unit.view_samples import (
    ACCOUNT,
    ALL_NASTY,
    BEAMS,
    CHAIN,
    CHAINED,
    COMPARISON,
    ENDED,
    EXPANSION,
    FORCED,
    GENERATION,
    GREEDY,
    LONG_SCORE,
    OPTIONS,
    PLAIN,
    PLAY,
    PROMPT_IDS,
    RESULTS,
    SAMPLED_ENDS,
    SCORE,
    SESSION,
    SHOWCASE,
    TREE,
    VOCABULARY,
    score_of,
    step,
)
from tokenglass.errors import MissingDependency
from tokenglass.text import safe_text
from tokenglass.types import (
    Arrangement,
    Generation,
    Listing,
    NextTokens,
    OptionScore,
    OptionScores,
    Sequence,
    Shown,
    Strategy,
    Token,
    Tree,
    WordChange,
    WordChanges,
    WordOrder,
)
from tokenglass.types.shown import Charted, Tabular
from tokenglass.views.cells import cell_width
from tokenglass.views.charts import looks, trees
from tokenglass.views.charts.pictures import Branches, kinds, picture

matplotlib.use("agg")

WITH_CHARTS = {name: result for name, result in RESULTS.items() if isinstance(result, Charted)}
EVERY_CHART = pytest.mark.parametrize("result", WITH_CHARTS.values(), ids=WITH_CHARTS)
# Results with rows and without a picture, and why.
NO_PICTURE = {
    "Tokenization": "a text in pieces; it has no numbers",
    "Chain": "names and parameters of stages; what they do is seen at a token",
    "Settings": "keywords and where they came from",
    "SearchRecords": "steps of four kinds, each a table; the page plays them as a film",
}


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
    for kind in kinds(result):
        document = result.plot(kind=kind).to_dict()
        assert document["title"] and "\x1b" not in json.dumps(document, ensure_ascii=False)


@EVERY_CHART
def test_axes_come_back_with_the_picture_in_them(result: Charted, ax: Any) -> None:
    for kind in kinds(result):
        assert result.plot(ax=ax, kind=kind) is ax
        assert ax.patches or ax.lines or ax.collections
        assert ax.get_title() and ax.get_xlabel()
        ax.clear()


def test_a_result_without_a_picture_is_a_decision() -> None:
    def below(kind: type) -> set[type]:
        return {each for sub in kind.__subclasses__() for each in {sub, *below(sub)}}

    without = {kind.__name__ for kind in below(Tabular) if not issubclass(kind, Charted)}
    without -= {"Search", "GenerationConfig"}  # which show their records and settings
    assert without == set(NO_PICTURE)
    for kind in below(Charted) - {kind for kind in below(Charted) if kind.__subclasses__()}:
        assert kinds.dispatch(kind) is not kinds.dispatch(Shown), kind


def test_bars_are_the_rows_and_the_rest() -> None:
    found = values(PLAIN.plot())
    assert [row["token"] for row in found] == [*(f"{r.rank} {r.text}" for r in PLAIN.rows), "… all others"]
    assert [row["value"] for row in found] == [*(r.p for r in PLAIN.rows), pytest.approx(PLAIN.rest_p)]
    assert sum(row["value"] for row in found) == pytest.approx(1.0, abs=1e-5)


def test_bars_show_before_and_after_the_chain() -> None:
    after = [row["value"] for row in values(CHAINED.plot()) if row["series"] == "after the chain"]
    assert after == [*(r.p_final for r in CHAINED.rows), 0.0]


def test_bars_in_axes_have_the_same_lengths(ax: Any) -> None:
    PLAIN.plot(ax=ax)
    assert [bar.get_width() for bar in ax.patches][:-1] == pytest.approx([row.p for row in PLAIN.rows])


class Many:
    """A vocabulary of numbered tokens, of any size."""

    def __len__(self) -> int:
        return 3000

    def token(self, token_id: int) -> Token:
        return Token(token_id, f" t{token_id}".encode())

    def find(self, text: str) -> int:
        raise ValueError(text)


LONG_TABLE = NextTokens((1,), 0, np.linspace(3, 0, 3000, dtype=np.float32), 3000, Many())


def test_a_long_table_is_fifty_bars_and_the_others(ax: Any) -> None:
    document = LONG_TABLE.plot().to_dict()
    assert len(document["data"]["values"]) == 51 and document["height"] < 1000
    assert document["title"]["subtitle"] == ["the 50 likeliest of 3,000 asked for"]
    assert sum(row["value"] for row in document["data"]["values"]) == pytest.approx(1.0, abs=1e-5)
    LONG_TABLE.plot(ax=ax)
    assert len(ax.patches) == 51 and "the 50 likeliest of 3,000" in ax.get_title()


@pytest.mark.parametrize("n", [5, 40, 3000])
def test_labels_of_bars_do_not_lie_on_one_another(n: int, ax: Any) -> None:
    replace(LONG_TABLE, n=n).plot(ax=ax)
    ax.figure.canvas.draw()
    boxes = sorted((label.get_window_extent() for label in ax.get_yticklabels()), key=lambda box: -box.y0)
    assert all(above.y0 >= below.y1 - 1.0 for above, below in pairwise(boxes))


def test_a_curve_goes_from_the_first_rank_to_the_last() -> None:
    found = values(PLAIN.plot(kind="curve"))
    assert (found[0]["place"], found[-1]["place"]) == (1, len(PLAIN.logits))
    assert found[0]["value"] == pytest.approx(PLAIN.rows[0].p)
    assert [row["value"] for row in found] == sorted((row["value"] for row in found), reverse=True)


def test_a_curve_of_a_server_ends_where_its_list_does() -> None:
    logits = np.full(len(VOCABULARY), nan, np.float32)
    logits[[8, 9]] = np.log([0.5, 0.25])
    listing = Listing(np.array([8, 9]), logits[[8, 9]], 0.75)
    listed = NextTokens(PROMPT_IDS, 7, logits, 2, VOCABULARY, coverage=0.75, listing=listing)
    chart = listed.plot(kind="curve")
    assert [row["value"] for row in values(chart)] == pytest.approx([0.5, 0.25])
    assert chart.to_dict()["title"]["subtitle"] == [f"the server lists 2 of {len(VOCABULARY)} tokens"]


# ------------------------------------------------------------------------------------------ along a text


def by_series(chart: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in values(chart):
        found.setdefault(row["series"], []).append(row["value"])
    return found


def test_lines_are_entropy_and_surprise() -> None:
    found = by_series(GENERATION.plot())
    assert found["entropy"] == [step.entropy_bits for step in GENERATION.steps]
    assert found["surprise"] == pytest.approx([-log2(step.p) for step in GENERATION.steps])
    scored = by_series(SCORE.plot())["surprise"]
    assert scored[0] is None and scored[1:] == [row.surprisal_bits for row in list(SCORE.rows)[1:]]
    assert by_series(PLAY.plot()) == {
        "entropy": [step.entropy_bits for step in PLAY.steps],
        "surprise": pytest.approx([-log2(step.p) for step in PLAY.steps]),
    }


def test_lines_begin_at_zero_and_say_their_units(ax: Any) -> None:
    document = GENERATION.plot().to_dict()
    assert document["encoding"]["y"]["scale"] == {"zero": True}
    assert document["encoding"]["y"]["title"] == "entropy, surprise (bits)"
    GENERATION.plot(ax=ax)
    assert ax.get_ylim()[0] == 0.0 and ax.get_ylabel() == "entropy, surprise (bits)"


def test_a_short_text_stands_below_its_line_and_a_long_one_does_not(ax: Any) -> None:
    document = SCORE.plot().to_dict()
    ticks = [row["tick"] for row in document["data"]["values"] if row["series"] == "entropy"]
    assert ticks[:3] == ["0 Once", "1 ·like", "2 ,"] and cell_width(max(ticks, key=cell_width)) <= 20
    assert document["encoding"]["x"]["field"] == "tick" and document["encoding"]["x"]["sort"] is None
    SCORE.plot(ax=ax)
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == ticks[:3]
    assert ax.get_xlabel() == document["encoding"]["x"]["title"] == "position"
    assert LONG_SCORE.plot().to_dict()["encoding"]["x"]["field"] == "place"


def test_a_line_is_drawn_whole_and_says_so_where_it_is_not(ax: Any) -> None:
    whole = score_of([i % 11 for i in range(2802)])
    assert len(by_series(whole.plot())["entropy"]) == 2802
    assert whole.plot().to_dict()["title"] == "how undecided the model was, and how surprising each token"
    endless = score_of([i % 11 for i in range(10_001)])
    endless.plot(ax=ax)
    assert len(ax.lines[0].get_xdata()) == 10_000
    assert ax.get_title().endswith("\nthe first 10,000 of 10,001 tokens")


def test_each_sequence_has_a_line_of_its_own(ax: Any) -> None:
    found = by_series(BEAMS.plot())
    assert list(found) == ["1 ·like⏎", "2 ·like⏎"]  # both samples have the same steps
    assert found["1 ·like⏎"] == [step.entropy_bits for step in BEAMS.sequences[0].steps]
    assert BEAMS.plot().to_dict()["encoding"]["y"]["title"] == "entropy (bits)"
    BEAMS.plot(ax=ax)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(found)
    many = replace(BEAMS, sequences=BEAMS.sequences * 15)
    assert many.plot().to_dict()["title"]["subtitle"] == ["the first 20 of 30 sequences"]


def test_other_lengths_have_no_tokens_below_them() -> None:
    """Position 9 is a line break in one and a comma in the other: the axis can name neither."""
    first, second = BEAMS.sequences
    other = replace(second, steps=(second.steps[0], step(4, 9)))
    assert replace(BEAMS, sequences=(first, other)).plot().to_dict()["encoding"]["x"]["field"] == "place"


def test_what_a_server_does_not_tell_is_said_to_be_unknown() -> None:
    told = replace(GREEDY, entropy_bits=None, logprob=-1.0)
    document = Sequence((8,), " like", (told,), "length").plot().to_dict()
    assert document["title"]["subtitle"] == ["unknown here: entropy"]
    assert {row["series"] for row in document["data"]["values"]} == {"surprise"}


def test_a_text_without_tokens_is_a_picture_that_says_so(ax: Any) -> None:
    nothing = Generation(PROMPT_IDS, "Once", (Sequence((), "", (), "length"),))
    document = nothing.plot().to_dict()
    assert document["title"]["subtitle"] == ["nothing to draw: no tokens"]
    assert document["encoding"]["x"]["scale"]["domain"] == [0, 1]  # or Vega warns of an infinite extent
    nothing.plot(ax=ax)
    assert (ax.get_xlim(), ax.get_ylim()) == ((0.0, 1.0), (0.0, 1.0))


def test_strategies_by_their_mean_surprise(ax: Any) -> None:
    found = by_series(SHOWCASE.plot())
    bits = [-log2(step.p) for step in GENERATION.steps]
    assert found["greedy"] == pytest.approx([sum(bits[: n + 1]) / (n + 1) for n in range(4)])
    assert list(found) == ["greedy", "top_p"]
    assert SHOWCASE.plot().to_dict()["title"]["subtitle"] == ["1 of 3 strategies could not run"]
    assert by_series(SHOWCASE.plot(kind="entropy"))["top_p"] == [s.entropy_bits for s in BEAMS.steps]
    bars = values(SHOWCASE.plot(kind="bars"))
    assert [row["value"] for row in bars] == [found["greedy"][-1], found["top_p"][-1]]
    many = [Strategy(f"_$s{n}$", {}, GENERATION, 0.1) for n in range(19)]
    replace(SHOWCASE, rows=tuple(many)).plot(ax=ax)
    texts = ax.get_legend().get_texts()
    assert [text.get_text() for text in texts] == [f"_$s{n}$" for n in range(19)]
    assert not any(text.get_parse_math() for text in texts)
    ax.figure.canvas.draw()
    legend, top = ax.get_legend().get_window_extent(), max(line.get_window_extent().y1 for line in ax.lines)
    assert legend.y0 >= top and legend.width <= ax.bbox.width  # above the lines, not over them


def test_strategies_of_one_long_name_are_two_lines() -> None:
    rows = tuple(Strategy("x" * 40 + end, {}, GENERATION, 0.1) for end in "ab")
    assert len(by_series(replace(SHOWCASE, rows=rows).plot())) == 2


# ------------------------------------------------------------------------------------ comparisons, options


def test_what_moved_names_both_sides() -> None:
    found = values(COMPARISON.plot())
    assert [row["value"] for row in found] == [0.5, 0.25, 0.25, 0.5]
    named = {row["series"] for row in found}
    assert named == {"a: … upon a time, generative models", "b: … upon a time, generative models"}
    models = replace(COMPARISON, kind="models")
    assert {row["series"] for row in values(models.plot())} == {"a: smollm2", "b: smollm2"}
    hot = replace(COMPARISON.a, keywords={"top_p": 0.9, "seed": 1})
    configs = replace(COMPARISON, kind="configs", a=hot, b=replace(COMPARISON.b, keywords={"seed": 1}))
    assert {row["series"] for row in values(configs.plot())} == {"a: top_p=0.9", "b: nothing of its own"}


def test_how_far_apart_at_each_position() -> None:
    second = replace(COMPARISON.positions[0], index_a=8, index_b=8, kl_ba_bits=0.5)
    chart = replace(COMPARISON, positions=(*COMPARISON.positions, second)).plot(kind="positions")
    assert by_series(chart) == {"KL(a‖b)": [0.34, 0.34], "KL(b‖a)": [None, 0.5], "JS": [0.0631, 0.0631]}
    assert chart.to_dict()["title"]["subtitle"] == [
        "a: … upon a time, generative models",
        "b: … upon a time, generative models",
        "infinite where there is no point: KL(b‖a)",
    ]
    assert chart.to_dict()["encoding"]["y"]["title"] == "divergence (bits)"


def test_options_are_dots_of_log_probability_however_unlikely(ax: Any) -> None:
    """At e^-900 a probability is 0 in any floating-point number, and its log is not."""
    token = VOCABULARY.token(8)
    rows = tuple(OptionScore(f" o{n}", (token,), (n,), 0.5, 0.5) for n in (-900.0, -1.5, -inf))
    options = OptionScores(PROMPT_IDS, "Once", rows)
    document = options.plot().to_dict()
    assert [row["value"] for row in document["data"]["values"]] == [-900.0, -1.5, None]
    assert document["mark"]["type"] == "circle" and "nats" in document["encoding"]["x"]["title"]
    options.plot(ax=ax)
    assert list(ax.lines[0].get_xdata())[:2] == [-900.0, -1.5] and "nats" in ax.get_xlabel()
    assert [row["value"] for row in values(OPTIONS.plot(kind="share"))] == [0.5, 0.5, 0.4, 0.6]


def test_words_changed_and_words_in_other_orders() -> None:
    apart = COMPARISON.prompt_end
    changes = WordChanges("Once", "Once", (WordChange("Never", "Never", apart),))
    assert [(row["token"], row["value"]) for row in values(changes.plot())] == [("1 Never", 0.25)]
    one = Arrangement("a b", (1, 2), -np.log(2.0) * 3, 2, apart)
    orders = WordOrder("a b", (one,) * 60, 60)
    assert values(orders.plot())[0]["value"] == pytest.approx(3.0)  # bits of 1/8
    assert orders.plot().to_dict()["title"]["subtitle"] == ["the first 50 of 60 orders, the likeliest first"]


def test_a_step_shows_what_might_have_been_written() -> None:
    found = values(FORCED.plot())  # the 41st token, which is not among the candidates that it keeps
    assert [row["token"] for row in found][-2:] == ["41 , ← written", "… all others"]
    assert sum(row["value"] for row in found) == pytest.approx(1.0)
    assert values(GREEDY.plot())[0]["token"] == "1 ·like ← written"


def test_a_token_on_its_way_through_the_chain() -> None:
    found = [(row["token"], row["value"]) for row in values(ACCOUNT.plot())]
    assert found == [("0 model", 0.108), ("1 top_k", 0.3431), ("2 bad_words_ids", 0.0)]


def test_ends_unfolded_and_drawn() -> None:
    p = [row["value"] for row in values(EXPANSION.plot())]
    assert p == pytest.approx([*EXPANSION.probabilities, 1.0 - EXPANSION.covered])
    shares = by_series(SAMPLED_ENDS.plot())["share of 4 samples"]
    assert shares == [0.75, 0.25, 0.0]


# ---------------------------------------------------------------------------------------------------- trees


def layers(chart: Any, mark: str) -> list[list[dict[str, Any]]]:
    """The data of each layer of such a mark."""
    found = chart.to_dict()["layer"]
    return [layer["data"]["values"] for layer in found if layer["mark"]["type"] == mark]


def test_a_tree_has_a_mark_for_each_place_and_a_line_for_each_way(ax: Any) -> None:
    known, prompt = layers(TREE.plot(), "point")
    assert len(known) == len(list(TREE)) - 1 and [row["depth"] for row in prompt] == [0]
    assert len(layers(TREE.plot(), "rule")[0]) == len(list(TREE)) - 1
    assert {row["lane"] for row in known} == set(range(len(TREE.leaves())))  # one lane for each end
    session = model(writes("once")).session("o")
    session.step(2)
    session.plot(ax=ax)
    assert [text.get_text() for text in ax.texts] == ["the prompt", "n", "c"]
    assert ax.get_title().endswith("\nthe ring is where the session stands")


def test_a_tree_shows_names_notes_and_where_the_session_stands() -> None:
    known, _, here = layers(SESSION.plot(), "point")
    assert [row["told"] for row in here] == [next(r["told"] for r in known if r["depth"] == 32)]
    assert any("✎ see⟨ESC⟩[2J⏎below" in row["told"] for row in known)
    letters = [row["label"] for layer in layers(SESSION.plot(), "text") for row in layer]
    assert "·like “the ⟨U+202E⟩odd⏎way”" in letters


def test_a_session_without_steps_is_a_square_and_its_name(ax: Any) -> None:
    session = model(writes("once")).session("o")
    document = session.plot().to_dict()
    assert [layer["mark"]["type"] for layer in document["layer"]] == ["point", "point", "text", "text"]
    axis = document["layer"][0]["encoding"]["x"]["axis"]
    assert axis["values"] == [0] and axis["format"] == ",d"
    session.plot(ax=ax)
    ax.figure.canvas.draw()
    box = ax.texts[0].get_window_extent()
    assert ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1
    assert list(ax.get_xticks()) == [0]


def test_an_unknown_probability_is_a_hollow_circle(ax: Any) -> None:
    tree = Tree(PROMPT_IDS, VOCABULARY)
    tree.add(tree.root, step(8, p_final=None))
    (hollow, _) = [
        layer["mark"] for layer in tree.plot().to_dict()["layer"] if layer["mark"]["type"] == "point"
    ]
    assert hollow["filled"] is False
    tree.plot(ax=ax)
    assert any(not len(marks.get_facecolor()) for marks in ax.collections)


def comb(depth: int, others: int) -> Tree:
    tree = Tree(PROMPT_IDS, VOCABULARY)
    place = tree.root
    for at in range(depth):
        for other in range(others):
            tree.add(place, step(other, 8 + at))
        place = tree.add(place, step(17, 8 + at))
    return tree


def test_a_large_tree_stays_within_bounds_and_says_what_is_left_out(ax: Any) -> None:
    document = comb(100, 2).plot().to_dict()
    assert document["height"] <= 800 and document["width"] <= 900
    assert document["title"] == "texts after Once·upon·a·time,·generative·models"
    large = comb(800, 2)
    assert large.plot().to_dict()["title"]["subtitle"] == ["the first 2,000 of 2,401 places"]
    large.plot(ax=ax)
    assert ax.get_title().endswith("the first 2,000 of 2,401 places")
    assert all(tick == int(tick) for tick in ax.get_xticks())


def test_a_place_that_is_not_drawn_is_named() -> None:
    tree = comb(800, 2)
    last = max(place.id for place in tree)
    chart = replace(SESSION, tree=tree, node=last).plot()
    assert f"the session stands at place {last:,}, which is not drawn" in chart.to_dict()["title"]["subtitle"]


@pytest.mark.parametrize("result", [TREE, SESSION, ENDED, comb(10, 2), comb(60, 1)], ids=str)
def test_labels_of_a_tree_do_not_lie_on_one_another(result: Charted, ax: Any) -> None:
    result.plot(ax=ax)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) >= 2
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart = (
                one.x1 <= other.x0 + 1 or other.x1 <= one.x0 + 1 or abs(one.y0 - other.y0) >= 0.5 * one.height
            )
            assert apart, (one, other)


def test_labels_are_left_out_where_there_is_no_room_the_named_ones_last() -> None:
    tree = comb(40, 0)
    tree.node(20).name = "here"
    found = picture(tree)
    assert isinstance(found, Branches)
    wide, narrow = (trees.labels(found, across, 2.0) for across in (30.0, 3.0))
    assert len(wide) == 41 and len(narrow) < 20 and 20 in narrow and narrow[0] == "the prompt"


# --------------------------------------------------------------------------------------- wrong arguments


def refused(error: type[Exception], match: str, result: Any, *given: Any, **options: Any) -> None:
    with pytest.raises(error, match=match) as caught:
        result.plot(*given, **options)
    assert "\n" not in str(caught.value) and caught.value.__cause__ is None


def test_a_wrong_kind_is_refused_by_name(ax: Any) -> None:
    refused(ValueError, "kind must be 'bars' or 'curve', got 'pie'", PLAIN, kind="pie")
    refused(ValueError, "plot.. of a Generation: kind must be 'lines', got 'bars'", GENERATION, kind="bars")
    refused(ValueError, "kind must be 'tree', got 5", TREE, kind=5)
    refused(ValueError, r"kind must be 'tree', got \[\]", TREE, ax=ax, kind=[])
    refused(TypeError, "plot.. takes ax and kind, got 'colour'", TREE, ax=ax, colour="red")
    assert not ax.has_data()


def test_what_is_no_axes_is_refused_before_anything_is_drawn() -> None:
    from matplotlib import pyplot

    refused(TypeError, "ax must be matplotlib's axes, .*got 5", PLAIN, ax=5)
    refused(TypeError, "got 'curve'; a kind is given by its name: plot.kind='curve'.", PLAIN, "curve")
    figure, several = pyplot.subplots(1, 2)
    refused(TypeError, r"got several \(2\): give one of them, such as ax\[0\]", PLAIN, ax=several)
    refused(TypeError, "got matplotlib.pyplot", PLAIN, ax=pyplot)
    refused(TypeError, "got Figure", PLAIN, ax=figure)
    refused(TypeError, "got polar ones", PLAIN, ax=pyplot.figure().add_subplot(projection="polar"))
    assert not any(each.has_data() for each in several)
    assert not pyplot.figure(figure.number).axes[0].get_title()
    pyplot.close("all")


def test_drawn_twice_into_the_same_axes_the_first_bar_is_still_on_top(ax: Any) -> None:
    for _ in range(2):
        PLAIN.plot(ax=ax)
        assert ax.get_ylim()[0] > ax.get_ylim()[1]


# ---------------------------------------------------------------------------------------- looks and letters


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#111111"])
def test_marks_and_letters_can_be_seen_on_light_and_dark(ground: str) -> None:
    """3 to 1 for marks, 4.5 to 1 for letters, which bring their ground: no colour has that on both."""
    for colour in (*looks.COLOURS, looks.GREY, looks.RING):
        assert contrast(colour, ground) >= 3.0, colour
    assert contrast(looks.INK, looks.PAPER) >= 4.5
    assert contrast("#ffffff", "#111111") < 4.5**2  # the best of both would be the root of it


def test_letters_in_a_tree_stand_on_their_own_ground(ax: Any) -> None:
    texts = [layer["mark"] for layer in TREE.plot().to_dict()["layer"] if layer["mark"]["type"] == "text"]
    edges, letters = texts[::2], texts[1::2]
    assert {mark["stroke"] for mark in edges} == {looks.PAPER} and {m["fill"] for m in letters} == {looks.INK}
    TREE.plot(ax=ax)
    assert {text.get_color() for text in ax.texts} == {matplotlib.rcParams["text.color"]}


def test_no_two_of_many_lines_look_alike() -> None:
    assert len(set(zip(looks.colours(32), looks.dashes(32), strict=True))) == 32


def test_a_token_is_no_formula(ax: Any) -> None:
    """Matplotlib would stop at a lone dollar pair, or draw what stands between as mathematics."""
    ALL_NASTY.plot(ax=ax)
    assert not any(label.get_parse_math() for label in ax.get_yticklabels())
    tree = model(writes("o$\\x$")).session("o")
    tree.step(4)
    tree.plot(ax=ax)
    assert not any(text.get_parse_math() for text in ax.texts)


@EVERY_CHART
def test_no_font_of_matplotlib_prints_a_warning(result: Charted, ax: Any) -> None:
    """Warnings are errors here: a glyph that is missing would be one as soon as the figure is drawn."""
    result.plot(ax=ax)
    ax.figure.canvas.draw()


def test_a_character_without_a_glyph_is_its_code_point(ax: Any) -> None:
    ALL_NASTY.plot(ax=ax)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert any("⟨U+6F22⟩⟨U+5B57⟩" in label for label in labels)
    assert any("漢字" in row["token"] for row in values(ALL_NASTY.plot()))  # a browser finds a font


def test_a_font_that_has_the_characters_draws_them(ax: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenglass.views.charts import fonts

    monkeypatch.setattr(fonts, "_has", lambda _, character: character in "漢字")
    ALL_NASTY.plot(ax=ax)
    assert any("漢字" in label.get_text() for label in ax.get_yticklabels())
    monkeypatch.delitem(sys.modules, "matplotlib.font_manager")
    assert fonts.drawable(ax.title)("漢☃") == "漢☃"  # axes of another make


class Hostile:
    """A vocabulary of everything that would act on a page."""

    def __init__(self) -> None:
        self.tokens = [Token(i, text.encode()) for i, text in enumerate(ALL)]

    def __len__(self) -> int:
        return len(self.tokens)

    def token(self, token_id: int) -> Token:
        return self.tokens[token_id]

    def find(self, text: str) -> int:
        raise ValueError(text)


def hostile_results() -> list[Charted]:
    ids, words = tuple(range(len(ALL))), Hostile()
    tree = Tree(ids, words)
    place = tree.root
    for token_id in ids:
        place = tree.add(place, replace(GREEDY, token=words.token(token_id), vocabulary=words))
        place.name, place.notes = ALL[token_id], [ALL[token_id]]
    steps = place.steps()
    strategies = [Strategy(text, {}, GENERATION, 0.1) for text in ALL[:20]]
    logits = np.linspace(1, 0, len(ids), dtype=np.float32)
    return [
        tree,
        NextTokens(ids, 1, logits, len(ids), words),
        Sequence(ids[:30], "", steps[:30], "length"),
        Generation(ids, "", tuple(Sequence(ids[n:], "", steps[n : n + 20], "length") for n in range(20))),
        replace(SHOWCASE, rows=tuple(strategies)),
        replace(
            COMPARISON, kind="models", a=replace(COMPARISON.a, info=replace(COMPARISON.a.info, name=ALL[0]))
        ),
        steps[0],
    ]


def texts_of(document: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield from texts_of(value, f"{path}.{key}")
    elif isinstance(document, list):
        for value in document:
            yield from texts_of(value, f"{path}[]")
    elif isinstance(document, str):
        yield path, document


@pytest.mark.parametrize("result", hostile_results(), ids=lambda result: type(result).__name__)
def test_hostile_texts_are_data_and_never_a_language_of_vega(result: Charted, ax: Any) -> None:
    """Vega reads expressions, fields, sorts and formats; none of them is made of a text that it is given."""
    marks = {safe_text(text)[:8] for text in ALL if len(text) > 12}
    for kind in kinds(result):
        document = result.plot(kind=kind).to_dict()
        assert not {"transform", "params", "datasets"} & set(document)
        for path, text in texts_of(document):
            is_data = (
                ".data.values[]." in path or path.endswith(".scale.domain[]") or path.startswith(".title")
            )
            assert is_data or not any(mark in text for mark in marks), (path, text)
            assert text.isprintable() and not path.endswith((".expr", ".signal", "Expr", ".test", ".filter"))
            assert cell_width(text) <= 260
        result.plot(ax=ax, kind=kind)
        ax.figure.canvas.draw()
        ax.clear()


def test_a_hostile_prompt_makes_no_chart_wider() -> None:
    ids = (*range(len(ALL)),)
    found = NextTokens(ids, 1, np.zeros(len(ids), np.float32), 5, Hostile()).plot().to_dict()
    assert cell_width(found["title"]) <= 72


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
