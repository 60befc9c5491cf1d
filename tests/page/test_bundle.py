"""The one-file hand-out as far as it needs no browser: bundling, inert data, the policy; the page's size."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.page.toys import bytes_model
from tokenglass import handout
from tokenglass.views.figures import percent
from tokenglass.views.handout import bundle, frame

STATIC = Path(bundle.__file__).parents[1] / "static"
SERVED = [path for path in STATIC.rglob("*") if path.suffix in (".js", ".css", ".html")]
MOST_BYTES = 300_000


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Modules that stand in for the page's."""
    found: dict[str, str] = {}
    monkeypatch.setattr(bundle, "read", found.__getitem__)
    return found


def test_the_bundle_holds_what_is_reached_and_is_the_same_each_time() -> None:
    bundle.script.cache_clear()
    first = bundle.script()
    bundle.script.cache_clear()
    assert bundle.script() == first
    assert '"lib/recorded.js"(exports)' in first and '"explore/view.js"(exports)' in first
    assert '"strategies/view.js"(exports)' not in first and "//# sourceMappingURL" not in first


@pytest.mark.parametrize(
    "path", sorted(p.relative_to(STATIC).as_posix() for p in SERVED if p.suffix == ".js")
)
def test_every_module_can_be_bundled(path: str) -> None:
    wrapped = bundle._wrapped(path)
    assert "need(" in wrapped or "import" not in bundle._COMMENT.sub("", bundle.read(path))


def test_imports_and_exports_become_members(modules: dict[str, str]) -> None:
    modules["a/b.js"] = (
        'import {\n  one,\n  two as other,\n} from "../c.js";\n'
        'import * as all from "./d.js";\nimport "./e.js";\n'
        'export { three as four } from "../c.js";\nexport const FIVE = 5;\nexport async function six() {}\n'
        'export class Seven {}\nconst eight = () => import("./d.js");\nexport { eight as nine };\n'
    )
    assert bundle._wrapped("a/b.js") == (
        'const { one, two: other } = need("c.js");\nconst all = need("a/d.js");\nneed("a/e.js");\n'
        'Object.assign(exports, (({ three: four }) => ({ four }))(need("c.js")));\nconst FIVE = 5;\n'
        'async function six() {}\nclass Seven {}\nconst eight = () => later("a/d.js");\n\n\n'
        "Object.assign(exports, { FIVE, six, Seven, nine: eight });"
    )


@pytest.mark.parametrize(
    "line",
    [
        'import five from "./x.js";',
        "export default 5;",
        "export let five = 5;",
        "const here = import.meta.url;",
        "const x = import(name);",
        'import { x } from "package";',
    ],
)
def test_other_forms_are_refused_by_name(line: str, modules: dict[str, str]) -> None:
    modules["a.js"] = f"{line}\n"
    with pytest.raises(ValueError, match=r"a\.js: .* is no form of import or export"):
        bundle._wrapped("a.js")


@pytest.mark.parametrize("text", ['"</script>"', "// <!-- x"])
def test_a_script_that_would_end_itself_is_refused(text: str, modules: dict[str, str]) -> None:
    modules["a.js"] = text
    bundle.script.cache_clear()
    with pytest.raises(ValueError, match="would end it"):
        bundle.script("a.js")


def test_modules_have_no_circles() -> None:
    """A browser could run them, a bundle of functions would see half of one."""
    needs = {
        path: set(re.findall(r'\bneed\("([^"]+)"\)', bundle._wrapped(path)))
        for path in bundle._reached(bundle.ENTRY)
    }
    while free := {path for path, others in needs.items() if not others & needs.keys()}:
        needs = {path: others for path, others in needs.items() if path not in free}
    assert not needs


NASTY = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\u2028\u2029",
    "\ud800",
    "&lt;",
    "]]>",
    "\x00",
]


@pytest.mark.parametrize("text", NASTY)
def test_data_is_inert_and_comes_back(text: str) -> None:
    found = frame.inert({text: [text]})
    assert found.isascii() and not set(found) & set("<>&") and json.loads(found) == {text: [text]}


def test_the_file_allows_its_own_script_and_style_and_nothing_else() -> None:
    session = bytes_model().session("It")
    session.step()
    html = handout.of_session(session)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None and html.index(policy[0]) < html.index("<style")
    rules: dict[str, Any] = {
        name: values for name, _, values in (rule.strip().partition(" ") for rule in policy[1].split(";"))
    }
    assert (
        rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    )
    script, style = re.findall(
        r"<(?:script type=\"module\"|style data-bundle)>(.*?)</(?:script|style)>", html, re.S
    )[::-1]
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert not re.search(r"https?://(?!www\.w3\.org/)", html.replace("\\u002f", "/")), (
        "an address in the file"
    )


def test_without_scripts_text_numbers_and_licences_are_there() -> None:
    session = bytes_model().session("It <b>")
    session.step(3)
    html = handout.of_session(session)
    plain = html[html.index("<noscript>") : html.index("</noscript>")]
    text = unescape(re.sub(r"<[^>]*>", "", plain))
    for step in session.steps:
        assert step.token.text in text
    assert percent(session.steps[-1].p) in text.replace("\u00a0", " ")  # of the last step a table is there
    assert "It·<b>" in text and "Permission is hereby granted" in text
    assert "<script" not in plain and " style=" not in plain


def test_the_licence_is_the_projects() -> None:
    root = Path(__file__).resolve().parents[2]
    held = Path(frame.__file__).with_name("licence.txt").read_text(encoding="utf-8")
    assert held == (root / "LICENSE").read_text(encoding="utf-8")
