"""From model files to a running default engine.

Reads headers through the bounded checks of `tokenglass.files`, picks the family's description and starts the
sessions; refuses what the graphs would not compute faithfully.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tokenglass.engines.configs import spec_from_config
from tokenglass.engines.gguf_spec import spec_from_gguf
from tokenglass.engines.graph import build_body, build_head, head_weights
from tokenglass.engines.nodes import Part
from tokenglass.engines.onnx import OnnxEngine
from tokenglass.engines.pack import Pack, open_pack, write_pack
from tokenglass.engines.session import Session
from tokenglass.engines.spec import ModelSpec, divided_rope
from tokenglass.engines.tensors import Precision, read_floats
from tokenglass.engines.weights import FileStore, Weights
from tokenglass.errors import ModelDamaged, ModelNotFound, ModelUnsupported
from tokenglass.files.cache import cache_folder
from tokenglass.files.config import read_json, refuse_code, special_ids
from tokenglass.files.gguf import GgufHeader
from tokenglass.files.layout import ModelFiles
from tokenglass.files.memory import free_memory
from tokenglass.files.tensors import TensorInfo
from tokenglass.types import EngineInfo

DEFAULT_CACHE_BYTES = 1 << 30
GRAPH_VERSION = 1  # raise when `graph` or `pack` change what they write
CAPABILITIES = frozenset({"logits", "positions", "hidden", "tree", "again", "batch", "unembed"})


@dataclass(frozen=True)
class Opened:
    """Model files whose headers have been checked.

    Attributes:
        files: where they are.
        weights: by role.
        eos_ids, bos_id: by the model's own files.
        generation_defaults: fields of generation_config.json.
    """

    files: ModelFiles
    weights: Weights
    eos_ids: tuple[int, ...]
    bos_id: int | None
    generation_defaults: Mapping[str, Any] = field(default_factory=dict)


def open_gguf(files: ModelFiles, header: GgufHeader, precision: Precision) -> Opened:
    """Weights and special ids of a GGUF file whose header has been checked."""
    store = FileStore([(files.path, header.tensors)])
    shapes = {name: info.shape for name, info in header.tensors.items()}
    spec = _with_rope_factors(spec_from_gguf(header.metadata, shapes, files.path.name), store)
    weights = Weights(store, spec, gguf=True, precision=precision)
    ids = [header.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "bos")]
    eos_ids = tuple(dict.fromkeys(int(i) for i in ids[:2] if i is not None))
    return Opened(files, weights, eos_ids, None if ids[2] is None else int(ids[2]))


def open_folder(
    files: ModelFiles, tensors: Sequence[tuple[Path, Mapping[str, TensorInfo]]], precision: Precision
) -> Opened:
    """Weights and special ids of a folder of safetensors whose headers have been checked."""
    if files.config is None:
        raise ModelNotFound(f"{files.name} has no config.json; get the whole folder")
    config = read_json(files.config)
    refuse_code(config, files.config)
    spec = spec_from_config(config, f"{files.name}/config.json")
    weights = Weights(FileStore(tensors), spec, gguf=False, precision=precision)
    defaults = read_json(files.generation_config) if files.generation_config else {}
    # transformers 5 reads special ids from generation_config.json, and from config.json where there is none
    eos = special_ids(defaults.get("eos_token_id", config.get("eos_token_id")), spec.vocab_size)
    bos = special_ids(defaults.get("bos_token_id", config.get("bos_token_id")), spec.vocab_size)
    return Opened(files, weights, eos, bos[0] if bos else None, defaults)


def _with_rope_factors(spec: ModelSpec, store: FileStore) -> ModelSpec:
    info = store.infos.get("rope_freqs.weight")
    if info is None or spec.rope is None:
        return spec
    divisors = read_floats(store.raw(info.name), info.dtype, info.shape)
    if divisors.shape != (len(spec.rope.inv_freq),):
        raise ModelDamaged(
            f"tensor rope_freqs.weight has shape {divisors.shape}, one per rotary pair is needed"
        )
    return replace(spec, rope=divided_rope(spec.rope, divisors))


# ------------------------------------------------------------------ sessions


def start(opened: Opened, threads: int | None = None, cache_bytes: int = DEFAULT_CACHE_BYTES) -> OnnxEngine:
    """Sessions over opened weights, from the pack of an earlier start where there is one.

    Raises:
        ModelUnsupported: precision "fast" for a model that has no weights in blocks.
    """
    weights = opened.weights
    if weights.precision == "fast" and not weights.in_blocks():
        raise ModelUnsupported(
            f"precision='fast' needs weights in blocks (GGUF Q4_0, Q4_1, Q4_K or Q8_0), {opened.files.name} "
            f"has {weights.summary()}; leave precision out"
        )
    threads = threads or default_threads()
    body, head = _sessions(opened, threads)
    widened = (
        partial(_widened, weights, threads) if weights.precision == "exact" and weights.in_blocks() else None
    )
    return OnnxEngine(weights, body, head, _info(opened, threads), cache_bytes, widened)


def _widened(weights: Weights, threads: int) -> Session | None:
    """The body with float32 weights, or None where memory is short."""
    needed = 4 * weights.parameters()
    free = free_memory()
    if free is not None and free < 3 * needed:  # while it is made, both copies exist
        return None
    return Session(build_body(weights, "exact", dense=True), threads)


def _sessions(opened: Opened, threads: int) -> tuple[Session, Session]:
    weights = opened.weights
    path = _pack_path(opened) if weights.in_blocks() else None
    pack = open_pack(path) if path else None
    if pack is not None:
        sessions = _from_pack(pack, weights, threads)
        if sessions is not None:
            return sessions
    head = build_head(weights, weights.precision)
    body = build_body(weights, weights.precision)
    if path is not None:
        write_pack(path, body, head.model)
    return Session(body, threads), Session(head, threads)


def _from_pack(pack: Pack, weights: Weights, threads: int) -> tuple[Session, Session] | None:
    """Both sessions, made side by side while the pack's digest is checked; None where it is wrong."""
    with ThreadPoolExecutor(3) as pool:
        whole = pool.submit(pack.is_whole)
        body = pool.submit(Session, pack.body, threads)
        head = Session(Part(pack.head_model, head_weights(weights, weights.precision)), threads)
        sessions = body.result(), head
    pack.release()
    return sessions if whole.result() else None


def _pack_path(opened: Opened) -> Path | None:
    try:
        key = f"{opened.files.sha256()} {opened.weights.precision} {GRAPH_VERSION}"
        return cache_folder() / "graphs" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.pack"
    except (ModelNotFound, OSError):
        return None  # no folder to keep it in: build each time


def _info(opened: Opened, threads: int) -> EngineInfo:
    files, weights = opened.files, opened.weights
    spec = weights.spec
    return EngineInfo(
        name=files.name,
        family=spec.family,
        engine="onnx",
        precision=weights.precision,
        parameters=weights.parameters(),
        vocab_size=spec.vocab_size,
        context_length=spec.context_length,
        eos_ids=opened.eos_ids,
        bos_id=opened.bos_id,
        layers=spec.layers,
        hidden_size=spec.hidden_size,
        tie_word_embeddings=spec.tied,
        weights=weights.summary(),
        sha256=files.sha256(),
        threads=threads,
        capabilities=CAPABILITIES,
        source=str(files.path),
    )


def default_threads() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)
