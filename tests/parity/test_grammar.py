"""The grammar stage on a real vocabulary: against llama.cpp's grammar sampler, and with the model itself."""

from __future__ import annotations

import ctypes
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.llamacpp import Candidates, Sampler, library, vocabulary
from tests.parity.test_stages_llamacpp_words import AsVocabulary
from tokenglass import search
from tokenglass.stages import Context, Row
from tokenglass.tokenizer import Tokenizer, from_gguf

pytest.importorskip("llguidance")
from tokenglass.stages.grammar import Grammar

ARITHMETIC = """# sums of numbers
root  ::= (expr "=" ws term "\\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \\t\\n]*
"""
JSON = r"""root ::= object
value ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""
CASES = [
    ('root ::= "yes" | "no" | "yes sir"', ["", "y", "ye", "yes", "yes s", "yes sir", "n"]),
    ('root ::= "ab" "d" | "a" "b" "c"', ["", "a", "ab", "abc"]),
    ("root ::= [^a-z\\n]+ ([à-ü] | .){2,3}", ["", "A", "12", "1à", "1日本", "7xx", "7xxx"]),
    ('root ::= item{2} item? tail*\nitem ::= "- " [^\\n]+ "\\n"\ntail ::= (\n  "x" | # one\n  "yy"\n)',
     ["", "-", "- milk", "- milk\n", "- milk\n- egg\n", "- a\n- b\n- c\nyyx"]),
    (r'root ::= "\x41\u00e9\U0001F600" [\]\[a\\-]* "\t\""', ["", "A", "Aé", "Aé😀", "Aé😀[]-a\\"]),
    (ARITHMETIC, ["", "x", "x1 ", "(2 +a", "a+b= ", "1=2\n", "1=2\nfoo"]),
    (JSON, ["", "{", '{"na', '{"name": "J', '{"a": [1, -2.5e+1', '{"a": "\\u00', '{"é日": tr', '{"a": {}}']),
]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(smollm2_files: Any) -> Tokenizer:
    return from_gguf(Path(smollm2_files.path))


def their_sampler(path: Path, gbnf: str) -> Any:
    vocab, lib = vocabulary(path), library()
    lib.llama_sampler_init_grammar.restype = ctypes.c_void_p
    lib.llama_sampler_init_grammar.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p]
    sampler = Sampler("grammar", vocab, gbnf.encode(), b"root")
    assert sampler._pointer
    return sampler


@pytest.mark.parametrize("case", range(len(CASES)))
def test_allowed_sets_equal_llama_cpps(smollm2_files: Any, tokenizer: Tokenizer, case: int) -> None:
    """Every id but control tokens, which llama.cpp takes for their text and this stage never does."""
    gbnf, texts = CASES[case]
    path = Path(smollm2_files.path)
    names = AsVocabulary(tokenizer)
    stage = Grammar("grammar", gbnf, names)  # type: ignore[arg-type]
    assert stage.params["notation"] == "gbnf"
    size = tokenizer.vocab_size
    eos = tuple(i for i in range(size) if tokenizer.token(i).bytes in (b"<|im_end|>", b"<|endoftext|>"))
    # llama.cpp gives up tokens without text and those that begin with a zero byte
    pieces = [tokenizer.token(i) for i in range(size)]
    compared = np.array(
        [
            i
            for i, t in enumerate(pieces)
            if i in eos or (t.kind == "normal" and t.bytes[:1] not in (b"", b"\0"))
        ]
    )
    logits = np.random.default_rng(case).normal(size=size).astype(np.float32)
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        row, _ = stage.apply(Row.of(logits, candidates=True), Context((1,), tuple(ids), eos_ids=eos), None)
        # after ours, which refuses a wrong text: llama.cpp would end the process
        theirs = their_sampler(path, gbnf).accept(ids)(Candidates(logits)).entries
        assert row.order is not None and row.order.tolist() == theirs["id"].tolist()
        ours, right = row.scores[compared], theirs["logit"][compared]
        different = compared[ours != right]
        shown = [(pieces[i].bytes, bool(np.isfinite(row.scores[i]))) for i in different[:10]]
        assert not len(different), f"after {text!r}: {shown} of {len(different)}"
        assert np.isfinite(right).any()


def test_cutting_a_text_otherwise_changes_nothing(smollm2_files: Any, tokenizer: Tokenizer) -> None:
    """One token for each byte, where there are such tokens: llama.cpp's mask is that of the usual cut."""
    gbnf, text = JSON, '{"name": "Jö'
    byte_ids = {t.bytes: i for i in range(tokenizer.vocab_size) if len((t := tokenizer.token(i)).bytes) == 1}
    ids = [byte_ids[bytes([b])] for b in text.encode()]
    stage = Grammar("grammar", gbnf, AsVocabulary(tokenizer))  # type: ignore[arg-type]
    zeros = np.zeros(tokenizer.vocab_size, np.float32)
    theirs = their_sampler(Path(smollm2_files.path), gbnf).accept(ids)(zeros).entries["logit"]
    ours, _ = stage.apply(Row.of(zeros), Context((1,), tuple(ids)), None)
    usual = tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    again, _ = stage.apply(Row.of(zeros), Context((1,), usual), None)
    assert np.array_equal(ours.scores, again.scores)
    normal = [
        i for i in range(len(zeros)) if (t := tokenizer.token(i)).kind == "normal" and t.bytes[:1] != b"\0"
    ]
    assert np.array_equal(ours.scores[normal], theirs[normal])


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "colors": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 2},
    },
    "required": ["name", "age", "colors"],
    "additionalProperties": False,
}


def test_the_model_writes_json(smollm2: Any, record_property: Any) -> None:
    """Greedy and beams: the text parses and is what the schema says; the time of a mask is printed."""
    info, names = smollm2.engine.info, smollm2.tokenizer
    start = time.perf_counter()
    stage = Grammar("json_schema", PERSON, names)
    built = time.perf_counter() - start
    prompt = names.encode("A person as JSON:\n").ids
    limits = search.Limits(max_new_tokens=80, eos_ids=info.eos_ids)
    model = (smollm2.engine, names, prompt)
    runs: list[Any] = [
        search.prompt_lookup(
            *model, search.LookupOptions(), [stage], limits=limits
        ),  # writes what greedy does
        search.beam_search(*model, search.BeamOptions(num_beams=3), [stage], limits=limits),
    ]
    for run in runs:
        while True:
            try:
                next(run)
            except StopIteration as end:
                (best, *_) = end.value
                break
        assert best.finish_reason == "eos"
        written = best.text
        found = json.loads(written)
        assert list(found) == ["name", "age", "colors"]
        assert isinstance(found["name"], str) and len(found["name"]) <= 20
        assert type(found["age"]) is int and 0 <= found["age"] <= 120
        assert len(found["colors"]) <= 2 and set(found["colors"]) <= {"red", "green", "blue"}
    ids = tuple(i for i in best.ids if i not in info.eos_ids)
    fresh, row = Grammar("json_schema", PERSON, names), Row.of(np.zeros(info.vocab_size, np.float32))
    times = []
    for n in range(len(ids) + 1):
        start = time.perf_counter()
        fresh.apply(row, Context((1,), ids[:n], eos_ids=info.eos_ids), None)
        times.append(time.perf_counter() - start)
    print(f"{written} built in {built * 1e3:.0f} ms, {np.median(times) * 1e3:.2f} ms a step (median)")
    record_property("grammar_step_ms", float(np.median(times) * 1e3))
