"""`--save`, `open`, `replay` and `export`: what a kept session is good for, and files that are none."""

from __future__ import annotations

import csv
import importlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tokenglass as tg
from tests.unit import cli_world
from tokenglass import models, traces
from tokenglass.cli import run
from tokenglass.engines.table import TableEngine
from tokenglass.model import Model
from tokenglass.traces.lines import write_line
from tokenglass.types.replays import Difference, Replay
from tokenglass.views.replays import mismatch

PROMPT = "Once upon a"
RESPONSE = {
    "model": "other",
    "choices": [
        {
            "text": "Hi",
            "finish_reason": "stop",
            "logprobs": {
                "content": [
                    {
                        "token": "Hi",
                        "bytes": [72, 105],
                        "logprob": -0.5,
                        "top_logprobs": [{"token": "Yo", "bytes": [89, 111], "logprob": -1.5}],
                    }
                ]
            },
        }
    ],
}


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tg, "load", cli_world.load, raising=False)
    monkeypatch.setattr(models, "listing", lambda: [])


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "kept.jsonl"
    cli_world.kept(path)
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Any:
    def ran(*argv: str | Path) -> tuple[int, str, str]:
        code = run(list(map(str, argv)))
        out, err = capsys.readouterr()
        return code, out.replace("\n", " ") if argv[0] == "export" else out, err

    return ran


def shifted(by: float) -> Model:
    """The same model, its first logit off by a little; so that every probability moves."""

    def rule(ids: tuple[int, ...]) -> Any:
        row = cli_world.rule(ids)
        row[0] += by
        return row

    size, eos = len(cli_world.ENTRIES), cli_world.EOS
    engine = TableEngine(rule, size, context_length=cli_world.CONTEXT, eos_ids=(eos,), bos_id=eos)
    return Model(engine, cli_world.tokenizer())


def changed_header(data: bytes, **fields: Any) -> bytes:
    """A trace whose first line says something else, sealed anew."""
    line, _, rest = data.partition(b"\n")
    header = {name: value for name, value in json.loads(line).items() if name != "crc"}
    return write_line(header | fields) + rest


def _change_model(trace: Path, **fields: Any) -> None:
    data = trace.read_bytes()
    model = json.loads(data.partition(b"\n")[0])["model"]
    trace.write_bytes(changed_header(data, model=model | fields))


# ---------------------------------------------------------------------------------------------- save, open


def test_save_keeps_a_session_from_the_start(command: Any, tmp_path: Path) -> None:
    path = tmp_path / "new.jsonl"
    assert command(PROMPT, "--do-sample", "--seed", "4", "--save", path)[0] == 0
    kept = traces.read(path)
    assert kept.header.given == {"do_sample": True, "seed": 4} and len(kept.nodes) == 1
    code, out, err = command(PROMPT, "--save", path)
    assert (code, out) == (3, "") and "is there already; go on with it: tokenglass open" in err
    (tmp_path / "empty").touch()  # as mktemp leaves it
    assert command(PROMPT, "--save", tmp_path / "empty", "--json")[0] == 0
    assert command(PROMPT, "--save", tmp_path / "no" / "x")[0] == 3


def test_open_shows_the_tree_without_a_model(command: Any, trace: Path) -> None:
    code, out, err = command("open", trace)
    assert code == 0 and err == "" and "5 places · 2 ends · up to 3 tokens" in out
    assert '"by hand"' in out and "note on place 4: not drawn" in out
    code, out, err = command("open", trace, "--json")
    document = json.loads(out)
    assert (code, err, document["here"], document["torn"]) == (0, "", 4, "")
    assert document["header"]["prompt_text"] == PROMPT and document["header"]["given"]["seed"] == 3
    assert [node["parent"] for node in document["tree"]["nodes"]] == [None, 0, 1, 2, 1]
    assert command("open", trace, "--save", "x")[0] == 2


def test_pruned_places_stay_out(command: Any, trace: Path, tmp_path: Path) -> None:
    session = tg.open_session(trace, cli_world.load())
    session.prune(2)
    session.close()
    assert "3 places · 1 end" in command("open", trace)[1]
    assert command("export", trace, "-o", tmp_path / "x.csv")[1].startswith("3 places in ")
    with open(tmp_path / "x.csv", newline="") as file:
        assert [row["node"] for row in csv.DictReader(file)] == ["0", "1", "4"]
    assert json.loads(command("replay", trace, "-m", "smollm2", "--json")[1])["n_places"] == 2


# -------------------------------------------------------------------------------------------------- replay


def test_replay_of_the_same_is_the_same(command: Any, trace: Path) -> None:
    code, out, err = command("replay", trace, "-m", "smollm2")
    assert (code, err) == (0, "") and out.startswith("the same to the last bit: 4 tokens")
    document = json.loads(command("replay", trace, "-m", "smollm2", "--json")[1])
    assert document["identical"] and document["equal"] and document["first_mismatch"] is None
    assert (document["n_places"], document["n_done"], document["largest"]) == (4, 4, 0.0)


def test_replay_finds_the_model_by_its_checksum_alone(
    command: Any, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name in a file loads nothing; weights that are here and have the checksum do."""
    code, out, err = command("replay", trace)
    assert (code, out) == (3, "") and "is not here; give it with -m NAME" in err and err.count("\n") == 1
    _change_model(trace, sha256="ab" * 32, name="missing")
    rows = [models.ModelRow("smollm2", "added", Path("/m"), 1, "", here, "ab" * 32) for here in (False, True)]
    monkeypatch.setattr(models, "listing", lambda: rows[:1])
    assert "is not here" in command("replay", trace)[2]
    monkeypatch.setattr(models, "listing", lambda: rows)
    code, _, err = command("replay", trace)  # the world's model has no checksum: found, then refused
    assert code == 3 and "was written by missing (exact, sha256 abababababab), not by table" in err
    assert command("replay", trace, "--any-weights")[0] == 0


@pytest.mark.parametrize(("by", "code"), [(2e-4, 0), (3.0, 4)])
def test_replay_with_other_numbers(
    by: float, code: int, command: Any, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One logit of 295 off by 2e-4 stays within the tolerance of 5e-4; off by 3 it does not."""
    monkeypatch.setattr(tg, "load", lambda name, precision: shifted(by))
    ended, out, err = command("replay", trace, "-m", "smollm2")
    assert ended == code
    document = json.loads(command("replay", trace, "-m", "smollm2", "--json")[1])
    assert document["equal"] is (code == 0) and document["identical"] is False
    if code == 0:
        assert err == "" and "within 0.0005" in out and "the first difference: place 1" in out
        return
    found = document["first_mismatch"]
    assert err.startswith("tokenglass: place 1: ") and err.count("\n") == 1
    assert err.count("table (table exact tokenglass") == 2, "both engines"
    assert str(found["recorded"]) in err and str(found["now"]) in err
    assert "not the same: place 1" in out


def test_replay_refuses_another_vocabulary(
    command: Any, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _change_model(trace, vocab_size=296)
    code, _, err = command("replay", trace, "-m", "smollm2", "--any-weights")
    assert code == 3 and "has ids of 296 tokens, table has 295" in err


def test_replay_without_a_function_that_decided(command: Any, tmp_path: Path) -> None:
    """A function is named in a trace, not held: without it no comparison would mean anything."""
    path = tmp_path / "function.jsonl"
    with_function = {"prefix_allowed_tokens_fn": lambda batch, ids: list(range(200))}
    session = cli_world.load().session(PROMPT, **with_function)
    session.save(path)
    session.step()
    session.close()
    code, out, err = command("replay", path, "-m", "smollm2")
    assert (code, out) == (3, "") and "names prefix_allowed_tokens_fn but cannot hold it" in err
    assert command("open", path)[0] == 0


def test_ctrl_c_in_a_replay(command: Any, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    replaying = importlib.import_module("tokenglass.replaying")
    monkeypatch.setattr(replaying, "written_again", interrupted)
    assert command("replay", trace, "-m", "smollm2") == (130, "", "tokenglass: stopped\n")


def test_views_of_a_replay(trace: Path) -> None:
    from tokenglass.replaying import replay

    same = replay(cli_world.load(), traces.tree_of(traces.read(trace)))
    assert (
        mismatch(same) == ""
        and "the same to the last bit" in str(same)
        and "<script" not in same._repr_html_()
    )
    nasty = Difference(2, "error", "⟨ESC⟩", "broke\x1b[2J", None)
    broken = Replay(4, 1, nasty, nasty, 0.0, 5e-4, {"engine": "x\x1b[2J"}, {})
    for shown in (str(broken), broken._repr_html_(), mismatch(broken)):
        assert "\x1b" not in shown and "fails now: broke⟨ESC⟩[2J" in shown.replace("<i>", "").replace(
            "</i>", ""
        )
    assert json.dumps(broken.to_dict(), allow_nan=False)


# -------------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("x.csv", b"session,node,parent"),
        ("x.JSONL", b'{"session": "kept.jsonl", "node": 0'),
        ("x.dot", b"digraph"),
        ("x.svg", b"<svg"),
        ("x.md", b""),
        ("x.HTML", b"<!doctype html>"),
    ],
)
def test_export_goes_by_the_ending(
    name: str, begins: bytes, command: Any, trace: Path, tmp_path: Path
) -> None:
    code, out, err = command("export", trace, "-o", tmp_path / name)
    assert (code, err) == (0, "") and out.startswith("5 places in ")
    assert (tmp_path / name).read_bytes().startswith(begins) and "time" in (tmp_path / name).read_text()


def test_export_of_candidates_and_by_format(command: Any, trace: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    code, out, _ = command("export", trace, "-o", path, "--format", "csv", "--candidates", "--json")
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert code == 0 and json.loads(out)["rows_n"] == len(rows) and json.loads(out)["rows"] == "candidate"
    assert [row["node"] for row in rows if row["chosen"] == "true"] == ["1", "2", "3", "4"]


def test_export_to_parquet(
    command: Any, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    parquet = pytest.importorskip("pyarrow.parquet")
    assert command("export", trace, "-o", path)[0] == 0
    assert parquet.read_table(path).num_rows == 5
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    code, out, err = command("export", trace, "-o", tmp_path / "y.parquet")
    assert (code, out) == (3, "") and "pip install 'tokenglass[data]'" in err
    assert not (tmp_path / "y.parquet").exists()


def test_export_of_another_programs_response(command: Any, tmp_path: Path) -> None:
    source, path = tmp_path / "response.json", tmp_path / "x.csv"
    source.write_text(json.dumps(RESPONSE))
    code, out, err = command("export", source, "-o", path)
    assert code == 0 and out.startswith("2 candidates in ")
    # exp(-0.5) + exp(-1.5) = 0.6065 + 0.2231: 0.170 is missing
    assert "not said" in err and "up to 0.17 of" in err
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert {row["distribution"] for row in rows} == {"unknown"}
    assert float(rows[0]["missing_p"]) == pytest.approx(0.17034, abs=1e-5)
    assert command("export", source, "-o", tmp_path / "x.svg")[0] == 2
    assert command("export", source, "-o", tmp_path / "x.html")[0] == 2


# ----------------------------------------------------------------------------------------------- bad files


def _bad_files(folder: Path, good: bytes) -> dict[str, tuple[bytes, str]]:
    lines = good.split(b"\n")
    return {
        "no trace": (b"Once upon a time\n", "is no tokenglass trace"),
        "binary": (bytes(range(256)) * 50, "no tokenglass trace"),
        "empty": (b"", "holds no complete header"),
        "torn header": (lines[0][:60], "holds no complete header"),
        "newer": (changed_header(good, schema="tokenglass.trace/2"), "tokenglass.trace/2"),
        "damaged": (b"\n".join([lines[0], b"{}", *lines[2:]]), "is damaged in line 2"),
    }


@pytest.mark.parametrize("kind", ["no trace", "binary", "empty", "torn header", "newer", "damaged"])
def test_files_that_are_no_trace(kind: str, command: Any, trace: Path, tmp_path: Path) -> None:
    data, says = _bad_files(tmp_path, trace.read_bytes())[kind]
    trace.write_bytes(data)
    out = tmp_path / "x.csv"
    for argv in (["open", trace], ["replay", trace, "-m", "smollm2"], ["export", trace, "-o", out]):
        code, printed, err = command(*argv)
        assert (code, printed) == (3, "") and err.startswith("tokenglass: ") and err.count("\n") == 1
        assert argv[0] == "export" or says in err
        assert all(character.isprintable() for character in err[:-1])
        document = json.loads(command(*argv, "--json")[1])
        assert document["error"]["exit_code"] == 3
    assert not out.exists()


def test_paths_that_lead_nowhere(command: Any, trace: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        for argv in (["open", path], ["replay", path], ["export", path, "-o", tmp_path / "x.csv"]):
            code, out, err = command(*argv)
            assert (code, out) == (3, "") and err.count("\n") == 1 and "check the path" in err
    assert command("export", trace, "-o", tmp_path / "no" / "x.csv")[0] == 3
    code, _, err = command("export", trace, "-o", tmp_path / "x.xlsx")
    assert code == 2 and "-o must end in one of .csv, .jsonl" in err
    code, _, err = command("export", trace, "-o", trace)
    assert code == 2 and "must end in" not in err and traces.read(trace).nodes
    assert command("export", trace, "-o", tmp_path / "x.svg", "--candidates")[0] == 2
    assert command("export", trace, "-o", tmp_path / "x.html", "--candidates")[0] == 2


def test_a_torn_end_is_left_out_and_said(command: Any, trace: Path, tmp_path: Path) -> None:
    trace.write_bytes(trace.read_bytes() + b'{"n": 99')
    code, out, err = command("open", trace)
    assert code == 0 and "5 places" in out and err.startswith("note: line ") and "was left out" in err
    code, _, err = command("replay", trace, "-m", "smollm2")
    assert code == 0 and "was left out" in err
    code, _, err = command("export", trace, "-o", tmp_path / "x.csv")
    assert code == 0 and "was left out" in err
    assert "was left out" in json.loads(command("open", trace, "--json")[1])["torn"]


# --------------------------------------------------------------------------------------------- on terminals


def test_going_on_where_it_stood(trace: Path) -> None:
    """The tree, then the stepper at the place in the file; each key is kept, and it can be replayed."""
    pytest.importorskip("termios", reason="pseudo-terminals are a POSIX thing")
    from tests.unit.pseudo_terminal import Terminal

    with Terminal("open", str(trace), "-m", "smollm2") as terminal:
        shown = terminal.wait_for("q quit")
        assert "5 places" in shown and "·time│" in shown
        with Terminal("open", str(trace), "-m", "smollm2") as second:
            assert second.wait() == 0
            assert "is being written by somebody else" in second.screen and "5 places" in second.screen
        terminal.type("\n")
        terminal.wait_for("fell between")
        terminal.type("q")
        assert terminal.wait() == 0
        assert "go on with it: tokenglass open" in terminal.screen.replace("\n", "")
    kept = traces.read(trace)
    assert len(kept.nodes) == 6 and kept.here.id == 5 and kept.nodes[5].parent is kept.nodes[4]
    before = trace.read_bytes()
    copy = trace.with_name("copy.jsonl")
    with Terminal("open", str(trace), "-m", "smollm2", "--save", str(copy)) as terminal:
        terminal.wait_for("q quit")
        terminal.type("\nq")
        assert terminal.wait() == 0
    assert len(traces.read(copy).nodes) == 7 and len(traces.read(trace).nodes) == 6
    assert trace.read_bytes().startswith(before[:-1])


def test_only_looking(trace: Path) -> None:
    """Without its model a terminal shows the tree as a pipe does, and says why that is all."""
    pytest.importorskip("termios", reason="pseudo-terminals are a POSIX thing")
    from tests.unit.pseudo_terminal import Terminal

    with Terminal("open", str(trace)) as terminal:
        assert terminal.wait() == 0
        assert "is not here; give it with -m NAME" in terminal.screen.replace("\n", "")
        assert "5 places" in terminal.screen and "q quit" not in terminal.screen


def test_a_trace_that_cannot_be_written(trace: Path) -> None:
    """A link can be read and is not written through; the same goes for a file without the right to write."""
    pytest.importorskip("termios", reason="pseudo-terminals are a POSIX thing")
    from tests.unit.pseudo_terminal import Terminal

    link = trace.with_name("link.jsonl")
    link.symlink_to(trace)
    with Terminal("open", str(link), "-m", "smollm2") as terminal:
        assert terminal.wait() == 0
        assert "cannot be written" in terminal.screen.replace("\n", " ") and "5 places" in terminal.screen


def test_light_imports(trace: Path) -> None:
    """Looking at a trace and exporting it start no engine and need no tokenizer."""
    code = "import sys; from tokenglass.cli import run; run(sys.argv[1:]); print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "open", str(trace)], capture_output=True, timeout=60, check=True
    )
    assert b"5 places" in ran.stdout
    assert not {"onnxruntime", "torch", "tokenizers", "gguf"} & set(ran.stdout.decode().split())
