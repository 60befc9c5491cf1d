"""Many prompts: through one model in one process, and as runs over files that can be stopped and resumed."""

from __future__ import annotations

from tokenglass.batching.mapping import Request, mapped, outcomes
from tokenglass.batching.tasks import TASKS, Task, check, task_named

__all__ = ["TASKS", "Request", "Task", "check", "mapped", "outcomes", "task_named"]
