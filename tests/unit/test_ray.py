"""Batches on a Ray cluster of this machine: the same rows as a local run, whatever becomes of the workers.

A cluster takes seconds to start, so one serves all of this file; it ends with its process.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenglass.ray
from tests import batch_model
from tests.conftest import FULL
from tests.contract.scripted_peer import ScriptedPeer
from tests.support import SIZE
from tokenglass.batching import task_named
from tokenglass.batching.folder import MANIFEST, Folder
from tokenglass.batching.inputs import open_input
from tokenglass.batching.running import Batch
from tokenglass.errors import EngineError
from tokenglass.ray import PartWorker, worker_gpus, worker_load

ROWS, PART_ROWS = (2000, 100) if FULL else (160, 20)

SCRIPT = """
import json, os, signal, sys, threading, time
from pathlib import Path
import tokenglass as tg
from tokenglass.cli import run

model, rows, out, part_rows, others = sys.argv[1:]
tg.ray.started("local", workers=2)
import ray

facts = {}

def kill_one():
    # after the first part: a worker process of an actor, as the system would kill it for want of memory
    while not list(Path(out).glob("part-*")):
        time.sleep(0.01)
    mine = [pid for pid in children(os.getpid()) if b"PartWorker" in command(pid)]
    facts["workers"] = len(mine)
    os.kill(mine[0], signal.SIGKILL)
    facts["killed"] = True

def children(pid):
    found, todo = [], [pid]
    while todo:
        for path in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            try:
                here = [int(word) for word in path.read_text().split()]
            except OSError:
                continue
            found += here
            todo += here
    return found

def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""

def listening():
    inodes, addresses = set(), []
    for pid in [os.getpid(), *children(os.getpid())]:
        try:
            links = [os.readlink(f) for f in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                addresses.append(fields[1].partition(":")[0])
    return addresses

facts["listening"] = listening()
facts["usage"] = os.environ["RAY_USAGE_STATS_ENABLED"]

# 1) a dataset of the program's own
prompts = [json.loads(line) for line in Path(rows).read_text().splitlines()][:30]
items = [{"prompt": p, "id": str(i), "ids": None} for i, p in enumerate(prompts)] + [{"prompt": None}]
dataset = ray.data.from_items(items, override_num_blocks=3)
options = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 3}
results = tg.ray.map(dataset, "generate", model=model, workers=2, batch_rows=8, **options)
facts["rows"] = results.take_all()

# 2) a file, while one of two workers is killed
threading.Thread(target=kill_one, daemon=True).start()
words = ["batch", rows, "-m", model, "-o", out, "-n", "3", "--part-rows", part_rows]
facts["code"] = run([*words, "--ray", "local", "--workers", "2"])

# 3) other engines, by the options of the command
for side, options in json.loads(others).items():
    words = ["batch", rows, "-o", str(Path(out).with_name(f"ray-{side}")), "-n", "3", "--part-rows", "100"]
    facts[side] = run([*words, *options, "--ray", "local", "--json"])
print("FACTS" + json.dumps(facts, default=repr))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("ray")
    model = batch_model.make(folder / "m")
    rows = batch_model.write_jsonl(folder / "in.jsonl", batch_model.prompts(ROWS))
    _, environment = batch_model.command()
    pytest.importorskip("torch")
    pytest.importorskip("httpx")
    peer = ScriptedPeer(lambda ids: np.random.default_rng(ids[-1]).normal(0, 3, SIZE))
    others = {"server": ["-m", peer.address]}
    if FULL:  # the workers load torch
        others["hf"] = ["-m", str(model), "--engine", "hf", "--threads", "1"]
    with tempfile.TemporaryDirectory(prefix="tg-") as short:  # a socket's path holds 107 characters
        argv = [sys.executable, "-c", SCRIPT, model, rows, folder / "ray", str(PART_ROWS), json.dumps(others)]
        done = subprocess.run(
            [str(word) for word in argv],
            env=environment | {"RAY_TMPDIR": short},
            capture_output=True,
            text=True,
            timeout=550,
        )
    if "timed out during startup" in done.stderr:
        pytest.skip(
            "this machine is so busy that Ray's helpers do not start in the 15 seconds it allows them"
        )
    facts = [line for line in done.stdout.splitlines() if line.startswith("FACTS")]
    assert facts, done.stdout + done.stderr
    local = batch_model.run(
        "batch", rows, "-m", model, "-o", folder / "local", "-n", "3", "--part-rows", PART_ROWS
    )
    assert local.returncode == 0, local.stderr
    for side, options in others.items():
        words = ["batch", rows, "-o", folder / f"local-{side}", "-n", "3", "--part-rows", "100"]
        done = batch_model.run(*words, *options)
        assert done.returncode == 0, done.stderr
    peer.close()
    yield {**json.loads(facts[0].removeprefix("FACTS")), "folder": folder, "model": model, "input": rows}


def test_a_killed_worker_costs_nothing_but_time(ran: dict[str, Any]) -> None:
    """Two workers, one of them killed in mid-run: the folder is that of a local run, byte for byte."""
    assert ran["code"] == 0 and ran["workers"] == 2 and ran["killed"]
    parts = [
        {path.name: path.read_bytes() for path in (ran["folder"] / side).glob("part-*")}
        for side in ("ray", "local")
    ]
    assert parts[0] == parts[1] and len(parts[0]) == ROWS // PART_ROWS
    assert (ran["folder"] / "ray" / "_SUCCESS").exists()


@pytest.mark.parametrize("side", ["server", *(["hf"] if FULL else [])])
def test_other_engines_make_the_same_parts(ran: dict[str, Any], side: str) -> None:
    """By the command's options; hf with one thread on both sides, whose number moves the last bits."""
    assert ran[side] == 0
    parts = [
        {path.name: path.read_bytes() for path in (ran["folder"] / f"{where}-{side}").glob("part-*")}
        for where in ("ray", "local")
    ]
    assert parts[0] == parts[1] and len(parts[0]) == -(-ROWS // 100)
    manifest = json.loads((ran["folder"] / f"ray-{side}" / MANIFEST).read_text())
    assert manifest["model"]["engine"] == side


def test_what_a_worker_loads_and_what_it_takes() -> None:
    """Cores are set aside within the cluster, or Ray would wait for them; a server has its own threads."""
    assert worker_load({"source": "m"}, 2) == ({"source": "m", "threads": 2}, 2)
    assert worker_load({"source": "m", "threads": 64}, 2) == ({"source": "m", "threads": 64}, 2)
    assert worker_load({"source": "m", "threads": 1}, 2) == ({"source": "m", "threads": 1}, 1)
    address = {"source": "http://127.0.0.1:8000/v1", "tokenizer": "t"}
    assert worker_load(address, 2) == (address, 1)
    with pytest.raises(ValueError, match="threads: settled by the server"):
        tokenglass.ray.map(None, model=address["source"], threads=2)


def test_a_gpu_for_each_worker() -> None:
    on_gpu = {"source": "m", "device": "cuda"}
    assert worker_gpus(on_gpu, 2, {"CPU": 8.0, "GPU": 2.0}) == {"num_gpus": 1}
    assert worker_gpus({"source": "m", "device": "cpu"}, 2, {}) == worker_gpus({"source": "m"}, 1, {}) == {}
    with pytest.raises(EngineError, match="need as many GPUs, and the cluster has 1"):
        worker_gpus(on_gpu, 2, {"GPU": 1.0})


def test_a_dataset_keeps_its_order_and_gets_the_results_of_single_calls(ran: dict[str, Any]) -> None:
    import tokenglass as tg

    *rows, bad = ran["rows"]
    prompts = [json.loads(line) for line in ran["input"].read_text().splitlines()][:30]
    assert [row["prompt"] for row in rows] == prompts and [row["id"] for row in rows] == [
        str(i) for i in range(30)
    ]
    assert bad["error"].startswith("no prompt") and bad["text"] is None
    with tg.load(str(ran["model"])) as model:
        for row in rows:
            options = {"do_sample": True, "temperature": 2.0, "max_new_tokens": 3, "seed": row["seed"]}
            single = model.generate(row["prompt"], **options)
            assert row["generate_ids"] == list(single.ids) and row["text"] == single.text
    assert len({row["seed"] for row in rows}) == 30


def test_nothing_listens_to_the_network_and_nothing_is_reported(ran: dict[str, Any]) -> None:
    loopback = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
    assert ran["listening"] and set(ran["listening"]) <= set(loopback)
    assert ran["usage"] == "0"


def test_workers_without_a_cluster_make_the_parts_of_a_local_run(tmp_path: Path) -> None:
    """What Ray sends to a worker is pickled, and the worker makes the same bytes as often as it is told."""
    model = batch_model.make(tmp_path / "m")
    rows = batch_model.write_jsonl(tmp_path / "in.jsonl", [*batch_model.prompts(25), 5])
    words = ("-o", tmp_path / "local", "-n", "3", "--part-rows", "10")
    assert batch_model.run("batch", rows, "-m", model, *words).returncode == 0
    batch = Batch(open_input(rows), task_named("next"), {"n": 3}, part_rows=10)
    folder = Folder(tmp_path / "made", "parquet", batch.n_parts)
    folder.path.mkdir()
    sent = pickle.loads(pickle.dumps({"load": {"source": str(model)}, "batch": batch, "folder": folder}))
    worker = PartWorker(**sent)
    for parts in ([2, 0], [1], [0, 1, 2]):
        done = worker({"part": np.array(parts)})
        assert done["rows"] == [6 if part == 2 else 10 for part in parts] and not any(done["failed"])
        assert done["errors"] == [int(part == 2) for part in parts]
    local, made = (
        {path.name: path.read_bytes() for path in (tmp_path / side).glob("part-*")}
        for side in ("local", "made")
    )
    assert local == made and len(made) == 3


def test_a_worker_says_what_it_failed_with(tmp_path: Path) -> None:
    model = batch_model.make(tmp_path / "m")
    rows = batch_model.write_jsonl(tmp_path / "in.jsonl", ["a"])
    batch = Batch(open_input(rows), task_named("next"), {"n": 3})
    worker = PartWorker({"source": str(model)}, batch, Folder(tmp_path / "nowhere", "parquet", 1))
    done = worker({"part": np.array([0])})
    assert "cannot be written" in done["failed"][0] and done["rows"] == [1]


def test_no_cluster_at_an_address_is_one_line(tmp_path: Path) -> None:
    model = batch_model.make(tmp_path / "m")
    rows = batch_model.write_jsonl(tmp_path / "in.jsonl", ["a"])
    done = batch_model.run(
        "batch", rows, "-m", model, "-o", tmp_path / "out", "--ray", "nonsense://x", RAY_TMPDIR=os.devnull
    )
    assert done.returncode == 4 and done.stderr.count("\n") == 1
    assert "there is no Ray cluster at 'nonsense://x'" in done.stderr
