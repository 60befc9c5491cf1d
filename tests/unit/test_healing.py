"""Token healing: what is taken back, what may come instead, and what the record says, on small vocabularies.

The vocabulary: all bytes, then what the merges make, then control tokens. Logits are given by hand.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import product
from math import exp
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenglass.engines.table import TableEngine
from tokenglass.errors import NoTokenAllowed
from tokenglass.healing import Healing, HealPrefix, heal
from tokenglass.stages import Context, Row
from tokenglass.tokenizer import Tokenizer
from tokenglass.tokenizer.alphabet import to_byte_level
from tokenglass.tokenizer.schemes import scheme_for
from tokenglass.tokenizer.vocabulary import GgufVocabulary, TokenType
from tokenglass.types import Token

MERGES = [
    "h t",
    "t p",
    "ht tp",
    "http s",
    ": /",
    ":/ /",
    "http :",
    "http: //",
    "/ /",
    "Ġ x",
    "Ġx y",
    "Ã ©",
    "é d",
]
MERGES = [merge.replace("é", "Ã©") for merge in MERGES]
TOKENS = [*(to_byte_level(bytes([b])) for b in range(256)), *(merge.replace(" ", "") for merge in MERGES)]
BOS, EOS = len(TOKENS), len(TOKENS) + 1
NAMED = ["<s>", "<|end|>"]
SIZE = len(TOKENS) + 2


def tokenizer(roles: dict[str, int] | None = None, **fields: Any) -> Tokenizer:
    types = {BOS: int(TokenType.CONTROL), EOS: int(TokenType.CONTROL)}
    roles = {"bos": BOS, "eos": EOS} if roles is None else roles
    vocabulary = GgufVocabulary(
        "gpt2", "gpt-2", [*TOKENS, *NAMED], MERGES, types=types, roles=roles, **fields
    )
    return Tokenizer(scheme_for(vocabulary), roles=roles)


OURS = tokenizer()


def ids(*texts: str) -> list[int]:
    return [OURS.find(text) for text in texts]


def scored() -> Tokenizer:
    """As if the vocabulary were SentencePiece's."""
    scheme = copy.copy(OURS.scheme)
    scheme.kind = "SentencePiece BPE"
    return Tokenizer(scheme, roles=OURS.roles)


def engine(logits: dict[str, float]) -> TableEngine:
    """The same logits after every text: 0 for what is not named."""
    row = np.zeros(SIZE, np.float32)
    for text, logit in logits.items():
        row[OURS.find(text)] = logit
    return TableEngine(lambda _: row, SIZE)


def texts(tokens: Sequence[Token]) -> list[bytes]:
    return [token.bytes for token in tokens]


# ------------------------------------------------------------------------------------------------- the mask


class Words:
    """A vocabulary of given tokens; the last one is a control token."""

    def __init__(self, *tokens: bytes) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens) + 1

    def token(self, token_id: int) -> Token:
        if token_id == len(self.tokens):
            return Token(token_id, self.tokens[0], "control")  # its name is no text
        return Token(token_id, self.tokens[token_id])

    def find(self, text: str) -> int:
        return self.tokens.index(text.encode())


def allowed(stage: HealPrefix, *generated: int) -> list[int]:
    size = len(stage.vocabulary)
    row, _ = stage.apply(Row.of(np.zeros(size)), Context((0,), generated), None)
    return np.flatnonzero(row.scores > -np.inf).tolist()


def test_only_what_agrees_with_the_bytes_taken_back_is_allowed() -> None:
    """Missing "ab": "ab" and "abc" go on from it, "a" begins it, "b" and "x" contradict; the last is none."""
    stage = HealPrefix(b"ab", Words(b"ab", b"a", b"abc", b"b", b"x"))
    assert allowed(stage) == [0, 1, 2]
    assert allowed(stage, 1) == [3]  # after "a" the "b" is missing
    assert allowed(stage, 1, 3) == allowed(stage, 2) == [0, 1, 2, 3, 4, 5]  # written again: anything goes
    assert allowed(stage, 4) == [0, 1, 2, 3, 4, 5]  # contradicted by hand: there is nothing left to heal
    assert stage.params == {"removed": "ab"}


def test_no_beginning_is_allowed_that_nothing_can_complete() -> None:
    """No token begins with "b", so "a" cannot be the beginning of "abc": only the whole is allowed."""
    assert allowed(HealPrefix(b"abc", Words(b"abcd", b"a", b"c"))) == [0]


def test_a_row_of_candidates_keeps_its_candidates() -> None:
    stage = HealPrefix(b"a", Words(b"b", b"a", b"ab"))
    row, _ = stage.apply(Row.of([3.0, 2.0, 1.0, 0.0], candidates=True), Context((0,)), None)
    assert row.scores.tolist() == [-np.inf, 2.0, 1.0, -np.inf]


def test_nothing_to_heal_with_is_refused() -> None:
    with pytest.raises(ValueError, match="removed must be at least one byte"):
        HealPrefix(b"", OURS)


@given(
    st.lists(
        st.binary(min_size=1, max_size=3).map(lambda b: bytes(x % 2 + 97 for x in b)), min_size=1, max_size=6
    ),
    st.data(),
)
def test_the_mask_allows_exactly_the_sequences_that_write_the_bytes(tokens: list[bytes], data: Any) -> None:
    """Against all sequences of up to 4 tokens: right are those that write the bytes and then end."""
    tokens = list(dict.fromkeys(tokens))
    words = Words(*tokens)
    removed = b"".join(data.draw(st.lists(st.sampled_from(tokens), min_size=1, max_size=2)))[:4]
    stage = HealPrefix(removed, words)
    expected, found = set(), set()
    for n in range(1, len(removed) + 1):
        for sequence in product(range(len(tokens)), repeat=n):
            written = b"".join(tokens[i] for i in sequence)
            before = b"".join(tokens[i] for i in sequence[:-1])
            if written.startswith(removed) and len(before) < len(removed):
                expected.add(sequence)
    begun: list[tuple[int, ...]] = [()]
    while begun:
        prefix = begun.pop()
        if not stage.rest(prefix):
            found.add(prefix)
            continue
        begun += [(*prefix, token_id) for token_id in stage.allowed(stage.rest(prefix))]
    assert found == expected


# ---------------------------------------------------------------------------------------------------- bytes


def test_every_token_is_taken_back_from_which_a_longer_one_goes_on() -> None:
    """The prompt is cut as "http" + ":", but "http://" is one token: taking only ":" back would not do."""
    prompt = ids("a", "http", ":")
    healed = heal(engine({"http://": 3.0, "https": 5.0, "x": 9.0}), OURS, prompt, method="bytes")
    assert texts(healed.removed) == [b"http", b":"]
    assert healed.removed_bytes == b"http:"
    assert healed.removed_ids == tuple(prompt[1:])
    assert healed.kept_ids == tuple(prompt[:1])
    assert texts(healed.chosen) == [b"http://"]
    assert healed.prompt_ids == (*ids("a"), *ids("http://"))
    assert healed.original_ids == tuple(prompt)
    assert healed.original_text == "ahttp:"
    assert healed.notes == ()


def test_the_record_has_probabilities_before_and_after_the_mask() -> None:
    """Allowed for "http:": "h", "ht", "http" and "http:" with logit 0 each, and "http://" with 3."""
    healed = heal(engine({"http://": 3.0, "x": 4.0}), OURS, ids("a", "http", ":"), method="bytes")
    step = healed.steps[0]
    before, after = exp(3.0) + exp(4.0) + SIZE - 2, exp(3.0) + 4
    assert step.n_candidates == 5
    assert [c.token.bytes for c in step.candidates] == [b"http://", b"h", b"ht", b"http", b"http:"]
    assert [c.p for c in step.candidates] == pytest.approx([exp(3.0) / before, *[1 / before] * 4], rel=1e-6)
    assert [c.p_final for c in step.candidates] == pytest.approx(
        [exp(3.0) / after, *[1 / after] * 4], rel=1e-6
    )
    assert all(c.continues for c in step.candidates)
    assert step.chosen is step.candidates[0]
    assert healed.summary == "took back 'http' + ':', chose 'http://' (0.83)"


def test_the_bytes_may_be_written_in_pieces() -> None:
    """The model prefers "ht"; then "tp:" is missing, for which "tp" is allowed; then ":" or "://"."""
    logits = {"ht": 5.0, "tp": 4.0, "t": 3.0, "://": 2.0}
    healed = heal(engine(logits), OURS, ids("a", "http", ":"), method="bytes")
    assert texts(healed.chosen) == [b"ht", b"tp", b"://"]
    assert [step.rest for step in healed.steps] == [b"http:", b"tp:", b":"]
    assert healed.steps[2].candidates[0].token.bytes == b"://"


def test_white_space_at_the_end_is_taken_back_too() -> None:
    """The best known case: "... " ends in a token for the space, but words bring their space along."""
    healed = heal(engine({" xy": 1.0}), OURS, ids("a", " "), method="bytes")
    assert texts(healed.chosen) == [b" xy"]


def test_half_a_character_is_completed() -> None:
    """The prompt ends after the first byte of é: "é" and "éd" go on from it."""
    prompt = [*ids("a"), 0xC3]
    healed = heal(engine({"éd": 1.0}), OURS, prompt, method="bytes")
    assert texts(healed.removed) == [b"\xc3"]
    assert texts(healed.chosen) == [b"\xc3\xa9d"]


def test_a_control_token_is_never_taken_back() -> None:
    healed = heal(engine({"https": 1.0}), OURS, [*ids("a", "ht"), BOS, *ids("tp")], method="bytes")
    assert healed.removed == ()
    assert healed.notes == ("no other token begins with 'tp'",)
    healed = heal(engine({"https": 1.0}), OURS, [BOS, *ids("http")], method="bytes")
    assert healed.prompt_ids == (BOS, *ids("https"))


def test_the_first_token_stays() -> None:
    """A model needs something to read, and nothing is invented in its place."""
    healed = heal(engine({"https": 1.0}), OURS, ids("http"), method="bytes")
    assert healed.prompt_ids == tuple(ids("http"))
    assert healed.notes == ("the prompt is a single token, which is never taken back",)
    assert healed.summary == "nothing to heal"


def test_a_model_that_rules_everything_out_is_told() -> None:
    only_x = np.full(SIZE, -np.inf, np.float32)
    only_x[OURS.find("x")] = 0.0
    with pytest.raises(NoTokenAllowed, match="banned by heal_prefix"):
        heal(TableEngine(lambda _: only_x, SIZE), OURS, ids("a", "http"), method="bytes")


# --------------------------------------------------------------------------------------------- transformers


def as_transformers(logits: dict[str, float], text: str) -> Healing:
    return heal(engine(logits), OURS, OURS.encode(text).ids)


def test_transformers_way_takes_one_token_back_and_adds_ten() -> None:
    """The end is ":" (2 + 11 = 13); ":/" (0 + 10) and "://" (3.5 + 10) begin with it; "x" keeps its 12."""
    healed = as_transformers({":": 2.0, "://": 3.5, "x": 12.0}, "-:")
    assert healed.method == "transformers"
    assert texts(healed.removed) == [b":"]
    assert texts(healed.chosen) == [b"://"]
    total = exp(13.0) + exp(13.5) + exp(10.0) + exp(12.0) + SIZE - 4
    step = healed.steps[0]
    assert [c.token.bytes for c in step.candidates[:4]] == [b"://", b":", b"x", b":/"]
    assert [c.p_final for c in step.candidates[:4]] == pytest.approx(
        [exp(13.5) / total, exp(13.0) / total, exp(12.0) / total, exp(10.0) / total], rel=1e-6
    )
    assert step.chosen.p == pytest.approx(exp(3.5) / (exp(2.0) + exp(3.5) + exp(12.0) + SIZE - 3), rel=1e-6)
    assert [c.continues for c in step.candidates[:4]] == [True, True, False, True]
    assert step.n_candidates == 3
    assert healed.summary == "took back ':', chose '://' (0.54)"


def test_the_token_itself_is_favoured_a_little() -> None:
    """2 + 11 = 13 > 2.9 + 10: the model would have preferred "://", and the prompt stays as it was."""
    healed = as_transformers({":": 2.0, "://": 2.9}, "-:")
    assert healed.prompt_ids == healed.original_ids
    assert texts(healed.chosen) == [b":"]


def test_a_bias_is_no_mask_and_the_record_says_so() -> None:
    healed = as_transformers({"x": 14.0}, "-:")
    assert texts(healed.chosen) == [b"x"]
    assert healed.notes == ("'x' does not continue ':': the bias was too small to prevent it",)


def test_the_token_taken_back_is_shown_however_unlikely() -> None:
    others = {letter: 20.0 for letter in "abcdefghijkl"}
    step = as_transformers(others, "-:").steps[0]
    assert len(step.candidates) == 11
    assert step.candidates[-1].token.bytes == b":"


@pytest.mark.parametrize(
    ("ours", "prompt", "why"),
    [
        (tokenizer({}), ids("a", "ht"), "the tokenizer has no begin-of-text token"),
        (scored(), ids("a", "ht"), "the tokenizer is SentencePiece BPE, whose spaces it loses"),
        (OURS, [BOS, *ids("a", "ht")], "the prompt holds control tokens, which it drops"),
        (OURS, [*ids("a"), 0xC3], "the prompt holds half a character, which it replaces"),
        (OURS, ids(" ", " "), "the prompt is nothing but white space"),
        (tokenizer(add_bos=True), ids("a", "ht"), "the tokenizer adds control tokens, which it replaces"),
    ],
)  # fmt: skip
def test_where_transformers_way_fails_bytes_run_and_say_why(
    ours: Tokenizer, prompt: list[int], why: str
) -> None:
    healed = heal(engine({"https": 1.0}), ours, prompt)
    assert healed.method == "bytes"
    assert healed.notes[0] == f"healed by bytes, because transformers' way fails here: {why}"
    assert healed.prompt_ids == heal(engine({"https": 1.0}), ours, prompt, method="bytes").prompt_ids


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "prompt_ids must be at least one id"),
        (([1], "trie"), 'method must be "transformers" or "bytes", got \'trie\''),
    ],
)
def test_bad_arguments_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        heal(engine({}), OURS, arguments[0], method=arguments[1] if len(arguments) > 1 else "transformers")


def test_the_summary_is_safe_to_print() -> None:
    """Allowed: " ", " x" and " xy" with probability e / (e + 2)."""
    healed = heal(engine({" xy": 1.0}), OURS, ids("\x1b", " "), method="bytes")
    assert healed.summary == "took back '·', chose '·xy' (0.58)"
    assert healed.original_text == "\x1b "  # the raw text is for comparing, not for screens
