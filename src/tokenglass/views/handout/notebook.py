"""The page's Explore view as one module for a notebook's widget, its style sheets with it."""

from __future__ import annotations

import json
import re

from tokenglass.views.handout import bundle

ENTRY = "notebook/widget.js"
# The page's rules for its root belong to the shadow root's host, those for its ground to the box inside.
_FOR_A_CELL = (
    (re.compile(r":root(\[[^\]]*\])"), r":host(\1)"),
    (re.compile(r":root\b"), ":host"),
    (re.compile(r"^html\b", re.M), ".ground"),
    (re.compile(r"^body\b[^{]*\{[^}]*\}$", re.M), ""),
)
_CELL = "\n:host { display: block; }\n.cell { padding: 0.75rem; border-radius: var(--round); }\n"


def module(version: str) -> str:
    """An ES module with `render`, which loads nothing; cells of one version share what it defines."""
    code = bundle.script(ENTRY)
    end = f"need({json.dumps(ENTRY)});\n"
    assert code.endswith(end)
    key = json.dumps(f"tokenglass.widget.{version}")
    return (
        f"const key = Symbol.for({key});\n"
        f"const page = globalThis[key] ??= (() => {{\n{code.removesuffix(end)}return {end}}})();\n"
        f"const styles = {json.dumps(styles())};\n"
        "export default { render: (cell) => page.render(cell, styles) };\n"
    )


def styles() -> str:
    """The style sheets, for a shadow root."""
    text = bundle.styles()
    for pattern, replacement in _FOR_A_CELL:
        text = pattern.sub(replacement, text)
    return text + _CELL
