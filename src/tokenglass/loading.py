"""From a name, a path or an address to a running model."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tokenglass import tokenizer as tokenizers
from tokenglass.engines.base import Engine
from tokenglass.errors import ModelDamaged, ModelUnsupported

if TYPE_CHECKING:
    from tokenglass.files.layout import ModelFiles
    from tokenglass.model import Model
    from tokenglass.tokenizer import Tokenizer
    from tokenglass.types import EngineInfo

EngineName = Literal["onnx", "hf", "server"]
Precision = Literal["exact", "fast"]
Dtype = Literal["float32", "bfloat16", "float16", "auto"]
ENGINES = ("onnx", "hf", "server")
DTYPES = ("float32", "bfloat16", "float16", "auto")


def load(
    source: str | Path = "smollm2",
    *,
    engine: EngineName | None = None,
    precision: Precision = "exact",
    revision: str | None = None,
    threads: int | None = None,
    add_prefix_space: bool | None = None,
    tokenizer: str | Path | Tokenizer | None = None,
    dtype: Dtype | None = None,
    device: str | None = None,
) -> Model:
    """A model, ready to run; fetched once where it is not on this disk yet.

    Args:
        source: "smollm2" (the embedded default), a Hugging Face id such as "gpt2", a folder with config.json,
            safetensors and a tokenizer, a .gguf file, or the address of a model server such as
            "http://127.0.0.1:8000/v1#model".
        engine: "onnx", the native engine; "hf", any causal model of transformers; "server", a model behind a
            server: for a .gguf file, llama.cpp's is started, and ends with the model. None takes "server" for
            an address, the native engine for files, and "hf" for models that it does not know, where that
            extra is installed.
        precision: "exact" computes with float32 activations; "fast" rounds them to int8 inside matrices that
            are stored in blocks, and is refused for models that have none.
        revision: branch, tag or commit of a Hugging Face id.
        threads: of the computation; None takes every core this process may use.
        add_prefix_space: put a space before the text, as some tokenizers do; None takes the model's own.
        tokenizer: of the model behind an address, as for `load_tokenizer`; None takes the server's own, which
            llama.cpp's server alone says enough of.
        dtype: of weights and activations under "hf": "float32" (the default), "bfloat16", "float16", or
            "auto", the one the weights are stored in.
        device: of "hf": "cpu", "cuda", "cuda:1", "mps"; None takes CUDA where there is one. Naming a dtype or
            a device asks for "hf".

    Raises:
        ModelNotFound: no such model here, and it could not be fetched.
        ModelUnsupported: the engine would not compute it faithfully.
        MissingDependency: an engine without its packages.
        RemoteError: a server cannot be reached, or failed.
    """
    if engine is None and (dtype is not None or device is not None) and not is_address(source):
        engine = "hf"
    _check_arguments(source, engine, precision, threads, dtype, device)
    if engine == "server" or is_address(source):
        given = {"precision": None if precision == "exact" else precision, "dtype": dtype, "device": device}
        return _load_server(source, engine, given, revision, threads, add_prefix_space, tokenizer)
    if tokenizer is not None:
        raise ValueError("tokenizer goes with the address of a server; other models bring their own")
    from tokenglass.models import resolve

    files = resolve(str(source), revision=revision)
    if engine == "hf":
        return _load_hf(files, threads, add_prefix_space, dtype or "float32", device)
    load_files = _load_gguf if files.gguf else _load_folder
    try:
        return load_files(files, precision, threads, add_prefix_space)
    except ModelUnsupported as error:
        settled = engine == "onnx" or precision == "fast" or files.gguf or isinstance(error, ModelDamaged)
        if settled or not _hf_installed():
            raise
    return _load_hf(files, threads, add_prefix_space, "float32", None)


def _check_arguments(
    source: object,
    engine: str | None,
    precision: str,
    threads: object,
    dtype: str | None,
    device: object,
) -> None:
    if engine not in (None, *ENGINES):
        raise ValueError(f"engine must be 'onnx', 'hf' or 'server', got {engine!r}")
    if precision not in ("exact", "fast"):
        raise ValueError(f"precision must be 'exact' or 'fast', got {precision!r}")
    if engine == "hf" and precision == "fast":
        raise ValueError(
            "precision='fast' belongs to the native engine; with engine='hf' use dtype='bfloat16'"
        )
    if engine == "onnx" and (dtype is not None or device is not None):
        raise ValueError("dtype and device belong to engine='hf'; leave them out, or take that engine")
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype must be 'float32', 'bfloat16', 'float16' or 'auto', got {dtype!r}")
    if device is not None and not isinstance(device, str):
        raise TypeError(f"device must be a name such as 'cpu' or 'cuda:0', got {device!r}")
    if threads is not None and (not isinstance(threads, int) or not 1 <= threads <= 1024):
        raise ValueError(f"threads must be a whole number in [1, 1024], got {threads!r}")
    if not isinstance(source, str | Path):
        raise TypeError(f"source must be a name or a path, got {source!r}")


def is_address(source: str | Path) -> bool:
    """Whether a source is the address of a server rather than a name or a path."""
    return str(source).lower().startswith(("http://", "https://"))


def _load_server(
    source: str | Path,
    engine: EngineName | None,
    settled: Mapping[str, Any],
    revision: str | None,
    threads: int | None,
    add_prefix_space: bool | None,
    tokenizer: str | Path | Tokenizer | None,
) -> Model:
    """A model behind a server that is there, or behind one that is started for a file."""
    from tokenglass import connecting

    remote = is_address(source)
    if engine not in (None, "server"):
        raise ValueError(f"an address goes with engine='server', not {engine!r}; leave engine out")
    settled = settled if not remote else {**settled, "revision": revision, "threads": threads}
    if given := [name for name, value in settled.items() if value is not None]:
        raise ValueError(f"{', '.join(given)}: settled by the server; leave out")
    if not remote and (tokenizer is not None or add_prefix_space is not None):
        raise ValueError("a .gguf file brings its own tokenizer; leave tokenizer and add_prefix_space out")
    if not remote:
        from tokenglass.models import resolve

        return connecting.serve(resolve(str(source), revision=revision), threads)
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer, add_prefix_space=add_prefix_space)
    elif add_prefix_space is not None:
        raise ValueError("add_prefix_space goes with a tokenizer that is named")
    return connecting.connect(str(source), tokenizer)


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


def as_recorded(info: EngineInfo) -> dict[str, Any]:
    """Keywords of `load` under which a model runs as in a record: its engine, and its precision or dtype."""
    if info.engine == "hf":
        return {"engine": "hf", "dtype": info.precision if info.precision in DTYPES else "float32"}
    return {"precision": "fast" if info.precision == "fast" else "exact"}


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


def _hf_installed() -> bool:
    from tokenglass.engines import hf

    return hf.installed()


def _load_hf(
    files: ModelFiles, threads: int | None, add_prefix_space: bool | None, dtype: str, device: str | None
) -> Model:
    from tokenglass.engines import hf
    from tokenglass.files.checking import checked_folder, checked_gguf
    from tokenglass.files.config import read_json

    hf.require()
    widths = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": None}
    if files.gguf:
        header = checked_gguf(files, width=widths[dtype] or 4)
        tokenizer = tokenizers.from_gguf(files.path, add_prefix_space, header=header)
        from tokenglass.engines.hf import opening

        return _joined(opening.open_gguf(files, header, dtype, device, threads), tokenizer)
    checked_folder(files, width=widths[dtype])
    tokenizer = tokenizers.load_tokenizer(files.path, add_prefix_space=add_prefix_space)
    from tokenglass.engines.hf import opening

    engine = opening.open_folder(files, dtype, device, threads)
    defaults = read_json(files.generation_config) if files.generation_config else None
    return _joined(engine, tokenizer, defaults)


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
