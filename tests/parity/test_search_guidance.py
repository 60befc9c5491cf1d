"""Guidance in searches, against transformers.

Its processor reads the second row's history without following the beams: each row continues what stood in
that row one step before, whichever beam is there now. Here every beam has its own history, so the beams'
reference is transformers' own chain with that one method replaced by a fresh reading of negative prompt and
text. The searches that write one text are compared with `generate` as it is.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity import families
from tests.parity.goldens.shared import MARGIN, MODELS, SCORE, Ids, chain, film, pair, smallest_margin
from tokenglass import search
from tokenglass.search import BeamOptions, Limits, beam_search
from tokenglass.stages import GuidanceScale

pytest.importorskip("transformers")
COUNT = 40 if FULL else 6  # for each of five families
PAD = families.VOCAB - 1


def configuration(rng: np.random.Generator) -> tuple[list[int], list[int] | None, float, dict[str, Any]]:
    """A prompt, perhaps a negative one (shorter or longer), the scale, and other keywords."""
    prompt = rng.integers(3, PAD, int(rng.integers(1, 7))).tolist()
    negative = rng.integers(3, PAD, int(rng.integers(1, 10))).tolist() if rng.random() < 0.6 else None
    kept: dict[str, Any] = {"max_new_tokens": int(rng.integers(2, 11))}
    if rng.random() < 0.5:
        kept["repetition_penalty"] = float(rng.choice([0.7, 1.4]))
    if rng.random() < 0.5:
        kept["no_repeat_ngram_size"] = 2
    return prompt, negative, float(rng.choice([-0.5, 0.0, 1.5, 3.0])), kept


def reference(
    theirs: Any, prompt: list[int], negative: list[int] | None, scale: float, **kept: Any
) -> tuple[list[list[int]], Any]:
    import torch

    if negative is not None:
        kept["negative_prompt_ids"] = torch.tensor([negative])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            guidance_scale=scale,
            do_sample=False,
            pad_token_id=PAD,
            eos_token_id=None,
            output_scores=True,
            return_dict_in_generate=True,
            **kept,
        )
    scores = out.sequences_scores.tolist() if "sequences_scores" in out else None
    return out.sequences[:, len(prompt) :].tolist(), scores


@pytest.fixture
def own_histories(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes transformers' processor read each beam's own history; call it with the prompt before a run."""
    import torch
    from transformers.generation import logits_process

    kind = logits_process.UnbatchedClassifierFreeGuidanceLogitsProcessor

    def prepare(prompt: list[int], negative: list[int] | None) -> None:
        first = torch.tensor([prompt[-1:] if negative is None else negative])

        def reread(self: Any, input_ids: Any) -> Any:
            text = input_ids[:, len(prompt) :]
            ids = torch.cat([first.expand(len(text), -1), text], dim=1)
            return self.model(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits

        monkeypatch.setattr(kind, "get_unconditional_logits", reread)

    return prepare


@pytest.mark.parametrize("name", MODELS)
def test_guided_beams(name: str, own_histories: Any) -> None:
    ours, theirs = pair(name)
    rng = np.random.default_rng(sum(name.encode()) + 7)
    excused, reordered = [], 0
    for number in range(COUNT):
        prompt, negative, scale, kept = configuration(rng)
        beams = int(rng.integers(2, 6))
        own_histories(prompt, negative)
        rows, scores = reference(
            theirs, prompt, negative, scale, num_beams=beams, num_return_sequences=beams, **kept
        )
        options = BeamOptions(num_beams=beams, num_return_sequences=beams)
        limits = Limits(max_new_tokens=kept["max_new_tokens"])
        stages = [GuidanceScale(scale), *chain(kept)]
        other = prompt[-1:] if negative is None else negative
        steps, got = film(
            beam_search(ours, Ids(), prompt, options, stages, limits=limits, negative_ids=other)
        )
        reordered += any(
            [c.parent for c in step.candidates if c.becomes is not None] != list(range(beams))
            for step in steps[1:-1]
        )
        if [list(s.ids) for s in got] != rows:
            margin = smallest_margin(steps)
            assert margin < MARGIN * max(1.0, abs(scale)), f"parted without a near-tie ({margin}): {number}"
            excused.append(number)
            continue
        for sequence, score in zip(got, scores, strict=True):
            # guidance multiplies the rounding of both rows by its scale
            assert sequence.score == pytest.approx(score, abs=SCORE * max(1.0, abs(score)) * (1 + abs(scale)))
    assert len(excused) <= max(1, COUNT // 10)
    assert reordered, "no beam ever changed its row: nothing was tested"


def test_transformers_as_it_is_where_no_beam_changes_its_row() -> None:
    """Its processor is right as long as every beam stays in its row; with one new token it always does."""
    ours, theirs = pair("gpt2")
    rng = np.random.default_rng(11)
    for _ in range(COUNT):
        prompt, _, scale, kept = configuration(rng)
        kept["max_new_tokens"] = 1
        rows, scores = reference(theirs, prompt, None, scale, num_beams=3, num_return_sequences=3, **kept)
        options, limits = BeamOptions(num_beams=3, num_return_sequences=3), Limits(max_new_tokens=1)
        stages = [GuidanceScale(scale), *chain(kept)]
        run = beam_search(ours, Ids(), prompt, options, stages, limits=limits, negative_ids=prompt[-1:])
        _, got = film(run)
        assert [list(s.ids) for s in got] == rows
        assert [s.score for s in got] == pytest.approx(scores, abs=SCORE * (1 + abs(scale)))


@pytest.mark.parametrize("name", ["gpt2", "llama-grouped", "qwen3"])
def test_guided_drafts_write_what_greedy_writes(name: str) -> None:
    """Prompt lookup and assisted decoding of one text: `generate(guidance_scale=...)` with one beam."""
    ours, theirs = pair(name)
    stranger, _ = pair("qwen2")
    rng = np.random.default_rng(sum(name.encode()) + 13)
    accepted, same = 0, 0
    for number in range(COUNT):
        prompt, negative, scale, kept = configuration(rng)
        prompt = [*prompt, *prompt, *prompt[:1]]  # something to look up
        kept["max_new_tokens"] = 16
        rows, _ = reference(theirs, prompt, negative, scale, **kept)
        stages = [GuidanceScale(scale), *chain(kept)]
        other = prompt[-1:] if negative is None else negative
        limits = Limits(max_new_tokens=16)
        runs = [
            search.prompt_lookup(
                ours, Ids(), prompt, search.LookupOptions(), stages, limits=limits, negative_ids=other
            ),
            search.assisted(
                ours,
                Ids(),
                prompt,
                search.AssistedOptions(num_assistant_tokens=4, assistant_confidence_threshold=0.0),
                stages,
                assistant=stranger if number % 2 else ours,  # whose drafts are all wrong, or all right
                limits=limits,
                negative_ids=other,
            ),
            # without the penalty of likeness contrastive search is greedy
            search.contrastive_search(
                ours,
                Ids(),
                prompt,
                search.ContrastiveOptions(penalty_alpha=0.0, top_k=2),
                stages,
                limits=limits,
                negative_ids=other,
            ),
        ]
        for run in runs:
            steps, (got,) = film(run)
            accepted += sum(getattr(step, "accepted", 0) for step in steps)
            if list(got.ids) == rows[0]:
                same += 1
                continue
            place = next(i for i, (a, b) in enumerate(zip(got.ids, rows[0], strict=True)) if a != b)
            near = min(step.margin for step in got.steps[: place + 1])
            assert near < MARGIN * max(1.0, abs(scale)), f"parted at {place} without a near-tie ({near})"
    assert accepted, "no draft was ever accepted: nothing was tested"
    assert same >= 3 * COUNT - max(1, COUNT // 5)


def test_dola_is_guided_by_the_other_readings_last_layer() -> None:
    """Worked out in float64: s (lp - lp_u) + lp_u, with lp of the contrast and lp_u of the last layer."""
    from tokenglass.numbers import log_softmax

    ours, theirs = pair("llama-grouped")
    prompt, negative, scale = [5, 17, 40, 99], [7, 8], 2.5
    limits = Limits(max_new_tokens=4)
    plain = search.dola(
        ours,
        Ids(),
        prompt,
        search.DolaOptions(dola_layers="high"),
        (),
        limits=limits,
        tie_word_embeddings=False,
    )
    contrast = next(plain)
    (step, *_), _ = film(
        search.dola(
            ours,
            Ids(),
            prompt,
            search.DolaOptions(dola_layers="high"),
            [GuidanceScale(scale)],
            limits=limits,
            tie_word_embeddings=False,
            negative_ids=negative,
        )
    )
    layers = theirs_layers(theirs, prompt)
    final, base = log_softmax(layers[-1]), log_softmax(layers[contrast.layer])
    alive = final >= final.max() + np.log(0.1)
    contrasted = np.where(alive, final - base, -np.inf).astype(np.float32)
    own, other = log_softmax(contrasted), log_softmax(families.reference(theirs, negative)[-1])
    guided = np.where(alive, scale * (own - other) + other, -np.inf)
    ranked = np.sort(guided)[::-1]
    assert step.token_id == int(guided.argmax())
    assert step.margin == pytest.approx(ranked[0] - ranked[1], abs=MARGIN * scale)


def theirs_layers(theirs: Any, ids: list[int]) -> list[np.ndarray]:
    """Logits of every layer at the last position, without the final norm except in the last one."""
    import torch

    with torch.no_grad():
        hidden = theirs(torch.tensor([ids]), output_hidden_states=True).hidden_states
        return [theirs.lm_head(state[0, -1]).numpy() for state in hidden]


def test_guidance_without_a_second_reading_says_so() -> None:
    ours, _ = pair("gpt2")
    with pytest.raises(ValueError, match="negative_ids must hold at least one id"):
        film(beam_search(ours, Ids(), [5], BeamOptions(), limits=Limits(), negative_ids=[]))
    with pytest.raises(ValueError, match="guidance_scale needs a second row"):
        film(beam_search(ours, Ids(), [5], BeamOptions(), [GuidanceScale(2.0)], limits=Limits()))


def test_a_long_negative_prompt_ends_the_text_where_it_fills_the_context() -> None:
    """Both readings must fit: 256 positions less a negative prompt of 250 leave 6 tokens to write."""
    ours, _ = pair("gpt2")
    negative = [(7 * i) % 200 + 3 for i in range(250)]
    run = beam_search(
        ours,
        Ids(),
        [5, 6],
        BeamOptions(),
        [GuidanceScale(1.5)],
        limits=Limits(max_new_tokens=50),
        negative_ids=negative,
    )
    _, (got,) = film(run)
    assert (len(got.ids), got.finish_reason) == (6, "context")
