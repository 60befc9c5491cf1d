"""From a configuration to what runs: the ordered stages, who picks the token, where each value came from."""

from __future__ import annotations

from tokenglass.chain.plan import Entry, Plan, plan

__all__ = ["Entry", "Plan", "plan"]
