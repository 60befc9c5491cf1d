"""The file itself: what may run in it, what it shows without scripts, and its data where nothing can act."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from tokenglass.types import Shown
from tokenglass.views.handout import bundle
from tokenglass.views.html import to_html

DATA = "tokenglass-recording"
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="data:,">
<style data-bundle>{style}</style>
</head>
<body>
<noscript>
{text}
<footer>
<h2>Licences</h2>
{licences}
</footer>
</noscript>
<script type="application/json" id="{data_id}">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def page(title: str, data: Mapping[str, Any], shown: Sequence[Shown], licences: Sequence[str] = ()) -> str:
    """One HTML file that needs no network.

    Args:
        title: of the document, safe to show.
        data: what `lib/recorded.js` reads; valid JSON values.
        shown: what a reader without scripts sees, in order.
        licences: of what the file holds besides the page, one paragraph each.
    """
    script, style = bundle.script(), bundle.styles()
    notes = [_page_licence(), *licences]
    return _PAGE.format(
        policy=_policy(script, style),
        title=escape(title),
        style=style,
        script=script,
        text="\n".join(_plain(to_html(each)) for each in shown),
        licences="\n".join(f"<pre>{escape(note)}</pre>" for note in notes),
        data_id=DATA,
        data=inert({**data, "licences": notes}),
    )


def inert(value: Any) -> str:
    r"""JSON that is only text to an HTML reader: no sign in it can end or begin anything.

    >>> inert("</script><!--\u2028")
    '"\\u003c/script\\u003e\\u003c!--\\u2028"'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII, so half surrogates are safe too
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _policy(script: str, style: str) -> str:
    """Only this script and this style sheet; nothing is ever fetched."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{str(base64.b64encode(hashlib.sha256(text.encode()).digest()), 'ascii')}"


def _plain(html: str) -> str:
    """Without inline styles, which the policy forbids; quotes inside an attribute are entities."""
    return re.sub(r' style="[^"]*"', "", html)


def _page_licence() -> str:
    text = files("tokenglass.views.handout").joinpath("licence.txt").read_text(encoding="utf-8").strip()
    return f"tokenglass, the page in this file:\n\n{text}"
