"""From checked files to a running transformers model.

The configuration that transformers gets is the one that was checked here, not read a second time; weights
come from safetensors or GGUF only, and every tensor must find its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from tokenglass.engines.hf.engine import DEFAULT_CACHE_BYTES, HfEngine
from tokenglass.engines.hf.linear import quicken
from tokenglass.errors import ModelDamaged, ModelUnsupported, TokenglassError
from tokenglass.files.config import read_json, refuse_code, special_ids
from tokenglass.files.gguf import GgufHeader
from tokenglass.files.layout import ModelFiles
from tokenglass.files.safetensors import read_folder
from tokenglass.files.tensors import shown
from tokenglass.types import EngineInfo

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Which kernel computes attention may be named as a repository of the hub, whose code would then be run.
IMPLEMENTATIONS = (
    "attn_implementation",
    "_attn_implementation",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
)
ATTENTION = ("sdpa", "eager")  # the first that the model has
LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length")
NO_LIMIT = 1 << 20  # of models that know no positions, such as recurrent ones: as far as memory reaches


def open_folder(
    files: ModelFiles,
    dtype: str = "float32",
    device: str | None = None,
    threads: int | None = None,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> HfEngine:
    """An engine over a folder of safetensors whose headers have been checked.

    Args:
        files: where they are.
        dtype: "float32", "bfloat16", "float16", or "auto", the one the weights are stored in.
        device: "cpu", "cuda", "cuda:1", "mps"; None takes CUDA where there is one.
        threads: of torch, in this process; None leaves them as they are.
        cache_bytes: see `HfEngine`.

    Raises:
        ModelUnsupported: not a causal model of this transformers, or its weights do not fit it.
        ModelDamaged: the configuration contradicts itself.
        ValueError: no such dtype or device.
    """
    assert files.config is not None
    config = read_json(files.config)
    refuse_code(config, files.config)
    defaults = read_json(files.generation_config) if files.generation_config else {}
    if (files.path / "adapter_config.json").exists():
        raise ModelUnsupported(
            f"{shown(files.name)} holds an adapter (adapter_config.json), whose base model is elsewhere; "
            "merge them with peft's merge_and_unload and save the result"
        )
    ours = _config(config, files.name)
    place, kind = _device(device), _dtype(dtype, ours)
    options: dict[str, Any] = {"config": ours, "use_safetensors": True, "output_loading_info": True}
    model, report = _loaded(files, str(files.path), kind, options)
    _refuse_misfits(report, files.name)
    eos = defaults.get("eos_token_id", config.get("eos_token_id"))
    bos = defaults.get("bos_token_id", config.get("bos_token_id"))
    counts = Counter(info.dtype for header in read_folder(files.path) for info in header.tensors.values())
    return _started(files, model, place, threads, cache_bytes, eos, bos, _summary(counts))


def open_gguf(
    files: ModelFiles,
    header: GgufHeader,
    dtype: str = "float32",
    device: str | None = None,
    threads: int | None = None,
    cache_bytes: int = DEFAULT_CACHE_BYTES,
) -> HfEngine:
    """An engine over a GGUF file whose header has been checked; its blocks are widened to `dtype`.

    Raises:
        ModelUnsupported: an architecture that transformers does not read from GGUF.
        ValueError: as `open_folder`.
    """
    place, kind = _device(device), _dtype("float32" if dtype == "auto" else dtype, None)
    options = {"gguf_file": files.path.name, "output_loading_info": True}
    model, report = _loaded(files, str(files.path.parent), kind, options)
    _refuse_misfits(report, files.name)
    ids = [header.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "bos")]
    eos = [int(i) for i in dict.fromkeys(ids[:2]) if i is not None]
    weights = _summary(Counter(info.dtype for info in header.tensors.values()))
    return _started(files, model, place, threads, cache_bytes, eos, ids[2], weights)


# ------------------------------------------------------------------------------------------- loading


def _config(config: Mapping[str, Any], name: str) -> Any:
    """The configuration as transformers has it, from the fields that were checked."""
    family = config.get("model_type")
    if config.get("is_encoder_decoder"):
        raise ModelUnsupported(f"{shown(name)} is an encoder-decoder; only causal models are run here")
    if config.get("quantization_config"):
        raise ModelUnsupported(
            f"{shown(name)} holds quantised weights, which need kernels of their own; take the unquantised "
            "model, a GGUF of it, or a server (engine='server')"
        )
    kinds = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    if not isinstance(family, str) or family not in kinds:
        raise ModelUnsupported(
            f"{shown(name)}: transformers {transformers.__version__} knows no model_type "
            f"{shown(str(family))}; a later version might"
        )
    fields = {key: _plain(value) for key, value in config.items() if key not in IMPLEMENTATIONS}
    with _mapped(name), _quiet():
        return kinds[family].from_dict(fields)


def _plain(value: Any) -> Any:
    """A field with its infinities, which transformers writes as {"__float__": "Infinity"}."""
    if isinstance(value, dict):
        infinite = value.get("__float__")
        if len(value) == 1 and infinite in ("Infinity", "-Infinity"):
            return float(str(infinite))
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _loaded(files: ModelFiles, folder: str, dtype: torch.dtype, options: Mapping[str, Any]) -> Any:
    """The model, and transformers' report on the weights where that was asked for."""
    common: dict[str, Any] = {"dtype": dtype, "trust_remote_code": False, "local_files_only": True}
    for attention in ATTENTION:
        try:
            with _mapped(files.name), _quiet():
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    folder, **common, **options, attn_implementation=attention
                )
            loaded = model if isinstance(model, tuple) else (model, {})
            if attention == ATTENTION[-1] or loaded[0]._can_set_attn_implementation():
                return loaded  # an older one cannot be asked whether its fused kernel is right, see `trial`
        except ModelUnsupported as error:
            if attention == ATTENTION[-1] or "attention" not in str(error):
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _refuse_misfits(report: Mapping[str, Any], name: str) -> None:
    """Refuse weights that do not fit: what is missing would be random numbers, what is unknown dropped."""
    for kind, error, what in (
        ("missing_keys", ModelDamaged, "no tensor"),
        ("mismatched_keys", ModelDamaged, "a wrong shape for tensor"),
        ("unexpected_keys", ModelUnsupported, "an unknown tensor"),
    ):
        keys = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report.get(kind) or ())
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise error(
                f"{shown(name)} has {what} {shown(keys[0])}{more}, so its numbers would not be the model's; "
                "get the files again, or a later transformers"
            )


def _started(
    files: ModelFiles,
    model: Any,
    device: torch.device,
    threads: int | None,
    cache_bytes: int,
    eos: Any,
    bos: Any,
    weights: str,
) -> HfEngine:
    if threads is not None:
        torch.set_num_threads(threads)
    with _mapped(files.name):
        model = model.to(device)
        quicken(model)
    config = model.config.get_text_config(decoder=True)
    vocab_size = int(config.vocab_size)
    first = special_ids(bos, vocab_size)
    info = EngineInfo(
        name=files.name,
        family=str(model.config.model_type),
        engine="hf",
        precision="exact" if model.dtype == torch.float32 else str(model.dtype).removeprefix("torch."),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        vocab_size=vocab_size,
        context_length=_context_length(config),
        eos_ids=special_ids(eos, vocab_size),
        bos_id=first[0] if first else None,
        layers=int(getattr(config, "num_hidden_layers", 0) or 0),
        hidden_size=int(getattr(config, "hidden_size", 0) or 0),
        tie_word_embeddings=bool(getattr(config, "tie_word_embeddings", False)),
        weights=weights,
        sha256=files.sha256(),
        threads=torch.get_num_threads(),
        source=str(files.path),
    )
    return HfEngine(model, info, cache_bytes)


def _context_length(config: Any) -> int:
    found = (getattr(config, name, None) for name in LENGTHS)
    return next((int(value) for value in found if isinstance(value, int) and value > 0), NO_LIMIT)


def _summary(counts: Counter[str]) -> str:
    return ", ".join(
        f"{n} x {dtype}" for n, dtype in sorted(((n, d) for d, n in counts.items()), reverse=True)
    )


# ------------------------------------------------------------------------------------------- arguments


def _dtype(name: str, config: Any) -> torch.dtype:
    if name == "auto":
        stored = getattr(config, "dtype", None)
        return next((kind for kind in DTYPES.values() if kind == stored), torch.float32)
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)} or auto, got {name!r}")
    return DTYPES[name]


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        there = device.type == "cpu" or torch.empty(1, device=device).numel() == 1
    except (RuntimeError, AssertionError, TypeError) as error:
        line = (str(error).splitlines() or ["unknown"])[0][:120]
        raise ValueError(
            f"device must be cpu, cuda, cuda:N or mps, as this machine has them, got {name!r} ({line})"
        ) from error
    assert there
    return device


@contextmanager
def _mapped(name: str) -> Iterator[None]:
    """The one boundary to what transformers and torch raise while a model is made."""
    try:
        yield
    except (TokenglassError, KeyboardInterrupt, MemoryError):
        raise
    except torch.OutOfMemoryError as error:
        raise ModelUnsupported(
            f"{shown(name)} does not fit the device's memory; try dtype='bfloat16'"
        ) from error
    except Exception as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnsupported(f"transformers cannot load {shown(name)}: {shown(line, 200)}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars and reports: what they would say is checked, and told in one line."""
    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
