"""llama.cpp's own vocabulary code, called in the library that the wheel xllamacpp carries.

The structure below is llama.h's `llama_model_params` of that very version; `Reference` checks it by the
default values, which lie at both ends of it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import xllamacpp


class _Params(ctypes.Structure):
    _fields_ = [
        ("devices", ctypes.c_void_p),
        ("tensor_buft_overrides", ctypes.c_void_p),
        ("n_gpu_layers", ctypes.c_int32),
        ("split_mode", ctypes.c_int),
        ("load_mode", ctypes.c_int),
        ("lazy_mode", ctypes.c_int),
        ("main_gpu", ctypes.c_int32),
        ("tensor_split", ctypes.c_void_p),
        ("progress_callback", ctypes.c_void_p),
        ("progress_callback_user_data", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p),
        ("vocab_only", ctypes.c_bool),
        ("check_tensors", ctypes.c_bool),
        ("use_extra_bufts", ctypes.c_bool),
        ("no_host", ctypes.c_bool),
        ("no_alloc", ctypes.c_bool),
        ("load_mtp", ctypes.c_bool),
    ]


_Ids = ctypes.POINTER(ctypes.c_int32)
_Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_silent = _Log(lambda level, text, data: None)  # kept here: C holds the pointer


def _library() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
    pointer, flag, number = ctypes.c_void_p, ctypes.c_bool, ctypes.c_int32
    lib.llama_log_set.argtypes = [_Log, pointer]
    lib.llama_log_set(_silent, None)
    lib.llama_model_default_params.restype = _Params
    lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, _Params]
    lib.llama_model_load_from_file.restype = pointer
    lib.llama_model_free.argtypes = [pointer]
    lib.llama_model_get_vocab.argtypes = [pointer]
    lib.llama_model_get_vocab.restype = pointer
    lib.llama_vocab_n_tokens.argtypes = [pointer]
    lib.llama_tokenize.argtypes = [pointer, ctypes.c_char_p, number, _Ids, number, flag, flag]
    lib.llama_token_to_piece.argtypes = [pointer, number, ctypes.c_char_p, number, number, flag]
    lib.llama_detokenize.argtypes = [pointer, _Ids, number, ctypes.c_char_p, number, flag, flag]
    return lib


_lib = _library()


class Reference:
    """The vocabulary of a GGUF file, as llama.cpp reads it."""

    def __init__(self, path: Path) -> None:
        params = _lib.llama_model_default_params()
        defaults = (params.n_gpu_layers, params.vocab_only, params.use_extra_bufts, params.no_alloc)
        assert defaults == (-1, False, True, False), "llama_model_params has another layout"
        params.vocab_only = True
        self._model = _lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise ValueError(f"llama.cpp refuses {path.name}")
        self._vocab = _lib.llama_model_get_vocab(self._model)

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            _lib.llama_model_free(self._model)

    def __len__(self) -> int:
        return int(_lib.llama_vocab_n_tokens(self._vocab))

    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = False) -> list[int]:
        data = text.encode()
        size = 2 * len(data) + 16
        ids = (ctypes.c_int32 * size)()
        n = _lib.llama_tokenize(self._vocab, data, len(data), ids, size, add_special_tokens, parse_special)
        assert n >= 0
        return list(ids[:n])

    def token_bytes(self, token_id: int) -> bytes:
        buffer = ctypes.create_string_buffer(65_536)
        n = _lib.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, True)
        assert n >= 0
        return buffer.raw[:n]

    def decode(self, ids: list[int], *, with_special: bool) -> bytes:
        array = (ctypes.c_int32 * len(ids))(*ids)
        buffer = ctypes.create_string_buffer(65_536)
        n = _lib.llama_detokenize(self._vocab, array, len(ids), buffer, len(buffer), False, with_special)
        assert n >= 0
        return buffer.raw[:n]
