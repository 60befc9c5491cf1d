"""What recording costs: a traced greedy step against the same step without a record.

python benchmarks/overhead.py
"""

from __future__ import annotations

from compare import report, seconds
from peers import prompt

import tokenglass as tg
from tokenglass.decode import record
from tokenglass.engines.base import Prefix

COUNT = 64


def bare(model: tg.Model, number: int) -> None:
    """Forward, argmax, append; nothing kept."""
    ids = model.prompt_ids("B" + prompt(number))
    prefix = Prefix(ids)
    for _ in range(COUNT):
        forward = model.engine.forward([prefix])
        prefix = prefix.extended(int(forward.logits[0, 0].argmax()), forward.nodes[0])


def record_alone(model: tg.Model) -> float:
    """Seconds of the cheapest of 200 records of one row."""
    logits = model.logits("Once upon a time")[-1]
    token = model.tokenizer.token(int(logits.argmax()))
    return min(seconds(lambda: record(logits, token, 4, "", "greedy", model.tokenizer)) for _ in range(200))


def main() -> None:
    for precision in ("exact", "fast"):
        model = tg.load("smollm2", precision=precision)

        def traced(number: int, model: tg.Model = model) -> float:
            text = "A" + prompt(number)
            return seconds(lambda: model.generate(text, max_new_tokens=COUNT, eos_token_id=None)) / COUNT

        report(
            f"recording, {precision}: traced over bare step (must 1.08x, target 1.05x)",
            {"traced": traced, "bare": lambda i, m=model: seconds(lambda: bare(m, i)) / COUNT},
            must=1.08,
            target=1.05,
            rounds=9,
        )
        print(f"  one record alone: {1e3 * record_alone(model):.2f} ms")


if __name__ == "__main__":
    main()
