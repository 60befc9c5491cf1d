"""`tokenglass compare`: two prompts, two configurations of one, or two models, side by side."""

from __future__ import annotations

import difflib
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokenglass.cli.app import Prompt, load_drafter, load_model, typed_text
from tokenglass.cli.checking import check, notes
from tokenglass.cli.engine_options import engine_facts, load_arguments
from tokenglass.cli.keywords import SWITCHES, option_of, read
from tokenglass.cli.outcome import OK
from tokenglass.cli.routing import UsageError
from tokenglass.cli.screen import Screen, note, passing, print_json
from tokenglass.cli.writing import shortened
from tokenglass.config import KNOWN
from tokenglass.views.layout import blocks

if TYPE_CHECKING:
    from tokenglass.model import Model
    from tokenglass.types.comparison import Comparison, Side

FORMS = "two prompts, or one with --a KEYWORD=VALUE and --b KEYWORD=VALUE, or one with --with-model NAME"


def run(given: Namespace) -> int:
    """Run both sides, measure and print; returns the exit code."""
    sides = [_keywords("--a", given.a), _keywords("--b", given.b)]
    prompts = _prompts(given, configs=any(sides))
    for own in sides:
        check({**given.config, **own})
    model = load_model(given, beside=[given.with_model] if given.with_model else [])
    other = _other(given)
    for own in sides:
        load_drafter(own, given, model)
    result = _compared(given, model, other, prompts, sides)
    if given.json:
        document = result.to_dict()
        for side in "ab":
            shortened(document[side]["generation"])
            document[side] |= engine_facts(getattr(result, side).info)
        print_json({**engine_facts(model.info), **document})
        return OK
    for line in _said((model, other or model), (result.a, result.b), given, sides):
        note(line)
    Screen().show(blocks(result))
    return OK


def _keywords(option: str, typed: Sequence[str]) -> dict[str, Any]:
    """The keywords of one configuration, each as KEYWORD=VALUE; a switch as KEYWORD alone."""
    config: dict[str, Any] = {}
    for word in typed:
        name, equals, value = word.partition("=")
        name = name.strip().replace("-", "_")
        plain = name if name in KNOWN else name.removeprefix("no_")
        if plain not in KNOWN:
            near = difflib.get_close_matches(name, KNOWN, n=1)
            hint = f"; did you mean {near[0]}?" if near else ", as in top_k=5"
            raise UsageError(f"{option} takes a generation keyword, got {word!r}{hint}")
        if not equals and plain not in SWITCHES:
            raise UsageError(f"{option} {name} needs a value, as in {option} {name}=VALUE")
        read([option_of(name) + equals + value], config)
    return config


def _prompts(given: Namespace, *, configs: bool) -> list[Prompt]:
    """One prompt or two, as what differs needs; `-` can be one of them."""
    words, models = given.words, given.with_model is not None
    if configs and models:
        raise UsageError("compare takes two configurations or two models, not both at once")
    if len(words) != (1 if configs or models else 2):
        raise UsageError(f"compare takes {FORMS}; prompts go in quotes; got {len(words)} of them")
    if words.count("-") > 1:
        raise UsageError("standard input can be one of the prompts, not both")
    texts = map(typed_text, words)
    return [[{"role": "user", "content": text}] if given.chat else text for text in texts]


def _other(given: Namespace) -> Model | None:
    """The second of two models."""
    import tokenglass as tg

    if given.with_model is None:
        return None
    return tg.load(given.with_model, **load_arguments(given, given.with_model))


def _compared(
    given: Namespace,
    model: Model,
    other: Model | None,
    prompts: Sequence[Prompt],
    sides: Sequence[dict[str, Any]],
) -> Comparison:
    from tokenglass.comparing import compare

    shared = {"n": given.n, **given.config}
    passing("both sides are written and compared")
    try:
        if other is not None:
            return compare(model, other, prompt=prompts[0], **shared)
        if len(prompts) == 1:
            return compare(*sides, model=model, prompt=prompts[0], **shared)
        return compare(*prompts, model=model, **shared)
    finally:
        passing("")


def _said(
    models: Sequence[Model], sides: Sequence[Side], given: Namespace, own: Sequence[dict[str, Any]]
) -> list[str]:
    """What a person should know of both sides' keywords; what acts on one side alone is no news."""
    plans = []
    for model, side in zip(models, sides, strict=True):
        keywords = {name: v for name, v in side.keywords.items() if name != "seed" or "seed" in given.config}
        plans.append(model.plan(keywords, side.prompt_ids))
    idle = set(plans[0].config.no_effect) & set(plans[1].config.no_effect)
    said = []
    for label, plan, mine in zip("ab", plans, own, strict=True):
        names = tuple(name for name in plan.config.no_effect if name in idle or name in mine)
        for line in notes(replace(plan.config, no_effect=names), plan.warnings):
            said.append(f"{label}: {line}" if any(own) else line)
    return list(dict.fromkeys(said))
