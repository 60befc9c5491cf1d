"""Operations over a model of bytes: what they refuse, what they keep, how sessions come and go."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from tests.support import EOS, SIZE, model, writes
from tests.unit.workbench_calls import call, stream
from tokenglass.config import FIELDS
from tokenglass.errors import ContextOverflow, EngineError, NoTokenAllowed, TraceError, Unsupported
from tokenglass.model import Model
from tokenglass.tokenizer.training import train
from tokenglass.workbench import OPERATIONS, Refused, Workbench
from tokenglass.workbench.kinds import KEYWORDS, REFUSED_HERE
from tokenglass.workbench.sessions import Sessions
from tokenglass.workbench.shapes import ANSWERS, ITEMS

TEXT = "abc def ghi"


@pytest.fixture
def bench() -> Workbench:
    return Workbench(model(writes(TEXT)))


def opened(bench: Workbench, prompt: str = "a", **config: Any) -> str:
    return str(call(bench, "open", prompt=prompt, config=config)["session"])


# --------------------------------------------------------------------------------------------- the list


def test_every_operation_says_what_it_takes_and_answers(bench: Workbench) -> None:
    assert set(ANSWERS) == set(OPERATIONS)
    assert set(ITEMS) == {name for name, each in OPERATIONS.items() if each.streams}
    assert all(each.about.endswith(".") and each.schema["type"] == "object" for each in OPERATIONS.values())
    listed = call(bench, "info")["operations"]
    assert {row["name"]: row["streams"] for row in listed} == {n: o.streams for n, o in OPERATIONS.items()}


def test_what_the_tokenizer_cannot_say_is_told_beforehand(bench: Workbench) -> None:
    """A page that asks only for what is supported is never refused for its model."""
    pieces = Workbench(Model(bench.model.engine, cast(Any, train("a b c ab abc " * 9, 258).tokenizer)))
    for each, beyond in ((bench, {"words", "merges"}), (pieces, set[str]())):
        listed = call(each, "info")["operations"]
        assert {row["name"] for row in listed if not row["supported"]} == beyond
        for name in ("words", "merges"):
            if name not in beyond:
                assert call(each, name, text="abc")["words"]
                continue
            with pytest.raises(Unsupported):
                each.call(name, {"text": "abc"})


def test_every_keyword_of_the_library_is_offered_or_refused_by_name(bench: Workbench) -> None:
    offered = {row["name"] for row in call(bench, "info")["keywords"]}
    assert offered == {field.name for field in KEYWORDS}
    assert offered | set(REFUSED_HERE) == {field.name for field in FIELDS}
    for name in REFUSED_HERE:
        with pytest.raises(Refused, match=f"{name} cannot be set here") as refusal:
            bench.call("open", {"prompt": "a", "config": {name: "x"}})
        assert refusal.value.field == name


# ------------------------------------------------------------------------------------------- parameters

WRONG: dict[str, tuple[str, dict[str, Any], str, str | None]] = {
    "an unknown one": ("tokenize", {"txt": "a"}, "no parameter 'txt'; did you mean text?", "txt"),
    "one of nothing like it": ("info", {"zzz": 1}, "it takes none", "zzz"),
    "a missing one": ("tokenize", {}, "tokenize needs text", "text"),
    "null for a missing one": ("tokenize", {"text": None}, "tokenize needs text", "text"),
    "a number for a text": ("tokenize", {"text": 5}, "text must be a text", "text"),
    "too long a text": ("tokenize", {"text": "x" * 65_537}, "65,536 characters", "text"),
    "half a surrogate pair": ("tokenize", {"text": "a\ud800"}, "half a surrogate pair", "text"),
    "a flag as a word": ("tokenize", {"text": "a", "parse_special": "yes"}, "true or false", "parse_special"),
    "no rows": ("open", {"prompt": "a", "n": 0}, "n must be a whole number in [1, 1000], got 0", "n"),
    "too many rows": ("open", {"prompt": "a", "n": 1001}, "got 1001", "n"),
    "true for a number": ("open", {"prompt": "a", "n": True}, "got True", "n"),
    "half a row": ("open", {"prompt": "a", "n": 1.5}, "got 1.5", "n"),
    "two prompts": ("open", {"prompt": "a", "ids": [1]}, "one of prompt, messages and ids", "prompt"),
    "no prompt": ("open", {}, "one of prompt, messages and ids", "prompt"),
    "a message without a role": ("open", {"messages": [{"content": "a"}]}, "role and content", "messages"),
    "a message with more": (
        "open",
        {"messages": [{"role": "user", "content": "a", "x": 1}]},
        "role and content",
        "messages",
    ),
    "keywords in a list": ("open", {"prompt": "a", "config": []}, "an object of generation", "config"),
    "a keyword misspelt": ("open", {"prompt": "a", "config": {"top_q": 1}}, "did you mean top_p?", "top_q"),
    "too many beams": ("generate", {"prompt": "a", "config": {"num_beams": 17}}, "at most 16", "num_beams"),
    "too many texts": (
        "generate",
        {"prompt": "a", "config": {"do_sample": True, "num_return_sequences": 17}},
        "at most 16",
        "num_return_sequences",
    ),
    "too many stops": (
        "generate",
        {"prompt": "a", "config": {"stop_strings": ["x"] * 17}},
        "a list of 0 to 16",
        "stop_strings",
    ),
    "too long a stop": (
        "generate",
        {"prompt": "a", "config": {"stop_strings": ["x" * 257]}},
        "256 characters",
        "stop_strings",
    ),
    "a pattern": ("generate", {"prompt": "a", "config": {"regex": "(a+)+"}}, "sends no patterns", "regex"),
    "a model of the world": ("open", {"prompt": "a", "model": "/etc/passwd"}, "there is no model", "model"),
    "a drafter of the world": (
        "generate",
        {"prompt": "a", "config": {"assistant_model": "http://evil"}},
        "there is no model",
        "model",
    ),
    "too many samples": ("sample", {"session": "x", "samples": 17}, "[1, 16]", "samples"),
    "u of 1.5": ("step", {"session": "x", "u": 1.5}, "u must be a number in [0, 1]", "u"),
    "a field of a side": (
        "compare",
        {"a": {"prompt": "a", "x": 1}, "b": {"prompt": "b"}},
        "no field 'x'",
        "a",
    ),
    "a side without prompt": ("compare", {"a": {}, "b": {"prompt": "b"}}, "a needs prompt", "a"),
    "a side's keyword": (
        "compare",
        {"a": {"prompt": "a", "config": {"top_q": 1}}, "b": {"prompt": "b"}},
        "did you mean top_p?",
        "top_q",
    ),
    "sides of two kinds": (
        "compare",
        {"a": {"prompt": "a", "config": {"top_k": 1}}, "b": {"prompt": "b"}},
        "may differ in one thing",
        "config",
    ),
    "no such format": ("export", {"session": "x", "format": "exe"}, "one of csv", "format"),
    "no search": ("film", {"prompt": "a", "config": {}}, "ask for no search", "config"),
    "session and config": ("chain", {"session": "x", "config": {}}, "one of session and config", "session"),
    "no session": ("state", {"session": "x"}, "there is no such session here", "session"),
}


@pytest.mark.parametrize(("name", "params", "said", "field"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_by_name(
    bench: Workbench, name: str, params: dict[str, Any], said: str, field: str | None
) -> None:
    with pytest.raises(Refused) as refusal:
        if OPERATIONS[name].streams:
            next(bench.stream(name, params))
        else:
            bench.call(name, params)
    message = str(refusal.value)
    assert said in message and "\n" not in message and len(message) < 400
    assert refusal.value.field == field


def test_a_call_is_no_stream_and_the_other_way_round(bench: Workbench) -> None:
    for refused in (lambda: bench.call("play", {}), lambda: bench.stream("info"), lambda: bench.call("x")):
        with pytest.raises(Refused) as refusal:
            refused()
        assert refusal.value.kind == "NoOperation"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"do_sample": True, "temperature": 0}, "temperature must be above 0"),
        ({"do_sample": True, "temperature": -1}, "temperature must be"),
        ({"do_sample": True, "top_p": 1.2}, "top_p must be in"),
        ({"do_sample": True, "top_k": -1}, "top_k must be"),
        ({"do_sample": "yes"}, "do_sample must be"),
        ({"num_beams": 4}, "a session writes token by token"),
        ({"seed": -1, "do_sample": True}, "seed must be"),
        ({"order": ["nothing"]}, "order must name"),
    ],
)
def test_what_the_library_refuses_opens_nothing(bench: Workbench, config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bench.call("open", {"prompt": "a", "config": config})
    assert len(bench.sessions) == 0


@pytest.mark.parametrize("temperature", [1e-9, 1e9])
def test_extreme_temperatures_have_an_answer(bench: Workbench, temperature: float) -> None:
    row = call(bench, "open", prompt="a", config={"do_sample": True, "temperature": temperature, "seed": 1})
    assert sum(each["p_final"] for each in row["next"]["rows"]) + row["next"][
        "rest_p_final"
    ] == pytest.approx(1)


@pytest.mark.parametrize("config", [{"top_p": 0.0}, {"top_p": 1.0}, {"top_k": 0}, {"top_k": 10**6}])
def test_edges_of_truncation_have_an_answer(bench: Workbench, config: dict[str, Any]) -> None:
    assert call(bench, "open", prompt="a", config={"do_sample": True, "seed": 1, **config})["next"]["pick"]


# --------------------------------------------------------------------------------------------- sessions


def test_nothing_is_lost_by_going_back(bench: Workbench) -> None:
    session = opened(bench)
    written = call(bench, "step", session=session, count=4)
    back = call(bench, "undo", session=session, count=3)
    assert (written["text"], back["text"]) == ("abc d", "ab")
    assert (back["can_undo"], back["can_redo"], back["redo_token"]) == (True, True, "c")
    other = call(bench, "step", session=session, token="X")
    assert other["text"] == "abX" and len(other["tree"]["nodes"]) == 6
    assert not other["can_redo"] and other["redo_token"] is None
    call(bench, "undo", session=session)
    assert call(bench, "redo", session=session)["text"] == "abX", "redo leads where undo came from"
    again = call(bench, "goto", session=session, node=written["node"])
    assert again["text"] == "abc d" and [row["on_path"] for row in again["tree"]["nodes"]] == [True] * 5 + [
        False
    ]


def test_before_and_after_a_change(bench: Workbench) -> None:
    session = opened(bench)
    before = call(bench, "state", session=session)["next"]
    after = call(bench, "set", session=session, config={"do_sample": True, "top_k": 2, "seed": 3})
    assert after["before"] == {key: before[key] for key in after["before"]}
    assert after["config"]["given"] == {"do_sample": True, "top_k": 2, "seed": 3}
    assert [row["name"] for row in after["chain"]["stages"]] == ["top_k"]
    kept = call(bench, "set", session=session, config={"do_sample": True, "top_p": 0.5})
    assert kept["config"]["given"] == {"do_sample": True, "top_p": 0.5, "seed": 3}, (
        "the seed stays, top_k goes"
    )
    with pytest.raises(ValueError, match="top_p"):
        bench.call("set", {"session": session, "config": {"do_sample": True, "top_p": 3}})
    assert call(bench, "state", session=session)["config"] == kept["config"], (
        "a refused change changes nothing"
    )


def test_names_notes_and_pruning(bench: Workbench) -> None:
    session = opened(bench)
    call(bench, "step", session=session, count=3)
    call(bench, "name", session=session, text="here")
    call(bench, "note", session=session, text="a note", node=1)
    call(bench, "undo", session=session, count=3)
    row = call(bench, "goto", session=session, node="here")
    assert row["tree"]["nodes"][3]["name"] == "here" and row["tree"]["nodes"][1]["notes"] == ["a note"]
    pruned = call(bench, "prune", session=session, node=2)
    assert (pruned["pruned"], pruned["node"], len(pruned["tree"]["nodes"])) == (2, 1, 2)


def test_a_session_can_be_carried_away_and_back(bench: Workbench) -> None:
    session = opened(bench, "ab", do_sample=True, seed=4, top_k=3)
    call(bench, "step", session=session, count=3)
    call(bench, "undo", session=session)
    before = call(bench, "name", session=session, text="x")
    saved = call(bench, "save", session=session)
    loaded = call(bench, "load", part=saved["text"])
    same = set(before) - {"session", "step_ms", "last", "tree"}
    assert loaded["tree"]["nodes"] == before["tree"]["nodes"]
    assert {key: loaded[key] for key in same} == {key: before[key] for key in same}
    half = len(saved["text"]) // 2
    first = call(bench, "load", part=saved["text"][:half], more=True)
    whole = call(bench, "load", part=saved["text"][half:], upload=first["upload"])
    assert whole["tree"]["nodes"] == before["tree"]["nodes"]
    with pytest.raises(Refused, match="no such upload"):
        bench.call("load", {"part": "", "upload": first["upload"]})


def test_a_trace_loads_nothing_that_it_names(bench: Workbench) -> None:
    """Neither another model's trace nor what is none; and the file it is written to is gone."""
    saved = call(bench, "save", session=opened(bench))["text"]
    other: Any = model(writes(TEXT))
    other.engine._info = replace(other.info, sha256="00")
    with pytest.raises(TraceError, match="was written by"):
        Workbench(other).call("load", {"part": saved})
    for nonsense in ("", "x", "{}", saved[:50]):
        with pytest.raises(TraceError):
            bench.call("load", {"part": nonsense})
    assert len(bench.sessions) == 1


@pytest.mark.parametrize("form", ["csv", "jsonl", "markdown", "dot", "svg"])
def test_exports_are_the_librarys_own(bench: Workbench, form: str, tmp_path: Any) -> None:
    from tokenglass.traces import export, tree_table

    session = opened(bench)
    call(bench, "step", session=session, count=2)
    own = tmp_path / "own"
    with bench.use(session) as held:
        export(tree_table({"session": list(held.session.tree)}), own, form)
    assert call(bench, "export", session=session, format=form)["text"] == own.read_bytes().decode()


def test_a_hand_out_is_a_whole_document(bench: Workbench) -> None:
    from tokenglass.handout import of_session

    session = opened(bench)
    call(bench, "step", session=session, count=2)
    found = call(bench, "export", session=session, format="html")
    assert (found["name"], found["media_type"]) == ("session.html", "text/html")
    with bench.use(session) as held:
        assert found["text"] == of_session(held.session) and found["text"].startswith("<!doctype html>")


def test_sessions_are_bounded_and_the_longest_unused_goes() -> None:
    now = [0.0]
    sessions = Sessions(most=2, idle_seconds=10.0, clock=lambda: now[0])
    made = model(writes(TEXT))
    first, second = (sessions.add(made.session("a")) for _ in "ab")
    assert len({first.id, second.id}) == 2 and len(first.id) >= 20
    with sessions.use(first.id):
        pass
    third = sessions.add(made.session("a"))
    with pytest.raises(Refused, match="no such session"), sessions.use(second.id):
        pass
    with sessions.use(first.id), sessions.use(third.id):
        pass
    now[0] = 11.0
    fourth = sessions.add(made.session("a"))
    assert len(sessions) == 1
    sessions.close(fourth.id)
    sessions.close("none")
    assert len(sessions) == 0


def test_two_on_one_session_take_turns(bench: Workbench) -> None:
    """Sixteen steps by four threads are sixteen tokens of one text."""
    bench = Workbench(model(writes("x" * 40)))
    session = opened(bench)
    threads = [
        threading.Thread(target=lambda: [bench.call("step", {"session": session}) for _ in range(4)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = call(bench, "state", session=session)
    assert row["text"] == "a" + "x" * 16 and len(row["tree"]["nodes"]) == 17


# ------------------------------------------------------------------------------------------------ errors


def test_a_prompt_beyond_the_context_names_both_counts() -> None:
    bench = Workbench(model(writes(TEXT), context_length=8))
    with pytest.raises(ContextOverflow, match=r"9 tokens .* holds 8"):
        bench.call("open", {"prompt": "123456789"})
    assert len(bench.sessions) == 0


def test_an_empty_prompt_without_a_beginning_is_said(bench: Workbench) -> None:
    with pytest.raises(ValueError, match="type at least one character"):
        bench.call("open", {"prompt": ""})


def test_all_tokens_banned_is_shown_and_the_session_kept(bench: Workbench) -> None:
    session = opened(bench)
    row = call(bench, "set", session=session, config={"suppress_tokens": list(range(SIZE))})
    assert row["next"]["pick"] is None and "no token allowed" in row["next"]["refused"]
    assert {each["removed_by"] for each in row["next"]["rows"]} == {"suppress_tokens"}
    with pytest.raises(NoTokenAllowed):
        bench.call("step", {"session": session})
    assert call(bench, "set", session=session, config={})["next"]["pick"]["token"] == "b"


def test_logits_that_are_none_are_named_and_the_session_kept() -> None:
    def rule(ids: tuple[int, ...]) -> Any:
        row = np.zeros(SIZE, np.float32)
        row[ids[-1]] = np.nan if len(ids) == 3 else 1.0
        return row

    bench = Workbench(model(rule))
    session = opened(bench)
    call(bench, "step", session=session)
    with pytest.raises(EngineError, match="NaN"):
        bench.call("step", {"session": session})
    assert call(bench, "undo", session=session, count=1)["text"] in ("a", "aa")


def test_an_end_is_an_end(bench: Workbench) -> None:
    session = opened(bench, TEXT)
    row = call(bench, "step", session=session)
    assert row["finish_reason"] == "eos" and row["next"]["pick"] is None and row["last"]["id"] == EOS
    with pytest.raises(ValueError, match="the text has ended"):
        bench.call("step", {"session": session})
    assert call(bench, "step", session=session, token="!")["finish_reason"] is None


# ----------------------------------------------------------------------------------------------- streams


def test_a_play_pauses_and_says_why(bench: Workbench) -> None:
    session = opened(bench)
    items, end = stream(bench, "play", session=session, count=5)
    assert "".join(item["step"]["text"] for item in items) == "bc de"
    assert (end["paused"], end["text"]) == ("length", "abc de")
    items, end = stream(bench, "play", session=session, count=5, watch=["h"], top=1)
    assert (end["paused"], end["text"]) == ("watched", "abc def g") and "rank 1" in end["reason"]
    assert end["seen"] == {key: end["next"]["rows"][0][key] for key in end["seen"]}
    items, end = stream(bench, "play", session=session, count=50)
    assert (end["paused"], end["finish_reason"]) == ("eos", "eos")


def test_a_play_that_is_told_to_stop_ends_with_the_token_under_way(bench: Workbench) -> None:
    session = opened(bench)
    run = bench.stream("play", {"session": session, "count": 100})
    for _ in range(3):
        next(run)
    assert call(bench, "stop", session=session) == {}
    with pytest.raises(StopIteration) as ended:
        next(run)
    end = ended.value.value
    assert (end["paused"], end["text"], end["seen"]) == ("stopped", "abc ", None)
    assert call(bench, "state", session=session)["text"] == "abc "
    items, end = stream(bench, "play", session=session, count=2)  # it was that run alone
    assert (len(items), end["paused"]) == (2, "length")


def test_a_play_that_is_overtaken_ends(bench: Workbench) -> None:
    """Two at once in one session would write through one another."""
    session = opened(bench)
    first = bench.stream("play", {"session": session, "count": 100})
    next(first)
    items, _ = stream(bench, "play", session=session, count=2)
    with pytest.raises(StopIteration) as ended:
        next(first)
    assert len(items) == 2 and ended.value.value["paused"] == "stopped"


def test_the_best_text_of_a_search_goes_through_the_gate() -> None:
    """Bytes that a screen would obey, and a character of which one byte is there yet."""
    hostile = Workbench(model(writes("\x1b]\u202e€\n é")))
    items, _ = stream(
        hostile,
        "strategies",
        prompt="a",
        names=["beam_search", "prompt_lookup"],
        config={"max_new_tokens": 12, "stop_strings": "é"},
    )
    for name in ("beam_search", "prompt_lookup"):
        best = [item["best"] for item in items if item["strategy"] == name]
        assert best and all(text.isprintable() and " " not in text for text in best)
        assert any(text.startswith("⟨ESC⟩]⟨U+202E⟩⟨E2⟩") for text in best), best  # half of the euro sign
        assert any("€⏎·é" in text for text in best), best  # and all of it


def test_a_stream_that_is_closed_stops_and_leaves_the_session_usable(bench: Workbench) -> None:
    session = opened(bench)
    run = bench.stream("play", {"session": session, "count": 100})
    next(run), next(run)
    run.close()
    assert call(bench, "step", session=session)["text"] == "abc "


def test_a_character_in_pieces_is_joined(bench: Workbench) -> None:
    """The euro sign is three byte tokens: E2 82 AC."""
    row = call(bench, "tokenize", text="a€b")
    groups = [token["group"] for token in row["tokens"]]
    assert groups == [None, *[{"first": 1, "last": 3, "token": "€"}] * 3, None]
    assert [token["token"] for token in row["tokens"]] == ["a", "⟨E2⟩", "⟨82⟩", "⟨AC⟩", "b"]
    state = call(bench, "open", prompt="€")
    assert [token["group"]["token"] for token in state["tokens"]] == ["€"] * 3
    lone = call(bench, "open", ids=[0xE2, 0x61, 0x82])
    assert [token["group"] for token in lone["tokens"]] == [None] * 3


# -------------------------------------------------------------------------------------------- look ahead


def test_what_is_asked_for_next_was_computed_meanwhile() -> None:
    """The model is not run again for the token that a step writes."""
    seen: list[int] = []

    def rule(ids: tuple[int, ...]) -> Any:
        seen.append(len(ids))
        return writes(TEXT)(ids)

    bench = Workbench(model(rule), look_ahead=True)
    try:
        session = opened(bench)
        end = time.monotonic() + 20
        while seen.count(2) < 4 and time.monotonic() < end:
            time.sleep(0.01)
        assert seen == [1, 2, 2, 2, 2], "the prompt, then four children"
        row = call(bench, "step", session=session)
        assert row["text"] == "ab" and seen[:5] == [1, 2, 2, 2, 2] and 2 not in seen[5:]
        plain = Workbench(model(writes(TEXT)))
        other = opened(plain)
        assert call(plain, "step", session=other)["next"] == row["next"]
    finally:
        bench.close()


def test_nobody_looks_ahead_while_somebody_works() -> None:
    """Each child is begun while nothing is at work."""
    during: list[int] = []
    bench = Workbench(model(writes(TEXT)), look_ahead=True)
    engine: Any = bench.model.engine
    before = engine.look_ahead
    engine.look_ahead = lambda prefix: (during.append(bench._at_work), before(prefix))
    try:
        session = opened(bench)
        for _ in range(3):
            bench.call("step", {"session": session})
            seen, end = len(during), time.monotonic() + 20
            while len(during) == seen and time.monotonic() < end:
                time.sleep(0.01)
            assert len(during) > seen
    finally:
        bench.close()
    assert not any(during)


def test_an_engine_without_rows_is_refused() -> None:
    """Bars, curves and cuts need every token; a server lists only its best."""
    far: Any = model(writes("abc"))
    far.engine._info = replace(far.info, name="far\x1baway", capabilities=frozenset({"listed"}))
    with pytest.raises(Unsupported, match=r"the page over far.*away is not supported: it lists"):
        Workbench(far)
