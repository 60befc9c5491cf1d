"""`tokenglass doctor`: what is installed, what this machine can do, and how long one step takes on it."""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenglass.cli.models import facts_table
from tokenglass.cli.outcome import OK, UNUSABLE
from tokenglass.cli.screen import Screen, print_json
from tokenglass.errors import ModelNotFound
from tokenglass.views.blocks import Line
from tokenglass.views.figures import size

PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnx",
    "tokenizers",
    "gguf",
    "safetensors",
    "huggingface_hub",
    "typer",
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


def doctor(
    model: Annotated[str, typer.Option("-m", "--model", help="The model to measure.")] = "smollm2",
    precision: Annotated[str, typer.Option(help='"exact" or "fast".')] = "exact",
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")
    ] = False,
    seed: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> int:
    """Show versions, CPU features, whether the model is here, one measured step and the memory it takes."""
    facts = _installed() | _machine()
    code, advice = OK, ""
    try:
        facts |= _measured(model, precision)
    except ModelNotFound as error:
        code, advice = UNUSABLE, str(error)
        facts["model"] = f"{model}: not here"
    if as_json:
        print_json(
            facts
            | ({"error": {"type": "ModelNotFound", "message": advice, "exit_code": code}} if code else {})
        )
    else:
        Screen().show([facts_table((name, _shown(name, value)) for name, value in facts.items())])
        if advice:
            Screen().show([Line(advice)])
    return code


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


def _measured(model: str, precision: str) -> dict[str, Any]:
    import tokenglass as tg
    from tokenglass import models

    path = models.path(model)  # never fetches: a check must not start a download
    started = time.perf_counter()
    loaded = tg.load(model, precision=precision)  # type: ignore[arg-type]
    opened = time.perf_counter()
    loaded.next_tokens(PROMPT)
    first = time.perf_counter()
    marks = [time.perf_counter() for _ in loaded.stream(PROMPT, max_new_tokens=STEPS + 1, eos_token_id=None)]
    return {
        "model": f"{loaded.info.name}, {loaded.info.parameters:,} parameters, {loaded.info.precision}",
        "path": str(path),
        "load_s": round(opened - started, 3),
        "first_table_s": round(first - opened, 3),
        "step_ms": round(1000 * statistics.median(b - a for a, b in zip(marks, marks[1:], strict=False)), 2),
        "threads": loaded.info.threads,
        "resident_bytes": resident_bytes(),
    }


def resident_bytes() -> int | None:
    """Memory that this process holds now; None where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the most so far, in bytes there
    return None


def _total_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None


def _shown(name: str, value: Any) -> Any:
    if value is None:
        return "unknown"
    if isinstance(value, dict):
        return ", ".join(f"{key} {number or 'missing'}" for key, number in value.items())
    if isinstance(value, list):
        return " ".join(value) or "none known"
    if name.endswith("_bytes") or name == "memory":
        return size(value)
    units = {"load_s": "s", "first_table_s": "s", "step_ms": f"ms, median of {STEPS}"}
    return f"{value} {units[name]}" if name in units else value
