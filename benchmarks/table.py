"""The table of the next ten of 49,152 tokens, from logits at hand, against the notebooks' loop.

The notebooks softmax the row, decode every id of the vocabulary, build a DataFrame and sort it.

    python benchmarks/table.py
"""

from __future__ import annotations

from compare import report, seconds
from peers import prompt

import tokenglass as tg
from tokenglass.types import NextTokens


def main() -> None:
    import pandas
    import torch

    model = tg.load("smollm2")
    ids = model.prompt_ids(prompt(0))
    logits = model.logits(ids)[-1]

    def ours() -> None:
        table = NextTokens(ids, len(ids) - 1, logits, 10, model.tokenizer)
        assert len(table.rows) == 10
        assert table.entropy_bits > 0
        assert table.rest_p > 0

    def notebook() -> None:
        p = torch.nn.functional.softmax(torch.tensor(logits), dim=-1)
        rows = [(i, model.tokenizer.decode([i]), p[i].item()) for i in range(len(p))]
        frame = pandas.DataFrame(rows, columns=["id", "token", "p"]).sort_values("p", ascending=False)
        assert len(frame[:10]) == 10

    report(
        "table of the next 10 of 49,152",
        {"tokenglass": lambda _: seconds(ours), "notebook loop": lambda _: seconds(notebook)},
        must=0.02,
        target=0.005,
    )


if __name__ == "__main__":
    main()
