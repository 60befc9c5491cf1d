"""A result that shows itself; how it looks is the business of `tokenglass.views`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


class Shown:
    """A result that shows itself: a table in a terminal, script-free HTML in a notebook, plain JSON rows."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """This result as plain JSON values: no NaN, no Infinity, bytes as hexadecimal."""
        from tokenglass.views import rows

        return rows.to_dict(self)

    def __str__(self) -> str:
        from tokenglass.views import terminal

        return terminal.to_text(self)

    def __rich__(self) -> Any:
        from tokenglass.views import terminal

        return terminal.to_rich(self)

    def _repr_html_(self) -> str:
        from tokenglass.views import html

        return html.to_html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Both forms at once, so that a page without HTML, such as a diff or a mail, still has the text."""
        forms = {"text/plain": self.__str__, "text/html": self._repr_html_}
        return {
            kind: draw()
            for kind, draw in forms.items()
            if (include is None or kind in include) and kind not in (exclude or ())
        }

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def frame(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    """Rows as a DataFrame; pandas is imported only now."""
    from tokenglass.errors import MissingDependency

    try:
        import pandas
    except ImportError as error:
        raise MissingDependency("a DataFrame", "pip install 'tokenglass[data]'") from error
    return pandas.DataFrame(rows)
