"""A polars frame of a table of the whole vocabulary, and of a score of 50,000 tokens.

That nothing is copied is proved in tests/unit/test_views_frames.py; the texts of the vocabulary are prepared
at the first frame, which is not counted here.

    python benchmarks/frame.py
"""

from __future__ import annotations

import numpy as np
import polars
from compare import report, seconds
from peers import prompt

import tokenglass as tg
from tokenglass.types import NextTokens, Score
from tokenglass.types.scores import ScoreColumns

ROWS = 50_000


def main() -> None:
    model = tg.load("smollm2")
    ids = model.prompt_ids(prompt(0))
    table = NextTokens(ids, len(ids) - 1, model.logits(ids)[-1], ROWS, model.tokenizer)
    drawn = np.random.default_rng(7).integers(0, len(model.tokenizer), ROWS).tolist()
    columns = ScoreColumns.unscored(drawn, 0)
    columns.ranks[1:] = 1
    score = Score("", columns, model.tokenizer, 0, 8192)
    polars.DataFrame(table)

    report(
        f"a polars frame of {ROWS:,} rows",
        {
            "table of all tokens": lambda _: seconds(lambda: polars.DataFrame(table)),
            "score": lambda _: seconds(lambda: polars.DataFrame(score)),
        },
        must=None,
        target=None,
    )


if __name__ == "__main__":
    main()
