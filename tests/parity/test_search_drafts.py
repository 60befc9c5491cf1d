"""Assisted decoding and prompt lookup against transformers' generate, and against plain decoding.

Drafting changes how tokens are computed, never which: texts may part only at a draft whose recorded margin,
best token minus runner-up, is below 5e-4.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity import families
from tests.parity.goldens.shared import MARGIN, MODELS, Ids, chain, film, likely, pair, until_eos
from tokenglass import search

pytest.importorskip("transformers")
COUNT = 40 if FULL else 5
PAD = families.VOCAB - 1


def configuration(rng: np.random.Generator, theirs: Any) -> tuple[list[int], dict[str, Any]]:
    words = rng.integers(3, PAD, 6).tolist()
    prompt = [*words, *rng.integers(3, PAD, 3).tolist(), *words[: int(rng.integers(1, 5))]]
    top = likely(theirs, prompt, 30)
    kept: dict[str, Any] = {
        "max_new_tokens": int(rng.integers(1, 25)),
        "eos_token_id": rng.choice(top, 2, replace=False).tolist(),
    }
    extra: dict[str, Any] = {
        "repetition_penalty": float(rng.choice([0.5, 1.3])),
        "no_repeat_ngram_size": 3,
        "bad_words_ids": [[int(top[0])], [int(top[1]), int(top[2])]],
        "min_length": len(prompt) + 4,
        "suppress_tokens": [int(i) for i in top[:2]],
    }
    for name in rng.choice(list(extra), int(rng.integers(0, 3)), replace=False).tolist():
        kept[name] = extra[name]
    return prompt, kept


def reference(theirs: Any, prompt: list[int], kept: dict[str, Any], **more: Any) -> list[int]:
    import torch

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            do_sample=False,
            pad_token_id=PAD,
            **kept,
            **more,
        )
    return until_eos(out[0, len(prompt) :].tolist(), kept["eos_token_id"])


def same_or_near(got: Any, want: list[int]) -> bool:
    if list(got.ids) == want:
        return True
    place = next((i for i, (a, b) in enumerate(zip(got.ids, want, strict=False)) if a != b), len(want) - 1)
    near = [step.margin for step in got.steps[: place + 1]]
    assert min(near) < MARGIN, f"parted at {place} without a near-tie: {got.ids} {want} {near}"
    return False


def counted(steps: list[search.DraftStep], got: Any) -> tuple[int, int]:
    """Records and sequence agree; how many drafts there were, and how many of them were accepted."""
    assert [i for step in steps for i in step.written] == list(got.ids)
    for step in steps:
        accepted = [d.token_id for d in step.drafts if d.verdict == "accepted"]
        assert step.accepted == len(accepted)
        assert list(step.written[: len(accepted)]) == accepted
        assert len(step.written) == len(accepted) + (step.bonus is not None)
    assert sum(s.origin == "draft" for s in got.steps) == sum(step.accepted for step in steps)
    return sum(len(step.drafts) for step in steps), sum(step.accepted for step in steps)


@pytest.mark.parametrize("name", MODELS)
def test_prompt_lookup(name: str) -> None:
    ours, theirs = pair(name)
    rng = np.random.default_rng(sum(name.encode()))
    same = accepted = 0
    for _ in range(COUNT):
        prompt, kept = configuration(rng, theirs)
        n, size = int(rng.integers(1, 8)), int(rng.integers(1, 4))
        chosen = search.LookupOptions(prompt_lookup_num_tokens=n, max_matching_ngram_size=size)
        limits = search.Limits(max_new_tokens=kept["max_new_tokens"], eos_ids=tuple(kept["eos_token_id"]))
        run = search.prompt_lookup(ours, Ids(), prompt, chosen, chain(kept), limits=limits)
        steps, (got,) = film(run)
        want = reference(theirs, prompt, kept, prompt_lookup_num_tokens=n, max_matching_ngram_size=size)
        same += same_or_near(got, want)
        accepted += counted(steps, got)[1]
        for step in steps:
            if step.source is not None:
                text = [*prompt, *got.ids]
                assert [d.token_id for d in step.drafts] == text[slice(*step.source)]
                before = step.source[0]
                assert text[before - step.ngram : before] == text[step.position - step.ngram : step.position]
    assert same >= 0.9 * COUNT


@pytest.mark.parametrize("name", MODELS)
def test_assisted_greedy(name: str) -> None:
    """The assistant of one model is another family's, and its own twin, whose drafts are all accepted."""
    ours, theirs = pair(name)
    other, their_other = pair(MODELS[(MODELS.index(name) + 1) % len(MODELS)])
    rng = np.random.default_rng(7 + sum(name.encode()))
    same = 0
    for number in range(COUNT):
        prompt, kept = configuration(rng, theirs)
        twin = number % 2 == 0
        n = int(rng.integers(1, 7))
        limits = search.Limits(max_new_tokens=kept["max_new_tokens"], eos_ids=tuple(kept["eos_token_id"]))
        chosen = search.AssistedOptions(num_assistant_tokens=n, assistant_confidence_threshold=0.0)
        run = search.assisted(
            ours, Ids(), prompt, chosen, chain(kept), assistant=ours if twin else other, limits=limits
        )
        steps, (got,) = film(run)
        drafts, accepted = counted(steps, got)
        assert drafts == accepted or not twin
        same += same_or_near(got, reference(theirs, prompt, kept, assistant_model=their_other))
    assert same >= 0.9 * COUNT
