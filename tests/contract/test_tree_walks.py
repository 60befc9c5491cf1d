"""Random walks of sessions through their tree, against a book kept by hand and against cold runs.

The book knows nothing of sessions but parent pointers, token ids and how each was chosen. A walk is a list of
small numbers, so that a failure shrinks to the few moves that matter.

Numbers are compared with a model opened afresh: exactly on tables; within 5e-4 on log-probabilities with the
engine's own arithmetic, where other batch shapes sum in another order (see `test_tree_cache`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tokenglass as tg
from tests.conftest import FULL
from tests.support import EOS, SIZE, ByteTokenizer
from tokenglass.engines.table import TableEngine
from tokenglass.errors import TokenglassError
from tokenglass.model import Model
from tokenglass.random import uniform
from tokenglass.types import Step

SEED, PROMPT = 5, (97, 98)
USED = (97, 98, 99, 0xC3, 0xA9, EOS)  # a, b, c, the halves of é, the end
ROWS = np.full((SIZE, SIZE), -30.0, np.float32)
ROWS[:, USED] = np.random.default_rng(3).normal(size=(SIZE, len(USED))).astype(np.float32) * 1.5
ROWS[:, EOS] -= 2.0

BEGUN = re.compile(  # Unicode 15.0, table 3-7: what may still become a character
    rb"([\xc2-\xdf]|\xe0[\xa0-\xbf]?|[\xe1-\xec\xee\xef][\x80-\xbf]?|\xed[\x80-\x9f]?"
    rb"|\xf0([\x90-\xbf][\x80-\xbf]?)?|[\xf1-\xf3][\x80-\xbf]{0,2}|\xf4([\x80-\x8f][\x80-\xbf]?)?)\Z"
)

NEUTRAL: dict[str, Any] = {
    **{"preset": "transformers", "rng": "tokenglass", "do_sample": True, "seed": SEED, "temperature": 1.0},
    **{"top_k": 0, "xtc_probability": 0.0, "xtc_threshold": 0.1, "dry_multiplier": 0.0, "mirostat": 0},
    **{"no_repeat_ngram_size": 0, "repetition_penalty": 1.0, "adaptive_target": None, "regex": None},
}
# chains that are functions of the ids and the sample alone
PLAIN = [
    NEUTRAL,
    NEUTRAL | {"do_sample": False},
    NEUTRAL | {"top_k": 3, "temperature": 0.7},
    NEUTRAL | {"xtc_probability": 0.5, "xtc_threshold": 0.15},
    NEUTRAL | {"dry_multiplier": 0.8, "no_repeat_ngram_size": 3},
    NEUTRAL | {"repetition_penalty": 1.6, "do_sample": False},
]
# chains that remember, or have a generator of their own; keywords of one preset alone cannot stay given
_BOTH = {k: v for k, v in NEUTRAL.items() if k not in ("no_repeat_ngram_size", "adaptive_target")}
_LLAMA = _BOTH | {"preset": "llama.cpp", "rng": "llama.cpp"}
REMEMBERING = {
    "llama.cpp": [
        _BOTH,
        _BOTH | {"mirostat": 2},
        _BOTH | {"mirostat": 1, "dry_multiplier": 0.8},
        _LLAMA | {"xtc_probability": 0.5, "xtc_threshold": 0.15},
        _LLAMA | {"mirostat": 2},
    ],
    "transformers": [
        NEUTRAL,
        NEUTRAL | {"adaptive_target": 0.3},
        NEUTRAL | {"mirostat": 2, "no_repeat_ngram_size": 3},
        *([NEUTRAL | {"regex": "([ab]c?)+"}] if find_spec("llguidance") else []),
    ],
}


class Quiet(ByteTokenizer):
    """Bytes as tokens; while `quiet`, nobody may turn text into ids or ids into text."""

    quiet = False

    def __init__(self, size: int = SIZE) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        assert not self.quiet, "text was encoded"
        return super().encode(*args, **kwargs)

    def decode(self, *args: Any, **kwargs: Any) -> Any:
        assert not self.quiet, "ids were decoded"
        return super().decode(*args, **kwargs)


def table_model() -> Model:
    tokenizer: Any = Quiet()
    rule = lambda ids: ROWS[(ids[-1] + 7 * ids[-2]) % SIZE]  # noqa: E731
    return Model(TableEngine(rule, SIZE, eos_ids=(EOS,)), tokenizer)


@dataclass
class Place:
    """What the book says of one place."""

    parent: int | None
    key: tuple[int, str, float | None, int] | None = None  # token id, origin, draw, chain
    step: Step | None = None
    alive: bool = True
    name: str = ""
    notes: list[str] = field(default_factory=list)
    count: int = 0


@dataclass
class Hand:
    """One session, where the book says that it stands, and where redo would lead from each place."""

    session: tg.Session
    chain: int = 0
    here: int = 0
    back: dict[int, int] = field(default_factory=dict)


class Walk:
    """A walk of several sessions through one tree, with a book of it."""

    def __init__(
        self, make: Callable[[], Model], chains: list[dict[str, Any]], used: tuple[int, ...]
    ) -> None:
        self.make, self.chains, self.used = make, chains, used
        self.tokenizer: Any = (model := make()).tokenizer
        self.hands = [Hand(model.session(list(PROMPT), **chains[0]))]
        self.tree = self.hands[0].session.tree
        self.book = {0: Place(None)}

    # ------------------------------------------------------------------ the book

    def lineage(self, number: int | None) -> list[int]:
        """From the first place below the prompt to a place."""
        found: list[int] = []
        while number:
            found.append(number)
            number = self.book[number].parent
        return found[::-1]

    def ids(self, number: int) -> tuple[int, ...]:
        keys = [self.book[each].key for each in self.lineage(number)]
        return (*PROMPT, *(key[0] for key in keys if key is not None))

    def text(self, number: int) -> str:
        """What the bytes spell; the beginning of a character at the end is not shown."""
        data = bytes(i for i in self.ids(number) if i < 256)
        return BEGUN.sub(b"", data).decode(errors="replace")

    def below(self, number: int) -> list[int]:
        found = {number}
        for each, place in self.book.items():  # a place is younger than its parent
            if place.alive and place.parent in found:
                found.add(each)
        return sorted(found)

    def add(self, parent: int, step: Step, chain: int) -> int:
        """A new place; its number is the next one, and no sibling is the same."""
        number, key = len(self.book), (step.id, step.origin, step.draw, chain)
        twins = [p for p in self.book.values() if p.alive and p.parent == parent and p.key == key]
        assert not twins, f"{key} twice below {parent}"
        self.book[number] = Place(parent, key, step)
        return number

    def adopt(self, chain: int, origin: str) -> None:
        """Places that `expand` or `sample` made; each is below an older one."""
        for number in range(len(self.book), len(self.tree)):
            node = self.tree.node(number)
            assert node.parent is not None and node.step is not None and node.step.origin == origin
            assert self.book[node.parent.id].alive
            assert self.add(node.parent.id, node.step, chain) == number

    def can_draw_anew(self, hand: Hand) -> bool:
        chain = self.chains[hand.chain]
        return chain["do_sample"] is True and chain["rng"] == "tokenglass"

    @contextmanager
    def perhaps_forbidden(self, hand: Hand) -> Iterator[None]:
        """A grammar may allow nothing here, or not what is written already; other chains go on."""
        try:
            yield
        except (ValueError, TokenglassError):
            assert self.chains[hand.chain].get("regex") is not None

    # ------------------------------------------------------------------ the moves

    def move(self, kind: str, who: int, x: int) -> None:
        hand = self.hands[who % len(self.hands)]
        with self.silence(kind != "set"):
            getattr(self, kind)(hand, hand.session, x)
        self.check()

    @contextmanager
    def silence(self, quiet: bool) -> Iterator[None]:
        self.tokenizer.quiet = quiet
        try:
            yield
        finally:
            self.tokenizer.quiet = False

    def written(self, hand: Hand, step: Any) -> None:
        """A session says that it wrote a step: an old place where the same was chosen, or the next number."""
        key = (step.id, step.origin, step.draw, hand.chain)
        known = [n for n, p in self.book.items() if p.alive and p.parent == hand.here and p.key == key]
        child = known[0] if known else self.add(hand.here, step, hand.chain)
        assert step is self.book[child].step  # what was recorded first stays
        hand.back[hand.here] = child
        hand.here = child

    def step(self, hand: Hand, session: tg.Session, x: int) -> None:
        if session.finish_reason is not None:
            with pytest.raises(ValueError, match="the text has ended"):
                session.step()
            return
        with self.perhaps_forbidden(hand):
            self.written(hand, session.step())

    def force(self, hand: Hand, session: tg.Session, x: int) -> None:
        with self.perhaps_forbidden(hand):
            step = session.step(token=self.used[x % len(self.used)])
            assert step.origin == "forced"
            self.written(hand, step)

    def reroll(self, hand: Hand, session: tg.Session, x: int) -> None:
        if session.finish_reason is not None or not self.can_draw_anew(hand):
            with pytest.raises(ValueError, match=r"the text has ended|reroll needs do_sample=True"):
                session.step(reroll=True)
            return
        here = [p.key for p in self.book.values() if p.alive and p.parent == hand.here and p.key]
        with self.perhaps_forbidden(hand):
            step = session.step(reroll=True)
            assert isinstance(step, Step) and step.draw is not None
            assert step.draw not in [draw for _, _, draw, _ in here]
            self.written(hand, step)

    def undo(self, hand: Hand, session: tg.Session, x: int) -> None:
        want: Step | None = None
        for _ in range(n := 1 + x % 3):
            if hand.here:
                before = self.book[hand.here].parent
                assert before is not None
                want, hand.back[before], hand.here = self.book[hand.here].step, hand.here, before
        assert session.undo(n) is want

    def redo(self, hand: Hand, session: tg.Session, x: int) -> None:
        want: Step | None = None
        for _ in range(n := 1 + x % 3):
            child = hand.back.get(hand.here)
            if child is None or not self.book[child].alive:
                break
            hand.here, want = child, self.book[child].step
        assert session.redo(n) is want

    def goto(self, hand: Hand, session: tg.Session, x: int) -> None:
        number = x % len(self.book)
        if not self.book[number].alive:
            with pytest.raises(ValueError, match="pruned"):
                session.goto(number)
            return
        name = self.book[number].name
        session.goto(name if name and x % 2 else number)
        hand.here = number
        for each in self.lineage(number):
            hand.back[self.book[each].parent or 0] = each

    def fork(self, hand: Hand, session: tg.Session, x: int) -> None:
        if len(self.hands) < 4:
            self.hands.append(Hand(session.fork(), hand.chain, hand.here, dict(hand.back)))

    def set(self, hand: Hand, session: tg.Session, x: int) -> None:
        hand.chain = x % len(self.chains)
        session.set(**self.chains[hand.chain])

    def name(self, hand: Hand, session: tg.Session, x: int) -> None:
        text = f"n{x % 4}"
        taken = [n for n, p in self.book.items() if p.alive and p.name == text and n != hand.here]
        if taken:
            with pytest.raises(ValueError, match=f"belongs to node {taken[0]}"):
                session.name(text)
        else:
            session.name(text)
            self.book[hand.here].name = text

    def note(self, hand: Hand, session: tg.Session, x: int) -> None:
        session.note(f"note {x}")
        self.book[hand.here].notes.append(f"note {x}")

    def prune(self, hand: Hand, session: tg.Session, x: int) -> None:
        number = x % len(self.book)
        if not number or not self.book[number].alive:
            with pytest.raises(ValueError, match="pruned"):
                session.prune(number)
            return
        gone = self.below(number)
        assert session.prune(number) == len(gone)
        for each in gone:
            self.book[each].alive = False
        for each in self.hands:
            while not self.book[each.here].alive:
                each.here = self.book[each.here].parent or 0

    def expand(self, hand: Hand, session: tg.Session, x: int) -> None:
        before, found = len(self.book), None
        with self.perhaps_forbidden(hand):
            found = session.expand(depth=1 + x % 2, mass=0.7, limit=6)
        self.adopt(hand.chain, "expanded")
        if found is not None:
            assert found.n_new == len(self.book) - before
            assert all(hand.here in (0, *self.lineage(leaf.id)) for leaf in found.leaves)
            assert 0.0 < found.covered <= 1.0

    def sample(self, hand: Hand, session: tg.Session, x: int) -> None:
        n = 1 + x % 3
        if session.finish_reason is not None:
            return
        if not self.can_draw_anew(hand):
            with pytest.raises(ValueError, match="sample needs do_sample=True and rng='tokenglass'"):
                session.sample(n)
            return
        before, found = len(self.book), None
        with self.perhaps_forbidden(hand):
            found = session.sample(n, max_new_tokens=2)
        self.adopt(hand.chain, "sampled")
        if found is None:  # some of them had been laid
            for number, place in self.book.items():
                place.count = self.tree._nodes[number].count
            return
        assert (found.n_new, sum(found.counts)) == (len(self.book) - before, n)
        self.book[hand.here].count += n
        for leaf, many in zip(found.leaves, found.counts, strict=True):
            path = (0, *self.lineage(leaf.id))
            for each in path[path.index(hand.here) + 1 :]:
                self.book[each].count += many

    # ------------------------------------------------------------------ the checks

    def check(self) -> None:
        """Every session stands where the book says, and the tree is the book's."""
        for hand in self.hands:
            session, ids = hand.session, self.ids(hand.here)
            assert (session.node.id, session.ids) == (hand.here, ids)
            assert session.text == self.text(hand.here)
            assert list(session.steps) == [self.book[each].step for each in self.lineage(hand.here)]
            if self.chains[hand.chain].get("regex") is None:
                ended = hand.here and ids[-1] in session.model.info.eos_ids
                assert session.finish_reason == ("eos" if ended else None)
        assert [node.id for node in self.tree] == [n for n, p in self.book.items() if p.alive]
        for node in self.tree:
            place = self.book[node.id]
            assert (None if node.parent is None else node.parent.id) == place.parent
            assert node.step is place.step  # nothing is rewritten
            assert (node.name, node.notes, node.count) == (place.name, place.notes, place.count)

    def sample_of(self, step: Step) -> int:
        """Which sample's number was drawn; a draw belongs to seed, sample and position."""
        return next(n for n in range(500) if uniform(SEED, n, step.position, "draw") == step.draw)


MOVES = (
    *("step", "step", "step", "force", "reroll", "undo", "undo", "redo", "redo", "goto", "goto", "fork"),
    *("set", "name", "note", "prune", "expand", "sample"),
)
WALKS = st.lists(
    st.tuples(st.sampled_from(MOVES), st.integers(0, 3), st.integers(0, 999)), min_size=25, max_size=45
)


def walks(n: int, n_full: int) -> Any:
    return settings(
        max_examples=n_full if FULL else n,
        deadline=None,
        derandomize=True,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


def walked(walk: Walk, moves: list[tuple[str, int, int]]) -> Walk:
    for kind, who, x in moves:
        walk.move(kind, who, x)
    return walk


def same(got: Step, want: Any) -> None:
    """Two records of one choice, to the last bit."""
    for name in ("id", "logit", "logprob", "rank", "entropy_bits", "p_final", "draw", "cdf"):
        assert getattr(got, name) == getattr(want, name), name
    np.testing.assert_array_equal(got.top_ids, want.top_ids)
    np.testing.assert_array_equal(got.top_final, want.top_final)


# ------------------------------------------------------------------ chains that remember nothing


@walks(16, 200)
@given(WALKS)
def test_walks_with_plain_chains(moves: list[tuple[str, int, int]]) -> None:
    """Every place equals what a fresh model says of its ids, whatever way led there."""
    walk = walked(Walk(table_model, PLAIN, USED), moves)
    cold = table_model()
    for number, place in walk.book.items():
        if place.step is None or place.key is None or place.parent is None:
            continue
        ids, step, config = list(walk.ids(place.parent)), place.step, PLAIN[place.key[3]]
        if step.origin == "sampled":
            n = walk.sample_of(step)
            drawn = cold.generate(ids, max_new_tokens=1, num_return_sequences=n + 1, **config)
            same(step, drawn.sequences[n].steps[0])
            continue
        table = cold.next_tokens(ids, **config)
        want = table.lookup(step.id)
        assert (step.logit, step.logprob, step.rank) == (want.logit, want.logprob, want.rank), number
        assert step.entropy_bits == table.entropy_bits
        assert step.p_final == pytest.approx(want.p_final, rel=1e-7)  # sums of float32 in another order
        assert step.position == len(ids)
        if step.origin == "greedy":
            same(step, cold.generate(ids, max_new_tokens=1, **config).steps[0])


# ------------------------------------------------------------------ chains that remember


def replayed(walk: Walk, cold: Model, number: int) -> Iterator[tuple[int, Step]]:
    """The way to a place gone straight, by a session that never went anywhere else."""
    session: tg.Session | None = None
    chain = -1
    for each in walk.lineage(number):
        place = walk.book[each]
        assert place.key is not None and place.step is not None
        if session is None:
            chain = place.key[3]
            session = cold.session(list(PROMPT), **walk.chains[chain])
        elif place.key[3] != chain:
            chain = place.key[3]
            session.set(**walk.chains[chain])
        yield each, _again(session, place.step)


def _again(session: tg.Session, step: Step) -> Step:
    """The same choice made again."""
    if step.origin in ("forced", "expanded"):
        found: Any = session.step(token=step.id)
        return found
    found = session.step()
    for _ in range(200):
        if step.draw == found.draw:
            return found
        session.undo()
        found = session.step(reroll=True)  # the next sample's number
    raise AssertionError(f"no sample draws {step.draw}")


def test_set_leaves_no_place_without_its_memory() -> None:
    """Mirostat's memory of a place is that of its own way, whatever was written elsewhere meanwhile."""
    walk = Walk(table_model, REMEMBERING["llama.cpp"], USED)
    walked(walk, [("set", 0, 1), *[("step", 0, 0)] * 4, ("undo", 0, 2), ("force", 0, 1), ("step", 0, 0)])
    walked(
        walk, [("set", 0, 0), ("step", 0, 0), ("set", 0, 1), ("redo", 0, 2), ("undo", 0, 0), ("step", 0, 0)]
    )
    _check_remembered(walk)


@pytest.mark.parametrize("chains", REMEMBERING.values(), ids=REMEMBERING)
def test_there_and_back_writes_what_straight_on_writes(chains: list[dict[str, Any]]) -> None:
    for index in range(len(chains)):
        walk = Walk(table_model, chains, USED)
        there = [("step", 0, 0)] * 6
        back = [
            ("undo", 0, 2),
            ("undo", 0, 1),
            ("fork", 0, 0),
            ("step", 1, 0),
            ("redo", 0, 0),
            ("goto", 0, 2),
        ]
        walked(walk, [("set", 0, index), *there, *back, *there, ("goto", 1, 4), ("step", 1, 0)])
        _check_remembered(walk)


@pytest.mark.parametrize("chains", REMEMBERING.values(), ids=REMEMBERING)
@walks(12, 150)
@given(WALKS)
def test_walks_with_chains_that_remember(
    chains: list[dict[str, Any]], moves: list[tuple[str, int, int]]
) -> None:
    """Mirostat, adaptive-p, generators of their own and grammars: undo and goto give their memory back."""
    _check_remembered(walked(Walk(table_model, chains, USED), [("set", 0, len(moves)), *moves]))


def _check_remembered(walk: Walk) -> None:
    cold, seen = walk.make(), set[int]()
    parents = {place.parent for place in walk.book.values()}
    for end in set(walk.book) - parents:
        for number, want in replayed(walk, cold, end):
            step = walk.book[number].step
            assert step is not None
            if number not in seen:
                same(step, want)
            seen.add(number)
        _check_written_straight_on(walk, cold, end)
    assert seen | {0} == set(walk.book)


def _check_written_straight_on(walk: Walk, cold: Model, end: int) -> None:
    """A way that one chain wrote from the prompt on, untouched, is `generate`'s, which knows no tree."""
    places = [walk.book[each] for each in walk.lineage(end)]
    chain, steps = places[0].key[3] if places and places[0].key else 0, list[Step]()
    for place in places:
        assert place.key is not None and place.step is not None
        chosen = place.step.origin in ("greedy", "sampled") and place.key[3] == chain
        own = walk.chains[place.key[3]]["rng"] == "tokenglass" and place.step.draw is not None
        if not chosen or (own and walk.sample_of(place.step) != 0):
            break
        steps.append(place.step)
    if steps:
        want = cold.generate(list(PROMPT), max_new_tokens=len(steps), **walk.chains[chain])
        for step, other in zip(steps, want.steps, strict=False):  # a session may go on behind an end
            same(step, other)


# ------------------------------------------------------------------ an engine with a cache


@pytest.fixture(scope="module", params=["llama-grouped", "mistral-window"])
def engine_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("transformers")
    from tests.parity import families

    folder = tmp_path_factory.mktemp(request.param)
    families.make(request.param, folder)
    probe = families.engine(folder, threads=1)
    few = 40 * probe._tree.node_bytes  # so that places are forgotten and read again

    def model(**options: Any) -> Model:
        tokenizer: Any = Quiet(families.VOCAB)
        return Model(families.engine(folder, threads=1, **options), tokenizer)

    return model, few


@walks(8, 60)
@given(WALKS)
def test_walks_with_an_engine(engine_of: Any, moves: list[tuple[str, int, int]]) -> None:
    """The cache and its handles: the same numbers as a cold run's, up to the order of sums."""
    model, few = engine_of
    walk = walked(Walk(lambda: model(cache_bytes=few), PLAIN[:3], (97, 98, 99, 195, 169)), moves)
    cold = model()
    for place in walk.book.values():
        if place.step is None or place.key is None or place.parent is None:
            continue
        step, ids = place.step, walk.ids(place.parent)
        table = cold.next_tokens(list(ids), **PLAIN[place.key[3]])
        logprobs = table.logits - np.logaddexp.reduce(table.logits.astype(np.float64))
        assert abs(step.logprob - logprobs[step.id]) < 5e-4
        assert abs(step.p_final - table.lookup(step.id).p_final) < 5e-4
        assert abs(step.entropy_bits - table.entropy_bits) < 5e-3
        assert (
            (logprobs > step.logprob + 1e-3).sum() < step.rank <= 1 + (logprobs > step.logprob - 1e-3).sum()
        )
        assert (
            np.abs(step.top_logits - step.logsumexp - np.sort(logprobs)[::-1][: len(step.top_ids)]).max()
            < 5e-4
        )
        assert np.abs(logprobs[step.top_ids] - (step.top_logits - step.logsumexp)).max() < 5e-4
        if step.draw is not None and step.cdf is not None:
            assert walk.sample_of(step) < 100 and step.cdf[0] <= step.draw < step.cdf[1]
            final = table.logits if table.final is None else table.final
            p = np.exp(final - np.logaddexp.reduce(final.astype(np.float64)))
            assert abs(p[: step.id].sum() - step.cdf[0]) < 5e-4
