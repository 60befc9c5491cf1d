"""ONNX Runtime sessions over graph parts, with inputs and outputs bound to our own memory.

Knows ONNX Runtime; knows nothing about tokens. This is the only module that imports it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.engines.nodes import Part
from tokenglass.errors import EngineError

Floats = NDArray[np.float32]
Array = NDArray[Any]


class Session:
    """One graph part, ready to run.

    Args:
        part: graph and weights; the runtime repacks the weights, so the caller may drop its own copy.
        threads: of one operator.

    Raises:
        EngineError: the runtime refused the graph or failed while running it.
    """

    def __init__(self, part: Part, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # The graphs are written with fused operators already: looking for more costs 0.3 s and finds none.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        # Several sessions share the cores: one that goes on spinning after its run takes them from the next.
        # (Left at the default, body and head doubled each other's time.)
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.intra_op.spin_duration_us", "100")
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in part.weights.values()]
        options.add_external_initializers(list(part.weights), values)
        try:
            with _plain_attention():
                self._session = ort.InferenceSession(part.model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise EngineError(f"ONNX Runtime refused the model: {_first_line(error)}") from error
        del values
        _give_back_memory()
        self._binding = self._session.io_binding()
        self._kept: dict[str, Array] = {}

    def bind(self, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        """Bind memory by name; what was bound before under other names stays bound."""
        for names, bind in ((inputs, self._binding.bind_input), (outputs, self._binding.bind_output)):
            for name, array in names.items():
                bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        self._kept.update(inputs)
        self._kept.update({f"out {name}": array for name, array in outputs.items()})

    def clear_outputs(self) -> None:
        """Forget all bound outputs; the next `bind` names them anew."""
        self._binding.clear_binding_outputs()
        self._kept = {name: a for name, a in self._kept.items() if not name.startswith("out ")}

    def run(self) -> None:
        """Run once over the bound memory."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed in mid-run: {_first_line(error)}") from error

    def map(self, name: str, rows: Floats, output: str) -> Floats:
        """One input to one output, without binding; safe from several threads."""
        try:
            result: Sequence[Floats] = self._session.run([output], {name: rows})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed in mid-run: {_first_line(error)}") from error
        return result[0]


_environment = Lock()


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Operators made meanwhile keep to attention in one piece.

    For runs as small as ours, whose scores fit in memory anyway, the tiled kernel takes up to twice as long.
    The runtime has no option for it, only a variable that it reads while it makes an operator.
    """
    name = "ORT_GQA_DISABLE_FLASH_ATTENTION"
    with _environment:
        before = os.environ.get(name)
        os.environ[name] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def _give_back_memory() -> None:
    """Return freed pages to the system: repacking weights leaves as much again in glibc's arenas."""
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
