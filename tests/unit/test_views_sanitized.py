"""HTML that foreign pages leave as it is: what their sanitizers strip is not in it, and it needs no trust."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import bleach
import pytest
from bleach.css_sanitizer import CSSSanitizer

from tests.unit.search_samples import SEARCHES
from tests.unit.view_samples import RESULTS
from tokenglass.types import Shown
from tokenglass.views.html import to_html

ALL = RESULTS | SEARCHES
EVERY_RESULT = pytest.mark.parametrize("result", ALL.values(), ids=ALL)

# Elements and attributes that pages for notebooks keep; properties that load nothing and stay in their box.
# overflow-x lets a wide table scroll in a box of its own instead of pushing the page wide.
ELEMENTS = "div span bdi table thead tbody tr th td ul li br p details summary".split()
ATTRIBUTES = ["style", "title", "scope", "dir", "open"]
PROPERTIES = """
background background-color border border-collapse border-left border-radius border-right box-shadow cursor
display font-family font-size font-variant-numeric font-weight height line-height list-style margin max-width
min-width opacity overflow-wrap overflow-x padding text-align text-decoration vertical-align white-space width
""".split()
HOSTILE = (
    '<div style="color:red;position:fixed;background:url(https://e.example/x)" onclick="x()">a</div>'
    "<script>alert(1)</script><p>b<ul><li>c</li></ul></p>"
)


class Events(HTMLParser):
    """Elements, attributes and texts in order, spelled in one way."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, sorted((name, _spelled(name, value or "")) for name, value in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.found and isinstance(self.found[-1], list):
            self.found[-1][0] += data
        else:
            self.found.append([data])


def _spelled(name: str, value: str) -> str:
    return re.sub(r"\s*([:;,()])\s*", r"\1", value).strip(";") if name == "style" else value


def sanitized(document: str) -> str:
    """As a page with a list of what it allows shows it; built by an HTML5 parser, so nesting is repaired."""
    styles = CSSSanitizer(allowed_css_properties=PROPERTIES)
    return bleach.clean(document, ELEMENTS, ATTRIBUTES, protocols=[], css_sanitizer=styles)


@EVERY_RESULT
def test_a_sanitizer_changes_nothing(result: Shown) -> None:
    drawn = to_html(result)
    assert Events(sanitized(drawn)).found == Events(drawn).found


def test_that_sanitizer_would_change_what_is_wrong() -> None:
    cleaned = sanitized(HOSTILE)
    assert "url(" not in sanitized(HOSTILE.replace("background", "background-image"))
    assert "position" not in cleaned and "onclick" not in cleaned and "<script" not in cleaned
    assert Events(cleaned).found != Events(HOSTILE).found
    nested = "<p>b<ul><li>c</li></ul></p>"  # a list ends a paragraph
    assert Events(sanitized(nested)).found != Events(nested).found


@EVERY_RESULT
def test_styles_name_no_colour_of_text_or_page(result: Shown) -> None:
    """Text keeps the page's colour, backgrounds are translucent: one document suits light and dark."""
    for style in re.findall(r'style="([^"]*)"', to_html(result)):
        assert not re.search(r"(^|;)color:", style), style
        for value in re.findall(r"background(?:-color)?:([^;]+)", style):
            assert value == "none" or value.startswith("rgba("), style


@EVERY_RESULT
def test_notebooks_get_html_and_text(result: Shown) -> None:
    both = result._repr_mimebundle_()
    assert both == {"text/plain": str(result), "text/html": to_html(result)}
    assert set(result._repr_mimebundle_(include=["text/html"])) == {"text/html"}
    assert set(result._repr_mimebundle_(exclude=["text/html"])) == {"text/plain"}


def test_ipython_shows_both_forms() -> None:
    from IPython.core.formatters import DisplayFormatter

    shown, _ = DisplayFormatter().format(RESULTS["plain"])
    assert shown["text/html"] == to_html(RESULTS["plain"])
    assert shown["text/plain"] == str(RESULTS["plain"])
