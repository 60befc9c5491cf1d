"""Views of stages, accounts and chains: every number of the records is shown, nothing acts on a screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.unit.test_views import parsed, strict_json
from tests.unit.view_samples import ACCOUNT, BARE_CHAIN, CHAIN, CHAINED, CUT, PLAIN, step
from tokenglass.types import Chain, ChainStage
from tokenglass.views import rows
from tokenglass.views.blocks import Code, Table
from tokenglass.views.html import stages_to_html
from tokenglass.views.layout import blocks
from tokenglass.views.stages import stage_table
from tokenglass.views.terminal import lines, painted, stages_to_text, to_text
from tokenglass.views.values import shown


def test_one_row_for_each_stage() -> None:
    """Read against the records in `view_samples.STAGES`: 41 tokens, then 2, then 1."""
    table = stage_table(CHAINED.stages, CHAINED.vocabulary)
    cells = [
        [row.cells[key] for key in ("name", "alive", "removed", "kept", "bits", "token")]
        for row in table.rows
    ]
    assert cells[1:] == [
        ["top_k", "2", "39", "31.5 %", "0.93 bits", "·like"],
        ["bad_words_ids", "1", "1", "65.7 %", "0.00 bits", "·like"],
    ]
    assert cells[0][:4] == ["model", "41", "–", "–"]
    assert table.rows[1].cells["note"] == "top_k=2 · draw 0.2500"


@pytest.mark.parametrize("width", [20, 30, 40, 80, 200])
def test_no_number_of_a_stage_is_lost_on_a_narrow_screen(width: int) -> None:
    """Columns without room go on in the line below, so the words are the same at any width."""
    words = set(" ".join(stages_to_text(CHAINED, width).split()).split())
    assert {"31.5", "65.7", "39", "0.93", "draw", "0.2500", "·like"} <= words


def test_a_step_shows_its_stages_and_says_which_scores_changed() -> None:
    text = to_text(CUT)
    assert "penalty=1.3 · 1 score changed" in text and "⟨ESC⟩[2Jtop_k" in text
    assert "what each stage" not in to_text(step(8))
    assert stages_to_text(CUT) in text
    assert "favourite" in stages_to_html(CUT) and "penalty=1.3" in stages_to_html(CUT)


def test_no_stage_is_said_in_words() -> None:
    assert stages_to_text(PLAIN) == "no stage: the model's own distribution was used as it is"


def test_removed_tokens_stay_visible_and_greyed() -> None:
    """Three of four rows were removed: struck out with colour, in words without."""
    styles = {text.strip(): style for line in lines(blocks(CHAINED), 80) for text, style in line}
    assert styles["have"] == styles["were"] == styles["Once"] == "removed"
    assert styles["removed by bad_words_ids"] == "rest"
    assert "\x1b" not in "".join(painted(blocks(CHAINED), 80, colour=False))


def test_account_ends_with_a_sentence() -> None:
    assert to_text(ACCOUNT).split("\n")[-1] == "removed by bad_words_ids at rank 2, was 34.3 %."
    document = strict_json(ACCOUNT.to_dict())
    assert document["removed"] == {"stage": "bad_words_ids", "rank": 2, "p": 0.3431}  # type: ignore[index]
    assert document["effects"][-1]["score_nonfinite"] == "-inf"  # type: ignore[index]


def test_stages_and_removals_in_json() -> None:
    document = CHAINED.to_dict()
    assert document["stages"][1]["facts"] == {"draw": 0.25}
    assert document["stages"][1]["argmax_token"] == "·like"
    assert [row["removed"] and row["removed"]["rank"] for row in document["rows"]] == [None, 2, 3, 4]
    top = CUT.to_dict()["top"]
    assert top[0]["trail"] == pytest.approx([0.2068, 0.02, 0.0])
    assert "trail" not in step(8).to_dict()["top"][0]


def test_chain_says_where_each_value_came_from() -> None:
    text = to_text(CHAIN)
    assert "1  top_k             top_k=40 (preset default)" in text
    assert "temperature=0.7 (you), dynatemp_range=0 (default)" in text
    assert "k=40, tie=cut · arXiv:1805.04833" in text
    assert "no effect here: length_penalty, num_beams" in text
    assert "warning: order changed⟨BEL⟩" in text
    assert text.endswith("output = model.generate(\n    **inputs,\n)")


def test_chain_in_json() -> None:
    document = strict_json(CHAIN.to_dict())
    assert document["stages"][0]["sources"] == {"top_k": {"value": 40, "source": "preset"}}  # type: ignore[index]
    assert document["code"] == CHAIN.code and document["no_effect"] == ["length_penalty", "num_beams"]  # type: ignore[index]


def test_chain_without_stages() -> None:
    assert "→ picks the token from the model's own distribution" in to_text(BARE_CHAIN)
    assert not any(isinstance(block, Code) for block in blocks(BARE_CHAIN))


@pytest.mark.parametrize("width", [20, 33, 80])
def test_code_stays_code_when_it_is_wrapped(width: int) -> None:
    """Every line of a long comment is one; code keeps its words in order."""
    code = "# " + "many words " * 12 + "\nx = f(\n    alpha=1,\n)"
    chain = Chain("greedy", "transformers", (), ChainStage("greedy", {}), {}, {}, code=code)
    drawn = to_text(chain, width).split("transformers\n")[-1].split("\n")
    comment = [line for line in drawn if line.startswith("#")]
    assert " ".join(line.removeprefix("# ") for line in comment).split() == ["many", "words"] * 12
    compile("\n".join(drawn), "drawn", "exec")


def test_html_code_is_text() -> None:
    """The code block holds the lines as they are, so that copying it gives what would run."""
    assert CHAIN.code in parsed(CHAIN).data


@dataclass(frozen=True)
class Window:
    prompt: bool = True
    generated: bool = False
    last_n: int | None = 64


@dataclass(frozen=True)
class Engine:
    weights: np.ndarray


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (np.float32(0.1), "0.1"),
        (float("-inf"), "-inf"),
        (np.int64(3), "3"),
        ([[1, 2], "a b"], "[[1, 2], 'a b']"),
        ("\x1b[2J", "'⟨ESC⟩[2J'"),
        (b"\xff\n", "'\\xff⏎'"),
        ("x" * 100, "x" * 59 + "…"),
        ({"a": 1.5}, "{a: 1.5}"),
        (np.arange(1000), "[0, 1, 2, 3, 4, 5, 6, 7, … 992 more]"),
        (Window(), "prompt + last_n=64"),
        (Window(False, False, None), "nothing"),
        (Engine(np.zeros(9)), "Engine"),
        (len, "len"),
        (object(), "object"),
    ],
)
def test_parameters_are_short_and_safe(value: object, text: str) -> None:
    assert shown(value) == text


def test_small_records_are_plain_json() -> None:
    assert rows.plain(Window()) == {"prompt": True, "generated": False, "last_n": 64}
    assert rows.plain(Engine(np.zeros(9))) == "Engine"


def test_tables_of_stages_keep_their_order_in_html() -> None:
    page = parsed(CHAINED)
    table = page.data.index("mass kept")
    assert page.data[table - 3 : table + 3] == [
        "stage, parameters and numbers of its own",
        "alive",
        "removed",
        "mass kept",
        "entropy",
        "favourite",
    ]
    assert isinstance(blocks(CHAINED)[-1], Table)
