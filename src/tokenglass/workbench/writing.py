"""Operations that write whole texts as streams: one text, a search as a film, every strategy side by side."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenglass.config import SEARCHES
from tokenglass.decode import decode_samples, written
from tokenglass.errors import TokenglassError
from tokenglass.showcase import STRATEGIES, chosen_names, parted, shared_config, showcase_of
from tokenglass.strategies import searching
from tokenglass.text import safe_text
from tokenglass.types import Generation, Step, Strategy, Vocabulary
from tokenglass.types import Sequence as Written
from tokenglass.views.rows import search_row
from tokenglass.views.trees import step_row
from tokenglass.workbench.kinds import CONFIG
from tokenglass.workbench.params import JsonDict, Refused, list_of, one_of, text
from tokenglass.workbench.prompts import PROMPT, planned
from tokenglass.workbench.registry import Stream, operation

if TYPE_CHECKING:
    from tokenglass.model import Model
    from tokenglass.workbench.bench import Workbench

MODEL = text(256, "one of the models here", least=1)


@operation(prompt=PROMPT, config=CONFIG, model=MODEL)
def generate(
    bench: Workbench, prompt: Any, config: JsonDict | None = None, model: str | None = None
) -> Stream:
    """Write on after a prompt with any strategy; items are steps, or the records of a search."""
    found = yield from _written(bench.named(model), prompt, bench.config(config))
    return generation_row(found)


@operation(prompt=PROMPT, config=CONFIG, model=MODEL)
def film(bench: Workbench, prompt: Any, config: JsonDict, model: str | None = None) -> Stream:
    """A search as it goes, one record a step, with the text of every token in it."""
    chosen, keywords = bench.named(model), bench.config(config)
    if planned(chosen, prompt, {**keywords, "token_healing": None})[0].config.mode not in SEARCHES:
        raise Refused(
            "these keywords ask for no search; set num_beams, penalty_alpha with top_k, dola_layers, "
            "assistant_model or prompt_lookup_num_tokens, or use generate",
            "config",
        )
    found = yield from _written(chosen, prompt, keywords)
    return generation_row(found)


def _written(model: Model, prompt: Any, config: JsonDict) -> Generator[JsonDict, None, Generation]:
    """Items as they come; returns the generation, as `model.generate` would."""
    plan, ids, healing = planned(model, prompt, config)
    records: list[Any] = []
    sequences: tuple[Written, ...]
    if plan.config.mode in SEARCHES:
        search = searching(model.engine, model.tokenizer, ids, plan)
        for record in search:
            records.append(record)
            yield film_row(record, model.tokenizer)
        sequences = search.sequences
    else:
        texts: list[list[Step]] = [[] for _ in range(plan.config["num_return_sequences"])]
        for sample, step in decode_samples(model.engine, model.tokenizer, ids, plan, len(texts)):
            texts[sample].append(step)
            yield {"sample": sample, "step": step.to_dict()}
        sequences = tuple(map(written, texts))
    return _generation(model, ids, plan, sequences, tuple(records), healing)


def _generation(
    model: Model, ids: tuple[int, ...], plan: Any, sequences: Any, records: tuple[Any, ...], healing: Any
) -> Generation:
    return Generation(
        prompt_ids=ids,
        prompt_text=model.detokenize(ids),
        sequences=sequences,
        config=plan.config.to_dict(),
        search=records,
        warnings=plan.warnings,
        healing=healing,
    )


def generation_row(found: Generation) -> JsonDict:
    """A generation without what its items held already: candidates, stages and the records of a search."""
    row = found.to_dict()
    row.pop("search")
    for sequence, each in zip(row["sequences"], found.sequences, strict=True):
        sequence["steps"] = [step_row(step) for step in each.steps]
    return row


def film_row(record: Any, vocabulary: Vocabulary) -> JsonDict:
    """A record of a search, with the display text of every token it names."""
    row = search_row(record)
    return {**row, "tokens": {str(i): vocabulary.token(i).text for i in sorted(set(_ids(row)))}}


def _ids(value: Any) -> Iterator[int]:
    """Every token id in a record."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name in ("token_id", "wanted") and inner is not None:
                yield inner
            elif name in ("ids", "written"):
                yield from inner
            else:
                yield from _ids(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _ids(inner)


# ------------------------------------------------------------------------------------------- side by side


@operation(
    prompt=PROMPT,
    names=list_of(one_of(tuple(STRATEGIES)), len(STRATEGIES), "which; greedy comes first in any case"),
    config=CONFIG,
    model=MODEL,
)
def strategies(
    bench: Workbench,
    prompt: Any,
    names: list[str] | None = None,
    config: JsonDict | None = None,
    model: str | None = None,
) -> Stream:
    """One prompt under several strategies, writing in turn; the end says where each parts from greedy."""
    chosen = bench.named(model)
    shared, wanted = shared_config(bench.config(config)), chosen_names(names)
    ids = chosen.prompt_ids(prompt)
    columns = [_Column(chosen, ids, name, shared) for name in wanted]
    waiting = list(columns)
    while waiting:
        for column in list(waiting):
            item = column.next()
            if item is None:
                waiting.remove(column)
            else:
                yield item
    greedy = columns[0].generation
    if greedy is None:
        raise columns[0].error or Refused("greedy could not run")
    return _showcase_row(showcase_of(chosen, ids, [each.row(greedy) for each in columns], shared))


class _Column:
    """One strategy on its way."""

    def __init__(self, model: Model, ids: tuple[int, ...], name: str, shared: Mapping[str, Any]) -> None:
        self.name, self.keywords = name, STRATEGIES[name]
        self.generation: Generation | None = None
        self.error: TokenglassError | ValueError | None = None
        self._model, self._seconds, self._ids = model, 0.0, list[int]()
        self._items = _written(model, ids, {**shared, **self.keywords})

    def next(self) -> JsonDict | None:
        """The next item, or None when it has ended, one way or another."""
        started = time.perf_counter()
        try:
            item = next(self._items)
        except StopIteration as end:
            self.generation = end.value
            return None
        except (TokenglassError, ValueError) as error:
            self.error = error
            return None
        finally:
            self._seconds += time.perf_counter() - started
        return {"strategy": self.name, **self._progress(item)}

    def _progress(self, item: JsonDict) -> JsonDict:
        """A step's own numbers; of a search the text so far, which beams may yet replace."""
        if "step" in item and "sample" in item:
            named = ("id", "token", "bytes", "kind", "text", "p", "p_final", "rank", "entropy_bits")
            return {"token": {name: item["step"][name] for name in named}, "settled": True}
        settled = item["kind"] != "beam"
        self._ids = [*(self._ids if settled else ()), *_best_ids(item)]
        # whole characters joined, through the gate like any token: the page draws it as it draws those
        data = b"".join(self._model.tokenizer.token(i).bytes for i in self._ids)
        return {"best": safe_text(data), "settled": settled}

    def row(self, greedy: Generation) -> Strategy:
        """What came of it."""
        if self.generation is None:
            return Strategy(self.name, self.keywords, reason=str(self.error))
        parting = None if self.generation is greedy else parted(self.generation, greedy)
        return Strategy(self.name, self.keywords, self.generation, self._seconds, parting=parting)


def _best_ids(record: JsonDict) -> list[int]:
    """The ids of the best running text; of a search that writes one text, those of this record."""
    if record["kind"] == "beam":
        runs = [each for each in record["candidates"] if each["fate"] == "runs"]
        if not runs:
            return list(record["bank"][0]["ids"]) if record["bank"] else []
        best = max(runs, key=lambda each: float(each["total"]))
        return [*record["beams"][best["parent"]]["ids"], best["token_id"]]
    if record["kind"] == "draft":
        return list(record["written"])
    if record["kind"] == "contrastive":
        return [each["token_id"] for each in record["rows"] if each["chosen"]]
    return [record["token_id"]]


def _showcase_row(found: Any) -> JsonDict:
    row: JsonDict = found.to_dict()
    for each, strategy in zip(row["strategies"], found.rows, strict=True):
        if strategy.generation is not None:
            each["generation"] = generation_row(strategy.generation)
    return row
