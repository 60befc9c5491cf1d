"""The embedded model's `generate` against transformers' on the same file, under random configurations.

Rules and tolerances as in `test_generate_random`; here text is real, and so are the stop strings.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import FULL
from tests.parity.goldens.shared import likely
from tests.parity.random_configs import SHARES, Case, draw
from tests.parity.test_generate_random import SHARE_PARTED, compare

transformers = pytest.importorskip("transformers")
COUNT = 40 if FULL else 6
PROMPTS = (
    "Once upon a time, generative models",
    "def fibonacci(n):\n",
    "The capital of France is",
    "1, 2, 3, 4, 1, 2, 3,",
    "Ein Mops kam in die Küche und",
    "A",
)


@pytest.fixture(scope="module")
def tokenizer(smollm2_files: Any) -> Any:
    """Transformers' own tokenizer, out of the same file."""
    path = Path(smollm2_files.path)
    return transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def test_generate(smollm2: Any, smollm2_transformers: Any, tokenizer: Any) -> None:
    rng = np.random.default_rng(2)
    kinds = [kind for kind in SHARES for _ in range(round(SHARES[kind] * COUNT))]
    tally: Counter[str] = Counter()
    for i in range(COUNT):
        case = configuration(smollm2, smollm2_transformers, rng, kinds[i % len(kinds)])
        twins = (smollm2, smollm2_transformers)  # it drafts for itself
        tally[compare(smollm2, smollm2_transformers, case, tokenizer, twins)] += 1
    print(dict(tally))
    assert tally["parted"] <= max(1, SHARE_PARTED * COUNT), f"too many near-ties: {tally}"
    assert tally["same"] >= 0.85 * COUNT, f"too many without an answer to compare: {tally}"


def configuration(model: Any, theirs: Any, rng: np.random.Generator, kind: Any) -> Case:
    """One of the prompts with random keywords."""
    prompt = model.tokenize(PROMPTS[int(rng.integers(len(PROMPTS)))]).ids
    top = likely(theirs, prompt, 40)
    pieces = [model.detokenize([token]) for token in top[:4]]
    known = [piece for piece in (*pieces, ".", ", ", " the", "en") if piece and "\ufffd" not in piece]
    return draw(rng, kind, prompt, top, model.info.vocab_size, list(dict.fromkeys(known)), most=10)


def test_stop_strings_across_tokens(smollm2: Any, smollm2_transformers: Any, tokenizer: Any) -> None:
    """Strings that begin in one token and end inside another, or lie inside one; the text is kept whole."""
    prompt = smollm2.tokenize("1, 2, 3, 4,").ids
    plain = smollm2.generate(prompt, max_new_tokens=12, eos_token_id=None)
    cuts = [plain.text[i : i + n] for i in range(0, len(plain.text) - 4, 3) for n in (1, 3, 4)]
    twins = (smollm2, smollm2_transformers)
    for stop in cuts[:: 1 if FULL else 5]:
        keywords = {
            "max_new_tokens": 12,
            "do_sample": False,
            "eos_token_id": None,
            "stop_strings": [stop, "@@"],
        }
        case = Case("greedy", prompt, keywords)
        assert compare(smollm2, smollm2_transformers, case, tokenizer, twins) == "same"
        got = smollm2.generate(prompt, **keywords)
        assert got.finish_reason == "stop_string" and stop in got.text
        assert stop not in "".join(step.text for step in got.steps[:-1])
