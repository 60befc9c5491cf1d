"""Results as charts: `pictures` settles what is shown, `altair` and `axes` draw it."""

from __future__ import annotations

from typing import Any

from tokenglass.types import Shown

# the modules that teach `pictures` the results
from tokenglass.views.charts import along, distributions, trees  # noqa: F401
from tokenglass.views.charts.pictures import picture

__all__ = ["plot"]


def plot(result: Shown, ax: Any = None, **options: Any) -> Any:
    """A result as an altair.Chart, or drawn into matplotlib's axes where those are given, which come back.

    Characters that the fonts of matplotlib lack, Chinese ones and emoji as a rule, are drawn as code points
    such as ⟨U+6F22⟩. A font that has them, installed and named before the axes are made, shows them:
    `matplotlib.rcParams["font.family"] = ["DejaVu Sans", "Noto Sans CJK SC"]`.

    Raises:
        TypeError: there is no picture of such a result, no such option, or `ax` is no axes.
        ValueError: no such kind of picture.
        MissingDependency: altair is not installed.
    """
    if ax is None:
        from tokenglass.views.charts import altair

        return altair.draw(picture(result, **options))
    from tokenglass.views.charts import axes

    axes.check(ax)  # before anything is worked out or drawn
    return axes.draw(picture(result, **options), ax)
