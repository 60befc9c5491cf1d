"""The lessons' cells for GPT-2 say what teaching notebooks print, and say all of it.

The weights cannot be had everywhere, so the cells run against a stand-in for tokenglass that answers with the
printed values. With any one of these changed, some cell must fail: so no value is missing or mistyped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tokenglass as tg
from tests import lessons
from tests.lessons import SOURCES
from tests.parity.test_notebooks import GREEDY, IDS, SPACED, TABLES, UDACITY, WEEKEND

LINE = "I skip across the"
DISTANCE = {"distilgpt2": 2e-5, "gpt2": 2e-5, LINE: 5.2e-4}  # by model; the last was printed in per cent
Facts = Mapping[tuple[str, ...], Any]

PRINTED: Facts = {
    **{("ids", "gpt2", text): tuple(ids) for text, ids in IDS.items()},
    ("ids", "distilgpt2", UDACITY): tuple(IDS[UDACITY]),
    ("length", "distilgpt2", WEEKEND): 5,
    **{("vocabulary", name): 50_257 for name in ("gpt2", "distilgpt2")},
    **{("width", name): 50_257 for name in ("gpt2", "distilgpt2")},
    ("parameters", "distilgpt2"): 81_912_576,
    ("greedy", "gpt2", LINE): GREEDY,
    **{("p", name, prompt, token): p for name, prompt, rows, _ in TABLES for _, token, p in rows},
    **{("id", name, prompt, token): i for name, prompt, rows, _ in TABLES for i, token, _ in rows if i},
    **{("p", "distilgpt2", WEEKEND, token): p for _, token, p in SPACED},
    ("id", "distilgpt2", WEEKEND, " go"): 467,
}


@dataclass(frozen=True)
class Told:
    """The stand-in's tokens of a text, or its table."""

    ids: list[int]
    rows: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def lookup(self, text: str) -> Any:
        return next(row for row in self.rows if row.token.bytes == text.encode())


@dataclass(frozen=True)
class GPT2:
    """The stand-in for one model, or its tokenizer: it knows what was printed and nothing else."""

    facts: Facts
    name: str
    add_prefix_space: bool = False

    def __len__(self) -> int:
        return int(self.facts["vocabulary", self.name])

    @property
    def tokenizer(self) -> GPT2:
        return self

    @property
    def info(self) -> Any:
        return SimpleNamespace(parameters=self.facts["parameters", self.name], vocab_size=len(self))

    def encode(self, text: str) -> Told:
        if text == WEEKEND:
            assert self.add_prefix_space, "the notebook puts a space in front"
            return Told([0] * self.facts["length", self.name, WEEKEND])
        return Told(list(self.facts.get(("ids", self.name, text), IDS[text])))

    tokenize = encode

    def decode(self, ids: list[int]) -> str:
        return next(text for text in IDS if self.encode(text).ids == ids)

    def logits(self, text: str) -> Any:
        return SimpleNamespace(shape=(len(self.encode(text)), self.facts["width", self.name]))

    def next_tokens(self, text: str, n: int = 10) -> Told:
        assert self.add_prefix_space == (text == WEEKEND)
        rows = [
            SimpleNamespace(
                id=self.facts.get(("id", self.name, text, token), -1),
                p=p,
                token=SimpleNamespace(bytes=token.encode()),
            )
            for (kind, *where, token), p in self.facts.items()
            if kind == "p" and where == [self.name, text]
        ]
        assert len(rows) == n
        return Told([], tuple(rows))

    def generate(self, text: str, *, max_new_tokens: int) -> Any:
        assert max_new_tokens == 20
        return SimpleNamespace(text=self.facts["greedy", self.name, text])


def stand_in(facts: Facts) -> Any:
    """As much of tokenglass as the cells use."""

    def load(name: str, add_prefix_space: bool = False) -> GPT2:
        return GPT2(facts, name, add_prefix_space)

    return SimpleNamespace(load=load, load_tokenizer=load)


def cell(path: Path) -> str:
    """A lesson's cell for GPT-2: the only one that asks for TOKENGLASS_GPT2."""
    codes = [text for kind, text in lessons.cells(path.read_text("utf-8")) if kind == "code"]
    (found,) = [text for text in codes if "TOKENGLASS_GPT2" in text]
    return found


def failing(facts: Facts) -> list[str]:
    """The lessons whose cell does not hold with these facts."""
    found = []
    for path in SOURCES:
        try:
            exec(compile(cell(path), path.name, "exec"), {"tg": stand_in(facts)})
        except (AssertionError, StopIteration):
            found.append(path.stem)
    return found


def changed(key: tuple[str, ...]) -> Any:
    """Another value in the place of a printed one, as near to it as the cells tell apart."""
    value = PRINTED[key]
    if isinstance(value, tuple):
        return (*value[:-1], value[-1] + 1)
    if isinstance(value, float):
        return value + 1.1 * distance(key)
    return f"{value}x" if isinstance(value, str) else value + 1


def distance(key: tuple[str, ...]) -> float:
    """How far from the printed value a machine may be."""
    return DISTANCE.get(key[2], DISTANCE[key[1]])


@pytest.fixture(autouse=True)
def asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENGLASS_GPT2", "1")


def test_the_printed_values_pass() -> None:
    assert failing(PRINTED) == []


@pytest.mark.parametrize("key", PRINTED, ids=" ".join)
def test_one_changed_value_fails(key: tuple[str, ...]) -> None:
    assert failing({**PRINTED, key: changed(key)})


@pytest.mark.parametrize("key", [key for key in PRINTED if key[0] == "p"], ids=" ".join)
def test_no_probability_is_mistyped(key: tuple[str, ...]) -> None:
    """Both ends of what a machine may say hold only around the very value that was printed."""
    for sign in (-1, 1):
        assert failing({**PRINTED, key: PRINTED[key] + sign * 0.98 * distance(key)}) == []


def test_lesson_1_on_the_real_vocabulary(gpt2_files: Path) -> None:
    def load_tokenizer(name: str, **options: Any) -> Any:
        return tg.load_tokenizer(gpt2_files, **options)

    exec(
        compile(cell(SOURCES[0]), "lesson 1", "exec"), {"tg": SimpleNamespace(load_tokenizer=load_tokenizer)}
    )


@pytest.mark.parametrize(
    "keywords",
    [
        "num_beams=5",
        "repetition_penalty=1.2",
        "repetition_penalty=1.5",
        "no_repeat_ngram_size=2",
        "bad_words_ids=",
        "do_sample=True, num_beams=5, repetition_penalty=1.2, top_k=10, max_length=40",
        "for seed in (70,",
        "temperature=0.4, top_k=0",
        "top_k=10",
        "top_p=0.94, top_k=0",
        "penalty_alpha=0.6, top_k=4",
        "max_new_tokens=100",
        "max_length=100",
        "max_new_tokens=20",
    ],
)
def test_every_strategy_of_the_notebooks_is_in_a_lesson(keywords: str) -> None:
    codes = [
        text for path in SOURCES for kind, text in lessons.cells(path.read_text("utf-8")) if kind == "code"
    ]
    assert keywords in re.sub(r'"(\w+)": ', r"\1=", "\n".join(codes))


def test_the_warning_about_padding_is_explained() -> None:
    assert "Setting pad_token_id to eos_token_id" in SOURCES[2].read_text("utf-8")
