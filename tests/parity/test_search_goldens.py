"""Contrastive search and DoLa against transformers 4.55.4, group and constrained beams against 4.56.2.

The goldens were made by those releases (`goldens/make.py`); the models are made again from their seeds, and
their weights must have the golden's checksum. Texts may part only where the decision hung on less than the
tolerance: 5e-4 on log-probabilities and scores; 1e-6 on DoLa's divergences, which are means over 211 tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FULL
from tests.parity.goldens.shared import (
    MARGIN,
    MODELS,
    SCORE,
    Ids,
    chain,
    checksum,
    consistent,
    film,
    pair,
    smallest_margin,
    until_eos,
)
from tokenglass import search

pytest.importorskip("transformers")
HERE = Path(__file__).resolve().parent / "goldens"
EVERY = 1 if FULL else 3
DIVERGENCE = 1e-6


def golden(kind: str, name: str) -> tuple[Any, Any, list[dict[str, Any]]]:
    """The engine, transformers' model and the cases."""
    entry = json.loads((HERE / f"{kind}.json").read_text())["models"][name]
    ours, theirs = pair(name)
    assert checksum(theirs) == entry["sha256"], "this is another model than the golden's"
    return ours, theirs, entry["cases"][::EVERY]


def options(kind: type, fields: dict[str, Any]) -> Any:
    return kind(**{n: fields[n] for n in kind.__dataclass_fields__ if n in fields})  # type: ignore[attr-defined]


def limits(fields: dict[str, Any]) -> search.Limits:
    return search.Limits(max_new_tokens=fields["max_new_tokens"], eos_ids=tuple(fields["eos_token_id"]))


def compare_beams(
    case: dict[str, Any], steps: list[search.BeamStep], got: tuple[Any, ...], eos: list[int]
) -> bool:
    """Whether all sequences and scores are the same; where not, the search must have hung on a near-tie."""
    # 4.56.2 writes the first eos id whichever one was chosen, and none where the length ran out with it
    ours = [[eos[0] if i in eos else i for i in s.ids] for s in got]
    # a text with a masked token in it (score -inf, null in the golden) is never returned here
    scores = case["scores"] or [0.0] * len(case["rows"])
    rows = [until_eos(row, eos) for row, s in zip(case["rows"], scores, strict=True) if s is not None]
    same = len(ours) == len(rows) and all(
        a == b or (a[-1] in eos and a[:-1] == b) for a, b in zip(ours, rows, strict=True)
    )
    if not same:
        margin = smallest_margin(steps)
        print(f"parted, deciding margin {margin:.2e}: {case}")
        assert margin < MARGIN, f"parted without a near-tie (margin {margin}): {ours} {case}"
        return False
    real = [score for score in case["scores"] or [] if score is not None]
    for sequence, score in zip(got, real, strict=case["scores"] is not None):
        assert sequence.score == pytest.approx(score, abs=SCORE * max(1.0, abs(score)))
    return True


@pytest.mark.parametrize("name", MODELS)
def test_group_beams(name: str) -> None:
    ours, _, cases = golden("groups", name)
    same = 0
    for case in cases:
        fields = case["fields"]
        chosen = options(search.DiverseBeamOptions, fields | {"pad_token_id": 210})
        run = search.diverse_beam_search(
            ours, Ids(), case["prompt"], chosen, chain(fields), limits=limits(fields)
        )
        steps, got = film(run)
        consistent(steps, case["prompt"])
        same += compare_beams(case, steps, got, fields["eos_token_id"])
    assert same >= 0.9 * len(cases)


@pytest.mark.parametrize("name", MODELS)
def test_constrained_beams(name: str) -> None:
    ours, _, cases = golden("constrained", name)
    same = 0
    for case in cases:
        fields = case["fields"]
        run = search.constrained_beam_search(
            ours,
            Ids(),
            case["prompt"],
            options(search.ConstrainedBeamOptions, fields),
            chain(fields),
            limits=limits(fields),
        )
        steps, got = film(run)
        consistent(steps, case["prompt"])
        same += compare_beams(case, steps, got, fields["eos_token_id"])
    assert same >= 0.9 * len(cases)


@pytest.mark.parametrize("name", MODELS)
def test_contrastive_search(name: str) -> None:
    ours, _, cases = golden("contrastive", name)
    same = 0
    for case in cases:
        fields = case["fields"]
        run = search.contrastive_search(
            ours,
            Ids(),
            case["prompt"],
            options(search.ContrastiveOptions, fields),
            chain(fields),
            limits=limits(fields),
        )
        steps, (got,) = film(run)
        same += compare_line(
            case,
            got,
            [min(s.margin or 0.0, s.margin_top_k or 1.0) < MARGIN for s in steps],
            fields["eos_token_id"],
        )
        alpha = fields["penalty_alpha"]
        for step in steps:
            assert max(step.rows, key=lambda row: row.score).chosen
            for row in step.rows:
                assert row.score == pytest.approx((1 - alpha) * row.p - alpha * row.cosine, abs=1e-6)
    assert same >= 0.9 * len(cases)


def compare_line(case: dict[str, Any], got: Any, near: list[bool], eos: list[int]) -> bool:
    """Whether the text is the same; where not, a step up to there must have been a near-tie."""
    (row,) = case["rows"]
    row = until_eos(row, eos)
    if list(got.ids) == row:
        return True
    place = next((i for i, (a, b) in enumerate(zip(got.ids, row, strict=False)) if a != b), len(row) - 1)
    assert any(near[: place + 1]), f"parted at {place} without a near-tie: {got.ids} {case}"
    return False


@pytest.mark.parametrize("name", MODELS)
def test_dola(name: str) -> None:
    ours, theirs, cases = golden("dola", name)
    same = 0
    for case in cases:
        fields = case["fields"]
        run = search.dola(
            ours,
            Ids(),
            case["prompt"],
            options(search.DolaOptions, fields),
            chain(fields),
            limits=limits(fields),
            tie_word_embeddings=theirs.config.tie_word_embeddings,
        )
        steps, (got,) = film(run)
        near = [
            (s.margin is not None and s.margin < MARGIN)
            or s.cut_margin < MARGIN
            or (s.layer_margin is not None and s.layer_margin < DIVERGENCE)
            for s in steps
        ]
        same += compare_line(case, got, near, fields["eos_token_id"])
        for step, written in zip(steps, got.steps, strict=True):
            assert step.contrast == pytest.approx(step.final_logprob - step.layer_logprob, abs=1e-5)
            assert written.logprob == pytest.approx(step.final_logprob, abs=1e-5)
            assert written.stages[1].name == "dola_layers" and written.stages[1].alive == step.alive
    assert same >= 0.8 * len(cases)  # one of 211 tokens lies near the one-tenth mark more often
