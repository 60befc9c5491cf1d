"""The folder that a run writes: parts that are whole or not there, and a manifest of what makes them.

A part is written under another name, synced and renamed, so a killed run leaves whole parts only. The
manifest says from which input and with which settings they came; whoever goes on must mean the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tokenglass.errors import BatchError
from tokenglass.files.tensors import shown
from tokenglass.traces.storage import replacing, unwritable

MANIFEST, SUCCESS = "_manifest.json", "_SUCCESS"
SCHEMA = "tokenglass.batch/1"
ENDINGS: Mapping[str, str] = {"parquet": ".parquet", "jsonl": ".jsonl", "openai": ".jsonl"}
MOST_MANIFEST = 1 << 20  # bytes; more is none of ours
# what a later call may say otherwise: the first one's date and luck stay, and the input may have moved
FREE = frozenset({"created", "input_path", "seed"})


class Folder:
    """Where the parts of a run go.

    Args:
        path: of the folder; made when missing.
        format: "parquet", "jsonl" or "openai".
        n_parts: how many there will be.
    """

    def __init__(self, path: str | Path, format: str, n_parts: int) -> None:
        self.path, self.n_parts = Path(path), n_parts
        self._ending = ENDINGS[format]

    def part(self, number: int) -> Path:
        """The file of a part; its name sorts as its number does."""
        return self.path / f"part-{number:06d}{self._ending}"

    def has(self, number: int) -> bool:
        """Whether a part is there, which means it is whole."""
        return self.part(number).exists()

    def put(self, number: int, write: Callable[[Path], None]) -> None:
        """Write a part; it appears whole or not at all, and is on the disk before it does.

        Raises:
            TraceError: the disk or the folder does not take it.
        """
        with replacing(self.part(number)) as temporary:
            write(temporary)

    def finish(self, summary: Mapping[str, Any]) -> bool:
        """Mark the folder as complete, if every part of every shard is there."""
        if not all(map(self.has, range(self.n_parts))):
            return False
        _put_json(self.path / SUCCESS, summary)
        return True

    @contextmanager
    def locked(self, shard: str) -> Iterator[None]:
        """Hold a shard of this folder; what a killed run of the shard left half-written is removed.

        Raises:
            BatchError: another process is at work on the same shard.
            TraceError: the folder cannot be made or written.
        """
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / f".lock-{shard}")
            lock.acquire(timeout=0)
        except Timeout:
            name = shown(str(self.path), 200)
            raise BatchError(f"another process is at work on shard {shard} in {name}; wait for it") from None
        except (OSError, NotImplementedError, ValueError) as error:
            raise unwritable(self.path, error) from error
        try:
            self._sweep()
            yield
        finally:
            lock.release()

    def _sweep(self) -> None:
        """Remove half-written files of processes that are gone."""
        for path in self.path.glob(".part-*.part-*"):
            pid = path.name.rpartition(".part-")[2].partition("-")[0]
            if not (pid.isdigit() and _lives(int(pid))):
                with suppress(OSError):
                    path.unlink()

    def settled(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The manifest in force: the one that is there, if it says the same, or this one, written down.

        Raises:
            BatchError: the folder was begun with another input or other settings, which are named.
            TraceError: it cannot be written.
        """
        path, manifest = self.path / MANIFEST, json.loads(json.dumps(manifest))
        there = self._read(path)
        if there is None:
            self._require_empty()
            _put_json(path, manifest)
            return manifest
        for name in [*manifest, *(n for n in there if n not in manifest)]:
            if name not in FREE and there.get(name) != manifest.get(name):
                raise BatchError(_differs(self.path, name, there.get(name), manifest.get(name)))
        return there

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            with open(path, "rb") as file:
                found = json.loads(file.read(MOST_MANIFEST))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unwritable(path, error) from error
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or found.get("schema") != SCHEMA:
            raise BatchError(f"{shown(str(path), 200)} is no manifest of this version; name another folder")
        return found

    def _require_empty(self) -> None:
        strangers = sorted(p.name for p in self.path.iterdir() if not p.name.startswith(".lock-"))
        if strangers:
            name = shown(str(self.path), 200)
            raise BatchError(f"{name} holds other files ({shown(strangers[0])} ...); name a new folder")


def _differs(path: Path, name: str, there: Any, here: Any) -> str:
    if isinstance(there, dict) and isinstance(here, dict):
        key = next(k for k in [*there, *here] if there.get(k) != here.get(k))
        return _differs(path, key if name == "config" else f"{name} {key}", there.get(key), here.get(key))
    before, now = (shown(json.dumps(value), 60)[1:-1] for value in (there, here))
    return (
        f"{shown(str(path), 200)} was begun with {name} {before}, and now it is {now}; "
        "go on with the old settings, or name a new folder"
    )


def _put_json(path: Path, values: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
