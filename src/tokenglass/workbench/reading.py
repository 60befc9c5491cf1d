"""Operations that read what is given: a text's surprise, how likely options are, two sides compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenglass.workbench.kinds import CONFIG, DEFAULT_ROWS, IDS, MOST_TEXT, ROWS, TEXT
from tokenglass.workbench.params import JsonDict, Kind, Refused, either, flag, list_of, record, text, whole
from tokenglass.workbench.prompts import PROMPT
from tokenglass.workbench.registry import Stream, operation
from tokenglass.workbench.writing import generation_row

if TYPE_CHECKING:
    from tokenglass.workbench.bench import Workbench

MODEL = text(256, "one of the models here", least=1)
MOST_TOP = 20  # candidates kept for each token of a text
MOST_OPTIONS = 64
_WINDOW = whole(1, MOST_TEXT, "most tokens to read at once")


@operation(
    text=either(TEXT, IDS, about="a text, or token ids"),
    top=whole(0, MOST_TOP, "likeliest tokens to keep for each place"),
    window=_WINDOW,
    stride=_WINDOW.said("by how much each window begins after the one before"),
    bos=flag(
        "a begin-of-text token in front, which scores the first token too; left out: where the model has one"
    ),
    model=MODEL,
)
def score(
    bench: Workbench,
    text: str | list[int],
    top: int = 5,
    window: int | None = None,
    stride: int | None = None,
    bos: bool | None = None,
    model: str | None = None,
) -> Stream:
    """How surprising each token of a text is; items hold rows as they are ready, the end the totals."""
    from tokenglass.scoring.text import score_chunks
    from tokenglass.views.scores import score_row, score_totals

    found = bench.named(model)
    options = {"top": top, "window": window, "stride": stride, "bos": bos}
    scoring = score_chunks(found.engine, found.tokenizer, text, **options)  # type: ignore[arg-type]
    for rows in scoring:
        done = {"n_done": scoring.n_done, "n_tokens": scoring.n_tokens}
        yield {**done, "rows": [score_row(row) for row in rows]}
    return score_totals(scoring.score)


@operation(
    prompt=PROMPT,
    options=list_of(either(text(4096, least=1), IDS), MOST_OPTIONS, "continuations", least=1),
    space_variants=flag("score each text with and without a space in front"),
    model=MODEL,
)
def options(
    bench: Workbench,
    prompt: Any,
    options: list[str | list[int]],
    space_variants: bool = False,
    model: str | None = None,
) -> JsonDict:
    """How likely each of several continuations is, normalised over the set and not."""
    found = bench.named(model)
    return found.score_options(prompt, options, space_variants=space_variants).to_dict()


SIDE: Kind = record({"prompt": PROMPT, "config": CONFIG, "model": MODEL}, frozenset({"prompt"}), "one side")


@operation(a=SIDE, b=SIDE.said("the other side"), config=CONFIG.said("keywords for both"), n=ROWS)
def compare(
    bench: Workbench, a: JsonDict, b: JsonDict, config: JsonDict | None = None, n: int = DEFAULT_ROWS
) -> JsonDict:
    """How far two prompts, two configurations or two models lie apart, and where."""
    from tokenglass.comparing import compare as compared

    models = [bench.named(side.get("model")) for side in (a, b)]
    configs = [bench.config(side.get("config")) for side in (a, b)]
    differ = {
        "models": models[0] is not models[1],
        "prompts": a["prompt"] != b["prompt"],
        "configs": configs[0] != configs[1],
    }
    several = [name for name, found in differ.items() if found]
    if len(several) > 1:
        raise Refused(f"a and b may differ in one thing, got {' and '.join(several)}", several[-1][:-1])
    shared = {"n": n, **bench.config(config)}
    if differ["models"]:
        found = compared(models[0], models[1], prompt=a["prompt"], **{**shared, **configs[0]})
    elif differ["prompts"]:
        found = compared(a["prompt"], b["prompt"], model=models[0], **{**shared, **configs[0]})
    else:
        found = compared(configs[0], configs[1], model=models[0], prompt=a["prompt"], **shared)
    row = found.to_dict()
    for name, side in (("a", found.a), ("b", found.b)):
        row[name]["generation"] = generation_row(side.generation)
    return row
