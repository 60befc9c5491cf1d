"""The page's modules in one script, its style sheets in one text; the same bytes from the same files.

Each module becomes a function that runs when it is first needed, as a browser would run it. That asks for
plain forms, each at the beginning of a line: named imports and exports, and `import("./x.js")` of a literal.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

ENTRY = "lib/handout.js"
# Views that a recording cannot feed: the page does not offer them there, so they need not be in the file.
OMITTED = frozenset(f"{name}/view.js" for name in ("strategies", "read", "compare", "tokens", "lessons"))

_IMPORT = re.compile(
    r"^import\s+(?:(?P<names>\{[^}]*\}|\*\s+as\s+\w+)\s+from\s+)?\"(?P<path>\.[^\"]+)\";$", re.M
)
_FORWARD = re.compile(r"^export\s+(?P<names>\{[^}]*\})\s+from\s+\"(?P<path>\.[^\"]+)\";$", re.M)
_DECLARED = re.compile(r"^export\s+(?=(?:(?:async\s+)?function\*?|class|const)\s+(?P<name>\w+))", re.M)
_LISTED = re.compile(r"^export\s+(?P<names>\{[^}]*\});$", re.M)
_LATER = re.compile(r"\bimport\(\"(?P<path>\.[^\"]+)\"\)")
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_STRANGE = re.compile(r"^\s*(?:import|export)\b(?!\()|\bimport\.meta\b|\bimport\((?!\")", re.M)

_FRAME = """\
const held = new Map();
const need = (path) => {
  if (!held.has(path)) {
    const exports = {};
    held.set(path, exports);
    modules[path](exports);
  }
  return held.get(path);
};
const later = async (path) => need(path);
"""


@cache
def script(entry: str = ENTRY) -> str:
    """All modules that an entry needs, as one script.

    Raises:
        ValueError: a module uses another form than those above, or would end the script's element.
    """
    parts = [f"{json.dumps(path)}(exports) {{\n{_wrapped(path)}\n}}," for path in _reached(entry)]
    body = "\n".join(parts)
    text = f'"use strict";\n{_FRAME}const modules = {{\n{body}\n}};\nneed({json.dumps(entry)});\n'
    if re.search(r"</script|<!--", text, re.I):
        raise ValueError("a module of the page holds </script or <!--, which would end it inside a page")
    return text


@cache
def styles() -> str:
    """Every style sheet, the theme first, the views' in order of name."""
    left_out = {posixpath.dirname(path) for path in OMITTED}
    kept = (path for path in _files(".css") if posixpath.dirname(path) not in left_out)
    found = sorted(kept, key=lambda path: (path != "theme.css", path))
    text = "\n".join(read(path) for path in found)
    if re.search(r"</style|@import|url\((?!\"?data:)", text, re.I):
        raise ValueError("a style sheet of the page loads something, or holds </style")
    return text


def read(path: str) -> str:
    """A file of the page, by its path from index.html."""
    return files("tokenglass.views").joinpath("static", *path.split("/")).read_text(encoding="utf-8")


def _files(ending: str) -> Iterable[str]:
    waiting = [("", files("tokenglass.views").joinpath("static"))]
    while waiting:
        lead, place = waiting.pop()
        for each in place.iterdir():
            if each.is_dir():
                waiting.append((f"{lead}{each.name}/", each))
            elif each.name.endswith(ending):
                yield f"{lead}{each.name}"


def _reached(entry: str) -> list[str]:
    """The modules that are reached from one, in order of path."""
    found, waiting = set[str](), [entry]
    while waiting:
        path = waiting.pop()
        if path in found | OMITTED:
            continue
        found.add(path)
        code = _COMMENT.sub("", read(path))
        for form in (_IMPORT, _FORWARD, _LATER):
            waiting += [_beside(path, match["path"]) for match in form.finditer(code)]
    return sorted(found)


def _beside(path: str, other: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), other))


def _wrapped(path: str) -> str:
    """A module's text as the body of a function of `exports`."""
    code, given = read(path), list[str]()

    def taken(match: re.Match[str]) -> str:
        there = f"need({json.dumps(_beside(path, match['path']))})"
        names = match["names"]
        if names is None:
            return f"{there};"
        if names.startswith("*"):
            return f"const {names.split()[-1]} = {there};"
        return f"const {_renamed(names)} = {there};"

    def forwarded(match: re.Match[str]) -> str:
        there = f"need({json.dumps(_beside(path, match['path']))})"
        taken_apart, put_together = _renamed(match["names"]), _outer(match["names"])
        return f"Object.assign(exports, (({taken_apart}) => ({put_together}))({there}));"

    def declared(match: re.Match[str]) -> str:
        given.append(f"{match['name']}")
        return ""

    def listed(match: re.Match[str]) -> str:
        given.extend(_pairs(match["names"]))
        return ""

    for form, change in ((_IMPORT, taken), (_FORWARD, forwarded), (_DECLARED, declared), (_LISTED, listed)):
        code = form.sub(change, code)
    code = _LATER.sub(lambda match: f"later({json.dumps(_beside(path, match['path']))})", code)
    if strange := _STRANGE.search(_COMMENT.sub("", code)):
        raise ValueError(f"{path}: {strange[0].strip()!r} is no form of import or export that can be bundled")
    return f"{code}\nObject.assign(exports, {{ {', '.join(given)} }});"


def _split(names: str) -> list[tuple[str, str]]:
    """`{a, b as c}` -> (a, a), (b, c)."""
    each = [name.split(" as ") for name in names.strip("{} \n,").split(",") if name.strip()]
    return [(pair[0].strip(), pair[-1].strip()) for pair in each]


def _renamed(names: str) -> str:
    """As a pattern that takes an object apart."""
    return f"{{ {', '.join(a if a == b else f'{a}: {b}' for a, b in _split(names))} }}"


def _outer(names: str) -> str:
    return f"{{ {', '.join(b for _, b in _split(names))} }}"


def _pairs(names: str) -> list[str]:
    """As members of an object: inner name under its outer one."""
    return [a if a == b else f"{b}: {a}" for a, b in _split(names)]
