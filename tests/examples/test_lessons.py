"""The lessons run from a fresh kernel without a word of complaint, and what they say is what comes out.

Each is executed once; the committed notebook must be that of its source, and every number that a text states
must stand in the outputs of its own section, in the committed notebook and in today's run.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests import lessons
from tests.conftest import FULL
from tests.lessons import SOURCES

EVERY_LESSON = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
LONGEST_PARAGRAPH, LONGEST_LINE = 5, 125
WORDS_A_MINUTE, MINUTES = 130, 15  # reading slowly; running the cells is counted with them
MOST_IN_TABLES = 300  # words apart from the prose: a table is looked up, not read from end to end


@cache
def today(path: Path) -> Any:
    """A lesson executed now, in a kernel of its own, with warnings shown."""
    return lessons.executed(path)


def committed(path: Path) -> Any:
    return nbformat.read(path.with_suffix(".ipynb"), as_version=4)


def test_there_are_five() -> None:
    assert [path.stem[0] for path in SOURCES] == list("12345")


@EVERY_LESSON
def test_it_runs_from_a_fresh_kernel_without_warnings(path: Path, smollm2_files: Any) -> None:
    """Anything on the error stream would be a warning; an exception ends the run."""
    outputs = [output for cell in today(path).cells for output in cell.get("outputs", [])]
    assert len(outputs) > 5
    assert not [
        output for output in outputs if output.get("name") == "stderr" or output.output_type == "error"
    ]


@EVERY_LESSON
def test_every_number_in_the_text_stands_in_the_outputs(path: Path, smollm2_files: Any) -> None:
    stated = 0
    for made in (committed(path), today(path)):
        for prose, shown in lessons.sections(made):
            found = lessons.numbers(shown)
            for number in lessons.numbers_in_prose(prose):
                assert lessons.stated(number, found), f"{number} in: {prose[:200]}"
                stated += 1
    assert stated >= 4


@EVERY_LESSON
def test_the_committed_notebook_is_that_of_its_source(path: Path) -> None:
    kept = committed(path)
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == lessons.cells(path.read_text("utf-8"))
    nbformat.validate(kept)
    assert all(cell.get("outputs") for cell in kept.cells[-3:] if cell.cell_type == "code")


@EVERY_LESSON
def test_outputs_need_no_trust(path: Path) -> None:
    """No script, no address, no picture from elsewhere: GitHub and nbviewer show what is shown here."""
    kept = committed(path)
    data = [output.get("data", {}) for cell in kept.cells for output in cell.get("outputs", [])]
    pages = [each["text/html"] for each in data if "text/html" in each]
    assert pages and {key for each in data for key in each} <= {"text/plain", "text/html"}
    assert not re.search(r"<script|<style|javascript:|https?:|url\(", "".join(pages))
    assert not re.search(r"/tmp/|/home/|site-packages", json.dumps(kept))


@EVERY_LESSON
def test_it_is_short_and_asks_before_it_tells(path: Path) -> None:
    texts = [text for kind, text in lessons.cells(path.read_text("utf-8")) if kind == "markdown"]
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            lines = [line for line in paragraph.splitlines() if not line.startswith(("- ", "|"))]
            assert len(lines) <= LONGEST_PARAGRAPH and all(len(line) <= LONGEST_LINE for line in lines), (
                paragraph
            )
    whole = "\n".join(texts)
    lines = whole.splitlines()
    tables = [line for line in lines if line.startswith("|")]
    prose = [line for line in lines if not line.startswith("|")]
    assert len(" ".join(prose).split()) <= WORDS_A_MINUTE * MINUTES / 2  # the other half is for the cells
    assert len(" ".join(tables).split()) <= MOST_IN_TABLES
    assert "Clear Outputs of All Cells" in texts[0]  # or every answer would stand below its question
    assert len(re.findall(r"\b[Gg]uess\b", whole)) >= 4
    assert "## Experiments" in whole and "question" in texts[-1]


def test_the_number_check_would_notice() -> None:
    assert lessons.numbers_in_prose("GPT-2 has 1,234 of `99` and -0.5 %.\n# Lesson 7") == ["1,234", "-0.5"]
    assert lessons.stated("20.7", [20.71]) and not lessons.stated("20.7", [20.9])
    assert lessons.stated("1,234", [1234.0]) and not lessons.stated("1,234", [1235.0])


@pytest.mark.skipif(not FULL, reason="the weights of two more models: TOKENGLASS_FULL=1")
@EVERY_LESSON
def test_it_says_on_gpt2_what_the_notebooks_print(path: Path) -> None:
    import tokenglass as tg

    try:
        for name in ("gpt2", "distilgpt2"):
            tg.load(name).close()
    except tg.ModelNotFound as error:
        pytest.skip(f"GPT-2 is not here and cannot be fetched: {error}")
    outputs = lessons.executed(path, TOKENGLASS_GPT2="1").cells[-2].outputs
    assert outputs and "not asked for" not in lessons.as_text(outputs[0])
