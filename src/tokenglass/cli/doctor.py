"""`tokenglass doctor`: what is installed, what this machine can do, and how long one step takes on it."""

from __future__ import annotations

import itertools
import os
import platform
import re
import statistics
import sys
import time
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tokenglass.cli.engine_options import load_arguments, require_address
from tokenglass.cli.facts import facts_table
from tokenglass.cli.outcome import OK, UNUSABLE
from tokenglass.cli.screen import Screen, note, print_json
from tokenglass.errors import ModelNotFound
from tokenglass.text import safe_line
from tokenglass.views.figures import size

PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnx",
    "tokenizers",
    "gguf",
    "huggingface_hub",
    "jinja2",
)
OPTIONAL = ("torch", "transformers", "pandas")
FEATURES = (
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "amx_int8",
    "asimd",
    "asimddp",
    "sve",
)
PROMPT = "Once upon a time, generative models"
STEPS = 8


LABELS = {
    "cpu_features": "CPU features",
    "cpu": "CPU",
    "load_s": "loading it",
    "first_table_s": "first table",
    "step_ms": "one step",
    "resident_bytes": "memory in use",
}


def run(given: Namespace) -> int:
    """Print what was found; exit code 3 where the model is not here."""
    require_address(given, [given.model])
    facts = _installed() | _machine()
    problem = None
    try:
        facts |= _measured(given.model, load_arguments(given, given.model))
    except ModelNotFound as error:
        problem = {"type": "ModelNotFound", "message": safe_line(str(error)), "exit_code": UNUSABLE}
        facts["model"] = f"{given.model}, not here"
    if given.json:
        print_json(facts | ({"error": problem} if problem else {}))
    else:
        Screen().show(
            [facts_table((LABELS.get(name, name), _shown(name, value)) for name, value in facts.items())]
        )
        if problem:
            note(f"tokenglass: {problem['message']}")
    return UNUSABLE if problem else OK


def _installed() -> dict[str, Any]:
    from tokenglass import __version__

    found = {name: _version(name) for name in PACKAGES}
    missing = [name for name, number in found.items() if number is None]
    extras = {name: number for name in OPTIONAL if (number := _version(name))}
    facts: dict[str, Any] = {
        "tokenglass": __version__,
        "python": platform.python_version(),
        "packages": found,
    }
    if extras:
        facts["optional"] = extras
    return facts | ({"missing": missing} if missing else {})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    flags, name = set(), platform.processor()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)[:1]).split())
        name = next(iter(re.findall(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)), name)
    except OSError:  # not Linux
        pass
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": name or "unknown",
        "cpu_features": [feature for feature in FEATURES if feature in flags],
        "cores": usable,
        "memory": _total_memory(),
    }


def _measured(model: str, loading: dict[str, Any]) -> dict[str, Any]:
    import tokenglass as tg
    from tokenglass import models

    path = models.path(model)  # never fetches: a check must not start a download
    started = time.perf_counter()
    loaded = tg.load(model, **loading)
    opened = time.perf_counter()
    loaded.next_tokens(PROMPT)
    first = time.perf_counter()
    marks = [time.perf_counter() for _ in loaded.stream(PROMPT, max_new_tokens=STEPS + 1, eos_token_id=None)]
    return {
        "model": f"{loaded.info.name}, {loaded.info.parameters:,} parameters, {loaded.info.precision}",
        "engine": loaded.info.engine,
        "path": str(path),
        "load_s": round(opened - started, 3),
        "first_table_s": round(first - opened, 3),
        "step_ms": round(1000 * statistics.median(b - a for a, b in itertools.pairwise(marks)), 2),
        "threads": loaded.info.threads,
        "resident_bytes": resident_bytes(),
    }


def resident_bytes() -> int | None:
    """Memory that this process holds now; None where the system does not say."""
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the most so far, in bytes there
    if sys.platform == "win32":
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _total_memory() -> int | None:
    if sys.platform == "win32":
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _shown(name: str, value: Any) -> Any:
    """A measured value with its unit."""
    if name in ("resident_bytes", "memory") and value is not None:
        return size(value)
    units = {"load_s": "s", "first_table_s": "s", "step_ms": f"ms, the median of {STEPS}"}
    return f"{value} {units[name]}" if name in units else value
