"""Results as columns: the flat form that data frames, Arrow and charts take.

Knows what results hold, and no data frame. Bytes are bytes, what is unknown is masked or None. Names are
those of `rows.to_dict` where it has them; what is nested there stands in several columns here.
"""

from __future__ import annotations

import tokenglass.views.columns.choices
import tokenglass.views.columns.judging
import tokenglass.views.columns.searching
import tokenglass.views.columns.writing  # noqa: F401 - each teaches `columns` its results
from tokenglass.views.columns.base import Blobs, Column, Columns, Entries, Named, Texts, columns

__all__ = ["Blobs", "Column", "Columns", "Entries", "Named", "Texts", "columns"]
