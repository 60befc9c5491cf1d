"""What can be asked of many prompts: each task's call, its keywords, and the columns of its rows.

A task runs the same call that a single prompt would get. Rows hold plain values: bytes are bytes, what is
unknown is None, `text` of a token is its safe display text and `bytes` the truth.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from tokenglass.config import resolve
from tokenglass.types import Generation, NextTokens, OptionScores, Score, Showcase
from tokenglass.types import Sequence as Written

if TYPE_CHECKING:
    from tokenglass.model import Model

Row = dict[str, Any]
# "int" | "float" | "text" | "bytes", a list of one of them as [kind], or named parts as {name: kind}
Kind = str | list[Any] | dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One of the things that can be asked of many prompts.

    Attributes:
        name: as users type it.
        call: (model, prompt, keywords) -> result.
        row: result -> its row.
        columns: name -> kind of the row's values.
        own: keywords of the task itself.
        configured: whether it takes generation keywords as well.
        width: prompts that run side by side. More of them share each run of the model, but each reads the
            others' cached tokens: long texts want fewer.
    """

    name: str
    call: Callable[[Model, Any, Mapping[str, Any]], Any]
    row: Callable[[Any], Row]
    columns: Mapping[str, Kind]
    own: frozenset[str]
    configured: bool
    width: int


def task_named(name: str) -> Task:
    """A task by its name.

    Raises:
        ValueError: there is none.
    """
    if name in TASKS:
        return TASKS[name]
    near = difflib.get_close_matches(str(name), TASKS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"task must be one of {', '.join(TASKS)}, got {name!r}{hint}")


def check_names(task: Task, keywords: Mapping[str, Any]) -> None:
    """Refuse keywords that mean nothing with any model; see `check`."""
    config = {name: value for name, value in keywords.items() if name not in task.own}
    config.pop("chat_template_kwargs", None)
    if task.name == "strategies":
        from tokenglass.showcase import chosen_names, shared_config

        shared_config(config)
        chosen_names(keywords.get("names"))
    elif task.configured:
        resolve({name: value for name, value in config.items() if name != "assistant_model"})
    elif config:
        name = next(iter(config))
        near = difflib.get_close_matches(name, task.own, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it takes {', '.join(sorted(task.own))}"
        raise TypeError(f"task {task.name!r} takes no keyword {name!r}; {hint}")


def check(model: Model, task: Task, keywords: Mapping[str, Any]) -> None:
    """Refuse keywords that no prompt could be run with.

    Raises:
        TypeError: an unknown keyword.
        ValueError: a value outside its interval, or keywords that exclude each other.
        Unsupported: a keyword that is refused, with the reason.
    """
    if task.name == "strategies" or not task.configured:
        check_names(task, keywords)
        return
    own = task.own | {"chat_template_kwargs"}
    model.chain(**{name: value for name, value in keywords.items() if name not in own})


def _next(model: Model, prompt: Any, keywords: Mapping[str, Any]) -> NextTokens:
    return model.next_tokens(prompt, **keywords)


def _score(model: Model, prompt: Any, keywords: Mapping[str, Any]) -> Score:
    return model.score(prompt, **keywords)


def _generate(model: Model, prompt: Any, keywords: Mapping[str, Any]) -> Generation:
    return model.generate(prompt, **keywords)


def _strategies(model: Model, prompt: Any, keywords: Mapping[str, Any]) -> Showcase:
    return model.strategies(prompt, **keywords)


def _candidates(model: Model, prompt: Any, keywords: Mapping[str, Any]) -> OptionScores:
    if not keywords.get("options"):
        raise ValueError("options must hold the continuations to be scored, got none")
    return model.score_options(prompt, **keywords)


def next_row(table: NextTokens) -> Row:
    """A next-token table as lists, best first."""
    rows = table.rows
    return {
        "n_prompt_tokens": len(table.prompt_ids),
        "ids": [row.id for row in rows],
        "texts": [row.text for row in rows],
        "bytes": [row.token.bytes for row in rows],
        "logits": [row.logit for row in rows],
        "logprobs": [row.logprob for row in rows],
        "p": [row.p for row in rows],
        "p_final": [row.p_final for row in rows],
        "removed_by": [row.removed_by for row in rows],
        "entropy_bits": table.entropy_bits,
        "rest_p": table.rest_p,
        "coverage": table.coverage,
    }


def score_row(score: Score) -> Row:
    """A scored text as one list for each kind of number."""
    columns = score.columns
    scored = [bool(rank) for rank in columns.ranks.tolist()]

    def known(values: Sequence[Any]) -> list[Any]:
        return [value if there else None for value, there in zip(values, scored, strict=True)]

    return {
        "n_tokens": score.n_tokens,
        "bits": score.bits,
        "perplexity": score.perplexity,
        "bits_per_byte": score.bits_per_byte,
        "ids": list(score.ids),
        "logprobs": known(columns.logprobs.tolist()),
        "ranks": known([rank if rank > 0 else None for rank in columns.ranks.tolist()]),
        "entropies_bits": known([None if isnan(bits) else bits for bits in columns.entropies.tolist()]),
        "coverage": score.coverage,
    }


def generate_row(generation: Generation) -> Row:
    """What was written; where several texts were asked for, the first, and all others beside it."""
    first, *others = map(_written, generation.sequences)
    return {
        "n_prompt_tokens": len(generation.prompt_ids),
        **first,
        "others": others,
        "seed": generation.config.get("seed"),
        "warnings": list(generation.warnings),
    }


def _written(sequence: Written) -> Row:
    return {
        "text": sequence.text,
        "ids": list(sequence.ids),
        "logprobs": [step.logprob for step in sequence.steps],
        "finish_reason": sequence.finish_reason,
        "score": sequence.score,
    }


def strategies_row(showcase: Showcase) -> Row:
    """One part for each strategy; times are left out, since they differ from run to run."""
    return {
        "n_prompt_tokens": len(showcase.prompt_ids),
        "strategies": [
            {
                "name": row.name,
                "text": row.generation and row.generation.text,
                "ids": row.generation and list(row.generation.ids),
                "finish_reason": row.generation and row.generation.finish_reason,
                "parts_at": row.parting and row.parting.index,
                "reason": row.reason,
            }
            for row in showcase.rows
        ],
        "seed": showcase.config.get("seed"),
    }


def candidates_row(scores: OptionScores) -> Row:
    """One part for each continuation, in the order given."""
    return {
        "n_prompt_tokens": len(scores.prompt_ids),
        "best": scores.best.text,
        "candidates": [
            {
                "text": row.text,
                "ids": [token.id for token in row.tokens],
                "logprob": row.logprob,
                "p": row.p,
                "share": row.share,
                "mean_share": row.mean_share,
                "notes": list(row.notes),
            }
            for row in scores.rows
        ],
    }


_WRITTEN: Mapping[str, Kind] = {
    "text": "text",
    "ids": ["int"],
    "logprobs": ["float"],
    "finish_reason": "text",
    "score": "float",
}
_LISTS = ("logits", "logprobs", "p", "p_final")
TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            "next",
            _next,
            next_row,
            {
                "n_prompt_tokens": "int",
                "ids": ["int"],
                "texts": ["text"],
                "bytes": ["bytes"],
                **{name: ["float"] for name in _LISTS},
                "removed_by": ["text"],
                **dict.fromkeys(("entropy_bits", "rest_p", "coverage"), "float"),
            },
            frozenset({"n", "position"}),
            True,
            64,
        ),
        Task(
            "score",
            _score,
            score_row,
            {
                "n_tokens": "int",
                **dict.fromkeys(("bits", "perplexity", "bits_per_byte"), "float"),
                "ids": ["int"],
                "logprobs": ["float"],
                "ranks": ["int"],
                "entropies_bits": ["float"],
                "coverage": "float",
            },
            frozenset({"top", "window", "stride", "bos", "add_special_tokens", "parse_special"}),
            False,
            16,
        ),
        Task(
            "generate",
            _generate,
            generate_row,
            {
                "n_prompt_tokens": "int",
                **_WRITTEN,
                "others": [dict(_WRITTEN)],
                "seed": "int",
                "warnings": ["text"],
            },
            frozenset(),
            True,
            16,
        ),
        Task(
            "strategies",
            _strategies,
            strategies_row,
            {
                "n_prompt_tokens": "int",
                "strategies": [
                    {
                        "name": "text",
                        "text": "text",
                        "ids": ["int"],
                        "finish_reason": "text",
                        "parts_at": "int",
                        "reason": "text",
                    }
                ],
                "seed": "int",
            },
            frozenset({"names"}),
            True,
            8,
        ),
        Task(
            "candidates",
            _candidates,
            candidates_row,
            {
                "n_prompt_tokens": "int",
                "best": "text",
                "candidates": [
                    {
                        "text": "text",
                        "ids": ["int"],
                        **dict.fromkeys(("logprob", "p", "share", "mean_share"), "float"),
                        "notes": ["text"],
                    }
                ],
            },
            frozenset({"options", "space_variants"}),
            False,
            16,
        ),
    )
}
