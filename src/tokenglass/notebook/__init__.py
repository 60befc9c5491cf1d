"""The live view of a session in a notebook's cell: the page's own modules over the kernel's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenglass.errors import MissingDependency

if TYPE_CHECKING:
    from tokenglass.session import Session


def live_view(session: Session) -> Any:
    """A widget that shows a session and moves it.

    Raises:
        MissingDependency: anywidget is not installed.
    """
    try:
        import anywidget  # noqa: F401 - asked for here, so that what is missing is said in one line
    except ImportError as error:
        raise MissingDependency("a live view", "pip install 'tokenglass[notebook]'") from error
    from tokenglass.notebook.widget import LiveView

    return LiveView(session)
