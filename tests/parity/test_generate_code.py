"""`chain().as_transformers_code()` is run: the call that it spells out writes the same tokens."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity.goldens.shared import MODELS, pair
from tests.parity.random_configs import Kind, Words, transformers_words
from tests.parity.test_generate_random import cases
from tokenglass.errors import NoTokenAllowed
from tokenglass.model import Model

pytest.importorskip("transformers")
COUNT = 60 if FULL else 10
KINDS: tuple[Kind, ...] = ("greedy", "sample", "beams", "lookup", "assisted")


def executed(code: str, theirs: Any, prompt: list[int], **names: Any) -> list[list[int]]:
    """Rows of new ids that the code writes."""
    import torch

    inputs = {"input_ids": torch.tensor([prompt]), "attention_mask": torch.ones((1, len(prompt)))}
    space = {"torch": torch, "model": theirs, "inputs": inputs, "tokenizer": transformers_words(), **names}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code, space)  # the project's own code, made from keywords of this test
    return space["output"][:, len(prompt) :].tolist()


def begins(row: list[int], ids: tuple[int, ...]) -> bool:
    """Transformers pads what ended early."""
    return row[: len(ids)] == list(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_random_configurations(kind: Kind) -> None:
    """Every kind of keyword, as Python: tuples, infinities, mappings, ids that must be tensors, functions."""
    name = MODELS[KINDS.index(kind)]
    engine, theirs = pair(name)
    other, their_other = pair(MODELS[KINDS.index(kind) - 1])
    words: Any = Words()
    rng = np.random.default_rng(21 + KINDS.index(kind))
    same = 0
    for _ in range(COUNT):
        case = cases(name, theirs, rng, kind)
        if kind in ("beams", "lookup", "assisted"):
            case.keywords.pop("guidance_scale", None)  # transformers' follows no beam and no rejected draft
            case.own.pop("guidance_scale", None)
        ours = Model(engine, words, case.own)
        keywords = case.ours(Model(other, words))
        try:
            got = ours.generate(case.prompt, **keywords)
        except NoTokenAllowed:
            continue
        code = ours.plan(keywords, tuple(case.prompt)).describe().as_transformers_code()
        allowed = keywords.get("prefix_allowed_tokens_fn")
        names = {"prefix_allowed_tokens_fn": allowed, "assistant_model": their_other}
        rows = executed(code, theirs, case.prompt, **names)
        assert len(rows) >= len(got.sequences), code
        for row, sequence in zip(rows, got.sequences, strict=False):
            assert begins(row, sequence.ids), f"{row}\n{sequence.ids}\n{code}"
        same += 1
    assert same >= 0.8 * COUNT


def test_defaults_are_left_out_and_opinions_are_spelled_out() -> None:
    """A model's generation_config.json is written out, since the reader's copy may have another."""
    engine, theirs = pair(MODELS[0])
    words: Any = Words()
    assert Model(engine, words).chain().as_transformers_code().count("=") == 2  # output, max_new_tokens
    own = {"do_sample": True, "top_k": 7, "repetition_penalty": 1.3, "eos_token_id": [9, 11]}
    ours = Model(engine, words, own)
    keywords = {"rng": "torch", "seed": 3, "max_new_tokens": 9}
    code = ours.chain(**keywords).as_transformers_code()
    for line in ("do_sample=True", "top_k=7", "repetition_penalty=1.3", "eos_token_id=[9, 11]"):
        assert f"    {line}," in code.splitlines()
    (row,) = executed(code, theirs, [5, 6, 7])
    assert begins(row, ours.generate([5, 6, 7], **keywords).ids)


def test_what_transformers_lacks_stands_in_comments() -> None:
    engine, theirs = pair(MODELS[0])
    words: Any = Words()
    keywords = {"frequency_penalty": 0.5, "do_sample": True, "xtc_probability": 0.1, "order": None}
    code = Model(engine, words).chain(**keywords).as_transformers_code()
    comments = [line for line in code.splitlines() if line.startswith("#")]
    assert any("frequency_penalty=0.5" in line for line in comments)
    assert any("xtc_probability=0.1" in line for line in comments)
    assert any("rng='torch'" in line for line in comments)
    executed(code, theirs, [5, 6, 7])
