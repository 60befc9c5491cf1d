"""Generation keywords as options: which words belong to one, and which value they spell.

Everything is read from the library's own table of keywords; what kind of value one takes decides how its
words are understood:

| kind | as typed |
|---|---|
| flag | `--do-sample`, `--no-do-sample`; or `--do-sample=false` |
| whole, number | `--top-k 40`, `--top-p 0.9`, `--max-time none` |
| text | the words as they stand |
| texts | one text, or a JSON list of texts; may be repeated |
| ids, json | JSON, as in `--suppress-tokens '[1, 2]'`; other words stand for themselves |
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from typing import Any

from tokenglass.cli.routing import FLAGS, VALUED, UsageError
from tokenglass.config import BY_NAME, KNOWN, NO_EFFECT

# Keywords outside the table that are switches in transformers; the others there take a value.
_OTHER_SWITCHES = frozenset(
    """use_cache output_attentions output_hidden_states output_scores output_logits use_model_defaults
    return_dict_in_generate is_assistant disable_compile low_memory synced_gpus trust_remote_code
    use_mtp""".split()
)
SWITCHES = frozenset({name for name, f in BY_NAME.items() if f.kind == "flag"} | _OTHER_SWITCHES)
LOADED = "assistant_model"  # an object all the same, but one that has a name to load it by
_MAY_STAND_ALONE = {"early_stopping": ("true", "false", "True", "False", "never")}
_NAMED = {"None": None, "none": None, "True": True, "False": False}


def option_of(name: str) -> str:
    """A keyword as an option.

    >>> option_of("top_p")
    '--top-p'
    """
    return "--" + name.replace("_", "-")


def offered() -> frozenset[str]:
    """Every keyword of the table that can be typed, as an option."""
    return frozenset(option_of(n) for n, f in BY_NAME.items() if f.kind != "object" or n == LOADED)


def words_taken(words: Sequence[str]) -> int:
    """How many of the words, from an option on, belong to that option: 1 or 2.

    >>> words_taken(["--do-sample", "Hi"]), words_taken(["--top-k", "5", "Hi"]), words_taken(["--top-k=5"])
    (1, 2, 1)
    """
    name, _ = _named(words[0])
    if "=" in words[0] or name is None or name in SWITCHES:
        return 1
    if name in _MAY_STAND_ALONE:
        return 2 if len(words) > 1 and words[1] in _MAY_STAND_ALONE[name] else 1
    return 2


def read(words: Sequence[str], config: dict[str, Any]) -> None:
    """Put the keyword that an option's words spell into `config`.

    Raises:
        UsageError: no such option, no value, or a value that cannot be read.
    """
    option, equals, value = words[0].partition("=")
    name, on = _named(option)
    if name is None:
        raise UsageError(_unknown(option))
    if name in SWITCHES | set(_MAY_STAND_ALONE) and not equals and len(words) == 1:
        config[name] = on
    elif not on:
        raise UsageError(f"{option} takes no value")
    elif equals or len(words) > 1:
        _keep(name, option, value if equals else words[1], config)
    else:
        raise UsageError(f"{option} needs a value, as in {option} {_example(name)}")


def _named(word: str) -> tuple[str | None, bool]:
    """The keyword that an option names, or None, and whether it is switched on."""
    name = word.partition("=")[0].removeprefix("--").replace("-", "_")
    if name in KNOWN:
        return name, True
    off = name.removeprefix("no_")
    return (off, False) if off != name and off in SWITCHES | set(_MAY_STAND_ALONE) else (None, True)


def _keep(name: str, option: str, text: str, config: dict[str, Any]) -> None:
    kind = BY_NAME[name].kind if name in BY_NAME else "json"
    if kind == "object" and name != LOADED:
        raise UsageError(f"{name} takes Python objects; use model.generate(..., {name}=...) in a program")
    if kind in ("text", "object"):
        config[name] = text
    elif kind == "texts":
        config[name] = [*config.get(name, ()), *_texts(text)]
    else:
        config[name] = _value(option, text)


def _texts(text: str) -> list[str]:
    """The texts of a JSON list of texts; anything else is one text."""
    try:
        found = json.loads(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, list) and all(isinstance(t, str) for t in found) else [text]


def _value(option: str, text: str) -> Any:
    """A value: JSON where it is JSON, None and True as Python writes them, else the text itself."""
    if text in _NAMED:
        return _NAMED[text]
    try:
        return json.loads(text, parse_constant=float)
    except json.JSONDecodeError as error:
        if text[:1] not in ("[", "{"):
            return _number(text)
        raise UsageError(
            f"the value of {option} is not valid JSON at character {error.pos + 1}: {_short(text)}; "
            """type it as in '{"5": -1.5}' or '[1, 2]', in single quotes"""
        ) from None
    except (ValueError, RecursionError):  # Python's own bounds on digits and on nesting
        raise UsageError(f"the value of {option} is too long a number or nested too deeply") from None


def _number(text: str) -> float | str:
    """Numbers that people type and JSON does not know, such as .9 and inf; else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _example(name: str) -> str:
    """A value to show: the default, or one of the right kind."""
    if name not in BY_NAME:
        return "5"
    item = BY_NAME[name]
    kinds = {"whole": "5", "number": "0.5", "ids": "2", "texts": "TEXT", "text": "TEXT", "json": "JSON"}
    plain = item.default is not None and item.kind in ("whole", "number", "text") and item.default
    return str(plain) if plain else kinds.get(item.kind, "NAME")


def _unknown(option: str) -> str:
    known = [*VALUED, *FLAGS, *(option_of(name) for name in sorted(KNOWN - NO_EFFECT))]
    near = difflib.get_close_matches(option, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "a prompt that starts with - goes after --"
    return f"there is no option {option}; {hint}"
