"""The command line under attack: wrong words, closed and endless streams, full disks, Ctrl-C at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tokenglass as tg
from tokenglass.cli.routing import UsageError, route
from tokenglass.text import safe_line, safe_message

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")} | {
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
    "HF_HUB_OFFLINE": "1",
}
WORLD = [sys.executable, "-m", "tests.unit.cli_world"]
REAL = [sys.executable, "-m", "tokenglass"]
posix = pytest.mark.skipif(os.name != "posix", reason="devices, fifos and signals are a POSIX thing")


def command(
    *args: str | bytes, stdin: Any = subprocess.DEVNULL, program: list[str] = WORLD, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*program, *args],
        stdin=stdin,
        capture_output=True,
        env=ENVIRONMENT | environment,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


def assert_one_line(ran: subprocess.CompletedProcess[bytes], code: int, says: str) -> None:
    error = ran.stderr.decode()
    assert (ran.returncode, ran.stdout) == (code, b"")
    assert error.startswith("tokenglass: ") and error.count("\n") == 1 and says in error
    assert all(character.isprintable() for character in error[:-1])


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["next", "Hi", "-n", "9" * 5000], 2, "of at least 1, got '999"),
        (["next", "Hi", "-n", "1.5"], 2, "must be a whole number of at least 1, got '1.5'"),
        (["next", "Hi", "--position", "nan"], 2, "must be a whole number, such as 0 or -1, got 'nan'"),
        (["generate", "Hi", "--max-time", "x"], 2, "max_time must be a number, got 'x'"),
        (["generate", "Hi", "--max-time", "-1"], 2, "max_time must be a number of seconds above 0"),
        (["generate", "Hi", "--seed", str(1 << 64)], 2, "seed must be a whole number in [0, 2**64 - 1]"),
        (["generate", "Hi", "--eos-token-id", "[" * 100_000], 2, "the value of --eos-token-id"),
        (["generate", "Hi", "--eos-token-id", "9" * 5000], 2, "the value of --eos-token-id"),
        (["generate", "Hi", "--eos-token-id", "Infinity"], 2, "eos_token_id must be ids in"),
        (["generate", "Hi", "--stop-strings", ""], 2, "stop_strings must be texts"),
        (["next", "Hi", "--lookup", ""], 2, "an empty text has no token"),
        (["next", "Hi", "--lookup", "\x1b[31m"], 2, "⟨ESC⟩"),
        (["next", "Hi", "-m", ""], 2, "source must name a model"),
        (["tokens", "Hi", "-m", ""], 2, "source must name a model"),
        (["Once", "upon", "a", "time"], 2, 'as in "Once upon a time"'),
        (["a" * 2000, "b" * 2000], 2, "put the prompt in quotes"),
        (["x" * 1000], 2, "1,000 tokens"),
        (["score", "a" * 5000], 3, "File name too long"),
        (["score", "--text", "Hi", "--top", "9" * 5000], 2, "of at least 0, got '999"),
        (["score", "--text", "Hi", "--options", ""], 2, "options must hold at least one token each"),
        (["compare", "Hi", "--a", "\x1b[31m=5"], 2, "generation keyword"),
        (["compare", "Hi", "--a", "eos_token_id=" + "[" * 100_000], 2, "the value of --eos-token-id"),
        (["compare", "Hi", "--a", "=" * 2000], 2, "generation keyword"),
        (["compare", "Hi", "--with-model", ""], 2, "source must name a model"),
        (["open", "\x1b[31m"], 3, "cannot be read"),
        (["open", "a\x00b"], 3, "cannot be read"),
        (["replay", "/dev/null"], 3, "cannot be read"),
        (["export", "/dev/null", "-o", "x.csv"], 3, "cannot be read"),
        (["export", "x.jsonl", "-o", "x.\x1b"], 2, "-o must end in one of"),
        (["Hi", "--save", "a\x00b"], 3, "cannot be written"),
    ],
    ids=lambda value: ascii(" ".join(value))[:30] if isinstance(value, list) else "",
)
def test_command_lines_that_are_wrong(
    argv: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit import cli_world
    from tokenglass.cli import run

    real = tg.load
    if argv[-1] or argv[-2] not in ("-m", "--with-model"):
        monkeypatch.setattr(tg, "load", cli_world.load, raising=False)
        monkeypatch.setattr(tg, "load_tokenizer", cli_world.load_tokenizer, raising=False)
    else:  # an empty model name goes to the real library
        chosen = lambda name, **options: (cli_world.load if name else real)(name, **options)  # noqa: E731
        monkeypatch.setattr(tg, "load", chosen, raising=False)
    assert run(argv) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("tokenglass: ") and err.count("\n") == 1
    assert says in err and len(err) < 700 and "⟨U+27E8⟩" not in err
    assert all(character.isprintable() for character in err[:-1])


def test_options_without_effect_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit import cli_world
    from tokenglass.cli import run

    monkeypatch.setattr(tg, "load", cli_world.load, raising=False)
    for words in (["generate", "Once"], ["next", "Once"], ["Once"]):
        assert (
            run([*words, "--temperature", "0.5", "--top-k", "5", "--use-cache", "--length-penalty", "2"]) == 0
        )
        assert capsys.readouterr().err.split("\n") == [
            "note: temperature has no effect in a greedy run; add --do-sample",
            "note: top_k has no effect in a greedy run; add --do-sample",
            "note: use_cache has no effect here",
            "note: length_penalty has no effect in a greedy run",
            "",
        ]
        assert run([*words, "--do-sample", "--mirostat", "2", "--top-k", "5"]) == 0
        assert capsys.readouterr().err == "note: top_k has no effect in a mirostat run\n"
        assert run([*words, "--temperature", "0.5", "--json"]) == 0
        out, err = capsys.readouterr()
        document = json.loads(out)
        config = document.get("config") or document["next"]["config"]
        assert err == "" and config["no_effect"] == ["temperature"] and document["warnings"] == []
        assert run(words) == 0 and capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "text", ["", "a", "\x1b[1m⟨x⟩·⏎\n\t◌\u0301", "e\u0301❤\ufe0f\ud800", "no token is ⟨ESC⟩"]
)
def test_messages_stay_as_they_are(text: str) -> None:
    """What was made safe once is not taken apart when it stands in a message."""
    assert safe_message(safe_line(text)) == safe_line(text)
    assert all(character.isprintable() for character in safe_message(text))


@posix
def test_bytes_that_are_no_utf8() -> None:
    assert_one_line(command("next", b"a\xffb"), 2, "argument 2 is not valid UTF-8")
    assert_one_line(command("next", "Hi", "--lookup", b"\xc3"), 2, "argument 4 is not valid UTF-8")
    with pytest.raises(UsageError, match="argument 1"):
        route(["\ud800"])


@posix
def test_utf8_arguments_in_any_locale() -> None:
    """Python reads arguments as ASCII in a bare POSIX locale; the bytes are UTF-8 all the same."""
    plain = {"LC_ALL": "POSIX", "LANG": "", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    ran = command("tokens", "é", "--json", **plain)
    assert ran.returncode == 0 and json.loads(ran.stdout)["text"] == "é"
    assert route([b"\xc3\xa9".decode("ascii", "surrogateescape")]).args == ("é",)


@posix
def test_standard_input_that_never_ends() -> None:
    with open("/dev/zero", "rb") as endless:
        assert_one_line(command("next", "-", stdin=endless), 2, "more than 64 MiB")


def test_a_screen_without_block_glyphs_gets_bars_in_ascii() -> None:
    """Token text keeps its escapes; only what we draw ourselves is drawn otherwise."""
    for encoding in ("ascii", "cp1252"):
        ran = command("next", "Once │", "-n", "2", PYTHONIOENCODING=encoding)
        out = ran.stdout.decode(encoding)
        assert ran.returncode == 0 and "###" in out and "\\u2588" not in out
        assert "Once\\xb7\\u2502" in out or "Once·\\u2502" in out
        strip = command("tokens", "Once upon", PYTHONIOENCODING=encoding).stdout.decode(encoding)
        assert "Once|" in strip


@posix
def test_a_full_disk_with_json_is_still_one_line() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is always full")
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [*WORLD, "next", "Hi", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            cwd=ROOT,
            timeout=60,
            check=False,
        )
    assert ran.returncode == 3
    assert ran.stderr == b"tokenglass: No space left on device; free some space\n"


WITHIN_OUR_CODE = """
import os, sys
from tokenglass.cli import main
from tokenglass.cli.interrupts import heard_at_last

heard_at_last()
os.write(int(sys.argv.pop(1)), b"!")
main()
"""


@posix
@pytest.mark.parametrize("delay", [0.0, 0.15, 0.3, 0.5, 0.8])
def test_ctrl_c_at_any_time(smollm2_files: Any, delay: float) -> None:
    """While importing, loading or writing: 130, at most one line, and what was written is there.

    The clock starts with our first line: what the interpreter does with an interrupt before that, such as
    losing it, is out of our hands.
    """
    reads, writes = os.pipe()
    prompt = ["generate", "Once upon", "--max-new-tokens", "2000", "--eos-token-id", "None"]
    process = subprocess.Popen(
        [sys.executable, "-c", WITHIN_OUR_CODE, str(writes), *prompt],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd=ROOT,
        pass_fds=[writes],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        os.close(writes)
        assert os.read(reads, 1) == b"!"
        time.sleep(delay + 0.005)  # to be inside of main
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        os.close(reads)
        process.kill()
        process.communicate()  # also after a time-out: no pipe and no child is left to the tests that follow
    assert process.returncode == 130
    assert err in (b"", b"tokenglass: stopped\n")
    assert out == b"" or out.startswith(b"Once upon")


SWALLOWED = """
import _thread, sys, time, weakref
from tokenglass.cli.interrupts import heard_at_last

class Thing:
    pass

heard_at_last()
try:
    thing = Thing()
    kept = weakref.ref(thing, lambda _: _thread.interrupt_main())  # raised in here, it is swallowed
    del thing
    time.sleep(30)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_a_swallowed_ctrl_c_comes_again() -> None:
    """Raised in a weak reference's callback, an interrupt only reaches `sys.unraisablehook`."""
    ran = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, timeout=60, env=ENVIRONMENT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"", b"")


TAKEN_FOR_A_NO = """
import ctypes, os, signal, sys
from tokenglass.cli.interrupts import hear, heard_at_last

class Thing:
    def __getattr__(self, name):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the interrupt is raised in here
            pass

heard_at_last()
ask = ctypes.pythonapi.PyObject_HasAttrString
ask.argtypes, ask.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_int
assert ask(Thing(), b"name") == 0  # C has swallowed it
try:
    hear()
except KeyboardInterrupt:
    sys.exit(130)
"""


@posix
def test_a_ctrl_c_that_c_took_for_a_no_is_raised_again() -> None:
    code = [sys.executable, "-c", TAKEN_FOR_A_NO]
    ran = subprocess.run(code, capture_output=True, timeout=60, env=ENVIRONMENT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, b"", b"")


@posix
@pytest.mark.parametrize("kind", ["not a folder", "read-only"])
def test_a_cache_folder_that_takes_nothing(smollm2_files: Any, tmp_path: Path, kind: str) -> None:
    """A model given as a file runs all the same; fetching one says which variable to set."""
    home = Path("/dev/null/x") if kind == "not a folder" else Path("/proc/tokenglass")
    path = str(smollm2_files.path)
    ran = command("next", "Hi", "-n", "1", "-m", path, program=REAL, TOKENGLASS_HOME=str(home))
    assert ran.returncode == 0 and ran.stderr == b"" and b"next token after Hi" in ran.stdout
    ran = command("models", "add", path, program=REAL, TOKENGLASS_HOME=str(home))
    assert_one_line(ran, 3, "set TOKENGLASS_HOME to a folder that can be written")


def test_two_processes_write_the_same_bits(smollm2_files: Any) -> None:
    """Same build, weights, thread count and prompt: one document, byte by byte."""
    argv = ["generate", "Determinism means that", "--max-new-tokens", "6", "--json"]
    first, second = (command(*argv, program=REAL) for _ in range(2))
    assert first.returncode == 0 and json.loads(first.stdout)["ids"] and first.stdout == second.stdout
