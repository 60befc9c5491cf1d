"""`tokenglass serve-gguf`: llama.cpp's server for one file, watched, started again when it crashes."""

from __future__ import annotations

import time
from argparse import Namespace

from tokenglass.cli.screen import Screen, note, print_json
from tokenglass.text import safe_line
from tokenglass.views.blocks import Line

_LOOK_S = 0.5  # between two looks at the child
_AT_ONCE_S = 10.0  # a server that lived for less ended for a reason that would only come again


def run(given: Namespace) -> int:
    """Serve until Ctrl-C; the exit code."""
    from tokenglass.connecting import start
    from tokenglass.errors import EngineError
    from tokenglass.models import resolve

    child = start(resolve(given.file), given.threads, given.context, given.port)
    try:
        _say(child.address.shown, child.address.key, as_json=given.json)
        since = time.monotonic()
        while True:
            time.sleep(_LOOK_S)
            if child.is_running:
                continue
            if time.monotonic() - since < _AT_ONCE_S:
                raise EngineError(
                    "the server ended right after its start; is the file whole, is memory short?"
                )
            note("the server ended by itself; it is started again")
            child.revive()
            since = time.monotonic()
    except KeyboardInterrupt:
        note("ended")
        return 0
    finally:
        child.close()


def _say(address: str, key: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"address": address, "key": key})
        return
    lines = (
        f"serving at {address}; Ctrl-C ends it",
        "in another terminal:",
        f"  export TOKENGLASS_API_KEY={key}",
        f'  tokenglass -m {address} "Once upon a time"',
    )
    Screen().show(tuple(Line(safe_line(line)) for line in lines))
