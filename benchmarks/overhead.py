"""What recording costs: a traced step against the same step without a record, greedy and with a chain.

python benchmarks/overhead.py
"""

from __future__ import annotations

from collections.abc import Mapping
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


def bare(model: tg.Model, text: str, config: Mapping[str, Any]) -> None:
    """Forward, chain, choose, append; nothing kept."""
    ids = model.prompt_ids(text)
    plan = model.plan(config, ids)
    prefix, states, source = Prefix(ids), None, Philox(1)
    for _ in range(COUNT):
        forward = model.engine.forward([prefix])
        context = Context(ids, prefix.ids[len(ids) :], source=source)
        ledger = run(plan.stages, Row.of(forward.logits[0, 0]), context, states, record=False)
        states = ledger.states
        token_id = plan.selector.select(ledger.row, context).token_id
        prefix = prefix.extended(token_id, forward.nodes[0])


def main() -> None:
    for precision in ("exact", "fast"):
        model = tg.load("smollm2", precision=precision)
        for name, config in (("greedy", {}), ("five stages and a draw", CHAIN)):

            def traced(i: int, model: tg.Model = model, config: Mapping[str, Any] = config) -> float:
                given = {**config, "max_new_tokens": COUNT, "eos_token_id": None}
                return seconds(lambda: model.generate("A" + prompt(i), **given)) / COUNT

            def untraced(i: int, model: tg.Model = model, config: Mapping[str, Any] = config) -> float:
                return seconds(lambda: bare(model, "B" + prompt(i), config)) / COUNT

            report(
                f"recording, {precision}, {name}: traced over bare step (must 1.08x, target 1.05x)",
                {"traced": traced, "bare": untraced},
                must=1.08,
                target=1.05,
                rounds=9,
            )


if __name__ == "__main__":
    main()
