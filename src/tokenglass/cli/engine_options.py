"""Which engine computes, and how: options of every command that loads a model, as arguments of `load`.

`tokenglass.load` checks its arguments, too, in its own words; here they are options, and are checked before
anything is read.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tokenglass.cli import values
from tokenglass.cli.parsing import Parser
from tokenglass.cli.routing import UsageError
from tokenglass.text import safe_line

if TYPE_CHECKING:
    from tokenglass.types import EngineInfo

ENGINES = ("onnx", "hf", "server")
DTYPES = ("float32", "bfloat16", "float16", "auto")
OPTIONS = ("engine", "dtype", "device", "threads")  # as `load` calls them; None where not given


def add_options(made: Parser) -> None:
    """Everything but the model's name."""
    made.add_argument(
        "--precision",
        default="exact",
        choices=("exact", "fast"),
        help="of the native engine: float32 activations, or int8 where possible (exact)",
    )
    made.add_argument(
        "--engine",
        choices=ENGINES,
        help="the native one, transformers, or a model server; llama.cpp's for a .gguf file (by the model)",
    )
    made.add_argument(
        "--dtype", choices=DTYPES, help="of --engine hf, which it asks for; auto is as stored (float32)"
    )
    made.add_argument(
        "--device",
        metavar="NAME",
        help="of --engine hf, which it asks for: cpu, cuda, cuda:1, mps (cuda where there is one)",
    )
    made.add_argument(
        "--threads", type=values.threads, metavar="N", help="of the computation, 1 to 1024 (every core)"
    )
    made.add_argument("--tokenizer", metavar="NAME", help="of the model behind a server that shows none")


def load_arguments(given: Namespace, source: str) -> dict[str, Any]:
    """The arguments of `tokenglass.load` for one of a command's models.

    Raises:
        UsageError: options that no model, or not this one, can be loaded with.
    """
    from tokenglass.loading import is_address

    chosen = {name: getattr(given, name) for name in OPTIONS if getattr(given, name) is not None}
    _require_one_engine(given)
    if is_address(source):
        _require_settled_there(given, source, chosen)
        if given.tokenizer is not None:
            chosen["tokenizer"] = given.tokenizer
    return {"precision": given.precision, **chosen}


def require_address(given: Namespace, sources: Sequence[str]) -> None:
    """Refuse `--tokenizer` where no model is behind an address: all others bring their own.

    Raises:
        UsageError: none is.
    """
    from tokenglass.loading import is_address

    if given.tokenizer is not None and not any(map(is_address, sources)):
        raise UsageError("--tokenizer goes with the address of a server; other models bring their own")


def engine_facts(info: EngineInfo) -> dict[str, Any]:
    """What a document says of the model that ran."""
    return {"model": info.name, "engine": info.engine, "precision": info.precision}


def _require_one_engine(given: Namespace) -> None:
    """Refuse options of two engines."""
    of_hf = [f"--{name}" for name in ("dtype", "device") if getattr(given, name) is not None]
    if of_hf and given.engine not in (None, "hf"):
        verb = "belong" if len(of_hf) > 1 else "belongs"
        raise UsageError(
            f"{' and '.join(of_hf)} {verb} to --engine hf, not to {given.engine}; leave one or the other out"
        )
    if given.precision == "fast" and (of_hf or given.engine in ("hf", "server")):
        other = f"--engine {given.engine}" if given.engine else of_hf[0]
        raise UsageError(f"--precision fast belongs to --engine onnx; leave it or {other} out")


def _require_settled_there(given: Namespace, source: str, chosen: dict[str, Any]) -> None:
    """Refuse what a server has settled before anybody asks it."""
    shown = safe_line(source)[:80]
    if given.engine not in (None, "server"):
        raise UsageError(
            f"{shown} is a server's address, which goes with --engine server, not {given.engine}; "
            "leave --engine out"
        )
    settled = [f"--{name}" for name in chosen if name != "engine"]
    settled += ["--precision"] if given.precision != "exact" else []
    if settled:
        raise UsageError(f"{' and '.join(settled)}: settled by the server at {shown}; leave out")
