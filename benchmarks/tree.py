"""Sessions with large trees: a step in a tree of 10,000 places against a fresh session at the same depth.

Then, without a peer: a fork, a step that is kept, saving, opening and replaying the large tree.

python benchmarks/tree.py
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from compare import report, seconds

import tokenglass as tg
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.replaying import replay
from tokenglass.saving import open_session

PLACES, DEPTH, STEPS = 10_000, 200, 20
SAMPLING: dict[str, Any] = {"do_sample": True, "seed": 1}


def table(tokenizer: Any) -> Model:
    """The embedded model's vocabulary over logits that cost nothing: only the session's own work is left."""
    size = len(tokenizer)
    rows = np.random.default_rng(1).normal(size=(64, size)).astype(np.float32) * 3
    return Model(TableEngine(lambda ids: rows[ids[-1] % 64], size, context_length=4096), tokenizer)


def branch(session: tg.Session, token: int, length: int = DEPTH) -> tg.Session:
    """Stand at the end of a new branch from the prompt."""
    session.goto(0)
    session.step(token=token)
    session.step(length - 1)
    return session


def grown(model: Model, places: int) -> tg.Session:
    """A session whose tree has so many places, in branches from the prompt."""
    session = model.session([1, 2, 3], **SAMPLING)
    while len(session.tree) < places:
        branch(session, 1000 + len(session.tree) // DEPTH)
    return session


def compare_steps(model: Model, title: str, places: int, rounds: int) -> tg.Session:
    """A step at one depth in a large tree and in a tree of one line; returns the session of the large one."""
    large = grown(model, places)

    def timed(session: tg.Session) -> float:
        return seconds(lambda: session.step(STEPS)) / STEPS

    report(
        f"{title}, a step at depth {DEPTH}",
        {
            f"in a tree of {len(large.tree):,} places": lambda i: timed(branch(large, 2000 + i)),
            "in a fresh session": lambda i: timed(branch(model.session([1, 2, 3], **SAMPLING), 2000 + i)),
        },
        must=1.3,
        target=1.1,
        rounds=rounds,
    )
    return large


def single(title: str, run: Callable[[], object], rounds: int) -> None:
    """A median without a peer."""
    times = [1e3 * seconds(run) for _ in range(rounds)]
    print(f"  {title:<34} median {statistics.median(times):9.3f} ms   (min {min(times):.3f}, n {rounds})")


def opened(path: Path, model: Model) -> None:
    """Open a trace and let go of it."""
    open_session(path, model).close()


def main() -> None:
    light = table(tg.load_tokenizer("smollm2"))
    large = compare_steps(light, "table", PLACES, 7)
    print(f"\na tree of {len(large.tree):,} places")
    single("fork", large.fork, 200)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tree.jsonl"
        single("save", lambda: large.save(path), 1)
        print(f"  {'file':<34} {path.stat().st_size / 2**20:.1f} MiB")
        single("a step that is kept", large.step, 50)
        large.close()
        single("a step that is not", large.step, 50)
        single("open", lambda: opened(path, light), 3)
    single("replay", lambda: replay(light, large.tree), 1)


if __name__ == "__main__":
    main()
