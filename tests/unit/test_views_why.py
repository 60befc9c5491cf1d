"""Why a token was written: sentences checked word by word against numbers made by hand.

The model's distribution is that of `PLAIN`: ·like 20.68 %, ·have 10.8 %, ·were 9.52 %, Once 4.5 %.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from tests.unit.view_samples import CUT, FORCED, GREEDY, SAMPLED, SIZE, STAGES, TRAIL, step
from tokenglass.types import Account, Effect, Removal, Stage, Step
from tokenglass.views import rows
from tokenglass.views.reasons import fallen
from tokenglass.views.stages import fate

LIKE_GONE = {8: Removal("xtc", 1, 0.2068)}
NO_LIKE = np.array([0.0, 0.4, 0.3, 0.2, 0.05, 0.05])
RESIDUAL = step(9, origin="sampled", draw=0.5, cdf=(0.25, 0.75), p_final=0.108)


def demoted(trail: list[list[float]], *names: str) -> Step:
    """·have chosen greedily after stages that left the model's favourite, ·like, these probabilities."""
    stages = (STAGES[0], *(Stage(name, {}, SIZE, 1.0, 4.0, 9) for name in names))
    table = np.array(trail, dtype=np.float32)
    return step(9, p_final=float(table[-1, 1]), top_final=table[-1], trail=table, stages=stages)


def column(*of_like: float) -> list[list[float]]:
    """Probabilities of ·like after each stage; ·have has the rest."""
    return [[p, 1.0 - p, 0.0, 0.0, 0.0, 0.0] for p in of_like]


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (GREEDY, "·like was the likeliest token: 20.7 %, ahead of ·have with 10.8 %."),
        (
            step(8, margin=0.004),
            "·like was the likeliest token: 20.7 %, ahead of ·have with 10.8 % "
            "(a near tie: 0.00400 in logits).",
        ),
        (
            step(9, p_final=0.9, top_final=NO_LIKE),
            "·have was the likeliest token after the chain (90.0 %); "
            "the model itself ranked it 2nd with 10.8 %.",
        ),
        (
            CUT,
            "·have was the likeliest token after the chain (100 %); "
            "the model itself ranked it 2nd with 10.8 %; "
            "the model's favourite ·like (20.7 %) was removed by top_k at rank 9, was 2.00 %.",
        ),
        (
            replace(CUT, removed={8: Removal("min_p", None, 0.02)}, margin=0.01, finish_reason="stop_string"),
            "·have was the likeliest token after the chain (100 %); "
            "the model itself ranked it 2nd with 10.8 %; "
            "the model's favourite ·like (20.7 %) was removed by min_p, was 2.00 % "
            "(a near tie: 0.0100 in logits); it completes a stop string, which is kept in the text.",
        ),
        (
            demoted(column(0.31, 0.29, 0.02, 0.01), "temperature", "repetition_penalty", "min_p"),
            "·have was the likeliest token after the chain (99.0 %); "
            "the model itself ranked it 2nd with 10.8 %; "
            "the model's favourite ·like fell from 29.0 % to 2.00 % at repetition_penalty.",
        ),
        (
            demoted(column(0.1, 0.1, 0.2), "repetition_penalty", "sequence_bias"),
            "·have was the likeliest token after the chain (80.0 %); "
            "the model itself ranked it 2nd with 10.8 %.",
        ),
        (
            SAMPLED,
            "The draw 0.4133 fell between 0.3440 and 0.4950, the share of ·have: "
            "2nd likeliest by the model (10.8 %), 15.1 % after the chain.",
        ),
        (
            replace(SAMPLED, removed=LIKE_GONE),
            "The draw 0.4133 fell between 0.3440 and 0.4950, the share of ·have: "
            "2nd likeliest by the model (10.8 %), 15.1 % after the chain; "
            "the model's favourite ·like (20.7 %) was removed by xtc at rank 1, was 20.7 %.",
        ),
        (
            step(9, origin="sampled", draw=0.12345678, cdf=(0.1234561, 0.1234569), p_final=8e-7),
            "The draw 0.12345678 fell between 0.12345610 and 0.12345690, the share of ·have: "
            "2nd likeliest by the model (10.8 %), 8.00e-5 % after the chain.",
        ),
        (
            RESIDUAL,
            "The draw 0.5000 fell between 0.2500 and 0.7500, the share of ·have in what was drawn from: "
            "2nd likeliest by the model (10.8 %), 10.8 % after the chain.",
        ),
        (
            step(9, origin="sampled"),
            "·have was drawn by chance: 2nd likeliest by the model (10.8 %), 10.8 % after the chain.",
        ),
        (
            FORCED,
            ", was put there by hand: 41st likeliest by the model (0.118 %), whose first choice was "
            "·like (20.7 %); then the number of tokens asked for was reached.",
        ),
        (
            step(8, origin="draft", finish_reason="eos"),
            "·like was guessed ahead and accepted: the likeliest by the model (20.7 %); it ends the text.",
        ),
        (
            step(10, origin="expanded"),
            "·were was unfolded to look ahead: 3rd likeliest by the model (9.52 %).",
        ),
        (
            step(10, origin="expanded", p_final=0.3, finish_reason="eos"),
            "·were was unfolded to look ahead: 3rd likeliest by the model (9.52 %), "
            "30.0 % after the chain; it ends the text.",
        ),
        (
            step(9),
            "·have was the search's choice: 2nd likeliest by the model (10.8 %); "
            "by itself ·like was likelier there (20.7 %).",
        ),
        (
            step(10, p_final=0.3, top_final=NO_LIKE),
            "·were was the search's choice: 3rd likeliest by the model (9.52 %); "
            "by itself ·have was likelier there (40.0 % after the chain).",
        ),
    ],
    ids=[
        *("greedy", "near-tie", "no-trail", "removed", "removed-by-a-stage-that-ranks-nothing", "demoted"),
        *("never-fell", "sampled", "favourite-gone", "narrow-cell", "residual", "no-draw", "forced", "draft"),
        *("expanded", "expanded-after-a-chain", "beam", "beam-after-a-chain"),
    ],
)
def test_why_is_one_sentence_of_numbers(choice: Step, sentence: str) -> None:
    assert choice.why() == sentence
    assert rows.to_dict(choice)["why"] == sentence


def test_trail_of_another_length_than_the_stages_is_not_believed() -> None:
    """A draft's record holds the stages but no trail; half a trail would name the wrong stage."""
    assert "fell" in demoted(column(0.3, 0.1), "a").why()
    assert "fell" not in replace(demoted(column(0.3, 0.1), "a"), trail=TRAIL).why()


def test_stage_names_of_others_are_made_safe() -> None:
    """A processor of the user's may be called anything."""
    assert "at ⟨ESC⟩[2J." in demoted(column(0.3, 0.1), "\x1b[2J").why()
    assert fallen(Removal("a\nb", 3, 0.5)) == "removed by a⏎b at rank 3, was 50.0 %"


@pytest.mark.parametrize("origin", ["greedy", "sampled", "forced", "draft", "expanded"])
def test_a_step_without_candidates_or_numbers_still_has_a_sentence(origin: str) -> None:
    """An engine that shows one token only, and a row whose probabilities are no numbers."""
    bare = step(
        8,
        origin=origin,
        top_ids=np.array([], dtype=np.int64),
        top_logits=np.array([], dtype=np.float32),
        top_final=np.array([]),
    )
    assert bare.why().endswith(".") and bare.to_dict() and str(bare)
    broken = step(
        8, origin=origin, p_final=nan, top_final=np.full(6, nan), margin=inf, cdf=(0.5, 0.5), draw=0.5
    )
    assert broken.why().endswith(".") and broken.to_dict() and str(broken)


def test_fate_of_a_token_in_one_sentence() -> None:
    token, first = CUT.token, Effect("model", 2.5, 0.108, 2)
    gone = Account(token, (first, Effect("top_p", -inf, 0.0, None)), Removal("top_p", 7, 0.031))
    assert fate(gone) == "removed by top_p at rank 7, was 3.10 %."
    ruled_out = Account(token, (Effect("model", -inf, 0.0, None),), Removal("model", None, 0.0))
    assert fate(ruled_out) == "ruled out by the model itself."
    assert fate(Account(token, (first,))) == "no stage touched it: 2nd with 10.8 %."
    kept = Account(token, (first, Effect("temperature", 5.0, 0.5, 1)))
    assert fate(kept) == "kept: 1st with 50.0 %, was 2nd with 10.8 % by the model."
