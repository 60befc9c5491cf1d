"""Who may import whom, what is loaded when, how long files are, and that raw token text reaches no screen.

Imports are read from the source with `ast`, so an import that no test happens to run counts too. Imports
under `TYPE_CHECKING` load nothing; they count for the layers all the same.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "tokenglass"

# From the bottom to the top; a unit imports from its own layer and from those below. Units are the files and
# folders right below src/tokenglass. Engines and views stand beside the layers, with rules of their own.
FIRST = {"types", "errors", "text", "numbers", "files", "version"}
SECOND = {
    "tokenizer",
    "config",
    "chain",
    "stages",
    "select",
    "models",
    "random",
    "chat",
    "chat_limits",
    "chat_sandbox",
    "traces",
}
THIRD = {
    "model",
    "decode",
    "asking",
    "tables",
    "kept",
    "onscreen",
    "replaying",
    "connecting",
    "saving",
    "treewriter",
    "growing",
    "session",
    "loading",
    "search",
    "reading",
    "healing",
    "recording",
    "strategies",
    "showcase",
    "scoring",
    "comparing",
    "prompting",
    "batching",
    "ray",
}
TOP = {"notebook", "cli", "explore", "__main__"}
MAY_IMPORT = {
    **dict.fromkeys(FIRST, FIRST),
    **dict.fromkeys(SECOND, FIRST | SECOND),
    **dict.fromkeys(THIRD, FIRST | SECOND | THIRD),
    **dict.fromkeys(TOP, FIRST | SECOND | THIRD | TOP | {"views", "workbench", "server", "handout"}),
    "handout": FIRST | SECOND | THIRD | {"views", "workbench", "handout"},
    "workbench": FIRST | SECOND | THIRD | {"views", "workbench"},
    "server": FIRST | {"workbench", "config", "server"},
    "engines": FIRST | {"engines"},
    "views": {"types", "errors", "text", "numbers", "views"},
}
# Single doors, each with its reason; "function" means only inside a function, type checkers may always look.
DOORS = {
    ("types", "tokenglass.views"): "function",  # a result asks for its own view when it is shown
    **{(unit, "tokenglass.engines.base"): "top" for unit in THIRD},  # the protocol, not an engine
    ("onscreen", "tokenglass.notebook"): "function",  # a session asks for its own live view
    ("loading", "tokenglass.engines.opening"): "function",  # the one place that starts an engine
    ("workbench", "tokenglass.handout"): "function",  # a page hands its session out
    ("kept", "tokenglass.handout"): "function",  # and so does a session itself
    ("workbench", "tokenglass.engines.base"): "top",  # engines whose runs are turns
    ("connecting", "tokenglass.engines.server"): "top",  # as loading's; itself loaded when one is named
    ("loading", "tokenglass.engines.hf"): "function",
}
# The hf engine's modules work on torch's tensors from end to end.
HF_ENGINE = {
    f"engines.hf.{name}"
    for name in ("engine", "linear", "memory", "network", "opening", "states", "strips", "trial")
}
# Packages that are slow to import or not always there: the only modules that may name them, inside functions.
# Modules that import theirs at the top are themselves imported inside functions (`AT_THEIR_TOP`).
HEAVY = {
    "onnxruntime": {"engines.session"},
    "onnx": {"engines.graph", "engines.nodes"},
    "gguf": {"engines.tensors"},
    "tokenizers": {
        "tokenizer.library",
        "tokenizer.sources",
        "tokenizer.configured",
        "tokenizer.training",
        "files.checking",
    },
    "huggingface_hub": {"files.hub"},
    "jinja2": {"chat_sandbox", "chat_limits"},
    "pandas": {"types.shown", "views.frames"},
    "anywidget": {"notebook", "notebook.widget"},  # the optional extra for live views
    "traitlets": {"notebook.widget"},
    "altair": {"views.charts.altair"},  # the optional extra for charts
    "rich": {"files.progress", "views.terminal"},
    "platformdirs": {"files.cache"},
    "filelock": {"files.cache", "traces.storage", "batching.folder"},
    "pyarrow": {"traces.arrow", "batching.parquet", "views.arrow"},  # the extra for Parquet and Arrow
    "ray": {"ray"},  # the optional extra for clusters
    "torch": {"select.torch", "stages.foreign", "search.drawing", *HF_ENGINE},  # draws, processors of tensors
    "llguidance": {"stages.grammar_library"},  # the optional extra for grammars
    "fastapi": {"server.app"},  # the optional extra for the page
    "starlette": {"server.app", "server.answers"},  # what FastAPI is made of
    "uvicorn": {"server.running"},
    "transformers": {"engines.hf.opening", "engines.hf.states", "engines.hf.strips"},
    "httpx": {"engines.server.transport"},
    "xllamacpp": {"engines.server.running"},
    "safetensors": set(),
    "typer": set(),
}
AT_THEIR_TOP = {"notebook.widget", "chat_sandbox", "chat_limits", *HF_ENGINE}
LIGHT = {"numpy", "tokenglass"}

MOST_LINES = 350
MOST_FUNCTION_LINES = 70


@dataclass(frozen=True)
class Import:
    """One import.

    Attributes:
        importer: dotted path below tokenglass, "" for the package itself.
        module: what is imported, as far down as it can be a module.
        where: "top", "function" or "type".
    """

    importer: str
    module: str
    where: str


class _Imports(ast.NodeVisitor):
    """Collects the imports of one file."""

    def __init__(self, importer: str) -> None:
        self.importer, self.where, self.found = importer, "top", list[Import]()

    def _inside(self, where: str, nodes: list[Any]) -> None:
        before, self.where = self.where, where
        for node in nodes:
            self.visit(node)
        self.where = before

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside("type" if self.where == "type" else "function", node.body)

    def visit_If(self, node: ast.If) -> None:
        checking = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        self._inside("type" if checking else self.where, node.body)
        self._inside(self.where, node.orelse)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [Import(self.importer, alias.name, self.where) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0, f"{self.importer}: imports are absolute here"
        for alias in node.names:
            deeper = f"{node.module}.{alias.name}"
            module = deeper if _is_module(deeper) else str(node.module)
            self.found.append(Import(self.importer, module, self.where))


def _is_module(name: str) -> bool:
    path = SOURCE.joinpath(*name.split(".")[1:])
    return name.startswith("tokenglass.") and (path.is_dir() or path.with_suffix(".py").is_file())


def _files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def _dotted(path: Path) -> str:
    return (
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        .removesuffix(".__init__")
        .removesuffix("__init__")
    )


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports() -> tuple[Import, ...]:
    found: list[Import] = []
    for path in _files():
        visitor = _Imports(_dotted(path))
        visitor.visit(_tree(path))
        found += visitor.found
    return tuple(found)


def _unit(module: str) -> str:
    return module.removeprefix("tokenglass.").partition(".")[0]


# ------------------------------------------------------------------------------------------------- layers


def _upward(found: Import) -> bool:
    importer = found.importer.partition(".")[0]
    if found.module == "tokenglass" and importer in TOP:
        return False  # the command line is a user of the public names
    if any(
        importer == door and f"{found.module}.".startswith(f"{target}.") and found.where in (where, "type")
        for (door, target), where in DOORS.items()
    ):
        return False
    return _unit(found.module) not in MAY_IMPORT[importer]


def test_every_unit_has_a_layer() -> None:
    units = {_dotted(path).partition(".")[0] for path in _files()} - {""}
    assert units <= set(MAY_IMPORT), "give the new file or folder a layer in this test"


def test_layers() -> None:
    ours = [i for i in _imports() if i.module.partition(".")[0] == "tokenglass" and i.importer]
    assert len(ours) > 100  # the reader works
    assert not [i for i in ours if _upward(i)]


def test_layers_would_notice() -> None:
    """The rule itself, on imports that must not be: the test above cannot pass for want of a rule."""
    wrong = [
        Import("engines.onnx", "tokenglass.model", "function"),
        Import("views.html", "tokenglass.engines.base", "top"),
        Import("model", "tokenglass.cli.screen", "function"),
        Import("stages.row", "tokenglass.decode", "top"),
        Import("types", "tokenglass.views", "top"),
        Import("session", "tokenglass.engines.onnx", "function"),
        Import("files.hub", "tokenglass.models", "function"),
    ]
    assert all(map(_upward, wrong))


# ---------------------------------------------------------------------------------------------- packages


def test_heavy_packages_are_named_only_in_their_own_modules() -> None:
    outside = [i for i in _imports() if i.module.partition(".")[0] not in LIGHT | sys.stdlib_module_names]
    assert outside
    for found in outside:
        package = found.module.partition(".")[0]
        assert package in HEAVY, f"{found.importer} imports {package}: give it a place in this test"
        assert found.importer in HEAVY[package], found
        assert found.where != "top" or found.importer in AT_THEIR_TOP, f"import it inside a function: {found}"


def test_modules_with_heavy_imports_at_their_top_are_themselves_imported_in_functions() -> None:
    for found in _imports():
        if found.module.removeprefix("tokenglass.") in AT_THEIR_TOP and found.importer not in AT_THEIR_TOP:
            assert found.where != "top", found


def _loaded_by(code: str) -> dict[str, Any]:
    """Run code in a process of its own; which packages it loaded, and how long it took."""
    script = (
        f"import json, sys, time\nstart = time.perf_counter()\n{code}\n"
        "seconds = time.perf_counter() - start\n"
        "packages = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "print(json.dumps({'seconds': seconds, 'packages': packages}))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return loaded


def test_importing_tokenglass_loads_nothing_heavy(record_property: Any) -> None:
    loaded = _loaded_by("import tokenglass")
    record_property("import_seconds", loaded["seconds"])
    print(
        f"import tokenglass: {loaded['seconds'] * 1000:.1f} ms"
    )  # shown by pytest -rP; a time is no assertion
    assert "tokenglass" in loaded["packages"]
    assert not set(loaded["packages"]) & {*HEAVY, "numpy"}


def test_a_warm_start_builds_no_graph(smollm2: Any) -> None:
    """The graph and the repacked weights come from the cache: what would build them is not even imported."""
    code = "import tokenglass as tg; tg.load('smollm2').next_tokens('Hi').rows"
    _loaded_by(code)  # makes its pack anew where those of tests beside this one pushed it out
    packages = set(_loaded_by(code)["packages"])
    assert "onnxruntime" in packages
    assert not packages & {
        "onnx",
        "gguf",
        "torch",
        "transformers",
        "huggingface_hub",
        "jinja2",
        "pandas",
        "typer",
    }


# ----------------------------------------------------------------------------------------- size and names


@pytest.mark.parametrize("path", _files(), ids=lambda path: _dotted(path) or "tokenglass")
def test_files_and_functions_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{lines} lines: split it by what it knows"
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MOST_FUNCTION_LINES, f"{node.name} has {length} lines"


OVERRIDES = {"get_seq_length"}  # names that another library calls


def test_names_say_what_things_are() -> None:
    assert not [path for path in _files() if path.stem in ("utils", "util", "helpers", "misc", "common")]
    for path in _files():
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in OVERRIDES:
                assert not re.match(r"_?(get|do|handle)_|\w*Manager$", node.name), (path.name, node.name)


def test_every_file_says_what_it_knows() -> None:
    for path in _files():
        assert ast.get_docstring(_tree(path)), path


# ------------------------------------------------------------------------------------------------ screens

SAFE = {"safe_text", "safe_line", "safe_prose"}
# What a token or a result holds as it was written by the model or in the prompt.
RAW_ATTRIBUTES = {"bytes", "prompt_text", "full_text"}
RAW_CALLS = {"decode", "detokenize", "decode_bytes"}
# `.text` is display text on tokens, candidates and blocks; on anything else it is raw.
SHOWN_TEXT = {"token", "row", "candidate", "piece", "line", "block", "prose", "t"}
# A use that measures, compares, encodes for JSON or passes on, and draws nothing.
HARMLESS_CALLS = {"len", "hex", "encode", "screen.write"}
# Functions that hold raw text for a reason: (module, function) -> the reason.
HOLDS_RAW = {
    ("cli.app", "_from_stdin"): "reads a prompt",
    ("cli.keys", "_read_some"): "reads the keyboard",
    ("cli.writing", "write"): "collects a Sequence; it prints through Screen.write, which is safe",
    ("views.rows", "*"): "JSON values: text is escaped by JSON itself and drawn by nobody",
    ("views.columns.base", "*"): "values of data frames, as in views.rows",
    ("views.columns.choices", "*"): "values of data frames, as in views.rows",
    ("views.columns.judging", "*"): "values of data frames, as in views.rows",
    ("views.columns.writing", "*"): "values of data frames, as in views.rows",
    ("views.entries", "*"): "values of data frames, as in views.rows",
    ("views.frames", "*"): "values of data frames, as in views.rows",
    ("views.arrow", "*"): "values of data frames, as in views.rows",
    ("views.growth", "_leaf"): "JSON values, as in views.rows",
    ("views.growth", "_"): "JSON values, as in views.rows",
    ("views.trees", "step_row"): "JSON values, as in views.rows",
    ("views.trees", "tree_blocks"): "the end of the prompt, put together for safe_text",
    ("views.layout", "next_blocks"): "the end of the prompt, put together for safe_text",
    ("views.layout", "_notes"): "finds split characters; their text goes through safe_text",
    ("views.layout", "_split_characters"): "finds split characters for _notes",
}
# Where something may be printed at all: (module, function).
PRINTERS = {
    ("engines.server.running", "_main"),  # a line to the parent process
    ("cli", "command"),
    ("cli.app", "invoke"),
    ("cli.models", "run"),
    ("cli.outcome", "_report"),
    ("cli.screen", "show"),
    ("cli.screen", "write"),
    ("cli.screen", "note"),
    ("cli.screen", "print_json"),
    ("cli.writing", "write"),
    ("explore", "_ask"),
    ("explore", "_draw"),
    ("files.progress", "waiting"),
}


def _spots(tree: ast.AST) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """Every node with the nodes around it, outermost first."""

    def walk(node: ast.AST, around: list[ast.AST]) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
        yield node, around
        for child in ast.iter_child_nodes(node):
            yield from walk(child, [*around, node])

    return walk(tree, [])


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    written = ast.unparse(node.func)
    return written if written == "screen.write" else written.rpartition(".")[2]


def _function(around: list[ast.AST]) -> str:
    return next((n.name for n in reversed(around) if isinstance(n, ast.FunctionDef)), "")


def _is_raw(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute) and node.func.attr in RAW_CALLS
    if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
        return False
    if node.attr in RAW_ATTRIBUTES:
        return True
    base = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    return node.attr == "text" and base not in SHOWN_TEXT


def raw_text(tree: ast.AST, module: str) -> list[str]:
    """Where a module of the screens uses a model's or a prompt's text without `tokenglass.text` around it."""
    found = []
    for node, around in _spots(tree):
        if not _is_raw(node) or any(_called(n) in SAFE | HARMLESS_CALLS for n in around):
            continue
        function = _function(around)
        if (module, function) in HOLDS_RAW or (module, "*") in HOLDS_RAW:
            continue
        found.append(f"{module}.{function}, line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    return found


def printing(tree: ast.AST, module: str) -> list[str]:
    """Where a module prints, outside the functions that may."""
    found = []
    for node, around in _spots(tree):
        written = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        prints = written in ("print", "sys.stdout.write", "sys.stderr.write") or written.endswith(
            "console.print"
        )
        if prints and (module, _function(around)) not in PRINTERS:
            found.append(f"{module}.{_function(around)}, line {getattr(node, 'lineno', 0)}: {written}")
        if written.endswith("from_markup") or written == "Markdown" or "markup=True" in written:
            found.append(f"{module}: {written} gives token text the power of markup")
    return found


def _screens() -> list[Path]:
    return [p for p in _files() if _dotted(p).partition(".")[0] in TOP | {"views"}]


def test_no_raw_text_reaches_a_screen() -> None:
    assert len(_screens()) > 10
    assert not [spot for path in _screens() for spot in raw_text(_tree(path), _dotted(path))]


def test_nothing_prints_but_the_command_line() -> None:
    assert not [spot for path in _files() for spot in printing(_tree(path), _dotted(path))]


@pytest.mark.parametrize(
    "code",
    [
        "print(token.bytes.decode())",
        "sys.stdout.write(step.text)",
        "line = f'{step.text}'",
        "Line(generation.full_text)",
        "shown = model.detokenize(ids)",
        "return escape(result.prompt_text)",
    ],
)
def test_the_screen_rule_would_notice(code: str) -> None:
    assert raw_text(ast.parse(code), "views.html")


def test_the_screen_rule_knows_what_is_safe() -> None:
    code = "a = safe_text(token.bytes), safe_prose(step.text), token.text, step.token.text, len(result.text)"
    assert not raw_text(ast.parse(code), "views.html")
    assert printing(ast.parse("print(1)"), "views.html")


def test_exceptions_of_the_screen_rule_exist() -> None:
    """A stale exception would hide the next mistake."""
    functions = {
        (_dotted(path), node.name)
        for path in _files()
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef)
    }
    assert set(PRINTERS) <= functions
    assert {key for key in HOLDS_RAW if key[1] != "*"} <= functions
