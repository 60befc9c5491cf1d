"""Operations that need no session: what is here, and how a text is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenglass.config import PRESETS, Field
from tokenglass.showcase import STRATEGIES
from tokenglass.tokenizer.history import says_merges, says_words
from tokenglass.version import __version__
from tokenglass.views.rows import plain
from tokenglass.workbench import kinds
from tokenglass.workbench.params import JsonDict, flag, text
from tokenglass.workbench.registry import OPERATIONS, Operation, operation
from tokenglass.workbench.states import character_groups

if TYPE_CHECKING:
    from tokenglass.tokenizer.core import Tokenizer
    from tokenglass.workbench.bench import Workbench


@operation()
def info(bench: Workbench) -> JsonDict:
    """What is here: the model, every keyword, the strategies, the limits and the operations."""
    return {
        "version": __version__,
        "model": bench.model.info.to_dict(),
        "models": list(bench.models),
        "has_chat_template": bench.model.tokenizer.chat_template is not None,
        "default_prompt": kinds.DEFAULT_PROMPT,
        "keywords": [keyword_row(field) for field in kinds.KEYWORDS],
        "presets": list(PRESETS),
        "strategies": [{"name": name, "keywords": plain(given)} for name, given in STRATEGIES.items()],
        "limits": {
            "rows": kinds.MOST_ROWS,
            "side_by_side": kinds.MOST_SIDE_BY_SIDE,
            "stops": kinds.MOST_STOPS,
            "stop_characters": kinds.LONGEST_STOP,
            "text_characters": kinds.MOST_TEXT,
            "new_tokens": kinds.MOST_NEW_TOKENS,
        },
        "operations": [operation_row(each, bench.model.tokenizer) for each in OPERATIONS.values()],
    }


def operation_row(each: Operation, tokenizer: Tokenizer) -> JsonDict:
    """An operation, and whether the model that is asked unless another is named can answer it at all.

    A page offers what is supported and asks for nothing else; whoever asks all the same is refused by name.
    """
    says = {"words": says_words, "merges": says_merges}.get(each.name)
    return {"name": each.name, "streams": each.streams, "supported": says is None or says(tokenizer)}


def keyword_row(field: Field) -> JsonDict:
    """A generation keyword: what it takes, where it acts, and its default in each system."""
    named = ("name", "kind", "group", "interval", "about", "default", "when", "paper")
    shown = {name: plain(getattr(field, name)) for name in named}
    defaults = {preset: plain(field.default_of(preset)) for preset in PRESETS if preset in field.presets}
    return {**shown, "defaults": defaults, "most": kinds.AT_MOST.get(field.name)}


@operation(
    text=kinds.TEXT,
    add_special_tokens=flag("add what the model's tokenizer adds, such as a begin-of-text token"),
    parse_special=flag("read <|...|> as control tokens rather than as text"),
    model=text(256, "one of the models here", least=1),
)
def tokenize(
    bench: Workbench,
    text: str,
    add_special_tokens: bool = True,
    parse_special: bool = False,
    model: str | None = None,
) -> JsonDict:
    """Cut a text into tokens."""
    tokenizer = bench.named(model).tokenizer
    found = tokenizer.encode(text, add_special_tokens=add_special_tokens, parse_special=parse_special)
    row = found.to_dict()
    for each, group in zip(row["tokens"], character_groups(found.tokens), strict=True):
        each["group"] = group
    return row
