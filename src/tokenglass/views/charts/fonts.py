"""Which characters the fonts of matplotlib can draw; what they cannot appears as a code point.

Matplotlib would warn in the cell of whoever draws, and draw an empty box. Nothing is imported: where axes
are given, matplotlib is there already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tokenglass.text import chip


def drawable(text: Any) -> Callable[[str], str]:
    """What makes texts drawable in the font of one of matplotlib's own texts, such as an axes' title."""
    manager = sys.modules.get("matplotlib.font_manager")
    if manager is None:  # axes of another make
        return lambda shown: shown
    fonts = _fonts(manager, text.get_fontproperties())

    def shown(text: str) -> str:
        return text if text.isascii() else "".join(c if _has(fonts, c) else chip(c) for c in text)

    return shown


def _fonts(manager: Any, properties: Any) -> list[Any]:
    """The fonts that are asked for one character after the other: one for each family that is installed."""
    found = []
    for family in properties.get_family():
        one = properties.copy()
        one.set_family(family)
        try:
            found.append(manager.get_font(manager.findfont(one, fallback_to_default=False)))
        except ValueError:  # not installed; matplotlib takes the next, or its own
            continue
    return found or [manager.get_font(manager.findfont(properties))]


def _has(fonts: list[Any], character: str) -> bool:
    return any(font.get_char_index(ord(character)) for font in fonts)
