"""DRY's sequence breakers as text, against llama.cpp with the same model's vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.llamacpp import Sampler, vocabulary
from tests.parity.test_stages_llamacpp import assert_same_candidates
from tokenglass.stages import Context, Dry, Row
from tokenglass.stages.dry import breakers_from_text
from tokenglass.tokenizer import Tokenizer, from_gguf

USUAL = ("\n", ":", '"', "*")


class AsVocabulary:
    """A tokenizer as a stage sees it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.token = tokenizer.token
        self._size = tokenizer.vocab_size

    def __len__(self) -> int:
        return self._size


@pytest.mark.parametrize("texts", [USUAL, ("\n\n", "ing the", ": *"), ("é!", "s", "<|im_end|>")])
def test_breakers_of_text_equal_llama_cpps(smollm2_files: Any, texts: tuple[str, ...]) -> None:
    """Histories of breakers, of tokens that begin one, and of others: the same tokens are penalised."""
    path = Path(smollm2_files.path)
    vocabulary(path)
    tokenizer = from_gguf(path)
    breakers = breakers_from_text(
        texts, AsVocabulary(tokenizer), lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    )
    rng = np.random.default_rng(71)
    heads = np.array([ids[0] for ids in breakers])
    tails = np.array([i for ids in breakers for i in ids[1:]] or [0])
    zeros = np.zeros(tokenizer.vocab_size, dtype=np.float32)
    acted = 0
    sampler = Sampler.dry_of_text(path, 0.8, 1.75, 2, 64, texts)
    for _ in range(60):
        words = [*rng.integers(1000, 40_000, 3), *rng.choice(heads, 2), *rng.choice(tails, 1)]
        ids = tuple(int(i) for i in rng.choice(words, 60, p=[0.4, 0.3, 0.2, 0.04, 0.03, 0.03]))
        ours, _ = Dry(0.8, breakers=breakers).apply(Row.of(zeros, candidates=True), Context(ids), None)
        assert assert_same_candidates(ours, sampler.reset().accept(ids)(zeros))
        acted += bool(ours.scores.any())
    assert acted > 20
