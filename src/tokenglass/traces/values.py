"""Values as strict JSON and back, without loss: what JSON has no form for is an object with one `$` key.

| value | form |
|---|---|
| NaN, infinities | `{"$float": "nan"}` |
| tuple, set, frozenset | `{"$tuple": [...]}`, `{"$set": [...]}`, `{"$frozenset": [...]}` |
| bytes | `{"$bytes": "00ff"}` |
| a dict with other keys than plain texts | `{"$map": [[key, value], ...]}` |
| a numpy array | `{"$array": ["<f4", [2, 3], "base64"]}`, little-endian |
| a `Window` of a penalty | `{"$window": [prompt, generated, last_n]}` |
| anything else, such as a function | `{"$other": "its name"}`; comes back as `Other` |

Knows nothing about steps or files. A NaN comes back as a NaN, not with its payload bits; arrays keep every
bit.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from math import inf, isfinite, nan, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenglass.stages.context import Window

_FLOATS = {"nan": nan, "inf": inf, "-inf": -inf}
_DTYPES = frozenset("|b1 |i1 |u1 <i2 <u2 <i4 <u4 <i8 <u8 <f2 <f4 <f8".split())


class Other:
    """The name of a value that cannot be written down, such as a function or a compiled grammar.

    A view shows it as it shows the value itself: by its name.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    def __repr__(self) -> str:
        return f"Other({self.__name__!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Other) and other.__name__ == self.__name__

    def __hash__(self) -> int:
        return hash(self.__name__)


def number(value: float) -> float | str:
    """A float as JSON: itself, or "nan", "inf", "-inf".

    >>> number(0.1), number(float("-inf"))
    (0.1, '-inf')
    """
    plain = float(value)
    return plain if isfinite(plain) else str(plain)


def number_or_none(value: float | None) -> float | str | None:
    """As `number`; what is unknown is null."""
    return None if value is None else number(value)


def parse_number_or_none(value: Any) -> float | None:
    """A float from `number_or_none`'s form.

    Raises:
        ValueError: none of its forms.
    """
    return None if value is None else parse_number(value)


def parse_number(value: Any) -> float:
    """A float from `number`'s form.

    Raises:
        ValueError: none of its forms.
    """
    if isinstance(value, str):
        if value not in _FLOATS:
            raise ValueError(f"{value[:20]!a} is no number")
        return _FLOATS[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a number is wanted, got {type(value).__name__}")
    return float(value)


def pack(values: Any, dtype: str) -> str:
    """The bytes of an array in base64, little-endian and in row-major order."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode("ascii")


def unpack(text: Any, dtype: str) -> NDArray[Any]:
    """A flat array from `pack`'s base64; read-only.

    Raises:
        ValueError: no base64, or not a whole number of elements.
    """
    if not isinstance(text, str):
        raise ValueError(f"an array in base64 is wanted, got {type(text).__name__}")
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"an array is no base64 ({error})") from None
    return np.frombuffer(data, dtype=dtype)


def encode(value: Any) -> Any:
    """A value in its JSON form.

    >>> encode({"k": 50, "bias": {(5,): -1.5}, "stop": ("a",)})
    {'k': 50, 'bias': {'$map': [[{'$tuple': [5]}, -1.5]]}, 'stop': {'$tuple': ['a']}}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else {"$float": str(float(value))}
    for kind, to_json in _ENCODERS.items():
        if isinstance(value, kind):
            return to_json(value)
    return {"$other": str(getattr(value, "__name__", type(value).__name__))}


def decode(data: Any) -> Any:
    """The value from `encode`'s form.

    Raises:
        ValueError, TypeError, KeyError: not one of its forms.
    """
    if isinstance(data, list):
        return [decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        ((key, held),) = data.items()
        if key.startswith("$"):
            return _DECODERS[key](held)
    return {key: decode(item) for key, item in data.items()}


def _encode_mapping(value: Mapping[Any, Any]) -> Any:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: encode(item) for key, item in value.items()}
    return {"$map": [[encode(key), encode(item)] for key, item in value.items()]}


def _encode_set(value: set[Any] | frozenset[Any]) -> Any:
    tag = "$frozenset" if isinstance(value, frozenset) else "$set"
    return {tag: [encode(item) for item in sorted(value, key=repr)]}


def _encode_array(value: NDArray[Any]) -> Any:
    dtype = value.dtype.newbyteorder("<").str
    if dtype not in _DTYPES:
        return {"$other": f"array of {value.dtype}"}
    return {"$array": [dtype, list(value.shape), pack(value, dtype)]}


def _decode_array(held: Any) -> NDArray[Any]:
    dtype, shape, text = held
    if dtype not in _DTYPES:
        raise ValueError(f"no such kind of array: {str(dtype)[:20]!a}")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("an array's shape must be whole numbers")
    flat = unpack(text, dtype)
    if prod(shape) != flat.size:
        raise ValueError(f"an array has {flat.size} elements, not {prod(shape)}")
    return flat.reshape(shape)


_ENCODERS: dict[Any, Callable[[Any], Any]] = {
    list: lambda value: [encode(item) for item in value],
    tuple: lambda value: {"$tuple": [encode(item) for item in value]},
    Mapping: _encode_mapping,
    bytes: lambda value: {"$bytes": value.hex()},
    (set, frozenset): _encode_set,
    np.ndarray: _encode_array,
    Window: lambda value: {"$window": [value.prompt, value.generated, value.last_n]},
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$float": lambda held: _FLOATS[held],
    "$tuple": lambda held: tuple(map(decode, held)),
    "$set": lambda held: set(map(decode, held)),
    "$frozenset": lambda held: frozenset(map(decode, held)),
    "$bytes": bytes.fromhex,
    "$map": lambda held: {decode(key): decode(item) for key, item in held},
    "$array": _decode_array,
    "$window": lambda held: Window(*held),
    "$other": lambda held: Other(str(held)),
}
