"""Many prompts through one model: those with a common beginning side by side, results in the order given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from tokenglass.batching.gathering import Gathering
from tokenglass.batching.tasks import Task, check, task_named

if TYPE_CHECKING:
    from tokenglass.model import Model, Prompt

Errors = Literal["raise", "return"]
LOOKAHEAD = 128  # results that may wait for their turn: 26 MB of logits for a vocabulary of 49,152
REMOTE = "server"  # an engine elsewhere makes its own batches of what arrives at one time


@dataclass(frozen=True)
class Request:
    """One prompt and the keywords of its call.

    Attributes:
        prompt: a text, ids or messages.
        keywords: of the task and of generation.
    """

    prompt: Prompt
    keywords: Mapping[str, Any] = field(default_factory=dict)


def mapped(
    model: Model,
    prompts: Iterable[Any],
    task: str = "next",
    *,
    lookahead: int = LOOKAHEAD,
    errors: Errors = "raise",
    **keywords: Any,
) -> Iterator[Any]:
    """Results for many prompts, in their order; see `Model.map`."""
    chosen = task_named(task)
    if isinstance(prompts, str | bytes | Mapping):
        raise TypeError(
            f"prompts must be several prompts, got one {type(prompts).__name__}; put it in a list"
        )
    if errors not in ("raise", "return"):
        raise ValueError(f"errors must be 'raise' or 'return', got {errors!r}")
    if isinstance(lookahead, bool) or not isinstance(lookahead, int) or lookahead < 1:
        raise ValueError(f"lookahead must be a whole number of at least 1, got {lookahead!r}")
    check(model, chosen, keywords)
    return _in_order(model, chosen, prompts, keywords, lookahead, errors)


def _in_order(
    model: Model,
    task: Task,
    prompts: Iterable[Any],
    keywords: Mapping[str, Any],
    lookahead: int,
    errors: Errors,
) -> Iterator[Any]:
    source = iter(prompts)
    while some := list(islice(source, lookahead)):
        ready: dict[int, Any] = {}
        place = 0
        for index, result in outcomes(model, task, [_request(item, keywords) for item in some]):
            ready[index] = result
            while place in ready:
                found = ready.pop(place)
                if isinstance(found, Exception) and errors == "raise":
                    raise found
                yield found
                place += 1


def _request(item: Any, keywords: Mapping[str, Any]) -> Request:
    """A prompt of `map`: as it is, or a mapping with keywords of its own."""
    if not isinstance(item, Mapping):
        return Request(item, keywords)
    if "prompt" not in item:
        raise ValueError(f"a prompt with keywords of its own is a dict with 'prompt', got {sorted(item)}")
    own = {name: value for name, value in item.items() if name != "prompt"}
    return Request(item["prompt"], {**keywords, **own})


def outcomes(
    model: Model, task: Task, requests: Sequence[Request], finish: Callable[[Any], Any] | None = None
) -> Iterator[tuple[int, Any]]:
    """Run requests side by side; yields (index, result) as they are done, an exception for one that failed.

    Args:
        model: what is asked.
        task: what is asked of it.
        requests: all of them are in memory.
        finish: makes of each result what is kept of it, as soon as it is there.
    """
    if model.info.engine == REMOTE:
        yield from _at_once(model, task, requests, finish)
        return
    from tokenglass.batching.plans import Planner

    gathering = Gathering(model.engine)
    shared = Planner(gathering, model.tokenizer, model.generation_defaults)
    known: dict[int, tuple[int, ...]] = {}
    for i, request in enumerate(requests):
        ids = _ids(model, task, request)
        if isinstance(ids, Exception):
            yield i, ids
        else:
            known[i] = ids
    # in order of their ids, prompts with a common beginning are neighbours and run side by side
    order = sorted(known, key=known.__getitem__)
    calls = (partial(_finished, shared, task, requests[i], known[i], finish) for i in order)
    for job in gathering.run(calls, task.width):
        if isinstance(job.result, BaseException) and not isinstance(job.result, Exception):
            raise job.result
        yield order[job.index], job.result


def _ids(model: Model, task: Task, request: Request) -> tuple[int, ...] | Exception:
    """The ids that a request begins with, or why there are none."""
    try:
        if task.name == "score" and isinstance(request.prompt, str):
            return tuple(model.tokenize(request.prompt).ids)  # it may be empty, and is tokenized by `score`
        return model.prompt_ids(request.prompt, request.keywords.get("chat_template_kwargs"))
    except Exception as error:
        return error


def _finished(
    model: Model,
    task: Task,
    request: Request,
    ids: Any,
    finish: Callable[[Any], Any] | None,
) -> Any:
    is_text = task.name == "score" and isinstance(request.prompt, str)
    keywords = {name: value for name, value in request.keywords.items() if name != "chat_template_kwargs"}
    result = task.call(model, request.prompt if is_text else ids, keywords)
    return result if finish is None else finish(result)


def _at_once(
    model: Model, task: Task, requests: Sequence[Request], finish: Callable[[Any], Any] | None
) -> Iterator[tuple[int, Any]]:
    """Requests to a server, several under way at any time; yields them in their order."""

    def asked(request: Request) -> Any:
        try:
            ids = _ids(model, task, request)
            return ids if isinstance(ids, Exception) else _finished(model, task, request, ids, finish)
        except Exception as error:
            return error

    pool = ThreadPoolExecutor(task.width)
    try:
        yield from enumerate(pool.map(asked, requests))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
