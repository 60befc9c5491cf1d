"""What the page and the notebook view can do with a model, one operation each, without any HTTP.

A `Workbench` holds the models and the open sessions and answers calls by name: parameters in, plain JSON
values out. Carriers (the local server, a notebook's messages) only pass both on.
"""

from __future__ import annotations

from tokenglass.workbench.bench import Workbench
from tokenglass.workbench.params import Refused
from tokenglass.workbench.registry import OPERATIONS, Operation

__all__ = ["OPERATIONS", "Operation", "Refused", "Workbench"]
