"""`tokenglass serve`: the page in a browser, from a server on this machine."""

from __future__ import annotations

import webbrowser
from argparse import Namespace
from threading import Thread

from tokenglass.cli.engine_options import load_arguments, require_address
from tokenglass.cli.outcome import OK
from tokenglass.cli.screen import Screen, note, print_json
from tokenglass.text import safe_line


def run(given: Namespace) -> int:
    """Load the models, then serve until a signal comes."""
    import tokenglass as tg
    from tokenglass.server.running import Address, is_loopback, listening, require_packages, serve
    from tokenglass.workbench import Workbench

    require_packages()
    names = list(dict.fromkeys(given.model or ["smollm2"]))
    require_address(given, names)
    loading = [load_arguments(given, name) for name in names]
    if not is_loopback(given.host):
        note(
            f"note: {safe_line(given.host)} can be reached from other machines; whoever has the address with "
            "its token can use the models, and what they send is not encrypted"
        )
    listener = listening(given.host, given.port)  # first: it takes no time to find out that it cannot be had
    models = [tg.load(name, **how) for name, how in zip(names, loading, strict=True)]

    def ready(address: Address) -> None:
        if given.json:
            engines = [model.info.engine for model in models]
            where = {"url": address.url, "host": address.host, "port": address.port}
            print_json({**where, "models": names, "engines": engines})
        else:
            Screen().write(f"{address.url}\nCtrl-C ends it\n")  # an address is never broken in two
        if given.open:
            Thread(target=webbrowser.open, args=(address.url,), daemon=True).start()  # some wait for theirs

    bench = Workbench(models[0], dict(zip(names, models, strict=True)), look_ahead=True)
    serve(bench, listener, given.host, ready)
    return OK
