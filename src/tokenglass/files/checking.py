"""Do a model's files fit each other? The checks before loading, and those of `tokenglass models check`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenglass.errors import ModelDamaged, ModelUnsupported, TokenglassError
from tokenglass.files import cache, gguf, memory, safetensors
from tokenglass.files.config import check_config, read_bounded, read_json, refuse_code
from tokenglass.files.embedded import Pin
from tokenglass.files.layout import ModelFiles
from tokenglass.files.tensors import TensorInfo, damaged, shown

MAX_TOKENIZER = 64 << 20  # the largest published have 35 MB

# What families call the matrix with one row for each token.
EMBEDDINGS = (
    "model.embed_tokens.weight",
    "embed_tokens.weight",
    "transformer.wte.weight",
    "wte.weight",
    "gpt_neox.embed_in.weight",
    "embed_in.weight",
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A model whose files are whole and agree.

    Attributes:
        name: as the user named it.
        path: the file or folder.
        n_bytes: size of the weights.
        n_tensors: how many there are.
        vocab_size: rows of the embedding.
        n_tokens: entries of the tokenizer; fewer than the rows where rows are padding.
        sha256: digest of the weights, computed now.
        pinned: the digest is the one this version expects of an embedded model.
    """

    name: str
    path: Path
    n_bytes: int
    n_tensors: int
    vocab_size: int
    n_tokens: int
    sha256: str
    pinned: bool


def check_files(files: ModelFiles, pin: Pin | None = None) -> Checked:
    """Read every byte of a model's weights and every header.

    Raises:
        ModelDamaged: anything is wrong; says what and where.
        ModelUnsupported: its config asks to run code.
    """
    for path in files.weights:
        cache.remember_digest(path, cache.sha256(path))
    digest = files.sha256()
    if pin and digest != pin.sha256:
        raise damaged(files.path, f"its SHA-256 is {digest[:12]}..., not {pin.sha256[:12]}...")
    n_tensors, rows, tokens = _gguf_counts(files.path) if files.gguf else _folder_counts(files)
    return Checked(files.name, files.path, files.n_bytes, n_tensors, rows, tokens, digest, pin is not None)


def checked_gguf(
    files: ModelFiles, precision: memory.Precision = "exact", width: int | None = 0
) -> gguf.GgufHeader:
    """The header of a GGUF model that is about to be loaded: sound, sensible, and small enough.

    Raises:
        ModelDamaged: the header is wrong.
        ModelUnsupported: no weights in it, one of several parts, or larger than the free memory.
    """
    header = gguf.read_header(files.path)
    gguf.check_model(header)
    memory.refuse_too_large(files, precision, width=width)
    return header


def checked_folder(files: ModelFiles, width: int | None = 0) -> tuple[safetensors.SafetensorsHeader, ...]:
    """The headers of a folder that is about to be loaded: sound, as the index says, and small enough.

    Raises:
        ModelDamaged: config.json, the index or a header is wrong.
        ModelUnsupported: its config asks to run code, or it is larger than the free memory.
    """
    path = files.path / "config.json"
    config = read_json(path)
    refuse_code(config, path)
    check_config(config, path)
    headers = safetensors.read_folder(files.path)
    memory.refuse_too_large(files, width=width)
    return headers


def licence_of(files: ModelFiles) -> str:
    """The licence that the model's own file or README states, or ""; untrusted text, made safe to show."""
    try:
        if files.gguf:
            found = gguf.read_header(files.gguf).metadata.get("general.license", "")
        else:
            found = _front_matter(read_bounded(files.path / "README.md", 1 << 20))
    except TokenglassError:
        return ""
    return shown(found, 40)[1:-1] if isinstance(found, str) else ""


def _front_matter(readme: bytes) -> str:
    head = readme.decode("utf-8", "replace").split("\n---", 1)[0]
    lines = [line for line in head.splitlines() if line.startswith("license:")]
    return lines[0].partition(":")[2].strip() if head.startswith("---") and lines else ""


def _gguf_counts(path: Path) -> tuple[int, int, int]:
    header = gguf.read_header(path)
    gguf.check_model(header)
    tokens = len(header.metadata["tokenizer.ggml.tokens"])
    return len(header.tensors), header.tensors["token_embd.weight"].shape[0], tokens


def _folder_counts(files: ModelFiles) -> tuple[int, int, int]:
    headers = checked_folder(files)
    path = files.path / "config.json"
    config = read_json(path)
    tensors = {name: tensor for header in headers for name, tensor in header.tensors.items()}
    rows = _embedding_rows(tensors, config, path)
    tokens = _n_tokens(files, rows)
    if tokens > rows:
        raise damaged(files.path, f"its tokenizer has {tokens:,} tokens for {rows:,} rows of the embedding")
    return len(tensors), rows, tokens


def _embedding_rows(tensors: Mapping[str, TensorInfo], config: Mapping[str, Any], path: Path) -> int:
    found = next((tensors[name] for name in EMBEDDINGS if name in tensors), None)
    if found is None:
        raise ModelUnsupported(
            f"{shown(path.parent.name)} has no embedding under a known name; check the family"
        )
    if len(found.shape) != 2 or found.shape[0] != config.get("vocab_size"):
        shape = shown(str(list(found.shape)))
        raise damaged(path, f"vocab_size is {config.get('vocab_size')} but {found.name} is {shape}")
    return found.shape[0]


def _n_tokens(files: ModelFiles, rows: int) -> int:
    """The highest id of the tokenizer plus one; `rows` where there is none to compare."""
    if files.tokenizer is None:
        return rows
    from tokenizers import Tokenizer

    data = read_bounded(files.tokenizer, MAX_TOKENIZER)
    try:
        vocabulary = Tokenizer.from_buffer(data).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library's one type for everything that is wrong
        raise ModelDamaged(
            f"tokenizer.json is not readable ({shown(str(error))}); get the file again"
        ) from error
    return max(vocabulary.values(), default=-1) + 1
