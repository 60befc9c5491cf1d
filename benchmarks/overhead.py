"""What recording costs: a traced step against the same step without a record, greedy and with a chain.

Single steps alternate, so that a busy moment of the machine meets both sides.

python benchmarks/overhead.py
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from compare import report, seconds
from peers import prompt

import tokenglass as tg
from tokenglass.engines.base import Prefix
from tokenglass.random import Philox
from tokenglass.stages import Context, Row, run

COUNT = 64
CHAIN = {
    "do_sample": True,
    "temperature": 0.8,
    "top_p": 0.9,
    "min_p": 0.02,
    "repetition_penalty": 1.1,
    "no_repeat_ngram_size": 3,
    "seed": 1,
}


def bare(model: tg.Model, text: str, config: Mapping[str, Any]) -> Iterator[None]:
    """Forward, chain, choose, append; nothing kept."""
    ids = model.prompt_ids(text)
    plan = model.plan(config, ids)
    prefix, states, source = Prefix(ids), None, Philox(1)
    while True:
        forward = model.engine.forward([prefix])
        context = Context(ids, prefix.ids[len(ids) :], source=source)
        ledger = run(plan.stages, Row.of(forward.logits[0, 0]), context, states, record=False)
        states = ledger.states
        token_id = plan.selector.select(ledger.row, context).token_id
        prefix = prefix.extended(token_id, forward.nodes[0])
        yield


def steps(begin: Callable[[str], Iterator[Any]]) -> Callable[[int], float]:
    """Seconds of one step; after every COUNT a new prompt begins, whose own step is not counted."""
    texts = map(prompt, itertools.count())
    running: Iterator[Any] = iter(())
    left = 0

    def step(_: int) -> float:
        nonlocal running, left
        if not left:
            running, left = begin(next(texts)), COUNT
            next(running)
        left -= 1
        return seconds(lambda: next(running))

    return step


def main() -> None:
    for precision in ("exact", "fast"):
        # a model for each side: they must not push each other's prefixes out of one window
        ours, plain = (tg.load("smollm2", precision=precision) for _ in range(2))
        for name, config in (("greedy", {}), ("five stages and a draw", CHAIN)):
            given = {**config, "max_new_tokens": COUNT + 2, "eos_token_id": None}
            report(
                f"recording, {precision}, {name}: traced over bare step (must 1.08x, target 1.05x)",
                {
                    "traced": steps(lambda text, m=ours, given=given: m.stream(text, **given)),
                    "bare": steps(lambda text, m=plain, config=config: bare(m, text, config)),
                },
                must=1.08,
                target=1.05,
                rounds=6 * COUNT,
                warm=COUNT // 4,
            )


if __name__ == "__main__":
    main()
