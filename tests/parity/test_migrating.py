"""The migration table: both sides of every row run, and come to the same where they say so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import tokenglass as tg
from tests.doc_blocks import ROOT

PAGE = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
CODE = r"```python\n(.*?)```"
NEXT_CELL = r"\n\n</td><td>\n\n"
TITLE = r"\*\*([^*]+)\*\*(?: <!-- same: (\w+) -->)?"
ROWS = re.findall(TITLE + NEXT_CELL + CODE + NEXT_CELL + CODE, PAGE, re.DOTALL)
PROMPT = "Once upon a time, generative models"


def test_every_cell_of_the_page_is_in_a_row() -> None:
    assert len(ROWS) >= 12
    assert 2 * len(ROWS) == PAGE.count("```python")
    assert sum(bool(same) for _, same, _, _ in ROWS) == len(ROWS) - 1  # all but loading


def test_both_sides_come_to_the_same(
    smollm2: Any, smollm2_files: Any, smollm2_transformers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model stands in for gpt2; each side is one notebook, run from top to bottom.

    A tokenizer made from a GGUF file takes no notice of `add_prefix_space`, as one from gpt2's files does; so
    the left side gets one that was told.
    """
    import pandas
    import tokenizers
    import torch
    import transformers

    path = Path(smollm2_files.path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    told = tokenizer.backend_tokenizer.to_str().replace('"add_prefix_space":false', '"add_prefix_space":true')
    spaced = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer.from_str(told))
    monkeypatch.setattr(
        transformers.AutoTokenizer,
        "from_pretrained",
        lambda name, add_prefix_space=False: spaced if add_prefix_space else tokenizer,
    )
    monkeypatch.setattr(
        transformers.AutoModelForCausalLM, "from_pretrained", lambda name: smollm2_transformers
    )
    load = tg.load
    monkeypatch.setattr(
        tg, "load", lambda name, **options: load("smollm2", **options) if options else smollm2
    )
    theirs: dict[str, Any] = {"prompt": PROMPT, "pandas": pandas, "torch": torch}
    theirs |= {
        name: getattr(transformers, name) for name in ("AutoTokenizer", "AutoModelForCausalLM", "set_seed")
    }
    ours: dict[str, Any] = {"prompt": PROMPT, "tg": tg}
    for title, same, left, right in ROWS:
        exec(compile(left, f"left: {title}", "exec"), theirs)
        exec(compile(right, f"right: {title}", "exec"), ours)
        if same:
            assert ours[same] == theirs[same], title
