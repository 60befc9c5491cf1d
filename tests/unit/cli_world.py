"""A world for the command line's tests: a real Model over a table engine and a small lossless vocabulary.

`install()` puts it behind `tokenglass.load`; `python -m tests.unit.cli_world ARGS` is the command line in
that world, for tests that need a process of their own. Model names choose what goes wrong.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tokenglass
from tests.unit.view_samples import NASTY, WORDS
from tokenglass import errors
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.tokenizer import Tokenizer
from tokenglass.types import Kind

BYTES = [bytes([b]) for b in range(256)]
ENTRIES = BYTES + sorted({*WORDS, *NASTY} - set(BYTES), key=lambda e: (-len(e), e)) + [b"<|endoftext|>"]
EOS = len(ENTRIES) - 1
CONTEXT = 64
TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}:"


class LongestMatch:
    """Cuts off the longest entry again and again; every byte is an entry, so nothing is lost."""

    kind = "longest match"
    size = len(ENTRIES)
    special_ids = frozenset({EOS})
    lossless = True
    missing_bytes = b""
    prefix_space = False

    def pieces(
        self, text: str, add_special_tokens: bool, parse_special: bool
    ) -> list[tuple[int, tuple[int, int]]]:
        data, position, found = text.encode(), 0, []
        while position < len(data):
            last = EOS if parse_special else EOS - 1
            token = max(
                range(last + 1), key=lambda i: len(ENTRIES[i]) * data.startswith(ENTRIES[i], position)
            )
            found.append((token, (position, position + len(ENTRIES[token]))))
            position += len(ENTRIES[token])
        return found

    def entry(self, token_id: int) -> tuple[bytes, Kind]:
        return ENTRIES[token_id], "control" if token_id == EOS else "normal"

    def named(self, text: str) -> Iterator[int]:
        return (i for i, entry in enumerate(ENTRIES) if entry == text.encode())

    def text(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        kept = [ENTRIES[i] for i in ids if not (skip_special_tokens and i == EOS)]
        return b"".join(kept).decode("utf-8", "replace")


def rule(ids: tuple[int, ...]) -> np.ndarray:
    """A fixed row for each last id; words in the order of `WORDS` follow one another, then the text ends."""
    time.sleep(float(os.environ.get("TOKENGLASS_TEST_STEP_S", "0")))
    row = np.random.default_rng(ids[-1]).normal(0.0, 1.0, len(ENTRIES)).astype(np.float32)
    follows = dict(zip(WORDS, [*WORDS[1:], ENTRIES[EOS]], strict=True))
    row[ENTRIES.index(follows.get(ENTRIES[ids[-1]], WORDS[0]))] = 6.0
    return row


def _nan(ids: tuple[int, ...]) -> np.ndarray:
    return np.full(len(ENTRIES), np.nan, dtype=np.float32)


def _raising(error: Exception) -> object:
    def row(ids: tuple[int, ...]) -> np.ndarray:
        raise error

    return row


RULES = {
    "smollm2": rule,
    "nan": _nan,
    "engine": _raising(errors.EngineError("the engine broke; load the model again")),
    "memory": _raising(MemoryError()),
    "bug": _raising(KeyError("\x1b[2Jsecret")),
}
REFUSALS = {
    "missing": errors.ModelNotFound("missing is not here; fetch it with `tokenglass models pull missing`"),
    "damaged": errors.ModelDamaged("x.gguf: tensor 3 ends behind the file; fetch it again"),
    "optional": errors.MissingDependency("the hf engine", "pip install 'tokenglass[hf]'"),
    "file": FileNotFoundError(2, "No such file or directory", "a\x1b[31m.gguf"),
}


def tokenizer() -> Tokenizer:
    return Tokenizer(LongestMatch(), name="world", roles={"eos": EOS, "bos": EOS}, chat_template=TEMPLATE)


def load(source: str = "smollm2", *, precision: str = "exact", **of_servers: Any) -> Model:
    if source in REFUSALS:
        raise REFUSALS[source]
    engine = TableEngine(RULES[source], len(ENTRIES), context_length=CONTEXT, eos_ids=(EOS,), bos_id=EOS)
    return Model(engine, tokenizer())


def load_tokenizer(source: str = "smollm2") -> Tokenizer:
    if source in REFUSALS:
        raise REFUSALS[source]
    return tokenizer()


def kept(path: str | Path, model: Model | None = None) -> None:
    """A session kept in a file: three tokens drawn, two taken back, one put there by hand and named."""
    session = (model or load()).session("Once upon a", do_sample=True, temperature=2.0, seed=3)
    session.save(path)
    session.step(3)
    session.undo(2)
    session.step(token=" time")
    session.name("by hand")
    session.note("not drawn")
    session.close()


def install() -> None:
    """Put this world behind the names that the command line uses."""
    from tokenglass import models

    tokenglass.load = load
    tokenglass.load_tokenizer = load_tokenizer
    models.path = lambda name: _path(name)


def _path(name: str) -> Path:
    if name in REFUSALS:
        raise REFUSALS[name]
    return Path("/models") / name


if __name__ == "__main__":
    from tokenglass.cli import main

    install()
    sys.argv[0] = "tokenglass"
    main()
