"""`tokenglass batch` in files and folders: what goes in, what comes out, and what stops a run in one line."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

import tokenglass
from tests import batch_model
from tests.batch_model import write_jsonl
from tokenglass.cli import run
from tokenglass.model import Model

ROWS = 23


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = batch_model.make(tmp_path_factory.mktemp("model") / "m")
    with tokenglass.load(str(folder)) as model:
        yield model


@pytest.fixture
def batch(small: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """Runs `tokenglass batch` over the small model in this process: (code, stdout, stderr)."""
    monkeypatch.setattr(tokenglass, "load", lambda *_, **__: small, raising=False)
    monkeypatch.chdir(tmp_path)

    def ran(*words: str) -> tuple[int, str, str]:
        code = run(["batch", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return ran


def parts(folder: str | Path) -> list[Path]:
    return sorted(Path(folder).glob("part-*"))


def rows(folder: str | Path) -> list[dict[str, Any]]:
    found = []
    for part in parts(folder):
        if part.suffix == ".parquet":
            found += parquet.read_table(part).to_pylist()
        else:
            found += [json.loads(line) for line in part.read_text(encoding="utf-8").splitlines()]
    return found


def contents(folder: str | Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in parts(folder)}


# --------------------------------------------------------------------------------------- what goes in


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv", "parquet"])
def test_every_format_means_the_same_rows(batch: Any, small: Model, kind: str) -> None:
    prompts = [*batch_model.prompts(ROWS), 'naïve, "quoted"', " spaces "]
    path = Path(f"in.{kind}")
    if kind == "txt":
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(prompts).encode())  # as Windows' editors write it
    elif kind == "jsonl":
        write_jsonl(path, [*prompts[:5], *({"prompt": p, "other": 1} for p in prompts[5:])])
    elif kind == "csv":
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["other", "text"], *(["x", p] for p in prompts)])
    else:
        parquet.write_table(pyarrow.table({"prompt": prompts, "n": range(len(prompts))}), path)
    code, _, err = batch(str(path), "-o", "out", "-n", "3", "--part-rows", "10")
    assert (code, err) == (0, "")
    found = rows("out")
    assert [row["prompt"] for row in found] == prompts and not any(row["error"] for row in found)
    assert [row["row"] for row in found] == list(range(len(prompts)))
    assert [row["id"] for row in found] == [str(i) for i in range(len(prompts))]
    for row in found:
        table = small.next_tokens(row["prompt"], n=3)
        assert row["ids"] == [each.id for each in table.rows]
        assert row["bytes"] == [each.token.bytes for each in table.rows]
        assert row["logits"] == pytest.approx([each.logit for each in table.rows], abs=5e-4)
        assert row["p"] == pytest.approx([each.p for each in table.rows], abs=1e-4)
        assert row["rest_p"] == pytest.approx(table.rest_p, abs=1e-4)
    assert json.loads(Path("out/_SUCCESS").read_text())["rows"] == len(prompts)


TASKS: dict[str, tuple[list[str], Any]] = {
    "score": (["--top", "0"], lambda m, p: (m.score(p).bits, "bits")),
    "generate": (["--max-new-tokens", "4"], lambda m, p: (m.generate(p, max_new_tokens=4).text, "text")),
    "candidates": (
        ["--options", "a", "--options", "bc"],
        lambda m, p: (m.score_options(p, ["a", "bc"]).best.text, "best"),
    ),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_every_task_and_both_formats(batch: Any, small: Model, task: str, form: str) -> None:
    prompts = batch_model.prompts(6)
    write_jsonl(Path("in.jsonl"), prompts)
    words, wanted = TASKS[task]
    code, out, err = batch("in.jsonl", "-o", "out", "--task", task, "--format", form, "--json", *words)
    summary = json.loads(out)
    assert (code, err, summary["rows_done"], summary["complete"]) == (0, "", 6, True)
    for prompt, row in zip(prompts, rows("out"), strict=True):
        value, column = wanted(small, prompt)
        assert row[column] == (pytest.approx(value, abs=1e-2) if isinstance(value, float) else value)


def test_strategies_and_chat_and_own_keywords(batch: Any, small: Model) -> None:
    own = {"prompt": "ab", "id": "mine", "config": {"max_new_tokens": 2, "seed": 5}}
    write_jsonl(Path("in.jsonl"), [own, {"ids": [1, 2]}])
    words = ("--task", "strategies", "--only", "top_p", "--max-new-tokens", "3")
    assert batch("in.jsonl", "-o", "out", *words)[0] == 0
    first, second = rows("out")
    assert first["id"] == "mine" and [s["name"] for s in first["strategies"]] == ["greedy", "top_p"]
    single = small.strategies("ab", ["top_p"], max_new_tokens=2, seed=5)
    assert [s["ids"] for s in first["strategies"]] == [list(r.generation.ids) for r in single.rows]
    assert second["error"] is None and len(second["strategies"][0]["ids"]) <= 3


def test_rows_that_draw_have_seeds_of_their_own(batch: Any, small: Model) -> None:
    write_jsonl(Path("in.jsonl"), ["ab"] * 6)
    words = ("--task", "generate", "--do-sample", "--temperature", "3.0", "--max-new-tokens", "6")
    batch("in.jsonl", "-o", "out", *words)
    found = rows("out")
    assert len({row["seed"] for row in found}) == 6 and len({row["text"] for row in found}) > 1
    for row in found:
        options = {"do_sample": True, "temperature": 3.0, "max_new_tokens": 6, "seed": row["seed"]}
        assert list(small.generate("ab", **options).ids) == row["ids"]
    batch("in.jsonl", "-o", "same", *words, "--seed", "3")
    assert {row["seed"] for row in rows("same")} == {3}


# ------------------------------------------------------------------------------------------ bad rows

BAD = [
    (b'{"prompt": "a"', "not JSON"),
    (b"\xff\xfe", "not UTF-8"),
    (b"17", "a line is a text, a list of ids or an object, got int"),
    (b'{"id": "x"}', "no prompt: none of prompt, text, messages, ids is there"),
    (b'{"prompt": [9999]}', "token id must be in [0, 256], got 9999"),
    (b'{"prompt": 5}', "a prompt is a text, a list of token ids or a list of messages, got int"),
    (b'{"prompt": "a", "config": {"temperature": -1, "do_sample": true}}', "temperature must be"),
    (b'{"prompt": "a", "config": {"top_kk": 1}}', "unknown keyword 'top_kk'"),
    (b'{"prompt": "a", "config": []}', "config must be an object"),
    (b'{"messages": [{"role": "user", "content": "a"}]}', "chat template"),
    (json.dumps("x" * 300).encode(), "the prompt has 300 tokens but the model's context holds 256"),
    (b'"\\ud800"', "surrogate"),
    (b"[" * 5000, "nested too deeply"),
]


def test_a_bad_row_says_so_and_the_others_are_done(batch: Any) -> None:
    lines = [line for bad, _ in BAD for line in (b'"good"', bad)]
    Path("in.jsonl").write_bytes(b"\n".join([*lines, b"", b"   ", b'"good"']))
    code, out, err = batch("in.jsonl", "-o", "out", "-n", "1")
    assert (code, err) == (0, "") and f"{len(BAD)} rows with an error" in out
    found = rows("out")
    assert len(found) == 2 * len(BAD) + 1
    good = [row for row in found if row["error"] is None]
    assert len(good) == len(BAD) + 1 and all(row["ids"] == good[0]["ids"] for row in good)
    for (_, says), row in zip(BAD, found[1::2], strict=False):
        assert says in row["error"] and "\n" not in row["error"] and row["ids"] is None
    assert "1,021" not in out


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("in.csv", b'id,prompt\n1,"a"\n2,b,c\n3,\xff\n4,\n'),
        ("in.txt", b"a\n\xff\n" + b"b" * 300 + b"\n\n"),
    ],
)
def test_bad_rows_of_other_formats(batch: Any, name: str, data: bytes) -> None:
    Path(name).write_bytes(data)
    assert batch(name, "-o", "out", "-n", "1")[0] == 0
    assert [bool(row["error"]) for row in rows("out")] == [False, True, True, False]


# ------------------------------------------------------------------------------ stopped and resumed


def test_what_is_missing_is_made_again_byte_for_byte(batch: Any) -> None:
    write_jsonl(Path("in.jsonl"), batch_model.prompts(ROWS))
    words = ("in.jsonl", "-n", "2", "--part-rows", "5")
    batch(*words, "-o", "whole")
    batch(*words, "-o", "again")
    before = contents("again")
    Path("again/part-000001.parquet").unlink()
    Path("again/part-000004.parquet").unlink()
    Path("again/_SUCCESS").unlink()
    torn = Path("again/.part-000001.parquet.part-999999999-00")
    torn.write_bytes(b"PAR1 torn")
    code, out, _ = batch(*words, "-o", "again", "--json")
    summary = json.loads(out)
    assert (code, summary["rows_done"], summary["rows_before"]) == (0, 8, 15)
    assert contents("again") == contents("whole") == before and not torn.exists()
    assert json.loads(batch(*words, "-o", "again", "--json")[1])["rows_done"] == 0


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (["-n", "3"], "begun with n 2, and now it is 3"),
        (["-n", "2", "--part-rows", "6"], "begun with part_rows 5, and now it is 6"),
        (["-n", "2", "--do-sample"], "begun with do_sample null, and now it is true"),
        (["--task", "score"], "begun with task "),
        (["-n", "2", "-m", "other"], "begun with model name "),
        (["-n", "2", "--format", "jsonl"], "begun with format "),
        (["-n", "2", "--chat"], "begun with chat false, and now it is true"),
    ],
)
def test_other_settings_are_refused_by_name(batch: Any, changed: list[str], says: str) -> None:
    write_jsonl(Path("in.jsonl"), batch_model.prompts(ROWS))
    batch("in.jsonl", "-o", "out", "-n", "2", "--part-rows", "5")
    before = contents("out")
    words = changed if "--part-rows" in changed else [*changed, "--part-rows", "5"]
    code, out, err = batch("in.jsonl", "-o", "out", *words)
    assert code == 3 and says in err and err.count("\n") == 1 and out == ""
    assert contents("out") == before


def test_another_input_is_refused(batch: Any) -> None:
    write_jsonl(Path("in.jsonl"), batch_model.prompts(ROWS))
    batch("in.jsonl", "-o", "out")
    os.rename("in.jsonl", "moved.jsonl")
    assert batch("moved.jsonl", "-o", "out")[0] == 0  # the same bytes elsewhere
    with open("moved.jsonl", "a") as file:
        file.write('"more"\n')
    code, _, err = batch("moved.jsonl", "-o", "out")
    assert code == 3 and "begun with input " in err


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_shards_are_disjoint_and_complete(batch: Any, shards: int) -> None:
    """Every part is made by one shard, whichever comes first; only the last one finds the folder complete."""
    write_jsonl(Path("in.jsonl"), batch_model.prompts(ROWS))
    words = ("in.jsonl", "-n", "2", "--part-rows", "5")
    batch(*words, "-o", "whole")
    made: dict[str, int] = {}
    for shard in range(shards, 0, -1):
        assert not Path("out/_SUCCESS").exists()
        before = set(contents("out"))
        summary = json.loads(batch(*words, "-o", "out", "--shard", f"{shard}/{shards}", "--json")[1])
        for name in set(contents("out")) - before:
            assert name not in made
            made[name] = shard
        assert summary["complete"] == (shard == 1) and summary["rows_before"] == 0
    assert contents("out") == contents("whole") and len(made) == 5
    assert all((int(name[5:11]) % shards) + 1 == shard for name, shard in made.items())


def test_ctrl_c_keeps_whole_parts(batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenglass.cli import batching

    write_jsonl(Path("in.jsonl"), batch_model.prompts(ROWS))
    make, made = batching.run_part, []

    def interrupted(*given: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(make(*given))
        return made[-1]

    monkeypatch.setattr(batching, "run_part", interrupted)
    code, _, err = batch("in.jsonl", "-o", "out", "--part-rows", "5")
    assert code == 130 and "the same command goes on" in err
    assert len(parts("out")) == 2 and not Path("out/_SUCCESS").exists()


# ----------------------------------------------------------------------------------------- OpenAI's


def requests() -> list[dict[str, Any]]:
    """Requests as the reference of the batch API has them, and wrong ones."""
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/completions", {"model": "m", "prompt": "ab", "max_tokens": 5, "temperature": 0}),
        (
            "/v1/completions",
            {"model": "m", "prompt": [1, 2], "n": 2, "seed": 7, "max_tokens": 3, "logprobs": 2},
        ),
        ("/v1/completions", {"model": "m", "prompt": "ab", "temperature": 0, "stop": ["@"], "echo": True}),
        ("/v1/completions", {"model": "m", "prompt": "ab", "stream": True}),
        ("/v1/completions", {"model": "m", "prompt": "ab", "temperature": 9}),
        ("/v1/completions", {"model": "m", "prompt": ["a", "b"]}),
        ("/v1/completions", {"model": "m"}),
        ("/v1/embeddings", {"model": "m", "input": "ab"}),
        ("/v1/completions", {"model": "m", "prompt": "ab", "frobnicate": 1}),
    ]
    return [
        {"custom_id": f"request-{i}", "method": "POST", "url": url, "body": body}
        for i, (url, body) in enumerate(bodies)
    ]


def test_openai_requests_become_responses(batch: Any, small: Model) -> None:
    completion = pytest.importorskip("openai.types").Completion
    write_jsonl(Path("in.jsonl"), requests())
    code, out, err = batch("in.jsonl", "-o", "out")
    assert (code, err) == (0, "") and "6 rows with an error" in out
    lines = rows("out")
    assert [line["custom_id"] for line in lines] == [f"request-{i}" for i in range(9)]
    assert [line["error"] is None for line in lines] == [True] * 3 + [False] * 6
    said = [line["error"] and line["error"]["message"] for line in lines]
    for says, message in zip(
        ("'stream'", "at most 2", "several prompts", "must have 'prompt'", "url must be", "'frobnicate'"),
        said[3:],
        strict=True,
    ):
        assert says in message
    for line in lines[:3]:
        assert line["response"]["status_code"] == 200
        completion.model_validate(line["response"]["body"], strict=True)
    greedy, drawn, echoed = (line["response"]["body"] for line in lines[:3])
    single = small.generate("ab", max_new_tokens=5, preset="vllm", temperature=0)
    assert greedy["choices"][0]["text"] == single.text
    assert greedy["usage"] == {"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7}
    texts = small.generate([1, 2], max_new_tokens=3, preset="vllm", seed=7, num_return_sequences=2)
    assert [choice["text"] for choice in drawn["choices"]] == [s.text for s in texts.sequences]
    logprobs = drawn["choices"][1]["logprobs"]
    assert logprobs["token_logprobs"] == pytest.approx(
        [step.logprob for step in texts.sequences[1].steps], abs=5e-4
    )
    assert all(len(top) == 2 for top in logprobs["top_logprobs"])
    assert echoed["choices"][0]["text"].startswith("ab")


def test_openai_chat_and_stop_strings(batch: Any, small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop string is left out of the text, as OpenAI leaves it out."""
    chat = pytest.importorskip("openai.types.chat").ChatCompletion
    monkeypatch.setattr(small.tokenizer, "chat_template", "{{ messages[0].content }}:", raising=False)
    text = small.generate("ab:", max_new_tokens=8, preset="vllm", temperature=0).text
    stop = text[3]
    body = {"messages": [{"role": "user", "content": "ab"}], "temperature": 0, "stop": stop}
    more = {"max_completion_tokens": 8, "logprobs": True, "top_logprobs": 3}
    request = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body | more}
    write_jsonl(Path("in.jsonl"), [request])
    batch("in.jsonl", "-o", "out")
    (line,) = rows("out")
    answer = chat.model_validate(line["response"]["body"], strict=True)
    assert answer.choices[0].message.content == text[: text.index(stop)]
    assert answer.choices[0].finish_reason == "stop"
    assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 3


# --------------------------------------------------------------------------------- one-line errors


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["in.jsonl"], 2, "-o"),
        (["none.jsonl", "-o", "out"], 3, "'none.jsonl' cannot be read (No such file or directory)"),
        (["in.doc", "-o", "out"], 3, "must end in .txt, .jsonl, .ndjson, .csv, .parquet, got 'in.doc'"),
        (["no.parquet", "-o", "out"], 3, "cannot be read (no Parquet file"),
        (["folder.txt", "-o", "out"], 3, "cannot be read (Is a directory)"),
        (["in.jsonl", "-o", "in.jsonl"], 3, "cannot be written"),
        (["in.jsonl", "-o", "full"], 3, "holds other files ('x' ...); name a new folder"),
        (["in.jsonl", "-o", "foreign"], 3, "is no manifest of this version"),
        (["in.jsonl", "-o", "out", "--task", "score", "-n", "3"], 2, "-n is an option of --task next"),
        (["in.jsonl", "-o", "out", "--task", "score", "--top-k", "3"], 2, "--top-k is a decoding option"),
        (["in.jsonl", "-o", "out", "--top-p", "2"], 2, "top_p must be in [0, 1], got 2"),
        (["in.jsonl", "-o", "out", "--shard", "3/2"], 2, "must be I/N with I from 1 to N"),
        (["in.jsonl", "-o", "out", "--shard", "x"], 2, "must be I/N with I from 1 to N"),
        (["in.jsonl", "-o", "out", "--workers", "2"], 2, "add --ray local"),
        (["in.jsonl", "-o", "out", "--format", "openai"], 2, "write parquet or jsonl"),
        (["in.jsonl", "-o", "out", "--task", "strategies", "--only", "x"], 2, "there is no strategy 'x'"),
        (["a\0.jsonl", "-o", "out"], 3, "no file has a NUL in its name"),
    ],
    ids=lambda value: ascii(" ".join(value))[-30:] if isinstance(value, list) else "",
)
def test_errors_are_one_line(batch: Any, words: list[str], code: int, says: str) -> None:
    write_jsonl(Path("in.jsonl"), ["a"])
    Path("no.parquet").write_bytes(b"PAR1nothing")
    Path("folder.txt").mkdir()
    for name in ("full", "foreign"):
        Path(name).mkdir()
    Path("full/x").touch()
    Path("foreign/_manifest.json").write_text('{"schema": "tokenglass.batch/99"}')
    found, out, err = batch(*words)
    assert found == code and says in err and err.count("\n") == 1 and out == ""


def test_two_runs_of_one_shard_are_refused(batch: Any) -> None:
    from filelock import FileLock

    write_jsonl(Path("in.jsonl"), ["a"])
    Path("out").mkdir()
    with FileLock("out/.lock-1-of-1"):
        code, _, err = batch("in.jsonl", "-o", "out")
    assert code == 3 and "another process is at work on shard 1-of-1" in err


def test_disk_full_is_one_line_and_the_run_goes_on_later(batch: Any, small: Model, tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk; the manifest fits below it and a part does not."""
    write_jsonl(Path("in.jsonl"), batch_model.prompts(ROWS))
    words = ["batch", "in.jsonl", "-o", "out", "-n", "40", "-m", small.info.source, "--json"]
    argv, environment = batch_model.command(*words)
    limited = ["prlimit", "--fsize=4096", *argv]
    ran = subprocess.run(limited, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 3, ran.stderr
    assert "cannot be written (File too large); free some space" in ran.stderr
    assert ran.stderr.count("\n") == 1 and not parts("out")
    assert batch(*words[1:])[0] == 0 and len(parts("out")) == 1
    assert not list(Path("out").glob(".part-*"))


def test_a_folder_that_cannot_be_written_is_one_line(batch: Any) -> None:
    write_jsonl(Path("in.jsonl"), ["a"])
    code, _, err = batch("in.jsonl", "-o", "/proc/out")  # read-only for everybody, root included
    assert code == 3 and err.count("\n") == 1 and "cannot be written" in err


def test_a_part_that_the_engine_failed_in_is_no_part(batch: Any, small: Model, monkeypatch: Any) -> None:
    """Every row failed for no fault of its own: the run stops, and can go on once the engine is well."""
    write_jsonl(Path("in.jsonl"), batch_model.prompts(ROWS))

    def broken(*_: Any, **__: Any) -> Any:
        raise tokenglass.RemoteError("the server went away; start it again")

    with monkeypatch.context() as patch:
        patch.setattr(type(small.engine), "forward", broken)
        code, _, err = batch("in.jsonl", "-o", "out")
    assert code == 4 and "the server went away" in err and not parts("out")
    assert batch("in.jsonl", "-o", "out")[0] == 0
