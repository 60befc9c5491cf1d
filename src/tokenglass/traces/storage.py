"""A file that only grows: one writer, whole lines or none, on the disk before they count.

Knows bytes, locks and disks; what the lines mean is the business of `journal`.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tokenglass.errors import TraceError
from tokenglass.files.tensors import cause, shown

MAX_FILE = 512 << 20  # bytes; about 90,000 steps: more is neither written nor read

_BINARY = getattr(os, "O_BINARY", 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # a pipe must not hold up the opening that refuses it
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class TraceInUse(TraceError):
    """Another process writes this trace; it can still be read."""


def unwritable(path: Path, error: BaseException) -> TraceError:
    """The one-line error for a file that cannot be written."""
    full = isinstance(error, OSError) and error.errno in _FULL
    advice = "free some space and try again" if full else "choose another file"
    return TraceError(f"{shown(str(path), 200)} cannot be written ({cause(error)}); {advice}")


def unreadable(path: Path, error: BaseException) -> TraceError:
    """The one-line error for a file that cannot be read."""
    return TraceError(f"{shown(str(path), 200)} cannot be read ({cause(error)}); check the path")


def sync_folder(path: Path) -> None:
    """Make the name of a new file last; where folders cannot be synced, as on Windows, nothing is done."""
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_bytes(path: Path) -> bytes:
    """A whole regular file; links are followed, devices and pipes refused.

    Raises:
        TraceError: it cannot be read, or is larger than any trace.
    """
    try:
        with open(os.open(path, os.O_RDONLY | _BINARY | _NO_WAIT), "rb") as file:
            _require_regular(file.fileno())
            return _bounded(file, path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise unreadable(path, error) from error


def _bounded(file: BinaryIO, path: Path) -> bytes:
    data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise TraceError(
            f"{shown(path.name)} has more than the {MAX_FILE >> 20} MiB a trace may have; check the file"
        )
    return data


class AppendFile:
    """A file open for appending under a lock, which ends with the process whatever happens to it.

    The lock is an empty hidden file beside it, `.NAME.lock`, that stays: removing it could let two writers
    in.

    Args:
        path: of the file; no symbolic link, so that nobody can make it another file.
        new: begin a file, under a hidden name until `settle`.
        replace: a new file may take the place of an old one.

    Raises:
        TraceInUse: somebody else has it open for writing.
        TraceError: it cannot be opened, or is no regular file; or it is there already.
    """

    def __init__(self, path: Path, *, new: bool = False, replace: bool = False) -> None:
        try:
            self.path = Path(os.path.realpath(path.parent, strict=True)) / path.name
            if not new:
                os.lstat(self.path)  # before a lock is made for what is not there
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise unwritable(path, error) from error
        self._lock = _locked(self.path)
        self._fd, self._broken = -1, ""
        self._part: Path | None = None
        try:
            if new:
                self._part = self._new_name(replace)
            self._fd = self._open(os.O_CREAT | os.O_EXCL if new else 0)
            self.size = os.fstat(self._fd).st_size
        except BaseException:
            self.close()
            raise

    def _new_name(self, replace: bool) -> Path:
        if os.path.lexists(self.path):
            if not replace and (not self.path.is_file() or self.path.stat().st_size):
                raise TraceError(f"{shown(self.path.name)} exists already; open it, or choose another name")
            if not self.path.is_file():
                raise unwritable(self.path, OSError(None, "not a regular file"))
        prefix = f".{self.path.name}.new-"
        # left by runs that were killed: nobody else is at it, since we have the lock
        for stale in self.path.parent.glob(f"{glob.escape(prefix)}*"):
            with suppress(OSError):
                stale.unlink()
        return self.path.with_name(f"{prefix}{os.urandom(4).hex()}")

    def _open(self, flags: int) -> int:
        path = self._part or self.path
        try:
            if path.is_symlink():  # where the system has no O_NOFOLLOW
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            fd = os.open(path, flags | os.O_RDWR | os.O_APPEND | _BINARY | _NO_LINKS | _NO_WAIT, 0o666)
        except (OSError, ValueError) as error:
            raise unwritable(self.path, error) from error
        try:
            _require_regular(fd)
        except OSError as error:
            os.close(fd)
            raise unwritable(self.path, error) from error
        return fd

    def settle(self) -> None:
        """Put a new file, whole and synced, in its place.

        Raises:
            TraceError: the system did not do it; nothing is left.
        """
        assert self._part is not None
        try:
            self.sync()
            os.close(self._fd)  # Windows renames no open file
            self._fd = -1
            try:
                os.replace(self._part, self.path)
            except OSError as error:
                raise unwritable(self.path, error) from error
            self._part = None
            self._fd = self._open(0)
        except BaseException:
            self.close()
            raise
        sync_folder(self.path)

    def read(self) -> bytes:
        """All that is in it.

        Raises:
            TraceError: it cannot be read, or is larger than any trace.
        """
        try:
            with open(self._fd, "rb", closefd=False) as file:
                file.seek(0)
                return _bounded(file, self.path)
        except OSError as error:
            raise unreadable(self.path, error) from error

    def append(self, data: bytes, *, sync: bool = True) -> None:
        """Add bytes at the end, all of them or none; returns when they are on the disk.

        Args:
            data: in one write.
            sync: wait for the disk; without, `sync` must follow.

        Raises:
            TraceError: the disk did not take them; the file is as it was before.
        """
        self._check(len(data))
        try:
            written = os.write(self._fd, data)
            while written < len(data):  # the disk is full, and the next try says so
                written += os.write(self._fd, data[written:])
        except OSError as error:
            self.truncate(self.size)
            raise unwritable(self.path, error) from error
        before, self.size = self.size, self.size + len(data)
        if sync:
            self.sync(before)

    def sync(self, before: int | None = None) -> None:
        """Wait until everything is on the disk.

        Args:
            before: the size to go back to when the disk fails.

        Raises:
            TraceError: the disk failed; what it kept is unknown, so nothing more is written through this
                object.
        """
        try:
            os.fsync(self._fd)
        except OSError as error:
            self._broken = cause(error)
            if before is not None:
                self.truncate(before)
            raise unwritable(self.path, error) from error

    def truncate(self, size: int) -> None:
        """Cut the file; where even that fails, nothing more is written through this object."""
        try:
            os.ftruncate(self._fd, size)
            self.size = size
        except OSError as error:
            self._broken = cause(error)

    def close(self) -> None:
        """Let go of the file and the lock, and of a new file that was never settled; once is enough."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._part is not None:
            with suppress(OSError):
                os.unlink(self._part)
            self._part = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _check(self, n_bytes: int) -> None:
        name = shown(self.path.name)
        if self._fd < 0:
            raise TraceError(f"{name} is closed; open it again")
        if self._broken:
            raise TraceError(f"{name} failed before ({self._broken}); open it again")
        if self.size + n_bytes > MAX_FILE:
            raise TraceError(f"{name} has reached the {MAX_FILE >> 20} MiB a trace may have; begin another")
        state = os.fstat(self._fd)
        if state.st_nlink == 0:
            raise TraceError(f"{name} was deleted while it was open; save to another file")
        if state.st_size != self.size:
            raise TraceError(f"{name} was changed by another program; open it again")


def _require_regular(fd: int) -> None:
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise OSError(None, "not a regular file")


def _locked(path: Path) -> Any:
    """The lock of a file, held; filelock's own, so that it works on every system.

    Raises:
        TraceInUse: somebody else holds it.
        TraceError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        lock.acquire(timeout=0)
    except Timeout as error:
        name = shown(path.name)
        raise TraceInUse(
            f"{name} is being written by somebody else; close it there, or only read it"
        ) from error
    except (OSError, ValueError, NotImplementedError) as error:
        raise unwritable(path, error) from error
    return lock


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new name beside `path`; what is written there takes its place at the end, or vanishes on an error.

    Raises:
        TraceError: the folder or the disk cannot take the file; the old one is as it was.
    """
    try:
        if "\0" in path.name:  # what the system says of it differs from place to place
            raise OSError(None, "a NUL in its name")
        if path.exists() and not path.is_file():
            raise OSError(None, "not a regular file")
        part = path.with_name(f".{path.name}.part-{os.getpid()}-{os.urandom(4).hex()}")
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from error
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            os.unlink(part)
    sync_folder(path)
