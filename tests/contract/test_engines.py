"""What every engine does, whatever runs behind it: one suite over all `subjects`.

A check names what it needs of `EngineInfo.capabilities`. An engine that has it must pass; one that has not
must refuse with `Unsupported` in one line, so that no check is skipped in silence.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.contract.agreement import assert_last, assert_rows, last
from tests.contract.subjects import SUBJECTS, Subject
from tokenglass.engines.base import CAPABILITIES, Engine, Prefix
from tokenglass.errors import ContextOverflow, EngineError, Unsupported

Ids = tuple[int, ...]
WALKS = 8 if FULL else 1
STEPS = 25 if FULL else 8


def text(subject: Subject, seed: int, length: int) -> Ids:
    return tuple(np.random.default_rng(seed).choice(subject.ids, length).tolist())


def refused(engine: Engine, capability: str, call: Callable[[], Any]) -> bool:
    """Whether the engine lacks a capability; if so, the call that needs it must say so in one line."""
    if capability in engine.info.capabilities:
        return False
    with pytest.raises(Unsupported) as caught:
        call()
    assert "\n" not in str(caught.value) and str(caught.value)
    return True


# --------------------------------------------------------------------------------------------- what it says


def test_capabilities_are_known_words(engine: Engine) -> None:
    assert engine.info.capabilities <= set(CAPABILITIES)
    assert isinstance(engine, Engine)


def test_what_is_said_of_the_model(subject: Subject, engine: Engine) -> None:
    ids = text(subject, 1, 3)
    assert engine.info.vocab_size == subject.reference(ids).shape[-1]
    assert engine.info.context_length == subject.context
    if subject.hidden is not None and "hidden" in engine.info.capabilities:
        states = subject.hidden(ids)
        assert (engine.info.layers, engine.info.hidden_size) == (len(states) - 1, states[-1].shape[-1])


# ------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("length", [1, 2, 57])
def test_every_position(subject: Subject, engine: Engine, length: int) -> None:
    ids = text(subject, length, length)
    want = subject.reference(ids)
    assert_last(subject, engine.forward([Prefix(ids)]), 0, want[-1])
    if length == 1 or refused(engine, "positions", lambda: engine.forward([Prefix(ids)], last=2)):
        return
    logits = engine.forward([Prefix(ids)], last=length).logits
    assert logits is not None
    assert_rows(subject, logits[0], want)


def test_warm_equals_cold(subject: Subject, engine: Engine) -> None:
    """A text written token by token, across the 40 at which one subject changes its rotary tables."""
    ids = text(subject, 5, 48)
    prefix = Prefix(ids[:36])
    for i in range(36, 48):
        forward = engine.forward([prefix])
        assert_last(subject, forward, 0, subject.reference(prefix.ids)[-1])
        prefix = prefix.extended(ids[i], forward.nodes[0])


def test_batch_equals_one_by_one(subject: Subject, engine: Engine, cold: Any) -> None:
    """Lengths of 3 to 47, some of which share a beginning, one that occurs twice, one of a single token."""
    stem = text(subject, 20, 24)
    texts = [text(subject, 30 + i, 3 + 11 * i) for i in range(5)]
    texts += [stem, stem + text(subject, 41, 4), stem + text(subject, 42, 7), stem, text(subject, 43, 1)]
    together = engine.forward([Prefix(ids) for ids in texts])
    alone = cold()
    for i, ids in enumerate(texts):
        assert_last(subject, together, i, subject.reference(ids)[-1])
        assert_last(subject, alone.forward([Prefix(ids)]), 0, subject.reference(ids)[-1])


def test_batches_go_on(subject: Subject, engine: Engine) -> None:
    """Texts of different lengths written side by side, in another order each time; one leaves early."""
    prefixes = [Prefix(text(subject, 50 + i, 4 + 9 * i)) for i in range(4)]
    for step in range(6):
        forward = engine.forward(prefixes)
        for i, prefix in enumerate(prefixes):
            assert_last(subject, forward, i, subject.reference(prefix.ids)[-1])
        prefixes = [p.extended(3 + step, n) for p, n in zip(prefixes, forward.nodes, strict=True)]
        prefixes = prefixes[1:] + prefixes[:1] if step != 3 else prefixes[1:]


def test_beams_change_places(subject: Subject, engine: Engine) -> None:
    """Several texts go on from one, others from none, as the beams of a search do."""
    first = engine.forward([Prefix(text(subject, 60, 20))])
    prefixes = [Prefix(text(subject, 60, 20), first.nodes[0]).extended(3 + i) for i in range(4)]
    for parents in ((0, 0, 1, 3), (3, 2, 2, 2), (1, 0, 3, 2)):
        forward = engine.forward(prefixes)
        for i, prefix in enumerate(prefixes):
            assert_last(subject, forward, i, subject.reference(prefix.ids)[-1])
        prefixes = [prefixes[p].extended(9 + i, forward.nodes[p]) for i, p in enumerate(parents)]


def test_random_walks(subject: Subject, engine: Engine) -> None:
    """Extensions, forks, rewinds and fresh prompts in batches, with and without the handles."""
    for seed in range(WALKS):
        rng = np.random.default_rng(seed)
        known = [Prefix((int(subject.ids[0]),))]
        for _ in range(STEPS):
            batch = []
            for _ in range(int(rng.integers(1, 5))):
                base = known[int(rng.integers(len(known)))]
                cut = int(rng.integers(1, len(base.ids) + 1)) if rng.random() < 0.4 else len(base.ids)
                more = rng.choice(subject.ids, int(rng.integers(0, 12))).tolist()
                whole = cut == len(base.ids) and rng.random() < 0.8
                batch.append(Prefix((*base.ids[:cut], *more)[:90], base.node if whole else None))
            forward = engine.forward(batch)
            for i, prefix in enumerate(batch):
                assert_last(subject, forward, i, subject.reference(prefix.ids)[-1])
                known.append(Prefix(prefix.ids, forward.nodes[i]))


def test_drafts_that_are_refused(subject: Subject, engine: Engine) -> None:
    """As assisted generation asks: several rows at the end, then a text that goes on from the middle."""
    ids = text(subject, 70, 30)
    if refused(engine, "positions", lambda: engine.forward([Prefix(ids)], last=4)):
        return
    node = engine.forward([Prefix(ids)]).nodes[0]
    for kept in (2, 0, 4, 1):
        drafts = text(subject, 71 + kept, 4)
        logits = engine.forward([Prefix(ids + drafts, node)], last=5).logits
        assert logits is not None
        assert_rows(subject, logits[0], subject.reference(ids + drafts)[-5:])
        ids = (*ids, *drafts[:kept], 9)
    assert_last(subject, engine.forward([Prefix(ids)]), 0, subject.reference(ids)[-1])


# -------------------------------------------------------------------------------------------- what is kept


def test_a_fork_runs_only_what_is_new(subject: Subject, engine: Engine) -> None:
    """Three children of a text of 50, a rewind, and the text again: one token each."""
    if "tree" not in engine.info.capabilities or subject.tokens_run is None:
        return  # nothing is promised, and the numbers are those of the walks
    ids = text(subject, 80, 38)
    node = engine.forward([Prefix(ids)]).nodes[0]
    before = subject.tokens_run(engine)
    engine.forward([Prefix((*ids, token), node) for token in (60, 61, 62)])
    assert subject.tokens_run(engine) == before + 3
    engine.forward([Prefix((*ids[:20], 63))])
    engine.forward([Prefix((*ids, 64))])
    assert subject.tokens_run(engine) == before + 5


def test_a_shared_beginning_is_read_once(subject: Subject, engine: Engine) -> None:
    if "tree" not in engine.info.capabilities or subject.tokens_run is None:
        return
    stem = text(subject, 81, 30)
    engine.forward([Prefix((*stem, *text(subject, 82 + i, 2))) for i in range(4)])
    assert subject.tokens_run(engine) == 30 + 4 * 2


def test_a_foreign_handle_is_not_believed(subject: Subject, engine: Engine, cold: Any) -> None:
    """Its numbers would be another text's: the ids decide."""
    foreign = cold().forward([Prefix((9, 8, 7))]).nodes[0]
    engine.forward([Prefix((9, 8, 7))])
    for node in (foreign, "nonsense", 7):
        forward = engine.forward([Prefix((11, 12, 17, 15), node)])
        assert_last(subject, forward, 0, subject.reference((11, 12, 17, 15))[-1])


def test_the_same_calls_give_the_same_bits(subject: Subject, cold: Any) -> None:
    ids = text(subject, 90, 33)
    if "logits" not in cold().info.capabilities:
        pytest.skip("what a server computes together, and in which order, is its own affair")

    def calls() -> list[Any]:
        engine = cold()
        first = engine.forward([Prefix(ids)])
        forks = engine.forward([Prefix((*ids, 5), first.nodes[0]), Prefix((*ids, 6), first.nodes[0])])
        return [last(subject, first), last(subject, forks, 0), last(subject, forks, 1)]

    assert calls() == calls()


def test_four_threads(subject: Subject, engine: Engine) -> None:
    texts = [[text(subject, 100 + n, 5 + i) for i in range(6)] for n in range(4)]
    wanted = {ids: subject.reference(ids)[-1] for each in texts for ids in each}
    failures: list[BaseException] = []

    def caller(mine: list[Ids]) -> None:
        try:
            for ids in mine:
                assert_last(subject, engine.forward([Prefix(ids)]), 0, wanted[ids])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=caller, args=(mine,)) for mine in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# ---------------------------------------------------------------------------------------------- other rows


def test_hidden_states(subject: Subject, engine: Engine) -> None:
    """All layers as transformers has them, when they are computed and when all is cached already."""
    ids = text(subject, 110, 23)
    prefix = Prefix(ids)
    if refused(engine, "hidden", lambda: engine.forward([prefix], layers=[0])):
        return
    assert subject.hidden is not None
    want = subject.hidden(ids)
    every = range(len(want))
    first = engine.forward([prefix], layers=every, hidden_last=23)
    second = engine.forward([Prefix(ids, first.nodes[0])], layers=every, hidden_last=5)
    for layer in every:
        assert np.abs(first.hidden[layer][0] - want[layer]).max() <= subject.tolerance
        assert np.abs(second.hidden[layer][0] - want[layer][-5:]).max() <= subject.tolerance


def test_unembed(subject: Subject, engine: Engine) -> None:
    """The last layer without another norm gives the logits; the layer before, through the norm, does too.

    Where a model has more after its head than a matrix (a soft cap) that is left out, as transformers' DoLa
    does; no subject but gemma2 has such a thing.
    """
    ids = text(subject, 120, 12)
    if refused(engine, "unembed", lambda: engine.unembed(np.zeros((1, 8), np.float32), norm=False)):
        return
    n = engine.info.layers
    last_layer = engine.forward([Prefix(ids)], layers=[n], hidden_last=12).hidden[n][0]
    want = subject.reference(ids)
    plain = engine.unembed(last_layer, norm=False)
    if engine.info.family == "gemma2":
        want, plain = np.arctanh(want / 30.0) * 30.0, plain  # its cap is 30 tanh(x / 30)
    assert np.abs(plain - want).max() <= 4 * subject.tolerance  # the head's sum once more, on float32 states


def test_iter_logits_in_pieces(subject: Subject, engine: Engine) -> None:
    ids = text(subject, 130, 200)
    if refused(engine, "positions", lambda: next(iter(engine.iter_logits(ids)))):
        return
    pieces = list(engine.iter_logits(ids, chunk=48))
    assert [len(piece) for piece in pieces] == [48, 48, 48, 48, 8]
    assert_rows(subject, np.concatenate(pieces), subject.reference(ids))


# ------------------------------------------------------------------------------------------ what it refuses


def test_a_text_beyond_the_context_is_refused_with_both_counts(subject: Subject, engine: Engine) -> None:
    fits = (5,) * subject.context
    engine.forward([Prefix(fits)])
    with pytest.raises(
        ContextOverflow, match=f"{subject.context + 1} tokens.*context holds {subject.context}"
    ):
        engine.forward([Prefix((*fits, 5))])


@pytest.mark.parametrize(
    ("ids", "message"),
    [((), "at least one token"), ((5, -1), "got -1"), ((5, 1 << 30), "token id must be in")],
)
def test_bad_ids_are_named(engine: Engine, ids: Ids, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        engine.forward([Prefix(ids)])
    with pytest.raises(ValueError, match=message):
        engine.forward([Prefix((5, 6)), Prefix(ids)])


def test_counts_beyond_the_text_are_named(engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"got 0|got none"):
        engine.forward([Prefix((5, 6))], last=0)
    if "positions" in engine.info.capabilities:
        with pytest.raises(ValueError, match="last must be in"):
            engine.forward([Prefix((5, 6))], last=3)
        with pytest.raises(ValueError, match="got 0"):
            next(iter(engine.iter_logits((5, 6), chunk=0)))
    if "hidden" in engine.info.capabilities:
        for layer in (-1, engine.info.layers + 1):
            with pytest.raises(ValueError, match=f"got {layer}"):
                engine.forward([Prefix((5, 6))], layers=[layer])


def test_a_closed_engine_says_so(engine: Engine) -> None:
    engine.forward([Prefix((5, 6))])
    engine.close()
    engine.close()
    if engine.info.engine != "table":  # which holds nothing, and goes on
        with pytest.raises(EngineError, match="closed"):
            engine.forward([Prefix((5, 6))])


def test_every_engine_is_here() -> None:
    assert {name.partition("-")[0] for name in SUBJECTS} >= {"table", "onnx", "hf"}
