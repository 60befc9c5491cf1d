"""Trees as people see them: every place in its branch, true probabilities, nothing lost without a word.

What drawings look like is reviewed in tests/golden; that they fit 20 to 200 cells, that nothing in them acts
on a screen or page and that their JSON is strict is checked for these samples in test_views.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
from math import exp, log, prod

import pytest

from tests.support import model, writes
from tests.unit.view_samples import BUSHY, EXPANSION, PLAY, SAMPLED_ENDS, TREE, VOCABULARY, step
from tokenglass.types import Node, Tree
from tokenglass.types.growth import Expansion
from tokenglass.views.blocks import Line, Outline, Table
from tokenglass.views.html import to_html
from tokenglass.views.layout import blocks
from tokenglass.views.terminal import painted, to_text
from tokenglass.views.trees import tree_blocks


def drawn(tree: Tree, limit: int = 200, width: int = 200) -> list[str]:
    """The lines of a tree's table, without its title."""
    table = next(block for block in tree_blocks(tree, limit) if isinstance(block, Outline)).lines
    return list(painted((table,), width, colour=False))[1:]


def grown(seed: int, n: int = 60) -> Tree:
    """A tree of random shape; its tokens are words, so that a line is easily taken apart."""
    rng, made = random.Random(seed), Tree((0,), VOCABULARY)
    places = [made.root]
    for _ in range(n):
        parent = places[-1] if rng.random() < 0.6 else rng.choice(places[:7])
        places.append(made.add(parent, step(rng.randrange(11), draw=rng.random(), p_final=rng.random())))
    return made


def parsed(lines: list[str]) -> dict[tuple[str, ...], float]:
    """Text from the prompt to the end of each line of branches -> the probability beside it."""
    found: dict[tuple[str, ...], float] = {}
    texts: list[tuple[int, tuple[str, ...]]] = []  # of the lines above: where they begin, and their text
    for line in lines:
        head = re.match(r"^ *(?:\d+[–…])?\d+ +(\S+) % *([│ ]*)[├└] (.*)$", line)
        if head is None:  # the line above goes on
            begins, before = texts.pop()
            more = tuple(re.split("│ ?", line[begins:].lstrip("│ ").rstrip("│ ")))
            texts.append((begins, before + more))
            found[texts[-1][1]] = found.pop(before)
            continue
        begins = head.start(3)
        while texts and texts[-1][0] >= begins:
            texts.pop()
        before = texts[-1][1] if texts else ()
        texts.append((begins, before + tuple(re.split("│ ?", head[3].rstrip("│ ")))))
        found[texts[-1][1]] = float(head[1].replace(">", ""))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_what_is_drawn_is_the_tree(seed: int) -> None:
    """Read back from the drawing: each branch's text, and the product of its own places' probabilities."""
    tree = grown(seed)
    want: dict[tuple[str, ...], float] = {}
    for node in tree:
        if node.parent is not None and len(node.children) != 1:
            own = [node]
            while (before := own[-1].parent) is not None and before.parent and len(before.children) == 1:
                own.append(before)
            words = tuple(s.token.text for s in node.steps())
            # siblings may say the same; the drawing's last one stands for all in both mappings
            want[words] = 100 * prod(n.step.p_final for n in own if n.step is not None)
    assert max(map(_level, tree)) <= 8  # deeper ones are not drawn by bars
    assert parsed(drawn(tree)) == pytest.approx(want, rel=0.005)


def _level(node: Node) -> int:
    """How many branches stand before a place."""
    return sum(1 for each in node.lineage() if each.parent and len(each.children) > 1)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20, 39, 40, 500])
def test_what_is_left_out_is_counted(limit: int) -> None:
    """Places in sight and places counted as more are all places but the prompt, whatever the limit."""
    for seed in range(10):
        tree = grown(seed)
        shown = next(block for block in tree_blocks(tree, limit) if isinstance(block, Outline)).lines
        numbers = [row.cells["rank"] for row in shown.rows if row.cells.get("rank", "…") != "…"]
        more = sum(int(n) for n in re.findall(r"… (\d+) more places?", "\n".join(drawn(tree, limit))))
        assert len(numbers) <= limit
        assert more + sum(_places(tree, number) for number in numbers) == len(tree) - 1


def _places(tree: Tree, numbers: str) -> int:
    """How many places a line stands for, by the numbers of its first and last."""
    first, last = (int(n) for n in (re.split("[–…]", numbers) * 2)[:2])
    return 1 if first == last else tree.node(last).depth - tree.node(first).depth + 1


def test_a_lone_text_of_many_tokens_is_one_branch() -> None:
    session = model(writes("once upon a time")).session("o")
    session.step(100)
    text = to_text(session.tree)
    assert "n│ c│ e│ ·│ u│ p│ o│ n│" in text and text.count("└") == 1 and "├" not in text
    assert "eos" in text and "1–16" in text


def test_labels_break_a_line_so_that_they_stand_at_their_place() -> None:
    session = model(writes("once upon a time")).session("o")
    session.step(6)
    session.name("here", 3)
    session.note("why?", 2)
    lines = drawn(session.tree)
    assert [line.split()[0] for line in lines] == ["1–2", "3", "4–6"]
    assert lines[0].endswith("1 note") and lines[1].endswith('"here"')
    assert "note on place 2: why?" in to_text(session.tree)


def test_labels_of_the_prompt_are_said() -> None:
    session = model(writes("once")).session("o")
    session.name("start", 0)
    assert 'the prompt: "start"' in to_text(session.tree)
    assert "1 place · 1 end · up to 0 tokens" in to_text(session.tree)


def test_a_very_deep_and_a_very_wide_tree_are_drawn_at_once() -> None:
    """No recursion: ten thousand branches below one another, and ten thousand beside one another."""
    deep, wide = Tree((0,), VOCABULARY), Tree((0,), VOCABULARY)
    place = deep.root
    for _ in range(5000):
        deep.add(place, step(1))
        place = deep.add(place, step(2))
        wide.add(wide.root, step(1, draw=len(wide) / 1e5))
    assert "9,800 more places" in to_text(deep) and "4,800 more places" in to_text(wide)
    assert len(to_html(deep)) < 300_000
    assert len(deep.to_dict()["nodes"]) == 10_001


def test_rows_of_a_tree_say_everything_by_numbers() -> None:
    document = TREE.to_dict()
    nodes = {row["node"]: row for row in document["nodes"]}
    assert document["n_pruned"] == 1 and len(nodes) == 38
    assert nodes[0]["parent"] is None and "id" not in nodes[0]
    assert nodes[1]["name"] == "the \u202eodd\nway" and nodes[35]["notes"] == ["see\x1b[2J\nbelow", "漢字"]
    assert (nodes[6]["origin"], nodes[6]["draw"], nodes[6]["count"]) == ("sampled", 0.4133, 1234)
    assert document["configs"] == [{"do_sample": True, "top_p": None, "top_p_nonfinite": "nan"}]
    for row in nodes.values():
        assert row["parent"] is None or row["parent"] < row["node"]
    # ·like 20.68 % and , 0.118 % by the model, then 50 % and 25 %; a place of probability 0 has no logarithm
    assert nodes[4]["text_logprob"] == pytest.approx(log(0.2068 * 0.00118 * 0.5 * 0.25), abs=1e-5)
    assert (nodes[5]["text_logprob"], nodes[5]["text_logprob_nonfinite"]) == (None, "-inf")


def test_rows_of_what_grew() -> None:
    document = EXPANSION.to_dict()
    assert [leaf["node"] for leaf in document["leaves"]] == [4, 35, 36, 37]
    assert document["leaves"][0] == {
        "node": 4,
        "ids": [8, 4, 9, 10],
        "text": " like, have were",
        "finish_reason": "length",
        "p": 0.25,
    }
    drawn_ends = SAMPLED_ENDS.to_dict()
    assert drawn_ends["n"] == 4 and [leaf["count"] for leaf in drawn_ends["leaves"]] == [1, 3]
    # from place 1 on: , then ·have and ·were
    assert drawn_ends["leaves"][0]["p"] == pytest.approx(0.00118 * 0.5 * 0.25, rel=1e-4)
    assert [s["id"] for s in PLAY.to_dict()["steps"]] == [8, 9] and PLAY.to_dict()["paused"] == "watched"


def test_ends_are_listed_likeliest_and_most_drawn_first() -> None:
    session = model(writes("hello"), eos_ids=(256,)).session("h")
    found = session.expand(depth=2, limit=30)
    shares = [row.cells["p"] for block in blocks(found) if isinstance(block, Table) for row in block.rows]
    assert len(shares) == 20 and f"… {len(found.leaves) - 20} more ends" in to_text(found)
    table = next(block for block in blocks(SAMPLED_ENDS) if isinstance(block, Table))
    assert [row.cells["n"] for row in table.rows] == ["3", "1"]
    lead = blocks(found)[0]
    assert isinstance(lead, Line)
    # each row: logit 2 for one byte, 1 for another, 0 for 255
    assert found.covered < 1.0 and lead.text.startswith("unfolded from place 0: ")
    best = exp(2.0) / (exp(2.0) + exp(1.0) + 255)
    assert shares[0] == f"{100 * max(best, best * best):.2f} %"


def test_an_end_that_is_the_place_itself_is_said() -> None:
    place: Node = TREE.root
    assert "(nothing)" in to_text(Expansion(place, (place,), (1.0,), 1.0, 0, "p"))


@pytest.mark.parametrize(
    ("stopped", "said"),
    [
        ("depth", "as deep as asked for"),
        ("p", "what follows is less likely than asked for"),
        ("limit", "as many places as asked for"),
        ("end", "every text has ended"),
    ],
)
def test_why_unfolding_stopped_is_said(stopped: str, said: str) -> None:
    assert said in to_text(Expansion(TREE.root, (TREE.root,), (1.0,), 1.0, 0, stopped), 200)


def test_a_result_teaches_the_views_itself() -> None:
    """A program that never imports the views can print what it has."""
    code = (
        "from tests.support import model, writes\n"
        "s = model(writes('hello')).session('h', do_sample=True, seed=1)\n"
        "print(s.tree, s.expand(limit=2), s.sample(2), s.play(1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "texts after h" in done.stdout and "2 samples from place 0" in done.stdout


def test_a_comb_says_its_level_where_bars_would_fill_the_screen() -> None:
    lines = drawn(BUSHY)
    assert any("(9) ├ Once" in line for line in lines) and any("(10) └ " in line for line in lines)
    assert max(line.count("│") for line in lines) <= 8
