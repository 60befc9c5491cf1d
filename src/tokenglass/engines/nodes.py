"""Writing an ONNX graph: nodes, weights that stay outside, and the matrix product in every storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.engines.tensors import BLOCK, Dense, Linear, Precision

FUSED = "com.microsoft"
OPSET, IR_VERSION = 21, 10
Array = NDArray[Any]


@dataclass
class Graph:
    """Nodes and named weights while a graph is being written.

    Attributes:
        weights: name -> array handed over outside the graph.
        small: name -> int64 constants kept inside.
    """

    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    small: dict[str, list[int]] = field(default_factory=dict)
    sums: dict[str, str] = field(default_factory=dict)

    def add(
        self, op: str, inputs: list[str], outputs: list[str] | str, *, fused: bool = False, **kw: Any
    ) -> str:
        """Append a node and return its first output."""
        from onnx import helper

        names = [outputs] if isinstance(outputs, str) else outputs
        domain = FUSED if fused else ""
        self.nodes.append(helper.make_node(op, inputs, names, name=names[0], domain=domain, **kw))
        return names[0]

    def weight(self, name: str, array: Array) -> str:
        """Name an array that is handed over outside the graph."""
        self.weights[name] = np.require(array, requirements=["C", "A"])
        return name

    def constant(self, *values: int) -> str:
        """Name a small list of whole numbers."""
        name = "ints_" + "_".join(str(v).replace("-", "m") for v in values)
        self.small[name] = list(values)
        return name

    def serialized(self, inputs: list[Any], outputs: list[Any]) -> bytes:
        """The finished model, weights left outside."""
        from onnx import TensorProto, helper

        constants = [helper.make_tensor(n, TensorProto.INT64, [len(v)], v) for n, v in self.small.items()]
        outside = [_outside(name, array) for name, array in self.weights.items()]
        graph = helper.make_graph(self.nodes, "tokenglass", inputs, outputs, initializer=outside + constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
        data: bytes = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION
        ).SerializeToString()
        return data


@dataclass(frozen=True)
class Part:
    """One half of a model, ready for a session.

    Attributes:
        model: the serialised graph.
        weights: name -> array, in the graph's order.
    """

    model: bytes
    weights: dict[str, Array]


def arrays(matrix: Linear, out: str) -> dict[str, Array]:
    """The arrays of a matrix, named after its output."""
    named: dict[str, Array | None]
    if isinstance(matrix, Dense):
        named = {"weight": matrix.weight, "bias": matrix.bias}
    else:
        named = {
            "quants": matrix.quants,
            "scales": matrix.scales,
            "bias": matrix.bias,
            "offsets": matrix.offsets,
        }
    return {f"{out}.{part}": array for part, array in named.items() if array is not None}


def matmul(g: Graph, x: str, matrix: Linear, out: str, precision: Precision) -> str:
    """Y = x W^T + b, in the storage the matrix has."""
    names = {name.removeprefix(f"{out}."): g.weight(name, a) for name, a in arrays(matrix, out).items()}
    bias = [names["bias"]] if "bias" in names else []
    if isinstance(matrix, Dense):
        return g.add("Gemm", [x, names["weight"], *bias], out, transB=1)
    n, k = matrix.shape
    product = f"{out}.scaled" if "offsets" in names else out
    # accuracy level 4 rounds the activations to int8 blocks, 0 keeps float32
    level = 4 if precision == "fast" else 0
    inputs = [x, names["quants"], names["scales"], *(["", "", *bias] if bias else [])]
    kind = {"K": k, "N": n, "bits": matrix.bits, "block_size": BLOCK, "accuracy_level": level}
    g.add("MatMulNBits", inputs, product, fused=True, **kind)
    if "offsets" not in names:
        return product
    # w = d (q - 8) + o: what the offsets add is the sum of each block of x times o, a matrix 1/32 the size.
    # (The operator's own float zero points leave its packed path and took 360 ms a step.)
    return g.add("Gemm", [_block_sums(g, x, k), names["offsets"], product], out, transB=1)


def _block_sums(g: Graph, x: str, width: int) -> str:
    """(N, width) to (N, width / 32) sums, computed once for all matrices over one input."""
    if x not in g.sums:
        blocks = g.add("Reshape", [x, g.constant(-1, width // BLOCK, BLOCK)], f"{x}.blocks")
        g.sums[x] = g.add("ReduceSum", [blocks, g.constant(2)], f"{x}.sums", keepdims=0)
    return g.sums[x]


def floats(name: str, shape: list[Any]) -> Any:
    """A float32 input or output of the graph."""
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _outside(name: str, array: Array) -> Any:
    from onnx import TensorProto

    kinds = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("uint8"): TensorProto.UINT8}
    proto = TensorProto(name=name, data_type=kinds[array.dtype], dims=array.shape)
    proto.data_location = TensorProto.EXTERNAL
    entry = proto.external_data.add()
    entry.key, entry.value = "location", "handed over at session creation"
    return proto
