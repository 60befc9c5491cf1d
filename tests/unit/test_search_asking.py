"""What every strategy owes each step: a way back to the whole row, and one sentence where a row is none."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.support import EOS, SIZE, model, writes

PROMPT = "The capital of France is"
STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sample": {"do_sample": True, "num_return_sequences": 2},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "beam sampling": {"num_beams": 2, "do_sample": True},
    "guided beams": {"num_beams": 2, "guidance_scale": 1.5},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.5, "num_return_sequences": 4},
    "constrained": {"num_beams": 2, "force_words_ids": [[260]]},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "dola": {"dola_layers": "low"},
    "drawn dola": {"dola_layers": "low", "do_sample": True},
    "lookup": {"prompt_lookup_num_tokens": 3},
    "drawn lookup": {"prompt_lookup_num_tokens": 3, "do_sample": True},
    "assisted": {"assistant_model": "itself"},
    "drawn assisted": {"assistant_model": "itself", "do_sample": True},
}


def keywords(name: str, assistant: Any) -> dict[str, Any]:
    given = dict(STRATEGIES[name])
    if "assistant_model" in given:
        given["assistant_model"] = assistant
    return {**given, "seed": 1} if "do_sample" in given else given


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_step_can_be_asked_again(name: str, smollm2: Any) -> None:
    """Read alone and from its beginning, a path gives the numbers it gave among others, with a cache.

    Both are float32 runs of the model in another shape: 1e-5 on probabilities.
    """
    out = smollm2.generate(PROMPT, max_new_tokens=5, repetition_penalty=1.2, **keywords(name, smollm2))
    for sequence in out.sequences:
        for step in sequence.steps:
            effects = step.account(step.id).effects
            assert [effect.stage for effect in effects] == [stage.name for stage in step.stages]
            assert effects[0].p == pytest.approx(step.p, abs=1e-5)
            assert effects[-1].p == pytest.approx(step.p_final, abs=1e-5)


def all_nan(scores: np.ndarray) -> np.ndarray:
    return scores * np.nan


def one_nan(scores: np.ndarray) -> np.ndarray:
    scores[7] = np.nan
    return scores


def one_infinite(scores: np.ndarray) -> np.ndarray:
    scores[7] = np.inf
    return scores


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_row_that_is_none_is_refused_by_the_name_of_its_stage(name: str, smollm2: Any) -> None:
    given = keywords(name, smollm2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        for breaks in (all_nan, one_nan, one_infinite):
            message = rf"stage '{breaks.__name__}' made a score NaN or \+inf at position 5; mend it, or set"
            with pytest.raises(ValueError, match=message):
                smollm2.generate(PROMPT, max_new_tokens=3, logits_processor=[breaks], typical_p=0.5, **given)
        everything = list(range(smollm2.info.vocab_size))
        with pytest.raises(tg.NoTokenAllowed, match=r"position 5 \(banned by suppress_tokens\)"):
            smollm2.generate(PROMPT, max_new_tokens=3, suppress_tokens=everything, **given)


def test_torchs_draws_refuse_it_too(smollm2: Any) -> None:
    pytest.importorskip("torch")
    for more in ({}, {"num_beams": 2}):
        with pytest.raises(ValueError, match="stage 'one_nan' made"):
            smollm2.generate(PROMPT, do_sample=True, rng="torch", seed=1, logits_processor=[one_nan], **more)


@pytest.mark.parametrize(
    "more",
    [
        {"num_beams": 2},
        {"num_beams": 2, "do_sample": True, "seed": 1},
        {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.1},
        {"num_beams": 2, "force_words_ids": [[70]]},
    ],
    ids=["beams", "beam sampling", "groups", "constrained"],
)
def test_running_scores_beyond_float32_are_refused(more: dict[str, Any]) -> None:
    """Two steps of 3e38 are more than float32 holds (3.4e38); without beams nothing is added up."""
    m, bias = model(writes("ab")), {65: 3e38, 66: 3e38}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(ValueError, match="running score would grow beyond float32"):
            m.generate("a", logit_bias=bias, max_new_tokens=3, **more)
        assert m.generate("a", logit_bias=bias, max_new_tokens=3).text == "AAA"


@pytest.mark.parametrize("more", [{}, {"prompt_lookup_num_tokens": 2}, {"num_beams": 2}])
def test_broken_logits_are_repaired_in_searches_too(more: dict[str, Any]) -> None:
    """A NaN becomes 0, above the only other token's -1; a beam's log-softmax is all NaN, and then all 0."""
    row = np.full(SIZE, -np.inf, dtype=np.float32)
    row[[3, 4]] = np.nan, -1.0
    out = model(lambda ids: row).generate("aaaa", remove_invalid_values=True, max_new_tokens=2, **more)
    assert out.ids == ((0, 0) if "num_beams" in more else (3, 3))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"num_beams": 2},
        {"num_beams": 2, "num_beam_groups": 2, "diversity_penalty": 0.1},
        {"prompt_lookup_num_tokens": 2},
        {"preset": "llama.cpp", "seed": 1},
    ],
    ids=["greedy", "beams", "groups", "lookup", "llama.cpp"],
)
def test_a_complete_text_ends_where_no_end_may_be_written(more: dict[str, Any]) -> None:
    """The grammar wants the end of the text next, and another stage forbids it."""
    pytest.importorskip("llguidance")
    m = model(writes("xab"))
    whole = m.generate("x", regex="ab", **more)
    assert (whole.ids, whole.finish_reason) == ((*b"ab", EOS), "eos")
    for forbids in ({"ignore_eos": True}, {"logit_bias": {EOS: -np.inf}}, {"eos_token_id": None}):
        out = m.generate("x", regex="ab", **forbids, **more)
        assert (out.ids, out.finish_reason) == (tuple(b"ab"), "grammar")
