"""Size of the core install in a new environment, against the torch route where asked for.

python benchmarks/install_size.py            ours alone
python benchmarks/install_size.py --torch    and transformers with torch, which takes minutes
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def installed(requirements: list[list[str]]) -> tuple[int, float]:
    """Megabytes that pip adds to an empty environment, and the seconds it took."""
    with tempfile.TemporaryDirectory() as name:
        venv.create(name, with_pip=True)
        python = Path(name) / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        before, start = size(Path(name)), time.perf_counter()
        for packages in requirements:
            subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
        return (size(Path(name)) - before) // 1_000_000, time.perf_counter() - start


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and not f.is_symlink())


def main() -> None:
    megabytes, took = installed([[str(ROOT)]])
    print(f"core install: {megabytes} MB in {took:.0f} s   must 300 MB, target 250 MB")
    if "--torch" in sys.argv:
        megabytes, took = installed([["torch==2.13.0"], ["transformers", "pandas", "ipykernel"]])
        print(f"torch route: {megabytes} MB in {took:.0f} s")


if __name__ == "__main__":
    main()
