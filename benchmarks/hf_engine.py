"""The hf engine on a CPU: a traced greedy step, and eight branches, against `transformers.generate`.

python benchmarks/hf_engine.py

Both sides run transformers' model of the same file in float32. Ours records every step; theirs returns ids.
"""

from __future__ import annotations

import os

from branches import WIDTH, grow
from compare import report, seconds
from peers import prompt, transformers_generate

import tokenglass as tg

COUNT, STEPS = 48, 24


def main() -> None:
    if hasattr(os, "getloadavg"):
        print(f"load of this machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    model = tg.load("smollm2", engine="hf", device="cpu")

    def ours(number: int) -> float:
        text = prompt(number)
        return seconds(lambda: model.generate(text, max_new_tokens=COUNT, eos_token_id=None)) / COUNT

    def theirs(number: int) -> float:
        ids = model.tokenize(prompt(number)).ids
        return seconds(lambda: transformers_generate([ids], COUNT)) / COUNT

    def their_branches(number: int) -> float:
        ids = model.tokenize(prompt(number)).ids
        rows = [[*ids, token] for token in range(1000, 1000 + WIDTH)]
        alone = seconds(lambda: transformers_generate(rows, 1))
        return (seconds(lambda: transformers_generate(rows, STEPS + 1)) - alone) / STEPS

    report(
        f"traced greedy step, engine hf ({COUNT} tokens after a short prompt)",
        {"tokenglass hf, traced": ours, "transformers.generate": theirs},
        must=1.10,
        target=1.0,
    )
    report(
        f"{WIDTH} branches, one step, engine hf ({STEPS} steps after the prompt)",
        {"tokenglass hf": lambda i: grow(model, i), f"transformers, batch of {WIDTH}": their_branches},
        must=0.9,
        target=0.8,
    )


if __name__ == "__main__":
    main()
