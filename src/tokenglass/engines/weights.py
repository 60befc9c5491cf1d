"""Weights by their role in a transformer, whatever file and naming they come from.

Knows the tensor names of transformers' checkpoints and of GGUF for each family, and which of them are stored
transposed, interleaved or permuted. Every tensor of a file must be one that is used or known to be inert:
an unknown one (an adapter, an extra bias) is refused by name, since ignoring it would change the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokenglass.engines import tensors
from tokenglass.engines.spec import ModelSpec
from tokenglass.engines.tensors import Dense, Floats, Linear, Precision
from tokenglass.errors import ModelDamaged, ModelUnsupported
from tokenglass.files.tensors import TensorInfo, map_file, map_tensor

HF_LLAMA = {
    "embed": "model.embed_tokens",
    "head": "lm_head",
    "norm": "model.norm",
    "norm1": "model.layers.{}.input_layernorm",
    "norm2": "model.layers.{}.post_attention_layernorm",
    "q": "model.layers.{}.self_attn.q_proj",
    "k": "model.layers.{}.self_attn.k_proj",
    "v": "model.layers.{}.self_attn.v_proj",
    "q_norm": "model.layers.{}.self_attn.q_norm",
    "k_norm": "model.layers.{}.self_attn.k_norm",
    "o": "model.layers.{}.self_attn.o_proj",
    "gate": "model.layers.{}.mlp.gate_proj",
    "up": "model.layers.{}.mlp.up_proj",
    "down": "model.layers.{}.mlp.down_proj",
}
HF_GPT2 = {
    "embed": "wte",
    "head": "lm_head",
    "positions": "wpe",
    "norm": "ln_f",
    "norm1": "h.{}.ln_1",
    "norm2": "h.{}.ln_2",
    "qkv": "h.{}.attn.c_attn",
    "o": "h.{}.attn.c_proj",
    "up": "h.{}.mlp.c_fc",
    "down": "h.{}.mlp.c_proj",
}
HF_NEOX = {
    "embed": "gpt_neox.embed_in",
    "head": "embed_out",
    "norm": "gpt_neox.final_layer_norm",
    "norm1": "gpt_neox.layers.{}.input_layernorm",
    "norm2": "gpt_neox.layers.{}.post_attention_layernorm",
    "qkv": "gpt_neox.layers.{}.attention.query_key_value",
    "o": "gpt_neox.layers.{}.attention.dense",
    "up": "gpt_neox.layers.{}.mlp.dense_h_to_4h",
    "down": "gpt_neox.layers.{}.mlp.dense_4h_to_h",
}
GGUF = {
    "embed": "token_embd",
    "head": "output",
    "positions": "position_embd",
    "norm": "output_norm",
    "norm1": "blk.{}.attn_norm",
    "norm2": "blk.{}.ffn_norm",
    "q": "blk.{}.attn_q",
    "k": "blk.{}.attn_k",
    "v": "blk.{}.attn_v",
    "qkv": "blk.{}.attn_qkv",
    "q_norm": "blk.{}.attn_q_norm",
    "k_norm": "blk.{}.attn_k_norm",
    "o": "blk.{}.attn_output",
    "gate": "blk.{}.ffn_gate",
    "up": "blk.{}.ffn_up",
    "down": "blk.{}.ffn_down",
}
NAMES = {"llama": HF_LLAMA, "qwen2": HF_LLAMA, "qwen3": HF_LLAMA, "gpt2": HF_GPT2, "gpt_neox": HF_NEOX}
# Buffers that old checkpoints carry: causal masks and rotary tables, which the graph has of its own.
INERT = re.compile(r".*\.(attn\.bias|attn\.masked_bias|attention\.(bias|masked_bias)|rotary_emb\.inv_freq)")


class Store(Protocol):
    """Tensors by name."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Where each lies."""
        ...

    def raw(self, name: str) -> NDArray[np.uint8]:
        """Its bytes, a view."""
        ...


class FileStore:
    """Tensors of one or several files, as views of their bytes."""

    def __init__(self, files: Sequence[tuple[Path, Mapping[str, TensorInfo]]]) -> None:
        self._maps = {path: map_file(path) for path, infos in files if infos}
        self._where = {name: path for path, infos in files for name in infos}
        self.infos: Mapping[str, TensorInfo] = {name: i for _, infos in files for name, i in infos.items()}

    def raw(self, name: str) -> NDArray[np.uint8]:
        """The bytes of a tensor, a view."""
        return map_tensor(self.infos[name], self._maps[self._where[name]])


class Weights:
    """The weights of one model by role.

    Args:
        store: the tensors.
        spec: the numbers they must agree with.
        gguf: whether names and layouts are GGUF's rather than transformers'.
        precision: which block types stay in blocks.
    """

    def __init__(self, store: Store, spec: ModelSpec, *, gguf: bool, precision: Precision) -> None:
        self.spec = spec
        self.precision = precision
        self._store = store
        self._gguf = gguf
        self._names = GGUF if gguf else NAMES[spec.family]
        # GPT-2 checkpoints come with and without the wrapper's prefix
        prefixed = not gguf and any(name.startswith("transformer.") for name in store.infos)
        self._prefix = "transformer." if prefixed else ""
        self._refuse_unknown()

    # ------------------------------------------------------------------ by role

    def array(self, role: str, layer: int = 0, part: str = "weight") -> Floats:
        """A norm or a table as float32."""
        name = self._name(role, layer, part)
        info = self._info(name)
        return np.ascontiguousarray(tensors.read_floats(self._store.raw(name), info.dtype, info.shape))

    def has(self, role: str, layer: int = 0, part: str = "weight") -> bool:
        """Whether the file has such a tensor."""
        return role in self._names and self._name(role, layer, part) in self._store.infos

    def norm(self, role: str, layer: int = 0) -> tuple[Floats, Floats]:
        """(D,) scale and (D,) shift of a norm; the shift is zero where there is none."""
        width = self.spec.head_dim if role in ("q_norm", "k_norm") else self.spec.hidden_size
        scale = self._vector(role, layer, "weight", width)
        if not self.has(role, layer, "bias"):
            return scale, np.zeros_like(scale)
        return scale, self._vector(role, layer, "bias", width)

    def embed(self, ids: NDArray[np.int64]) -> Floats:
        """(N, D) float32 embeddings of N ids, widened row by row."""
        return self._rows("embed", ids)

    def positions(self, positions: NDArray[np.int64]) -> Floats:
        """(N, D) float32 learned position embeddings."""
        return self._rows("positions", positions)

    def head(self) -> Linear:
        """(V, D): the unembedding, which may be the embedding itself."""
        role = "embed" if self.spec.tied else "head"
        return self._linear(role, 0, (self.spec.vocab_size, self.spec.hidden_size))

    def qkv(self, layer: int) -> list[Linear]:
        """Queries, keys and values as one matrix where their storage allows, else as three."""
        s = self.spec
        q, kv = s.heads * s.head_dim, s.kv_heads * s.head_dim
        if self.has("qkv", layer):
            fused = self._linear("qkv", layer, (q + 2 * kv, s.hidden_size))
            if s.family == "gpt_neox" and not self._gguf:
                fused = tensors.take_rows(fused, _deinterleaved(s.heads, s.head_dim))
            parts = [fused]
        else:
            parts = [self._linear(r, layer, (n, s.hidden_size)) for r, n in (("q", q), ("k", kv), ("v", kv))]
            if self._gguf and s.family == "llama":
                # llama.cpp stores rotary pairs side by side; the graph rotates halves
                for i, heads in ((0, s.heads), (1, s.kv_heads)):
                    parts[i] = tensors.take_rows(parts[i], _unpermuted(heads, s.head_dim))
        joined = tensors.stack(parts)
        return parts if joined is None else [joined]

    def o(self, layer: int) -> Linear:
        """(D, heads * head_dim): what attention adds to the residual."""
        return self._linear("o", layer, (self.spec.hidden_size, self.spec.heads * self.spec.head_dim))

    def up(self, layer: int) -> list[Linear]:
        """The feed-forward's inputs: gate and up as one matrix or two, or `up` alone."""
        shape = (self.spec.ffn_size, self.spec.hidden_size)
        parts = [self._linear(r, layer, shape) for r in (("gate", "up") if self.spec.gated else ("up",))]
        joined = tensors.stack(parts)
        return parts if joined is None else [joined]

    def down(self, layer: int) -> Linear:
        """(D, F): what the feed-forward adds to the residual."""
        return self._linear("down", layer, (self.spec.hidden_size, self.spec.ffn_size))

    def summary(self) -> str:
        """Storage types with their counts, such as "210 x Q4_1, 61 x F32"."""
        dtypes = [info.dtype for info in self._store.infos.values()]
        counts = sorted(((dtypes.count(d), d) for d in set(dtypes)), reverse=True)
        return ", ".join(f"{n} x {d}" for n, d in counts)

    def parameters(self) -> int:
        """Number of weights, a tied embedding counted once."""
        return sum(i.size for n, i in self._store.infos.items() if self._used(n) and not self._copy(n))

    def in_blocks(self) -> bool:
        """Whether any matrix stays in blocks at this precision."""
        return any(tensors.keeps_blocks(info.dtype, self.precision) for info in self._store.infos.values())

    # ------------------------------------------------------------------ by name

    def _name(self, role: str, layer: int, part: str) -> str:
        prefix = "" if role == "head" else self._prefix
        return f"{prefix}{self._names[role].format(layer)}.{part}"

    def _info(self, name: str) -> TensorInfo:
        info = self._store.infos.get(name)
        if info is None:
            raise ModelDamaged(f"the weights have no tensor {name}, which the configuration asks for")
        return info

    def _vector(self, role: str, layer: int, part: str, length: int) -> Floats:
        array = self.array(role, layer, part)
        if array.shape != (length,):
            name = self._name(role, layer, part)
            raise ModelDamaged(
                f"tensor {name} has shape {array.shape}, the configuration asks for {(length,)}"
            )
        return array

    def _linear(self, role: str, layer: int, shape: tuple[int, int]) -> Linear:
        name = self._name(role, layer, "weight")
        info = self._info(name)
        transposed = self.spec.family == "gpt2" and not self._gguf and role not in ("embed", "head")
        stored = shape[::-1] if transposed else shape
        if info.shape != stored:
            raise ModelDamaged(f"tensor {name} has shape {info.shape}, the configuration asks for {stored}")
        bias = self._vector(role, layer, "bias", shape[0]) if self.has(role, layer, "bias") else None
        raw = self._store.raw(name)
        if tensors.keeps_blocks(info.dtype, self.precision):
            blocks = tensors.read_blocks(raw, info.dtype, stored)
            return replace(blocks, bias=bias)
        weight = tensors.read_floats(raw, info.dtype, stored)
        return Dense(np.ascontiguousarray(weight.T if transposed else weight), bias)

    def _rows(self, role: str, index: NDArray[np.int64]) -> Floats:
        name = self._name(role, 0, "weight")
        info = self._info(name)
        rows = self._store.raw(name).reshape(info.shape[0], -1)[index]
        return tensors.read_floats(rows.reshape(-1), info.dtype, (len(index), info.shape[1]))

    def _used(self, name: str) -> bool:
        return not INERT.fullmatch(name) and name != "rope_freqs.weight"

    def _copy(self, name: str) -> bool:
        """Whether a tensor repeats the embedding that it is tied to."""
        return self.spec.tied and name == self._name("head", 0, "weight")

    def _expected(self) -> Iterator[str]:
        per_layer = [role for role in self._names if "{}" in self._names[role]]
        for role in self._names:
            layers = range(self.spec.layers) if role in per_layer else (0,)
            for layer in layers:
                yield self._name(role, layer, "weight")
                yield self._name(role, layer, "bias")

    def _refuse_unknown(self) -> None:
        known = set(self._expected())
        for name in self._store.infos:
            if self._used(name) and name not in known:
                raise ModelUnsupported(
                    f"unknown tensor {name!a} could change the model's numbers; check its files, or load it "
                    "with engine='hf'"
                )


def _unpermuted(heads: int, head_dim: int) -> NDArray[np.int64]:
    """Row order that turns side-by-side rotary pairs (llama.cpp) into halves (transformers)."""
    pairs = np.arange(heads * head_dim).reshape(heads, head_dim // 2, 2)
    return pairs.swapaxes(1, 2).reshape(-1)


def _deinterleaved(heads: int, head_dim: int) -> NDArray[np.int64]:
    """Row order that turns GPT-NeoX's (head, q|k|v, element) into (q|k|v, head, element)."""
    return np.arange(heads * 3 * head_dim).reshape(heads, 3, head_dim).swapaxes(0, 1).reshape(-1)
