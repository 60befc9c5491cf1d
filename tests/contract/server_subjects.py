"""Model servers under the contract suite: a scripted one of each kind, and a real llama.cpp server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contract.scripted_peer import ScriptedPeer
from tests.contract.subjects import Subject
from tests.support import EOS, SIZE, ByteTokenizer
from tokenglass import connecting
from tokenglass.connecting import connect
from tokenglass.errors import MissingDependency

# Activations are rounded to int8 there. Measured on 100 tokens after each of five prompts: among the best 50
# of a position, log-probabilities lie 0.09 to 0.14 apart from those of float32 activations in the mean and
# 0.98 at most, llama.cpp's as far as those of `fast`. Two that round were seen to differ by 1.09, with a KL
# divergence of 0.004 in the mean. A largest of 5,000 values is not steady: a quarter or more comes on top.
ROUNDED = 1.25  # one side's rounding
QUANTISED = 1.5  # both sides'


def rule(ids: tuple[int, ...]) -> np.ndarray:
    """Logits that hang on the last two ids, spread so that a few tokens hold most of the probability."""
    seed = ids[-1] + 7 * (ids[-2] if len(ids) > 1 else 0)
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32) * 3


class NamedTokenizer(ByteTokenizer):
    """Bytes, as a user names a tokenizer; it knows its end of text."""

    eos_id, bos_id = EOS, None

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        return b"".join(self.token(i).bytes for i in ids)


def scripted(kind: str, folder: Path) -> Subject:
    """A scripted server over a rule; it sends float64 texts of float32 numbers, which lose nothing."""
    pytest.importorskip("httpx")
    peer = ScriptedPeer(rule, kind, listed=None if kind == "llama.cpp" else 20)
    tokenizer: Any = None if kind == "llama.cpp" else NamedTokenizer()
    return Subject(
        open=lambda: connect(peer.address, tokenizer).engine,
        reference=lambda ids: np.stack([rule(tuple(ids[: i + 1])) for i in range(len(ids))]),
        tolerance=1e-5,  # log-softmax in float64 there, in float32 here
        context=64,
        close=peer.close,
    )


@contextmanager
def llama_server(path: Path, context: int = 256) -> Iterator[Any]:
    """A llama.cpp server over a file, as a child process."""
    from tokenglass.engines.server import Child

    try:
        child = Child(path, context, threads=2)
    except MissingDependency:
        if os.environ.get("CI"):
            raise
        pytest.skip("xllamacpp is not installed")
    try:
        yield child
    finally:
        child.close()


def llamacpp(folder: Path) -> Subject:
    """A seeded small model in float32 behind a real llama.cpp server; the reference is transformers."""
    from tests.parity import gguf_models
    from tokenglass.engines.server import Transport

    path = folder / "small.gguf"
    theirs = gguf_models.write("LlamaConfig", path, "F32", vocabulary=True)
    running = llama_server(path, context=128)
    child = running.__enter__()
    line = Transport(child.address)
    context = line.ask("/props")["default_generation_settings"]["n_ctx"] - 1  # one place is for the answer
    line.close()
    return Subject(
        open=lambda: connecting._model(Transport(child.address), None).engine,
        reference=_rows(theirs),
        context=context,
        close=lambda: running.__exit__(None, None, None),
    )


def _rows(model: Any) -> Callable[[Sequence[int]], np.ndarray]:
    from tests.parity import families

    rows = cache(lambda ids: families.reference(model, list(ids)))
    return lambda ids: rows(tuple(ids))


SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    "server-scripted-llamacpp": partial(scripted, "llama.cpp"),
    "server-scripted-vllm": partial(scripted, "vllm"),
    "server-scripted-sglang": partial(scripted, "sglang"),
    "server-llamacpp": llamacpp,
}
