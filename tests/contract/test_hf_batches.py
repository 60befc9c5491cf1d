"""Many prompts under the hf engine: rows equal transformers' whatever stands beside them; memory is bounded.

Tolerance 5e-4 on logits: other batch shapes sum float32 in another order.
"""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests import batch_model
from tokenglass.batching import task_named
from tokenglass.batching.inputs import open_input
from tokenglass.batching.running import Batch, run_part
from tokenglass.engines.base import Prefix
from tokenglass.errors import EngineError
from tokenglass.model import Model

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
LOGITS = 5e-4
RECURRENT = "mamba"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return batch_model.make(tmp_path_factory.mktemp("hf") / "m")


@pytest.fixture
def model(folder: Path) -> Any:
    with tg.load(str(folder), engine="hf", device="cpu", threads=1) as loaded:
        yield loaded


def theirs(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(folder)

    def logits(ids: Any) -> np.ndarray:
        with torch.no_grad():
            return network(torch.tensor([list(ids)])).logits[0].numpy()

    return logits


def test_a_row_is_the_same_alone_and_in_any_company(model: Model, folder: Path) -> None:
    """Alone, in a batch, in the batch turned round, and in one after another: what transformers says."""
    some = batch_model.prompts(40, seed=3)
    want = theirs(folder)
    orders = [[prompt] for prompt in some[:4]] + [some, some[::-1], batch_model.prompts(30, seed=4), some]
    for order in orders:
        model.engine.begin_batch()  # type: ignore[attr-defined]
        for prompt, table in zip(order, model.map(order), strict=True):
            reference = want(model.tokenize(prompt).ids or [model.info.bos_id])[-1]
            assert np.abs(table.logits - reference).max() < LOGITS


def test_a_scored_row_too(model: Model, folder: Path) -> None:
    """Read once each, however many: an engine that keeps no rows must not read a text for every piece."""
    some = [text for text in batch_model.prompts(12, seed=8) if text]
    want = theirs(folder)
    engine: Any = model.engine
    before = engine.tokens_run
    for score in model.map(some, "score"):
        rows = torch.tensor(want(score.ids)).log_softmax(-1).numpy()
        own = [rows[i, token] for i, token in enumerate(score.ids[1:])]
        np.testing.assert_allclose([row.logprob for row in score.rows[1:]], own, atol=LOGITS)
    assert engine.tokens_run - before == 0  # pieces keep nothing, and are not counted as read


def part_of(folder: Path, tmp_path: Path, task: str = "next") -> tuple[Batch, list[list[Any]]]:
    rows = batch_model.write_jsonl(tmp_path / "in.jsonl", batch_model.prompts(90, seed=7))
    keywords = {"n": 3} if task == "next" else {"max_new_tokens": 4}
    batch = Batch(open_input(rows), task_named(task), keywords, part_rows=30)
    return batch, list(batch.input.parts([batch.range_of(part) for part in range(3)]))


@pytest.mark.parametrize("task", ["next", "generate"])
def test_a_part_made_again_has_the_same_bytes(model: Model, folder: Path, tmp_path: Path, task: str) -> None:
    """Third of a run, made alone by a process that begins with it, and made twice: the bits are the same."""
    batch, parts = part_of(folder, tmp_path, task)
    whole = [run_part(model, batch, records) for records in parts]
    with tg.load(str(folder), engine="hf", device="cpu", threads=1) as fresh:
        resumed = run_part(fresh, batch, parts[2])
    again = run_part(model, batch, parts[2])
    texts = [json.dumps(rows, default=repr) for rows in (whole[2], resumed, again)]
    assert texts[0] == texts[1] == texts[2]


def test_memory_does_not_grow_over_many_parts(model: Model, folder: Path, tmp_path: Path) -> None:
    """What is held after twenty parts is what was held after one; a part before is gone, handles or not."""
    batch, parts = part_of(folder, tmp_path, "generate")
    memory: Any = model.engine._memory  # type: ignore[attr-defined]
    held, strips, kept, old = [], [], [], []
    for number in range(20):
        run_part(model, batch, parts[number % 3])
        held.append(memory.n_bytes)
        strips.append(len(memory._strips))
        kept.append(model.engine.forward([Prefix((5, 6, number))]).nodes[0])  # as a session would
        old.append(weakref.ref(kept[-1].strip.layers[0].buffers[0]))
    assert held[:3] * 6 + held[:2] == held and strips[:3] * 6 + strips[:2] == strips and min(held) > 0
    gc.collect()
    assert sum(buffer() is not None for buffer in old) == 1  # that of the last forward


def test_handles_of_before_are_harmless(model: Model, folder: Path) -> None:
    """And the numbers those of the whole text; a closed engine says so in a line."""
    want = theirs(folder)
    engine: Any = model.engine
    node = engine.forward([Prefix((5, 6, 7))]).nodes[0]
    engine.begin_batch()
    again = engine.forward([Prefix((5, 6, 7, 8), node)])
    assert np.abs(again.logits[0, -1] - want((5, 6, 7, 8))[-1]).max() < LOGITS
    engine.close()
    with pytest.raises(EngineError, match="was closed; load it again"):
        engine.begin_batch()


def test_models_that_cannot_be_rewound_begin_anew_too(tmp_path: Path) -> None:
    """States are what is kept there."""
    from tests.contract.subjects import hf_engine
    from tests.parity import families

    reference = families.make(RECURRENT, tmp_path)
    engine: Any = hf_engine(tmp_path)
    for start in range(3, 33):
        engine.begin_batch()
        texts = [tuple(range(start, start + 6)), tuple(range(start, start + 9))]
        for ids, row in zip(texts, engine.forward([Prefix(ids) for ids in texts]).logits, strict=True):
            assert np.abs(row[0] - families.reference(reference, list(ids))[-1]).max() < LOGITS
        assert len(engine._memory._states) == 2
