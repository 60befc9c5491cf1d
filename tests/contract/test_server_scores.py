"""Scores of a given text from servers: each kind's way, against the rule behind it and against real engines.

What a server says of a token is exact, so the tolerance is that of float32 sums: 1e-5 over a scripted rule,
5e-4 against another implementation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenglass as tg
from tests import batch_model
from tests.contract.scripted_peer import ScriptedPeer
from tests.contract.server_subjects import NamedTokenizer, llama_server, rule
from tests.support import EOS, SIZE
from tokenglass.connecting import _model, connect
from tokenglass.engines.server import Transport
from tokenglass.errors import ContextOverflow, RemoteError, Unsupported
from tokenglass.numbers import log_softmax, rank

pytest.importorskip("httpx")
NEAR = 1e-5  # log-softmax in float64 there, in float32 here
TEXT = "Zebras jump over lazy dogs, and some of them fall"
LISTED = 20


def reference(ids: Any) -> list[np.ndarray]:
    """Log-probabilities in the place of each id but the first, from the rule itself."""
    return [log_softmax(rule(tuple(ids[:i]))) for i in range(1, len(ids))]


def entropy(logs: np.ndarray) -> float:
    wide = logs.astype(np.float64)
    return float(-(np.exp(wide) * wide).sum() / np.log(2))


@pytest.fixture(params=["llama.cpp", "vllm", "echo"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Any, ScriptedPeer]]:
    peer = scripted(request.param)
    with connect(peer.address, None if request.param == "llama.cpp" else NamedTokenizer()) as model:
        yield model, peer
    peer.close()


def scripted(kind: str) -> ScriptedPeer:
    listed = None if kind == "llama.cpp" else LISTED
    tells = {"vllm": "prompt_logprobs", "echo": "echo"}.get(kind, "")
    return ScriptedPeer(rule, "vllm" if kind == "echo" else kind, listed=listed, tells=tells)


def test_every_number_is_that_of_the_rule(served: tuple[Any, ScriptedPeer]) -> None:
    """Log-probabilities and their sums exactly; ranks and entropies exactly or within bounds."""
    model, _ = served
    score = model.score(TEXT, top=5)
    assert score.ids == list(TEXT.encode()) and score.rows[0].logprob is None
    logs = reference(score.ids)
    unlisted = 0
    for row, own in zip(score.rows[1:], logs, strict=True):
        assert row.logprob == pytest.approx(own[row.id], abs=NEAR)
        true = rank(own, row.id)
        assert row.rank == true or (row.rank is None and true >= LISTED)
        unlisted += row.rank is None or row.rank > LISTED
        least, most = row.entropy_bounds
        assert least - 1e-4 <= entropy(own) <= most + 1e-4  # sums of twenty and of all in other precisions
        assert row.entropy_bits is None or row.entropy_bits == pytest.approx(entropy(own), abs=1e-4)
        best = np.argsort(-own, kind="stable")[:5]
        assert [candidate.id for candidate in row.top] == best.tolist()
        assert all(c.logit is None and c.logprob == pytest.approx(own[c.id], abs=NEAR) for c in row.top)
    assert unlisted > 3  # or this would show nothing
    total = sum(own[i] for i, own in zip(score.ids[1:], logs, strict=True))
    assert score.bits == pytest.approx(-total / np.log(2), rel=1e-5)
    listed = [np.exp(np.sort(own)[-LISTED:]).sum() for own in logs]
    assert min(listed) - 1e-3 <= score.coverage <= 1.0
    assert json.loads(json.dumps(score.to_dict(), allow_nan=False))["bits"] == score.bits
    told = "of the probability is known, in the mean" in " ".join(str(score).split())
    assert told == (score.coverage < 1)


def test_it_is_one_question_for_the_text_where_the_server_takes_it(served: tuple[Any, ScriptedPeer]) -> None:
    model, peer = served
    peer.asked.clear()
    model.score(TEXT)
    asked = [path for path, _ in peer.asked if path in ("/completion", "/v1/completions")]
    if peer.kind == "vllm":
        assert len(asked) == 1
    else:  # a place each, and again where a token was not among the best 256 of 257
        assert len(TEXT) - 1 <= len(asked) <= 2 * len(TEXT)


def test_a_text_longer_than_the_context_is_read_in_windows(served: tuple[Any, ScriptedPeer]) -> None:
    """The rule looks two tokens back, so every window but its first place has the same numbers."""
    model, _ = served
    text = TEXT * 2
    score = model.score(text)
    assert score.stride is not None and score.window <= 64 < len(text)
    for row, own in zip(score.rows[1:], reference(score.ids), strict=True):
        assert row.logprob == pytest.approx(own[row.id], abs=NEAR)
    with pytest.raises(ValueError, match="window must be in"):
        model.score(text, window=66)


def test_options_are_scored_by_all_their_tokens(served: tuple[Any, ScriptedPeer]) -> None:
    model, _ = served
    found = model.score_options("Hello", [" you", " dear reader", "!"])
    for row in found.rows:
        ids = [*b"Hello", *row.text.encode()]
        own = [logs[i] for i, logs in zip(ids[5:], reference(ids)[4:], strict=True)]
        np.testing.assert_allclose(row.logprobs, own, atol=NEAR)


def test_a_batch_says_the_same(served: tuple[Any, ScriptedPeer]) -> None:
    model, _ = served
    texts = ["abc", TEXT, ""]
    for score, row in zip(model.map(texts, "score"), map(model.score, texts), strict=True):
        assert score.to_dict() == row.to_dict()
        frame = score.to_pandas()
        assert list(frame["logprob"].isna()) == [True] * min(1, len(frame)) + [False] * (len(frame) - 1)


def test_the_command_line_says_the_same(tmp_path: Path) -> None:
    """In processes of their own, whose connections end with them."""
    peer = scripted("llama.cpp")
    try:
        rows = tmp_path / "in.txt"
        rows.write_text("abc\n" + TEXT + "\n")
        words = ["batch", rows, "-m", peer.address, "-o", tmp_path / "out", "--task", "score"]
        done = batch_model.run(*words, "--format", "jsonl")
        assert done.returncode == 0, done.stderr
        (part,) = (tmp_path / "out").glob("part-*")
        lines = [json.loads(line) for line in part.read_text().splitlines()]
        with connect(peer.address) as model:
            for line, text in zip(lines, ("abc", TEXT), strict=True):
                assert not line["error"] and line["bits"] == model.score(text).bits
                assert len(line["entropies_bits"]) == len(text) and 0.9 < line["coverage"] <= 1.0
        done = batch_model.run("score", "--text", "abc", "-m", peer.address, "--json")
        document = json.loads(done.stdout)
        assert document["engine"] == "server" and document["bits"] == lines[0]["bits"]
        assert "perplexity" in batch_model.run("score", "--text", TEXT, "-m", peer.address).stdout
    finally:
        peer.close()


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("kind", ["vllm", "openai", "sglang"])
def test_elsewhere_it_is_refused_with_the_reason(kind: str, capsys: Any) -> None:
    """A server that lists its likeliest and says nothing of a text's own tokens."""
    peer = ScriptedPeer(rule, kind, listed=LISTED)
    try:
        with connect(peer.address, NamedTokenizer()) as model:
            assert model.info.peer["told"] == "no" and "told" not in model.info.capabilities
            for call in (lambda: model.score(TEXT), lambda: model.score_options("a", ["b", "cd"])):
                with pytest.raises(Unsupported, match="neither prompt_logprobs nor echo"):
                    call()
    finally:
        peer.close()


def test_a_server_that_scores_by_other_numbers_than_it_lists_is_not_asked() -> None:
    """Found out when it is probed: after its temperature, say, or of another model."""
    for tells in ("prompt_logprobs", "echo"):
        peer = ScriptedPeer(rule, "vllm", listed=LISTED, tells=tells)
        peer.amiss = lambda logprob: logprob - 0.5
        try:
            with connect(peer.address, NamedTokenizer()) as model:
                assert model.info.peer[tells] == "yes" and model.info.peer["told"] == "no"
        finally:
            peer.close()


BROKEN = {
    "a token less": lambda rows: rows[:-3],
    "no table": lambda rows: [rows[0], *(5 for _ in rows[1:])],
    "empty tables": lambda rows: [rows[0], *({} for _ in rows[1:])],
    "no list": lambda rows: {"rows": 1},
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("tells", ["prompt_logprobs", "echo"])
def test_answers_that_cannot_be_true_are_one_line(name: str, tells: str) -> None:
    peer = ScriptedPeer(rule, "vllm", listed=LISTED, tells=tells)
    try:
        with connect(peer.address, NamedTokenizer()) as model:

            def fault(answer: Any) -> None:
                choice = answer.document["choices"][0]
                if tells == "echo":
                    choice["logprobs"]["top_logprobs"] = BROKEN[name](choice["logprobs"]["top_logprobs"])
                else:
                    choice["prompt_logprobs"] = BROKEN[name](choice["prompt_logprobs"])
                answer.send(answer.document)

            peer.break_with(fault)
            with pytest.raises(RemoteError, match=r"its answer was not used|answers without") as caught:
                model.score(TEXT)
            assert "\n" not in str(caught.value)
    finally:
        peer.close()


def test_numbers_that_contradict_each_other_are_not_used() -> None:
    """Another text repeated; a rank behind likelier ones; probabilities above one."""
    peer = ScriptedPeer(rule, "vllm", listed=LISTED, tells="prompt_logprobs")
    try:
        with connect(peer.address, NamedTokenizer()) as model:

            def outranked(answer: Any) -> None:
                rows = answer.document["choices"][0]["prompt_logprobs"]
                for row, token in zip(rows[1:], TEXT.encode()[1:], strict=True):
                    row[str(token)] = {"logprob": -0.001, "rank": 200}
                answer.send(answer.document)

            peer.break_with(outranked)
            with pytest.raises(RemoteError, match="its answer was not used"):
                model.score(TEXT)
    finally:
        peer.close()
    peer = ScriptedPeer(rule, "vllm", listed=LISTED, tells="echo")
    try:
        with connect(peer.address, NamedTokenizer()) as model:

            def other(answer: Any) -> None:
                answer.document["choices"][0]["logprobs"]["tokens"][4] = "token_id:9"
                answer.send(answer.document)

            peer.break_with(other)
            with pytest.raises(RemoteError, match="repeats another text"):
                model.score(TEXT)
    finally:
        peer.close()


def test_arguments_are_checked(served: tuple[Any, ScriptedPeer]) -> None:
    model, _ = served
    engine = model.engine
    with pytest.raises(ValueError, match="token id"):
        list(engine.iter_told((5, SIZE), 1, 5))
    with pytest.raises(ValueError, match="start must be in"):
        list(engine.iter_told((5, 6), 2, 5))
    with pytest.raises(ContextOverflow):
        list(engine.iter_told((5,) * 80, 1, 5))
    assert EOS < SIZE


# -------------------------------------------------------------------------------------------- a real server


def test_a_real_server_scores_like_the_native_engine(tmp_path: Path) -> None:
    """A seeded float32 model in llama.cpp, and the same file under the native engine: 5e-4.

    The child keeps keys and values in float32, so only the order of sums differs.
    """
    from tests.parity import gguf_models

    path = tmp_path / "small.gguf"
    gguf_models.write("LlamaConfig", path, "F32", vocabulary=True)
    with llama_server(path, context=128) as child, tg.load(path) as native:
        served = _model(Transport(child.address), None)
        ids = [int(i) for i in np.random.default_rng(5).integers(3, native.info.vocab_size, 60)]
        ours, theirs = native.score(ids), served.score(ids)
        scored = range(1, len(ids))
        np.testing.assert_allclose(
            [theirs.rows[i].logprob for i in scored], [ours.rows[i].logprob for i in scored], atol=5e-4
        )
        assert abs(theirs.bits - ours.bits) < 60 * 5e-4 / np.log(2)
        moved = [i for i in scored if theirs.rows[i].rank != ours.rows[i].rank]
        assert len(moved) <= 6  # neighbours closer than the tolerance, of a model that knows nothing
        for i in scored:
            least, most = theirs.rows[i].entropy_bounds
            assert least - 5e-3 <= ours.rows[i].entropy_bits <= most + 5e-3
        options = [ids[:3], ids[5:6]]
        both = (model.score_options(ids[:9], options).rows for model in (native, served))
        for one, other in zip(*both, strict=True):
            np.testing.assert_allclose(one.logprobs, other.logprobs, atol=5e-4)
        print(f"coverage {theirs.coverage:.4f}, ranks that differ {len(moved)} of {len(scored)}")
        served.close()
