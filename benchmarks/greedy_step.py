"""A traced greedy step: exact against transformers, fast against llama.cpp's server with 50 logprobs.

python benchmarks/greedy_step.py
"""

from __future__ import annotations

from compare import report, seconds
from peers import llama_generate, llama_server, prompt, transformers_generate

import tokenglass as tg

COUNT = 64


def main() -> None:
    exact, fast = tg.load("smollm2"), tg.load("smollm2", precision="fast")
    address = llama_server(exact.info.threads)

    def ours(model: tg.Model, number: int) -> float:
        text = prompt(number)
        return seconds(lambda: model.generate(text, max_new_tokens=COUNT, eos_token_id=None)) / COUNT

    def theirs(number: int) -> float:
        ids = exact.tokenize(prompt(number)).ids
        return seconds(lambda: transformers_generate([ids], COUNT)) / COUNT

    report(
        f"traced greedy step, exact ({COUNT} tokens after a short prompt)",
        {"tokenglass exact, traced": lambda i: ours(exact, i), "transformers.generate": theirs},
        must=0.35,
        target=0.28,
    )
    report(
        f"traced greedy step, fast ({COUNT} tokens after a short prompt)",
        {
            "tokenglass fast, traced": lambda i: ours(fast, i),
            "llama.cpp server, 50 logprobs": lambda i: (
                seconds(lambda: llama_generate(address, prompt(i), COUNT)) / COUNT
            ),
        },
        must=1.0,
        target=0.5,
    )


if __name__ == "__main__":
    main()
