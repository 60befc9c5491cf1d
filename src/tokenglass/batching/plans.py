"""Plans of many prompts: the same keywords and the same length mean the same, and are made once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenglass.chain import Plan
from tokenglass.model import Model

MOST = 512  # plans kept; a plan is a few kilobytes


class Planner(Model):
    """A model that remembers its plans: for a short prompt they would take longer than its table."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._plans: dict[Any, Plan] = {}

    def plan(self, config: Mapping[str, Any], prompt_ids: tuple[int, ...]) -> Plan:
        """As `Model.plan`. What draws a fresh seed, or starts from the prompt's own ids, is made anew."""
        try:
            key = (len(prompt_ids), tuple((n, type(value), value) for n, value in config.items()))
            known = self._plans.get(key)
        except TypeError:  # a list among the values
            return super().plan(config, prompt_ids)
        if known is not None:
            return known
        plan = super().plan(config, prompt_ids)
        own = plan.config.sources.get("seed") == "fresh" or plan.negative_ids is not None
        if not own and len(self._plans) < MOST:
            self._plans[key] = plan
        return plan
