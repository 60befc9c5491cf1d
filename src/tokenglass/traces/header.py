"""The first line of a trace: what was running, on what, from which prompt, with which keywords."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from tokenglass.errors import TraceError
from tokenglass.traces.values import decode, encode
from tokenglass.traces.vocabulary import encode_token, new_tokens
from tokenglass.types import EngineInfo, Vocabulary

NAME, VERSION = "tokenglass.trace", 1
SCHEMA = f"{NAME}/{VERSION}"
_PACKAGES = ("numpy", "onnxruntime")


def versions() -> dict[str, str]:
    """Installed versions of what computes, without importing any of it."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class Header:
    """What a trace says of itself.

    Attributes:
        model: what was running. Its `source` is a memory, never opened.
        prompt_ids: the ids the session started from.
        prompt_text: those ids as text.
        tokenglass: the version that began the trace.
        config: the effective configuration at the start.
        given: the keywords the session was given.
        created: when, in UTC, ISO 8601.
        packages: package -> version, of those that compute.
        schema: of the file.
    """

    model: EngineInfo
    prompt_ids: tuple[int, ...]
    prompt_text: str
    tokenglass: str
    config: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    packages: Mapping[str, str] = field(default_factory=versions)
    schema: str = SCHEMA


def encode_header(header: Header, vocabulary: Vocabulary) -> dict[str, Any]:
    """A header as JSON, with the prompt's tokens."""
    model = {f.name: getattr(header.model, f.name) for f in fields(header.model)}
    model |= {"eos_ids": list(header.model.eos_ids), "capabilities": sorted(header.model.capabilities)}
    tokens = new_tokens(header.prompt_ids, vocabulary, {})
    return {
        "schema": header.schema,
        "created": header.created,
        "tokenglass": header.tokenglass,
        "packages": dict(header.packages),
        "model": model,
        "prompt_ids": list(header.prompt_ids),
        "prompt_text": header.prompt_text,
        "config": encode_members(header.config),
        "given": encode_members(header.given),
        "tokens": {str(token_id): encode_token(token) for token_id, token in tokens.items()},
    }


def decode_header(data: Mapping[str, Any]) -> Header:
    """The header from a trace's first line; what this version does not know is ignored.

    Raises:
        ValueError, TypeError, KeyError: not the form that `encode_header` makes.
    """
    known = {f.name for f in fields(EngineInfo)}
    model = {key: value for key, value in data["model"].items() if key in known}
    model["eos_ids"] = tuple(map(_id, model.get("eos_ids", ())))
    model["capabilities"] = frozenset(map(str, model.get("capabilities", ())))
    if type(model.get("vocab_size")) is not int or not isinstance(data["prompt_text"], str):
        raise ValueError("vocab_size must be a whole number and prompt_text a text")
    return Header(
        model=EngineInfo(**model),
        prompt_ids=tuple(map(_id, data["prompt_ids"])),
        prompt_text=data["prompt_text"],
        config={key: decode(value) for key, value in data["config"].items()},
        given={key: decode(value) for key, value in data["given"].items()},
        created=str(data["created"]),
        tokenglass=str(data["tokenglass"]),
        packages={str(key): str(value) for key, value in data["packages"].items()},
        schema=data["schema"],
    )


def check_schema(schema: Any, name: str) -> None:
    """Refuse what is no trace, and traces of versions to come.

    Raises:
        TraceError: names the file and, of a newer trace, the version.
    """
    match = re.fullmatch(rf"{re.escape(NAME)}/([0-9]{{1,9}})", schema) if isinstance(schema, str) else None
    if match is None:
        raise TraceError(
            f"{name} is no tokenglass trace: its first line names no schema {NAME}; check the file"
        )
    if int(match[1]) != VERSION:
        raise TraceError(
            f"{name} is of schema {match[0]}, this version reads {SCHEMA}; install a newer tokenglass"
        )


def encode_members(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in their JSON form under their own names, whatever those are."""
    return {str(key): encode(value) for key, value in values.items()}


def _id(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"a token id must be a whole number of at least 0, got {str(value)[:20]!a}")
    return value
