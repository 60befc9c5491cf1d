"""Texts that would act on a page or a terminal which takes text for markup, code or commands."""

from __future__ import annotations

_CALL = "window.pwned=1"
MARKUP = [
    f"<script>{_CALL}</script>",
    f"</script><script>{_CALL}</script>",
    f"</title><script>{_CALL}</script>",
    f"</style><script>{_CALL}</script>",
    f"</textarea><script>{_CALL}</script>",
    f"</noscript><script>{_CALL}</script>",
    f"--><script>{_CALL}</script>",
    f"]]><script>{_CALL}</script>",
    "<!--<script>",
    "<!--",
    f"<img src=x onerror={_CALL}>",
    f"<img src=x onerror='{_CALL}'//",
    f"<svg onload={_CALL}>",
    f"<svg><script>{_CALL}</script></svg>",
    f"<svg><animate onbegin={_CALL} attributeName=x dur=1s>",
    f"<math><mi xlink:href='javascript:{_CALL}'>x",
    f"<iframe srcdoc='<script>parent.{_CALL}</script>'>",
    f"<iframe src=javascript:{_CALL}>",
    f"<a href='javascript:{_CALL}'>x</a>",
    f"<body onload={_CALL}>",
    f"<details open ontoggle={_CALL}>",
    f"<video><source onerror={_CALL}>",
    f"<input autofocus onfocus={_CALL}>",
    f"<marquee onstart={_CALL}>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button>x",
    "<object data=http://127.0.0.1:9/>",
    "<style>@import 'http://127.0.0.1:9/x.css';</style>",
    "<template><b>x</b></template>",
    f"<x contenteditable onblur={_CALL} tabindex=1 autofocus>",
]
QUOTES = [
    f'" onmouseover="{_CALL}',
    f"' onmouseover='{_CALL}",
    f'"><script>{_CALL}</script>',
    f"'-{_CALL}-'",
    f"`${{{_CALL}}}`",
    f"javascript:{_CALL}",
    f"${{{_CALL}}}",
    f"{{{{constructor.constructor('{_CALL}')()}}}}",
    "&lt;b&gt;&amp;&quot;&#39;&#x3c;",
    "\\u003cscript\\u003e",
    "%3Cscript%3E",
    "\\",
    "]]>",
    "*/;x/*",
    "__proto__",
    "constructor",
]
TERMINAL = [
    "\x1b[2J\x1b[H",
    "\x1b]52;c;cHduZWQ=\x07",
    "\x1b]0;title\x07",
    "\x1b]8;;http://127.0.0.1:9/\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mred",
    "\x1bP1$r\x1b\\",
    "\x00\x07\x08\x7f",
    "[/foo][@click=app.bell]x[/]",
    "[bold red]x[/bold red]",
]
UNICODE = [
    "\u2028\u2029",
    "a\u202eb\u202cc",
    "\u2066a\u2069\u2067b\u2069",
    "\u200b\u200c\u200d\ufeff\u2060",
    "\u200f\u061c\u05d0\u0627",
    "\U000e0041\U000e0042",
    "\ue000\uf8ff\U000f0000",
    "e\u0301\u0301\u0301\u0301\u0301",
    "\ufe0f\U0001f3fd",
    "＜script＞",
    "ﷺ𒐫",
    "\r\n\t\x0b\x0c\x85",
    "\u00ad\u034f\u115f\u3164",
]
ALL = [*MARKUP, *QUOTES, *TERMINAL, *UNICODE]
# Tokens that are no text by themselves: halves of characters, and bytes that no UTF-8 has.
BYTES = [b"\xe2", b"\x80\xa8", b"\xf0\x9f", b"\xff\xfe", b"\xc0\xbc", b"\xed\xa0\x80", b"<\xe2script>"]
HALVES = ["\ud800", "x\udc00y", "<b>\udfff"]  # lone surrogates, which only names and notes can hold
assert len(ALL) + len(BYTES) + len(HALVES) >= 60
