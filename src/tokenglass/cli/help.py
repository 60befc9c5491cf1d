"""What `tokenglass --help` prints, and what the help of a command says about each generation keyword."""

from __future__ import annotations

import json
from typing import Any

from tokenglass.config.fields import PRESETS, Field

OVERVIEW = """\
tokenglass shows how a language model writes, one token at a time.

  tokenglass "PROMPT"            tokens and next-token table; on a terminal, then step with single keys
  tokenglass tokens TEXT         how a text is cut into tokens
  tokenglass next PROMPT         which tokens may come next: -n 20, --lookup " Paris", --stages
  tokenglass generate PROMPT     write on: --max-new-tokens 50, --do-sample --top-p 0.9, --num-beams 5 ...
  tokenglass strategies PROMPT   one prompt under every decoding strategy, and where each parts from greedy
  tokenglass models              the models here: list, pull, add, path, check
  tokenglass doctor              what is installed, and how fast one step is here

  -m, --model NAME               smollm2 (the default), a folder, a .gguf file or a Hugging Face id
  --json                         one JSON document on stdout, nothing else
  --chat                         give the prompt as a user's message
  --precision exact|fast         float32 activations, or int8 ones where the weights allow it
  --seed N                       seed of the randomness
  --version                      the version

PROMPT is one argument, so put it in quotes; - reads it from standard input (one final newline is dropped).
A prompt that is also a command, or starts with -, goes after --, as in: tokenglass -- models
tokenglass COMMAND --help says more about a command; tokenglass generate --help lists every decoding option.

Exit codes: 0 done, 2 command line, 3 model or file unusable, 4 engine failure, 130 interrupted."""

KEYWORDS_ELSEWHERE = (
    "Every decoding option of tokenglass generate --help is an option here too, as in --do-sample --top-p .9"
)
HOW_TO_TYPE = (
    "The options below are the library's keywords. A list is typed as JSON in single quotes, as in "
    "--suppress-tokens '[1, 2]'; none switches an option off; --no- turns a switch off, as in --no-do-sample."
)
_METAVARS = {"whole": "N", "number": "X", "ids": "IDS", "texts": "TEXT", "text": "TEXT", "json": "JSON"}
_ACTS_WHEN = {
    "sampling": "with --do-sample",
    "top_k": "with --do-sample or --penalty-alpha",
    "beams": "with --num-beams",
    "groups": "with --num-beam-groups",
    "contrastive": "with --top-k, without --do-sample",
    "assisted": "with --assistant-model",
    "lookup": "with --prompt-lookup-num-tokens",
    "guidance": "with --guidance-scale",
    "mirostat": "with --mirostat",
    "adaptive": "with --adaptive-target",
}


def metavar(field: Field) -> str:
    """What stands for a keyword's value."""
    return _METAVARS.get(field.kind, "NAME")


def about(field: Field) -> str:
    """A keyword in one sentence: what it does (its interval; its default; when it acts; its source)."""
    facts = [] if field.kind == "flag" else [field.interval]
    facts += [_default(field), _ACTS_WHEN.get(field.when, ""), _systems(field), field.paper]
    said = "; ".join(fact for fact in facts if fact)
    return f"{field.about} ({said})" if said else field.about


def _default(field: Field) -> str:
    """The default, and those of other systems that know the keyword and have another."""
    said = field.default is not None and (field.default is not False or bool(field.defaults))
    own = [f"default {_typed(field.default)}"] if said else []
    others = [f"{name}: {_typed(field.defaults[name])}" for name in PRESETS if name in field.defaults]
    return ", ".join(own + others)


def _typed(value: Any) -> str:
    """A value as one would type it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _systems(field: Field) -> str:
    """Which presets know a keyword that not all know."""
    known = [name for name in PRESETS if name in field.presets]
    if len(known) == len(PRESETS):
        return ""
    return f"{known[0]} only" if len(known) == 1 else f"not in {(set(PRESETS) - set(known)).pop()}"
