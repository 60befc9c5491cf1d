"""The command line as a person meets it: on a terminal, key by key, and in pipes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("termios", reason="pseudo-terminals are a POSIX thing")

from tests.unit import cli_world
from tests.unit.pseudo_terminal import ROOT, Terminal
from tokenglass.cli.keys import split_keys
from tokenglass.views.cells import cell_width

PROMPT = "Once upon a time, generative"
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
CLI = [sys.executable, "-m", "tests.unit.cli_world"]


def test_stepping_with_single_keys() -> None:
    """Append, pick, undo, redo, type, look up, help, quit: each shows what it did, the text stays true."""
    with Terminal(PROMPT) as terminal:
        first = terminal.wait_for("q quit")
        assert "·generative│" in first.replace("gener│ative", "generative") and "·models" in first
        terminal.type("\n")
        terminal.wait_for("·models was the likeliest token")
        terminal.type("2")
        assert "ranked it" not in terminal.wait_for("was put there by hand: 2nd likeliest")
        terminal.type("u")
        terminal.wait_for("taken back; y brings it back")
        terminal.type("y")
        terminal.wait_for(" is back")
        terminal.type("t")
        terminal.wait_for("next text")
        terminal.type(" have\\n\n")
        terminal.wait_for("2 tokens; the last: ⏎ was put there by hand")
        terminal.type("/")
        terminal.wait_for("token (a leading space counts)")
        terminal.type(" upon a\n")
        terminal.wait_for("2 tokens: ·upon ·a; this is the first")
        terminal.type("?")
        assert "probability" not in terminal.wait_for("Enter or →").split("Enter or →")[1].split("\n")[0]
        terminal.type("?")
        terminal.wait_for("next token after")
        terminal.type("x")
        terminal.wait_for("x is no key here")
        terminal.type("q")
        assert terminal.wait() == 0
        assert (
            "·models│" in terminal.screen and "·have│⏎" in terminal.screen and "q quit" not in terminal.screen
        )
        assert terminal.screen.count("next token after") == 1, "the frame is drawn in place"


def test_the_terminal_is_as_before_afterwards() -> None:
    import termios

    with Terminal(PROMPT) as terminal:
        terminal.wait_for("q quit")
        assert not termios.tcgetattr(terminal.theirs)[3] & termios.ICANON
        terminal.type("q")
        terminal.wait()
        assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_undo_at_the_prompt_and_redo_of_nothing_say_so() -> None:
    with Terminal(PROMPT) as terminal:
        terminal.wait_for("q quit")
        terminal.type("u")
        terminal.wait_for("this is the prompt")
        terminal.type("y")
        terminal.wait_for("nothing was taken back here")
        terminal.type("\x04")
        assert terminal.wait() == 0


def test_r_draws_the_last_token_again() -> None:
    """The tokens and the draws are those of a session with the same seed."""
    options = ["--do-sample", "--temperature", "3", "--top-k", "0", "--seed", "11"]
    session = cli_world.load().session(PROMPT, do_sample=True, temperature=3.0, top_k=0, seed=11)
    expected = [session.step().why()]
    for _ in range(2):
        session.undo()
        expected.append(session.step(reroll=True).why())
    assert len({sentence.split(" fell")[0] for sentence in expected}) == 3, "three draws"
    with Terminal(PROMPT, *options, columns=300) as terminal:
        terminal.wait_for("q quit")
        terminal.type("r")
        terminal.wait_for("nothing was drawn yet")
        for key, sentence in zip("\nrr", expected, strict=True):
            terminal.type(key)
            terminal.wait_for(sentence)
        terminal.type("q")
        assert terminal.wait() == 0


def test_r_in_a_greedy_run_says_what_is_missing() -> None:
    with Terminal(PROMPT) as terminal:
        terminal.wait_for("q quit")
        terminal.type("\nr")
        terminal.wait_for("nothing is drawn in a greedy run; start with --do-sample")
        assert "·models│" in terminal.screen
        terminal.type("q")
        assert terminal.wait() == 0


def test_the_end_of_the_text_is_an_answer_not_an_error() -> None:
    """After the last word, "were", comes the end-of-text token, after which nothing is appended unasked."""
    with Terminal(PROMPT) as terminal:
        terminal.wait_for("q quit")
        terminal.type("g")
        terminal.wait_for("it ends the text")
        terminal.type("\n")
        terminal.wait_for("the text has ended (eos)")
        terminal.type("q")
        assert terminal.wait() == 0


def test_ctrl_c_stops_ten_more_and_then_quits() -> None:
    """Once stops writing and keeps what is there; at rest it leaves, with 130 and the terminal restored."""
    import termios

    with Terminal("Once", TOKENGLASS_TEST_STEP_S="1") as terminal:  # ten seconds in which to see the first
        terminal.wait_for("q quit")
        terminal.type("g")
        terminal.wait_for("was the likeliest")
        terminal.type("\x03")
        terminal.wait_for("stopped after")
        assert "·upon│" in terminal.screen
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert termios.tcgetattr(terminal.theirs) == terminal.before
        assert "Traceback" not in terminal.raw


def test_ctrl_c_while_typing_goes_back_to_the_keys() -> None:
    with Terminal(PROMPT) as terminal:
        terminal.wait_for("q quit")
        terminal.type("t")
        terminal.wait_for("next text")
        terminal.type("abc\x03")
        terminal.wait_for("q quit")
        terminal.type("q")
        assert terminal.wait() == 0
        assert "abc│" not in terminal.screen


def test_ctrl_c_keeps_what_generate_has_written() -> None:
    with Terminal("generate", "Once", "--max-new-tokens", "50", TOKENGLASS_TEST_STEP_S="0.3") as terminal:
        terminal.wait_for("Once upon")
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert "finish reason: cancelled" in terminal.screen and "Traceback" not in terminal.raw


def test_sigint_with_json_still_gives_one_document() -> None:
    process = subprocess.Popen(
        [*CLI, "generate", "Once", "--json", "--max-new-tokens", "50"],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in background jobs
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT | {"TOKENGLASS_TEST_STEP_S": "1"},
        cwd=ROOT,
    )
    time.sleep(3.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    document = json.loads(out)
    assert process.returncode == 130 and b"Traceback" not in err
    assert document.get("finish_reason") == "cancelled" or document["error"]["exit_code"] == 130


@pytest.mark.parametrize(("columns", "rows"), [(20, 24), (24, 12), (80, 24), (132, 60)])
def test_every_frame_fits_the_screen(columns: int, rows: int) -> None:
    with Terminal(PROMPT, columns=columns, rows=rows) as terminal:
        terminal.wait_for("q quit")
        terminal.type("\n")
        terminal.wait_for("likeliest")
        terminal.wait_for("q quit")
        lines = terminal.screen.rstrip("\n").split("\n")
        assert max(map(cell_width, lines)) <= columns and len(lines) < rows
        terminal.type("q")
        assert terminal.wait() == 0


def test_colour_only_where_it_is_wanted() -> None:
    with Terminal("next", PROMPT) as terminal:
        assert terminal.wait() == 0 and "\x1b[36m" in terminal.raw
        coloured = terminal.screen
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with Terminal("next", PROMPT, **plain) as terminal:
            assert terminal.wait() == 0 and "\x1b" not in terminal.raw
            assert terminal.screen == coloured


def test_a_dumb_terminal_can_step_too() -> None:
    with Terminal(PROMPT, TERM="dumb") as terminal:
        terminal.wait_for("q quit")
        terminal.type("\n")
        terminal.wait_for("·models was the likeliest")
        terminal.type("q")
        assert terminal.wait() == 0 and "\x1b" not in terminal.raw


def test_a_reader_that_leaves_is_no_error() -> None:
    """`tokenglass tokens ... | head -1`: far more than a pipe holds, a closed reader, silence."""
    process = subprocess.Popen(
        [*CLI, "tokens", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd=ROOT,
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(b"a " * 2_000)
    process.stdin.close()
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_screen_without_the_glyphs_gets_escapes() -> None:
    ran = subprocess.run(
        [*CLI, "tokens", "naïve café"],
        capture_output=True,
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"},
        cwd=ROOT,
        timeout=60,
    )
    assert ran.returncode == 0 and rb"part of \xef" in ran.stdout
    ran.stdout.decode("ascii")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [*CLI, "tokens", "Hi"], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd=ROOT, timeout=60
        )
    assert ran.returncode == 3 and ran.stderr == b"tokenglass: No space left on device; free some space\n"


@pytest.mark.parametrize("closed", ["1", "2", "0"], ids=["stdout", "stderr", "stdin"])
def test_closed_streams_are_no_traceback(closed: str) -> None:
    command = f"exec {closed}>&-; exec {sys.executable} -m tests.unit.cli_world tokens Hi"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, env=ENVIRONMENT, cwd=ROOT, timeout=60)
    assert ran.returncode == 0 and ran.stderr == b""


def test_starting_imports_only_what_it_needs() -> None:
    """The first table is budgeted at a second: what only other commands need is not imported for it."""
    code = (
        "import sys; from tests.unit import cli_world; cli_world.install(); from tokenglass.cli import run;"
        "run(sys.argv[1:]); print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    argv = [sys.executable, "-c", code]
    ran = subprocess.run([*argv, "next", PROMPT], capture_output=True, env=ENVIRONMENT, cwd=ROOT, timeout=60)
    heavy = {"rich", "typer", "pandas", "torch", "transformers", "huggingface_hub", "onnx", "gguf", "jinja2"}
    assert ran.stdout and not heavy & set(ran.stderr.decode().split("\n"))
    light = [
        sys.executable,
        "-c",
        "import sys; from tokenglass.cli import run; run(['--version']); print(*sys.modules)",
    ]
    ran = subprocess.run(light, capture_output=True, env=ENVIRONMENT, cwd=ROOT, timeout=60)
    assert not {"numpy", "argparse", "rich"} & set(ran.stdout.decode().split())


def test_keys_that_arrive_at_once_are_told_apart() -> None:
    assert split_keys("1\r\x1b[C\x1bOD\x1b[5~é/") == ["1", "enter", "right", "left", "\x1b[5~", "é", "/"]
