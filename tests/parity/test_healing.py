"""Token healing against `generate(token_healing=True)` of transformers, on SmolLM2's tokenizer.

The model is a small random one, so that its choices are anybody's guess: with sharp logits (a head 100 times
larger) the bias of 10 is often too small, with flat ones (times 1) the bias decides. Ids must be equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tokenglass.engines.base import Prefix
from tokenglass.engines.table import TableEngine
from tokenglass.healing import heal
from tokenglass.tokenizer import Tokenizer, load_tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# Ends that can be healed, that transformers does not find, that it strips, and prompts of one token
PROMPTS = [
    'The link is <a href="http:', 'x"', "don'", "print(x)\n", "naïv", "a<", "12", "I read a book about th",
    "a  b  ", "import ", "http", "日本語",
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers(smollm2_files: Any) -> tuple[Tokenizer, Any]:
    path = Path(smollm2_files.path)
    theirs = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return load_tokenizer(path), theirs


@pytest.fixture(scope="module", params=[1.0, 100.0], ids=["flat", "sharp"])
def models(
    request: pytest.FixtureRequest, tokenizers: tuple[Tokenizer, Any]
) -> Iterator[tuple[Any, TableEngine]]:
    size = len(tokenizers[0])
    config = transformers.LlamaConfig(
        vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    model.requires_grad_(False)
    model.lm_head.weight.mul_(request.param)

    def rule(ids: tuple[int, ...]) -> np.ndarray:
        row: np.ndarray = model(torch.tensor([ids])).logits[0, -1].numpy()
        return row

    yield model, TableEngine(rule, size)


def test_the_same_prompts_and_texts_as_transformers(
    models: tuple[Any, TableEngine], tokenizers: tuple[Tokenizer, Any]
) -> None:
    """What generate returns begins with the healed prompt, and greedy decoding from it gives the rest."""
    model, engine = models
    ours, theirs = tokenizers
    healed_prompts = 0
    for prompt in PROMPTS:
        ids = theirs(prompt, return_tensors="pt").input_ids
        expected = model.generate(
            ids, tokenizer=theirs, token_healing=True, max_new_tokens=2, do_sample=False
        )[0].tolist()
        healed = heal(engine, ours, ids[0].tolist())
        assert healed.method == "transformers", prompt
        written = healed.prompt_ids
        for _ in range(2):
            logits = engine.forward([Prefix(written)]).logits
            assert logits is not None
            written = (*written, int(logits[0, -1].argmax()))
        assert list(written) == expected, prompt
        healed_prompts += bool(healed.steps)
    assert healed_prompts == 6


def test_where_transformers_crashes_the_bytes_are_healed(
    models: tuple[Any, TableEngine], tokenizers: tuple[Tokenizer, Any]
) -> None:
    """It looks for "é" among tokens that spell bytes as letters, where "é" stands for another byte."""
    model, engine = models
    ours, theirs = tokenizers
    ids = theirs("café", return_tensors="pt").input_ids
    with pytest.raises(KeyError):
        model.heal_tokens(ids.clone(), theirs)
    healed = heal(engine, ours, ids[0].tolist())
    assert healed.method == "bytes"
    assert healed.removed_bytes == "é".encode()
    assert ours.decode_bytes(healed.prompt_ids).startswith("café".encode())


def test_transformers_cannot_heal_without_a_begin_of_text_token(
    models: tuple[Any, TableEngine], tokenizers: tuple[Tokenizer, Any]
) -> None:
    """huggingface/transformers#36210, still so in 5.23."""
    model, engine = models
    ours, theirs = tokenizers
    ids = theirs("The link is http:", return_tensors="pt").input_ids
    name = theirs.bos_token
    theirs.bos_token = None
    try:
        with pytest.raises(TypeError, match="where"):
            model.heal_tokens(ids.clone(), theirs)
    finally:
        theirs.bos_token = name
    roles = {role: token_id for role, token_id in ours.roles.items() if role != "bos"}
    healed = heal(engine, Tokenizer(ours.scheme, roles=roles), ids[0].tolist())
    assert healed.method == "bytes"
    assert ours.decode_bytes(healed.prompt_ids).startswith(b"The link is http:")


def test_transformers_drops_control_tokens_and_we_do_not(
    models: tuple[Any, TableEngine], tokenizers: tuple[Tokenizer, Any]
) -> None:
    """A chat without its marks is another prompt."""
    model, engine = models
    ours, theirs = tokenizers
    ids = theirs("<|im_start|>user\nThe link is http:", return_tensors="pt").input_ids
    assert 1 in ids[0].tolist()
    assert 1 not in model.heal_tokens(ids.clone(), theirs)[0].tolist()
    healed = heal(engine, ours, ids[0].tolist())
    assert (healed.method, healed.prompt_ids[0]) == ("bytes", 1)


def test_the_embedded_model_heals_a_link(smollm2: Any) -> None:
    """A real model, both ways: after "http:" comes "//", in one token with the colon."""
    prompt = smollm2.tokenize('The link is <a href="http:').ids
    for method in ("transformers", "bytes"):
        healed = heal(smollm2.engine, smollm2.tokenizer, prompt, method=method)
        assert smollm2.detokenize(healed.prompt_ids) == 'The link is <a href="http://'
        assert healed.removed_bytes.endswith(b":")
        assert healed.steps[0].chosen.p > 0.5
