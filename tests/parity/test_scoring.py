"""Scores against transformers' own log-softmax: small models of each family, windows, and the embedded model.

Tolerance 5e-4 on log-probabilities, as in `test_engine_transformers`: both sides sum the same products in
another order, in float32. Ranks may differ by the tokens whose logits are that near to the token's own.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.parity import families
from tests.parity.families import reference
from tests.parity.nasty_text import NASTY
from tokenglass.engines.base import Prefix
from tokenglass.scoring import score, score_options
from tokenglass.types import Score, Token

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
LOGPROB, BITS = 5e-4, 1e-3
FAMILIES = ["gpt2", "llama-grouped", "mistral-window", "qwen2", "qwen3", "neox-4-of-16"]


class Numbers:
    """Names for ids of a model without a vocabulary."""

    def token(self, token_id: int) -> Token:
        return Token(token_id, b"%d " % token_id)

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(f"{token_id} " for token_id in ids)

    def encode(self, text: str, **_: Any) -> Any:
        raise AssertionError("ids are never made of text again")


NAMES: Any = Numbers()


def log_softmax(theirs: Any, ids: Sequence[int]) -> np.ndarray:
    """(T, V): row t is about the token after position t."""
    with torch.no_grad():
        logits = theirs(torch.tensor([list(ids)])).logits[0].float()
        return torch.log_softmax(logits.double(), -1).numpy()


def assert_rows(ours: Score, places: Sequence[int], want: np.ndarray) -> None:
    """The rows at `places` say what these log-probabilities (n, V) say."""
    for place, theirs in zip(places, want, strict=True):
        row = ours.rows[place]
        assert row.logprob is not None and row.rank is not None and row.entropy_bits is not None
        assert abs(row.logprob - theirs[row.id]) < LOGPROB
        ahead, near = ((theirs > theirs[row.id] + margin).sum() for margin in (LOGPROB, -LOGPROB))
        assert ahead < row.rank <= near  # near counts the token itself
        assert abs(row.entropy_bits + (np.exp(theirs) * theirs).sum() / np.log(2)) < BITS
        best = np.sort(theirs)[::-1][: len(row.top)]
        assert np.abs(np.array([c.logprob for c in row.top]) - best).max() < LOGPROB
        assert all(abs(c.logprob - theirs[c.id]) < LOGPROB for c in row.top)


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = tmp_path_factory.mktemp(request.param)
    theirs = families.make(request.param, folder)
    return families.engine(folder, threads=1), theirs


def random_ids(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, families.VOCAB, length).tolist()


def test_every_token(pair: tuple[Any, Any]) -> None:
    """257 ids: the context holds 256, and the last one is only predicted."""
    ours, theirs = pair
    ids = random_ids(1, 257)
    assert_rows(score(ours, NAMES, ids), range(1, 257), log_softmax(theirs, ids[:-1]))


def test_windows(pair: tuple[Any, Any]) -> None:
    """Each window of transformers on its own; 400 ids by windows of 256, and by small ones."""
    ours, theirs = pair
    ids = random_ids(2, 400)
    for keywords, window, stride in (({}, 256, 128), ({"window": 50, "stride": 20}, 50, 20)):
        got, done, start = score(ours, NAMES, ids, **keywords), 1, 0
        while done < len(ids):
            read = ids[start : start + window][: len(ids) - 1 - start]
            places = range(done, start + len(read) + 1)
            assert_rows(got, places, log_softmax(theirs, read)[-len(places) :])
            done, start = places.stop, start + stride
        assert got.least_context == window - stride + 1


def test_options(pair: tuple[Any, Any]) -> None:
    ours, theirs = pair
    prompt = random_ids(3, 30)
    options = [random_ids(seed, length) for seed, length in ((4, 1), (5, 2), (6, 2), (7, 5), (8, 90))]
    options.append([*options[3][:3], 0])  # shares a prefix with another
    names: Any = Numbers()
    names.encode = lambda text, **_: type("None", (), {"ids": [], "tokens": ()})  # no text to compare with
    for row, option in zip(score_options(ours, names, prompt, options).rows, options, strict=True):
        want = log_softmax(theirs, [*prompt, *option])[len(prompt) - 1 : -1]
        assert np.abs(np.array(row.logprobs) - want[range(len(option)), option]).max() < LOGPROB


# ------------------------------------------------------------------------------------ the embedded model

TEXTS = ["The capital of France is Paris, which the miller had never seen.", *NASTY]


def test_smollm2(smollm2: Any, smollm2_transformers: Any) -> None:
    for text in ["\n".join(TEXTS)[:900], "👍🏽 né \x00"]:
        ids = smollm2.tokenize(text).ids
        got = score(smollm2.engine, smollm2.tokenizer, text, bos=False)
        want = log_softmax(smollm2_transformers, ids[:-1])
        assert got.ids == ids and len(want) == got.n_scored
        assert_rows(got, range(1, len(ids)), want)
        total = -want[range(len(want)), ids[1:]].sum()
        assert got.bits == pytest.approx(total / np.log(2), rel=1e-5)
        assert got.perplexity == pytest.approx(np.exp(total / len(want)), rel=1e-4)
        spent = len(text.encode()) - len(smollm2.tokenizer.token(ids[0]).bytes)
        assert got.bits_per_byte == pytest.approx(total / np.log(2) / spent, rel=1e-5)


def test_smollm2_from_bos(smollm2: Any, smollm2_transformers: Any) -> None:
    """Its tokenizer adds no begin-of-text token; scoring does, so that the first token has its numbers."""
    text, bos = TEXTS[0], smollm2.info.bos_id
    plain, got = (score(smollm2.engine, smollm2.tokenizer, text, bos=bos) for bos in (False, None))
    assert plain.rows[0].logprob is None and plain.ids == smollm2.tokenize(text).ids
    assert got.ids == [bos, *plain.ids] and got.n_bytes == len(text.encode())
    assert_rows(got, range(1, len(got.ids)), log_softmax(smollm2_transformers, got.ids[:-1]))


def test_smollm2_options(smollm2: Any, smollm2_transformers: Any) -> None:
    prompt = smollm2.tokenize("Is the sky blue? Answer:").ids
    options = [" Yes", "Yes", " No", "No", " Maybe so", "Maybe so", " It is, on a clear day", "👍"]
    got = score_options(smollm2.engine, smollm2.tokenizer, prompt, options)
    sums = []
    for row, option in zip(got.rows, options, strict=True):
        ids = smollm2.tokenize(option).ids
        want = log_softmax(smollm2_transformers, [*prompt, *ids])[len(prompt) - 1 : -1][range(len(ids)), ids]
        assert [token.id for token in row.tokens] == ids
        assert np.abs(np.array(row.logprobs) - want).max() < LOGPROB
        sums.append(want.sum())
    shares = torch.softmax(torch.tensor(sums), 0).tolist()
    assert [row.share for row in got.rows] == pytest.approx(shares, abs=1e-4)
    assert [len(group.texts) for group in got.groups] == [2, 2, 2, 1, 1]
    assert not any(row.notes for row in got.rows)


def test_a_merge_across_the_boundary_is_said(smollm2: Any) -> None:
    """What is scored are the two tokens as they are; the text of both would be one token."""
    prompt = smollm2.tokenize("Once upon a ti").ids
    merged, apart = score_options(smollm2.engine, smollm2.tokenizer, prompt, ["me", " me"]).rows
    assert merged.notes == ('as one text with the prompt the tokenizer would write "·time" here',)
    assert [token.text for token in merged.tokens] == ["me"] and not apart.notes


def test_a_continuation_gets_no_space_in_front(smollm2: Any) -> None:
    """A tokenizer that puts a space before a text does so at its beginning only, not before what goes on."""
    import tokenglass as tg

    spaced = tg.load_tokenizer("smollm2", add_prefix_space=True)
    assert spaced.encode("Yes").tokens[0].bytes == b" Yes"
    options = ["Yes", " Yes", "né 👍", "\n"]
    for row, want in zip(
        score_options(smollm2.engine, spaced, [504], options).rows,
        score_options(smollm2.engine, smollm2.tokenizer, [504], options).rows,
        strict=True,
    ):
        assert (row.tokens, row.logprob) == (want.tokens, want.logprob)


# ---------------------------------------------------------------------------------------------- memory


def test_scoring_leaves_the_cache_alone(pair: tuple[Any, Any]) -> None:
    """Forward calls between two pieces change neither side; an abandoned text leaves nothing behind."""
    ours, theirs = pair
    ids, other = random_ids(9, 256), random_ids(10, 40)
    before, held = ours.forward([Prefix(tuple(other))]), ours.cache_bytes
    pieces = []
    for piece in ours.iter_logits(ids, chunk=50):
        pieces.append(piece)
        again = ours.forward([Prefix((*other, len(pieces)), before.nodes[0])])
        assert np.abs(again.logits[0] - reference(theirs, [*other, len(pieces)])[-1:]).max() < LOGPROB
    assert np.abs(np.concatenate(pieces) - reference(theirs, ids)).max() < LOGPROB
    assert ours.cache_bytes == held
    text = ours.iter_logits(ids)
    next(text)
    buffers = weakref.ref(text.gi_frame.f_locals["window"].keys_values)
    text.close()
    del text
    gc.collect()
    assert buffers() is None


MEMORY = """
import json, sys, threading, time
import tokenglass as tg
from tokenglass.scoring import score_chunks

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def extra(n, window):
    before, most, done = resident(), [0], threading.Event()
    def watch():
        while not done.wait(0.002):
            most[0] = max(most[0], resident())
    watcher = threading.Thread(target=watch)
    watcher.start()
    ids = [1000 + i * 7919 % 40000 for i in range(n)]
    score_chunks(model.engine, model.tokenizer, ids, window=window).score
    done.set(); watcher.join()
    return most[0] - before

model = tg.load("smollm2")
extra(257, 256)  # what the runtime allocates once
print(json.dumps([extra(257, 256), extra(1100, 256)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_text(smollm2_files: Any) -> None:
    """Four times the text in windows of one size; all logits of the longer one alone would be 216 MB."""
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    short, long = json.loads(result.stdout.splitlines()[-1])
    print(f"extra memory: {short / 1e6:.0f} MB, {long / 1e6:.0f} MB")
    assert long < 1100 * 49152 * 4 / 3
    assert long < short + 20e6  # its ids, its columns, and what the allocator rounds up
