"""Beam search against transformers' generate: token for token, score for score.

Both sides add float32 log-probabilities that may differ by 5e-4; sequences may part only where a decision of
the search (which beam runs on, which hypothesis is kept, when to stop) hung on a gap smaller than that.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity import families
from tests.parity.goldens.shared import (
    MARGIN,
    MODELS,
    SCORE,
    Ids,
    chain,
    consistent,
    film,
    likely,
    pair,
    smallest_margin,
    until_eos,
)
from tokenglass.search import BeamOptions, Limits, beam_search

pytest.importorskip("transformers")
COUNT = 80 if FULL else 9  # for each of five families
PAD = families.VOCAB - 1


def configuration(rng: np.random.Generator, theirs: Any) -> tuple[list[int], dict[str, Any]]:
    """A prompt and transformers' keywords; the processors bite because their tokens are likely ones."""
    prompt = rng.integers(3, families.VOCAB - 1, int(rng.integers(2, 9))).tolist()
    top = likely(theirs, prompt, 12)
    beams = int(rng.integers(2, 7))
    kept: dict[str, Any] = {
        "num_beams": beams,
        "num_return_sequences": int(rng.integers(1, beams + 1)),
        "length_penalty": float(rng.choice([-1.0, 0.0, 0.5, 1.0, 2.0])),
        "early_stopping": [False, True, "never"][rng.integers(3)],
        "max_new_tokens": int(rng.integers(1, 15)),
        "eos_token_id": rng.choice(top, int(rng.choice([1, 1, 2, 4])), replace=False).tolist(),
    }
    extra: dict[str, Any] = {
        "repetition_penalty": float(rng.choice([0.8, 1.3])),
        "no_repeat_ngram_size": int(rng.integers(1, 4)),
        "bad_words_ids": [[int(top[0])], [int(top[1]), int(top[2])]],
        "min_length": len(prompt) + int(rng.integers(1, 5)),
        "renormalize_logits": True,
        "suppress_tokens": [int(i) for i in top[:3]],
        "exponential_decay_length_penalty": (2, 1.2),
        "forced_eos_token_id": int(top[0]),
    }
    for name in rng.choice(list(extra), int(rng.integers(0, 4)), replace=False).tolist():
        kept[name] = extra[name]
    if "forced_eos_token_id" in kept:
        kept.pop("suppress_tokens", None)  # transformers refuses to force what it suppresses
    return prompt, kept


def reference(theirs: Any, prompt: list[int], kept: dict[str, Any]) -> tuple[list[list[int]], list[float]]:
    import torch

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            do_sample=False,
            pad_token_id=PAD,
            output_scores=True,
            return_dict_in_generate=True,
            **kept,
        )
    rows = [until_eos(row[len(prompt) :], kept["eos_token_id"]) for row in out.sequences.tolist()]
    # where fewer hypotheses exist than were asked for, transformers fills up with beams that are none (their
    # sums start at -1e9); here there are fewer sequences
    pairs = zip(rows, out.sequences_scores.tolist(), strict=True)
    real = [(row, score) for row, score in pairs if score > -1e5]
    return [row for row, _ in real], [score for _, score in real]


@pytest.mark.parametrize("name", MODELS)
def test_beam_search(name: str) -> None:
    ours, theirs = pair(name)
    rng = np.random.default_rng(sum(name.encode()))
    excused = []
    for number in range(COUNT):
        prompt, kept = configuration(rng, theirs)
        options = BeamOptions(**{n: kept[n] for n in BeamOptions.__dataclass_fields__ if n in kept})
        limits = Limits(max_new_tokens=kept["max_new_tokens"], eos_ids=tuple(kept["eos_token_id"]))
        steps, got = film(beam_search(ours, Ids(), prompt, options, chain(kept), limits=limits))
        rows, scores = reference(theirs, prompt, kept)
        consistent(steps, prompt)
        same = [list(s.ids) for s in got] == rows
        if not same:
            margin = smallest_margin(steps)
            print(f"{name} {number}: parted, deciding margin {margin:.2e}, {kept}")
            assert margin < MARGIN, f"parted without a near-tie (margin {margin}): {prompt} {kept}"
            excused.append(number)
            continue
        for sequence, score in zip(got, scores, strict=True):
            assert sequence.score == pytest.approx(score, abs=SCORE * max(1.0, abs(score)))
            assert sequence.finish_reason == ("eos" if sequence.ids[-1] in limits.eos_ids else "length")
            assert [step.id for step in sequence.steps] == list(sequence.ids)
            assert sequence.steps[0].position == len(prompt)
    assert len(excused) <= COUNT // 10, f"too many near-ties to have tested anything: {excused}"


def test_steps_hold_the_models_own_numbers() -> None:
    """A step's logprob is the model's, whatever the chain did; p_final is the chain's."""
    from tokenglass.numbers import log_softmax

    ours, theirs = pair("llama-grouped")
    prompt = [5, 17, 40, 99]
    kept = {"repetition_penalty": 1.3, "bad_words_ids": [[7]]}
    options, limits = BeamOptions(num_beams=3), Limits(max_new_tokens=6)
    _, (best,) = film(beam_search(ours, Ids(), prompt, options, chain(kept), limits=limits))
    rows = families.reference(theirs, [*prompt, *best.ids])
    for i, step in enumerate(best.steps):
        logprobs = log_softmax(rows[len(prompt) + i - 1])
        assert step.logprob == pytest.approx(logprobs[step.id], abs=MARGIN)
        assert [s.name for s in step.stages] == ["model", "repetition_penalty", "bad_words_ids"]
        assert [removal.stage for removal in step.removed.values()] == ["bad_words_ids"] * (7 in step.top_ids)
        assert 0 < step.p_final <= 1


def test_prefix_function_brings_back_tokens_only_where_all_beams_are_dead() -> None:
    """Tokens the chain masked before come back with score 0, but only when no beam has an allowed one."""
    import torch

    from tokenglass.stages import PrefixAllowedTokens, SuppressTokens

    ours, theirs = pair("qwen2")
    prompt = [5, 17, 40]

    def allowed(batch: int, ids: Any) -> list[int]:
        return [10, 11, 12] if len(ids) < 5 else [20 + len(ids) % 2]  # one: tokens that come back are equal

    for banned in ((20,), (20, 21), (11,)):
        stages = [SuppressTokens(banned), PrefixAllowedTokens(allowed)]
        # transformers suppresses after the prefix function, so its own processor is given in our order
        options, limits = BeamOptions(num_beams=3, num_return_sequences=2), Limits(max_new_tokens=5)
        _, got = film(beam_search(ours, Ids(), prompt, options, stages, limits=limits))
        from transformers import LogitsProcessorList
        from transformers.generation.logits_process import (
            PrefixConstrainedLogitsProcessor,
            SuppressTokensLogitsProcessor,
        )

        processors = LogitsProcessorList(
            [SuppressTokensLogitsProcessor(list(banned), "cpu"), PrefixConstrainedLogitsProcessor(allowed, 3)]
        )
        with torch.no_grad():
            out = theirs.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones((1, 3), dtype=torch.long),
                logits_processor=processors,
                num_beams=3,
                num_return_sequences=2,
                do_sample=False,
                max_new_tokens=5,
                eos_token_id=None,
                pad_token_id=PAD,
            )
        assert [list(s.ids) for s in got] == out[:, 3:].tolist()


@pytest.mark.parametrize("early_stopping", [False, True, "never"])
def test_when_time_is_up_the_beams_finish(early_stopping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`max_time` is a stopping criterion that ends every candidate at once; theirs fires here at a length."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    ours, theirs = pair("neox-4-of-16")
    rng = np.random.default_rng(5)

    class TimeIsUp(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
            return torch.full((len(input_ids),), input_ids.shape[1] >= len(prompt) + 3, dtype=torch.bool)

    for _ in range(COUNT):
        prompt = rng.integers(3, PAD, 4).tolist()
        kept = {"num_beams": 3, "num_return_sequences": 2, "early_stopping": early_stopping}
        eos = likely(theirs, prompt, 8)[5:]
        rows, scores = reference(
            theirs,
            prompt,
            {
                **kept,
                "max_new_tokens": 20,
                "eos_token_id": eos,
                "stopping_criteria": StoppingCriteriaList([TimeIsUp()]),
            },
        )
        clock = iter([0.0, 1.0, 2.0])  # the start and two steps in time
        monkeypatch.setattr("tokenglass.reading.limits.time.monotonic", lambda clock=clock: next(clock, 9.0))
        limits = Limits(max_new_tokens=20, eos_ids=tuple(eos), max_time=5.0)
        steps, got = film(beam_search(ours, Ids(), prompt, BeamOptions(**kept), (), limits=limits))
        if smallest_margin(steps) > MARGIN:
            assert [list(s.ids) for s in got] == rows
            assert [s.score for s in got] == pytest.approx(scores, abs=SCORE)
        assert len(steps) <= 3
        assert all(s.finish_reason == ("eos" if s.ids[-1] in eos else "time") for s in got)
