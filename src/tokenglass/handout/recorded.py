"""What a trace knows: its steps, and what its keywords stood for as far as a file can say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tokenglass import config as configuration
from tokenglass.chain import Plan
from tokenglass.chain import plan as make_plan
from tokenglass.errors import TokenglassError
from tokenglass.handout.recording import Recording
from tokenglass.traces.trees import tree_of
from tokenglass.traces.values import decode

if TYPE_CHECKING:
    from tokenglass.traces import Trace


def recording(trace: Trace) -> Recording:
    """All of a trace."""
    tree = tree_of(trace)
    chains = [_recorded_plan(trace, given, effective) for given, effective in _configs(trace)]
    sampling = _recorded_plan(trace, {"do_sample": True}, trace.header.config)
    here = trace.here
    while here.pruned and here.parent is not None:
        here = here.parent
    return Recording(
        tree,
        trace.header.model,
        trace.header.prompt_text,
        [None if plan is None else plan.describe() for plan in chains],
        defaults={} if sampling is None else sampling.config.values,
        here=tree.node(here.id),
        config=tree.config_index(trace.given),
        redo={parent: child for parent, child in trace.redo.items() if not trace.nodes[child].pruned},
    )


def _configs(trace: Trace) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(given, effective) keywords for each configuration of a trace."""
    effective: dict[int, Mapping[str, Any]] = {0: trace.header.config}
    for event in trace.events:
        if event.kind == "set":
            held = event.data["config"]
            effective[event.data["index"]] = {name: decode(value) for name, value in held.items()}
    return [(given, effective.get(index, {})) for index, given in enumerate(trace.configs)]


def _recorded_plan(trace: Trace, given: Mapping[str, Any], effective: Mapping[str, Any]) -> Plan | None:
    """What recorded keywords mean; None where a file cannot say."""
    info = trace.header.model
    try:
        resolved = configuration.resolve(
            given,
            model_defaults=_model_defaults(given, effective),
            model_eos=info.eos_ids,
            prompt_length=len(trace.header.prompt_ids),
            vocab_size=info.vocab_size,
        )
        vocabulary: Any = trace.vocabulary
        return make_plan(resolved, vocabulary, info.vocab_size, trace.header.prompt_ids)
    except (TokenglassError, ValueError, TypeError, AttributeError, KeyError):
        return None  # it names what a file cannot hold, such as a function


def _model_defaults(given: Mapping[str, Any], effective: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's own configuration must have said: what was in force and nobody gave."""
    names = set(effective) & set(configuration.BY_NAME) - set(given)
    return {name: effective[name] for name in names if effective[name] != configuration.BY_NAME[name].default}
