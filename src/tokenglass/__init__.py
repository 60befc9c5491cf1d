"""tokenglass: see, run and understand how a language model writes, one token at a time.

>>> import tokenglass as tg
>>> model = tg.load("smollm2")  # doctest: +SKIP
>>> print(model.next_tokens("Once upon a time, generative models"))  # doctest: +SKIP

Importing this module loads neither onnxruntime nor torch: each name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokenglass.version import __version__

if TYPE_CHECKING:
    from tokenglass.comparing import compare
    from tokenglass.config import GenerationConfig
    from tokenglass.errors import (
        BatchError,
        ContextOverflow,
        EngineError,
        MissingDependency,
        ModelDamaged,
        ModelNotFound,
        ModelUnsupported,
        NoTokenAllowed,
        RemoteError,
        TokenglassError,
        TraceError,
        Unsupported,
    )
    from tokenglass.loading import load, load_tokenizer
    from tokenglass.model import Model
    from tokenglass.saving import open_session
    from tokenglass.session import Session
    from tokenglass.strategies import Search
    from tokenglass.tokenizer import Tokenizer
    from tokenglass.types import (
        Account,
        Candidate,
        Chain,
        ChainStage,
        Effect,
        EngineInfo,
        Generation,
        NextTokens,
        Removal,
        Sequence,
        Stage,
        Step,
        Token,
        Tokenization,
    )

__all__ = [
    "Account",
    "BatchError",
    "Candidate",
    "Chain",
    "ChainStage",
    "ContextOverflow",
    "Effect",
    "EngineError",
    "EngineInfo",
    "Generation",
    "GenerationConfig",
    "MissingDependency",
    "Model",
    "ModelDamaged",
    "ModelNotFound",
    "ModelUnsupported",
    "NextTokens",
    "NoTokenAllowed",
    "RemoteError",
    "Removal",
    "Search",
    "Sequence",
    "Session",
    "Stage",
    "Step",
    "Token",
    "TokenglassError",
    "Tokenization",
    "Tokenizer",
    "TraceError",
    "Unsupported",
    "__version__",
    "compare",
    "load",
    "load_tokenizer",
    "open_session",
]

_ERRORS = "BatchError ContextOverflow EngineError MissingDependency ModelDamaged ModelNotFound "
_ERRORS += "ModelUnsupported NoTokenAllowed RemoteError TokenglassError TraceError Unsupported"
_TYPES = "Account Candidate Chain ChainStage Effect EngineInfo Generation NextTokens Removal Sequence Stage "
_TYPES += "Step Token Tokenization"
_HOMES = {
    **dict.fromkeys(_ERRORS.split(), "errors"),
    **dict.fromkeys(_TYPES.split(), "types"),
    "GenerationConfig": "config",
    "compare": "comparing",
    "Model": "model",
    "Search": "strategies",
    "Session": "session",
    "Tokenizer": "tokenizer",
    "load": "loading",
    "load_tokenizer": "loading",
    "open_session": "saving",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name == "ray":  # tg.ray.map, without an import of its own
        return import_module("tokenglass.ray")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tokenglass' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"tokenglass.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
