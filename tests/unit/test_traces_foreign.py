"""Records of other programs: what they say comes over, what they do not say stays unknown.

`foreign_records/llamacpp_*` are answers of llama.cpp's own server (2026-10) over the embedded model. The
other forms are written after OpenAI's and vLLM's documentation.
"""

from __future__ import annotations

import json
from math import exp, inf, log
from pathlib import Path
from typing import Any

import pytest

from tokenglass.errors import TraceError
from tokenglass.traces import ForeignRecord, ForeignStep, export, foreign_table, import_responses

RECORDS = Path(__file__).parent / "foreign_records"


def load(name: str) -> Any:
    return json.loads((RECORDS / name).read_text(encoding="utf-8"))


def first(record: ForeignRecord) -> tuple[ForeignStep, ...]:
    return record.sequences[0].steps


# ------------------------------------------------------------------------------------------------ llama.cpp


def test_llamacpp_raw() -> None:
    record = import_responses(load("llamacpp_raw.json"))
    (sequence,) = record.sequences
    assert (record.model, sequence.text, sequence.finish_reason) == ("smollm2", " the capital of", "limit")
    step = sequence.steps[0]
    assert (step.distribution, step.part, step.index) == ("model", "completion", 0)
    assert [token.id for token in step.top] == [7042, 260, 4528, 1315]
    assert (step.chosen.id, step.chosen.bytes, step.chosen.logprob) == (260, b" the", -2.764557123184204)
    # the chosen one is among the four: e^-0.25890 + e^-2.76456 + e^-4.29494 + e^-4.59338 = 0.85866
    assert step.known_p == pytest.approx(0.85866, abs=1e-5)
    assert step.missing_p == pytest.approx(0.14134, abs=1e-5)


def test_llamacpp_after_sampling() -> None:
    """The same request asked both ways: at temperature 0.7 the ratio of two tokens is the raw one to 1 / 0.7.

    e^((-0.25890 + 2.76456) / 0.7) = 35.86; min-p leaves these two, so p = 1 / 36.86 = 0.02713.
    """
    raw = first(import_responses(load("llamacpp_raw.json")))[0]
    step = first(import_responses(load("llamacpp_post_sampling.json")))[0]
    assert step.distribution == "post_sampling" and len(step.top) == 2
    best, chosen = raw.top[0].logprob, raw.top[1].logprob
    assert best is not None and chosen is not None
    assert step.chosen.p == pytest.approx(1 / (1 + exp((best - chosen) / 0.7)), abs=1e-6)
    assert step.missing_p == pytest.approx(0.0, abs=1e-6)
    assert step.chosen.logprob == log(step.chosen.p)


@pytest.mark.parametrize("name", ["llamacpp_chat.json", "llamacpp_completions.json"])
def test_llamacpp_with_openai_addresses(name: str) -> None:
    record = import_responses(load(name))
    (sequence,) = record.sequences
    assert sequence.text == b"".join(step.chosen.bytes or b"" for step in sequence.steps).decode()
    assert {step.distribution for step in sequence.steps} == {"model"}
    assert all(step.chosen.id is not None and 0 <= (step.missing_p or 0) < 1 for step in sequence.steps)


def test_llamacpp_streams() -> None:
    """A stream is one text; it says what the same request says in one piece."""
    whole = import_responses(load("llamacpp_raw.json")).sequences[0]
    streamed = import_responses((RECORDS / "llamacpp_stream.txt").read_bytes()).sequences
    assert len(streamed) == 1 and streamed[0].steps == whole.steps
    assert (streamed[0].text, streamed[0].finish_reason) == (whole.text, whole.finish_reason)
    (chat,) = import_responses((RECORDS / "llamacpp_chat_stream.txt").read_text()).sequences
    assert (chat.text, chat.finish_reason, len(chat.steps)) == ("Hello! How", "length", 3)


def test_llamacpp_raw_is_the_models_own(smollm2: Any) -> None:
    """What the record calls the model's own is what the model says; llama.cpp rounds a little."""
    step = first(import_responses(load("llamacpp_raw.json")))[0]
    known = smollm2.next_tokens("The capital of France is")
    for token in step.top:
        assert token.id is not None and token.logprob == pytest.approx(
            known.lookup(token.id).logprob, abs=0.1
        )


OLD = {
    "content": " on",
    "completion_probabilities": [
        {"content": " on", "probs": [{"tok_str": " on", "prob": 0.75}, {"tok_str": " at", "prob": 0.125}]},
        {"content": "byte: \\xe2", "probs": [{"tok_str": "byte: \\xe2", "prob": 0.5}] * 2},
        {"content": "x", "probs": [{"tok_str": "y", "prob": 0.0}]},
    ],
}


def test_llamacpp_before_december_2024() -> None:
    one, twice, absent = first(import_responses({**OLD, "generation_settings": {"temperature": 0.8}}))
    assert (one.chosen.p, one.known_p, one.missing_p) == (0.75, 0.875, 0.125)
    assert one.distribution == "post_sampling" and one.chosen.id is None and one.chosen.bytes is None
    assert twice.chosen.p is None and twice.missing_p == 0.0  # two candidates look like it
    assert absent.chosen.p is None and absent.top[0].logprob == -inf and absent.missing_p == 1.0


@pytest.mark.parametrize("settings", [{}, {"generation_settings": {"temperature": -1.0}}])
def test_llamacpp_of_old_may_not_say_what_it_shows(settings: Any) -> None:
    assert first(import_responses({**OLD, **settings}))[0].distribution == "unknown"
    assert first(import_responses({**OLD, **settings}, distribution="model"))[0].distribution == "model"


# --------------------------------------------------------------------------------------------------- openai


def chat(*entries: Any, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return {
        "object": "chat.completion",
        "model": "m",
        "choices": [{**choice, "logprobs": {"content": list(entries)}}],
        **more,
    }


def entry(token: str, logprob: float | None, *top: Any, **more: Any) -> dict[str, Any]:
    return {
        "token": token,
        "logprob": logprob,
        "bytes": list(token.encode()),
        "top_logprobs": list(top),
        **more,
    }


def test_openai_chat() -> None:
    response = chat(
        entry("Hi", -0.5, entry("Hi", -0.5), entry("Hello", -1.25)), entry("!", -3.0, entry(".", -0.25))
    )
    hi, mark = first(import_responses(json.dumps(response, indent=2)))
    assert (hi.distribution, hi.chosen.bytes, hi.chosen.id, hi.chosen.rank) == ("unknown", b"Hi", None, None)
    assert hi.missing_p == pytest.approx(1 - exp(-0.5) - exp(-1.25))
    assert mark.missing_p == pytest.approx(1 - exp(-0.25) - exp(-3.0))  # the chosen one is not among the best
    assert (
        import_responses(response, distribution="post_sampling").sequences[0].steps[0].distribution
        == "post_sampling"
    )


def test_very_unlikely_is_no_number() -> None:
    """OpenAI says -9999 for every token beyond its best twenty; that is no logprob of -9999."""
    (step,) = first(import_responses(chat(entry("Hi", -9999.0, entry("Yo", -0.5)))))
    assert (step.chosen.logprob, step.chosen.p, step.chosen.very_unlikely) == (None, None, True)
    assert step.known_p == pytest.approx(exp(-0.5))
    (step,) = first(import_responses(chat(entry("Hi", -3.4028234663852886e38, id=3))))
    assert step.chosen.very_unlikely and step.known_p is None and step.missing_p is None


def test_halves_of_characters() -> None:
    """Two different halves have one text; bytes of a replacement character are not the token's."""
    half = {"token": "\ufffd", "logprob": -1.0, "bytes": [0xE2, 0x82]}
    other = {"token": "\ufffd", "logprob": -2.0, "bytes": [0xF0]}
    guessed = {"token": "\ufffd", "logprob": -0.5, "bytes": [0xEF, 0xBF, 0xBD], "top_logprobs": []}
    known, unknown = first(import_responses(chat({**half, "top_logprobs": [half, other]}, guessed)))
    assert known.chosen.bytes == b"\xe2\x82" and known.known_p == pytest.approx(exp(-1.0) + exp(-2.0))
    assert unknown.chosen.bytes is None and unknown.chosen.text == "\ufffd"


def test_refusals_have_tokens_too() -> None:
    response = chat()
    response["choices"][0]["logprobs"] = {"content": None, "refusal": [entry("No", -0.5)]}
    assert first(import_responses(response))[0].chosen.text == "No"


LEGACY = {
    "id": "cmpl-1",
    "object": "text_completion",
    "model": "davinci",
    "choices": [
        {
            "text": " b c",
            "index": 0,
            "finish_reason": "length",
            "logprobs": {
                "tokens": [" b", " c"],
                "token_logprobs": [-0.5, -2.0],
                "top_logprobs": [{" b": -0.5, " x": -1.5}, {" y": -0.25}],
                "text_offset": [1, 3],
            },
        }
    ],
}


def test_openai_completions() -> None:
    b, c = first(import_responses(LEGACY))
    assert (b.chosen.text, b.chosen.logprob, b.part) == (" b", -0.5, "completion")
    assert b.missing_p == pytest.approx(1 - exp(-0.5) - exp(-1.5))
    assert c.missing_p == pytest.approx(1 - exp(-0.25) - exp(-2.0))


def test_an_echoed_prompt() -> None:
    """With `echo` the first token has no number; where the prompt ends only `usage` tells."""
    response = json.loads(json.dumps(LEGACY))
    logprobs = response["choices"][0]["logprobs"]
    logprobs["token_logprobs"][0] = logprobs["top_logprobs"][0] = None
    assert [step.part for step in first(import_responses(response))] == [None, None]
    response["usage"] = {"prompt_tokens": 1, "completion_tokens": 1}
    echoed, written = first(import_responses(response))
    assert (echoed.part, written.part) == ("prompt", "completion")
    assert (echoed.chosen.logprob, echoed.known_p, echoed.missing_p, echoed.top) == (None, None, None, ())


def test_no_candidates_recorded() -> None:
    response = json.loads(json.dumps(LEGACY))
    response["choices"][0]["logprobs"]["top_logprobs"] = None
    b, _ = first(import_responses(response))
    assert b.top == () and b.missing_p == pytest.approx(1 - exp(-0.5))


def test_several_choices_and_responses() -> None:
    response = json.loads(json.dumps(LEGACY))
    response["choices"] += [{**response["choices"][0], "index": 1, "text": "other"}]
    record = import_responses([response, {**response, "id": "cmpl-2"}])
    assert [(s.index, s.text) for s in record.sequences] == [
        (0, " b c"),
        (1, "other"),
        (2, " b c"),
        (3, "other"),
    ]


# ----------------------------------------------------------------------------------------------------- vllm

PROMPT = [
    None,
    {
        "50": {"logprob": -4.0, "rank": 77, "decoded_token": " b"},
        "7": {"logprob": -0.5, "rank": 1, "decoded_token": " x"},
    },
]


def test_vllm_prompt() -> None:
    """The prompt's own token comes first in each map, whatever its rank."""
    response = {**LEGACY, "choices": [{**LEGACY["choices"][0], "prompt_logprobs": PROMPT}]}  # type: ignore[index]
    none, second, *rest = first(import_responses(response))
    assert (none.part, none.chosen.id, none.top, none.missing_p) == ("prompt", None, (), None)
    assert (second.chosen.id, second.chosen.rank, second.chosen.text) == (50, 77, " b")
    assert second.missing_p == pytest.approx(1 - exp(-4.0) - exp(-0.5)) and second.distribution == "unknown"
    assert [step.part for step in rest] == ["completion", "completion"]
    assert [step.index for step in (none, second, *rest)] == [0, 1, 2, 3]


def test_vllm_prompt_with_its_ids() -> None:
    chat_response = chat(entry("Hi", -0.5), prompt_logprobs=PROMPT, prompt_token_ids=[3, 7])
    none, second, _ = first(import_responses(chat_response))
    assert (none.chosen.id, second.chosen.id, second.chosen.logprob) == (3, 7, -0.5)


def test_vllm_ids_in_place_of_texts() -> None:
    named = entry("token_id:42", -0.5, entry("token_id:42", -0.5), entry("token_id:7", -1.5))
    (step,) = first(import_responses(chat(named)))
    assert (step.chosen.id, step.chosen.text, step.chosen.bytes, step.chosen.shown) == (42, None, None, "#42")
    assert step.missing_p == pytest.approx(1 - exp(-0.5) - exp(-1.5))


def test_vllm_returned_ids() -> None:
    response = chat(entry("Hi", -0.5))
    response["choices"][0]["token_ids"] = [42]
    assert first(import_responses(response))[0].chosen.id == 42


# ---------------------------------------------------------------------------------------------------- tables


def test_foreign_rows(tmp_path: Path) -> None:
    record = import_responses(chat(entry("=1+1", -3.0, entry("\x1b", -0.25))))
    rows = list(foreign_table(record))
    assert [(r["token"], r["chosen"], r["rank"], r["token_id"]) for r in rows] == [
        ("⟨ESC⟩", False, None, None),
        ("=1+1", True, None, None),
    ]
    export(foreign_table(record), tmp_path / "t.csv")
    assert ",'=1+1,0x3d312b31,-3.0," in (tmp_path / "t.csv").read_text()
    with pytest.raises(ValueError, match="svg draws a tree"):
        export(foreign_table(record), tmp_path / "t.svg")


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "it is no JSON"),
        ("{", "it is no JSON"),
        ('{\n "choices": NaN\n}', "it is no strict JSON: NaN"),
        ("[]", "it is empty"),
        ("[1]", "the response must be an object, got int"),
        (b"\xff", "it is not UTF-8"),
        ("data: {}\n\ndata: {x}\n", "line 2: it is no JSON"),
        ("[" * 100_000, "it is nested deeper than 48"),
        ({}, "it has no logprobs; ask the server for them"),
        (
            {"error": {"message": "no such model\x1b"}},
            r'the server answered with an error, "no such model\\u001b"',
        ),
        ({"choices": [{"text": "x", "logprobs": None}]}, "it has no logprobs"),
        ({"choices": {}}, "choices must be a list, got dict"),
        ({"choices": [3]}, r"choices\[0\] must be an object, got int"),
        ({"choices": [{"logprobs": []}]}, r"choices\[0\].logprobs must be an object, got list"),
        (
            {"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": [1, 2]}}]},
            "has 1 tokens, 2 token_logprobs and 1 top",
        ),
        (chat(entry("a", 12.5)), r"content\[0\].logprob must be at most 0, got 12.5; were these logits\?"),
        (chat(entry("a", None) | {"logprob": "x"}), r'content\[0\].logprob must be a number, got "x"'),
        (chat(entry("a", None) | {"logprob": True}), "logprob must be a number, got true"),
        (chat(entry("a", None) | {"logprob": 10**400}), "logprob must be a number, got int"),
        (chat(entry("a", -1) | {"bytes": [256]}), r"bytes must be a list of numbers in \[0, 255\]"),
        (chat(entry("a", -1) | {"token": 7}), r"content\[0\].token must be a text, got int"),
        (chat(entry("a", -1, id=-2)), "id must be a whole number of at least 0, got int"),
        (chat(entry("a", -0.1, entry("b", -0.1))), "its probabilities sum to 1.81; were these logits"),
        (
            {"completion_probabilities": [{"id": 1, "token": "a", "prob": 1.5, "top_probs": []}]},
            r"prob must be in \[0, 1\], got 1.5",
        ),
        ({"completion_probabilities": [{"probs": []}]}, "content must be a text, got null"),
        (
            {"choices": [{"prompt_logprobs": [{"x": {"logprob": -1}}]}]},
            'must have token ids for keys, got "x"',
        ),
        (
            {"choices": [{"prompt_logprobs": [{"1": {"logprob": -1, "rank": 0}}]}]},
            "rank must be a whole number of at least 1",
        ),
    ],
)
def test_bad_records_are_one_line(source: Any, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        import_responses(source)
    assert str(caught.value).startswith("this record cannot be read: ") and str(caught.value).isprintable()


def test_a_wrong_distribution() -> None:
    with pytest.raises(
        ValueError, match="distribution must be one of model, post_sampling, unknown, got 'raw'"
    ):
        import_responses(LEGACY, distribution="raw")  # type: ignore[arg-type]
