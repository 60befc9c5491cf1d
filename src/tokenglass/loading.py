"""From a name, a path or an address to a running model."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tokenglass import tokenizer as tokenizers
from tokenglass.engines.base import Engine
from tokenglass.errors import ModelDamaged, Unsupported

if TYPE_CHECKING:
    from tokenglass.files.layout import ModelFiles
    from tokenglass.model import Model
    from tokenglass.tokenizer import Tokenizer

EngineName = Literal["onnx", "hf", "server"]
Precision = Literal["exact", "fast"]


def load(
    source: str | Path = "smollm2",
    *,
    engine: EngineName | None = None,
    precision: Precision = "exact",
    revision: str | None = None,
    threads: int | None = None,
    add_prefix_space: bool | None = None,
) -> Model:
    """A model, ready to run; fetched once where it is not on this disk yet.

    Args:
        source: "smollm2" (the embedded default), a Hugging Face id such as "gpt2", a folder with config.json,
            safetensors and a tokenizer, or a .gguf file.
        engine: None picks "onnx", the native engine.
        precision: "exact" computes with float32 activations; "fast" rounds them to int8 inside matrices that
            are stored in blocks, and is refused for models that have none.
        revision: branch, tag or commit of a Hugging Face id.
        threads: of the computation; None takes every core this process may use.
        add_prefix_space: put a space before the text, as some tokenizers do; None takes the model's own.

    Raises:
        ModelNotFound: no such model here, and it could not be fetched.
        ModelUnsupported: the native engine would not compute it faithfully.
        Unsupported: an engine that this version does not have.
    """
    if engine not in (None, "onnx"):
        if engine not in ("hf", "server"):
            raise ValueError(f"engine must be 'onnx', 'hf' or 'server', got {engine!r}")
        raise Unsupported(f"engine={engine!r}", "this version has the native engine only; leave it out")
    if precision not in ("exact", "fast"):
        raise ValueError(f"precision must be 'exact' or 'fast', got {precision!r}")
    if threads is not None and (not isinstance(threads, int) or not 1 <= threads <= 1024):
        raise ValueError(f"threads must be a whole number in [1, 1024], got {threads!r}")
    if not isinstance(source, str | Path):
        raise TypeError(f"source must be a name or a path, got {source!r}")
    from tokenglass.models import resolve

    files = resolve(str(source), revision=revision)
    load_files = _load_gguf if files.gguf else _load_folder
    return load_files(files, precision, threads, add_prefix_space)


def load_tokenizer(
    source: str | Path = "smollm2", *, add_prefix_space: bool | None = None, revision: str | None = None
) -> Tokenizer:
    """A tokenizer alone, without the weights beside it.

    Args:
        source: as for `load`; also a tokenizer.json, a vocabulary-only .gguf, or a folder with vocab.json and
            merges.txt or with encoder.json and vocab.bpe.
        add_prefix_space: put a space before the text; None takes the tokenizer's own habit.
        revision: branch, tag or commit of a Hugging Face id.

    Raises:
        ModelNotFound: no such tokenizer here, and it could not be fetched.
        ModelUnsupported: a kind of tokenizer that would not be reproduced faithfully.
    """
    from tokenglass.models import tokenizer_source

    local = tokenizer_source(source, revision=revision)
    return tokenizers.load_tokenizer(local, add_prefix_space=add_prefix_space)


def _load_gguf(
    files: ModelFiles, precision: Precision, threads: int | None, add_prefix_space: bool | None
) -> Model:
    from tokenglass.engines import opening
    from tokenglass.files.checking import checked_gguf

    header = checked_gguf(files, precision)
    opened = opening.open_gguf(files, header, precision)
    with ThreadPoolExecutor(1) as pool:  # sessions are made outside the interpreter's lock
        engine = pool.submit(opening.start, opened, threads)
        tokenizer = tokenizers.from_gguf(files.path, add_prefix_space, header=header)
        import tokenglass.model  # noqa: F401 - the loop and its stages, imported while the sessions are made

        return _joined(engine.result(), tokenizer)


def _load_folder(
    files: ModelFiles, precision: Precision, threads: int | None, add_prefix_space: bool | None
) -> Model:
    from tokenglass.engines import opening
    from tokenglass.files.checking import checked_folder

    headers = checked_folder(files)
    opened = opening.open_folder(files, [(h.path, h.tensors) for h in headers], precision)
    tokenizer = tokenizers.load_tokenizer(files.path, add_prefix_space=add_prefix_space)
    return _joined(opening.start(opened, threads), tokenizer, opened.generation_defaults)


def _joined(engine: Engine, tokenizer: Tokenizer, defaults: Mapping[str, Any] | None = None) -> Model:
    """Engine and tokenizer as a model; rows of the logits that no token has are padding."""
    from tokenglass.model import Model

    rows, tokens = engine.info.vocab_size, len(tokenizer)
    if tokens > rows:
        raise ModelDamaged(
            f"{engine.info.name}: the tokenizer has {tokens:,} tokens but the weights only {rows:,} rows; "
            "get tokenizer and weights from one place"
        )
    return Model(engine, tokenizer if tokens == rows else tokenizer.padded_to(rows), defaults)
