"""llama.cpp's own samplers, through the plain C functions that the wheel `xllamacpp` exports.

No model is needed: a sampler works on an array of (id, logit, p). A library built for another platform, or
one that hides the functions, makes the tests that use this skip.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Floats = np.ndarray
Ids = np.ndarray

ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])  # llama_token_data

_f, _i, _u, _n, _ptr = ctypes.c_float, ctypes.c_int32, ctypes.c_uint32, ctypes.c_size_t, ctypes.c_void_p
_SAMPLERS: dict[str, list[Any]] = {
    "greedy": [],
    "dist": [_u],
    "top_k": [_i],
    "top_p": [_f, _n],
    "min_p": [_f, _n],
    "typical": [_f, _n],
    "temp": [_f],
    "temp_ext": [_f, _f, _f],
    "xtc": [_f, _f, _n, _u],
    "top_n_sigma": [_f],
    "mirostat": [_i, _u, _f, _f, _i],
    "mirostat_v2": [_u, _f, _f],
    "penalties": [_i, _i, _f, _f, _f],
    "adaptive_p": [_f, _f, _u],
    "logit_bias": [_i, _i, _ptr],
}
# the one that takes C++ vectors, which llama.cpp's own tests use
_DRY = "_Z30llama_sampler_init_dry_testingffiiRKSt6vectorIS_IiSaIiEESaIS1_EE"


class _Array(ctypes.Structure):
    """llama_token_data_array."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("selected", ctypes.c_int64),
        ("sorted", ctypes.c_bool),
    )


class _ModelParams(ctypes.Structure):
    """llama_model_params, with room to spare: it goes by value, and only its own bytes are read."""

    _fields_ = (("raw", ctypes.c_ubyte * 256),)


_VOCAB_ONLY = 0x48  # offset of the first of the flags; the third, use_extra_bufts, is the one that is on


class _Vector(ctypes.Structure):
    """std::vector as libstdc++ lays it out: begin, end, end of storage."""

    _fields_ = (("begin", ctypes.c_void_p), ("end", ctypes.c_void_p), ("storage", ctypes.c_void_p))


@cache
def library() -> Any:
    """The loaded library; skips the test where there is none."""
    package = pytest.importorskip("xllamacpp")
    path = next(Path(package.__file__).parent.glob("xllamacpp*.so"), None)
    if path is None:
        pytest.skip("xllamacpp has no shared library here")
    lib = ctypes.CDLL(str(path))
    try:
        for name, arguments in _SAMPLERS.items():
            function = getattr(lib, f"llama_sampler_init_{name}")
            function.argtypes, function.restype = arguments, ctypes.c_void_p
        for name, arguments in {
            "apply": [_ptr, _ptr],
            "accept": [_ptr, _i],
            "reset": [_ptr],
            "free": [_ptr],
        }.items():
            function = getattr(lib, f"llama_sampler_{name}")
            function.argtypes, function.restype = arguments, None
        dry = getattr(lib, _DRY)
        dry.argtypes, dry.restype = [_f, _f, _i, _i, ctypes.POINTER(_Vector)], ctypes.c_void_p
    except AttributeError as error:
        pytest.skip(f"xllamacpp does not export llama.cpp's samplers: {error}")
    return lib


@cache
def vocabulary(path: Path) -> Any:
    """A GGUF file's vocabulary, loaded without the weights and kept; skips where the layout is another."""
    lib = library()
    lib.llama_model_default_params.restype = _ModelParams
    lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, _ModelParams]
    lib.llama_model_load_from_file.restype = ctypes.c_void_p
    lib.llama_model_get_vocab.argtypes, lib.llama_model_get_vocab.restype = [_ptr], _ptr
    lib.llama_sampler_init_dry.argtypes = [_ptr, _f, _f, _i, _i, ctypes.POINTER(ctypes.c_char_p), _n]
    lib.llama_sampler_init_dry.restype = ctypes.c_void_p
    params = lib.llama_model_default_params()
    if bytes(params.raw[_VOCAB_ONLY : _VOCAB_ONLY + 6]) != b"\0\0\1\0\0\0":
        pytest.skip("this build of llama.cpp lays its model parameters out differently")
    params.raw[_VOCAB_ONLY] = 1
    return lib.llama_model_get_vocab(lib.llama_model_load_from_file(str(path).encode(), params))


class Candidates:
    """A candidate list, `llama_token_data_array`, and the memory it points to."""

    def __init__(self, logits: Floats) -> None:
        self._memory = np.zeros(len(logits), dtype=ENTRY)
        self._memory["id"], self._memory["logit"] = np.arange(len(logits)), logits
        self._array = _Array(self._memory.ctypes.data, len(logits), -1, False)

    @property
    def pointer(self) -> Any:
        return ctypes.byref(self._array)

    @property
    def entries(self) -> np.ndarray:
        """What is left, in llama.cpp's order: a copy with fields id, logit, p."""
        buffer = (ctypes.c_char * (self._array.size * ENTRY.itemsize)).from_address(self._array.data)
        return np.frombuffer(buffer, dtype=ENTRY).copy()

    @property
    def is_sorted(self) -> bool:
        return bool(self._array.sorted)

    @property
    def selected(self) -> int:
        """Id of the selected token."""
        return int(self.entries["id"][self._array.selected])


class Sampler:
    """One of llama.cpp's samplers, freed when this object goes.

    >>> Sampler("top_k", 2)(np.array([1.0, 3.0, 2.0], dtype=np.float32)).entries["id"].tolist()
    [1, 2]
    """

    def __init__(self, name: str, *arguments: Any) -> None:
        self._lib = library()
        self._pointer = getattr(self._lib, f"llama_sampler_init_{name}")(*arguments)

    @classmethod
    def dry(
        cls, multiplier: float, base: float, allowed: int, last_n: int, breakers: Sequence[Sequence[int]] = ()
    ) -> Sampler:
        """The DRY sampler with breakers as token sequences."""
        sampler = cls.__new__(cls)
        sampler._lib = library()
        inner = [np.array(ids, dtype=np.int32) for ids in breakers]
        vectors = (_Vector * max(1, len(inner)))()
        for vector, ids in zip(vectors, inner, strict=False):
            start = ids.ctypes.data
            vector.begin, vector.end, vector.storage = start, start + ids.nbytes, start + ids.nbytes
        start = ctypes.addressof(vectors)
        end = start + len(inner) * ctypes.sizeof(_Vector)
        outer = _Vector(start, end, end)
        sampler._pointer = getattr(sampler._lib, _DRY)(multiplier, base, allowed, last_n, ctypes.byref(outer))
        return sampler

    @classmethod
    def dry_of_text(
        cls, path: Path, multiplier: float, base: float, allowed: int, last_n: int, breakers: Sequence[str]
    ) -> Sampler:
        """The DRY sampler with breakers as text, cut into tokens by the vocabulary of a GGUF file."""
        sampler, texts = cls.__new__(cls), [text.encode() for text in breakers]
        vocab = vocabulary(path)
        sampler._lib = library()
        array = (ctypes.c_char_p * len(texts))(*texts)
        init = sampler._lib.llama_sampler_init_dry
        sampler._pointer = init(vocab, multiplier, base, allowed, last_n, array, len(texts))
        return sampler

    @classmethod
    def logit_bias(cls, size: int, biases: dict[int, float]) -> Sampler:
        """The bias sampler."""
        entries = np.array(list(biases.items()), dtype=[("id", np.int32), ("bias", np.float32)])
        return cls("logit_bias", size, len(entries), entries.ctypes.data)

    def accept(self, ids: Sequence[int]) -> Sampler:
        """Tell it which tokens stand in the text."""
        for token_id in ids:
            self._lib.llama_sampler_accept(self._pointer, int(token_id))
        return self

    def reset(self) -> Sampler:
        """Make it forget the text."""
        self._lib.llama_sampler_reset(self._pointer)
        return self

    def __call__(self, logits: Floats | Candidates) -> Candidates:
        """Apply it to logits, or to what other samplers left of them."""
        found = logits if isinstance(logits, Candidates) else Candidates(logits)
        self._lib.llama_sampler_apply(self._pointer, found.pointer)
        return found

    def __del__(self) -> None:
        self._lib.llama_sampler_free(self._pointer)
