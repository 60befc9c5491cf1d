"""Any causal model of transformers as an engine: on CPU, CUDA or MPS, from safetensors or GGUF.

`opening` starts it, `engine` answers the protocol, `network` calls the model, `memory` with its `strips`, or
`states`, remembers what it has read, `trial` finds out what it can do. This file imports neither torch nor
transformers.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from tokenglass.errors import MissingDependency

OLDEST = (5, 3)  # earlier ones let a config.json name code to import (CVE-2026-4372)
INSTALL = "pip install 'tokenglass[hf]'"


def installed() -> bool:
    """Whether torch and a transformers that is new enough are here; imports neither."""
    try:
        found = tuple(int(part) for part in version("transformers").split(".")[:2])
    except (PackageNotFoundError, ValueError):
        return False
    return found >= OLDEST and find_spec("torch") is not None


def require() -> None:
    """Raise `MissingDependency` where they are not.

    Raises:
        MissingDependency: says what to install.
    """
    if not installed():
        needed = ".".join(map(str, OLDEST))
        raise MissingDependency(f"engine='hf' (transformers {needed} or later, and torch)", INSTALL)
