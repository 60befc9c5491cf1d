"""From model files to a running default engine.

Reads headers through the bounded checks of `tokenglass.files`, picks the family's description and starts the
sessions; refuses what the graphs would not compute faithfully.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenglass.engines.configs import spec_from_config, spec_from_gguf
from tokenglass.engines.spec import ModelSpec, divided_rope
from tokenglass.engines.tensors import Precision, read_floats
from tokenglass.engines.weights import FileStore, Weights
from tokenglass.errors import ModelDamaged
from tokenglass.files.tensors import TensorInfo

DEFAULT_CACHE_BYTES = 1 << 30


def gguf_weights(path: Path, metadata: Mapping[str, Any], infos: Mapping[str, TensorInfo], precision: Precision) -> Weights:
    """Weights of a GGUF file whose header has been checked."""
    store = FileStore([(path, infos)])
    spec = spec_from_gguf(metadata, {name: info.shape for name, info in infos.items()}, path.name)
    return Weights(store, _with_rope_factors(spec, store), gguf=True, precision=precision)


def folder_weights(
    config: Mapping[str, Any], files: list[tuple[Path, Mapping[str, TensorInfo]]], precision: Precision
) -> Weights:
    """Weights of a folder of safetensors whose headers have been checked."""
    return Weights(FileStore(files), spec_from_config(config), gguf=False, precision=precision)


def _with_rope_factors(spec: ModelSpec, store: FileStore) -> ModelSpec:
    from dataclasses import replace

    info = store.infos.get("rope_freqs.weight")
    if info is None or spec.rope is None:
        return spec
    divisors = read_floats(store.raw(info.name), info.dtype, info.shape)
    if divisors.shape != (len(spec.rope.inv_freq),):
        raise ModelDamaged(f"tensor rope_freqs.weight has shape {divisors.shape}, one per rotary pair is needed")
    return replace(spec, rope=divided_rope(spec.rope, divisors))


def default_threads() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)
