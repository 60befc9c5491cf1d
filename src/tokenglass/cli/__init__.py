"""The command line: `tokenglass "PROMPT"` and its commands.

`main` is the console script. What is printed is the business of `views`; what is computed, of the library.

Exit codes: 0 done; 2 the command line is wrong; 3 a model or file cannot be used; 4 the engine failed;
130 interrupted. An error is one line on stderr: the cause, and what to type next. With `--json` stdout holds
one JSON document, whatever happens; that of an error is {"error": {"type", "message", "exit_code"}}.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main", "run"]


def main() -> None:
    """Run the command line of this process and exit with its code."""
    from tokenglass.cli.interrupts import heard_at_last

    heard_at_last()
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # so early, or so late, that nothing was there to report it
        code = 130
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    from tokenglass.cli.outcome import reported
    from tokenglass.cli.routing import route, wants_json

    def command() -> int:
        routed = route(argv)
        if routed.command == "version":  # asked for often by scripts: imports nothing more
            from tokenglass import __version__

            print(f"tokenglass {__version__}")
            return 0
        if routed.command == "help":
            from tokenglass.cli.help import OVERVIEW

            print(OVERVIEW)
            return 0
        from tokenglass.cli.options import parser

        helps = bool({"-h", "--help"} & set(routed.args))
        given = parser(routed.command, with_keywords=helps).parse_args(routed.args)
        from tokenglass.cli.app import invoke  # only now: a help screen needs none of it

        return invoke(routed.command, given, routed.config)

    return reported(command, as_json=wants_json(argv))
