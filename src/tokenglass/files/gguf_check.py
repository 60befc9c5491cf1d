"""Do a GGUF's values make sense together? Asked after its structure was read, before a tensor is touched.

Knows the keys that every language model has; what only one family has is that family's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tokenglass.errors import ModelDamaged, ModelUnsupported
from tokenglass.files.tensors import damaged, shown

if TYPE_CHECKING:
    from tokenglass.files.gguf import GgufHeader

MAX_BLOCKS = 4_096
MAX_WIDTH = 1 << 20
MAX_CONTEXT = 1 << 27  # ten times the longest published (10 million)
MAX_VOCABULARY = 1 << 21
IDS = ("bos", "eos", "eot", "eom", "unknown")


def check_model(header: GgufHeader, *, vocabulary_only: bool = False) -> None:
    """Refuse a header whose numbers contradict each other.

    Args:
        header: as `read_header` gave it.
        vocabulary_only: accept a file without tensors, of which only the tokenizer is wanted.

    Raises:
        ModelDamaged: one line: the key, its value and what it should have been.
        ModelUnsupported: one part of a split model, or a vocabulary alone where a model was wanted.
    """
    if not header.architecture:
        raise _wrong(header, "general.architecture is missing")
    parts = header.metadata.get("split.count", 1)
    if parts not in (0, 1):
        raise ModelUnsupported(
            f"{header.path.name} is one of {parts} parts; join them with llama.cpp's gguf-split --merge"
        )
    vocabulary = _check_vocabulary(header)
    if not header.tensors and not vocabulary_only:
        raise ModelUnsupported(f"{header.path.name} holds a vocabulary and no weights; it cannot predict")
    if header.tensors:
        _check_shape(header)
        _check_tensors(header, vocabulary)


def _check_vocabulary(header: GgufHeader) -> int:
    """Number of tokens, once the lists beside them agree and the special ids lie inside."""
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not 0 < len(tokens) <= MAX_VOCABULARY:
        raise _wrong(header, "tokenizer.ggml.tokens is not a list of tokens")
    if not isinstance(header.metadata.get("tokenizer.ggml.model"), str):
        raise _wrong(header, "tokenizer.ggml.model is missing")
    for name in ("token_type", "scores"):
        beside = header.metadata.get(f"tokenizer.ggml.{name}")
        if beside is None:
            continue
        if not isinstance(beside, np.ndarray) or len(beside) != len(tokens):
            length = len(beside) if isinstance(beside, list | np.ndarray) else "no"
            raise _wrong(header, f"tokenizer.ggml.{name} has {length} entries for {len(tokens):,} tokens")
    merges = header.metadata.get("tokenizer.ggml.merges", [])
    if not isinstance(merges, list):
        raise _wrong(header, "tokenizer.ggml.merges is not a list of texts")
    for name in IDS:
        key = f"tokenizer.ggml.{name}_token_id"
        if key in header.metadata:
            _bounded(header, key, 0, len(tokens) - 1)
    return len(tokens)


def _check_shape(header: GgufHeader) -> None:
    arch = header.architecture
    _bounded(header, f"{arch}.block_count", 1, MAX_BLOCKS)
    width = _bounded(header, f"{arch}.embedding_length", 1, MAX_WIDTH)
    _bounded(header, f"{arch}.context_length", 1, MAX_CONTEXT)
    heads = header.field("attention.head_count")
    if isinstance(heads, np.ndarray):  # one for each block, as a few families have: theirs to check
        return
    heads = _bounded(header, f"{arch}.attention.head_count", 1, width)
    head_size = header.field("attention.key_length")
    if head_size is None and width % heads:
        raise _wrong(header, f"{width} cannot be divided by {arch}.attention.head_count, {heads}")
    if head_size is not None:
        _bounded(header, f"{arch}.attention.key_length", 1, MAX_WIDTH)
    shared = header.field("attention.head_count_kv")
    if shared is None or isinstance(shared, np.ndarray):
        return
    shared = _bounded(header, f"{arch}.attention.head_count_kv", 1, heads)
    if heads % shared:
        raise _wrong(header, f"{heads} heads cannot share {arch}.attention.head_count_kv, {shared}")


def _check_tensors(header: GgufHeader, vocabulary: int) -> None:
    """The embedding fits vocabulary and width, and exactly the announced blocks have tensors."""
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None:
        raise _wrong(header, "tensor 'token_embd.weight' is missing")
    wanted = (vocabulary, header.field("embedding_length"))
    if embedding.shape != wanted:
        raise _wrong(
            header,
            f"tensor 'token_embd.weight' is {_times(embedding.shape)} but {wanted[0]:,} tokens of width "
            f"{wanted[1]:,} need {_times(wanted)}",
        )
    announced = header.field("block_count")
    found = {name.split(".")[1] for name in header.tensors if name.startswith("blk.")}
    expected = {str(index) for index in range(announced)}
    if missing := expected - found:
        raise _wrong(header, f"block {min(missing, key=int)} of {announced} has no tensors")
    if extra := found - expected:
        raise _wrong(header, f"tensors of block {shown(min(extra))} in a model of {announced} blocks")


def _bounded(header: GgufHeader, key: str, low: int, high: int) -> int:
    value = header.metadata.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        state = "missing" if value is None else "not an integer"
        raise _wrong(header, f"{shown(key)[1:-1]} is {state}")
    if not low <= value <= high:
        raise _wrong(header, f"{shown(key)[1:-1]} must be in [{low:,}, {high:,}], got {value:,}")
    return value


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{length:,}" for length in shape)


def _wrong(header: GgufHeader, problem: str) -> ModelDamaged:
    return damaged(header.path, problem)
