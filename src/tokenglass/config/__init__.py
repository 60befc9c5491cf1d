"""What a generation was asked to do: every keyword with its meaning, default, value and origin."""

from __future__ import annotations

from tokenglass.config.fields import PRESETS, Field, Preset
from tokenglass.config.modes import BEAMS, SEARCHES, Mode
from tokenglass.config.resolving import DEFAULT_NEW_TOKENS, GenerationConfig, Source, resolve
from tokenglass.config.table import BY_NAME, FIELDS, KNOWN, NO_EFFECT, REFUSED

__all__ = [
    "BEAMS",
    "BY_NAME",
    "DEFAULT_NEW_TOKENS",
    "FIELDS",
    "KNOWN",
    "NO_EFFECT",
    "PRESETS",
    "REFUSED",
    "SEARCHES",
    "Field",
    "GenerationConfig",
    "Mode",
    "Preset",
    "Source",
    "resolve",
]
