"""How far `fast` is from `exact`: KL divergence at each position, and how often both have the same favourite.

python benchmarks/distance.py
"""

from __future__ import annotations

import numpy as np

import tokenglass as tg
from tokenglass.numbers import log_softmax

TEXT = (
    "The river had been rising for three days. In the village they moved the cattle to the upper "
    "field, and the old miller, who had seen the flood of his childhood, walked along the bank every "
    "hour and pushed a stick into the mud where the water stood. At noon the stick was gone. He went "
    "home, took the clock from the wall and carried it upstairs. def area(radius):\n    return "
    "3.14159 * radius ** 2\n\nWhy is the sky blue? Sunlight is scattered by the molecules of the air,"
    " and blue light is scattered more strongly than red because its waves are shorter. In 1969, two "
    "people walked on the Moon; in 2024, the population of the Earth was 8.1 billion."
)


def main() -> None:
    exact, fast = tg.load("smollm2"), tg.load("smollm2", precision="fast")
    ids = exact.tokenize(TEXT).ids
    p = np.stack([log_softmax(row) for row in exact.logits(ids)])
    q = np.stack([log_softmax(row) for row in fast.logits(ids)])
    divergence = (np.exp(p) * (p - q)).sum(axis=1) / np.log(2)
    same = (p.argmax(axis=1) == q.argmax(axis=1)).mean()
    print(f"{len(ids)} positions of one English text with code and numbers")
    print(
        f"KL(exact || fast): mean {divergence.mean():.4f} bits, median {np.median(divergence):.4f}, ", end=""
    )
    print(f"95 % below {np.quantile(divergence, 0.95):.4f}, largest {divergence.max():.4f}")
    print(f"same favourite: {same:.1%}")
    print(f"largest difference of a probability: {np.abs(np.exp(p) - np.exp(q)).max():.3f}")


if __name__ == "__main__":
    main()
