"""Eight branches, one step, exact: `Engine.forward` with eight prefixes against a batch in transformers.

python benchmarks/branches.py
"""

from __future__ import annotations

from compare import report, seconds
from peers import prompt, transformers_generate

import tokenglass as tg
from tokenglass.engines.base import Prefix

WIDTH, COUNT = 8, 24


def grow(model: tg.Model, number: int) -> float:
    """Seconds a step of eight branches from one prompt, each extended greedily; the prompt is not timed."""
    ids = tuple(model.tokenize(prompt(number)).ids)
    first = model.engine.forward([Prefix(ids)])
    starts = first.logits[0, 0].argsort()[-WIDTH:]
    prefixes = [Prefix(ids, first.nodes[0]).extended(int(t)) for t in starts]

    def run() -> None:
        nonlocal prefixes
        for _ in range(COUNT):
            forward = model.engine.forward(prefixes)
            best = forward.logits[:, 0].argmax(axis=1)
            prefixes = [p.extended(int(t), n) for p, t, n in zip(prefixes, best, forward.nodes, strict=True)]

    return seconds(run) / COUNT


def main() -> None:
    model = tg.load("smollm2")

    def theirs(number: int) -> float:
        ids = model.tokenize(prompt(number)).ids
        rows = [[*ids, token] for token in range(1000, 1000 + WIDTH)]
        prompt_alone = seconds(lambda: transformers_generate(rows, 1))
        return (seconds(lambda: transformers_generate(rows, COUNT + 1)) - prompt_alone) / COUNT

    report(
        f"{WIDTH} branches, one step, exact ({COUNT} steps after the prompt)",
        {"tokenglass exact": lambda i: grow(model, i), "transformers, batch of 8": theirs},
        must=0.32,
        target=0.25,
        warm=2,
    )


if __name__ == "__main__":
    main()
