"""Long results: a notebook stores what they look like beside every cell, so that is bounded, and says so."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.support import model
from tests.unit.search_samples import SEARCHES
from tests.unit.view_samples import GENERATION, SESSION, SHOWCASE, TREE, score_of, step, tokenization
from tokenglass.types import Generation, Sequence, SessionState, Shown, Tree
from tokenglass.views.blocks import Fold, Strip, Table
from tokenglass.views.html import to_html
from tokenglass.views.layout import blocks
from tokenglass.views.terminal import painted, to_text
from tokenglass.views.trees import tree_blocks

MOST_BYTES = 300_000
WORDS = [8, 9, 10, 4, 0]


def written(n: int) -> tuple[Any, ...]:
    return tuple(step(WORDS[i % 5], 8 + i, p_final=0.3) for i in range(n))


def generation(n: int) -> Generation:
    steps = written(n)
    text = "".join(each.text for each in steps)
    ids = tuple(each.id for each in steps)
    return replace(GENERATION, sequences=(Sequence(ids, text, steps, "length"),))


def session(n: int) -> SessionState:
    grown = Tree(SESSION.tree.prompt_ids, SESSION.tree.vocabulary)
    place = grown.root
    for each in written(n):
        place = grown.add(place, each)
    for each in written(3):
        grown.add(grown.root, replace(each, token=grown.vocabulary.token(10 + each.position)))
    return replace(SESSION, steps=place.steps(), tree=grown, node=place.id)


def beams() -> Generation:
    film = SEARCHES["beam_film"]
    assert isinstance(film, Generation)
    wide = replace(film.search[0], candidates=film.search[0].candidates * 10)
    return replace(film, search=(wide,) * 100 + tuple(film.search))


def many_notes() -> Tree:
    noted = Tree(TREE.prompt_ids, TREE.vocabulary)
    noted.root.notes += [f"note {i}" for i in range(5000)]
    return noted


LONG = {
    "tokenization": lambda: tokenization([b" word"] * 6049),
    "next_tokens": lambda: model(lambda ids: [0.0] * 257).next_tokens("a", n=257),
    "generation": lambda: generation(1000),
    "beams": beams,
    "score": lambda: score_of([i % 40 for i in range(5059)]),
    "session": lambda: session(900),
    "notes": many_notes,
    "prompt": lambda: replace(GENERATION, prompt_text="many words " * 50_000),
}


@pytest.mark.parametrize("name", LONG)
def test_no_page_is_larger_than_its_bound(name: str) -> None:
    result: Shown = LONG[name]()
    drawn = to_html(result)
    assert len(drawn.encode()) < MOST_BYTES
    assert drawn.count("<details") == drawn.count("</details>")


def test_what_is_not_drawn_is_counted() -> None:
    """Rows in sight, rows under the fold and rows left out are all rows."""
    drawn = to_html(tokenization([b" word"] * 6049))
    left_out = int(
        re.findall(r"([\d,]+) more rows are not drawn here; to_dict\(\) has them", drawn)[0].replace(",", "")
    )
    assert drawn.count("<tr") - 2 + left_out == 6049
    assert left_out < 6000  # the strip's fold leaves room for the table's


def test_a_session_shows_its_newest_tokens() -> None:
    drawn = to_html(session(900))
    strip = drawn[: drawn.index("next token after")]
    assert strip.index("508 earlier tokens") < strip.index("</details>") < strip.rindex("<bdi")
    assert strip.count("<bdi", strip.index("</details>")) == 400


def test_a_cut_session_still_marks_where_it_was_written() -> None:
    """Of 1,100 written tokens it is left out with the first; of 300 it is there; HTML may have it folded."""
    assert "▸·" not in to_text(session(1100)) and "108 earlier tokens" in to_text(session(1100))
    assert "▸·" in to_text(session(300)) and to_html(session(600)).count("▸<span") == 1


def test_text_stops_and_says_so() -> None:
    """`print` and notebooks get a few hundred rows; a command prints the blocks as they are."""
    result = tokenization([b" word"] * 1500)
    text = to_text(result)
    assert "… 1,200 more rows; to_dict() has them all" in text
    assert "… 500 more tokens; to_dict() has them all" in text
    whole = list(painted(blocks(result), 80, colour=False))
    assert sum(line.endswith("·word") for line in whole) == 1500
    assert "more rows" not in to_text(tokenization([b" word"] * 300))


def test_the_command_line_prints_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    from tokenglass.cli.screen import Screen

    table = model(lambda ids: [0.0] * 257).next_tokens("a", n=257)
    long = replace_rows(table, 4)
    Screen().show(long)
    assert len(capsys.readouterr().out.split("\n")) > 1000


def replace_rows(result: Shown, times: int) -> list[Any]:
    """The blocks of a result, its tables so many times as long."""
    return [replace(b, rows=b.rows * times) if isinstance(b, Table) else b for b in blocks(result)]


def test_many_notes_are_folded_and_still_printed() -> None:
    shown = tree_blocks(many_notes())
    assert isinstance(shown[-1], Fold) and shown[-1].summary == "4,990 more notes"
    assert len(list(painted(shown, 80, colour=False))) > 5000
    assert len(to_text(many_notes()).split("\n")) < 400


def test_a_long_prompt_keeps_its_end_in_sight() -> None:
    drawn = to_html(replace(GENERATION, prompt_text="first " * 3000 + "last"))
    assert (
        drawn.index("characters of the prompt before these")
        < drawn.index("</details>")
        < drawn.index("last<")
    )


def test_a_strip_knows_its_first_written_token() -> None:
    strip = next(block for block in blocks(SESSION) if isinstance(block, Strip))
    assert strip.written == 8 and strip.newest


def test_showcase_folds_every_reason() -> None:
    fold = blocks(SHOWCASE)[-1]
    assert isinstance(fold, Fold) and fold.printed and len(fold.blocks) == 4
