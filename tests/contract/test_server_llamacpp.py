"""A real llama.cpp server over SmolLM2: the native engine's numbers, its tokenizer, crashes, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests.conftest import FULL
from tests.contract.server_subjects import QUANTISED, ROUNDED, llama_server
from tokenglass.connecting import _model
from tokenglass.engines.server import Transport
from tokenglass.errors import Unsupported
from tokenglass.numbers import log_softmax

pytest.importorskip("httpx")

PROMPTS = ("Once upon a time, generative models", "The capital of France is")
MORE = (
    "In the beginning of the last century, people",
    "def main():\n    ",
    "Tomorrow we will walk across the",
)
N = 100 if FULL else 10
BEST = 50


@pytest.fixture(scope="module")
def child(smollm2_files: Any) -> Iterator[Any]:
    with llama_server(smollm2_files.path, context=512) as running:
        yield running


@pytest.fixture(scope="module")
def served(child: Any) -> Iterator[Any]:
    """With the server's own tokenizer, as for an address that is all one knows."""
    model = _model(Transport(child.address, revived=child.revive), None)
    yield model
    model.close()


@pytest.fixture(scope="module")
def fast(smollm2_files: Any) -> Iterator[Any]:
    model = tg.load("smollm2", precision="fast")
    yield model
    model.close()


@pytest.mark.parametrize("prompt", PROMPTS + (MORE if FULL else ()))
def test_greedy_and_the_best_fifty(served: Any, fast: Any, smollm2: Any, prompt: str) -> None:
    """Ids exactly; where they part, the margins are below what quantised activations may move.

    Both round activations to int8, in other blocks and orders. The exact engine is the third witness: neither
    may lie farther from it than one side's rounding.
    """
    ids = tuple(fast.tokenize(prompt).ids)
    ours = fast.generate(list(ids), max_new_tokens=N, eos_token_id=None)
    apart = {"llama.cpp from fast": list[Any](), "llama.cpp from exact": [], "fast from exact": []}
    divergence, parted = list[float](), list[float]()
    for step in ours.steps:
        (listing,) = served.engine.forward([_prefix(ids)]).top
        best, theirs = listing.ids[:BEST], listing.logprobs[:BEST].astype(np.float64)
        rounded, exact = (
            log_softmax(each.engine.forward([_prefix(ids)]).logits[0, -1])[best] for each in (fast, smollm2)
        )
        for name, one, other in zip(apart, (theirs, theirs, rounded), (rounded, exact, exact), strict=True):
            apart[name].append(np.abs(one - other))
        divergence.append(float((np.exp(theirs) * (theirs - rounded)).sum()))
        if listing.ids[0] != step.id:  # then their difference moved by both margins together
            moved = float(listing.logprobs[0] - listing.logprobs[listing.ids == step.id][0]) + step.margin
            parted.append(moved)
            assert moved < ROUNDED
        ids = (*ids, step.id)
    most, mean = ({name: f(np.array(each)) for name, each in apart.items()} for f in (np.max, np.mean))
    for name in apart:
        print(f"{name}: {most[name]:.3f} at most, {mean[name]:.3f} in the mean")
    print(f"mean KL over the best {BEST} {np.mean(divergence):.5f}")
    print(f"parted {len(parted)} times in {N} tokens, by a difference that moved by {parted}")
    assert len(parted) <= max(1, N // 10)
    assert most["llama.cpp from fast"] <= QUANTISED
    assert max(most["llama.cpp from exact"], most["fast from exact"]) <= ROUNDED
    assert max(mean.values()) <= 0.25  # 0.16 was the most of five prompts
    assert np.mean(divergence) < 0.02


def _prefix(ids: tuple[int, ...]) -> Any:
    from tokenglass.engines.base import Prefix

    return Prefix(ids)


def test_generate_writes_what_the_server_writes(served: Any, child: Any) -> None:
    """The server's own greedy text, asked for in one piece; ours is a question a token."""
    ids = served.tokenize(PROMPTS[0]).ids
    body = {"prompt": ids, "n_predict": N, "temperature": 0, "n_probs": 1, "samplers": ["temperature"]}
    theirs = served.engine._line.ask("/completion", body)["completion_probabilities"]
    ours = served.generate(PROMPTS[0], max_new_tokens=N)
    assert list(ours.ids) == [each["id"] for each in theirs][: len(ours.ids)]
    for step, each in zip(ours.steps, theirs, strict=False):
        # a batch of one token, and of a prompt with a cached beginning, round differently
        assert step.logprob == pytest.approx(each["logprob"], abs=0.05)


def test_the_servers_own_tokenizer(served: Any, smollm2: Any) -> None:
    """Ids, bytes, spans and kinds equal those that our tokenizer reads from the file."""
    texts = ("Preposterous, I'm flabbergasted!", " \n\t<|im_end|> 日本 é\x00", "😀", "")
    for text in texts:
        for special in (False, True):
            theirs = served.tokenize(text, parse_special=special).tokens
            ours = smollm2.tokenize(text, parse_special=special).tokens
            assert [(t.id, t.bytes, t.span) for t in theirs] == [(t.id, t.bytes, t.span) for t in ours]
    for token_id in (0, 1, 2, 3, 500, 17097, 49151):
        assert served.tokenizer.token(token_id).bytes == smollm2.tokenizer.token(token_id).bytes
    assert served.tokenizer.find(" Paris") == smollm2.tokenizer.find(" Paris")
    with pytest.raises(ValueError, match="no single token"):
        served.tokenizer.find("flabbergasted")
    assert served.info.eos_ids == smollm2.info.eos_ids
    chat = [{"role": "user", "content": "Hi"}]
    assert served.tokenize(chat).ids == smollm2.tokenize(chat).ids


def test_what_it_can_do_is_data(served: Any) -> None:
    found = served.info.peer
    yes = ("ids", "bytes", "raw", "n_probs", "logit_bias", "tokenize", "detokenize")
    assert {name: found[name] for name in yes} == dict.fromkeys(yes, "yes")
    assert found["listed"] == 256 and found["echo"] == found["prompt_logprobs"] == "no"
    assert served.info.vocab_size == 49152 and served.info.context_length == 511


def test_forced_tokens_go_as_ids(served: Any, smollm2: Any) -> None:
    """Tokens that no text is cut into: " Par" + "is" is not " Paris"; the server reads what was forced."""
    session = served.session("The capital of France is")
    for token_id in (smollm2.tokenizer.find(" Par"), smollm2.tokenizer.find("is")):
        session.step(token=token_id)
    reference = smollm2.next_tokens(list(session.ids), n=5)
    mine = session.next
    assert {row.id for row in reference.rows[:3]} <= {row.id for row in mine.rows}
    assert session.steps[1].rank is None or session.steps[1].logprob is not None


def test_unlisted_is_unknown_and_bounded(served: Any, smollm2: Any) -> None:
    table, whole = served.next_tokens(PROMPTS[1]), smollm2.next_tokens(PROMPTS[1])
    least, most = table.entropy_bounds
    assert (
        table.entropy_bits is None and least - 0.2 <= whole.entropy_bits <= most + 0.2
    )  # quantised activations
    far = int(np.argmin(whole.logits))
    row = table.lookup(far)
    assert row.p is row.rank is row.logit is None and row.p_at_most == table.listing.p_at_most
    assert whole.lookup(far).p < row.p_at_most
    assert table.rest_p == pytest.approx(whole.rest_p, abs=0.1)


def test_a_text_is_scored_token_by_token(served: Any, fast: Any, smollm2: Any) -> None:
    """Against the native engines; both round activations to int8, so each number is near and not the same.

    Tokens beyond the best 256 are asked for with longer lists, so every rank is known.
    """
    ids = smollm2.tokenize("The capital of France is Xylophone, flabbergasted by 17 zebras.").ids
    theirs, ours = served.score(ids), fast.score(ids)
    pairs = list(zip(theirs.rows[1:], ours.rows[1:], strict=True))
    assert max(row.rank for row, _ in pairs) > 256 and all(row.rank for row, _ in pairs)
    worst = max(abs(row.logprob - own.logprob) for row, own in pairs)
    print(f"largest difference {worst:.3f}, bits {theirs.bits:.2f} and {ours.bits:.2f}")
    assert worst <= QUANTISED
    assert theirs.bits == pytest.approx(ours.bits, rel=0.05)
    assert 0.5 < theirs.coverage < 1.0 and served.info.peer["told"] == "yes"
    found = [model.score_options("The capital of France is", [" Paris", " Lyon"]) for model in (served, fast)]
    for mine, own in zip(*(each.rows for each in found), strict=True):
        assert mine.logprob == pytest.approx(own.logprob, abs=QUANTISED)


def test_a_crash_is_contained_and_mended(served: Any, child: Any) -> None:
    """SIGKILL to the child: the next question starts it again, and the text goes on."""
    session = served.session("Nobody asked about this before, and so")
    session.step(2)
    before, written = child.pid, session.text
    os.kill(before, signal.SIGKILL)
    session.step()
    assert session.text.startswith(written) and len(session.steps) == 3
    assert child.pid != before and child.is_running


def test_it_ends_with_its_parent(smollm2_files: Any) -> None:
    """A parent that is killed outright takes its server along."""
    code = (
        "import sys, time; from pathlib import Path; from tokenglass.engines.server import Child;"
        "child = Child(Path(sys.argv[1]), 128); print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(smollm2_files.path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _lives(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(600):
        if not _lives(pid):
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the server outlived its parent")


def _lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be counted does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_llama_cpp_cannot_open_is_one_line(tmp_path: Path) -> None:
    from tokenglass.engines.server import Child
    from tokenglass.errors import EngineError

    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(EngineError, match=r"broken\.gguf") as caught:
        Child(broken, 128)
    assert "\n" not in str(caught.value)


def test_loading_a_file_behind_a_server(smollm2_files: Any) -> None:
    """`tg.load("file.gguf", engine="server")`: the server ends with the model."""
    with tg.load(smollm2_files.path, engine="server") as model:
        closed = model.engine._closed.__self__
        assert model.generate(PROMPTS[1], max_new_tokens=1).text == " Paris"
        with pytest.raises(Unsupported, match="repetition_penalty"):
            model.generate(PROMPTS[1], repetition_penalty=1.2)
        assert closed.is_running
    assert not closed.is_running


def test_half_a_character_is_told_like_any_token(served: Any, smollm2: Any) -> None:
    """Left to itself llama.cpp's server says nothing where it draws one; here the best token is one."""
    text = "日本日本日本日"
    ids = [*smollm2.tokenize(text).ids, smollm2.tokenize("本").ids[0]]  # the first bytes of a character
    best = served.next_tokens(ids, n=1).rows[0]
    assert best.token.bytes.decode("utf-8", "replace").count("\ufffd")
    assert best.id == smollm2.next_tokens(ids, n=1).rows[0].id
