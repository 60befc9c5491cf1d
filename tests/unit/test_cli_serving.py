"""`tokenglass serve`: what it refuses before a model is loaded, and the whole of it once, to the signal."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from tokenglass.cli import run


def test_addresses_that_cannot_be_had_are_said_in_a_line(capsys: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        cases = [
            (["--port", "65536"], 2, "must be at most 65535"),
            (["--port", "-1"], 2, "whole number"),
            (["--port", "http"], 2, "whole number"),
            (["--host", "0.0.0.0"], 2, "one address of this machine"),
            (["--port", port], 3, "in use"),
            (["--host", "192.0.2.1"], 3, "assign"),
            (["PROMPT"], 2, "unrecognized arguments"),
            (["--do-sample"], 2, "unrecognized arguments"),
        ]
        for words, code, said in cases:
            assert run(["serve", "--no-open", *words]) == code, words
            err = capsys.readouterr().err
            assert said in err.splitlines()[-1] and "Traceback" not in err, words


def test_another_machine_is_let_in_only_when_asked_for(capsys: Any) -> None:
    """An address for documentation, which no machine has: the note comes before it fails."""
    assert run(["serve", "--no-open", "--host", "192.0.2.1"]) == 3
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("note: 192.0.2.1 can be reached from other machines")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
def test_the_page_is_served_until_a_signal(smollm2_files: Any) -> None:
    """The printed address works, with the printed token, and after the signal nobody is there."""
    command = [sys.executable, "-m", "tokenglass", "serve", "--no-open", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            told = json.loads(process.stdout.readline())
            site, token = told["url"].split("#token=")
            assert (told["host"], told["models"]) == ("127.0.0.1", ["smollm2"])
            with urllib.request.urlopen(site, timeout=20) as page:
                assert b"tokenglass" in page.read()
            headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            body = json.dumps({"prompt": "Once upon a time, generative models"}).encode()
            with urllib.request.urlopen(
                urllib.request.Request(f"{site}api/open", body, headers), timeout=20
            ) as answer:
                assert json.load(answer)["next"]["rows"][0]["token"] == "·like"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) != 0
        finally:
            process.kill()
        assert process.stderr.read() == ""
