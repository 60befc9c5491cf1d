"""A recording as one HTML file: the page's own modules, the recorded rows, and nothing else to load.

`page` puts the file together; what the rows say is made by `tokenglass.handout`, which knows sessions.
"""

from __future__ import annotations

from tokenglass.views.handout.frame import page
from tokenglass.views.handout.readings import KEPT, table_reading, written_reading

__all__ = ["KEPT", "page", "table_reading", "written_reading"]
