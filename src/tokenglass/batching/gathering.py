"""Many calls side by side over one engine: what they ask for at one time is computed in one run.

Each call runs in a thread of its own, as it would alone: searches, chains and tables know nothing of it.
The threads take turns, one at a time and in a fixed order, so that the same calls always make the same runs
of the model, and nothing but the engine ever sees two of them at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np

from tokenglass.engines.base import Engine, Floats, Forward, Prefix
from tokenglass.types import EngineInfo

Key = tuple[int, tuple[int, ...], int]  # of what one run gives: last, layers, hidden_last
MOST_LINE = (
    512  # ids of a text whose positions are read together with other texts; a longer one is read alone
)


@dataclass(frozen=True, slots=True)
class Ask:
    """What one call wants from the engine before it can go on."""

    prefixes: tuple[Prefix, ...]
    key: Key


class Stopped(BaseException):
    """Nobody waits for this call any more; not an Exception, so that no call takes it for an error."""


@dataclass
class Job:
    """One call on its way.

    Attributes:
        index: its place among the calls.
        call: what to run.
        ask: what it waits for, or None while it runs or when it is done.
        result: what the call returned, or the exception it raised.
        done: whether it ended.
        answers: where what it waits for arrives.
    """

    index: int
    call: Callable[[], Any]
    ask: Ask | None = None
    result: Any = None
    done: bool = False
    answers: SimpleQueue[Any] = field(default_factory=SimpleQueue)


class Gathering:
    """An engine for calls that run side by side; to everybody else the engine behind it.

    Args:
        engine: computes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mine = threading.local()
        self._turns: SimpleQueue[Job] = SimpleQueue()  # a job that asks, or is done, gives the turn back

    @property
    def info(self) -> EngineInfo:
        """What is running."""
        return self._engine.info

    def forward(
        self,
        prefixes: Sequence[Prefix],
        *,
        last: int = 1,
        layers: Sequence[int] = (),
        hidden_last: int = 1,
    ) -> Forward:
        """As the engine's own; inside a call it waits for the others, and all are computed together."""
        job: Job | None = getattr(self._mine, "job", None)
        if job is None:  # after the call, when a step is asked for its account
            return self._engine.forward(prefixes, last=last, layers=layers, hidden_last=hidden_last)
        forward: Forward = self._asked(job, Ask(tuple(prefixes), (last, tuple(layers), hidden_last)))
        return forward

    def unembed(self, hidden: Floats, *, norm: bool) -> Floats:
        """As the engine's own."""
        return self._engine.unembed(hidden, norm=norm)

    def iter_logits(self, ids: Sequence[int], chunk: int = 64) -> Iterator[Floats]:
        """As the engine's own; the positions of a short text are read together with those of others."""
        ids, job = tuple(ids), getattr(self._mine, "job", None)
        # an engine that would have to read them again to say what it said reads each text once, alone
        again = "again" in self.info.capabilities
        if job is None or not 1 <= len(ids) <= MOST_LINE or not again:
            yield from self._engine.iter_logits(ids, chunk)
            return
        node = self.forward([Prefix(ids)]).nodes[0]  # reads all of it; what is left is the head's work
        for start, stop in pairwise([*range(0, len(ids), chunk), len(ids)]):
            prefix = Prefix(ids, node) if stop == len(ids) else Prefix(ids[:stop])
            logits = self._engine.forward([prefix], last=stop - start).logits
            if logits is not None:
                yield logits[0]

    def close(self) -> None:
        """Nothing: the engine belongs to whoever opened it."""

    # ---------------------------------------------------------------- turns

    def run(self, calls: Iterable[Callable[[], Any]], width: int) -> Iterator[Job]:
        """Run calls, at most `width` side by side; yields each when it is done, the earlier ones first.

        Stop iterating and the others are ended.
        """
        waiting = (Job(index, call) for index, call in enumerate(calls))
        active: list[Job] = []
        try:
            while True:
                for job in islice(waiting, width - len(active)):
                    active.append(job)
                    self._start(job)
                if not active:
                    return
                yield from (job for job in active if job.done)
                active = [job for job in active if not job.done]
                self._answer(active)
        finally:
            for job in active:
                self._go_on(job, Stopped())

    def _start(self, job: Job) -> None:
        threading.Thread(target=self._run, args=(job,), daemon=True, name=f"call {job.index}").start()
        self._turns.get()

    def _run(self, job: Job) -> None:
        self._mine.job = job
        try:
            job.result = job.call()
        except BaseException as error:  # handed over to whoever waits for the result
            job.result = error
        job.done = True
        self._turns.put(job)

    def _asked(self, job: Job, ask: Ask) -> Any:
        job.ask = ask
        self._turns.put(job)
        answer = job.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _go_on(self, job: Job, answer: Any) -> None:
        """Hand a job what it waits for, and wait until it asks again or is done."""
        if job.done:
            return
        job.ask = None
        job.answers.put(answer)
        self._turns.get()

    # ------------------------------------------------------------ computing

    def _answer(self, active: Sequence[Job]) -> None:
        """Compute what the jobs ask for, and let them go on, one after another."""
        groups: dict[Key, list[Job]] = {}
        for job in active:
            if job.ask is not None:
                groups.setdefault(job.ask.key, []).append(job)
        answers = [pair for key, jobs in groups.items() for pair in self._computed(key, jobs)]
        for job, answer in sorted(answers, key=lambda pair: pair[0].index):
            self._go_on(job, answer)

    def _computed(self, key: Key, jobs: Sequence[Job]) -> list[tuple[Job, Any]]:
        """Each job with its answer; where the run fails each is tried alone, and only the guilty one told."""
        last, layers, hidden_last = key
        asked = [job.ask.prefixes for job in jobs if job.ask is not None]
        together = [prefix for prefixes in asked for prefix in prefixes]
        try:
            forward = self._engine.forward(together, last=last, layers=layers, hidden_last=hidden_last)
        except Exception as error:
            if len(jobs) == 1:
                return [(jobs[0], error)]
            return [pair for job in jobs for pair in self._computed(key, [job])]
        edges = np.cumsum([0, *map(len, asked)]).tolist()
        return [(job, _part(forward, *edges[i : i + 2])) for i, job in enumerate(jobs)]


def _part(forward: Forward, start: int, stop: int) -> Forward:
    """What a run gave for some of its prefixes; copied, so that one result does not keep all in memory."""
    return Forward(
        None if forward.logits is None else forward.logits[start:stop].copy(),
        forward.nodes[start:stop],
        {layer: rows[start:stop].copy() for layer, rows in forward.hidden.items()},
        forward.top[start:stop],
    )
