"""A small llama of the native engine with a tokenizer of bytes, made from a seed; and inputs for batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

import tokenglass as tg

ROOT = Path(__file__).resolve().parents[1]
WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 2, 4, 96, 256
END = "<end>"
PREFIXES = ("Once upon a time, ", "The capital of ", "Roses are red, ", "")


def make(folder: Path) -> Path:
    """Write the model's files; returns the folder."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END])
    backend.save(str(folder / "tokenizer.json"))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 2,
        "vocab_size": len(alphabet) + 1,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "eos_token_id": len(alphabet),
        "bos_token_id": len(alphabet),
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(_tensors(len(alphabet) + 1), folder / "model.safetensors")
    return folder


def _tensors(vocabulary: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(columns), (rows, columns)).astype(np.float32)

    tensors = {"model.embed_tokens.weight": matrix(vocabulary, WIDTH) * 8}
    tensors |= {
        "model.norm.weight": np.full(WIDTH, 1.5, np.float32),
        "lm_head.weight": matrix(vocabulary, WIDTH),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        tensors |= {
            f"{at}{norm}.weight": np.ones(WIDTH, np.float32)
            for norm in ("input_layernorm", "post_attention_layernorm")
        }
        tensors |= {f"{at}self_attn.{name}_proj.weight": matrix(WIDTH, WIDTH) for name in "qo"}
        tensors |= {f"{at}self_attn.{name}_proj.weight": matrix(WIDTH // 2, WIDTH) for name in "kv"}
        tensors |= {f"{at}mlp.{name}_proj.weight": matrix(INNER, WIDTH) for name in ("gate", "up")}
        tensors[f"{at}mlp.down_proj.weight"] = matrix(WIDTH, INNER)
    return tensors


def prompts(count: int, seed: int = 1) -> list[str]:
    """Prompts of a few beginnings each shared by many, in no order."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghij"))
    return [
        PREFIXES[rng.integers(len(PREFIXES))] + "".join(rng.choice(letters, rng.integers(1, 7)))
        for _ in range(count)
    ]


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    """Rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def command(*words: str | Path) -> tuple[list[str], dict[str, str]]:
    """A tokenglass command for a process of its own, and its environment."""
    folders = [str(Path(tg.__file__).parents[1]), str(ROOT)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    return [sys.executable, "-m", "tokenglass", *map(str, words)], environment


def run(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a tokenglass command to its end."""
    argv, environment = command(*words)
    return subprocess.run(argv, env=environment | variables, capture_output=True, text=True, cwd=ROOT)
