"""Parameters as people read them: short, safe to print, the same from run to run.

Knows Python values, not what they are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from tokenglass.text import safe_line
from tokenglass.views.cells import cut
from tokenglass.views.figures import significant

MOST_ITEMS, LONGEST_TEXT = 8, 60


def parameters(values: Mapping[str, Any]) -> str:
    """Names and values in one line.

    >>> parameters({"k": 50, "tie": "keep_all", "stop": "a b", "ids": list(range(11))})
    "k=50, tie=keep_all, stop='a b', ids=[0, 1, 2, 3, 4, 5, 6, 7, … 3 more]"
    """
    return ", ".join(f"{safe_line(str(name))}={shown(value)}" for name, value in values.items())


def numbers(facts: Mapping[str, float]) -> str:
    """A stage's own numbers in one line.

    >>> numbers({"draw": 0.413321, "entropy_nats": 2.5})
    'draw 0.4133, entropy_nats 2.500'
    """
    return ", ".join(f"{safe_line(str(name))} {significant(float(x), 4)}" for name, x in facts.items())


def shown(value: Any) -> str:
    r"""One value; what cannot be told in a few words appears by its name.

    >>> shown(0.1), shown({(5,): -1.5}), shown("x"), shown("a\x1b"), shown(len), shown(object())
    ('0.1', '{[5]: -1.5}', 'x', "'a⟨ESC⟩'", 'len', 'object')
    """
    if value is None or isinstance(value, (bool, np.bool_)):
        return str(value)
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.7g}"
    if isinstance(value, bytes | str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return f"{{{_several(f'{shown(k)}: {shown(v)}' for k, v in value.items())}}}"
    if is_dataclass(value) and not isinstance(value, type):
        return _record(value)
    if isinstance(value, (Iterable, np.ndarray)):
        return f"[{_several(map(shown, value))}]"
    return safe_line(str(getattr(value, "__name__", type(value).__name__)))


def _quoted(value: bytes | str) -> str:
    text = safe_line(value if isinstance(value, str) else value.decode("utf-8", "backslashreplace"))
    short = cut(text, LONGEST_TEXT)
    return short if text.isidentifier() else f"'{short}'"


def _several(texts: Iterable[str]) -> str:
    items = list(texts)
    more = [f"… {len(items) - MOST_ITEMS} more"] if len(items) > MOST_ITEMS else []
    return ", ".join(items[:MOST_ITEMS] + more)


def _record(value: Any) -> str:
    """A small record by what it sets, a large one by its name: its numbers are no parameter."""
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    if not all(v is None or isinstance(v, bool | int | float | str) for v in found.values()):
        return type(value).__name__
    flags = [name for name, v in found.items() if v is True]
    others = {name: v for name, v in found.items() if v is not None and not isinstance(v, bool)}
    return " + ".join(flags + [parameters({name: v}) for name, v in others.items()]) or "nothing"
