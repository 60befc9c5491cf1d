"""Many prompts with common beginnings: `model.map` against a loop over single prompts.

Both sides begin with an empty cache in each round, both have the float32 body, and the loop's prompts share
their beginnings through the cache as well: what `map` gains is that the model's weights are read once for
many prompts. The third row is a loop whose cache is emptied at each prompt, as for a program without one.

    python benchmarks/batch.py [--prompts 192] [--rounds 5] [--profile]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from typing import Any

from compare import report, seconds

import tokenglass as tg

TEMPLATES = (
    "Decide whether the word is the name of an animal, a plant or a thing. Answer with one word.\n"
    "fox: animal\nrose: plant\ntable: thing\nowl: animal\nlamp: thing\noak: plant\n{}:",
    "Below are words of English and what they mean in French, one on each line, in no order.\n"
    "water = eau\nbread = pain\nhouse = maison\nnight = nuit\nfriend = ami\nwhite = blanc\n{} =",
    "Q: Is this word a noun, a verb or an adjective? Think of how it is used most of the time.\n"
    "A: stone: noun. A: run: verb. A: green: adjective. A: child: noun. A: write: verb. A: {}:",
    "The following list names things and what one does with them, as briefly as possible.\n"
    "- book: read\n- song: sing\n- car: drive\n- cake: eat\n- letter: write\n- ball: throw\n- {}:",
)
ONSETS, VOWELS, ENDS = "b c d f g h l m n p r s t w".split(), "a e i o u".split(), "n r l t s p d m".split()


def prompts(count: int, number: int) -> list[str]:
    """Prompts of the templates with short made-up words, in no order, others for each number."""
    rng = random.Random(number)
    words = [f"{a}{v}{e}" for a in ONSETS for v in VOWELS for e in ENDS]
    return [rng.choice(TEMPLATES).format(rng.choice(words)) for _ in range(count)]


def used(tables: Iterable[tg.NextTokens]) -> list[Any]:
    """What a batch keeps of each table."""
    return [(table.rows, table.entropy_bits) for table in tables]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="where the time of one batch goes")
    options = parser.parse_args()
    model = tg.load("smollm2")
    engine: Any = model.engine

    def loop(number: int) -> float:
        engine.begin_batch()
        return seconds(lambda: used(model.next_tokens(p) for p in prompts(options.prompts, number)))

    def mapped(number: int) -> float:
        engine.begin_batch()
        return seconds(lambda: used(model.map(prompts(options.prompts, number), lookahead=options.prompts)))

    def cold(number: int) -> float:
        """Of a sixteenth of the prompts, in proportion."""

        def one(prompt: str) -> tg.NextTokens:
            engine.begin_batch()
            return model.next_tokens(prompt)

        some = prompts(options.prompts, number)[: max(1, options.prompts // 16)]
        return seconds(lambda: used(map(one, some))) * options.prompts / len(some)

    if options.profile:
        import cProfile

        mapped(0)
        engine.begin_batch()
        some = prompts(options.prompts, 1)
        cProfile.runctx("used(model.map(some, lookahead=len(some)))", globals(), locals(), sort="tottime")
        return
    tokens = [len(model.tokenize(p).ids) for p in prompts(options.prompts, 0)]
    report(
        f"next tokens of {options.prompts} prompts of {min(tokens)}-{max(tokens)} tokens, 4 beginnings",
        {"model.map": mapped, "loop over single prompts": loop, "loop, empty cache": cold},
        must=round(1 / 3, 3),
        target=0.25,
        rounds=options.rounds,
    )


if __name__ == "__main__":
    main()
