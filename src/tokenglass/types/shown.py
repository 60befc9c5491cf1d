"""A result that shows itself; how it looks is the business of `tokenglass.views`."""

from __future__ import annotations

from collections.abc import Iterable
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

    def __repr__(self) -> str:
        from tokenglass.views import summaries

        return summaries.represented(self)

    def __rich__(self) -> Any:
        from tokenglass.views import terminal

        return terminal.to_rich(self)

    def _repr_html_(self) -> str:
        from tokenglass.views import html

        return html.to_html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Both forms at once, so that a page without HTML, such as a diff or a mail, still has the text."""
        forms = {"text/plain": self.__str__, "text/html": self._repr_html_}
        wanted, unwanted = _names(include, forms), _names(exclude, ())
        return {kind: draw() for kind, draw in forms.items() if kind in wanted and kind not in unwanted}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The whole of it by itself; in a list or another object only what its `repr` says."""
        is_inside = len(getattr(printer, "stack", ())) > 1
        printer.text(repr(self) if is_inside else str(self))


def _names(given: Any, otherwise: Iterable[str]) -> set[str]:
    """Kinds of output, as IPython or a person names them."""
    return {given} if isinstance(given, str) else set(otherwise if given is None else given)


class ShowsItsState(Shown):
    """Something that changes, or shows itself by another result: that is what it says of itself."""

    __slots__ = ()

    @property
    def state(self) -> Shown:
        """What there is to show now."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Its state as plain JSON values."""
        return self.state.to_dict()

    def __str__(self) -> str:
        return str(self.state)

    def __rich__(self) -> Any:
        return self.state.__rich__()

    def _repr_html_(self) -> str:
        return self.state._repr_html_()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.state._repr_mimebundle_(include, exclude)


class Tabular(Shown):
    """A result with rows: a data frame for every library that has one."""

    __slots__ = ()

    def to_pandas(self) -> pandas.DataFrame:
        """A pandas.DataFrame with one row for each of this result's rows; needs `tokenglass[data]`."""
        from tokenglass.views import frames

        found: pandas.DataFrame = frames.to_pandas(self)
        return found

    def to_arrow(self) -> Any:
        """The same as a pyarrow.Table; needs `tokenglass[data]`."""
        from tokenglass.views import frames

        return frames.to_arrow(self)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """For every library that takes Arrow's C stream, polars for one; needs `tokenglass[data]`.

        Numbers that the result keeps as arrays stand in its own memory; texts are those of the vocabulary.
        """
        from tokenglass.views import frames

        return frames.to_stream(self, requested_schema)


class Charted(Tabular):
    """A result with rows and a picture."""

    __slots__ = ()

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """This result as an altair.Chart, or drawn into matplotlib's `ax`, which comes back.

        `kind` picks another picture where a result has several: "curve" of a next-token table (rank against
        probability over the whole vocabulary), "positions" of a comparison, "share" of options, "entropy" and
        "bars" of strategies. What the fonts of matplotlib lack appears as a code point such as ⟨U+6F22⟩; name
        one that has it in `matplotlib.rcParams["font.family"]`.

        Raises:
            TypeError: no such option, or `ax` is no axes.
            ValueError: no such kind for this result; the message names those there are.
            MissingDependency: altair is not installed; it comes with `tokenglass[plot]`.
        """
        from tokenglass.views import charts

        return charts.plot(self, ax, **options)


def frame(rows: Any) -> pandas.DataFrame:
    """Rows, or columns by name, as a DataFrame; pandas is imported only now."""
    from tokenglass.errors import MissingDependency

    try:
        import pandas
    except ImportError as error:
        raise MissingDependency("a DataFrame", "pip install 'tokenglass[data]'") from error
    return pandas.DataFrame(rows)
