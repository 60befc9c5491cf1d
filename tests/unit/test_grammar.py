"""Constrained text on small vocabularies: masks by hand and against `regex`'s partial matching and `re`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.support import EOS, SIZE, ByteTokenizer, writes
from tokenglass import search
from tokenglass.engines.table import TableEngine
from tokenglass.errors import MissingDependency, NoTokenAllowed
from tokenglass.random import Philox
from tokenglass.select.base import Draw
from tokenglass.stages import Context, Row, Temperature, TopK, run
from tokenglass.types import Token

pytest.importorskip("llguidance")
from tokenglass.stages.grammar import Grammar, Standing

BYTES: Any = ByteTokenizer()


class Pieces:
    """A vocabulary of given pieces; "<end>" is its control token."""

    def __init__(self, *pieces: bytes) -> None:
        self._tokens = [Token(i, p, "control" if p == b"<end>" else "normal") for i, p in enumerate(pieces)]
        self.eos = tuple(t.id for t in self._tokens if t.kind == "control")

    def __len__(self) -> int:
        return len(self._tokens)

    def token(self, token_id: int) -> Token:
        return self._tokens[token_id]

    def find(self, text: str) -> int:
        return next(t.id for t in self._tokens if t.bytes == text.encode())


def pieces_of(*texts: str) -> Any:
    return Pieces(*(text.encode() for text in texts), b"<end>")


def allowed(
    stage: Grammar, written: Sequence[int], eos: tuple[int, ...] = (EOS,), size: int = 0
) -> list[int]:
    row = Row.of(np.zeros(size or len(stage.vocabulary), np.float32))
    after, _ = stage.apply(row, Context((1,), tuple(written), eos_ids=eos), None)
    return np.flatnonzero(after.scores == 0).tolist()


def follow(stage: Grammar, text: str) -> str:
    """What may follow a text, as characters in order; "$" for the end."""
    return "".join("$" if i == EOS else chr(i) for i in allowed(stage, list(text.encode())))


# ----------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("name", "value", "cases"),
    [
        ("regex", "a{2,3}b?", {"": "a", "a": "a", "aa": "ab$", "aaa": "b$", "aab": "$"}),
        ("choice", ["yes", "yes sir", "no"], {"": "ny", "ye": "s", "yes": " $", "yes sir": "$", "n": "o"}),
        ("choice", [".", "a|b", "/"], {"": "./a", ".": "$", "a": "|"}),
        ("regex", r"a/b\/[/]", {"": "a", "a": "/", "a/b": "/", "a/b/": "/", "a/b//": "$"}),
        ("regex", "a\nb\\\nc", {"a": "\n", "a\nb": "\n", "a\nb\n": "c"}),
        ("grammar", 'root ::= "a" "b" "c" | "ab" "d"', {"": "a", "a": "b", "ab": "cd", "abc": "$"}),
        ("grammar", 'start: "(" start ")" | "x"', {"": "(x", "((x": ")", "((x)": ")", "((x))": "$"}),
        (
            "json_schema",
            {"type": "array", "items": {"enum": [1, True]}, "x-guidance": {"whitespace_flexible": False}},
            {"": "[", "[": "1]t", "[1": ",]", "[1,": "1t", "[1,true]": "$"},
        ),
    ],
)
def test_what_may_follow(name: Any, value: Any, cases: dict[str, str]) -> None:
    stage = Grammar(name, value, BYTES)
    assert stage.name == name
    for text, expected in cases.items():
        assert sorted(follow(stage, text)) == sorted(expected), text


def test_every_way_to_write_a_text_is_allowed() -> None:
    """Nothing is forced: long and short tokens, twins with equal bytes, half characters; never empty ones."""
    vocabulary: Any = Pieces(b"he", b"h", b"hello", b"hellx", b"he", b"", b"\xc3", b"\xa9", b"\xff", b"<end>")
    stage = Grammar("regex", "(hello|é)+", vocabulary)
    assert allowed(stage, (), (9,)) == [0, 1, 2, 4, 6]
    assert allowed(stage, (6,), (9,)) == [7]
    assert allowed(stage, (6, 7), (9,)) == [0, 1, 2, 4, 6, 9]


def test_control_tokens_only_where_a_grammar_names_them() -> None:
    vocabulary = pieces_of("a", "<end>")  # token 1 is the text, token 2 the control token of the same bytes
    vocabulary._tokens[1] = Token(1, b"<end>")
    assert allowed(Grammar("regex", "(?s:.)*", vocabulary), (), ()) == [0, 1]
    named = Grammar("grammar", 'start: "a" <end>', vocabulary)
    # the end that the grammar asks for is an end of the text, allowed because the text may end after it
    assert allowed(named, (0,), (2,)) == [2]
    assert named.standing((0, 2), (2,)) == Standing(2, may_end=True, must_end=True, ended=False)


def test_an_end_that_is_ordinary_text_waits_for_the_end() -> None:
    vocabulary = pieces_of("a", "\n", "b")
    stage = Grammar("regex", "a\nb\n?", vocabulary)
    assert allowed(stage, (0,), ()) == [1]
    assert allowed(stage, (0,), (1,)) == []  # here it would end the text too early
    assert allowed(stage, (0, 1, 2), (1,)) == [1]


def test_rows_beyond_the_vocabulary_are_masked() -> None:
    assert allowed(Grammar("regex", "a|b", BYTES), (), (EOS, 300), size=SIZE + 50) == [ord("a"), ord("b")]


def test_without_an_end_of_text_token_the_loop_is_told() -> None:
    """The row is dead because the text is finished, and the standing says so before a row is asked for."""
    stage = Grammar("choice", ["yes"], BYTES)
    ids = tuple(b"yes")
    assert stage.standing(ids[:2]) == Standing(2, may_end=False, must_end=False, ended=False)
    assert stage.standing(ids) == Standing(3, may_end=True, must_end=True, ended=False)
    ledger = run([stage], Row.of(np.zeros(SIZE)), Context((1,), ids))
    assert ledger.states[0].must_end
    with pytest.raises(NoTokenAllowed, match="choice"):
        ledger.require_alive(4)


def test_after_the_end_only_the_end() -> None:
    stage = Grammar("regex", "a+", BYTES)
    ended = (ord("a"), EOS)
    assert stage.standing(ended, (EOS,)).ended
    assert allowed(stage, ended) == [EOS] == allowed(stage, (*ended, EOS))
    with pytest.raises(ValueError, match="does not allow"):
        allowed(stage, (*ended, ord("a")))


# ----------------------------------------------------------------------------------------- other oracles

ALPHABET = ["a", "b", "ab", "ba", "aab", "c", "1", "12", " ", "é", ".", "abc", "bca"]
PATTERNS = [
    r"(a|b)*c",
    r"a{2,4}(b|c)?1*",
    r"(ab|a)(bc|c)?",
    r"[^a]+a?",
    r"([a-zé1]+ )*[0-9]{2}\.",
    r"(a|ab|abc)+1",
    r"é?(b|aé)+",
    r".{3,5}",
    r"(?i:AB)+c|12",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_exactly_the_tokens_that_keep_a_match_possible(pattern: str) -> None:
    """Brute force: every text of up to three tokens, against partial matching of the package `regex`."""
    regex = pytest.importorskip("regex")
    vocabulary = pieces_of(*ALPHABET)
    end = len(ALPHABET)
    stage = Grammar("regex", pattern, vocabulary)

    def right(text: str) -> list[int]:
        going = [i for i, t in enumerate(ALPHABET) if regex.fullmatch(pattern, text + t, partial=True)]
        return going + ([end] if re.fullmatch(pattern, text) else [])

    texts: list[tuple[int, ...]] = [()]
    for _ in range(3):
        for ids in texts:
            assert allowed(stage, ids, (end,)) == right("".join(ALPHABET[i] for i in ids)), ids
        texts = [(*ids, i) for ids in texts for i in allowed(stage, ids, (end,)) if i != end]
    assert texts


def sample(stage: Grammar, seed: int, most: int = 200) -> str | None:
    """A text drawn token by token from random logits through the chain; None where it did not end."""
    rng = np.random.default_rng(seed)
    ids: tuple[int, ...] = ()
    states = None
    eos = (len(stage.vocabulary) - 1,)
    while len(ids) < most:
        context = Context((1,), ids, eos_ids=eos, source=Philox(seed))
        logits = rng.normal(size=len(stage.vocabulary)).astype(np.float32) * 2
        logits[[*b'"}], .12ab', *eos]] += 6  # or random texts rarely end
        ledger = run([stage, Temperature(1.5), TopK(40)], Row.of(logits), context, states)
        states = ledger.states
        token = Draw().select(ledger.row, context).token_id
        if token in eos:
            return b"".join(stage.vocabulary.token(i).bytes for i in ids).decode()
        ids = (*ids, token)
    return None


def sampled(stage: Grammar, count: int = 40) -> list[str]:
    texts = [text for seed in range(count) if (text := sample(stage, seed)) is not None]
    assert len(texts) >= count // 5  # the test is about texts that ended
    return texts


@pytest.mark.parametrize("pattern", [*PATTERNS, r"[à-ü]{1,4}\n?", r"-?[0-9]+(\.[0-9]+)?"])
def test_sampled_texts_match(pattern: str) -> None:
    for text in sampled(Grammar("regex", pattern, BYTES)):
        assert re.fullmatch(pattern, text), text


def test_sampled_texts_are_choices() -> None:
    choices = ["yes", "yes sir", "no", "naïve", "a+b", "(", "日本", " x"]
    found = set(sampled(Grammar("choice", choices, BYTES), 60))
    assert found <= set(choices) and len(found) >= 5


def test_sampled_texts_satisfy_the_schema() -> None:
    """Checked by hand, for want of a validator among the requirements: types, bounds, order and keys."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 3},
            "n": {"type": "integer", "minimum": -5, "maximum": 120},
            "tags": {"type": "array", "items": {"enum": ["x", "y", None]}, "maxItems": 2},
        },
        "required": ["name", "n"],
        "additionalProperties": False,
    }
    for value in (schema, json.dumps(schema)):
        for text in sampled(Grammar("json_schema", value, BYTES), 30):
            found = json.loads(text)
            assert {"name", "n"} <= set(found) <= {"name", "n", "tags"}, text
            assert isinstance(found["name"], str) and len(found["name"]) <= 3, text
            assert type(found["n"]) is int and -5 <= found["n"] <= 120, text
            assert all(tag in ("x", "y", None) for tag in found.get("tags", [])), text
            assert len(found.get("tags", [])) <= 2, text


def test_an_empty_schema_is_any_json() -> None:
    kinds = {type(json.loads(text)) for text in sampled(Grammar("json_schema", {}, BYTES), 60)}
    assert len(kinds) >= 3
    for text in sampled(Grammar("json_schema", {"type": "object"}, BYTES), 20):
        assert isinstance(json.loads(text), dict)


# --------------------------------------------------------------------------------- states, forks, searches


def test_forks_and_undo() -> None:
    """Two continuations of one state, in turns, an older state again, and a fresh stage: the same masks."""
    stage = Grammar("regex", "(ab|ac)+d", BYTES)
    logits = Row.of(np.zeros(SIZE))

    def step(text: str, state: Any) -> Any:
        context = Context((1,), tuple(text.encode()), eos_ids=(EOS,))
        row, after = stage.apply(logits, context, state)
        fresh, _ = Grammar("regex", "(ab|ac)+d", BYTES).apply(logits, context, None)
        assert np.array_equal(row.scores, fresh.scores), text
        return after

    root = step("", None)
    stem = step("a", root)
    left, right = step("ab", stem), step("ac", stem)
    for text in ("aba", "abab", "ababd"):
        left = step(text, left)
        right = step("ac" + text[2:].replace("b", "c"), right)
    assert step("a", root) == stem  # undone
    step("ad"[:1] + "c", left)  # a state of another branch does no harm
    step("ababab", None)  # none at all: from the start
    assert logits.scores.any() == 0


def test_more_branches_than_are_remembered() -> None:
    stage = Grammar("regex", "[ab]{9}c", BYTES)
    texts = [format(i, "09b").replace("0", "a").replace("1", "b") for i in range(200)]
    for text in [*texts, *texts[:3]]:
        assert follow(stage, text) == "c"
    assert len(stage._memory[0]) <= 64


def test_threads_share_a_stage() -> None:
    stage = Grammar("regex", "(ab)*c", BYTES)
    wrong: list[str] = []

    def work(seed: int) -> None:
        for n in np.random.default_rng(seed).integers(0, 60, 100).tolist():
            if sorted(follow(stage, "ab" * n)) != ["a", "c"]:
                wrong.append(f"{seed} {n}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_beams_stay_inside_and_find_the_best() -> None:
    """With room for all, the beams are the whole list: the best three are those of a direct sum."""
    rows = np.random.default_rng(5).normal(size=(SIZE, SIZE)).astype(np.float32)
    engine = TableEngine(lambda ids: rows[ids[-1]], SIZE, eos_ids=(EOS,))
    choices = ["ab", "ac", "b", "bab", "cc", "cca"]
    stage = Grammar("choice", choices, BYTES)
    options = search.BeamOptions(num_beams=8, num_return_sequences=3, length_penalty=0.0)
    films = search.beam_search(
        engine, BYTES, [7], options, [stage], limits=search.Limits(max_new_tokens=6, eos_ids=(EOS,))
    )
    got: Any = None
    while got is None:
        try:
            next(films)
        except StopIteration as end:
            got = end.value

    def score(text: str) -> float:
        ids = [7, *text.encode(), EOS]
        pairs = pairwise(ids)
        return float(sum(rows[a, b] - np.log(np.exp(rows[a].astype(np.float64)).sum()) for a, b in pairs))

    assert [sequence.text for sequence in got] == sorted(choices, key=score, reverse=True)[:3]


def test_lookup_drafts_stay_inside() -> None:
    engine = TableEngine(writes("zzzz"), SIZE, eos_ids=(EOS,))
    stage = Grammar("regex", "(abc){2}", BYTES)
    steps = search.prompt_lookup(
        engine,
        BYTES,
        list(b"abcabx"),
        search.LookupOptions(),
        [stage],
        limits=search.Limits(max_new_tokens=9, eos_ids=(EOS,)),
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert end.value[0].text == "abcabc"
            return


# ----------------------------------------------------------------------------------------------- the books


def test_books() -> None:
    """mass_kept is the probability the constraint left: 2 of 4 equal tokens, then all of one."""
    vocabulary = pieces_of("a", "b", "c")
    stage = Grammar("choice", ["a", "b"], vocabulary)
    ledger = run([stage], Row.of(np.zeros(4)), Context((0,), (), eos_ids=(3,)))
    (_, record) = ledger.stages
    assert (record.name, record.alive, record.removed) == ("choice", 2, 2)
    assert record.mass_kept == pytest.approx(0.5) and record.facts == {"allowed": 2.0}
    assert record.params == {"value": ("a", "b")} and 2 in ledger.removed
    # a row with candidates keeps them all, at -inf
    row, _ = stage.apply(Row.of(np.zeros(4), candidates=True), Context((0,)), None)
    assert row.order is not None and len(row.order) == 4 and row.scores.tolist() == [0, 0, -np.inf, -np.inf]
    # masked before, masked after
    assert Row.of([0, -np.inf, 0, 0]).scores[1] == stage([0, -np.inf, 0, 0])[1]


def test_the_input_is_not_touched_and_equal_values_are_equal() -> None:
    stage = Grammar("regex", "a", BYTES)
    scores = np.zeros(SIZE, np.float32)
    stage(scores)
    assert not scores.any()
    assert stage == Grammar("regex", "a", BYTES) != Grammar("regex", "b", BYTES)
    assert hash(Grammar("choice", ["a"], BYTES)) == hash(Grammar("choice", ("a",), BYTES))


# ------------------------------------------------------------------------------------------------ refusals

DEEP = "[" * 5000 + "]" * 5000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("regexp", "a", "keyword must be one of regex, choice"),
        ("regex", "", "regex must be a text of at least one character, got ''"),
        ("regex", 5, "regex must be a text"),
        ("regex", "a(", "regex cannot be used: unclosed group at character 2"),
        ("regex", "ab(?=c)", "look-around, including .* at character 3"),
        ("regex", "a\\", "lone backslash"),
        ("regex", "(?x)a\nb", r"\(\?x\) must stand on one line"),
        ("regex", "é" * 5001, "at most 10,000 bytes long, got 10002"),
        ("regex", "a{99999999999}", "decimal literal invalid"),
        ("regex", "\ud800", "half a character"),
        ("choice", [], "choice must be 1 to 10,000 texts, got 0"),
        ("choice", ["x"] * 10_001, "got 10001"),
        ("choice", "yes", "choice must be a list of texts, got 'yes'"),
        ("choice", ["a", ""], "at least one character, got ''"),
        ("choice", ["x" * 200] * 600, "at most 100,000 bytes"),
        ("json_schema", '{"a": ', "not JSON: Expecting value at line 1, column 7"),
        ("json_schema", None, "must be a dict or JSON text, got None"),
        ("json_schema", "[]", r"must be an object, got \[\]"),
        ("json_schema", {"a": {1}}, "not JSON: Object of type set"),
        ("json_schema", {"type": "foo"}, "Invalid type: foo"),
        ("json_schema", {"$ref": "http://x.invalid/y"}, "not present in a registry"),
        ("json_schema", {"minimum": 5, "maximum": 3, "type": "integer"}, r"minimum \(5\) is greater"),
        ("json_schema", DEEP, "at most 64 levels deep"),
        ("json_schema", {"enum": ["x" * 200_000]}, "at most 100,000 bytes"),
        ("json_schema", {"multipleOf": 1_000_003}, "common multiple above 100,000"),
        ("json_schema", {"allOf": [{"multipleOf": 997}, {"multipleOf": 991}]}, "common multiple"),
        ("grammar", 'start: %json {"multiple\\u004ff": 1000003}', "common multiple"),
        ("grammar", 'start: "a" |\n  "b', "line 2, column 5: lexer error"),
        ("grammar", "start: foo", 'line 1, column 8: unknown name: "foo"'),
        ("grammar", 'x: "a"', "no start rule found"),
        ("grammar", "start: start", "grammar allows no text"),
        ("grammar", 'root ::= "a\n', "line 1, column 10: a literal .* not closed"),
        ("grammar", 'root ::= "a"\n  | "b"', "line 2, column 3: the name of a rule expected"),
        ("grammar", "root ::= x", "line 1, column 10: no rule is called 'x'"),
        ("grammar", 'x ::= "a"', "a rule called 'root' is missing"),
        ("grammar", 'root ::= "a"\nroot ::= "b"', "line 2, column 1: the rule 'root' is there already"),
        ("grammar", "root ::= [b-a]", "runs backwards"),
        ("grammar", "root ::= []", "empty"),
        ("grammar", r'root ::= "\q"', "unknown escape"),
        ("grammar", r'root ::= "\uD800"', "stands for no character"),
        ("grammar", 'root ::= ("a"', "group is not closed"),
        ("grammar", "root ::= " + "(" * 31, "more than 30 deep"),
        ("grammar", 'root ::= "a"{3,2}', "n <= m"),
        ("grammar", 'root ::= "a"{x}', "expected"),
        ("grammar", "root ::= <think>", "references to tokens"),
        ("grammar", "#" * 100_001, "at most 100,000 bytes"),
    ],
)
def test_bad_values_are_refused_in_one_line(name: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Grammar(name, value, BYTES)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_schema_that_holds_itself() -> None:
    schema: dict[str, Any] = {"type": "object"}
    schema["properties"] = {"x": schema}
    with pytest.raises(ValueError, match="json_schema is not JSON: Circular"):
        Grammar("json_schema", schema, BYTES)


def test_a_language_out_of_the_vocabularys_reach() -> None:
    with pytest.raises(ValueError, match="no text that this vocabulary can write"):
        Grammar("choice", ["z"], pieces_of("a", "b"))


@pytest.mark.parametrize("written", ["abx", "x", "abcx"])
def test_a_forced_token_that_breaks_it_is_named(written: str) -> None:
    stage = Grammar("regex", "abc", BYTES)
    message = rf"regex does not allow the token 'x' \(id 120\) written at step {len(written) - 1}; undo it"
    with pytest.raises(ValueError, match=message):
        follow(stage, written)
    with pytest.raises(ValueError, match="id 999 written"):
        allowed(stage, (999,))
    with pytest.raises(ValueError, match="'<end>'"):
        allowed(stage, (ord("a"), EOS))  # too early
    assert follow(stage, "ab") == "c"  # undone


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingDependency, match=r"regex=\.\.\. needs .* pip install 'tokenglass\[grammar\]'"):
        Grammar("regex", "a", BYTES)


HOSTILE = {
    "repeats": ("regex", "((a{1000}){1000}){1000}"),
    "exponential": ("regex", "((a|b)*a(a|b){60}c?)*"),
    "alternatives": ("regex", "|".join(f"x{i}y*" for i in range(1_300))),
    "parentheses": ("regex", "(" * 4_000 + "a" + ")" * 4_000),
    "spread": ("regex", "(.*[a-m].{60}[n-z].*){9}"),
    "chain of rules": (
        "grammar",
        "start: r0\n" + "".join(f"r{i}: r{i + 1} A?\n" for i in range(1_990)) + 'r1990: A\nA: "a"\n',
    ),
    "chain of terminals": (
        "grammar",
        "start: R0\n" + "".join(f"R{i}: R{i + 1}\n" for i in range(1_990)) + 'R1990: "a"\n',
    ),
    "doubling": (
        "grammar",
        "start: R0\n" + "".join(f"R{i}: R{i + 1} R{i + 1}\n" for i in range(60)) + 'R60: "a"\n',
    ),
    "ambiguous": ("grammar", 'root ::= root root root | root root | "a" | "b" | ""'),
    "nested repeats": ("grammar", 'root ::= (("a"{1000000}){1000000} "b"?){1000000}'),
    "references": (
        "json_schema",
        {
            "$ref": "#/$defs/d0",
            "$defs": {
                **{f"d{i}": {"items": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(2_000)},
                "d2000": {},
            },
        },
    ),
    "circle": ("json_schema", {"$ref": "#"}),
    "lengths": ("json_schema", {"type": "array", "minItems": 10**6, "items": {"minLength": 10**6}}),
    "products": (
        "json_schema",
        {"allOf": [{"anyOf": [{"minimum": i}, {"maxLength": i}]} for i in range(40)]},
    ),
    "many optional": ("json_schema", {"properties": {f"p{i}": {"type": "string"} for i in range(2_500)}}),
    "divisor": ("json_schema", {"multipleOf": 99_991}),
}
_ATTACK = """
import sys, threading
from tests.unit.test_grammar import BYTES, HOSTILE, allowed
from tokenglass.stages.grammar import Grammar
def attack():
    try:
        stage, ids = Grammar(*HOSTILE[sys.argv[1]], BYTES), ()
        for _ in range(25):
            ids = (*ids, *allowed(stage, ids, ())[:1])
        print("worked")
    except ValueError as error:
        assert "\\n" not in str(error)
        print("refused", error)
threading.stack_size(512 * 1024)  # what threads of a server have on some systems
thread = threading.Thread(target=attack)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_input_works_or_is_refused_within_seconds(attack: str) -> None:
    """In a process of its own: a crash of the library would take the test run with it."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _ATTACK, attack], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and done.stdout.startswith(("worked", "refused")), done.stderr[-300:]
    print(f"{attack}: {time.perf_counter() - start:.1f} s, {done.stdout[:150]}")
