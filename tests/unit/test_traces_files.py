"""A trace's file torn, changed, locked, full, killed: what was acknowledged stays, what is wrong is named."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.unit.trace_samples import NAMES, header, step, tree, written
from tokenglass.errors import TraceError
from tokenglass.traces import Journal, TraceInUse, lines, read, storage
from tokenglass.traces.lines import write_line

N_KILLS = 200 if os.environ.get("TOKENGLASS_FULL") == "1" else 10
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "t.jsonl")


def refusal(call: Callable[[], Any]) -> str:
    """The message of the TraceError that a call ends in: one printable line."""
    with pytest.raises(TraceError) as caught:
        call()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    return str(caught.value)


# --------------------------------------------------------------------------------------------- torn tails


def test_cut_at_any_byte_of_the_last_line(path: Path) -> None:
    """Reading leaves the torn line out and says so; writing cuts it off and goes on."""
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in [start, start + 1, (start + len(whole)) // 2, len(whole) - 1]:
        path.write_bytes(whole[:end])
        trace = read(path)
        assert path.read_bytes() == whole[:end]  # reading changes nothing
        assert len(trace.events) == 10 and trace.sound_bytes == start
        assert trace.torn == (
            "" if end == start else f"line 12 was left out: it breaks off after {end - start} bytes"
        )
        journal, _ = Journal.resume(path)
        with journal:
            assert path.read_bytes() == whole[:start]
            journal.goto(1)
        assert read(path).here.id == 1 and read(path).torn == ""


def test_zeros_that_a_power_failure_left_are_a_torn_line(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(bytes(4096))
    assert read(path).torn == "line 13 was left out: it breaks off after 4,096 bytes"
    with open(path, "ab") as file:
        file.write(b"\n")
    assert read(path).torn.startswith("line 13 was left out: it is no JSON")


def test_a_changed_last_line_is_left_out(path: Path) -> None:
    whole = path.read_bytes()
    changed = whole.replace(b'"temperature":1.0', b'"temperature":2.0')
    assert changed != whole
    path.write_bytes(changed)
    assert "checksum" in read(path).torn


# ---------------------------------------------------------------------------------- changed in the middle


def test_a_changed_digit_in_the_middle_is_refused(path: Path) -> None:
    whole = path.read_bytes().splitlines(keepends=True)
    before = whole[2]
    whole[2] = before.replace(b'"rank":1', b'"rank":2')
    assert whole[2] != before
    path.write_bytes(b"".join(whole))
    problem = "its checksum is wrong, so something in it was changed"
    expected = f"'t.jsonl' is damaged in line 3: {problem}; go back to a copy of it"
    assert refusal(lambda: read(path)) == expected
    assert refusal(lambda: Journal.resume(path)) == expected
    assert path.read_bytes() == b"".join(whole)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\n", "line 3: it is no JSON"),
        (b"[]\n", "line 3: it is no JSON object"),
        (b"\xff\n", "line 3: it is not UTF-8"),
        (b'{"n":2,"event":"goto","node":NaN}\n', "line 3: it is no strict JSON: NaN"),
        (b'{"event":"goto","node":1}\n', "line 3: it lacks 'n'"),
        (b'{"n":3,"event":"goto","node":1}\n', "line 3: its number is 3, not 2: lines are missing"),
        (b'{"n":2,"event":"goto","node":2}\n', r"line 3: node must be in \[0, 1\], got 2"),
        (b'{"n":2,"event":"goto","node":"\x1b"}\n', "line 3: it is no JSON"),
        (
            b'{"n":2,"event":"step","node":2,"parent":5,"step":{}}\n',
            r"line 3: parent must be in \[0, 1\], got 5",
        ),
        (b'{"n":2,"event":"step","node":1,"parent":1,"step":{}}\n', "line 3: node must be 2, got 1"),
        (b'{"n":2,"event":"step","node":2,"parent":1,"step":[]}\n', "line 3: its step is no object"),
        (b'{"n":2,"event":"note","node":1,"note":7}\n', "line 3: a text is wanted, got int"),
        (
            b'{"n":2,"event":"set","index":1,"given":{"a":{"$tuple":3}},"config":{}}\n',
            "line 3: 'int' object is not iterable",
        ),
        (
            b'{"n":2,"event":"goto","node":1,"x":' + b"[" * 60 + b"]" * 60 + b"}\n",
            "line 3: it is nested deeper than 48",
        ),
        (
            b'{"n":2,"event":"goto","node":1,"x":' + b"[" * 90_000 + b"]" * 90_000 + b"}\n",
            "line 3: it is nested deeper",
        ),
        (b'{"n":2,"event":"goto","node":1,"x":' + b"9" * 5000 + b"}\n", "line 3: Exceeds the limit"),
    ],
)
def test_wrong_lines_in_the_middle_are_named(tmp_path: Path, line: bytes, message: str) -> None:
    path = written(tmp_path / "t.jsonl", lambda journal: journal.step(1, 0, step()))
    with open(path, "ab") as file:
        file.write(line + b'{"n":3,"event":"close"}\n')
    with pytest.raises(TraceError, match=message) as caught:
        read(path)
    assert str(caught.value).isprintable()


def test_a_definition_may_not_change(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", lambda journal: journal.step(1, 0, step()))
    event = json.loads(path.read_bytes().splitlines()[1])
    event |= {"n": 2, "node": 2, "parent": 1, "define": {"tokens": {"10": "00"}}}
    del event["crc"]
    with open(path, "ab") as file:
        file.write(write_line(event) + write_line({"n": 3, "event": "close"}))
    assert "line 3: it defines again what was defined before" in refusal(lambda: read(path))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("logit", "x", "line 2: 'x' is no number"),
        ("origin", "\x1b", "line 2: '.x1b' is none of greedy"),
        ("top", {"ids": "AAAA", "logits": "", "final": ""}, "line 2: buffer size must be a multiple"),
        ("top", {"ids": "!", "logits": "", "final": ""}, "line 2: an array is no base64"),
        ("top", {"ids": "AAAAAA==", "logits": "", "final": ""}, "line 2: 1 candidates have 0 logits"),
        ("trail", {"rows": 3, "p": "AAAAAA=="}, "line 2: cannot reshape"),
        ("tail", {"low": 0, "high": 1, "counts": "AAAAAA=="}, "line 2: a tail must have 256 counts"),
        ("tail", {"low": 1, "high": 0, "counts": ""}, "line 2: a tail must have 256 counts or none, and low"),
        ("stages", [{"stage": 99}], "line 2: it lacks 99"),
        ("logprob", 700.0, "line 2: a probability is above 1"),
        (
            "top",  # id 999999, logit 0, probability 0
            {"ids": "P0IPAA==", "logits": "AAAAAA==", "final": "AAAAAAAAAAA="},
            "line 2: token 999999 was not defined before",
        ),
        ("logsumexp", -9.0, "line 2: a probability is above 1"),
        ("id", 999_999, "line 2: it lacks 999999"),
        (
            "removed",
            {"names": [], "ids": "AAAAAA==", "stages": "AAA=", "ranks": "AAAAAA==", "p": "AAAAAAAAAAA="},
            "line 2: a removal names no stage",
        ),
    ],
)
def test_wrong_steps_are_named_when_they_are_asked_for(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    path = written(tmp_path / "t.jsonl", lambda journal: journal.step(1, 0, step()))
    first, second = path.read_bytes().splitlines(keepends=True)
    event = json.loads(second)
    event["step"][key] = value
    del event["crc"]
    path.write_bytes(first + write_line(event))
    node = read(path).nodes[1]
    with pytest.raises(TraceError, match=message) as caught:
        _ = node.step
    assert str(caught.value).isprintable()


# ---------------------------------------------------------------------------------------- headers, schemas


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no complete header"),
        (b'{"schema":"tokenglass.tra', "holds no complete header"),
        (b"PK\x03\x04 something else", "is no tokenglass trace"),
        (b'{"a": 1}\n', "is no tokenglass trace"),
        (b'{"schema":7}\n', "is no tokenglass trace"),
        (
            b'{"schema":"tokenglass.trace/2","x":1}\n{}\n',
            "is of schema tokenglass.trace/2, this version reads tokenglass.trace/1; install a newer",
        ),
        (b'{"schema":"tokenglass.trace/1"}\n', "damaged in line 1: it lacks 'model'"),
        (b'{"schema":"tokenglass.trace/1",}\n', "damaged in line 1: it is no JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(data)
    for call in (lambda: read(path), lambda: Journal.resume(path)):
        assert message in refusal(call)
    assert path.read_bytes() == data


# ------------------------------------------------------------------------------------- places, locks, links


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    assert "exists already" in refusal(lambda: Journal.create(path, header(), NAMES))
    assert path.read_text() == "years of work"
    Journal.create(path, header(), NAMES, replace=True).close()
    assert len(read(path).events) == 1


def test_an_empty_file_may_become_a_trace(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").touch()
    Journal.create(tmp_path / "t.jsonl", header(), NAMES).close()
    assert len(read(tmp_path / "t.jsonl").events) == 1


def test_one_writer_at_a_time(path: Path) -> None:
    first, _ = Journal.resume(path)
    message = "'t.jsonl' is being written by somebody else; close it there, or only read it"
    with first:
        for call in (
            lambda: Journal.resume(path),
            lambda: Journal.create(path, header(), NAMES, replace=True),
        ):
            with pytest.raises(TraceInUse, match=message):
                call()
        alias = path.parent / ".." / path.parent.name / path.name
        with pytest.raises(TraceInUse):
            Journal.resume(alias)
        first.goto(1)
        assert read(path).here.id == 1
    Journal.resume(path)[0].close()


def test_a_lock_ends_with_its_process(path: Path) -> None:
    """After kill -9 of the writer the lock file stays, the lock does not."""
    code = (
        "import sys, time\nfrom tokenglass.traces import Journal\n"
        "journal, _ = Journal.resume(sys.argv[1])\nprint('open', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    with pytest.raises(TraceInUse):
        Journal.resume(path)
    process.kill()
    process.communicate()
    Journal.resume(path)[0].close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of a Unix")
def test_links_and_pipes(path: Path, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link.jsonl", tmp_path / "pipe.jsonl"
    link.symlink_to(path)
    os.mkfifo(pipe)
    assert len(read(link).events) == 11  # reading follows
    assert "cannot be written" in refusal(lambda: Journal.resume(link))
    assert "exists already" in refusal(lambda: Journal.create(link, header(), NAMES))
    for call in (
        lambda: read(pipe),
        lambda: Journal.resume(pipe),
        lambda: read(tmp_path),
        lambda: read(tmp_path / "\0"),
    ):
        assert "cannot be" in refusal(call)
    assert "not a regular file" in refusal(lambda: Journal.create(pipe, header(), NAMES, replace=True))
    assert len(read(path).events) == 11


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root writes anywhere")
def test_a_read_only_folder(path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        assert "cannot be written" in refusal(
            lambda: Journal.create(path.parent / "new.jsonl", header(), NAMES)
        )
        assert len(read(path).events) == 11
    finally:
        path.parent.chmod(0o700)


def test_a_missing_folder(tmp_path: Path) -> None:
    assert "cannot be written" in refusal(
        lambda: Journal.create(tmp_path / "no" / "t.jsonl", header(), NAMES)
    )
    assert "cannot be read" in refusal(lambda: read(tmp_path / "no.jsonl"))
    assert "cannot be written" in refusal(lambda: Journal.resume(tmp_path / "no.jsonl"))
    assert "cannot be written" in refusal(lambda: Journal.resume(tmp_path / "\0" / "t"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_somebody_else_changed(path: Path) -> None:
    journal, _ = Journal.resume(path)
    with journal:
        with open(path, "ab") as file:
            file.write(b"x")
        assert "was changed by another program" in refusal(lambda: journal.goto(1))
        path.unlink()
        assert "was deleted while it was open" in refusal(lambda: journal.goto(1))


# ------------------------------------------------------------------------------------------ failing disks


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


@pytest.mark.parametrize("short", [True, False])
def test_a_full_disk_takes_back_the_half_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    """A disk fills up in the middle of a line, or before it; both leave the file as it was."""
    journal, _ = Journal.resume(path)
    before, write = path.read_bytes(), os.write

    def full(fd: int, data: bytes) -> int:
        if not short or len(path.read_bytes()) > len(before):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[:20])

    with journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            message = refusal(lambda: journal.step(5, 4, step(9)))
        assert "cannot be written (No space left on device); free some space and try again" in message
        assert path.read_bytes() == before
        journal.step(5, 4, step(9))  # with what the failed line would have defined
    last = read(path).nodes[5].step
    assert last is not None and last.top[0].token == NAMES.token(int(step(9).top_ids[0]))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a Unix")
def test_a_real_size_limit(tmp_path: Path) -> None:
    """The kernel itself refuses bytes in the middle of a line; every acknowledged event stays."""
    code = """
import resource, signal, sys
from tests.unit.trace_samples import NAMES, header, step
from tokenglass.errors import TraceError
from tokenglass.traces import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal.create(sys.argv[1], header(), NAMES)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
node = 0
try:
    while True:
        journal.step(node + 1, node, step(node))
        node += 1
except TraceError as error:
    print(node, error)
"""
    result = child(code, tmp_path / "t.jsonl").communicate(timeout=60)[0]
    n, _, message = result.partition(" ")
    assert "cannot be written (File too large); free some space" in message
    trace = read(tmp_path / "t.jsonl")
    assert len(trace.events) == int(n) > 3 and trace.torn == ""


def test_a_disk_that_fails_to_sync_is_not_written_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    journal, _ = Journal.resume(path)
    with journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", raising(errno.EIO))
            assert "cannot be written" in refusal(lambda: journal.goto(1))
        assert path.read_bytes() == before
        assert "failed before" in refusal(lambda: journal.goto(1))


@pytest.mark.parametrize("where", ["os.write", "os.fsync", "learn", "after"])
def test_an_interrupted_event_is_taken_back(path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Ctrl-C while an event is written, synced or noted: it was not acknowledged, and the next one fits."""
    from tokenglass.traces.steps import Definitions

    def interrupted(call: Callable[..., Any], *, before: bool = False) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            if not before:
                call(*arguments)
            raise KeyboardInterrupt

        return run

    whole = path.read_bytes()
    journal, _ = Journal.resume(path)
    with journal:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            if where in ("learn", "after"):
                patch.setattr(Definitions, "learn", interrupted(Definitions.learn, before=where == "learn"))
            else:
                patch.setattr(os, where[3:], interrupted(getattr(os, where[3:])))
            journal.step(5, 4, step(9))
        assert path.read_bytes() == whole
        journal.step(5, 4, step(9))
        journal.set(2, {}, {})
    trace = read(path)
    again = trace.nodes[5].step
    assert again is not None and again.top_ids.tolist() == step(9).top_ids.tolist() and trace.torn == ""


def raising(number: int) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, name, raising(errno.EROFS))
        save = lambda: Journal.create(path, header(), NAMES, fill=tree, replace=True)  # noqa: E731
        assert "cannot be written (Read-only file system)" in refusal(save)
    assert path.read_bytes() == before and leftovers(path.parent) == ["t.jsonl"]
    Journal.resume(path)[0].close()  # and nobody holds the lock


def test_an_acknowledged_event_was_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One write and one fsync for an event; a new file's folder is synced too."""
    calls: list[str] = []
    for name in ("write", "fsync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, name=name: (calls.append(name), real(*a))[1])
    monkeypatch.setattr(storage, "sync_folder", lambda path: calls.append("folder"))
    journal, _ = Journal.resume(path)
    journal.step(5, 4, step(6))
    assert calls == ["write", "fsync"]
    calls.clear()
    with journal.batch():
        journal.goto(1)
        journal.goto(2)
    assert calls == ["write", "write", "fsync"]
    journal.close()
    calls.clear()
    Journal.create(path.with_name("new.jsonl"), header(), NAMES, fill=tree)._file.close()
    assert calls[-1] == "folder" and "fsync" in calls


def test_limits_hold_for_who_writes_and_who_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()
    for module, name, limit, message in [
        (storage, "MAX_FILE", len(before) + 10, "has reached the 0 MiB a trace may have; begin another"),
        (lines, "MAX_LINES", 12, "a trace may have 12 lines"),
        (lines, "MAX_ITEMS", 8, "it has more than the 8 entries allowed"),
        (lines, "MAX_ALL_ITEMS", 1000, "1,000 entries, it has more"),
        (lines, "MAX_LINE", 60, "bytes, more than the 60 allowed"),
    ]:
        journal, _ = Journal.resume(path)
        with journal, monkeypatch.context() as patch:
            patch.setattr(module, name, limit)
            assert message in refusal(partial(journal.note, 1, "x" * 100 + "," * 900))
        assert path.read_bytes() == before
    with monkeypatch.context() as patch:
        patch.setattr(storage, "MAX_FILE", 100)
        assert "has more than the 0 MiB" in refusal(lambda: read(path))
    with monkeypatch.context() as patch:
        patch.setattr(lines, "MAX_ITEMS", 20)
        assert "entries allowed" in refusal(lambda: read(path))


# -------------------------------------------------------------------------------------------------- kills


def child(code: str, *arguments: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


APPENDING = """
import sys
from tests.unit.trace_samples import step
from tokenglass.traces import Journal
samples = [step(n) for n in range(20)]
journal, trace = Journal.resume(sys.argv[1])
node = len(trace.nodes)
print("ready", trace.torn, flush=True)
while True:
    journal.step(node, node - 1, samples[node % 20])
    print("node", node, flush=True)
    journal.note(node, f"note {node}")
    print("note", node, flush=True)
    node += 1
"""


def test_every_acknowledged_event_survives_kill_9(tmp_path: Path) -> None:
    """One trace, whose writer is killed again and again at random moments; nothing acknowledged is lost."""
    path = written(tmp_path / "t.jsonl", lambda journal: journal.step(1, 0, step()))
    moments, nodes, notes = random.Random(11), 1, 0
    for _ in range(N_KILLS):
        process = child(APPENDING, path)
        assert process.stdout is not None and process.stdout.readline().startswith("ready")
        time.sleep(moments.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        for line in process.communicate()[0].splitlines(keepends=True):
            kind, _, number = line.partition(" ")
            if line.endswith("\n") and kind == "node":
                nodes = int(number)
            elif line.endswith("\n"):
                notes = int(number)
        trace = read(path)
        assert len(trace.nodes) - 1 >= nodes
        assert not notes or trace.nodes[notes].notes == [f"note {notes}"]
    assert nodes > N_KILLS, "hardly anything was written before the kills"
    for node in trace.nodes[1:]:
        assert node.step is not None and node.step.top_ids.size == 8


SAVING = """
import sys
from tests.unit.trace_samples import NAMES, header, tree
from tokenglass.traces import Journal
print("ready", flush=True)
while True:
    Journal.create(sys.argv[1], header(), NAMES, fill=tree, replace=True).close()
    print("saved", flush=True)
"""


def test_a_killed_save_leaves_a_whole_file(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl")
    moments = random.Random(5)
    for _ in range(N_KILLS):
        process = child(SAVING, path)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.02))
        process.kill()
        process.communicate()
        trace = read(path)
        assert len(trace.events) in (11, 12) and trace.torn == ""  # with the closing event or without
    Journal.create(path, header(), NAMES, replace=True).close()
    assert leftovers(tmp_path) == ["t.jsonl"]  # what the killed ones left is gone
