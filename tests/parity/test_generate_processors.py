"""Processors made for transformers, given to `generate` on both sides: the same place, the same tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity import families
from tests.parity.goldens.shared import MODELS, likely, pair
from tests.parity.random_configs import Case, Kind, Words, draw, transformers_words
from tests.parity.test_generate_random import PAD, compare
from tokenglass.model import Model

transformers = pytest.importorskip("transformers")
COUNT = 40 if FULL else 6
KINDS: tuple[Kind, ...] = ("greedy", "sample", "beams")


class EvenPositions(transformers.LogitsProcessor):
    """Looks at the ids: every other token must be even; changes the scores in place."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if input_ids.shape[1] % 2 == 0:
            scores[:, 1::2] -= 3.0
        return scores


def processors(rng: np.random.Generator) -> list[Any]:
    """Some of the library's own, each of a class that a keyword also makes, and one that no keyword makes."""
    made = [
        EvenPositions(),
        transformers.RepetitionPenaltyLogitsProcessor(1.7),
        transformers.NoRepeatNGramLogitsProcessor(2),
        transformers.SequenceBiasLogitsProcessor([[[7], 2.0], [[5, 9], -4.0]]),
        transformers.TemperatureLogitsWarper(0.5),
    ]
    return [made[i] for i in rng.choice(len(made), int(rng.integers(1, 4)), replace=False)]


@pytest.mark.parametrize("kind", KINDS)
def test_same_tokens(kind: Kind) -> None:
    """Where a keyword makes one of the same class, the given one takes its place; others come after."""
    name = MODELS[KINDS.index(kind)]
    engine, theirs = pair(name)
    words: Any = Words()
    rng = np.random.default_rng(31 + KINDS.index(kind))
    outcomes = []
    for _ in range(COUNT):
        prompt = rng.integers(3, PAD, 4).tolist()
        case = draw(rng, kind, prompt, likely(theirs, prompt, 40), families.VOCAB)
        more = {"logits_processor": processors(rng), "repetition_penalty": 1.2}
        given = Case(kind, prompt, case.keywords | more, case.seed, case.own)
        outcomes.append(compare(Model(engine, words), theirs, given, transformers_words(), (None, None)))
    assert outcomes.count("same") >= 0.8 * COUNT, outcomes
