"""What the search tests and the script that makes their goldens share: models, chains, honest comparison."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Generator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tests.parity import families
from tokenglass import search, stages
from tokenglass.types import Sequence as Written
from tokenglass.types import Token

MODELS = ("gpt2", "llama-grouped", "qwen2", "qwen3", "neox-4-of-16")
SCORE = 1e-4  # of a sequence's score, as the mean or sum of a dozen float32 log-probabilities
MARGIN = 5e-4  # the stated tolerance on log-probabilities: below it, two honest sums may decide otherwise


class Ids:
    """A vocabulary of nothing but ids."""

    def __len__(self) -> int:
        return families.VOCAB

    def token(self, token_id: int) -> Token:
        return Token(token_id, b"<%d>" % token_id)

    def find(self, text: str) -> int:
        raise ValueError(text)


@cache
def pair(name: str) -> tuple[Any, Any]:
    """The native engine and transformers' model of one shape, both from the same seeded weights."""
    folder = Path(tempfile.mkdtemp(prefix="tokenglass-search-")) / name
    theirs = families.make(name, folder)
    return families.engine(folder, threads=1), theirs


def checksum(model: Any) -> str:
    """SHA-256 of all weights, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def likely(theirs: Any, prompt: Sequence[int], n: int) -> list[int]:
    """The n likeliest tokens after a prompt: as end-of-text ids they bite."""
    return np.argsort(-families.reference(theirs, list(prompt))[-1], kind="stable")[:n].tolist()


def chain(fields: dict[str, Any]) -> list[stages.Stage]:
    """Transformers' keywords as a chain in transformers' order."""
    made = {
        "sequence_bias": lambda v: stages.SequenceBias(tuple((tuple(ids), b) for ids, b in v)),
        "repetition_penalty": stages.RepetitionPenalty,
        "no_repeat_ngram_size": stages.NoRepeatNgram,
        "bad_words_ids": lambda v: stages.BadWords(tuple(map(tuple, v))),
        "min_length": stages.MinLength,
        "min_new_tokens": stages.MinNewTokens,
        "forced_eos_token_id": lambda v: stages.ForcedEos((v,)),
        "exponential_decay_length_penalty": lambda v: stages.ExponentialDecayLengthPenalty(*v),
        "suppress_tokens": lambda v: stages.SuppressTokens(tuple(v)),
        "renormalize_logits": lambda v: stages.RenormalizeLogits(),
    }
    return [make(fields[name]) for name, make in made.items() if fields.get(name) not in (None, False)]


def film(run: Generator[Any, None, tuple[Written, ...]]) -> tuple[list[Any], tuple[Written, ...]]:
    """All records of a search, and its sequences."""
    steps = []
    while True:
        try:
            steps.append(next(run))
        except StopIteration as end:
            return steps, end.value


def smallest_margin(steps: Sequence[search.BeamStep]) -> float:
    """The nearest decision of a beam search."""
    return min((step.margin for step in steps if step.margin is not None), default=float("inf"))


def until_eos(row: Sequence[int], eos: Sequence[int]) -> list[int]:
    """A padded row without its padding."""
    end = next((i for i, token_id in enumerate(row) if token_id in eos), len(row) - 1)
    return list(row[: end + 1])


def consistent(steps: Sequence[search.BeamStep], prompt: Sequence[int]) -> None:
    """A film that can be played: beams come from candidates, totals add up, scores are written out."""
    for before, after in pairwise(steps):
        runs = {c.becomes: c for c in before.candidates if c.becomes is not None}
        assert sorted(runs) == list(range(len(after.beams)))
        for i, beam in enumerate(after.beams):
            parent = before.beams[runs[i].parent]
            assert beam.ids == (*parent.ids, runs[i].token_id)
            assert beam.total == runs[i].total
            assert abs(parent.total + runs[i].logprob - beam.total) < 1e-4
    for step in steps:
        assert all(len(beam.ids) == step.position - len(prompt) for beam in step.beams)
        for found in step.bank:
            assert found.length == len(found.ids)
            assert abs(found.total / found.divisor - found.score) < 1e-5 * max(1.0, abs(found.score))
