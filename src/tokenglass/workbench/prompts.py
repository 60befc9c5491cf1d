"""Prompts as requests give them: a text, a conversation or ids; with keywords a plan that is ready to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenglass.workbench.kinds import IDS, MESSAGES, TEXT
from tokenglass.workbench.params import JsonDict, either

if TYPE_CHECKING:
    from tokenglass.chain import Plan
    from tokenglass.model import Model

PROMPT = either(TEXT, MESSAGES, IDS, about="a text, a conversation, or token ids")


def planned(model: Model, prompt: Any, config: JsonDict) -> tuple[Plan, tuple[int, ...], Any]:
    """(what runs, the ids it starts from, what healing did to the prompt's end or None)."""
    ids = model.prompt_ids(prompt)
    plan = model.plan(config, ids)
    if not plan.config["token_healing"]:
        return plan, ids, None
    from tokenglass.healing import heal

    healing = heal(model.engine, model.tokenizer, ids)
    return model.plan(config, healing.prompt_ids), healing.prompt_ids, healing
