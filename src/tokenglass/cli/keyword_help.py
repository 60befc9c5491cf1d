"""What help says about each generation keyword; every word comes from the library's own table."""

from __future__ import annotations

import json
from typing import Any

from tokenglass.config import PRESETS, Field

_METAVARS = {"whole": "N", "number": "X", "ids": "IDS", "texts": "TEXT", "text": "TEXT", "json": "JSON"}
_ACTS_WHEN = {
    "sampling": "with --do-sample",
    "top_k": "with --do-sample or --penalty-alpha",
    "beams": "with --num-beams",
    "groups": "with --num-beam-groups",
    "contrastive": "with --top-k, without --do-sample",
    "assisted": "with --assistant-model",
    "lookup": "with --prompt-lookup-num-tokens",
    "guidance": "with --guidance-scale",
    "mirostat": "with --mirostat",
    "adaptive": "with --adaptive-target",
}


def metavar(field: Field) -> str:
    """What stands for a keyword's value."""
    return _METAVARS.get(field.kind, "NAME")


def about(field: Field) -> str:
    """A keyword in one sentence: what it does (its interval; its default; when it acts; its source)."""
    facts = [] if field.kind == "flag" else [field.interval]
    facts += [_default(field), _ACTS_WHEN.get(field.when, ""), _systems(field), field.paper]
    said = "; ".join(fact for fact in facts if fact)
    return f"{field.about} ({said})" if said else field.about


def _default(field: Field) -> str:
    """The default, and those of other systems that know the keyword and have another."""
    said = field.default is not None and (field.default is not False or bool(field.defaults))
    own = [f"default {_typed(field.default)}"] if said else []
    others = [f"{name}: {_typed(field.defaults[name])}" for name in PRESETS if name in field.defaults]
    return ", ".join(own + others)


def _typed(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _systems(field: Field) -> str:
    """Which presets know a keyword that not all know."""
    known = [name for name in PRESETS if name in field.presets]
    if len(known) == len(PRESETS):
        return ""
    return f"{known[0]} only" if len(known) == 1 else f"not in {(set(PRESETS) - set(known)).pop()}"
