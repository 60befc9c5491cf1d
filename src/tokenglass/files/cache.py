"""The user's cache folder: where it is, how files come into it whole or not at all, remembered digests.

Knows nothing about models. Every file arrives under a temporary name in the same folder, is synced, checked
and renamed, under a lock that several processes share and that the system releases when a process dies.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tokenglass.errors import ModelNotFound
from tokenglass.files.tensors import cause, open_model, shown

HOME_VARIABLE = "TOKENGLASS_HOME"
CHUNK = 1 << 20
MAX_DIGESTS = 1 << 20  # bytes of the file that remembers them; larger is not ours
TEMPORARY = ".part-"


def cache_folder() -> Path:
    """The folder for everything that can be fetched again; `TOKENGLASS_HOME` names another one.

    Raises:
        ModelNotFound: this user has no home folder and the variable is not set.
    """
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named).absolute()
    import platformdirs

    try:
        folder = Path(platformdirs.user_cache_dir("tokenglass", appauthor=False))
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():  # without a home folder older versions leave "~" as it is
        raise ModelNotFound(f"this user has no home folder; set {HOME_VARIABLE} to a folder for models")
    return folder


def models_folder() -> Path:
    """Where model files are kept; may not exist yet."""
    return cache_folder() / "models"


def refused(error: OSError, folder: Path) -> ModelNotFound:
    """What to tell a person whose disk did not take a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = f"free some space, or set {HOME_VARIABLE} to a folder on another disk"
    else:
        advice = f"set {HOME_VARIABLE} to a folder that can be written"
    return ModelNotFound(f"nothing can be stored in {shown(str(folder), 200)} ({cause(error)}); {advice}")


@contextmanager
def workshop(folder: Path, waiting: Callable[[], None] | None = None) -> Iterator[Path]:
    """A temporary folder inside `folder`, under the folder's lock; what earlier, killed runs left is removed.

    Args:
        folder: made when missing.
        waiting: called once when another process holds the lock.

    Raises:
        ModelNotFound: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if waiting:
                waiting()
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise refused(error if isinstance(error, OSError) else OSError(str(error)), folder) from error
    try:
        _remove_stale(folder)
        with _temporary(folder) as temporary:
            yield temporary
    finally:
        lock.release()


def sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder, unless somebody is at work there or it may not be changed."""
    if next(folder.glob(f"{TEMPORARY}*"), None) is None:
        return
    from filelock import FileLock, Timeout

    with suppress(OSError, NotImplementedError, Timeout), FileLock(folder / ".lock", timeout=0):
        _remove_stale(folder)


def _remove_stale(folder: Path) -> None:
    import shutil

    for stale in folder.glob(f"{TEMPORARY}*"):
        shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    import shutil
    import tempfile

    try:
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder))
    except OSError as error:
        raise refused(error, folder) from error
    try:
        yield temporary
    except OSError as error:
        raise refused(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_space(folder: Path, n_bytes: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        ModelNotFound: less than `n_bytes` are free.
    """
    import shutil

    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        needs = f"{n_bytes / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        raise refused(OSError(errno.ENOSPC, needs), folder)


def copy_hashed(source: BinaryIO, target: Path, limit: int) -> tuple[int, str]:
    """Copy a stream of at most `limit` bytes into a new, synced file; returns its size and SHA-256.

    Raises:
        ValueError: the stream goes on behind `limit`.
        OSError: the disk is full or not writable.
    """
    import hashlib

    digest, size = hashlib.sha256(), 0
    with open(target, "xb") as file:
        while piece := source.read(CHUNK):
            size += len(piece)
            if size > limit:
                raise ValueError(f"more than {limit:,} bytes")
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def place(temporary: Path, final: Path) -> None:
    """Rename a synced file to its final name, replacing what stands there, and sync the folder."""
    os.replace(temporary, final)
    with suppress(OSError):  # a folder cannot be opened on Windows; the rename itself is already atomic
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sha256(path: Path) -> str:
    """The SHA-256 of a file as hexadecimal, read in full."""
    import hashlib

    with open_model(path) as (file, _):
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(path: Path) -> str:
    """The SHA-256 of a file; remembered for as long as its size, time and inode stay the same.

    Raises:
        ModelNotFound: the file cannot be read.
    """
    if known := known_digest(path):
        return known
    digest = sha256(path)
    remember_digest(path, digest)
    return digest


def known_digest(path: Path) -> str:
    """The remembered SHA-256 of a file that has not changed since, or ""; does not read it.

    Raises:
        ModelNotFound: the file cannot be opened.
    """
    key, state = _identity(path)
    known = _digests().get(key)
    return str(known[-1]) if known and known[:-1] == state else ""


def remember_digest(path: Path, digest: str) -> None:
    """Note the SHA-256 of a file that was just read in full; a cache that cannot be written is no error."""
    key, state = _identity(path)
    with suppress(OSError, ModelNotFound):
        file = cache_folder() / "digests.json"
        entries = {k: v for k, v in _digests().items() if os.path.exists(k)} | {key: [*state, digest]}
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".digests-{os.getpid()}")
        temporary.write_text(json.dumps(entries, indent=0), encoding="utf-8")
        os.replace(temporary, file)


def _identity(path: Path) -> tuple[str, list[int]]:
    with open_model(path) as (file, size):
        state = os.fstat(file.fileno())
    return os.path.realpath(path), [size, state.st_mtime_ns, state.st_ino]


def _digests() -> dict[str, list[object]]:
    """What was remembered; a missing, damaged or foreign file remembers nothing."""
    with suppress(OSError, ValueError, ModelNotFound, RecursionError):
        file = cache_folder() / "digests.json"
        if file.stat().st_size <= MAX_DIGESTS:
            entries = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(entries, dict):
                return {k: v for k, v in entries.items() if isinstance(v, list) and len(v) == 4}
    return {}
