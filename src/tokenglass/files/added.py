"""Models that a person brings as a file: checked, then copied whole into the cache under their own name."""

from __future__ import annotations

import re
from pathlib import Path

from tokenglass.errors import ModelDamaged, ModelNotFound, ModelUnsupported
from tokenglass.files import cache, embedded
from tokenglass.files.gguf import check_model, read_header
from tokenglass.files.layout import refuse_suffix
from tokenglass.files.tensors import open_model, shown

_STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,150}")
MAX_MEMBERS = 10_000


def add(path: Path) -> tuple[str, Path]:
    """Copy a .gguf file, or the one inside a wheel, into the cache; returns the model's name and place.

    The wheel of an embedded model must have the pinned checksum. Any other GGUF must pass the header checks.

    Raises:
        ModelNotFound: no such file, or the cache cannot be written.
        ModelDamaged: the file is broken, or not the one its name promises.
        ModelUnsupported: another kind of file, or its name is taken.
    """
    folder = cache.models_folder()
    if path.suffix.lower() == ".whl":
        member, n_bytes = _member(path)
        name = member.rpartition("/")[2]
    else:
        refuse_suffix(path)
        if path.suffix.lower() != ".gguf":
            raise ModelUnsupported(
                f"{shown(path.name)} cannot be added; give a .gguf file or a wheel that holds one"
            )
        member, name = "", path.name
        with open_model(path) as (_, n_bytes):
            pass
    stem = _stem(name)
    with cache.workshop(folder) as temporary:
        cache.check_space(folder, n_bytes)
        copy = temporary / f"{stem}.gguf"
        digest = embedded.unpack(path, member, copy, n_bytes) if member else _copy(path, copy, n_bytes)
        return _keep(copy, digest, folder)


def _keep(copy: Path, digest: str, folder: Path) -> tuple[str, Path]:
    final = folder / copy.name
    for alias, pin in embedded.PINS.items():
        if copy.name == pin.file:
            if digest != pin.sha256:
                raise ModelDamaged(
                    f"{copy.name} is not the file that {alias} stands for; get it again or rename it"
                )
            break
    else:
        alias = copy.stem
        check_model(read_header(copy))
        if final.exists() and cache.digest_of(final) != digest:
            raise ModelUnsupported(
                f"another model is already called {shown(alias)}; rename the file and add it again"
            )
    cache.place(copy, final)
    cache.remember_digest(final, digest)
    return alias, final


def _copy(path: Path, copy: Path, n_bytes: int) -> str:
    with open_model(path) as (source, _):
        try:
            return cache.copy_hashed(source, copy, n_bytes)[1]
        except ValueError:
            raise ModelDamaged(f"{shown(path.name)} grew while it was copied; try again") from None


def _stem(name: str) -> str:
    stem = name[: -len(".gguf")]
    if not _STEM.fullmatch(stem):
        raise ModelUnsupported(f"{shown(name)} makes no good name; use letters, digits, dots and dashes")
    if stem in embedded.PINS:
        raise ModelUnsupported(
            f"the name {stem} stands for the embedded model; rename the file and add it again"
        )
    return stem


def _member(wheel: Path) -> tuple[str, int]:
    """Path and size of the one GGUF inside a wheel."""
    import zipfile

    with open_model(wheel) as (file, _):
        try:
            entries = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
            raise ModelDamaged(f"{shown(wheel.name)} is no wheel ({error}); get the file again") from error
    found = [entry for entry in entries[:MAX_MEMBERS] if entry.filename.endswith(".gguf")]
    if len(found) != 1:
        raise ModelNotFound(
            f"{shown(wheel.name)} holds {len(found)} .gguf files; give a wheel with exactly one"
        )
    return found[0].filename, found[0].file_size
