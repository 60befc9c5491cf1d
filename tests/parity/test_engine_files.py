"""How weights may be stored, and what is refused rather than computed wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity import families
from tests.parity.test_engine_transformers import assert_same
from tokenglass.engines.base import Prefix
from tokenglass.errors import ModelDamaged, ModelUnsupported

pytest.importorskip("transformers")
IDS = tuple(range(3, 40))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shard", [None, "60KB"], ids=["single", "sharded"])
def test_dtypes_and_shards(dtype: str, shard: str | None, tmp_path: Path) -> None:
    """The reference computes in float32 over the rounded weights, as the native engine computes."""
    theirs = families.make("llama-grouped", tmp_path, dtype=dtype, shard=shard)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard is not None)
    got = families.engine(tmp_path, threads=1).forward([Prefix(IDS)], last=len(IDS)).logits[0]
    assert_same(got, families.reference(theirs, list(IDS)))


def rewritten(folder: Path, change: Any) -> None:
    """Rewrite a folder's single safetensors file."""
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    tensors = {name: np.ascontiguousarray(a) for name, a in change(load_file(path)).items()}
    save_file(tensors, path)


def test_gpt2_checkpoints_with_and_without_the_wrappers_prefix(tmp_path: Path) -> None:
    """The hub's gpt2 has no "transformer." and carries the causal mask as a tensor."""
    theirs = families.make("gpt2", tmp_path)

    def bare(tensors: dict[str, Any]) -> dict[str, Any]:
        mask = {f"h.{i}.attn.bias": np.tril(np.ones((1, 1, 256, 256), np.float32)) for i in range(3)}
        return {name.removeprefix("transformer."): a for name, a in tensors.items()} | mask

    rewritten(tmp_path, bare)
    got = families.engine(tmp_path, threads=1).forward([Prefix(IDS)]).logits[0]
    assert_same(got, families.reference(theirs, list(IDS))[-1:])


def test_an_unknown_tensor_is_refused_by_name(tmp_path: Path) -> None:
    families.make("llama", tmp_path)
    rewritten(tmp_path, lambda t: t | {"model.layers.0.self_attn.adapter": np.ones(4, np.float32)})
    with pytest.raises(ModelUnsupported, match=r"unknown tensor 'model\.layers\.0\.self_attn\.adapter'"):
        families.engine(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    families.make("llama", tmp_path)
    rewritten(tmp_path, lambda t: {k: v for k, v in t.items() if k != "model.layers.1.mlp.up_proj.weight"})
    with pytest.raises(ModelDamaged, match=r"no tensor model\.layers\.1\.mlp\.up_proj\.weight"):
        families.engine(tmp_path)


def test_a_shape_that_contradicts_the_configuration_is_named(tmp_path: Path) -> None:
    families.make("llama", tmp_path)
    rewritten(tmp_path, lambda t: t | {"model.layers.1.mlp.up_proj.weight": np.ones((95, 64), np.float32)})
    with pytest.raises(ModelDamaged, match=r"has shape \(95, 64\), the configuration asks for \(96, 64\)"):
        families.engine(tmp_path)


def test_a_norm_of_the_wrong_length_is_named(tmp_path: Path) -> None:
    families.make("llama", tmp_path)
    rewritten(tmp_path, lambda t: t | {"model.norm.weight": np.ones(63, np.float32)})
    with pytest.raises(ModelDamaged, match=r"model\.norm\.weight has shape \(63,\)"):
        families.engine(tmp_path)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attn_logit_softcapping": 50.0}, ModelUnsupported, "unknown field 'attn_logit_softcapping'"),
        ({"model_type": "mamba"}, ModelUnsupported, "model_type 'mamba' has no native graph"),
        ({"hidden_act": "quick_gelu"}, ModelUnsupported, "hidden_act 'quick_gelu' is not built in"),
        ({"quantization_config": {"bits": 4}}, ModelUnsupported, "quantization_config="),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, ModelUnsupported, "rope scaling yarn"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, ModelUnsupported, "rope scaling dynamic"),
        ({"rope_parameters": {"rope_type": "llama3"}}, ModelDamaged, "rope scaling 'llama3' is incomplete"),
        ({"num_attention_heads": 0}, ModelDamaged, r"num_attention_heads must be a whole number in \[1"),
        ({"num_attention_heads": "4"}, ModelDamaged, "got '4'"),
        ({"num_key_value_heads": 3}, ModelDamaged, "4 heads cannot share 3 key/value heads"),
        ({"rms_norm_eps": -1}, ModelDamaged, "rms_norm_eps must be a positive number, got -1"),
        ({"eos_token_id": 999}, ModelDamaged, "special token id 999 is outside the vocabulary of 211"),
        ({"auto_map": {"AutoModel": "x.Y"}}, ModelUnsupported, "auto_map"),
    ],
)
def test_configurations_that_are_refused(
    change: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    families.make("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    with pytest.raises(error, match=message) as caught:
        families.engine(tmp_path)
    assert "\n" not in str(caught.value)
