"""Which files make up a model on this disk, and what a folder must hold to be one.

Knows names, not contents: no header is read here, so that a warm start stays short.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tokenglass.errors import ModelNotFound, ModelUnsupported
from tokenglass.files import cache
from tokenglass.files.safetensors import INDEX, SINGLE, shard_names
from tokenglass.files.tensors import shown

Kind = Literal["gguf", "folder"]

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "encoder.json",
    "vocab.bpe",
    "vocab.txt",
    "tokenizer.model",
    "chat_template.json",
)
# Formats that execute code when they are read, or that hold something else than weights we can check.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
OTHERS = (".h5", ".msgpack", ".onnx", ".ot", ".npz", ".tflite", ".safetensors")


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model; nothing in them has been checked yet.

    Attributes:
        name: as the user named the model.
        kind: "gguf" (one file with everything) or "folder" (config.json, safetensors, tokenizer files).
        path: the GGUF file or the folder.
        weights: the GGUF file, or the safetensors files in the order of their names.
        tokenizer_files: those of a folder that exist, of `TOKENIZER_FILES`.
        revision: commit of a model from the hub, else None.
        licence: where it is known without reading anything, else "".
    """

    name: str
    kind: Kind
    path: Path
    weights: tuple[Path, ...]
    tokenizer_files: tuple[Path, ...] = ()
    revision: str | None = None
    licence: str = ""

    @property
    def gguf(self) -> Path | None:
        """The GGUF file, or None for a folder."""
        return self.path if self.kind == "gguf" else None

    @property
    def folder(self) -> Path | None:
        """The folder, or None for a GGUF file."""
        return self.path if self.kind == "folder" else None

    @property
    def config(self) -> Path | None:
        """A folder's config.json."""
        return self._beside("config.json")

    @property
    def generation_config(self) -> Path | None:
        """A folder's generation_config.json, where there is one."""
        return self._beside("generation_config.json")

    @property
    def tokenizer(self) -> Path | None:
        """A folder's tokenizer.json, where there is one."""
        return self._beside("tokenizer.json")

    @property
    def tokenizer_config(self) -> Path | None:
        """A folder's tokenizer_config.json, where there is one."""
        return self._beside("tokenizer_config.json")

    @property
    def n_bytes(self) -> int:
        """Size of the weights on disk."""
        return sum(path.stat().st_size for path in self.weights)

    def sha256(self) -> str:
        """Digest of the weights: the file's own, or of the lines "digest  name" of several.

        Remembered by size, time and inode, so that a warm start does not read the weights.
        """
        if len(self.weights) == 1:
            return cache.digest_of(self.weights[0])
        import hashlib

        lines = "".join(f"{cache.digest_of(path)}  {path.name}\n" for path in self.weights)
        return hashlib.sha256(lines.encode()).hexdigest()

    def _beside(self, name: str) -> Path | None:
        file = self.path / name
        return file if self.kind == "folder" and file.is_file() else None


def from_gguf(path: Path, name: str, *, revision: str | None = None, licence: str = "") -> ModelFiles:
    """A model that is one GGUF file."""
    return ModelFiles(name, "gguf", path, (path,), revision=revision, licence=licence)


def from_folder(folder: Path, name: str, *, revision: str | None = None) -> ModelFiles:
    """A model in a folder: config.json with safetensors, or one GGUF file.

    Raises:
        ModelNotFound: something is missing; says what.
        ModelUnsupported: only pickles, or several GGUF files of which none was chosen.
        ModelDamaged: the index of a sharded model is wrong.
    """
    if not (folder / SINGLE).is_file() and not (folder / INDEX).is_file():
        return _only_gguf(folder, name, revision)
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"{shown(name)} has weights but no config.json; give the model's whole folder")
    weights = (folder / SINGLE,) if (folder / SINGLE).is_file() else _shards(folder, name)
    tokenizer_files = tuple(folder / file for file in TOKENIZER_FILES if (folder / file).is_file())
    return ModelFiles(name, "folder", folder, weights, tokenizer_files, revision)


def refuse_suffix(path: Path) -> None:
    """Refuse a file by its name alone, before anything opens it.

    Raises:
        ModelUnsupported: a pickle, or another format than GGUF.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise ModelUnsupported(
            f"{shown(path.name)} is a pickle, which can run any code when it is read, and is never opened; "
            "get the model as safetensors or GGUF"
        )
    if suffix == ".safetensors":
        raise ModelUnsupported(
            f"{shown(path.name)} holds weights alone; give the folder with its config.json and tokenizer.json"
        )
    if suffix in OTHERS:
        raise ModelUnsupported(f"{shown(path.name)} is no format tokenglass reads; give safetensors or GGUF")


def _shards(folder: Path, name: str) -> tuple[Path, ...]:
    paths = tuple(folder / shard for shard in sorted(set(shard_names(folder / INDEX).values())))
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ModelNotFound(
            f"{shown(name)} lacks {missing[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + f", which its index lists; fetch it again with `tokenglass models pull {name}`"
        )
    return paths


def _only_gguf(folder: Path, name: str, revision: str | None) -> ModelFiles:
    names = sorted(path.name for path in folder.iterdir())
    ggufs = [file for file in names if file.lower().endswith(".gguf")]
    if len(ggufs) == 1:
        return from_gguf(folder / ggufs[0], name, revision=revision)
    choose_gguf(ggufs, name)
    refuse_pickles(names, name)
    raise ModelNotFound(
        f"{shown(name)} holds no model: neither {SINGLE} with config.json nor a .gguf file; check the folder"
    )


def choose_gguf(ggufs: list[str], name: str) -> None:
    """Refuse to guess which of several GGUF files is meant.

    Raises:
        ModelUnsupported: names some of them.
    """
    if len(ggufs) > 1:
        some = ", ".join(shown(file) for file in ggufs[:4]) + (", ..." if len(ggufs) > 4 else "")
        raise ModelUnsupported(f"{shown(name)} holds {len(ggufs)} GGUF files ({some}); name one of them")


def refuse_pickles(names: list[str], name: str) -> None:
    """Say why a model that has pickles only is not read.

    Raises:
        ModelUnsupported: names the pickle.
    """
    for file in names:
        if Path(file).suffix.lower() in PICKLES:
            raise ModelUnsupported(
                f"{shown(name)} has its weights only as {shown(file)}, a pickle, which can run any code when "
                "it is read; choose a model with safetensors or GGUF"
            )
