"""Seeded small models of every family, made and judged by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

VOCAB = 211

# name -> (config class, fields): each a shape that could go wrong on its own
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", {"n_embd": 64, "n_head": 4, "n_layer": 3, "n_positions": 256}),
    "gpt2-heads-of-24": ("GPT2Config", {"n_embd": 72, "n_head": 3, "n_layer": 2, "n_positions": 256}),
    "gpt2-heads-of-20": (
        "GPT2Config",
        {"n_embd": 60, "n_head": 3, "n_layer": 2, "n_inner": 96, "n_positions": 256},
    ),
    "llama": ("LlamaConfig", {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4}),
    "llama-grouped": ("LlamaConfig", {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2}),
    "llama-tied": (
        "LlamaConfig",
        {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 1, "tie_word_embeddings": True},
    ),
    "llama-wide-heads": (
        "LlamaConfig",
        {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32},
    ),
    "llama-heads-of-24": (
        "LlamaConfig",
        {"hidden_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24},
    ),
    "llama-heads-of-80": (
        "LlamaConfig",
        {"hidden_size": 160, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 80},
    ),
    "llama-heads-of-12": (
        "LlamaConfig",
        {"hidden_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12},
    ),
    "llama-biases": (
        "LlamaConfig",
        {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
    "llama-linear-rope": (
        "LlamaConfig",
        {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
        },
    ),
    "llama-3-rope": (
        "LlamaConfig",
        {
            "hidden_size": 128,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
                "rope_theta": 10000.0,
            },
        },
    ),
    "mistral-window": (
        "MistralConfig",
        {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "sliding_window": 9,
        },
    ),
    "qwen2": ("Qwen2Config", {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}),
    "qwen2-window": (
        "Qwen2Config",
        {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "use_sliding_window": True,
            "sliding_window": 7,
            "max_window_layers": 1,
        },
    ),
    "qwen3": (
        "Qwen3Config",
        {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32},
    ),
    "qwen3-heads-of-20": (
        "Qwen3Config",
        {"hidden_size": 60, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 20},
    ),
    "neox-4-of-16": ("GPTNeoXConfig", {"hidden_size": 64, "num_attention_heads": 4, "rotary_pct": 0.25}),
    "neox-20-of-80": ("GPTNeoXConfig", {"hidden_size": 160, "num_attention_heads": 2, "rotary_pct": 0.25}),
    "neox-16-of-64": ("GPTNeoXConfig", {"hidden_size": 128, "num_attention_heads": 2, "rotary_pct": 0.25}),
    "neox-serial": (
        "GPTNeoXConfig",
        {"hidden_size": 64, "num_attention_heads": 4, "rotary_pct": 1.0, "use_parallel_residual": False},
    ),
}

# Families without a native graph, for the hf engine: positions of every kind, windows, experts, states.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "opt": (
        "OPTConfig",
        {"hidden_size": 64, "num_attention_heads": 4, "ffn_dim": 96, "word_embed_proj_dim": 64},
    ),
    "phi": ("PhiConfig", {"hidden_size": 64, "num_attention_heads": 4, "partial_rotary_factor": 0.5}),
    "bloom": ("BloomConfig", {"hidden_size": 64, "n_head": 4, "n_layer": 3}),
    "gemma": (
        "GemmaConfig",
        {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16},
    ),
    "gemma2-window": (
        "Gemma2Config",
        {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "sliding_window": 7,
            "query_pre_attn_scalar": 16,
        },
    ),
    "phi3-longrope": (
        "Phi3Config",
        {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "pad_token_id": 0,
            "original_max_position_embeddings": 40,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0] * 8,
                "long_factor": [1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
                "original_max_position_embeddings": 40,
            },
        },
    ),
    "mixtral": (
        "MixtralConfig",
        {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
        },
    ),
    "mamba": ("MambaConfig", {"hidden_size": 64, "state_size": 8}),
    "lfm2": (
        "Lfm2Config",
        {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "layer_types": ["conv", "full_attention", "conv"],
        },
    ),
    "rwkv": ("RwkvConfig", {"hidden_size": 64, "context_length": 256}),
}


def make(
    name: str, folder: Path, *, dtype: str = "float32", shard: str | None = None, vocab_size: int = VOCAB
) -> Any:
    """Save a seeded model of a shape and return transformers' own, in float32 with eager attention."""
    import torch
    import transformers

    kind, fields = {**SHAPES, **OTHERS}[name]
    common = {"vocab_size": vocab_size, "bos_token_id": 1, "eos_token_id": 2}
    if kind != "GPT2Config":
        common |= {"num_hidden_layers": 3, "intermediate_size": 96, "max_position_embeddings": 256}
    config = getattr(transformers, kind)(**{**common, **fields})
    torch.manual_seed(sum(name.encode()))
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # random initialisation is nearly flat, norms are 1 and biases 0: make every one of them matter
            spread = 0.15 if parameter.dim() > 1 else 0.3
            parameter.add_(torch.randn_like(parameter) * spread)
    if dtype == "float32" and shard is None:
        model.save_pretrained(folder)
        return model
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=shard or "1GB")
    # read back: `to` rounds the rotary frequencies as well, which no file holds
    kind = transformers.AutoModelForCausalLM
    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def reference(model: Any, ids: list[int]) -> np.ndarray:
    """Logits of every position by transformers, (T, V) float32."""
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def engine(folder: Path, precision: str = "exact", **options: Any) -> Any:
    """The native engine over a saved folder."""
    from tokenglass.engines import opening
    from tokenglass.files.layout import from_folder
    from tokenglass.files.safetensors import read_header

    files = from_folder(folder, folder.name)
    opened = opening.open_folder(files, [(p, read_header(p).tensors) for p in files.weights], precision)
    return opening.start(opened, **options)
