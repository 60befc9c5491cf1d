"""Growing a tree, against brute force: a vocabulary of six tokens whose texts can all be enumerated.

Rows are float32 logits, so probabilities agree with the float64 sums here to about 1e-6.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
from scipy import stats

import tokenglass as tg
from tests.support import ByteTokenizer
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.types import Node, Token

V, END = 6, 5
Ids = tuple[int, ...]
TABLE = np.random.default_rng(7).normal(size=(V, V, V)).astype(np.float32) * 1.5
SAMPLING: dict[str, Any] = {"do_sample": True, "top_k": 0, "seed": 11}


class Letters(ByteTokenizer):
    """a to e, and an end."""

    def __len__(self) -> int:
        return V

    def token(self, token_id: int) -> Token:
        return (
            Token(END, b"<end>", "control") if token_id == END else Token(token_id, b"abcde"[token_id:][:1])
        )

    def find(self, text: str) -> int:
        if len(text) != 1 or text not in "abcde":
            raise ValueError(f"no single token stands for {text!r}")
        return "abcde".index(text)


def row(ids: Ids) -> np.ndarray:
    """Logits by the last two tokens."""
    return TABLE[ids[-2] if len(ids) > 1 else 0, ids[-1]]


def letters(rule: Any = row, **options: Any) -> Model:
    tokenizer: Any = Letters()
    return Model(TableEngine(rule, V, eos_ids=(END,), **options), tokenizer)


def session(ids: Ids = (0,), rule: Any = row, **config: Any) -> tg.Session:
    return letters(rule).session(list(ids), **config)


# ------------------------------------------------------------------ the same by hand


def shares(ids: Ids, top_k: int = V, masked: Ids = (), temperature: float = 1.0) -> list[float]:
    """Probabilities after a chain, worked out in float64 from the table."""
    scores = row(ids).astype(np.float64)
    scores[list(masked)] = -np.inf
    scores /= temperature
    scores[scores < np.sort(scores)[-top_k]] = -np.inf
    p = np.exp(scores - scores.max())
    return [float(x) for x in p / p.sum()]


def unfolded(
    begun: Ids, depth: int, mass: float | None = None, p: float | None = None, **chain: Any
) -> dict[Ids, float]:
    """Every end of an unfolding by the rule in words: text -> probability."""
    ends: dict[Ids, float] = {}

    def look(text: Ids, share: float) -> None:
        if len(text) == depth or text[-1:] == (END,):
            ends[text] = share
            return
        before, taken = 0.0, []
        for q, token in sorted(((q, t) for t, q in enumerate(shares(begun + text, **chain))), reverse=True):
            if q > 0 and (mass is None or before < mass) and (p is None or share * q >= p):
                taken.append((token, q))
            before += q
        if not taken:
            ends[text] = share
        for token, q in taken:
            look((*text, token), share * q)

    look((), 1.0)
    return ends


def probability_of_beginning_like(ends: set[Ids], begun: Ids, depth: int, **chain: Any) -> float:
    """Summed over all texts there are, without any rule of unfolding."""
    total = 0.0
    for text in product(range(V), repeat=depth):
        size = text.index(END) + 1 if END in text else depth
        if text[size:] != (0,) * (depth - size):
            continue  # one text stands for all that have ended the same way
        if any(text[:n] in ends for n in range(size + 1)):
            total += prod(shares(begun + text[:i], **chain)[text[i]] for i in range(size))
    return total


def texts(found: Any) -> list[Ids]:
    """The ids from the place to each leaf."""
    start = found.node.depth
    return [tuple(step.id for step in leaf.steps()[start:]) for leaf in found.leaves]


# ------------------------------------------------------------------ expand


@pytest.mark.parametrize("begun", [(0,), (3, 1)])
@pytest.mark.parametrize(
    "rule",
    [
        {"depth": 1},
        {"depth": 3},
        {"depth": 4, "mass": 0.6},
        {"depth": 3, "mass": 1.0},
        {"depth": 5, "p": 0.02},
        {"depth": 4, "mass": 0.8, "p": 0.01},
        {"depth": 2, "p": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("config", "chain"),
    [
        ({}, {}),
        ({"do_sample": True, "top_k": 2}, {"top_k": 2}),
        ({"suppress_tokens": [2, END]}, {"masked": (2, END)}),
        ({"do_sample": True, "top_k": 3, "temperature": 0.5}, {"top_k": 3, "temperature": 0.5}),
    ],
    ids=["no chain", "top-k", "masked", "temperature and top-k"],
)
def test_unfolding_is_the_enumeration(begun: Ids, rule: Any, config: Any, chain: Any) -> None:
    s = session(begun, **config)
    found = s.expand(**rule)
    want = unfolded(begun, **rule, **chain)
    got = dict(zip(texts(found), found.probabilities, strict=True))
    assert got == pytest.approx(want, abs=2e-6)
    assert list(found.probabilities) == sorted(found.probabilities, reverse=True)
    assert (
        found.covered
        == pytest.approx(
            probability_of_beginning_like(set(want), begun, min(rule["depth"], 4), **chain), abs=1e-5
        )
        or rule["depth"] > 4
    )
    assert found.covered == pytest.approx(sum(want.values()), abs=1e-5)
    inner = {text[:n] for text in want for n in range(len(text) + 1)}
    assert found.n_new == len(s.tree) - 1 == len(inner) - 1
    assert s.ids == begun


def test_a_whole_unfolding_covers_everything() -> None:
    assert session().expand(depth=4).covered == pytest.approx(1.0, abs=1e-6)
    assert session(do_sample=True, top_k=2).expand(depth=4).covered == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 7, 20, 41])
def test_a_limit_cuts_but_never_lies(limit: int) -> None:
    """Whatever was left out, the ends are ends of different texts and `covered` is their exact share."""
    s = session()
    found = s.expand(depth=3, limit=limit)
    assert found.stopped == "limit" and found.n_new == limit
    ends = texts(found)
    assert not any(a != b and b[: len(a)] == a for a in ends for b in ends)
    assert found.covered == pytest.approx(probability_of_beginning_like(set(ends), (0,), 3), abs=1e-6)
    assert {leaf.id for leaf in found.leaves} >= {leaf.id for leaf in s.tree.leaves()}


def test_a_limit_that_just_suffices_is_no_limit() -> None:
    places = session().expand(depth=2).n_new
    assert session().expand(depth=2, limit=places).stopped == "depth"
    assert session().expand(depth=2, limit=places - 1).stopped == "limit"


@pytest.mark.parametrize(
    ("rule", "stopped"),
    [({"depth": 2}, "depth"), ({"depth": 50, "p": 0.1}, "p"), ({"depth": 9, "limit": 30}, "limit")],
)
def test_why_it_went_no_further(rule: Any, stopped: str) -> None:
    assert session().expand(**rule).stopped == stopped


def test_texts_that_have_ended_are_ends() -> None:
    def ending(ids: Ids) -> np.ndarray:
        return np.where(np.arange(V) == (END if len(ids) > 2 else 1), 0.0, -np.inf).astype(np.float32)

    s = session(rule=ending)
    found = s.expand(depth=9)
    assert (texts(found), found.covered, found.stopped) == ([(1, 1, END)], 1.0, "end")
    assert found.leaves[0].step is not None and found.leaves[0].step.finish_reason == "eos"
    s.step(token=END)
    assert texts(s.expand(depth=1)) == [(1,)]  # from the place itself it goes on, as forcing a token does


def test_unfolding_again_makes_nothing_twice_and_shares_what_was_written() -> None:
    s = session()
    s.step(token=3)
    by_hand = s.node
    s.undo()
    first = s.expand(depth=2)
    assert by_hand in [leaf.parent for leaf in first.leaves]
    again = s.expand(depth=2)
    assert (again.n_new, again.leaves, again.covered) == (0, first.leaves, first.covered)
    assert s.expand(depth=3).n_new == sum(leaf.step.id != END for leaf in first.leaves if leaf.step) * V


def test_an_unfolded_place_is_recorded_as_any_other() -> None:
    s = session(do_sample=True, top_k=3)
    for leaf in s.expand(depth=2).leaves:
        step = leaf.step
        assert step is not None and leaf.parent is not None and step.origin == "expanded"
        table = letters().next_tokens(list(s.tree.ids(leaf.parent)), do_sample=True, top_k=3)
        want = table.lookup(step.id)
        assert (step.logprob, step.rank, step.entropy_bits) == (want.logprob, want.rank, table.entropy_bits)
        assert step.p_final == pytest.approx(want.p_final, abs=1e-12)
        assert [stage.name for stage in step.stages] == ["model", "top_k"]
        assert "unfolded to look ahead" in step.why()


# ------------------------------------------------------------------ sample


@pytest.mark.parametrize("config", [{}, {"top_k": 2}, {"temperature": 1.7, "top_p": 0.8}], ids=str)
def test_samples_are_generates(config: Any) -> None:
    config = SAMPLING | config
    s = session(**config)
    found = s.sample(40, max_new_tokens=4)
    want = letters().generate([0], max_new_tokens=4, num_return_sequences=40, **config)
    drawn = Counter(tuple(sequence.ids) for sequence in want.sequences)
    assert dict(zip(texts(found), found.counts, strict=True)) == drawn
    assert texts(found) == list(dict.fromkeys(tuple(q.ids) for q in want.sequences))
    assert found.n_new == len(s.tree) - 1
    through = Counter(q.ids[:n] for q in want.sequences for n in range(len(q.ids) + 1))
    assert {_text(s, node): node.count for node in s.tree} == through
    assert s.ids == (0,)


def _text(s: tg.Session, node: Node) -> Ids:
    return s.tree.ids(node)[len(s.prompt_ids) :]


def test_more_samples_are_the_next_ones() -> None:
    s = session(**SAMPLING)
    first = s.step()
    s.undo()
    found = [dict(zip(texts(f), f.counts, strict=True)) for f in (s.sample(3), s.sample(5))]
    want = [tuple(q.ids) for q in letters().generate([0], num_return_sequences=9, **SAMPLING).sequences]
    assert isinstance(first, tg.Step) and first.id == want[0][0]
    assert found == [Counter(want[1:4]), Counter(want[4:])]


def test_samples_from_further_on_are_generates_from_there() -> None:
    """A draw belongs to seed, sample and position, so the place it begins from does not matter."""
    s = session(**SAMPLING)
    s.step(token=2)
    s.step(token=4)
    found = s.sample(20, max_new_tokens=3)
    want = letters().generate([0, 2, 4], max_new_tokens=3, num_return_sequences=20, **SAMPLING)
    assert Counter(dict(zip(texts(found), found.counts, strict=True))) == Counter(
        q.ids for q in want.sequences
    )
    assert s.tree.root.count == 0 and s.node.count == 20 == sum(found.counts)


@pytest.mark.parametrize(("config", "chain"), [({}, {}), ({"top_k": 3}, {"top_k": 3})], ids=["all", "top-k"])
def test_first_tokens_follow_the_distribution(config: Any, chain: Any) -> None:
    """Chi-square over 1,500 samples of one seed; a sound generator falls below 0.001 once in 1,000 seeds."""
    s = session(**(SAMPLING | config))
    found = s.sample(1500, max_new_tokens=1)
    counts = {text[0]: n for text, n in zip(texts(found), found.counts, strict=True)}
    p = {token: q for token, q in enumerate(shares((0,), **chain)) if q > 0}
    assert set(counts) <= set(p)
    test = stats.chisquare([counts.get(t, 0) for t in p], [1500 * q for q in p.values()])
    assert test.pvalue > 0.001


def test_what_was_sampled_can_be_gone_on_from() -> None:
    """The samples' length is theirs alone, and half a character is not shown before it is whole."""
    s = session(**SAMPLING)
    leaf = next(n for n in s.sample(6, max_new_tokens=2).leaves if n.step is not None and n.step.id != END)
    s.goto(leaf)
    assert s.finish_reason is None
    assert isinstance(s.step(), tg.Step)


def test_a_reroll_below_samples_draws_another_number() -> None:
    s = session(**SAMPLING)
    s.sample(5, max_new_tokens=3)
    place = next(node for node in s.tree if node.depth == 1 and node.children)
    s.goto(place)
    known = {child.step.draw for child in place.children.values() if child.step is not None}
    step = s.step(reroll=True)
    assert isinstance(step, tg.Step) and step.draw not in known


def test_samples_whose_chain_had_luck_of_its_own_keep_their_own_records() -> None:
    """XTC draws whether it cuts: a place tells its own probability, never another sample's."""
    config = SAMPLING | {"xtc_probability": 0.5, "xtc_threshold": 0.1}
    s = session(**config)
    found = s.sample(30, max_new_tokens=2)
    sequences = letters().generate([0], max_new_tokens=2, num_return_sequences=30, **config).sequences
    want = Counter(tuple((step.id, round(step.p_final, 6)) for step in q.steps) for q in sequences)
    got: Counter[Any] = Counter()
    for leaf, n in zip(found.leaves, found.counts, strict=True):
        got[tuple((step.id, round(step.p_final, 6)) for step in leaf.steps())] += n
    assert got == want and sum(found.counts) == 30


# ------------------------------------------------------------------ play


def staged(ids: Ids) -> np.ndarray:
    """Sure of itself (a) but at position 4, where four letters are alike (2 bits); ends at position 8."""
    if len(ids) == 4:
        return np.array([0, 0, 0, 0, -np.inf, -np.inf], np.float32)
    best = END if len(ids) == 8 else 0
    return np.array([0, -1, -2, -6, -5, -3], np.float32) + 20 * np.eye(V, dtype=np.float32)[best]


def test_play_pauses_before_an_uncertain_step() -> None:
    s = session(rule=staged)
    played = s.play(20, entropy=1.9)
    assert ([step.position for step in played.steps], played.paused) == ([1, 2, 3], "entropy")
    assert played.reason == "entropy 2.00 bits" and len(s.ids) == 4
    assert s.play(20, entropy=2.0).steps == ()  # "at least", and still there
    s.step()
    rest = s.play(20, entropy=1.9)
    assert ([step.position for step in rest.steps], rest.paused) == ([5, 6, 7, 8], "eos")
    assert rest.reason == "the text ended: eos"
    assert s.play(20).steps == () and s.play(20).paused == "eos"


def test_play_looks_at_the_models_own_entropy() -> None:
    """Greedy after a cut to one token is certain; the model was not."""
    s = session(rule=staged, do_sample=True, top_k=1)
    assert s.play(20, entropy=1.9).paused == "entropy"


def test_play_writes_what_step_writes() -> None:
    s, other = session(**SAMPLING), session(**SAMPLING)
    played = s.play(5)
    assert (played.paused, played.reason) == ("length", "5 tokens written")
    assert [a.id for a in played.steps] == [a.id for a in other.step(5)]  # type: ignore[union-attr]
    assert s.ids == other.ids
    assert session(**SAMPLING).play(1).reason == "1 token written"


def test_play_ends_with_its_last_token() -> None:
    s = session(rule=staged)
    assert s.play(8).paused == "eos"


@pytest.mark.parametrize("watch", [["d"], [3], ["e", 3]])
def test_play_pauses_where_a_watched_token_comes_near(watch: list[Any]) -> None:
    """At position 4 a, b, c and d share the row: d is 4th with 25 %; elsewhere it is last, e is 5th."""
    s = session(rule=staged)
    played = s.play(20, watch=watch, top=4)
    assert (played.paused, played.reason, s.ids) == ("watched", "d is at rank 4 with 25.00%", (0,) * 4)
    assert [step.position for step in played.steps] == [1, 2, 3]


def test_a_watched_token_that_is_not_near_enough_does_not_pause() -> None:
    assert session(rule=staged).play(6, watch=["d"], top=3).paused == "length"
    assert session(rule=staged).play(6, entropy=2.01).paused == "length"


# ------------------------------------------------------------------ leaves, and what is refused


def test_leaves_are_the_ends_likeliest_first() -> None:
    s = session(do_sample=True, top_k=3)
    s.expand(depth=3)
    want = sorted(unfolded((0,), 3, top_k=3).values(), reverse=True)
    got = [float(np.exp(leaf.logprob())) for leaf in s.leaves()]
    assert got == pytest.approx(want, abs=2e-6)
    assert s.leaves(4) == s.leaves()[:4]
    best = max(unfolded((0,), 3, top_k=3).items(), key=lambda pair: pair[1])[0]
    assert _text(s, s.leaves(1)[0]) == best


def test_equally_likely_ends_stay_in_order_of_creation_and_impossible_ones_come_last() -> None:
    s = session(rule=staged)
    s.step(3)
    s.step(token=4)
    s.undo()
    s.expand(depth=1)
    ends = s.leaves()
    assert [_text(s, end)[-1] for end in ends] == [0, 1, 2, 3, 4]
    # the letters before lose some 3e-9 each to the others
    assert [end.logprob() for end in ends] == pytest.approx([np.log(0.25)] * 4 + [-np.inf], abs=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.expand(depth=0), r"depth must be a whole number of at least 1, got 0"),
        (lambda s: s.expand(limit=True), r"limit must be a whole number of at least 1, got True"),
        (lambda s: s.expand(mass=0.0), r"mass must be in \(0, 1\], got 0.0"),
        (lambda s: s.expand(p=1.5), r"p must be in \(0, 1\], got 1.5"),
        (lambda s: s.expand(p=float("nan")), r"p must be in \(0, 1\], got nan"),
        (lambda s: s.sample(0), r"n must be a whole number of at least 1, got 0"),
        (lambda s: s.sample(2, max_new_tokens=-1), r"max_new_tokens must be a whole number .* got -1"),
        (lambda s: s.sample(2), r"sample needs do_sample=True"),
        (lambda s: s.play(0), r"n must be a whole number of at least 1, got 0"),
        (lambda s: s.play(1, top=0), r"top must be a whole number of at least 1, got 0"),
        (lambda s: s.play(1, watch=["ab"]), r"no single token stands for 'ab'"),
        (lambda s: s.play(1, watch=[V]), r"must be in \[0, 5\], got 6"),
    ],
)
def test_what_is_refused_changes_nothing(call: Any, message: str) -> None:
    s = session()
    with pytest.raises(ValueError, match=message):
        call(s)
    assert (len(s.tree), s.ids) == (1, (0,))
