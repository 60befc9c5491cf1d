"""The searches on table engines: small enough to enumerate, so that exact arithmetic is the reference."""

from __future__ import annotations

from collections import Counter
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from scipy.stats import chisquare, entropy

from tests.conftest import FULL
from tests.support import EOS, SIZE, ByteTokenizer, writes
from tokenglass import search
from tokenglass.engines.table import TableEngine
from tokenglass.errors import ContextOverflow, NoTokenAllowed, Unsupported
from tokenglass.random import Philox
from tokenglass.search.hypotheses import Finished, NBest
from tokenglass.stages import GuidanceScale, Row, SuppressTokens, Temperature, TopK
from tokenglass.stages.books import overview

NAMES: Any = ByteTokenizer()


def film(run: Any) -> tuple[list[Any], tuple[Any, ...]]:
    steps = []
    while True:
        try:
            steps.append(next(run))
        except StopIteration as end:
            return steps, end.value


def table(size: int, seed: int, **options: Any) -> TableEngine:
    """Logits that depend on the last two ids."""
    rows = np.random.default_rng(seed).normal(size=(size, size, size)).astype(np.float32)
    return TableEngine(lambda ids: rows[ids[-2] if len(ids) > 1 else 0, ids[-1]], size, **options)


def logprobs(engine: TableEngine, ids: tuple[int, ...]) -> np.ndarray:
    from tokenglass.engines.base import Prefix

    forward = engine.forward([Prefix(ids)])
    assert forward.logits is not None
    row = forward.logits[0, -1].astype(np.float64)
    return row - np.log(np.exp(row).sum())


def test_wide_beams_find_the_best_of_all() -> None:
    """With as many beams as continuations nothing is pruned: the result is the argmax over all 5 ** 3."""
    engine = table(5, 1)
    options = search.BeamOptions(num_beams=30, early_stopping="never", length_penalty=0.0)
    _, (got,) = film(search.beam_search(engine, NAMES, [2], options, limits=search.Limits(max_new_tokens=3)))
    sums = {
        ids: sum(logprobs(engine, (2, *ids[:i]))[ids[i]] for i in range(3))
        for ids in product(range(5), repeat=3)
    }
    best = max(sums, key=lambda ids: sums[ids])
    assert got.ids == best
    assert got.score == pytest.approx(sums[best], abs=1e-5)


def test_length_penalty_decides_between_short_and_long() -> None:
    """Sums ln .25 at length 1 and ln(.75 * .816) at length 2: a penalty of -3 turns their order round."""
    rule = {0: np.log([1e-9, 0.75, 0.25]), 1: np.log([1e-9, 0.184, 0.816]), 2: np.zeros(3)}
    engine = TableEngine(lambda ids: rule[ids[-1]], 3)
    limits = search.Limits(max_new_tokens=2, eos_ids=(2,))
    for penalty, want in ((0.0, (1, 2)), (-3.0, (2,))):
        options = search.BeamOptions(num_beams=2, length_penalty=penalty, early_stopping="never")
        _, (got,) = film(search.beam_search(engine, NAMES, [0], options, limits=limits))
        # ln(.75 * .816) = -.491 at length 2, ln .25 = -1.386 at length 1; times 2 ** 3 = 8: -3.93 < -1.386
        assert got.ids == want
        total = np.log(0.75 * 0.816) if len(want) == 2 else np.log(0.25)
        assert got.score == pytest.approx(total / len(want) ** penalty, abs=1e-5)


def test_candidates_say_why() -> None:
    engine = table(6, 3)
    limits = search.Limits(max_new_tokens=4, eos_ids=(4, 5))
    options = search.BeamOptions(num_beams=2, num_return_sequences=2)
    steps, _ = film(search.beam_search(engine, NAMES, [1], options, limits=limits))
    fates = Counter(c.fate for step in steps for c in step.candidates)
    assert fates["runs"] and fates["banked"] and fates["pruned"]
    assert all(c.why for step in steps for c in step.candidates)
    assert all(step.stop is None for step in steps[:-1]) and steps[-1].stop
    for step in steps:
        assert len(step.candidates) <= 3 * 2  # (1 + two eos ids) * two beams
        for c in step.candidates:
            late = c.finish_reason is not None and c.rank > 2
            assert not late or (c.fate == "pruned" and "only the first 2" in c.why)


def without_replacement(p: np.ndarray, order: tuple[int, ...]) -> float:
    left, chance = 1.0, 1.0
    for i in order:
        chance *= p[i] / left
        left -= p[i]
    return chance


def law_of_beam_sampling(engine: TableEngine) -> dict[tuple[int, ...], float]:
    """Two beams, two tokens, six ids, no eos.

    Four of the first step's six are drawn, and the better two run on. Of the second step's twelve the first
    two drawn are finished, and the better one is returned.
    """
    first = logprobs(engine, (0,))
    law: Counter[tuple[int, ...]] = Counter()
    for drawn in permutations(range(6), 4):
        chance = without_replacement(np.exp(first), drawn)
        a, b = sorted(drawn, key=lambda i: -first[i])[:2]
        sums = np.concatenate([first[t] + logprobs(engine, (0, t)) for t in (a, b)])
        p = np.exp(sums) / np.exp(sums).sum()
        for pair in permutations(range(12), 2):
            best = max(pair, key=lambda i: sums[i])
            law[(a, b)[best // 6], best % 6] += chance * without_replacement(p, pair)
    assert sum(law.values()) == pytest.approx(1.0)
    return dict(law)


def assert_law(counts: Counter[Any], law: dict[Any, float]) -> None:
    """Chi-square at one in ten thousand; outcomes expected less than five times are taken together."""
    n = sum(counts.values())
    assert all(law.get(key, 0.0) > 0.0 for key in counts)
    often = [key for key in law if n * law[key] >= 5]
    seen = [counts[key] for key in often]
    want = [n * law[key] for key in often]
    seen, want = [*seen, n - sum(seen)], [*want, n - sum(want)]
    if want[-1] < 1e-9:
        seen, want = seen[:-1], want[:-1]
    assert chisquare(seen, want).pvalue > 1e-4


def test_beam_sampling_has_its_exact_law() -> None:
    engine = table(6, 5)
    options = search.BeamOptions(num_beams=2, do_sample=True)
    limits = search.Limits(max_new_tokens=2)
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(10_000 if FULL else 1_500):
        run = search.beam_search(engine, NAMES, [0], options, limits=limits, source=Philox(seed))
        _, (got,) = film(run)
        counts[got.ids] += 1
    assert_law(counts, law_of_beam_sampling(engine))


def test_beam_sampling_never_draws_what_the_chain_removed() -> None:
    engine = table(9, 6)
    options = search.BeamOptions(num_beams=3, do_sample=True, num_return_sequences=3)
    limits = search.Limits(max_new_tokens=5)
    for seed in range(20):
        chain = [Temperature(2.0), TopK(2)]
        run = search.beam_search(engine, NAMES, [0], options, chain, limits=limits, source=Philox(seed))
        _, got = film(run)
        for sequence in got:
            assert all(step.p_final > 0 and step.rank <= 2 for step in sequence.steps)
            assert all(step.origin == "sampled" for step in sequence.steps)


def test_same_seed_same_beams() -> None:
    engine = table(9, 7)
    options = search.BeamOptions(num_beams=3, do_sample=True)
    limits = search.Limits(max_new_tokens=5)
    runs = [
        film(search.beam_search(engine, NAMES, [0], options, limits=limits, source=Philox(seed)))[0]
        for seed in (3, 3, 4)
    ]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("threshold", [0.0, 0.35])
def test_speculative_sampling_keeps_the_models_law(threshold: float) -> None:
    """Two tokens of four: the joint law is p(a) p(b | a), whatever the assistant believes."""
    engine, other = table(4, 8), table(4, 9)
    options = search.AssistedOptions(
        num_assistant_tokens=3, assistant_confidence_threshold=threshold, do_sample=True
    )
    limits = search.Limits(max_new_tokens=3)
    law = {
        (a, b, c): float(
            np.exp(logprobs(engine, (0,))[a] + logprobs(engine, (0, a))[b] + logprobs(engine, (0, a, b))[c])
        )
        for a, b, c in product(range(4), repeat=3)
    }
    counts: Counter[tuple[int, ...]] = Counter()
    verdicts: Counter[str] = Counter()
    for seed in range(10_000 if FULL else 1_500):
        run = search.assisted(
            engine, NAMES, [0], options, assistant=other, limits=limits, source=Philox(seed)
        )
        steps, (got,) = film(run)
        counts[got.ids] += 1
        verdicts.update(d.verdict for step in steps for d in step.drafts)
        for draft in (d for step in steps for d in step.drafts if d.ratio is not None):
            assert (draft.draw <= draft.ratio) == (draft.verdict == "accepted")
            assert draft.ratio == pytest.approx(draft.p / draft.q)
    assert verdicts["accepted"] > 100 and verdicts["rejected"] > 100
    assert_law(counts, law)


def test_sampled_lookup_equals_plain_sampling() -> None:
    """The draws belong to positions, so copying ahead changes no token."""
    engine = table(4, 10)
    limits = search.Limits(max_new_tokens=20)
    accepted = 0
    for seed in range(20):
        texts = []
        for n in (1, 6):
            options = search.LookupOptions(
                prompt_lookup_num_tokens=n, max_matching_ngram_size=n, do_sample=True
            )
            run = search.prompt_lookup(
                engine, NAMES, [0, 1, 2, 0, 1], options, limits=limits, source=Philox(seed)
            )
            steps, (got,) = film(run)
            texts.append(got.ids)
            accepted += sum(step.accepted for step in steps)
        assert texts[0] == texts[1]
    assert accepted > 20


def test_stop_string_ends_inside_a_round() -> None:
    """The model copies "abcabcabc..."; drafts are accepted up to the token that completes the stop string."""
    engine = TableEngine(writes("abcabcabcabcabcabc"), SIZE)
    limits = search.Limits(max_new_tokens=15, eos_ids=(EOS,), stop_strings=("cabca",))
    options = search.LookupOptions(prompt_lookup_num_tokens=8, max_matching_ngram_size=3)
    steps, (got,) = film(search.prompt_lookup(engine, NAMES, list(b"abcabcabca"), options, limits=limits))
    assert got.text == "bca" and got.finish_reason == "stop_string"
    assert steps[-1].bonus is None and steps[-1].drafts[-1].verdict == "unread"


def test_beams_end_with_stop_strings_time_and_context() -> None:
    engine = TableEngine(writes("hello world"), SIZE, context_length=8)
    options = search.BeamOptions(num_beams=2)

    def run(**limits: Any) -> Any:
        return film(search.beam_search(engine, NAMES, list(b"he"), options, limits=search.Limits(**limits)))[
            1
        ][0]

    stopped = run(max_new_tokens=5, stop_strings=("lo",))
    assert stopped.text == "llo" and stopped.finish_reason == "stop_string"
    assert run(max_new_tokens=5, max_time=1e-9).finish_reason == "time"
    assert run(max_new_tokens=20).finish_reason == "context"
    assert run(max_length=4).finish_reason == "length"


def test_nothing_allowed_is_said() -> None:
    engine, limits = table(4, 11), search.Limits(max_new_tokens=3)
    chain = [SuppressTokens((0, 1, 2, 3))]
    runs = [
        search.beam_search(engine, NAMES, [0], search.BeamOptions(num_beams=2), chain, limits=limits),
        search.diverse_beam_search(
            engine, NAMES, [0], search.DiverseBeamOptions(num_beams=2), chain, limits=limits
        ),
        search.constrained_beam_search(
            engine, NAMES, [0], search.ConstrainedBeamOptions(force_words_ids=[[1]]), chain, limits=limits
        ),
        search.prompt_lookup(engine, NAMES, [0], search.LookupOptions(), chain, limits=limits),
    ]
    for run in runs:
        with pytest.raises(NoTokenAllowed):
            next(run)


def test_forced_words_appear() -> None:
    engine = table(8, 12)
    options = search.ConstrainedBeamOptions(num_beams=4, force_words_ids=[[6, 7], [[3], [5, 4]]])
    steps, (got,) = film(
        search.constrained_beam_search(engine, NAMES, [0], options, limits=search.Limits(max_new_tokens=6))
    )
    pairs = set(zip(got.ids, got.ids[1:], strict=False))
    assert (6, 7) in pairs and (3 in got.ids or (5, 4) in pairs)
    assert any(c.forced and c.fate == "runs" for step in steps for c in step.candidates)
    assert {s.origin for s in got.steps} == {"greedy"}  # "forced" is what a person put there


def test_groups_avoid_each_other() -> None:
    """One beam each and a penalty no score can pay: at the first step the groups choose different tokens."""
    engine = table(8, 13)
    limits = search.Limits(max_new_tokens=3)
    options = search.DiverseBeamOptions(
        num_beams=4, num_beam_groups=4, diversity_penalty=100.0, num_return_sequences=4
    )
    steps, got = film(search.diverse_beam_search(engine, NAMES, [0], options, limits=limits))
    assert len({sequence.ids[0] for sequence in got}) == 4
    assert [sum(n for _, n in taken) for taken in steps[0].penalties] == [0, 1, 2, 3]


def test_no_hidden_states_no_contrast() -> None:
    engine, limits = table(4, 14), search.Limits(max_new_tokens=2)
    with pytest.raises(Unsupported):
        next(
            search.contrastive_search(
                engine, NAMES, [0], search.ContrastiveOptions(penalty_alpha=0.5), limits=limits
            )
        )


def test_contrastive_needs_room_to_look_ahead() -> None:
    engine = TableEngine({0: [0.0, 1.0], 1: [0.0, 1.0]}, 2, context_length=2)
    options = search.ContrastiveOptions(penalty_alpha=0.5)
    with pytest.raises(ContextOverflow):
        next(search.contrastive_search(engine, NAMES, [0, 1], options, limits=search.Limits()))


def test_best_of_n_drops_the_worst() -> None:
    nbest = NBest(2)
    for score in (-1.0, -3.0, -2.0, -4.0):
        nbest = nbest.added(Finished(score, None, None))
    assert [place.score for place in nbest.places] == [-1.0, -2.0] and nbest.worst == -2.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search.BeamOptions(num_beams=1), "num_beams must be a whole number >= 2, got 1"),
        (
            lambda: search.BeamOptions(num_beams=2, num_return_sequences=3),
            "num_return_sequences must be at most num_beams = 2, got 3",
        ),
        (
            lambda: search.BeamOptions(early_stopping="sometimes"),  # type: ignore[arg-type]
            "early_stopping must be False, True or 'never', got 'sometimes'",
        ),
        (
            lambda: search.BeamOptions(length_penalty=float("nan")),
            "length_penalty must be a finite number, got nan",
        ),
        (
            lambda: search.DiverseBeamOptions(num_beams=4, num_beam_groups=3),
            "num_beam_groups must be a divisor of num_beams = 4, got 3",
        ),
        (
            lambda: search.DiverseBeamOptions(diversity_penalty=-1),
            "diversity_penalty must be a number >= 0, got -1",
        ),
        (
            lambda: search.ConstrainedBeamOptions(),
            "force_words_ids must be a list of at least one phrase, got ()",
        ),
        (
            lambda: search.ConstrainedBeamOptions(force_words_ids=[[[1], [1, 2]]]),
            "force_words_ids must be free of phrases that begin another choice, got [1]",
        ),
        (
            lambda: search.ConstrainedBeamOptions(force_words_ids=[[]]),
            "force_words_ids must be non-empty lists",
        ),
        (lambda: search.ContrastiveOptions(penalty_alpha=1.5), "penalty_alpha must be in [0, 1], got 1.5"),
        (
            lambda: search.ContrastiveOptions(penalty_alpha=0.5, top_k=1),
            "top_k must be a whole number >= 2, got 1",
        ),
        (lambda: search.DolaOptions(dola_layers="middle"), "dola_layers must be 'low', 'high' or a list"),  # type: ignore[arg-type]
        (
            lambda: search.AssistedOptions(assistant_confidence_threshold=2),
            "assistant_confidence_threshold must be in [0, 1], got 2",
        ),
        (
            lambda: search.LookupOptions(prompt_lookup_num_tokens=0),
            "prompt_lookup_num_tokens must be a whole number >= 1, got 0",
        ),
        (lambda: search.Limits(max_new_tokens=0), "max_new_tokens must be a whole number >= 1, got 0"),
        (lambda: search.Limits(max_time=0), "max_time must be a number of seconds > 0, got 0"),
    ],
)
def test_wrong_values_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


def test_guided_beams_find_the_best_of_all_guided_texts() -> None:
    """Nothing is pruned: the result is the best sum of s (lp - lp_u) + lp_u over all 5 ** 3 texts."""
    engine, scale, negative = table(5, 1), 1.8, (4, 0)
    options = search.BeamOptions(num_beams=30, early_stopping="never", length_penalty=0.0)
    limits = search.Limits(max_new_tokens=3)
    run = search.beam_search(
        engine, NAMES, [2], options, [GuidanceScale(scale)], limits=limits, negative_ids=negative
    )
    _, (got,) = film(run)

    def guided(ids: tuple[int, ...]) -> float:
        total = 0.0
        for i, token_id in enumerate(ids):
            own, other = (logprobs(engine, (*start, *ids[:i]))[token_id] for start in ((2,), negative))
            total += scale * (own - other) + other
        return total

    sums = {ids: guided(ids) for ids in product(range(5), repeat=3)}
    best = max(sums, key=lambda ids: sums[ids])
    assert got.ids == best
    assert got.score == pytest.approx(sums[best], abs=1e-5)


@pytest.mark.parametrize("do_sample", [False, True])
def test_beams_out_of_time_return_what_they_have(do_sample: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is up during the third step: all its candidates end there, at one moment, and the best is kept."""
    clock = iter([0.0, 1.0, 2.0, 9.0])  # the start, then once a step
    monkeypatch.setattr("tokenglass.reading.limits.time.monotonic", lambda: next(clock))
    engine, options = table(6, 3), search.BeamOptions(num_beams=3, do_sample=do_sample)
    limits = search.Limits(max_new_tokens=50, max_time=5.0)
    steps, (got,) = film(search.beam_search(engine, NAMES, [1], options, limits=limits, source=Philox(1)))
    assert [step.stop for step in steps] == [None, None, "every candidate ends its text"]
    assert {c.finish_reason for c in steps[-1].candidates} == {"time"}
    assert len(got.ids) == 3 and got.finish_reason == "time"
    finished = sorted((c for c in steps[-1].candidates if c.rank <= 3), key=lambda c: -c.total)
    assert got.score == pytest.approx(finished[0].total / 3)


def test_a_step_holds_the_rows_own_top_and_sums() -> None:
    """Against scipy and a full sort, with equal logits and masked ones among them."""
    rng = np.random.default_rng(4)
    for size in (1, 3, 64, 65, 700, 5000):
        for _ in range(20):
            logits = np.round(rng.normal(size=size) * 3, int(rng.integers(0, 4))).astype(np.float32)
            logits[rng.random(size) < rng.choice([0.0, 0.5, 0.99])] = -np.inf
            logits[int(rng.integers(size))] = 1.5
            short = overview(Row.of(logits), 64)
            order = sorted(range(size), key=lambda i: (-logits[i], i))
            assert short.top_ids.tolist() == order[:64]
            assert short.top_scores.tolist() == logits[order[:64]].tolist()
            p = softmax(logits.astype(np.float64))
            assert short.logsumexp == pytest.approx(logsumexp(logits.astype(np.float64)), abs=1e-5)
            assert short.entropy_bits == pytest.approx(entropy(p, base=2), abs=1e-4)
            assert short.top_p == pytest.approx(p[order[:64]], abs=1e-6)
            token_id = int(rng.integers(size))
            assert short.rank(token_id) == order.index(token_id) + 1
