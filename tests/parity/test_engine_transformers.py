"""The native engine against transformers: float32, eager attention, every position.

Tolerance: 5e-4 on logits and log-probabilities, 1e-4 in probability. Both sides sum the same products in
another order; logits here reach about 20, where float32 resolves 2e-6, and errors add up over the layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.parity import families
from tokenglass.engines.base import Prefix
from tokenglass.numbers import log_softmax

pytest.importorskip("transformers")
LOGIT, PROBABILITY = 5e-4, 1e-4


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() < LOGIT
    for a, b in zip(ours.reshape(-1, ours.shape[-1]), theirs.reshape(-1, theirs.shape[-1]), strict=True):
        p, q = log_softmax(a), log_softmax(b)
        assert np.abs(p - q).max() < LOGIT
        assert np.abs(np.exp(p) - np.exp(q)).max() < PROBABILITY


@pytest.fixture(scope="module", params=list(families.SHAPES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp(request.param)
    theirs = families.make(request.param, folder)
    return families.engine(folder, threads=1), theirs


def random_ids(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, families.VOCAB, length).tolist()


def test_every_position(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    for seed, length in ((0, 1), (1, 2), (2, 37), (3, 130)):
        ids = random_ids(seed, length)
        got = ours.forward([Prefix(tuple(ids))], last=length).logits[0]
        assert_same(got, families.reference(theirs, ids))


def test_distribution_is_not_flat(pair: tuple[Any, Any]) -> None:
    """Parity of flat logits would prove nothing: one of 211 tokens must be 4 times as likely as that."""
    _, theirs = pair
    row = families.reference(theirs, random_ids(2, 37))[-1]
    assert np.exp(log_softmax(row)).max() > 4 / families.VOCAB


def test_warm_equals_cold(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ids = random_ids(5, 60)
    want = families.reference(theirs, ids)
    prefix = Prefix(tuple(ids[:20]))
    for i in range(20, 60):
        forward = ours.forward([prefix])
        assert_same(forward.logits[0], want[i - 1 : i])
        prefix = prefix.extended(ids[i], forward.nodes[0])


def test_batch_of_sixteen_equals_one_by_one(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    prompts = [random_ids(100 + i, 3 + 5 * i) for i in range(16)]
    prompts[7] = prompts[3] + prompts[7]  # one shares its beginning with another
    got = ours.forward([Prefix(tuple(ids)) for ids in prompts], last=2).logits
    for row, ids in zip(got, prompts, strict=True):
        assert_same(row, families.reference(theirs, ids)[-2:])


def test_hidden_states(pair: tuple[Any, Any]) -> None:
    """As transformers' `hidden_states`: embeddings first, the output after the final norm last."""
    import torch

    ours, theirs = pair
    ids = random_ids(9, 23)
    n = ours.info.layers
    forward = ours.forward([Prefix(tuple(ids))], layers=range(n + 1), hidden_last=23)
    again = ours.forward([Prefix(tuple(ids))], layers=range(n + 1), hidden_last=23)  # all rows cached now
    with torch.no_grad():
        want = theirs(torch.tensor([ids]), output_hidden_states=True).hidden_states
    for layer in range(n + 1):
        for got in (forward, again):
            assert np.abs(got.hidden[layer][0] - want[layer][0].numpy()).max() < LOGIT


def test_unembed(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ids = random_ids(11, 12)
    n = ours.info.layers
    forward = ours.forward([Prefix(tuple(ids))], last=12, layers=[n], hidden_last=12)
    assert_same(ours.unembed(forward.hidden[n][0], norm=False), families.reference(theirs, ids))


def test_scoring_in_pieces(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    ids = random_ids(12, 200)
    pieces = list(ours.iter_logits(ids, chunk=48))
    assert [len(piece) for piece in pieces] == [48, 48, 48, 48, 8]
    assert_same(np.concatenate(pieces), families.reference(theirs, ids))
