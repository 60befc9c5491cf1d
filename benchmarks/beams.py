"""A traced step of five beams, the best and drawn ones, exact: against `generate(num_beams=5)`, same weights.

python benchmarks/beams.py
"""

from __future__ import annotations

from typing import Any

from compare import report, seconds
from peers import prompt, transformers_model

import tokenglass as tg
from tokenglass.random import Philox
from tokenglass.search import BeamOptions, Limits, beam_search

BEAMS, COUNT = 5, 32


def ours(model: tg.Model, number: int, do_sample: bool) -> float:
    """Seconds a step with every record kept; the prompt and the first step are not timed."""
    options = BeamOptions(num_beams=BEAMS, do_sample=do_sample)
    limits = Limits(max_new_tokens=COUNT + 1)
    ids = model.prompt_ids(prompt(number))
    source = Philox(number) if do_sample else None
    search = beam_search(model.engine, model.tokenizer, ids, options, limits=limits, source=source)
    film = [next(search)]
    return seconds(lambda: film.extend(search)) / COUNT


def theirs(model: tg.Model, number: int, do_sample: bool) -> float:
    """The same by the difference of two runs, on ids that our side cut."""
    import torch

    ids = torch.tensor([model.prompt_ids(prompt(number))])

    def run(count: int) -> Any:
        # top_k=0: by default transformers would cut to 50 before it draws
        drawing: dict[str, Any] = {"do_sample": True, "top_k": 0} if do_sample else {"do_sample": False}
        with torch.inference_mode():
            return transformers_model().generate(ids, num_beams=BEAMS, max_new_tokens=count, **drawing)

    first = seconds(lambda: run(1))
    return (seconds(lambda: run(COUNT + 1)) - first) / COUNT


def main() -> None:
    model = tg.load("smollm2")
    for name, do_sample in (("beam search", False), ("beam sampling", True)):
        report(
            f"{name}, {BEAMS} beams, traced, one step, exact ({COUNT} steps after the first)",
            {
                "tokenglass exact, traced": lambda i, s=do_sample: ours(model, i, s),
                "transformers.generate": lambda i, s=do_sample: theirs(model, i, s),
            },
            must=0.35,
            target=0.28,
        )


if __name__ == "__main__":
    main()
