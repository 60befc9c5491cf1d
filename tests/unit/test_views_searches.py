"""Views of searches: every record is drawn, what was dropped says why, long films are folded."""

from __future__ import annotations

import re
from math import log
from types import SimpleNamespace

import pytest

from tests.unit.search_samples import (
    BANK,
    CONTRASTIVE,
    COPIED,
    DOLA,
    DRAFTED,
    FIRST_STEP,
    LAST_STEP,
    LONE_LAYER,
    LONG,
    NO_DRAFT,
    SEARCHES,
    SECOND_STEP,
    search,
)
from tests.unit.test_views import parsed, strict_json
from tests.unit.view_samples import VOCABULARY
from tokenglass.types import Generation
from tokenglass.views.cells import cell_width
from tokenglass.views.html import search_step_to_html
from tokenglass.views.searches import step_blocks
from tokenglass.views.terminal import lines, search_step_to_text, to_text

RECORDS = {
    "first": FIRST_STEP,
    "second": SECOND_STEP,
    "last": LAST_STEP,
    "contrastive": CONTRASTIVE,
    "dola": DOLA,
    "lone-layer": LONE_LAYER,
    "drafted": DRAFTED,
    "copied": COPIED,
    "no-draft": NO_DRAFT,
}
EVERY_RECORD = pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@EVERY_RECORD
def test_each_record_is_drawn_by_itself(record: object, width: int) -> None:
    for line in search_step_to_text(record, VOCABULARY, width).split("\n"):
        assert cell_width(line) <= width, line
        assert all(c == " " or c.isprintable() for c in line), line
    assert "<script" not in search_step_to_html(record, VOCABULARY)


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(TypeError, match="no layout for a SimpleNamespace; a search yields"):
        step_blocks(SimpleNamespace(), VOCABULARY)


def test_candidates_have_parents_totals_and_fates() -> None:
    """Ln 0.3 = -1.2040, ln 0.15 = -1.8971; divided by 2 tokens -0.9486."""
    text = search_step_to_text(SECOND_STEP, VOCABULARY)
    assert re.search(r"1  1 → 1 +-0\.5108  -1\.2040  ·like → ,", text)
    assert re.search(r"2  1 → bank +-1\.2040  -1\.8971  ·like → ", text)
    assert "finished: -1.8971 / 2 = -0.9486" in text
    assert "margin 0.00460 · best still possible -0.6020, worst finished -0.9486" in text


def test_pruned_candidates_are_greyed_and_say_why() -> None:
    drawn = list(lines(step_blocks(FIRST_STEP, VOCABULARY), 80))
    pruned = next(line for line in drawn if ("·were", "pruned") in line)
    assert pruned[-1] == ("not among the best 2 unfinished", "rest")
    kept = next(line for line in drawn if any("have" in text for text, _ in line))
    assert {style for _, style in kept} <= {"", "sign"}


def test_bank_gives_its_arithmetic() -> None:
    """-1.8971 / 3 = -0.6324 and -1.8971 / 2 = -0.9486."""
    text = search_step_to_text(LAST_STEP, VOCABULARY)
    assert "finished texts: score = total / tokens ^ length_penalty" in text
    assert re.search(r"1  -0\.6324  -1\.8971 +3\.000 +3  length", text)
    assert re.search(r"2  -0\.9486  -1\.8971 +2\.000 +2  eos", text)
    assert [log(0.15) / 3, log(0.15) / 2] == pytest.approx([found.score for found in BANK[::-1]])


def test_groups_and_forced_words_are_told() -> None:
    text = search_step_to_text(LAST_STEP, VOCABULARY)
    assert "group 2 is charged for ·like 1×, <script>alert(1)</script> 2×" in text
    assert "put forward by a forced word; 1 step towards the forced words" in text
    assert "the search ends: no running beam can beat the worst finished text" in text


def test_contrastive_dola_and_drafts() -> None:
    """0.4 x 0.25 - 0.6 x 0.5 = -0.2 beats 0.4 x 0.5 - 0.6 x 0.9 = -0.34; -1.25 - -7.5 = 6.25."""
    text = search_step_to_text(CONTRASTIVE, VOCABULARY)
    assert re.search(r"→ 2 +25\.0 %  0\.5000 +0  -0\.2000  <script>", text)
    text = search_step_to_text(DOLA, VOCABULARY)
    assert "contrast 6.250 (last layer -1.250, layer 4 -7.500): <script>" in text
    assert "2: 0.000254 · → 4: 0.000516" in text and "24 tokens alive" in text
    text = search_step_to_text(DRAFTED, VOCABULARY)
    assert "1 of 3 drafts accepted" in text
    assert re.search(r"rejected  10\.0 % +50\.0 %  0\.200  0\.4133  <script>", text)
    text = search_step_to_text(COPIED, VOCABULARY)
    assert "the model wants ·like" in text
    assert "drafts copied from position 4, where the last token was found before" in text
    assert search_step_to_text(NO_DRAFT, VOCABULARY).endswith("no draft; the model's own token: ·like")


def test_long_searches_are_folded() -> None:
    """Eight steps: three, two and three between; a page holds all of them, one click away."""
    film = search(*LONG)
    text = to_text(film)
    assert [int(n) for n in re.findall(r"^step (\d)", text, re.MULTILINE)] == [1, 2, 3, 7, 8]
    assert "… 3 more steps" in text
    page = parsed(film)
    assert "details" in page.tags
    assert [data for data in page.data if data.startswith("step ")] == [
        f"step {n} · position {7 + n}" for n in range(1, 9)
    ]
    assert "more steps" not in to_text(search(*LONG[:6]))


def test_records_in_json_have_a_kind() -> None:
    document = strict_json(search(*LONG, CONTRASTIVE, DOLA, DRAFTED).to_dict())
    steps = document["search"]  # type: ignore[index]
    assert [s["kind"] for s in steps] == ["beam"] * 8 + ["contrastive", "dola", "draft"]
    assert steps[1]["candidates"][1]["fate"] == "banked"
    assert steps[7]["penalties"] == [[], [[8, 1], [27, 2]]]
    assert steps[9]["divergences"] == [[2, 0.000254], [4, 0.000516]]
    assert steps[10]["drafts"][1]["draw"] == 0.4133


def test_generation_lists_its_texts_warnings_and_healing() -> None:
    text = to_text(search())
    assert re.search(r"1  -0\.63237 +2  stop_string +like,", text)
    assert re.search(r"2  -0\.94856 +1  eos +like⟨U\+202E⟩", text)
    assert "finish reason: stop_string, which is kept in the text" in text
    healed = SEARCHES["healed"]
    assert "end of the prompt healed: took back '·upon', chose '<script>alert(1)</script>'" in to_text(healed)
    assert "warning: " in to_text(healed) and "\x1b" not in to_text(healed)
    document = strict_json(healed.to_dict())
    assert document["healing"]["removed"][0]["token"] == "·upon"  # type: ignore[index]
    assert document["healing"]["summary"] in to_text(healed, 200)  # type: ignore[index]


def test_a_search_that_wrote_nothing_is_shown() -> None:
    from tokenglass.types import Sequence

    empty = Generation((0,), "Once", (Sequence((), "", (), "length"),), search=(FIRST_STEP,))
    assert "0 new tokens" in to_text(empty) and strict_json(empty.to_dict())
