"""`model.map`: every result is that of the single call, the model runs less often, and memory is bounded."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests import batch_model, support
from tokenglass.engines.base import Batches
from tokenglass.engines.table import TableEngine
from tokenglass.errors import ContextOverflow
from tokenglass.model import Model

LOGITS = 5e-4  # security.md: other batch shapes and a warm cache, float32
PROMPTS = [*batch_model.prompts(40), "", [5, 6, 7], batch_model.prompts(1)[0]]


@pytest.fixture(scope="module", params=["onnx", "hf"])
def cold(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """A model under each engine that many prompts are run by; one thread, as bits hang on their number."""
    if request.param == "hf":
        pytest.importorskip("transformers")
    folder = batch_model.make(tmp_path_factory.mktemp(request.param) / "m")
    with tg.load(str(folder), engine=request.param, threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with tg.load(str(batch_model.make(tmp_path_factory.mktemp("model") / "m"))) as model:
        yield model


class Counting:
    """An engine that counts its runs and their prefixes, and fails for a prefix that holds a certain id."""

    def __init__(self, engine: Any, forbidden: int | None = None) -> None:
        self.engine, self.forbidden, self.runs = engine, forbidden, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def forward(self, prefixes: Any, **options: Any) -> Any:
        self.runs.append(len(prefixes))
        if any(self.forbidden in prefix.ids for prefix in prefixes):
            raise ContextOverflow(9, 8)
        return self.engine.forward(prefixes, **options)


def counting(forbidden: int | None = None) -> tuple[Model, Counting]:
    model = support.model(support.writes("abcdef"))
    engine = Counting(model.engine, forbidden)
    return Model(engine, model.tokenizer), engine  # type: ignore[arg-type]


# ------------------------------------------------------------------------------- as the single calls


def test_next_equals_single_calls(small: Model) -> None:
    for config in ({}, {"do_sample": True, "top_p": 0.8, "repetition_penalty": 1.3}, {"guidance_scale": 1.5}):
        single = [small.next_tokens(prompt, **config) for prompt in PROMPTS]
        mapped = list(small.map(PROMPTS, **config))
        for one, other in zip(single, mapped, strict=True):
            assert one.prompt_ids == other.prompt_ids
            np.testing.assert_allclose(one.logits, other.logits, atol=LOGITS, rtol=0)
            assert one.rows[0].id == other.rows[0].id
            np.testing.assert_allclose(
                [row.p_final for row in one.rows], [row.p_final for row in other.rows], atol=1e-4
            )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"do_sample": True, "seed": 3, "num_return_sequences": 2},
        {"do_sample": True, "seed": 3, "rng": "torch", "num_return_sequences": 2},
        {"num_beams": 3, "num_return_sequences": 2},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "low"},
        {"prompt_lookup_num_tokens": 3},
        {"preset": "llama.cpp", "seed": 4, "mirostat": 2},
        {"stop_strings": ["a", "e"], "repetition_penalty": 1.2},
    ],
    ids=lambda config: next(iter(config), "greedy"),
)
def test_generate_equals_single_calls(small: Model, config: dict[str, Any]) -> None:
    """Side by side no text is another: ids are equal, however many runs the texts share."""
    some = PROMPTS[:9]
    single = [small.generate(prompt, max_new_tokens=7, **config) for prompt in some]
    mapped = list(small.map(some, "generate", max_new_tokens=7, **config))
    for one, other in zip(single, mapped, strict=True):
        assert [s.ids for s in one.sequences] == [s.ids for s in other.sequences]
        assert [s.finish_reason for s in one.sequences] == [s.finish_reason for s in other.sequences]
        for a, b in zip(one.steps, other.steps, strict=True):
            assert a.logprob == pytest.approx(b.logprob, abs=LOGITS)


def test_score_equals_single_calls(small: Model) -> None:
    """Short texts are read together, one over the bound alone; rows beyond a piece of 64 are there, too."""
    texts = [*PROMPTS, "x" * 63, "x" * 64, "y" * 65, "z" * 129, "one", "longer than the context " * 30]
    for one, other in zip(map(small.score, texts), small.map(texts, "score"), strict=True):
        assert one.text == other.text and one.ids == other.ids
        np.testing.assert_array_equal(one.columns.ranks, other.columns.ranks)
        np.testing.assert_allclose(one.columns.logprobs, other.columns.logprobs, atol=LOGITS)


def test_candidates_and_strategies_equal_single_calls(small: Model) -> None:
    options = ["a", "bc", "bd", "efgh"]
    for one, other in zip(
        [small.score_options(prompt, options) for prompt in PROMPTS[:9]],
        small.map(PROMPTS[:9], "candidates", options=options),
        strict=True,
    ):
        assert [row.logprob for row in one.rows] == pytest.approx([r.logprob for r in other.rows], abs=LOGITS)
    names = ["beam_search", "top_p", "contrastive"]
    for prompt, shown in zip(
        PROMPTS[:3], small.map(PROMPTS[:3], "strategies", names=names, seed=1, max_new_tokens=4), strict=True
    ):
        single = small.strategies(prompt, names, seed=1, max_new_tokens=4)
        assert [r.generation and r.generation.ids for r in single.rows] == [
            r.generation and r.generation.ids for r in shown.rows
        ]


def test_a_prompt_may_have_keywords_of_its_own(small: Model) -> None:
    mapped = list(small.map([{"prompt": "ab", "n": 3}, "ab", {"prompt": "ab", "position": 0}], n=5))
    assert [len(table.rows) for table in mapped] == [3, 5, 5] and mapped[2].position == 0


def test_an_account_can_be_asked_for_afterwards(small: Model) -> None:
    step = next(small.map(["ab"], "generate", do_sample=True, top_k=3, seed=1)).steps[0]
    assert step.account(step.id).effects[-1].p == pytest.approx(step.p_final, abs=1e-4)


# ----------------------------------------------------------------------------------- how it runs


def test_prompts_share_runs_of_the_model() -> None:
    model, engine = counting()
    assert len(list(model.map(["ab", "abc", "x"] * 20))) == 60
    assert engine.runs == [60]
    engine.runs.clear()
    texts = [g.text for g in model.map(["a", "ab", "abc", "abcd"] * 4, "generate", max_new_tokens=9)]
    assert texts == ["bcdef", "cdef", "def", "ef"] * 4
    assert engine.runs == [16] * 3 + [12] + [8] + [4]  # of 3, 4, 5 and 6 tokens, the end included


def test_endless_prompts_are_read_no_further_than_asked() -> None:
    model, _ = counting()
    taken = itertools.count()
    results = model.map((chr(97 + next(taken) % 5) for _ in itertools.count()), lookahead=16)
    assert [next(results).prompt_ids[0] for _ in range(20)] == [97 + i % 5 for i in range(20)]
    assert next(taken) == 32  # two lots of 16


def test_an_iterator_that_is_dropped_ends_its_calls() -> None:
    model, _ = counting()
    before = threading.active_count()
    results = model.map(["a", "abcdef"] * 8, "generate", max_new_tokens=50)
    next(results)
    results.close()
    for thread in [each for each in threading.enumerate() if each.name.startswith("call ")]:
        thread.join(10)
    assert threading.active_count() == before


def test_only_the_guilty_fails() -> None:
    """The run of all fails because of one prefix; each is then tried alone."""
    model, engine = counting(forbidden=ord("!"))
    found = list(model.map(["ab", "a!", "abc"], errors="return"))
    assert [type(each).__name__ for each in found] == ["NextTokens", "ContextOverflow", "NextTokens"]
    assert engine.runs == [3, 1, 1, 1]
    with pytest.raises(ContextOverflow):
        list(model.map(["ab", "a!"]))


def test_a_server_is_asked_several_times_at_once() -> None:
    """Four calls meet at a barrier inside the engine, which one at a time would never pass."""
    model = support.model(support.writes("abc"))
    barrier = threading.Barrier(4, timeout=20)

    class Remote(Counting):
        info = replace(model.info, engine="server")

        def forward(self, prefixes: Any, **options: Any) -> Any:
            barrier.wait()
            return self.engine.forward(prefixes, **options)

    engine = Remote(model.engine)
    tables = list(Model(engine, model.tokenizer).map(["a", "ab", "x", "b"] * 2))  # type: ignore[arg-type]
    assert [table.rows[0].text for table in tables] == ["b", "c", "a", "a"] * 2


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((["a"], "nxt"), ValueError, "task must be one of next, score, .*; did you mean 'next'"),
        (("a",), TypeError, "put it in a list"),
        ((["a"], "next", {"top_kk": 1}), TypeError, "top_k"),
        ((["a"], "score", {"top_k": 1}), TypeError, "takes no keyword 'top_k'; did you mean top"),
        ((["a"], "generate", {"top_p": 2}), ValueError, "top_p must be in"),
        ((["a"], "next", {"lookahead": 0}), ValueError, "lookahead must be"),
        ((["a"], "next", {"errors": "drop"}), ValueError, "errors must be"),
        ((["a"], "strategies", {"names": ["beam"]}), ValueError, "no strategy 'beam'"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_wrong_calls_are_refused_at_once(arguments: Any, error: type[Exception], says: str) -> None:
    model, engine = counting()
    *plain, options = arguments if isinstance(arguments[-1], dict) else (*arguments, {})
    with pytest.raises(error, match=says):
        model.map(*plain, **options)
    assert not engine.runs


@pytest.mark.parametrize("item", [None, {"text": "a"}, [999], [True], b"a"])
def test_a_wrong_prompt_is_its_own_error(item: Any) -> None:
    model, _ = counting()
    if isinstance(item, dict):
        with pytest.raises(ValueError, match="a dict with 'prompt'"):
            list(model.map([item]))
        return
    found = list(model.map(["a", item, "b"], errors="return"))
    assert isinstance(found[1], (TypeError, ValueError))
    assert not isinstance(found[0], Exception) and not isinstance(found[2], Exception)


def test_a_cold_start_gives_the_same_bits(cold: Model) -> None:
    """What came before must not show: the rows of a part are made again after a kill, byte for byte."""
    assert isinstance(cold.engine, Batches) and not isinstance(TableEngine({}, 4), Batches)
    some = batch_model.prompts(70, seed=5)
    cold.engine.begin_batch()
    first = [table.logits for table in cold.map(some)]
    list(cold.map(batch_model.prompts(90, seed=6), "generate", max_new_tokens=3))
    cold.engine.begin_batch()
    again = [table.logits for table in cold.map(some)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
