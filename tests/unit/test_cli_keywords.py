"""Generation keywords on the command line: what words mean, what help says, what is refused at once."""

from __future__ import annotations

import json

import pytest

import tokenglass as tg
from tests.unit import cli_world
from tokenglass.cli import run
from tokenglass.cli.keywords import offered, read, words_taken
from tokenglass.cli.routing import UsageError, route
from tokenglass.config import BY_NAME, FIELDS
from tokenglass.text import safe_prose

PROMPT = "Once upon a time, generative models"


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tg, "load", cli_world.load, raising=False)


def config_of(*words: str) -> dict:
    return dict(route(["generate", "Hi", *words]).config)


@pytest.mark.parametrize(
    ("words", "config"),
    [
        (["--top-k", "5"], {"top_k": 5}),
        (["--top_k", "5"], {"top_k": 5}),
        (["--top-p", ".9"], {"top_p": 0.9}),
        (["--temperature=1e-2"], {"temperature": 0.01}),
        (["--max-time", "inf"], {"max_time": float("inf")}),
        (["--no-do-sample"], {"do_sample": False}),
        (["--do-sample=false"], {"do_sample": False}),
        (["--early-stopping"], {"early_stopping": True}),
        (["--early-stopping", "never"], {"early_stopping": "never"}),
        (["--no-early-stopping"], {"early_stopping": False}),
        (["--stop-strings", "a", "--stop-strings", "b"], {"stop_strings": ["a", "b"]}),
        (["--stop-strings", '["a", "b"]'], {"stop_strings": ["a", "b"]}),
        (["--stop-strings", "[1]"], {"stop_strings": ["[1]"]}),
        (["--stop-strings", "12"], {"stop_strings": ["12"]}),
        (["--regex", "[0-9]+"], {"regex": "[0-9]+"}),
        (["--regex", "12"], {"regex": "12"}),
        (["--regex", "None"], {"regex": "None"}),
        (["--eos-token-id", "[1, 2]"], {"eos_token_id": [1, 2]}),
        (["--eos-token-id", "none"], {"eos_token_id": None}),
        (["--logit-bias", '{"5": -1.5}'], {"logit_bias": {"5": -1.5}}),
        (["--json-schema", '{"type": "object"}'], {"json_schema": {"type": "object"}}),
        (["--dola-layers", "low"], {"dola_layers": "low"}),
        (["--dola-layers", "[0, 2]"], {"dola_layers": [0, 2]}),
        (["--assistant-model", "gpt2"], {"assistant_model": "gpt2"}),
        (["--top-k", "5", "--top-k", "6"], {"top_k": 6}),
        (["--use-cache"], {"use_cache": True}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_words_mean(words: list[str], config: dict) -> None:
    assert config_of(*words) == config


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--top-k"], "--top-k needs a value, as in --top-k 50"),
        (["--regex"], "--regex needs a value, as in --regex TEXT"),
        (["--no-do-sample=1"], "--no-do-sample takes no value"),
        (["--no-top-k", "3"], "there is no option --no-top-k"),
        (["--bad-words-ids", "[[1, 2"], "not valid JSON at character 7"),
        (["--prefix-allowed-tokens-fn", "f"], "prefix_allowed_tokens_fn takes Python objects"),
        (["--logits-processor=f"], "logits_processor takes Python objects"),
        (["--temprature", "1"], "did you mean --temperature?"),
        (["--suppress-token", "1"], "did you mean --suppress-tokens?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_that_mean_nothing(words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        config_of(*words)
    assert says in str(caught.value)


@pytest.mark.parametrize("command", ["explore", "next", "generate", "strategies"])
def test_every_keyword_is_an_option_everywhere(command: str) -> None:
    """Whatever stands in the table reaches the library under its own name, before and after the prompt."""
    kinds = {"whole": "3", "number": "0.5", "ids": "[1]", "texts": "x", "text": "x", "json": "[1]"}
    for field in FIELDS:
        if field.kind == "object" and field.name != "assistant_model":
            continue
        option = "--" + field.name.replace("_", "-")
        assert option in offered()
        value = (
            []
            if field.kind == "flag"
            else ["true" if field.name == "early_stopping" else kinds.get(field.kind, "x")]
        )
        words = [] if command == "explore" else [command]
        for argv in ([*words, "Hi", option, *value], [option, *value, *words, "Hi"]):
            routed = route(argv)
            assert (routed.command, routed.args, set(routed.config)) == (command, ("Hi",), {field.name})
        assert words_taken([option, *value, "Hi"]) == 1 + len(value)


SAMPLING = frozenset({"sampling", "top_k"})
# A value that acts, and what must stand beside it; other keywords get one by their kind.
TYPED = {
    "seed": "2 --do-sample",
    "dynatemp_exponent": "2 --dynatemp-range 0.5 --do-sample",
    "xtc_threshold": "0.2 --xtc-probability 0.5 --do-sample",
    "dry_base": "2 --dry-multiplier 1",
    "dry_allowed_length": "3 --dry-multiplier 1",
    "dry_penalty_last_n": "5 --dry-multiplier 1",
    "rng": "llama.cpp --do-sample",
    "max_length": "40",
    "num_return_sequences": "2 --do-sample",
    "temperature": "0.5 --do-sample",
    "mirostat_tau": "4 --mirostat 2 --do-sample",
    "mirostat_eta": "0.2 --mirostat 2 --do-sample",
    "adaptive_decay": "0.5 --adaptive-target 0.3 --do-sample",
    "dry_sequence_breakers": '["x"] --dry-multiplier 1',
    "repeat_last_n": "5 --preset llama.cpp --repetition-penalty 1.2",
    "exponential_decay_length_penalty": "[2,1.5]",
    "bad_words_ids": "[[4]]",
    "sequence_bias": "[[[5],1.0]]",
    "logit_bias": '{"5":1}',
    "choice": "yes --choice no",
    "regex": "[a-z]+",
    "json_schema": '{"type":"object"}',
    "grammar": 'root::="a"',
    "length_penalty": "2 --num-beams 2",
    "early_stopping": "never --num-beams 2",
    "num_beam_groups": "2 --num-beams 4",
    "diversity_penalty": "0.5 --num-beams 4 --num-beam-groups 2",
    "pad_token_id": "0 --num-beams 4 --num-beam-groups 2",
    "force_words_ids": "[[5]] --num-beams 2",
    "assistant_model": "smollm2",
    "num_assistant_tokens": "3 --assistant-model smollm2",
    "num_assistant_tokens_schedule": "heuristic --assistant-model smollm2",
    "assistant_confidence_threshold": "0.3 --assistant-model smollm2",
    "max_matching_ngram_size": "2 --prompt-lookup-num-tokens 3",
    "negative_prompt": "no --guidance-scale 2",
    "negative_prompt_ids": "[3] --guidance-scale 2",
    "watermarking_config": '{"bias":2.0}',
    "preset": "vllm",
    "order": '["top_k"] --do-sample',
}
BY_KIND = {"whole": "2", "number": "0.5", "ids": "[3]", "texts": "x", "text": "x"}


@pytest.mark.parametrize(
    "name",
    # contrastive search and DoLa need hidden states, which a table has not
    [
        f.name
        for f in FIELDS
        if f"--{f.name.replace('_', '-')}" in offered() and f.when not in ("contrastive", "dola")
    ],
)
def test_every_keyword_typed_is_in_force(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The document's configuration holds it, and nothing says that it has no effect."""
    field = BY_NAME[name]
    typed = TYPED.get(name, BY_KIND.get(field.kind, "")).split()
    words = [*typed, *(["--do-sample"] if field.when in SAMPLING and "--do-sample" not in typed else [])]
    assert run(["generate", "Once upon", "--json", f"--{name.replace('_', '-')}", *words]) == 0
    captured = capsys.readouterr()
    config = json.loads(captured.out)["config"]
    assert captured.err == "" and config["no_effect"] == [] and config[name] is not None


def test_help_lists_every_keyword_with_what_the_table_knows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns in (40, 80):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert run(["generate", "--help"]) == 0
        shown = capsys.readouterr().out
        lines = shown.split("\n")[1:]  # an option's own name is never broken, nor is the usage
        assert max(len(line) for line in lines if len(line.split()) != 2) <= columns
        letters = "".join(shown.split())  # on a narrow screen the longest words are broken
        for field in FIELDS:
            option = f"--{field.name.replace('_', '-')}"
            if field.kind == "object" and field.name != "assistant_model":
                assert option not in shown
                continue
            assert f" {option} " in shown or f" {option}\n" in shown
            said = [field.about, field.paper, "" if field.kind == "flag" else field.interval]
            assert all("".join(text.split()) in letters for text in said), field.name
        assert all(f"{group}:" in shown for group in {field.group for field in FIELDS})
    words = " ".join(shown.split())
    assert "keep the k likeliest tokens (>= 0; 0 off; default 50, llama.cpp: 40, vllm: 0;" in words


def test_wrong_words_are_refused_before_the_model_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    """With a model that is not there, what is wrong with the words is said first, with their exit code."""
    for command in ("next", "generate", "strategies"):
        assert run([command, "Hi", "-m", "missing", "--min-length", "x"]) == 2
        assert "min_length must be a whole number" in capsys.readouterr().err
    assert run(["generate", "Hi", "-m", "missing", "--num-beams", "2", "--num-return-sequences", "3"]) == 2
    assert "num_return_sequences must be at most num_beams = 2" in capsys.readouterr().err
    assert run(["Hi", "-m", "missing", "--num-beams", "2"]) == 2
    assert "beam search cannot" in capsys.readouterr().err
    # a model may sample unless told otherwise: then these go together
    assert run(["generate", "Hi", "-m", "missing", "--num-return-sequences", "3"]) == 3


def test_stages_are_those_of_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--do-sample", "--top-k", "3", "--temperature", "0.5"]
    table = cli_world.load().next_tokens(PROMPT, n=3, do_sample=True, top_k=3, temperature=0.5)
    assert run(["next", PROMPT, "-n", "3", *words, "--stages", "--why", " a"]) == 0
    shown = capsys.readouterr().out
    assert [
        line.split()[0]
        for line in shown.split("\n")
        if line[:11] in ("model      ", "temperature", "top_k      ")
    ]
    assert "removed by top_k" in shown
    assert run(["next", PROMPT, "-n", "3", *words, "--why", " a", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in document["stages"]] == [stage.name for stage in table.stages]
    (account,) = document["accounts"]
    expected = table.account(" a")
    assert [effect["p"] for effect in account["effects"]] == [effect.p for effect in expected.effects]
    assert account["removed"]["stage"] == "top_k"
    assert run(["next", PROMPT]) == 0 and "stage" not in capsys.readouterr().out


def test_chain_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The model named "engine" fails at its first step, so that a step would show."""
    for command in ("next", "generate"):
        assert run([command, "Hi", "-m", "engine", "--do-sample", "--top-k", "7", "--chain"]) == 0
        assert "top_k=7 (you)" in capsys.readouterr().out
    assert run(["generate", "Hi", "-m", "engine", "--do-sample", "--top-k", "7", "--chain", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [stage["name"] for stage in document["stages"]] == ["top_k"]


def test_several_texts_are_all_shown(capsys: pytest.CaptureFixture[str]) -> None:
    model = cli_world.load()
    samples = model.generate(PROMPT, do_sample=True, seed=5, num_return_sequences=2, max_new_tokens=4)
    beams = model.generate(PROMPT, num_beams=3, num_return_sequences=3, max_new_tokens=4)
    words = ["--max-new-tokens", "4"]
    run(["generate", PROMPT, "--do-sample", "--seed", "5", "--num-return-sequences", "2", *words, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert [s["ids"] for s in document["sequences"]] == [list(s.ids) for s in samples.sequences]
    run(["generate", PROMPT, "--num-beams", "3", "--num-return-sequences", "3", *words])
    shown = capsys.readouterr().out
    for number, sequence in enumerate(beams.sequences, start=1):
        assert f"text {number} of 3 · score {sequence.score:.4f}"[:24] in shown
        assert PROMPT + safe_prose(sequence.text, after=PROMPT) in shown
    assert "step 1" not in shown
    run(["generate", PROMPT, "--num-beams", "3", *words, "--steps"])
    assert "step 1" in capsys.readouterr().out


def test_a_drawn_text_can_be_drawn_again_with_the_seed_in_the_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["generate", PROMPT, "--do-sample", "--temperature", "3", "--json"]
    run(words)
    first = json.loads(capsys.readouterr().out)
    run([*words, "--seed", str(first["config"]["seed"])])
    assert json.loads(capsys.readouterr().out)["ids"] == first["ids"]


def test_the_model_that_drafts_is_loaded_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    greedy = cli_world.load().generate(PROMPT, max_new_tokens=3)
    assert run(["generate", PROMPT, "--assistant-model", "smollm2", "--max-new-tokens", "3", "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["ids"] == list(greedy.ids) and document["config"]["mode"] == "assisted"
    assert run(["generate", PROMPT, "--assistant-model", "missing"]) == 3
    assert capsys.readouterr().err.startswith(
        "loading missing, which drafts\ntokenglass: missing is not here"
    )


def test_reading_leaves_other_keywords_alone() -> None:
    config = {"top_k": 3}
    read(["--top-p", "0.5"], config)
    assert config == {"top_k": 3, "top_p": 0.5} and BY_NAME["top_p"].kind == "number"
