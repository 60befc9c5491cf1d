"""A transformer as an ONNX graph: one readable function for each part of a block.

The *body* maps embedded tokens to the normalised hidden state, and writes keys and values into buffers that
are bound as both past and present; the *head* maps hidden states to logits. Weights stay outside the graph,
as named arrays handed over at session creation, so nothing large is ever serialised.

Body inputs: `x` (N, D) float32; `position_ids` (1, N) int64; `bias` and, where some layers have a sliding
window, `bias_local` (1, 1, N, T) float32, 0 where token n may look at slot t and very negative elsewhere;
`seqlens_k` (1,) int32 = T - 1; `total` (1,) int32 = T; `cos`, `sin` (slots, width / 2), or where the
operator cannot rotate this width `cos_n`, `sin_n` (N, 1, width / 2) instead of them and of `position_ids`;
for each layer `past_k.i`, `past_v.i` (1, kv_heads, slots, head). Outputs: `hidden` (N, D), `residual.i` (N,
D) for the blocks 1 .. n - 1, and `present_k.i`, `present_v.i`.

Node kinds are ONNX Runtime's fused ones (contrib operators, "com.microsoft"), which keep a 30-layer model
below 400 nodes; a graph of small standard operators costs 8-15 ms more a step.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tokenglass.engines.nodes import Array, Graph, Part, arrays, floats, matmul
from tokenglass.engines.spec import ModelSpec
from tokenglass.engines.tensors import Dense, Linear, Precision, widen
from tokenglass.engines.weights import Weights


def padded_head(spec: ModelSpec) -> int:
    """Width of a head in the buffers: the attention operator wants multiples of 8."""
    return -(-spec.head_dim // 8) * 8


def rotates_inside(spec: ModelSpec, head: int) -> bool:
    """Whether the attention operator can rotate: it wants heads and rotated widths in multiples of 16."""
    rope = spec.rope
    return rope is not None and head == spec.head_dim and head % 16 == 0 and rope.width % 16 == 0


def build_body(weights: Weights, precision: Precision, *, dense: bool = False) -> Part:
    """The graph from embedded tokens to the normalised hidden state.

    Args:
        weights: of the model.
        precision: "exact" computes with float32 activations, "fast" with int8 ones inside block matrices.
        dense: widen every block matrix to float32; faster for several tokens at once, at 8 times the memory.
    """
    return _Body(weights, precision, dense).build()


def build_head(weights: Weights, precision: Precision) -> Part:
    """The graph from hidden states (N, D) to logits (N, V)."""
    spec, graph = weights.spec, Graph()
    matmul(graph, "h", _head_matrix(weights, precision), "logits", precision)
    inputs = [floats("h", ["N", spec.hidden_size])]
    return Part(graph.serialized(inputs, [floats("logits", ["N", spec.vocab_size])]), graph.weights)


def head_weights(weights: Weights, precision: Precision) -> dict[str, Array]:
    """The arrays of `build_head` alone, for a head graph that is at hand already."""
    matrix = _head_matrix(weights, precision)
    return {name: np.require(a, requirements=["C", "A"]) for name, a in arrays(matrix, "logits").items()}


def _head_matrix(weights: Weights, precision: Precision) -> Linear:
    # no float32 kernel reads 8-bit blocks fast
    return widen(weights.head()) if precision == "exact" else weights.head()


class _Body:
    """Writes the body block by block; each method appends one part and returns its output's name."""

    def __init__(self, weights: Weights, precision: Precision, dense: bool) -> None:
        self.w, self.spec, self.g = weights, weights.spec, Graph()
        self.precision, self.dense = precision, dense
        self.head = padded_head(self.spec)
        self.fused_rope = rotates_inside(self.spec, self.head)

    def build(self) -> Part:
        spec, g = self.spec, self.g
        residual = "x"
        normed = self.norm("x", "norm1", 0, "norm1.0")
        for layer in range(spec.layers):
            attended = self.attention(normed, layer)
            if spec.parallel:
                normed = self.norm(residual, "norm2", layer, f"norm2.{layer}")
                both = g.add("Add", [attended, self.feed_forward(normed, layer)], f"both.{layer}")
                normed, residual = self.next_norm(both, residual, layer)
            else:
                normed, residual = self.skip_norm(attended, residual, "norm2", layer, f"mid.{layer}")
                normed, residual = self.next_norm(self.feed_forward(normed, layer), residual, layer)
        return Part(g.serialized(self.inputs(), self.outputs()), g.weights)

    # ------------------------------------------------------------------ norms

    def norm(self, x: str, role: str, layer: int, out: str) -> str:
        scale, shift = self.w.norm(role, layer)
        names = [x, self.g.weight(f"{role}.{layer}.scale", scale)]
        if self.spec.rms:
            op = "SimplifiedLayerNormalization"
        else:
            op = "LayerNormalization"
            names.append(self.g.weight(f"{role}.{layer}.shift", shift))
        return self.g.add(op, names, out, axis=-1, epsilon=self.spec.eps)

    def skip_norm(
        self, x: str, residual: str, role: str, layer: int, out: str, sums: str = ""
    ) -> tuple[str, str]:
        """Add to the residual and normalise in one node; returns (normed, new residual)."""
        scale, shift = self.w.norm(role, layer)
        names = [x, residual, self.g.weight(f"{role}.{layer}.scale", scale)]
        op = "SkipSimplifiedLayerNormalization"
        if not self.spec.rms:
            op = "SkipLayerNormalization"
            names.append(self.g.weight(f"{role}.{layer}.shift", shift))
        sums = sums or f"{out}.sum"
        self.g.add(op, names, [out, "", "", sums], fused=True, epsilon=self.spec.eps)
        return out, sums

    def next_norm(self, x: str, residual: str, layer: int) -> tuple[str, str]:
        """Close a block: the residual after it, normalised for the next block or for the head."""
        if layer == self.spec.layers - 1:
            return self.skip_norm(x, residual, "norm", 0, "hidden")
        return self.skip_norm(x, residual, "norm1", layer + 1, f"norm1.{layer + 1}", f"residual.{layer + 1}")

    # -------------------------------------------------------------- attention

    def attention(self, x: str, layer: int) -> str:
        g, spec, head = self.g, self.spec, self.head
        parts = [_pad_rows(m, spec.head_dim, head) for m in self.w.qkv(layer)]
        names = [self.linear(x, m, f"qkv.{layer}.{i}") for i, m in enumerate(parts)]
        q, k, v = self.heads(names, layer)
        local = spec.is_local(layer)
        bias = "bias_local" if local else "bias"
        tables = ["cos", "sin", "position_ids"] if self.fused_rope else ["", "", ""]
        inputs = [q, k, v, f"past_k.{layer}", f"past_v.{layer}", "seqlens_k", "total", *tables, bias]
        outputs = [f"attention.{layer}", f"present_k.{layer}", f"present_v.{layer}"]
        g.add(
            "GroupQueryAttention",
            inputs,
            outputs,
            fused=True,
            num_heads=spec.heads,
            kv_num_heads=spec.kv_heads,
            do_rotary=int(self.fused_rope),
            scale=1 / sqrt(spec.head_dim),
        )
        width = g.constant(-1, spec.heads * head)
        flat = g.add("Reshape", [outputs[0], width], f"attention.{layer}.flat")
        return self.linear(flat, _pad_columns(self.w.o(layer), spec.head_dim, head), f"o.{layer}")

    def heads(self, names: list[str], layer: int) -> tuple[str, str, str]:
        """Queries, keys and values as (1, N, heads * head), normalised and rotated where the model asks."""
        g, spec = self.g, self.spec
        q, kv = spec.heads * self.head, spec.kv_heads * self.head
        outside = spec.rope is not None and not self.fused_rope
        if len(names) == 1 and not spec.qk_norm and not outside:
            packed = g.add("Reshape", [names[0], g.constant(1, -1, q + 2 * kv)], f"qkv.{layer}")
            return packed, "", ""
        if len(names) == 1:
            names = [f"{role}.{layer}" for role in "qkv"]
            g.add("Split", [f"qkv.{layer}.0", g.constant(q, kv, kv)], names, axis=-1)
        ready = []
        for role, name, width in zip("qkv", names, (q, kv, kv), strict=True):
            if spec.qk_norm and role != "v":
                name = self.head_norm(name, role, layer, width)
            name = g.add("Reshape", [name, g.constant(1, -1, width)], f"{role}.{layer}.seq")
            if outside and role != "v":
                name = self.rotate(name, role, layer, width)
            ready.append(name)
        return ready[0], ready[1], ready[2]

    def head_norm(self, name: str, role: str, layer: int, width: int) -> str:
        """Normalise each head on its own (Qwen3)."""
        g = self.g
        split = g.add(
            "Reshape", [name, g.constant(-1, width // self.head, self.head)], f"{role}.{layer}.heads"
        )
        if self.head == self.spec.head_dim:
            return self.norm(split, f"{role}_norm", layer, f"{role}.{layer}.normed")
        # A padded head would count its zeros into the mean square: normalise the real part, then pad again.
        real, extra = self.spec.head_dim, self.head - self.spec.head_dim
        parts = [f"{role}.{layer}.real", f"{role}.{layer}.zeros"]
        g.add("Split", [split, g.constant(real, extra)], parts, axis=-1)
        normed = self.norm(parts[0], f"{role}_norm", layer, f"{role}.{layer}.normed")
        return g.add("Concat", [normed, parts[1]], f"{role}.{layer}.padded", axis=-1)

    def rotate(self, name: str, role: str, layer: int, width: int) -> str:
        """Rotate outside the attention operator, for the widths that it refuses."""
        g, spec = self.g, self.spec
        assert spec.rope is not None
        heads, half = width // self.head, spec.rope.width // 2
        x = g.add("Reshape", [name, g.constant(-1, heads, self.head)], f"{role}.{layer}.split")
        a, b, rest = (f"{role}.{layer}.{part}" for part in ("a", "b", "rest"))
        tail = self.head - 2 * half
        sizes = [half, half] + ([tail] if tail else [])
        g.add("Split", [x, g.constant(*sizes)], [a, b] + ([rest] if tail else []), axis=-1)
        ac, bs = g.add("Mul", [a, "cos_n"], a + "c"), g.add("Mul", [b, "sin_n"], b + "s")
        bc, as_ = g.add("Mul", [b, "cos_n"], b + "c"), g.add("Mul", [a, "sin_n"], a + "s")
        turned = [g.add("Sub", [ac, bs], a + "r"), g.add("Add", [bc, as_], b + "r")]
        joined = g.add("Concat", turned + ([rest] if tail else []), f"{role}.{layer}.turned", axis=-1)
        return g.add("Reshape", [joined, g.constant(1, -1, width)], f"{role}.{layer}.rotated")

    # ----------------------------------------------------------- feed-forward

    def feed_forward(self, x: str, layer: int) -> str:
        g, spec = self.g, self.spec
        names = [self.linear(x, m, f"up.{layer}.{i}") for i, m in enumerate(self.w.up(layer))]
        if not spec.gated:
            return self.linear(self.activate(names[0], f"act.{layer}"), self.w.down(layer), f"down.{layer}")
        if len(names) == 1:
            names = [f"gate.{layer}", f"up.{layer}"]
            g.add("Split", [f"up.{layer}.0"], names, axis=-1, num_outputs=2)
        gate = self.activate(names[0], f"act.{layer}")
        product = g.add("Mul", [gate, names[1]], f"gated.{layer}")
        return self.linear(product, self.w.down(layer), f"down.{layer}")

    def activate(self, x: str, out: str) -> str:
        kind = self.spec.activation
        if kind == "silu":
            return self.g.add("QuickGelu", [x], out, fused=True, alpha=1.0)  # x * sigmoid(x)
        if kind == "relu":
            return self.g.add("Relu", [x], out)
        return self.g.add("Gelu", [x], out, approximate="tanh" if kind == "gelu_tanh" else "none")

    def linear(self, x: str, matrix: Linear, out: str) -> str:
        return matmul(self.g, x, widen(matrix) if self.dense else matrix, out, self.precision)

    # ------------------------------------------------------- inputs, outputs

    def inputs(self) -> list[Any]:
        from onnx import TensorProto, helper

        spec = self.spec
        named = [floats("x", ["N", spec.hidden_size]), floats("bias", [1, 1, "N", "T"])]
        if spec.window is not None:
            named.append(floats("bias_local", [1, 1, "N", "T"]))
        for name in ("seqlens_k", "total"):
            named.append(helper.make_tensor_value_info(name, TensorProto.INT32, [1]))
        if spec.rope is not None:
            half = spec.rope.width // 2
            if self.fused_rope:
                named.append(helper.make_tensor_value_info("position_ids", TensorProto.INT64, [1, "N"]))
                named += [floats(name, ["R", half]) for name in ("cos", "sin")]
            else:
                named += [floats(name, ["N", 1, half]) for name in ("cos_n", "sin_n")]
        return named + [floats(f"past_{a}.{i}", self.cache_shape()) for i in range(spec.layers) for a in "kv"]

    def outputs(self) -> list[Any]:
        spec = self.spec
        residuals = [floats(f"residual.{i}", ["N", spec.hidden_size]) for i in range(1, spec.layers)]
        present = [floats(f"present_{a}.{i}", self.cache_shape()) for i in range(spec.layers) for a in "kv"]
        return [floats("hidden", ["N", spec.hidden_size]), *residuals, *present]

    def cache_shape(self) -> list[int | str]:
        return [1, self.spec.kv_heads, "S", self.head]


def _pad_rows(matrix: Linear, head: int, padded: int) -> Linear:
    """Zero rows after each head, so that the attention operator accepts its width."""
    if head == padded:
        return matrix
    dense = widen(matrix)

    def pad(a: Array) -> Array:
        split = a.reshape(-1, head, *a.shape[1:])
        widths = [(0, 0), (0, padded - head)] + [(0, 0)] * (a.ndim - 1)
        return np.pad(split, widths).reshape(-1, *a.shape[1:])

    return Dense(pad(dense.weight), None if dense.bias is None else pad(dense.bias))


def _pad_columns(matrix: Linear, head: int, padded: int) -> Linear:
    """Zero columns that meet the padded part of each head."""
    if head == padded:
        return matrix
    dense = widen(matrix)
    out = dense.shape[0]
    split = np.pad(dense.weight.reshape(out, -1, head), [(0, 0), (0, 0), (0, padded - head)])
    return Dense(np.ascontiguousarray(split.reshape(out, -1)), dense.bias)
