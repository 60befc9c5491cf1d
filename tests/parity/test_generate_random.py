"""`Model.generate` against transformers' `generate`: random configurations, token for token.

The same seeded weights run on both sides, in float32. Logits differ in the last bits, so two honest runs may
part where a decision hangs on less than that: a greedy choice on a margin below 5e-4 between the best two
scores, a beam search on a gap below 5e-4 between scores, a draw of torch's on a gap below 5e-4 between the
logarithms of the best two p / E of its race of exponentials (that is how near the drawn number is to the edge
of the token's cell). Every such run is printed with its margin; they may be 2 % of all runs.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity import families
from tests.parity.goldens.shared import MARGIN, MODELS, SCORE, likely, pair, smallest_margin
from tests.parity.random_configs import SHARES, WORDS, Case, Kind, Words, draw, transformers_words
from tokenglass.errors import NoTokenAllowed
from tokenglass.model import Model

pytest.importorskip("transformers")
COUNT = 300 if FULL else 16  # for each of five families
PAD = families.VOCAB - 1
SHARE_PARTED = 0.02
NONE_YET = -1e5  # transformers' score of a beam that is none starts at -1e9


@dataclass(frozen=True)
class Reference:
    """What transformers wrote.

    Attributes:
        rows: new ids, cut where the text ended, without padding.
        scores: of beams, else empty.
        processed: for each step the (rows, V) scores after the chain; of beams unused.
        reasons: why each row ended: "eos", "stop_string" or "length".
    """

    rows: list[list[int]]
    scores: list[float]
    processed: list[np.ndarray]
    reasons: list[str]


def recomputing(size: int) -> type:
    """Guidance without a cache, for searches: transformers' own follows no beam and no rejected draft."""
    import torch
    from transformers import LogitsProcessor

    class Recomputing(LogitsProcessor):
        def __init__(self, scale: float, model: Any, unconditional_ids: Any = None, **_: Any) -> None:
            self.scale, self.model, self.ids = scale, model, unconditional_ids

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            negative = input_ids[:1, size - 1 : size] if self.ids is None else self.ids[:1]
            ids = torch.cat([negative.expand(len(input_ids), -1), input_ids[:, size:]], dim=1)
            own = torch.log_softmax(scores, dim=-1)
            other = torch.log_softmax(self.model(ids).logits[:, -1].float(), dim=-1)
            return self.scale * (own - other) + other

    return Recomputing


def reference(
    theirs: Any, case: Case, tokenizer: Any, assistant: Any, patch: pytest.MonkeyPatch
) -> Reference:
    """Transformers' texts.

    Raises:
        RuntimeError: every token of a step was banned and one was to be drawn.
    """
    import torch
    from transformers import GenerationConfig
    from transformers.generation import utils
    from transformers.generation.stopping_criteria import StopStringCriteria

    size, kept = len(case.prompt), case.theirs(tokenizer, assistant)
    with patch.context() as patched, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if case.kind not in ("greedy", "sample"):
            patched.setattr(utils, "UnbatchedClassifierFreeGuidanceLogitsProcessor", recomputing(size))
        if case.own:
            patched.setattr(theirs, "generation_config", GenerationConfig(**case.own))
        if case.seed is not None:
            torch.manual_seed(case.seed)
        out = theirs.generate(
            torch.tensor([case.prompt]),
            attention_mask=torch.ones((1, size), dtype=torch.long),
            pad_token_id=PAD,
            output_scores=True,
            return_dict_in_generate=True,
            **kept,
        )
    stops, ends = case.asked.get("stop_strings"), case.asked["eos_token_id"]
    criterion = StopStringCriteria(tokenizer, stops) if stops else None
    eos = np.atleast_1d([] if ends is None else ends).tolist()
    cut = [ended(row, size, eos, criterion) for row in out.sequences]
    beams = out.get("sequences_scores")
    return Reference(
        [ids for ids, _ in cut],
        [] if beams is None else beams.tolist(),
        [step.numpy() for step in out.scores],
        [reason for _, reason in cut],
    )


def ended(row: Any, size: int, eos: list[int], criterion: Any) -> tuple[list[int], str]:
    """A row up to its end, as transformers' own criteria see it, and the reason."""
    for i in range(size, len(row)):
        if int(row[i]) in eos:
            return row[size : i + 1].tolist(), "eos"
        if criterion is not None and bool(criterion(row[None, : i + 1], None)[0]):
            return row[size : i + 1].tolist(), "stop_string"
    return row[size:].tolist(), "length"


def race(seed: int, processed: list[np.ndarray], row: int) -> list[tuple[int, float]]:
    """For each step of a draw of torch's: the winner of the race for one row, and by how much it won."""
    import torch

    generator, found = torch.Generator().manual_seed(seed), []
    for scores in processed:
        p = torch.softmax(torch.from_numpy(scores), dim=-1)
        times = torch.empty_like(p).exponential_(1.0, generator=generator)
        best = torch.topk(torch.log(p[row]) - torch.log(times[row]), 2)
        found.append((int(best.indices[0]), float(best.values[0] - best.values[1])))
    return found


def margin_of(case: Case, got: Any, want: Reference) -> float:
    """What the first difference hung on."""
    if case.kind in ("beams", "beam_sample"):
        return smallest_margin(got.search)
    margins = []
    for row, (sequence, ids) in enumerate(zip(got.sequences, want.rows, strict=True)):
        if list(sequence.ids) == ids:
            continue
        pairs = zip(sequence.ids, ids, strict=False)
        place = next((i for i, (a, b) in enumerate(pairs) if a != b), len(ids) - 1)
        if case.seed is None:
            margins.append(sequence.steps[place].margin)
            continue
        winner, gap = race(case.seed, want.processed[: place + 1], row)[place]
        assert winner == ids[place], "the race is how torch draws"
        margins.append(gap)
    return max(margins)


def compare(ours: Model, theirs: Any, case: Case, tokenizer: Any, twins: tuple[Any, Any]) -> str:
    """One configuration on both sides: "same", "banned" (no token was left), or "parted" at a near-tie."""
    patch = pytest.MonkeyPatch()
    shown = f"{case.kind} {case.prompt} {case.ours('assistant')} with {case.own}"
    ours = Model(ours.engine, ours.tokenizer, case.own)
    try:
        got = ours.generate(case.prompt, **case.ours(twins[0]))
    except NoTokenAllowed as error:
        assert_banned(theirs, case, tokenizer, twins[1], error.position, patch)
        return "banned"
    want = reference(theirs, case, tokenizer, twins[1], patch)
    rows = want.rows
    if want.scores:  # where too few hypotheses exist, transformers fills up with beams that are none
        rows = [row for row, score in zip(rows, want.scores, strict=True) if score > NONE_YET]
    if [list(s.ids) for s in got.sequences] != rows:
        margin = margin_of(case, got, want)
        print(f"parted, deciding margin {margin:.2e}: {shown}")
        wrong = [list(s.ids) for s in got.sequences]
        assert margin < MARGIN, f"parted without a near-tie ({margin:.2e}):\n{wrong}\n{rows}\n{shown}"
        return "parted"
    for sequence, reason in zip(got.sequences, want.reasons, strict=False):
        assert sequence.finish_reason == reason, shown
        assert sequence.text == ours.detokenize(sequence.ids), shown
        assert [step.id for step in sequence.steps] == list(sequence.ids)
    for sequence, score in zip(got.sequences, want.scores, strict=False):
        penalty = case.asked["length_penalty"]
        scale = max(1.0, abs(score), len(sequence.ids) ** -penalty)  # a negative one multiplies the sum
        assert sequence.score == pytest.approx(score, abs=SCORE * scale), shown
    return "same"


def assert_banned(
    theirs: Any, case: Case, tokenizer: Any, assistant: Any, position: int, patch: pytest.MonkeyPatch
) -> None:
    """Where no token is left transformers draws from NaN, which is an error, or takes id 0."""
    try:
        want = reference(theirs, case, tokenizer, assistant, patch)
    except RuntimeError as error:
        assert "probability tensor contains" in str(error)
        return
    step = position - len(case.prompt)
    assert np.isneginf(want.processed[step]).all(axis=-1).any(), f"something was allowed: {case}"


def cases(name: str, theirs: Any, rng: np.random.Generator, kind: Kind | None = None) -> Case:
    """A configuration for a family."""
    words = rng.integers(3, PAD, int(rng.choice([1, 2, 3, 5, 8]))).tolist()
    kind = kind or rng.choice(list(SHARES), p=list(SHARES.values())).item()
    prompt = [*words, *rng.integers(3, PAD, 2).tolist(), *words[:2]] if kind == "lookup" else words
    top = likely(theirs, prompt, 40)
    pieces = [WORDS[top[0]], WORDS[top[1]][-1:] + WORDS[top[2]], WORDS[top[3]][:2], "dab", "cc", "abcab"]
    return draw(rng, kind, prompt, top, families.VOCAB, list(dict.fromkeys(pieces)))


def judged(name: str, kind: Kind | None, count: int, seed: int) -> Counter[str]:
    """How many configurations came out how."""
    engine, theirs = pair(name)
    other, their_other = pair(MODELS[(MODELS.index(name) + 1) % len(MODELS)])
    tokenizer: Any = Words()
    ours = Model(engine, tokenizer)
    rng = np.random.default_rng(seed + sum(name.encode()))
    tally: Counter[str] = Counter()
    for _ in range(count):
        case = cases(name, theirs, rng, kind)
        tally[compare(ours, theirs, case, transformers_words(), (Model(other, tokenizer), their_other))] += 1
    print(name, dict(tally))
    return tally


@pytest.mark.parametrize("name", MODELS)
def test_beam_sample(name: str) -> None:
    """Drawn without replacement from all beams at once; a record of draws has no margin, so none may part."""
    tally = judged(name, "beam_sample", COUNT // 4, 1)
    assert tally["parted"] == 0 and tally["same"] >= 0.75 * (COUNT // 4), tally


@pytest.mark.parametrize("name", MODELS)
def test_generate(name: str) -> None:
    tally = judged(name, None, COUNT, 0)
    assert tally["parted"] <= max(1, SHARE_PARTED * COUNT), f"too many near-ties: {tally}"
    assert tally["same"] >= 0.85 * COUNT, f"too many without an answer to compare: {tally}"
