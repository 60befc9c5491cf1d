"""`tokenglass open` and `replay`: a kept session's tree, going on with it, and writing it again.

No model, path or URL that a trace names is loaded: the model is given, or found here by its checksum.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tokenglass.cli.app import is_typed_at, require_new
from tokenglass.cli.engine_options import engine_facts
from tokenglass.cli.outcome import FAILED, OK
from tokenglass.cli.routing import UsageError
from tokenglass.cli.screen import Screen, note, passing, print_json
from tokenglass.errors import TraceError
from tokenglass.text import safe_line, safe_message
from tokenglass.traces import Other, Trace, read, tree_of
from tokenglass.types import EngineInfo
from tokenglass.views.figures import count
from tokenglass.views.layout import blocks
from tokenglass.views.replays import mismatch
from tokenglass.views.rows import plain
from tokenglass.views.trees import tree_blocks

if TYPE_CHECKING:
    from tokenglass.model import Model
    from tokenglass.session import Session


def open_trace(given: Namespace) -> int:
    """Show a trace's tree; on a terminal, go on with its session."""
    trace = read(given.trace)
    tree = tree_of(trace)
    if given.json:
        document = {"model": trace.header.model.name, "trace": given.trace, "torn": trace.torn}
        header = plain(asdict(trace.header))
        print_json({**document, "here": trace.here.id, "header": header, "tree": tree.to_dict()})
        return OK
    screen = Screen()
    if not is_typed_at(screen):
        if given.save is not None:
            raise UsageError("--save goes on with a session, which takes a terminal; copy the file instead")
        _say_torn(trace)
        screen.show(tree_blocks(tree))
        return OK
    if given.save is not None:
        require_new(given.save)
    session = _session(given, trace)
    _say_torn(trace)
    screen.show(tree_blocks(tree if session is None else session.tree))
    if session is None:
        return OK
    from tokenglass.explore import step_by_keys

    screen.write("\n")
    return step_by_keys(session, screen, given.n, given.save or given.trace)


def _say_torn(trace: Trace) -> None:
    if trace.torn:
        note(f"note: {safe_message(trace.torn)}")


def _session(given: Namespace, trace: Trace) -> Session | None:
    """The session, ready to go on; None, with a note, where it can only be looked at."""
    import tokenglass as tg

    try:
        session = tg.open_session(given.trace, recorded_model(trace, given.model))
    except TraceError as error:  # another process writes it, nobody may, or the model is not here
        note(f"note: {safe_message(str(error))}")
        return None
    if given.save is not None:
        session.close()
        session.save(given.save)
    return session


def recorded_model(trace: Trace, name: str | None) -> Model:
    """The model of a trace: the one given by name, or the one here whose weights have its checksum.

    Raises:
        TraceError: none is given and none is here.
    """
    import tokenglass as tg
    from tokenglass import models
    from tokenglass.loading import as_recorded

    recorded = trace.header.model
    if name is None:
        here = (row for row in models.listing() if row.present and row.sha256)
        name = next((row.name for row in here if row.sha256 == recorded.sha256), None)
    if name is None:
        wrote = _weights(recorded)
        raise TraceError(f"the model that wrote {trace.name}, {wrote}, is not here; give it with -m NAME")
    return tg.load(name, **as_recorded(recorded))


def _weights(info: EngineInfo) -> str:
    digest = safe_line(info.sha256[:12]) or "none"
    return f"{safe_line(info.name)} ({safe_line(info.precision)}, sha256 {digest})"


def replay_trace(given: Namespace) -> int:
    """Write a trace again and compare; a mismatch is a failure of the engine."""
    trace = read(given.trace)
    _say_torn(trace)
    model = recorded_model(trace, given.model)
    _require_comparable(trace, model, any_weights=given.any_weights)
    from tokenglass.replaying import replay

    def told(done: int, total: int) -> None:
        passing(f"{done:,} of {count(total, 'token')} written again")

    try:
        result = replay(model, tree_of(trace, model.tokenizer), recorded=_recorded(trace), told=told)
    finally:
        passing("")
    if given.json:
        print_json({**engine_facts(model.info), "trace": given.trace, **result.to_dict()})
    else:
        Screen().show(blocks(result))
    if result.equal:
        return OK
    note(f"tokenglass: {mismatch(result)}")
    return FAILED


def _require_comparable(trace: Trace, model: Model, *, any_weights: bool) -> None:
    """Refuse another vocabulary and missing functions always, and other weights unless they are wanted.

    Raises:
        TraceError: the ids mean something else, a keyword's value is not in the file, or the weights are not
            the recorded ones.
    """
    recorded, here = trace.header.model, model.info
    name = trace.name
    unheld = [key for given in trace.configs for key, value in given.items() if isinstance(value, Other)]
    if unheld:
        raise TraceError(
            f"{name} names {unheld[0]} but cannot hold it; open it in a program with "
            f"open_session(path, {unheld[0]}=...)"
        )
    if recorded.vocab_size != here.vocab_size:
        raise TraceError(
            f"{name} has ids of {recorded.vocab_size:,} tokens, {safe_line(here.name)} has "
            f"{here.vocab_size:,}; replay it with a model of the same vocabulary"
        )
    if not any_weights and (recorded.sha256, recorded.precision) != (here.sha256, here.precision):
        raise TraceError(
            f"{name} was written by {_weights(recorded)}, not by {_weights(here)}; "
            "give that model, or --any-weights to compare all the same"
        )


def _recorded(trace: Trace) -> dict[str, Any]:
    """What computed when the trace was written."""
    header, info = trace.header, trace.header.model
    return {
        "tokenglass": header.tokenglass,
        "engine": info.engine,
        "precision": info.precision,
        "model": info.name,
        "sha256": info.sha256,
        "threads": info.threads,
        **header.packages,
    }
