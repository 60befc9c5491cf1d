"""A step at context 2,000, exact, against transformers with its cache at the same length.

python benchmarks/context.py
"""

from __future__ import annotations

import random

from compare import report, seconds
from peers import transformers_model

import tokenglass as tg

LENGTH, COUNT = 2000, 16


def main() -> None:
    import torch

    model = tg.load("smollm2")
    rng = random.Random(0)
    ids = [rng.randrange(1000, 40_000) for _ in range(LENGTH)]
    session = model.session(ids, eos_token_id=None)
    print(session.next.entropy_bits)  # the model reads the text once
    theirs = transformers_model()
    with torch.inference_mode():
        cache = theirs(torch.tensor([ids]), use_cache=True).past_key_values

    def our_steps(number: int) -> float:
        branch = session.fork()
        branch.step(token=1000 + number)  # a branch not computed yet
        return seconds(lambda: branch.step(COUNT)) / COUNT

    def their_steps(number: int) -> float:
        def run() -> None:
            token = torch.tensor([[1000 + number]])
            for _ in range(COUNT):
                token = (
                    theirs(token, past_key_values=cache, use_cache=True)
                    .logits[:, -1]
                    .argmax(-1, keepdim=True)
                )

        with torch.inference_mode():
            elapsed = seconds(run) / COUNT
            cache.crop(-COUNT)
        return elapsed

    report(
        f"step at context {LENGTH:,}, exact, traced",
        {"tokenglass exact": our_steps, "transformers, cached": their_steps},
        must=0.45,
        target=0.25,
    )


if __name__ == "__main__":
    main()
