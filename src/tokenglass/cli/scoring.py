"""`tokenglass score`: how surprising each token of a text is; Ctrl-C shows those that are scored."""

from __future__ import annotations

import errno
from argparse import Namespace

from tokenglass.cli.app import MOST_TYPED, as_text, load_model, typed_text
from tokenglass.cli.engine_options import engine_facts
from tokenglass.cli.outcome import INTERRUPTED, OK
from tokenglass.cli.routing import UsageError
from tokenglass.cli.screen import Screen, note, passing, print_json
from tokenglass.scoring import Scoring, score_chunks
from tokenglass.text import safe_line
from tokenglass.views.figures import bar, count
from tokenglass.views.layout import blocks

BAR = 24  # cells


def run(given: Namespace) -> int:
    """Score a text, or continuations of it; returns the exit code, 130 when it was stopped by hand."""
    text = _text(given)
    model = load_model(given)
    if given.options:
        scores = model.score_options(text, given.options)
        if given.json:
            print_json({**engine_facts(model.info), **scores.to_dict()})
        else:
            Screen().show(blocks(scores))
        return OK
    bos = False if given.no_bos else None
    scoring = score_chunks(model.engine, model.tokenizer, text, top=given.top, bos=bos)
    stopped = _stopped(scoring)
    if stopped and scoring.n_done < 2:  # nothing predicts the first id
        raise KeyboardInterrupt
    score = scoring.so_far() if stopped else scoring.score
    if given.json:
        print_json({**engine_facts(model.info), "complete": not stopped, **score.to_dict()})
    else:
        Screen().show(blocks(score))
    if stopped:
        note(f"stopped after {scoring.n_done:,} of {count(scoring.n_tokens, 'token')}")
    return INTERRUPTED if stopped else OK


def _text(given: Namespace) -> str:
    """The text of a file, of standard input or of `--text`: one of them."""
    files = given.words
    if len(files) + (given.typed is not None) != 1:
        raise UsageError("score takes one FILE, or - for standard input, or --text TEXT in quotes")
    if not files:
        return str(given.typed)
    if files[0] == "-":
        return typed_text("-")
    try:
        with open(files[0], "rb") as file:
            data = file.read(MOST_TYPED + 1)
    except FileNotFoundError:
        shown = safe_line(files[0])
        raise FileNotFoundError(
            f"there is no file {shown}; check the path, or score a text itself with --text"
        ) from None
    except ValueError:  # a NUL in the path
        raise OSError(errno.EINVAL, "no file can have this name", files[0]) from None
    return as_text(data, safe_line(files[0]))


def _stopped(scoring: Scoring) -> bool:
    """Score all, with a bar on a terminal; whether Ctrl-C came first."""
    total = scoring.n_tokens
    try:
        for _ in scoring:
            share = scoring.n_done / total
            passing(f"{bar(share, BAR):<{BAR}}  {scoring.n_done:,} of {count(total, 'token')}")
    except KeyboardInterrupt:
        return True
    finally:
        passing("")
    return False
