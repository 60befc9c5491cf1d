"""Results as charts: `pictures` settles what is shown, `altair` and `axes` draw it."""

from __future__ import annotations

from typing import Any

from tokenglass.types import Shown
from tokenglass.views.charts.pictures import picture

__all__ = ["plot"]


def plot(result: Shown, ax: Any = None, **options: Any) -> Any:
    """A result as an altair.Chart, or drawn into matplotlib's axes where those are given, which come back.

    Raises:
        TypeError: there is no picture of such a result, or no such option.
        MissingDependency: altair is not installed.
    """
    found = picture(result, **options)
    if ax is None:
        from tokenglass.views.charts import altair

        return altair.draw(found)
    from tokenglass.views.charts import axes

    return axes.draw(found, ax)
