"""Small GGUF files of every family and block type, with transformers' model over the very same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

ARCHITECTURES = {
    "LlamaConfig": "llama",
    "GPT2Config": "gpt2",
    "Qwen2Config": "qwen2",
    "Qwen3Config": "qwen3",
    "GPTNeoXConfig": "gptneox",
}
LLAMA_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
GPT2_NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "lm_head": "output",
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
NEOX_NAMES = {
    "gpt_neox.embed_in": "token_embd",
    "gpt_neox.final_layer_norm": "output_norm",
    "embed_out": "output",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "attention.query_key_value": "attn_qkv",
    "attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up",
    "mlp.dense_4h_to_h": "ffn_down",
}


def write(kind: str, path: Path, dtype: str, seed: int = 0, *, vocabulary: bool = False) -> Any:
    """Write a seeded model whose matrices are stored as `dtype`; returns transformers' over those values.

    With `vocabulary`, a token for each byte but two, so that llama.cpp's server opens it too.
    """
    import gguf
    import torch
    import transformers

    config = _config(transformers, kind)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    architecture = ARCHITECTURES[kind]
    writer = gguf.GGUFWriter(path, architecture)
    _metadata(writer, architecture, config)
    if vocabulary:
        _byte_vocabulary(gguf, writer, config)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name == "lm_head.weight" and config.tie_word_embeddings:
                continue
            spread = 0.15 if parameter.dim() > 1 else 0.3
            value = (parameter + torch.randn_like(parameter) * spread).numpy()
            transposed = architecture == "gpt2" and value.ndim == 2 and ".h." in name  # Conv1D, not Linear
            rows = np.ascontiguousarray(value.T if transposed else value)
            rows, raw, stored = _stored(gguf, rows, dtype, rng, plain="wpe" in name)
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(rows.T if transposed else rows)))
            order = _order(name, architecture, config)
            raw = raw if order is None else raw[order]
            writer.add_tensor(_gguf_name(name, architecture), raw, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _config(transformers: Any, kind: str) -> Any:
    common = {"vocab_size": 256, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": False}
    if kind == "GPT2Config":
        return transformers.GPT2Config(
            n_embd=256, n_head=4, n_layer=2, n_positions=128, n_inner=512, **common
        )
    common |= {"num_hidden_layers": 2, "intermediate_size": 512, "max_position_embeddings": 128}
    extra = {"num_key_value_heads": 2} if kind != "GPTNeoXConfig" else {}
    if kind == "Qwen3Config":
        extra["head_dim"] = 64
    return getattr(transformers, kind)(hidden_size=256, num_attention_heads=4, **extra, **common)


def _metadata(writer: Any, architecture: str, config: Any) -> None:
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(512)
    writer.add_head_count(4)
    if architecture in ("gpt2", "gptneox"):
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(float(np.float32(config.rms_norm_eps)))
    if architecture == "gptneox":
        writer.add_rope_dimension_count(16)
        writer.add_parallel_residual(True)
    if architecture == "qwen3":
        writer.add_key_length(64)
        writer.add_value_length(64)


def _byte_vocabulary(gguf: Any, writer: Any, config: Any) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    names = sorted(ByteLevel.alphabet())
    controls = {config.bos_token_id: "<s>", config.eos_token_id: "</s>"}
    kinds = [gguf.TokenType.CONTROL if i in controls else gguf.TokenType.NORMAL for i in range(len(names))]
    writer.add_vocab_size(len(names))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([controls.get(i, name) for i, name in enumerate(names)])
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_token_merges([f"{names[100]} {names[101]}"])
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_add_bos_token(False)


def _stored(gguf: Any, rows: np.ndarray, dtype: str, rng: Any, plain: bool) -> tuple[np.ndarray, Any, Any]:
    """The values a file holds after storing, its raw rows, and their type."""
    kinds = gguf.GGMLQuantizationType
    if rows.ndim == 1 or plain:
        return rows.astype(np.float32), rows.astype(np.float32), kinds.F32
    kind = kinds[dtype]
    if dtype == "Q4_K":  # the package reads this type but cannot write it: random blocks of a sane size
        raw = rng.integers(0, 256, (len(rows), rows.shape[1] // 256, 144), dtype=np.uint8)
        for at, size in ((0, 0.0004), (2, 0.003)):
            scale = (size * (1 + rng.random(raw.shape[:2]))).astype("<f2")
            raw[..., at : at + 2] = scale[..., None].view(np.uint8)
        raw = raw.reshape(len(rows), -1)
    else:
        raw = gguf.quants.quantize(rows.astype(np.float32), kind)
    return gguf.quants.dequantize(raw, kind), raw, kind


def _order(name: str, architecture: str, config: Any) -> np.ndarray | None:
    """How llama.cpp's converter reorders rows: rotary pairs side by side, GPT-NeoX's q k v apart."""
    if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
        heads = 4 if "q_proj" in name else 2
        index = np.arange(heads * 64).reshape(heads, 2, 32)
        return index.swapaxes(1, 2).reshape(-1)
    if architecture == "gptneox" and "query_key_value" in name:
        return np.arange(4 * 3 * 64).reshape(4, 3, 64).swapaxes(0, 1).reshape(-1)
    return None


def _gguf_name(name: str, architecture: str) -> str:
    names = {"gpt2": GPT2_NAMES, "gptneox": NEOX_NAMES}.get(architecture, LLAMA_NAMES)
    stem, part = name.rsplit(".", 1)
    stem = stem.removeprefix("transformer.")
    pieces = stem.split(".")
    layer = next((i for i, piece in enumerate(pieces) if piece.isdigit()), None)
    if layer is None:
        return f"{names[stem]}.{part}"
    return f"blk.{pieces[layer]}.{names['.'.join(pieces[layer + 1 :])]}.{part}"
