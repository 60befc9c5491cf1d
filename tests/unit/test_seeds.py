"""One seed, one text: alone, in a batch, after undo, in a fork; and what a step says about its draw."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.support import SIZE, model
from tokenglass.decode import decode_samples
from tokenglass.random import uniform

ROWS = np.random.default_rng(2).normal(size=(SIZE, SIZE)).astype(np.float32) * 2
N = 12
PROMPT = (97, 98)
Given = dict[str, Any]
WAYS: dict[str, Given] = {
    "plain": {"do_sample": True, "top_k": 0},
    "truncated": {"do_sample": True, "temperature": 1.3, "top_k": 30, "top_p": 0.9},
    "penalised": {"do_sample": True, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2},
    "xtc": {"do_sample": True, "xtc_probability": 0.5, "xtc_threshold": 0.01},
    "mirostat 1": {"do_sample": True, "mirostat": 1, "mirostat_tau": 3.0},
    "mirostat 2": {"do_sample": True, "mirostat": 2, "mirostat_tau": 3.0},
    "adaptive-p": {"do_sample": True, "adaptive_target": 0.2, "top_k": 0},
    "preset llama.cpp": {"preset": "llama.cpp"},
    "preset vllm": {"preset": "vllm", "min_p": 0.01},
    "llama.cpp's numbers": {"preset": "llama.cpp", "rng": "llama.cpp"},
    "llama.cpp's mirostat": {"preset": "llama.cpp", "rng": "llama.cpp", "mirostat": 2},
    "llama.cpp's adaptive-p": {"preset": "llama.cpp", "rng": "llama.cpp", "adaptive_target": 0.2},
    "llama.cpp's xtc": {"preset": "llama.cpp", "rng": "llama.cpp", "xtc_probability": 0.5},
    "torch's numbers": {"do_sample": True, "rng": "torch"},
}
DRAWN_BY_COUNT = {name for name, given in WAYS.items() if given.get("rng") is None}
every_way = pytest.mark.parametrize("way", WAYS)


def table(**options: Any) -> tg.Model:
    return model(lambda ids: ROWS[ids[-1]], eos_ids=(), **options)


M = table()


def session(way: str, **more: Any) -> tg.Session:
    return M.session(PROMPT, seed=11, **WAYS[way], **more)


def alone(way: str, seed: int = 11, n: int = N) -> tuple[int, ...]:
    return M.generate(PROMPT, seed=seed, max_new_tokens=n, **WAYS[way]).ids


def steps(s: tg.Session, n: int) -> list[int]:
    return [step.id for step in s.step(n)]  # type: ignore[union-attr]


# ------------------------------------------------------------------ one seed, one text


@every_way
def test_same_seed_same_text_and_another_seed_another(way: str) -> None:
    assert alone(way) == alone(way)
    assert len({alone(way, seed) for seed in range(8)}) > 1


@every_way
def test_stream_session_and_first_of_a_batch_write_the_same(way: str) -> None:
    want = alone(way)
    assert tuple(s.id for s in M.stream(PROMPT, seed=11, max_new_tokens=N, **WAYS[way])) == want
    assert tuple(steps(session(way), N)) == want
    batch = M.generate(PROMPT, seed=11, max_new_tokens=N, num_return_sequences=16, **WAYS[way])
    if way != "torch's numbers":  # torch draws V numbers a row, for the whole batch in one call
        assert batch.sequences[0].ids == want
    assert len({s.ids for s in batch.sequences}) == 16


@every_way
def test_undo_redo_and_forks_do_not_shift_later_draws(way: str) -> None:
    want, s = list(alone(way)), session(way)
    s.step(5)
    s.undo(3)
    assert steps(s, 4) == want[2:6]
    other = s.fork()
    assert steps(other, 3) == want[6:9]
    s.undo(6)
    s.redo(4)
    s.step(token=0)
    s.undo()
    assert steps(s, 3) == want[4:7]
    assert steps(s.fork(), 2) == want[7:9]
    assert steps(other, 3) == want[9:12]


@pytest.mark.parametrize("way", sorted(DRAWN_BY_COUNT - {"mirostat 1", "mirostat 2", "adaptive-p"}))
def test_set_there_and_back_does_not_shift_later_draws(way: str) -> None:
    want, s = list(alone(way)), session(way)
    s.step(4)
    s.set(temperature=0.5, min_p=0.2)
    s.set(seed=99)
    s.set(temperature=WAYS[way].get("temperature", 0.8 if way == "preset llama.cpp" else 1.0))
    s.set(seed=11, min_p={"preset llama.cpp": 0.05}.get(way, WAYS[way].get("min_p", 0.0)))
    assert steps(s, 6) == want[4:10]


def test_counted_draws_are_the_generators_own_numbers() -> None:
    """Seed, sample and position alone: the golden definition of `random.uniform`."""
    out = M.generate(PROMPT, seed=11, max_new_tokens=4, num_return_sequences=3, do_sample=True)
    for sample, sequence in enumerate(out.sequences):
        assert [s.draw for s in sequence.steps] == [uniform(11, sample, 2 + i, "draw") for i in range(4)]


def test_the_same_luck_under_two_configurations() -> None:
    """One u at each position, whatever the chain: what differs is the configuration's doing."""
    draws = [[step.draw for step in session(way).step(N)] for way in sorted(DRAWN_BY_COUNT)]  # type: ignore[union-attr]
    assert all(row == draws[0] for row in draws)


@pytest.mark.parametrize("way", sorted(DRAWN_BY_COUNT))
def test_a_sample_does_not_depend_on_how_many_stand_beside_it(way: str) -> None:
    plan = M.plan({"seed": 11, "max_new_tokens": N, **WAYS[way]}, PROMPT)

    def texts(n: int) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(n)]
        for sample, step in decode_samples(M.engine, M.tokenizer, PROMPT, plan, n):
            found[sample].append(step.id)
        return found

    many = texts(7)
    assert texts(3) == many[:3]
    assert texts(1)[0] == many[0] == list(alone(way))


@pytest.mark.parametrize("way", [w for w in WAYS if w.startswith("llama.cpp's")])
def test_samples_with_llama_cpps_numbers_have_seeds_one_apart(way: str) -> None:
    """All generators of a sample move on, those of the chain, too; past the last seed comes 0."""
    for seed in (11, 2**32 - 2):
        batch = M.generate(PROMPT, seed=seed, max_new_tokens=N, num_return_sequences=4, **WAYS[way])
        want = [alone(way, (seed + i) % 2**32) for i in range(4)]
        assert [s.ids for s in batch.sequences] == want


def test_samples_with_torchs_numbers_are_torchs_own() -> None:
    """`multinomial` over the batch, after `manual_seed`, as transformers' generate calls it."""
    torch = pytest.importorskip("torch")
    out = M.generate(PROMPT, do_sample=True, top_k=0, rng="torch", seed=5, num_return_sequences=6)
    generator = torch.Generator().manual_seed(5)
    last, want = [PROMPT[-1]] * 6, []
    for _ in range(20):
        p = torch.softmax(torch.tensor(np.stack([ROWS[i] for i in last])), dim=-1)
        last = torch.multinomial(p, 1, generator=generator)[:, 0].tolist()
        want.append(last)
    assert [s.ids for s in out.sequences] == list(zip(*want, strict=True))


# ------------------------------------------------------------------ seeds taken afresh, and drawn anew


@every_way
def test_a_fresh_seed_is_recorded_and_gives_the_same_again(way: str) -> None:
    first = M.generate(PROMPT, max_new_tokens=N, **WAYS[way])
    assert isinstance(first.config["seed"], int)
    assert alone(way, first.config["seed"]) == first.ids
    assert len({M.generate(PROMPT, max_new_tokens=N, **WAYS[way]).config["seed"] for _ in range(3)}) == 3
    s = M.session(PROMPT, **WAYS[way])
    assert isinstance(s.config.seed, int)
    assert tuple(steps(s, N)) == alone(way, s.config.seed)


def test_nothing_is_drawn_and_no_seed_taken_where_nothing_is_random() -> None:
    for given in ({}, {"num_beams": 2}, {"preset": "vllm", "temperature": 0.0}):
        assert M.generate(PROMPT, max_new_tokens=2, **given).config.get("seed") is None


def test_reroll_draws_anew_and_counts() -> None:
    """The k-th draw at a place is that of sample k, as often as one likes, after undo as before."""
    s = session("plain")
    first = s.step()
    assert isinstance(first, tg.Step) and first.draw == uniform(11, 0, 2, "draw")
    for k in range(1, 5):
        s.undo()
        again = s.step(reroll=True)
        assert isinstance(again, tg.Step) and again.draw == uniform(11, k, 2, "draw")
        start, end = again.cdf  # type: ignore[misc]
        assert start <= again.draw < end
    s.undo()
    plain = s.step()
    assert isinstance(plain, tg.Step) and (plain.id, plain.draw) == (first.id, first.draw)
    s.undo()
    assert s.step(reroll=True).draw == uniform(11, 5, 2, "draw")  # type: ignore[union-attr]
    # a reroll goes on with the text's own numbers
    assert s.step().draw == uniform(11, 0, 3, "draw")  # type: ignore[union-attr]


def test_reroll_at_a_new_place_differs_from_what_step_would_have_drawn() -> None:
    s = session("plain")
    assert s.step(reroll=True).draw == uniform(11, 1, 2, "draw")  # type: ignore[union-attr]


@pytest.mark.parametrize("given", [{}, WAYS["llama.cpp's numbers"], WAYS["torch's numbers"]])
def test_reroll_needs_numbers_of_our_own(given: Given) -> None:
    with pytest.raises(ValueError, match="reroll needs do_sample=True and rng='tokenglass'"):
        M.session(PROMPT, **given).step(reroll=True)


def test_xtc_draws_at_temperature_0() -> None:
    """llama.cpp's XTC still drops the best token now and then, so a seed is taken and recorded."""
    given: Given = {"preset": "llama.cpp", "temperature": 0.0, "xtc_probability": 0.5, "xtc_threshold": 0.01}
    out = M.generate(PROMPT, max_new_tokens=30, **given)
    fired = sum(step.rank > 1 for step in out.steps)
    assert 0 < fired < 30
    assert M.generate(PROMPT, max_new_tokens=30, seed=out.config["seed"], **given).ids == out.ids


# ------------------------------------------------------------------ what a step says


@every_way
def test_a_draw_lies_in_its_cell_and_the_cell_is_as_wide_as_p_final(way: str) -> None:
    for step in session(way).step(N):  # type: ignore[union-attr]
        assert step.origin == "sampled"
        if way == "torch's numbers":  # a race of exponentials: there is no one number
            assert step.draw is None and step.cdf is None
            continue
        assert step.cdf is not None
        start, end = step.cdf
        if step.draw is not None:  # llama.cpp's mirostat takes no number where one token is left
            assert 0.0 <= start <= step.draw <= end <= 1.0
        # llama.cpp's numbers divide by float32 weights
        assert end - start == pytest.approx(step.p_final, rel=1e-5 if way.startswith("llama") else 1e-6)


SELECTORS = {"mirostat", "mirostat_v2", "adaptive_p"}  # their line is no stage's


def all_top(step: tg.Step) -> list[int]:
    return [int(i) for i in step.top_ids]


@every_way
def test_trail_and_removed_agree_with_a_second_reading(way: str) -> None:
    """`account` runs the chain again: every stage's probability of every likely token, and who removed it."""
    for step in session(way).step(4):  # type: ignore[union-attr]
        own = bool(step.stages) and step.stages[-1].name in SELECTORS
        lines = len(step.stages) - own
        assert (step.trail is None) == (lines == 0)
        for column, token_id in enumerate(all_top(step)):
            account = step.account(token_id)
            effects = account.effects[:lines] if lines else ()
            assert [e.stage for e in effects] == [s.name for s in step.stages[:lines]]
            for line, effect in enumerate(effects):
                assert step.trail is not None
                assert step.trail[line, column] == pytest.approx(effect.p, rel=1e-6, abs=1e-12)
            if account.removed is not None:
                assert step.removed[token_id] == account.removed
            elif not own:
                assert token_id not in step.removed
        if step.trail is not None:
            np.testing.assert_allclose(step.trail[-1], step.top_final, rtol=1e-6, atol=1e-12)


@every_way
def test_top_probabilities_are_what_is_drawn_from(way: str) -> None:
    """Removed tokens have none, the chosen one has p_final, and the others are in it with theirs."""
    for step in session(way).step(N):  # type: ignore[union-attr]
        gone = [i for i, p in zip(all_top(step), step.top_final, strict=True) if p == 0.0]
        assert set(gone) == set(step.removed)
        assert step.id not in gone
        for candidate in step.top:
            assert (candidate.removed_by is not None) == (candidate.p_final == 0.0)
            if candidate.id == step.id:
                assert candidate.p_final == pytest.approx(step.p_final, rel=1e-5)
        assert step.top_final.sum() <= 1.0 + 1e-7  # the sum of all is one of float32 exponentials


def test_an_unlisted_token_has_an_account_too() -> None:
    """Rank 65 and beyond: nothing of it is kept in the step."""
    step = session("truncated").step()
    assert isinstance(step, tg.Step)
    logits = ROWS[PROMPT[-1]].astype(np.float64)
    worst = int(logits.argmin())
    assert worst not in all_top(step)
    account = step.account(worst)
    assert [e.stage for e in account.effects] == ["model", "temperature", "top_k", "top_p"]
    p, hot = (np.exp(x) / np.exp(x).sum() for x in (logits, logits / 1.3))
    assert [e.p for e in account.effects] == pytest.approx([p[worst], hot[worst], 0.0, 0.0], rel=1e-5)
    assert [e.rank for e in account.effects] == [SIZE, SIZE, None, None]
    assert account.removed is not None and account.removed.stage == "top_k"
    assert account.removed.rank == SIZE
    assert account.removed.p == pytest.approx(hot[worst], rel=1e-5)
    for bad in (-1, SIZE):
        with pytest.raises(ValueError, match="token id must be in"):
            step.account(bad)


@pytest.mark.parametrize("way", ["mirostat 1", "mirostat 2", "llama.cpp's mirostat"])
def test_mirostat_records_its_limit(way: str) -> None:
    """Mu begins at twice tau and moves by eta times the surprise above tau; in bits."""
    done = session(way).step(N)
    facts = [step.stages[-1].facts for step in done]  # type: ignore[union-attr]
    tau = WAYS[way].get("mirostat_tau", 5.0)
    assert facts[0]["mu"] == 2 * tau
    for step, f in zip(done, facts, strict=True):  # type: ignore[arg-type]
        assert f["surprise_bits"] == pytest.approx(-np.log2(step.p_final), abs=1e-5)
    for before, after in pairwise(facts):
        assert after["mu"] == pytest.approx(before["mu"] - 0.1 * (before["surprise_bits"] - tau), abs=1e-5)


@pytest.mark.parametrize("way", ["adaptive-p", "llama.cpp's adaptive-p"])
def test_adaptive_p_records_its_target(way: str) -> None:
    """Twice the target minus a decaying average of the probabilities that chosen tokens had before it."""
    weighted, weight = 0.2 / (1 - 0.9), 1 / (1 - 0.9)
    for step in session(way).step(N):  # type: ignore[union-attr]
        facts, before = step.stages[-1].facts, step.account(step.id).effects[-2].p
        assert facts["target"] == pytest.approx(min(max(0.4 - weighted / weight, 0.0), 1.0), abs=1e-5)
        assert facts["p_before"] == pytest.approx(before, rel=1e-4)
        weighted, weight = before + 0.9 * weighted, 1 + 0.9 * weight


def test_xtc_records_its_number() -> None:
    for step in session("xtc").step(N):  # type: ignore[union-attr]
        (line,) = [s for s in step.stages if s.name == "xtc"]
        assert line.facts["draw"] == uniform(11, 0, step.position, "xtc")
        assert (line.removed > 0) == (line.facts["draw"] <= 0.5)


OWN_LINE = ["mirostat 1", "mirostat 2", "adaptive-p", "llama.cpp's mirostat", "llama.cpp's adaptive-p"]


@pytest.mark.parametrize("way", OWN_LINE)
def test_a_selectors_line_names_its_parameters(way: str) -> None:
    line = session(way).step().stages[-1]  # type: ignore[union-attr]
    wanted = [v for n, v in WAYS[way].items() if n in ("mirostat_tau", "adaptive_target")] or [5.0]
    assert line.name in SELECTORS
    assert set(wanted) <= set(line.params.values())


@pytest.mark.parametrize("way", OWN_LINE)
def test_account_knows_the_selectors_own_cut(way: str) -> None:
    """Mirostat drops tokens after the chain, adaptive-p weighs them anew: that too is part of the way."""
    for step in session(way).step(3):  # type: ignore[union-attr]
        for token_id, p in zip(all_top(step)[::7], step.top_final[::7], strict=True):
            account = step.account(token_id)
            assert [e.stage for e in account.effects] == [s.name for s in step.stages]
            assert account.effects[-1].p == pytest.approx(p, rel=1e-6)
            assert account.removed == step.removed.get(token_id)
