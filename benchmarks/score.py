"""Scoring 2,048 given tokens against transformers' log-softmax over all positions, and memory by length.

Both sides run in turn in one process; memory is measured in processes of their own, as resident memory over
what the loaded model holds. Ours keeps rank, entropy and the five likeliest tokens of each place as well.

    python benchmarks/score.py [--rounds 5] [--long 50000]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compare import report, seconds
from peers import transformers_model

import tokenglass as tg
from tokenglass.scoring import score

LENGTH = 2048


def ids_of(number: int, length: int = LENGTH) -> list[int]:
    """Ids not scored before."""
    rng = random.Random(number)
    return [rng.randrange(1000, 40_000) for _ in range(length)]


def theirs(ids: list[int]) -> Any:
    """The log-probability of each token, over the full vocabulary."""
    import torch

    with torch.inference_mode():
        read = torch.tensor([ids])
        logprobs = torch.log_softmax(transformers_model()(read).logits[0, :-1], dim=-1)
        return logprobs.gather(1, read[0, 1:, None])


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def extra(run: Callable[[], object]) -> int:
    """Most resident memory during a run over what was held before it, in bytes."""
    before, most, done = resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    run()
    done.set()
    watcher.join()
    return most[0] - before


def measure(side: str, length: int) -> None:
    """In a process of its own: print the extra memory of one side."""
    ids = ids_of(0, length)
    if side == "transformers":
        theirs(ids[:16])
        print(json.dumps(extra(lambda: theirs(ids))))
        return
    model = tg.load("smollm2")
    score(model.engine, model.tokenizer, ids[:16])
    print(json.dumps(extra(lambda: score(model.engine, model.tokenizer, ids))))


def extra_elsewhere(side: str, length: int) -> float:
    """`measure` in a fresh process, in MB."""
    command = [sys.executable, __file__, "--measure", side, "--long", str(length)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(result.stdout.splitlines()[-1])) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long", type=int, default=50_000, help="tokens of the long text; 0 for none")
    parser.add_argument("--measure", choices=("tokenglass", "transformers"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.long)
        return
    model = tg.load("smollm2")
    report(
        f"score {LENGTH:,} tokens, exact",
        {
            "tokenglass score": lambda i: seconds(lambda: score(model.engine, model.tokenizer, ids_of(i))),
            "transformers, log_softmax": lambda i: seconds(lambda: theirs(ids_of(i))),
        },
        must=1.0,
        target=round(1 / 1.3, 2),
        rounds=options.rounds,
    )
    if sys.platform != "linux":
        print("  memory is read from /proc, which this system lacks")
        return
    ours, peer = (extra_elsewhere(side, LENGTH) for side in ("tokenglass", "transformers"))
    print(f"  extra memory: tokenglass {ours:,.0f} MB, transformers {peer:,.0f} MB", end="")
    print(f", {ours / peer:.2f}x   must 0.33x")
    if options.long:
        long = extra_elsewhere("tokenglass", options.long)
        print(f"  extra memory for {options.long:,} tokens: {long:,.0f} MB, {long / ours:.2f}x   must 1.0x")


if __name__ == "__main__":
    main()
