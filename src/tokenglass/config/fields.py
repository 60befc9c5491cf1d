"""What a generation keyword is: its kind of value, its default in each system, what it does, its source.

Knows nothing about stages: `table` lists the keywords, `resolving` gives them their values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Preset = Literal["transformers", "llama.cpp", "vllm"]
PRESETS: tuple[Preset, ...] = ("transformers", "llama.cpp", "vllm")
Kind = Literal["whole", "number", "flag", "ids", "texts", "text", "json", "object"]
When = Literal[
    "always",
    "sampling",
    "top_k",
    "beams",
    "groups",
    "forced",
    "contrastive",
    "dola",
    "assisted",
    "lookup",
    "guidance",
    "mirostat",
    "adaptive",
]
Group = Literal[
    "length and end",
    "sampling",
    "temperature and truncation",
    "penalties",
    "bans and biases",
    "structure",
    "beams",
    "other searches",
    "drafts",
    "guidance and watermark",
    "system",
]
ALL: frozenset[Preset] = frozenset(PRESETS)
HF: frozenset[Preset] = frozenset({"transformers"})
LC: frozenset[Preset] = frozenset({"llama.cpp"})
HF_LC: frozenset[Preset] = frozenset({"transformers", "llama.cpp"})
HF_VL: frozenset[Preset] = frozenset({"transformers", "vllm"})


@dataclass(frozen=True)
class Field:
    """One keyword.

    Attributes:
        name: as `generate` and the command line know it.
        kind: of value; "json" is a list or mapping, "object" cannot be typed on a command line.
        group: under which heading help lists it.
        interval: the values allowed, in words.
        about: what it does, in one clause.
        default: where nobody says otherwise; None is off, or decided elsewhere.
        defaults: of presets that have another default.
        presets: the systems that know it; others refuse it by name.
        when: in which runs it acts; elsewhere it is listed as having no effect.
        paper: where it is from.
    """

    name: str
    kind: Kind
    group: Group
    interval: str
    about: str
    default: Any = None
    defaults: Mapping[Preset, Any] = field(default_factory=dict)
    presets: frozenset[Preset] = ALL
    when: When = "always"
    paper: str = ""

    def default_of(self, preset: Preset) -> Any:
        """The default in one system."""
        return self.defaults.get(preset, self.default)
