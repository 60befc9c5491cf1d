"""Traces: exact round trips, the tree that comes back, the schema, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.trace_samples import NAMES, bits, contents, header, step, tree, validator, written
from tokenglass.errors import TraceError
from tokenglass.stages.context import Window
from tokenglass.traces import Journal, Other, RecordedVocabulary, read, steps, tree_of
from tokenglass.traces.values import decode, encode
from tokenglass.types import Removal, Stage, Step, Tail, Token

# ------------------------------------------------------------------------------------------------ values

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(
    plain | st.builds(Window, st.booleans(), st.booleans(), st.none() | st.integers(0, 99)),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.just("$tuple") | st.tuples(st.integers()), inner)
    ),
    max_leaves=12,
)


def through_json(data: Any) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


@given(values)
def test_values_come_back_bit_for_bit(value: Any) -> None:
    assert bits(decode(through_json(encode(value)))) == bits(value)


@pytest.mark.parametrize(
    "value", [{1, 2}, frozenset({"a"}), np.arange(6, dtype=np.int16).reshape(2, 3), np.zeros((0, 4), "<f4")]
)
def test_sets_and_arrays_come_back(value: Any) -> None:
    back = decode(through_json(encode(value)))
    assert type(back) is type(value) and bits(back) == bits(value)


def test_numpy_numbers_become_the_same_plain_numbers() -> None:
    assert bits(encode([np.float32(0.1), np.int64(3), np.bool_(True)])) == bits(
        [float(np.float32(0.1)), 3, True]
    )


def test_what_cannot_be_written_keeps_its_name_as_views_show_it() -> None:
    from tokenglass.views.rows import plain as json_view
    from tokenglass.views.values import shown

    for value in (len, NAMES):
        back = decode(through_json(encode({"f": value})))["f"]
        assert isinstance(back, Other)
        assert shown(back) == shown(value) and json_view(back) == json_view(value)


# ------------------------------------------------------------------------------------------------- steps

floats = st.floats(allow_nan=True, allow_infinity=True)
names = st.sampled_from(["model", "top_k", "top_p", "$odd", "é\ud800"])


@st.composite
def any_step(draw: Any) -> Step:
    """Steps that no model would write: NaN facts, infinite logits, empty tops, spans, removed strangers."""
    ids = draw(st.lists(st.integers(0, 999), unique=True, max_size=5))
    width = len(ids)
    token_id = draw(st.integers(0, 999))
    stages = st.builds(
        Stage,
        names,
        st.dictionaries(st.text(), values, max_size=2),
        st.integers(0, 9),
        floats,
        floats,
        st.integers(-1, 999),
        st.integers(0, 9),
        st.integers(0, 9),
        st.dictionaries(st.text(), floats, max_size=2),
    )
    removals = st.builds(Removal, names, st.none() | st.integers(1, 1 << 30), floats)
    f32 = st.floats(max_value=0.0, width=32) | st.just(nan)
    token = NAMES.token(token_id)
    odd = Token(token_id, draw(st.binary()), "byte", (0, 3))
    return Step(
        position=draw(st.integers(0, 1 << 40)),
        token=draw(st.sampled_from([token, odd])),
        text=draw(st.text()),
        **{name: draw(floats) for name in ("logit", "entropy_bits", "p_final", "margin")},
        logprob=draw(st.floats(max_value=0.0) | st.just(nan)),
        logsumexp=draw(st.sampled_from([nan, inf, 0.1])),
        rank=draw(st.integers(1, 10**6)),
        origin=draw(st.sampled_from(["greedy", "sampled", "forced", "draft", "expanded"])),
        top_ids=np.array(ids, np.int64),
        top_logits=np.array(draw(st.lists(f32, min_size=width, max_size=width)), np.float32),
        top_final=np.array(draw(st.lists(floats, min_size=width, max_size=width)), np.float64),
        vocabulary=NAMES,
        stages=tuple(draw(st.lists(stages, max_size=3))),
        removed=draw(st.dictionaries(st.integers(0, 999), removals, max_size=3)),
        draw=draw(st.none() | floats),
        cdf=draw(st.none() | st.tuples(floats, floats)),
        finish_reason=draw(st.sampled_from([None, "eos", "stop_string", "grammar"])),
        trail=draw(
            st.sampled_from([None, np.full((2, width), nan, np.float32), np.zeros((0, width), np.float32)])
        ),
        tail=draw(
            st.sampled_from(
                [None, Tail(0.5, 0.5, np.zeros(0, np.int64)), Tail(-1e30, 1.0, np.arange(256) * 16_000_000)]
            )
        ),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(any_step(), min_size=1, max_size=3))
def test_steps_come_back_bit_for_bit(originals: list[Step]) -> None:
    """Also the second and third of a trace, which refer to what the first defined."""
    writer, reader = steps.Definitions(), steps.Definitions()
    for original in originals:
        record, define = steps.encode_step(original, writer)
        writer.learn(define)
        record, define = through_json(record), through_json(define)
        reader.learn(define)
        back = steps.decode_step(record, reader, RecordedVocabulary(1000, reader.tokens))
        assert contents(back) == contents(original)
        assert all(back.vocabulary.token(i) == NAMES.token(i) for i in original.top_ids.tolist())


def test_steps_of_older_traces_have_no_tail() -> None:
    writer, reader = steps.Definitions(), steps.Definitions()
    record, define = steps.encode_step(step(), writer)
    reader.learn(define)
    del record["tail"]
    assert steps.decode_step(record, reader, NAMES).tail is None


def test_tokens_and_stages_are_said_once() -> None:
    known = steps.Definitions()
    _, first = steps.encode_step(step(1), known)
    known.learn(first)
    _, again = steps.encode_step(step(1), known)
    assert len(first["stages"]) == 4 and again == {}


def test_a_step_is_shown_as_the_model_showed_it(tmp_path: Path) -> None:
    """The views draw the same from the file as from memory, down to why a token was chosen."""
    original = step(3)
    path = written(tmp_path / "t.jsonl", lambda journal: journal.step(1, 0, original))
    back = read(path).nodes[1].step
    assert back is not None and str(back) == str(original) and back.to_dict() == original.to_dict()
    assert back._repr_html_() == original._repr_html_()
    with pytest.raises(ValueError, match="was not recorded with its model"):
        back.account(1)


def test_recorded_vocabulary() -> None:
    vocabulary = RecordedVocabulary(9, {3: Token(3, b"a", "byte"), 5: Token(5, b"a")})
    assert len(vocabulary) == 9 and vocabulary.find("a") == 5 and vocabulary.token(3).kind == "byte"
    with pytest.raises(ValueError, match="token 4 is not named in this trace; open the trace with its model"):
        vocabulary.token(4)
    with pytest.raises(ValueError, match="no token named in this trace stands for 'b⟨ESC⟩'"):
        vocabulary.find("b\x1b")


# ------------------------------------------------------------------------------------------------- trees


def test_a_trace_comes_back(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl")
    trace = read(path)
    assert trace.torn == "" and trace.sound_bytes == path.stat().st_size
    assert bits(vars(trace.header)) == bits(vars(replace(header(), created=trace.header.created)))
    assert [(n.id, None if n.parent is None else n.parent.id) for n in trace.nodes] == [
        (0, None),
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 1),
    ]
    for node in trace.nodes[1:]:
        assert node.step is not None and contents(node.step) == contents(step(node.id, text=f"<{node.id}>"))
    assert trace.nodes[0].step is None and trace.here.id == 2
    assert [n.id for n in trace.path(trace.nodes[3])] == [0, 1, 2, 3]
    assert (trace.nodes[4].name, trace.nodes[4].notes) == ("=cmd|' /C calc'!A0", ["first", "second | `x`"])
    assert [n.id for n in trace.nodes if n.pruned] == [2, 3]
    assert (trace.given, trace.config) == ({"top_k": 3}, {"top_k": 3, "temperature": 1.0})
    assert [e.kind for e in trace.events][-6:] == ["name", "note", "note", "prune", "counts", "set"]
    assert (trace.nodes[1].samples, trace.nodes[1].count) == (2, 5)
    assert trace.configs == [header().given, {"top_k": 3}]
    assert trace.vocabulary.token(10) == NAMES.token(10)  # the prompt's


def test_every_line_is_as_the_schema_says(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl")
    journal, _ = Journal.resume(path)
    journal.close()
    validate = validator()
    lines = path.read_bytes().splitlines()
    kinds = [validate(line).get("event", "header") for line in lines]
    assert set(kinds) == {"header", "step", "goto", "set", "counts", "name", "note", "prune", "close"}
    assert all(line.isascii() for line in lines)


@settings(max_examples=40, deadline=None)
@given(original=any_step())
def test_the_schema_knows_every_step(original: Step) -> None:
    record, define = steps.encode_step(original, steps.Definitions())
    event = {"n": 1, "event": "step", "node": 1, "parent": 0, "step": record, "define": define}
    validator()(json.dumps(event).encode())


def test_the_schema_refuses() -> None:
    import jsonschema

    for wrong in ({"n": 1, "event": "step"}, {"n": 0, "event": "close"}, {"schema": "tokenglass.trace/2"}):
        with pytest.raises(jsonschema.ValidationError):
            validator()(json.dumps(wrong).encode())


def test_the_schema_travels_with_the_package() -> None:
    from importlib.resources import files

    text = files("tokenglass.traces").joinpath("trace.schema.json").read_text()
    assert json.loads(text)["title"] == "tokenglass.trace/1"


def test_the_schema_knows_the_words_of_the_types() -> None:
    from typing import get_args

    from tests.unit.trace_samples import SCHEMA
    from tokenglass.types import FinishReason, Kind, Origin

    known = json.loads(SCHEMA.read_text())["$defs"]
    assert known["step"]["properties"]["origin"]["enum"] == list(get_args(Origin))
    assert known["step"]["properties"]["finish_reason"]["enum"] == [None, *get_args(FinishReason)]
    assert known["token"]["oneOf"][1]["prefixItems"][1]["enum"] == list(get_args(Kind))


def test_steps_beside_the_way_and_under_other_keywords(tmp_path: Path) -> None:
    def fill(journal: Journal) -> None:
        journal.step(1, 0, step(1))
        journal.step(2, 1, step(2), stay=True)
        journal.set(1, {"top_k": 3}, {})
        journal.step(3, 1, step(3), config=1, stay=True)
        journal.set(0, dict(header().given), {})

    trace = read(written(tmp_path / "t.jsonl", fill))
    assert trace.here.id == 1 and [node.config for node in trace.nodes] == [0, 0, 0, 1]
    assert len(trace.configs) == 2 and trace.given == header().given


def test_the_tree_of_a_trace(tmp_path: Path) -> None:
    """The session's own tree, from the file: places, names, counts, what was pruned, halves of characters."""

    def fill(journal: Journal) -> None:
        tree(journal)
        half = replace(step(9), token=Token(9, b"\xe2\x82"))
        rest = replace(step(8), token=Token(8, b"\xac!"))
        journal.step(5, 4, half, config=1)
        journal.step(6, 5, rest)

    made = tree_of(read(written(tmp_path / "t.jsonl", fill)))
    assert made.prompt_ids == (10, 7) and [node.id for node in made] == [0, 1, 4, 5, 6]
    assert [node.id for node in made.root.below()] == [0, 1, 4, 5, 6] and len(made) == 7
    four = made.node("=cmd|' /C calc'!A0")
    assert (four.id, four.notes, four.depth) == (4, ["first", "second | `x`"], 2)
    assert four.step is not None and contents(four.step) == contents(step(4, text="<4>"))
    assert [made.node(n).pending for n in (4, 5, 6)] == [b"", b"\xe2\x82", b""]
    assert (made.node(1).count, made.node(5).config) == (5, 1)
    assert made.configs == [header().given, {"top_k": 3}]
    with pytest.raises(ValueError, match="node 3 was pruned"):
        made.node(3)
    added = made.add(four, step(30))
    assert added.id == 7  # numbers of pruned places are not used again


def test_a_step_that_stands_there_twice(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", lambda j: (j.step(1, 0, step(1)), j.step(2, 0, step(1)))[0])
    with pytest.raises(TraceError, match="line 3: its step stands there already"):
        tree_of(read(path))


def test_a_journal_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl")
    before = path.read_bytes()
    journal, trace = Journal.resume(path)
    with journal:
        assert len(trace.nodes) == 5
        journal.step(5, 4, step(1))  # all of it was defined before
        journal.step(6, 5, step(77))
    assert path.read_bytes().startswith(before)
    assert b'"define"' not in path.read_bytes()[len(before) :].splitlines()[0]
    last = read(path).nodes[6].step
    assert last is not None and contents(last) == contents(step(77))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda j: j.step(3, 0, step()), "node must be 2, the next one, got 3"),
        (lambda j: j.step(2, 2, step()), r"parent must be in \[0, 1\], got 2"),
        (lambda j: j.step(2, 1, step(), config=1), r"config must be in \[0, 0\], got 1"),
        (lambda j: j.set(2, {}, {}), r"index must be in \[0, 1\], got 2"),
        (lambda j: j.goto(-1), r"node must be in \[0, 1\], got -1"),
        (lambda j: j.name(True, "x"), r"node must be in \[0, 1\], got True"),
    ],
)
def test_wrong_nodes_are_refused_and_nothing_is_written(tmp_path: Path, call: Any, message: str) -> None:
    path = tmp_path / "t.jsonl"
    with Journal.create(path, header(), NAMES, fill=lambda j: j.step(1, 0, step())) as journal:
        size = path.stat().st_size
        with pytest.raises(ValueError, match=message):
            call(journal)
        assert path.stat().st_size == size
        journal.note(1, "goes on")
    assert read(path).nodes[1].notes == ["goes on"]


def test_what_cannot_be_recorded_is_one_line(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    with Journal.create(tmp_path / "t.jsonl", header(), NAMES) as journal:
        for value in (endless, deep, 10**5000):
            with pytest.raises(TraceError, match="cannot record this") as caught:
                journal.set(1, {"x": value}, {})
            assert str(caught.value).isprintable()
        journal.goto(0)
    assert len(read(tmp_path / "t.jsonl").events) == 1


def test_a_trace_of_a_real_session(tmp_path: Path) -> None:
    """What a chain really leaves in a step: every stage's parameters and facts survive."""
    from tests.support import model, writes

    session = model(writes("hello")).session(
        "h", do_sample=True, seed=3, mirostat=2, repetition_penalty=1.2, sequence_bias={(108,): 0.5}
    )
    done = session.step(4)
    info, tokenizer = session.model.info, session.model.tokenizer
    head = replace(header(), model=info, prompt_ids=session.prompt_ids, config=session.config.values)

    def fill(journal: Journal) -> None:
        for n, one in enumerate(done):
            journal.step(n + 1, n, one)

    Journal.create(tmp_path / "t.jsonl", head, tokenizer, fill=fill).close()
    trace = read(tmp_path / "t.jsonl")
    assert trace.header.model == info
    assert bits(dict(trace.config)) == bits(dict(session.config.values))
    for node, original in zip(trace.nodes[1:], done, strict=True):
        assert node.step is not None and contents(node.step) == contents(original)
        assert str(node.step) == str(original)


def test_opening_loads_no_engine_and_no_tokenizer(tmp_path: Path) -> None:
    written(tmp_path / "t.jsonl")
    code = (
        "import sys\nfrom tokenglass.traces import read\nread(sys.argv[1]).nodes[1].step\n"
        "heavy = {'onnxruntime', 'onnx', 'tokenizers', 'gguf', 'torch', 'rich', 'pyarrow', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "t.jsonl")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert result.stdout == "[]\n"


def test_unknown_fields_and_events_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", lambda journal: journal.step(1, 0, step()))
    first, second = (json.loads(line) for line in path.read_bytes().splitlines())
    first["model"]["later"] = second["step"]["later"] = second["later"] = {"a": 1}
    for line in (first, second):
        del line["crc"]
    lines = [first, second, {"n": 2, "event": "dream", "about": "sheep"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    trace = read(path)
    assert trace.events[0].data["later"] == {"a": 1} and trace.events[1].data["about"] == "sheep"
    assert trace.nodes[1].step is not None and trace.nodes[1].step.draw != inf


def test_tree_sample_is_what_the_docstring_says(tmp_path: Path) -> None:
    assert len(read(written(tmp_path / "t.jsonl", tree)).events) == 11
