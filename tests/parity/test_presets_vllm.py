"""The preset "vllm" against vLLM's documented formulas, written again with torch, and worked examples.

vLLM itself needs a GPU and is not installed; the reference below follows its V1 sampler: penalties on a dense
count matrix, one sort for top-k and top-p. Rows are float32 on both sides; the last bit of a softmax may
differ, hence the tolerances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.support import EOS, SIZE, ByteTokenizer, model
from tokenglass.chain import Plan, plan
from tokenglass.config import resolve
from tokenglass.numbers import softmax
from tokenglass.stages import Context, Row, run
from tokenglass.stages.base import params, scores_of

torch = pytest.importorskip("torch")
Rng = np.random.Generator
Given = dict[str, Any]
COUNT = 2000 if FULL else 300
NAMES: Any = ByteTokenizer()


def planned(given: Given, size: int = SIZE, preset: str = "vllm") -> Plan:
    config = resolve({"preset": preset, "seed": 1, **given}, model_eos=(EOS,), vocab_size=size)
    return plan(config, NAMES, size, (0,))


def after(given: Given, logits: Any, prompt: Any = (), output: Any = (), preset: str = "vllm") -> np.ndarray:
    """Scores after the chain of a preset."""
    row = Row.of(np.asarray(logits, dtype=np.float32), candidates=preset == "llama.cpp")
    chosen = planned(given, len(row), preset)
    return run(chosen.stages, row, Context(tuple(prompt), tuple(output), eos_ids=(EOS,))).row.scores


def counts(ids: list[int], size: int) -> Any:
    return torch.bincount(torch.tensor(ids, dtype=torch.long), minlength=size)


def reference(given: Given, logits: np.ndarray, prompt: list[int], output: list[int]) -> Any:
    """Scores before the draw, in vLLM's order."""
    s, size = torch.tensor(logits, dtype=torch.float32), len(logits)
    # 1) what is allowed, bad words, the least number of tokens
    if "allowed_token_ids" in given:
        banned = torch.ones(size, dtype=torch.bool)
        banned[list(given["allowed_token_ids"])] = False
        s = s.masked_fill(banned, float("-inf"))
    for word in given.get("bad_words", ()):
        for text in (
            word,
            " " + word,
        ):  # each byte is a token, so the spaced word is longer and does not count
            ids = list(text.encode())
            if len(ids) == len(word.encode()) and output[len(output) - len(ids) + 1 :] == ids[:-1]:
                s[ids[-1]] = float("-inf")
    if len(output) < given.get("min_new_tokens", 0):
        s[EOS] = float("-inf")
    # 2) biases, between -100 and 100
    for token_id, bias in given.get("logit_bias", {}).items():
        s[token_id] += min(100.0, max(-100.0, bias))
    # 3) repetition over prompt and output, frequency and presence over the output alone
    seen = (counts(prompt, size) > 0) | (counts(output, size) > 0)
    r = torch.where(seen, torch.tensor(given.get("repetition_penalty", 1.0)), torch.tensor(1.0))
    s = torch.where(s > 0, s / r, s * r)
    s = s - given.get("frequency_penalty", 0.0) * counts(output, size)
    s = s - given.get("presence_penalty", 0.0) * (counts(output, size) > 0)
    # 4) greedy takes the best of these, and nothing below acts
    temperature = given.get("temperature", 1.0)
    if temperature < 1e-5 or given.get("do_sample") is False:
        return s
    s = s / max(temperature, 1e-2)
    # 5) min-p first
    if given.get("min_p"):
        p = torch.softmax(s, dim=-1)
        s = s.masked_fill(p < given["min_p"] * p.max(), float("-inf"))
    # 6) top-k keeps the ties of the k-th; top-p cuts the running sum from below, in float32
    ordered, ids = s.sort(descending=False)
    k = given.get("top_k") or size
    if k < size:
        ordered = ordered.masked_fill(ordered < ordered[size - k], float("-inf"))
    if given.get("top_p", 1.0) < 1.0:
        below = torch.softmax(ordered, dim=-1).cumsum(dim=-1) <= 1 - torch.tensor(given["top_p"])
        below[-1] = False
        ordered = ordered.masked_fill(below, float("-inf"))
    return torch.empty_like(s).scatter(-1, ids, ordered)


def some(rng: Rng, *values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def configuration(rng: Rng) -> Given:
    ids = [int(i) for i in rng.integers(0, SIZE, 4)]
    whole: Given = {
        "allowed_token_ids": sorted({*range(0, SIZE, 3), *b"abcd", EOS}),
        "bad_words": ["ab", "d"],
        "min_new_tokens": 6,
        "logit_bias": dict(zip(ids, (-300.0, 2.5, 250.0, -1.0), strict=True)),
        "repetition_penalty": some(rng, 0.8, 1.3),
        "frequency_penalty": some(rng, -0.5, 0.4),
        "presence_penalty": some(rng, -1.0, 0.7),
        "temperature": some(rng, 0.0, 1e-6, 0.003, 0.4, 1.0, 1.9),
        "min_p": some(rng, 0.02, 0.3),
        "top_k": some(rng, 1, 3, 20, 1000),
        "top_p": some(rng, 0.1, 0.6, 0.95, 1.0),
    }
    return {name: value for name, value in whole.items() if rng.random() < 0.6}


def test_random_configurations_follow_the_formulas() -> None:
    """The same tokens are left, with the same scores to the last places of a float32."""
    rng = np.random.default_rng(61)
    for i in range(COUNT):
        given = configuration(rng)
        prompt = rng.choice([*b"abcdxyz"], 8).tolist()
        output = rng.choice([*b"abcd"], int(rng.integers(0, 12))).tolist()
        logits = rng.normal(size=SIZE) * some(rng, 0.5, 2.0, 6.0)
        logits[list(b"abcdxyz")] += some(rng, 0.0, 4.0)
        if i % 3 == 0:
            # ties, of which top-k keeps all; which of them top-p keeps is left to torch's sort
            logits, given = np.round(logits * 2) / 2, {**given, "top_p": 1.0}
        logits = logits.astype(np.float32)
        ours, theirs = after(given, logits, prompt, output), reference(given, logits, prompt, output).numpy()
        np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs))
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)


def test_defaults_do_nothing() -> None:
    """No silent top-k, no temperature: what is drawn from is the model's own distribution."""
    assert planned({}).stages == ()
    assert planned({}).config.mode == "sample"
    assert planned({}).config.max_new_tokens == 16


def test_temperature_0_is_greedy_and_resets_the_rest() -> None:
    cold = planned({"temperature": 0.0, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.5})
    assert (cold.config.mode, [s.name for s in cold.stages]) == ("greedy", ["repetition_penalty"])
    barely = planned({"temperature": 1e-3})
    assert [dict(params(s)) for s in barely.stages] == [{"t": 0.01}]
    with pytest.raises(ValueError, match="temperature must be at most 2"):
        planned({"temperature": 2.5})
    with pytest.raises(ValueError, match=r"top_p must be in \(0, 1\]"):
        planned({"top_p": 0.0})


HF, LC, VL = "transformers", "llama.cpp", "vllm"
OFF: Given = {"top_k": 0, "top_p": 1.0, "min_p": None, "temperature": 1.0, "do_sample": True}
WORKED: list[tuple[str, list[float], Given, dict[str, list[float]]]] = [
    (
        "1: temperature 0.5 and top-p",
        [3, 2, 1],
        {"top_p": 0.8, "temperature": 0.5},
        {LC: [0.8808, 0.1192, 0], HF: [1, 0, 0], VL: [1, 0, 0]},
    ),
    (
        "1: temperature 2 and top-p",
        [3, 2, 1],
        {"top_p": 0.9, "temperature": 2.0},
        {LC: [0.6225, 0.3775, 0], HF: [0.5065, 0.3072, 0.1863], VL: [0.5065, 0.3072, 0.1863]},
    ),
    (
        "2: min-p and temperature",
        [4, 2, 0],
        {"min_p": 0.1, "temperature": 2.0},
        {LC: [0.7311, 0.2689, 0], HF: [0.6652, 0.2447, 0.09], VL: [0.6652, 0.2447, 0.09]},
    ),
    (
        "3: min-p before or after top-p",
        scores_of([0.5, 0.3, 0.1, 0.06, 0.04]).tolist(),
        {"top_p": 0.85, "min_p": 0.15},
        {
            HF: [0.5556, 0.3333, 0.1111, 0, 0],
            LC: [0.5556, 0.3333, 0.1111, 0, 0],
            VL: [0.625, 0.375, 0, 0, 0],
        },
    ),
    (
        "4: ties of top-k",
        [1, 1, 1, 0],
        {"top_k": 2},
        {HF: [1 / 3, 1 / 3, 1 / 3, 0], VL: [1 / 3, 1 / 3, 1 / 3, 0], LC: [0.5, 0.5, 0, 0]},
    ),
]


@pytest.mark.parametrize(("logits", "given", "want"), [w[1:] for w in WORKED], ids=[w[0] for w in WORKED])
def test_worked_examples(logits: list[float], given: Given, want: dict[str, list[float]]) -> None:
    """One nominal configuration, three systems; numbers to four places, by hand."""
    for preset, p in want.items():
        got = softmax(after({**OFF, **given}, logits, preset=preset))
        np.testing.assert_allclose(got, p, atol=6e-5, err_msg=preset)


def test_repetition_depends_on_the_system() -> None:
    """Worked example 6: the window, the sign rule, and which penalties look at the prompt."""
    three = {"repetition_penalty": 2.0, "frequency_penalty": 0.5, "presence_penalty": 1.0}
    logits, history = [2.0, -1.0, 0.5], [0, 0, 1]
    off = {**OFF, "top_k": 0}
    assert after({**off, **three, "repeat_last_n": 64}, logits, history, preset=LC).tolist() == [
        -1,
        -3.5,
        0.5,
    ]
    assert after({**off, **three}, logits, history, preset=VL).tolist() == [1, -2, 0.5]
    assert after({**off, "repetition_penalty": 2.0}, logits, history, preset=HF).tolist() == [1, -2, 0.5]
    # as output, vLLM counts it: 2/2 - 2*.5 - 1, -1*2 - .5 - 1
    assert after({**off, **three}, logits, (), history, preset=VL).tolist() == [-1, -3.5, 0.5]
    last_two = after({**off, **three, "repeat_last_n": 2}, logits, history, preset=LC)
    assert last_two.tolist() == [2 / 2 - (0.5 + 1), -2 - (0.5 + 1), 0.5]
    # greedy on logits 6 and 5: 6 / 1.5 = 4 < 5
    cold = {"do_sample": False, "repetition_penalty": 1.5}
    for preset in (HF, VL, LC):
        assert after(cold, [6.0, 5.0], [0], preset=preset).argmax() == 1


def test_biases_are_clamped_and_come_before_penalties() -> None:
    """Penalising first would leave 1 + 5; clamped biases do not forbid."""
    given = {"logit_bias": {0: 5.0, 1: -1000.0, 2: 400.0}, "repetition_penalty": 2.0}
    assert after(given, [1.0, 1.0, 1.0], [0]).tolist() == [3.0, -99.0, 101.0]


def test_ignore_eos_goes_on_after_the_end() -> None:
    """In vLLM the end of the text may be written, and the text goes on."""
    ends = np.zeros(SIZE, dtype=np.float32)
    ends[EOS] = 30.0
    m = model(lambda ids: ends)
    assert m.generate("a", preset="vllm", seed=1).finish_reason == "eos"
    out = m.generate("a", preset="vllm", seed=1, ignore_eos=True, max_new_tokens=5)
    assert (out.ids, out.finish_reason) == ((EOS,) * 5, "length")


def test_bad_words_look_at_what_was_written_only() -> None:
    """The prompt ends in the beginning of a bad word: vLLM lets it be finished, transformers does not."""
    rows = np.zeros(SIZE, dtype=np.float32)
    assert after({"bad_words": ["ab"]}, rows, b"a")[ord("b")] == 0.0
    assert after({"bad_words": ["ab"]}, rows, b"x", b"a")[ord("b")] == -np.inf
    assert after({"bad_words": ["ab"], **OFF}, rows, b"a", preset=HF)[ord("b")] == -np.inf
