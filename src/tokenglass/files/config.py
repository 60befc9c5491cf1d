"""JSON files that come with a model: read within bounds, and never as an invitation to run code.

Knows which keys ask for code and which numbers every family shares; what else a config says is the business
of the engine that runs the family.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenglass.errors import ModelDamaged, ModelUnsupported
from tokenglass.files.tensors import damaged, open_model, shown

MIB = 1 << 20
MAX_CONFIG = 4 * MIB
MAX_DEPTH = 32
MAX_PARSED = 80 * MIB  # 50,000 tensors of a safetensors header

# Keys that make transformers import code from the model's folder or from another repository (CVE-2026-4372).
CODE_KEYS = ("auto_map", "trust_remote_code", "_attn_implementation_internal")

_Hook = Callable[[list[tuple[str, Any]]], Any]


def read_json(path: Path, max_bytes: int = MAX_CONFIG) -> dict[str, Any]:
    """The JSON object a file holds; of a key that appears twice the last one counts, as is usual.

    Raises:
        ModelNotFound: no such file, or it may not be read.
        ModelDamaged: larger than `max_bytes`, not UTF-8, not JSON, nested deeper than 32, or not an object.
    """
    value = parse_object(read_bounded(path, max_bytes), path)
    if _deeper(value, MAX_DEPTH):
        raise damaged(path, f"it is nested deeper than {MAX_DEPTH}")
    return value


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """A whole small file.

    Raises:
        ModelNotFound: no such file, or it may not be read.
        ModelDamaged: larger than `max_bytes`.
    """
    with open_model(path) as (file, size):
        if size > max_bytes:
            problem = f"it has {size:,} bytes, more than the {max_bytes:,} allowed"
            raise damaged(path, problem, "check the file")
        return file.read(max_bytes)


def parse_object(data: bytes, path: Path, hook: _Hook | None = None) -> dict[str, Any]:
    """Parse a JSON object whose memory was estimated first.

    Raises:
        ModelDamaged: not UTF-8, not JSON, not an object, or would not fit 80 MiB.
    """
    if _parsed_size(data) > MAX_PARSED:
        raise damaged(path, "its JSON has more entries than any known model", "check the file")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=hook)
    except UnicodeDecodeError as error:
        raise damaged(path, f"byte {error.start:,} is not UTF-8") from None
    except RecursionError:
        raise damaged(path, f"it is nested deeper than {MAX_DEPTH}") from None
    except json.JSONDecodeError as error:
        raise damaged(path, f"it is not JSON (line {error.lineno:,}: {error.msg})") from None
    except ValueError:  # Python's own bound, because the time to read a number grows with the square
        raise damaged(path, "it has a number of more than 4,300 digits") from None
    if not isinstance(value, dict):
        raise damaged(path, "it is not a JSON object")
    return value


def refuse_code(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a config that asks for code by any of `CODE_KEYS`, at any depth; an empty value asks nothing.

    Raises:
        ModelUnsupported: names the key and the file.
    """
    for mapping in _mappings(config):
        for key in CODE_KEYS:
            if mapping.get(key):
                raise ModelUnsupported(
                    f"{Path(path).name} asks to run code that came with the model ({key!r}), which is never "
                    "done; choose a model of a supported family without it"
                )


def _parsed_size(data: bytes) -> int:
    """An upper bound of what json.loads will allocate, from counts of the signs that make objects.

    A dict takes up to 232 bytes, a list 88, an element with its number or text and its place about 160; the
    text exists three times, twice with 4 bytes a character where one of them is not ASCII.
    """
    width = 3 if data.isascii() else 9
    return width * len(data) + 232 * data.count(b"{") + 88 * data.count(b"[") + 160 * data.count(b",")


def _children(value: Any) -> Iterator[Any]:
    children = value.values() if isinstance(value, dict) else value
    return (child for child in children if isinstance(child, dict | list))


def _deeper(value: Any, limit: int) -> bool:
    """Level by level, because recursion is what a hostile file wants."""
    level = [value]
    for _ in range(limit):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    level = [value]
    while level:
        yield from (item for item in level if isinstance(item, dict))
        level = [child for parent in level for child in _children(parent)]


# What every family calls one of these names: (wanted, also known as, largest sane value).
_COUNTS = (
    ("vocab_size", (), 1 << 21),
    ("hidden_size", ("n_embd",), 1 << 20),
    ("num_hidden_layers", ("n_layer",), 4_096),
    ("num_attention_heads", ("n_head",), 1 << 16),
    ("num_key_value_heads", (), 1 << 16),
    ("max_position_embeddings", ("n_positions", "n_ctx"), 1 << 27),
    ("head_dim", (), 1 << 16),
)


def check_config(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a config.json whose counts are not counts, or whose special ids lie outside the vocabulary.

    Raises:
        ModelDamaged: names the field, its value and the allowed interval.
    """
    counts: dict[str, int] = {}
    for name, others, most in _COUNTS:
        key = next((key for key in (name, *others) if config.get(key) is not None), None)
        if key is not None:
            counts[name] = _bounded(config[key], key, 1, most, path)
    heads = counts.get("num_attention_heads", 1)
    shared = counts.get("num_key_value_heads", heads)
    if heads % shared:
        raise damaged(path, f"{heads} heads cannot share num_key_value_heads, {shared}")
    if "head_dim" not in counts and counts.get("hidden_size", heads) % heads:
        raise damaged(path, f"hidden_size {counts['hidden_size']} cannot be divided by {heads} heads")
    for key in ("bos_token_id", "eos_token_id"):
        ids = config.get(key)
        for token_id in ids if isinstance(ids, list) else [ids]:
            if token_id is not None and "vocab_size" in counts:
                _bounded(token_id, key, 0, counts["vocab_size"] - 1, path)


def special_ids(value: Any, vocab_size: int) -> tuple[int, ...]:
    """The ids that a field such as eos_token_id names: one, several or none.

    Raises:
        ModelDamaged: one is outside the vocabulary.
    """
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(i, int) and 0 <= i < vocab_size for i in ids):
        raise ModelDamaged(f"special token id {value!r} is outside the vocabulary of {vocab_size}")
    return tuple(ids)


def _bounded(value: Any, key: str, low: int, high: int, path: Path) -> int:
    if type(value) is not int or not low <= value <= high:
        raise _outside(value, key, low, high, path)
    return value


def _outside(value: Any, key: str, low: int, high: int, path: Path) -> ModelDamaged:
    return damaged(path, f"{key} must be an integer in [{low:,}, {high:,}], got {shown(str(value), 20)}")
