"""Comparisons on the embedded model's full vocabulary, against scipy and against `next_tokens`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests import support
from tokenglass.comparing import change_one_word, compare, word_order
from tokenglass.model import Model
from tokenglass.types import Difference

scipy_special = pytest.importorskip("scipy.special")
scipy_distance = pytest.importorskip("scipy.spatial.distance")

A, B = "The cat sat on the", "The dog sat on the"
SAME = 1e-9  # relative: both sum 49,152 terms in float64 from the same float32 logits


def assert_as_scipy(found: Difference, logits_a: np.ndarray, logits_b: np.ndarray, rel: float = SAME) -> None:
    p, q = (scipy_special.softmax(row.astype(np.float64)) for row in (logits_a, logits_b))
    bit = np.log(2.0)
    assert found.kl_ab_bits == pytest.approx(scipy_special.rel_entr(p, q).sum() / bit, rel=rel)
    assert found.kl_ba_bits == pytest.approx(scipy_special.rel_entr(q, p).sum() / bit, rel=rel)
    assert found.js_bits == pytest.approx(scipy_distance.jensenshannon(p, q, base=2) ** 2, rel=rel)
    assert found.tv == pytest.approx(0.5 * np.abs(p - q).sum(), rel=rel)
    assert found.top_a.token.id == p.argmax() and found.top_b.token.id == q.argmax()
    assert {m.token.id for m in found.movers} == set(np.argsort(-np.abs(p - q))[: len(found.movers)].tolist())
    for mover in found.movers:
        i = mover.token.id
        assert (mover.p_a, mover.p_b) == (pytest.approx(p[i], rel=rel), pytest.approx(q[i], rel=rel))
        assert mover.rank_a == 1 + (p > p[i]).sum() and mover.rank_b == 1 + (q > q[i]).sum()


def test_two_prompts_as_scipy(smollm2: Any) -> None:
    found = compare(A, B, model=smollm2, max_new_tokens=4)
    assert_as_scipy(found.prompt_end, *(smollm2.next_tokens(text).logits for text in (A, B)))
    ids = [smollm2.generate(text, max_new_tokens=4).ids for text in (A, B)]
    assert (found.a.generation.ids, found.b.generation.ids) == tuple(ids)
    assert found.parting is not None and found.parting.index_a == 0 and ids[0][0] != ids[1][0]


def test_two_configurations_as_scipy_along_the_text(smollm2: Any) -> None:
    """Greedy against a penalty: each position after the same ids, as `next_tokens` gives its scores.

    The text read anew differs from the text as it was written by at most 1e-4 in a logit.
    """
    prompt, penalty = "One, two, three, one, two, three,", {"repetition_penalty": 1.1}
    found = compare({}, penalty, model=smollm2, prompt=prompt, max_new_tokens=6)
    ids = smollm2.prompt_ids(prompt)
    shared = len(found.positions) - 1
    written = found.a.generation.ids
    assert written[:shared] == found.b.generation.ids[:shared]
    assert found.parting is not None and found.parting.index_a == shared
    for i, position in enumerate(found.positions):
        assert position.index_a == position.index_b == len(ids) - 1 + i
        table = smollm2.next_tokens([*ids, *written[:i]], **penalty)
        if i == 0:
            assert_as_scipy(position, table.logits, table.final)
        else:
            p, q = (scipy_special.softmax(row.astype(np.float64)) for row in (table.logits, table.final))
            assert position.tv == pytest.approx(0.5 * np.abs(p - q).sum(), abs=1e-4)


def test_a_mask_is_endless_one_way(smollm2: Any) -> None:
    """top_k=5 leaves five tokens of mass m: KL(top_k||own) = -log2 m, the other way there is no bound."""
    found = compare({"top_k": 5}, {"top_k": 0}, model=smollm2, prompt=A, do_sample=True, max_new_tokens=1)
    mass = sum(row.p for row in smollm2.next_tokens(A, 5).rows)
    assert found.prompt_end.kl_ab_bits == pytest.approx(-np.log2(mass), rel=1e-6)  # p is summed in float32
    assert found.prompt_end.kl_ba_bits == np.inf
    assert found.prompt_end.tv == pytest.approx(1.0 - mass, abs=1e-6)


def test_two_models_at_every_position_as_scipy(smollm2: Any) -> None:
    """The second model's logits are the first's, seen through a permutation that depends on nothing.

    They are read a second time for the reference; in another batch the last bits of a logit may differ, which
    moves these numbers, of up to 20 bits, by some 1e-6 of themselves.
    """
    shuffled = np.random.default_rng(0).permutation(smollm2.info.vocab_size)
    original = smollm2.engine

    class Shuffled:
        info = original.info

        def forward(self, *args: Any, **options: Any) -> Any:
            from dataclasses import replace

            found = original.forward(*args, **options)
            return replace(found, logits=found.logits[..., shuffled])

        def iter_logits(self, ids: Any, chunk: int = 64) -> Any:
            return (piece[:, shuffled] for piece in original.iter_logits(ids, chunk))

    engine: Any = Shuffled()
    other = Model(engine, smollm2.tokenizer)
    found = compare(smollm2, other, prompt=A, max_new_tokens=1)
    rows = smollm2.logits(A)
    assert len(found.positions) == len(rows) and found.outcomes == "tokens"
    for position, row in zip(found.positions[:-1], rows[:-1], strict=True):
        assert_as_scipy(position, row, row[shuffled], rel=1e-4)


def test_models_with_other_tokens_meet_where_both_have_an_end(smollm2: Any) -> None:
    """A table over bytes meets SmolLM2 at the ends of its tokens; its next bytes are summed one by one."""
    table = support.model(support.writes("the mat"))
    found = compare(table, smollm2, prompt=A, max_new_tokens=2)
    spans = [token.span for token in smollm2.tokenize(A).tokens]
    before = [row for row in found.positions if row.index_b < len(spans)]
    assert [row.offset for row in before] == [end for _, end in spans]
    sums = np.zeros(257)
    p = scipy_special.softmax(smollm2.next_tokens(A).logits.astype(np.float64))
    for token_id, each in enumerate(p):
        token = smollm2.tokenizer.token(token_id)
        sums[256 if token.kind == "control" else token.bytes[0]] += each
    q = scipy_special.softmax(table.next_tokens(A).logits.astype(np.float64))
    end = found.prompt_end
    assert end.tv == pytest.approx(0.5 * np.abs(q - sums).sum(), rel=SAME)
    assert end.js_bits == pytest.approx(scipy_distance.jensenshannon(q, sums, base=2) ** 2, rel=SAME)
    assert end.kl_ba_bits == pytest.approx(scipy_special.rel_entr(sums, q).sum() / np.log(2.0), rel=SAME)
    assert end.kl_ab_bits == np.inf  # some bytes, such as 0xFF, begin no token of SmolLM2


def test_experiments_on_the_embedded_model(smollm2: Any) -> None:
    changes = change_one_word(smollm2, A, "cat", ["dog", "president"])
    for row in changes.rows:
        own = smollm2.next_tokens(row.prompt_text).logits
        assert_as_scipy(row.difference, smollm2.next_tokens(A).logits, own)
    orders = word_order(smollm2, "the cat sat", n=6)
    assert orders.possible == len(orders.rows) == 6 and orders.given is not None
    for arrangement in orders.rows:
        ids = [orders.given.id, *arrangement.ids]
        logs = scipy_special.log_softmax(smollm2.logits(ids).astype(np.float64), axis=1)
        expected = sum(logs[i, token] for i, token in enumerate(arrangement.ids))
        assert arrangement.logprob == pytest.approx(expected, abs=1e-3)  # texts read in other chunks
    assert word_order(smollm2, A + " mat", n=4, seed=1).rows[0].text == A + " mat"  # the only sentence
