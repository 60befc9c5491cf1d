"""The command line in one process: what is printed, and with which exit code."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit import cli_world
from tests.unit.view_samples import NASTY
from tokenglass import models
from tokenglass.cli import run
from tokenglass.cli.help import OVERVIEW
from tokenglass.cli.keywords import offered, words_taken
from tokenglass.cli.options import SUMMARIES, parser
from tokenglass.cli.routing import COMMANDS, FLAGS, VALUED, Routed, route
from tokenglass.errors import ModelNotFound
from tokenglass.files.checking import Checked
from tokenglass.views.cells import cell_width

PROMPT = "Once upon a time, generative models"
COMMAND_LINES = {
    "explore": [PROMPT],
    "tokens": ["tokens", PROMPT],
    "next": ["next", PROMPT, "-n", "3", "--lookup", ","],
    "generate": ["generate", PROMPT, "--max-new-tokens", "2", "--steps"],
    "chat": ["--chat", PROMPT],
    "doctor": ["doctor"],
    "models": ["models"],
    "path": ["models", "path"],
    "stages": ["next", PROMPT, "--do-sample", "--top-k", "3", "--stages", "--why", ",", "--lookup", " a"],
    "chain": ["generate", PROMPT, "--do-sample", "--seed", "1", "--top-p", "0.9", "--chain"],
    "samples": ["generate", PROMPT, "--do-sample", "--seed", "1", "--num-return-sequences", "2"],
    "beams": ["generate", PROMPT, "--num-beams", "3", "--num-return-sequences", "2", "--steps"],
    "healing": ["generate", PROMPT, "--token-healing", "--max-new-tokens", "2"],
    "strategies": ["strategies", PROMPT, "--seed", "1", "--max-new-tokens", "3"],
    "score": ["score", "--text", PROMPT],
    "options": ["score", "--text", PROMPT, "--options", " like", "--options", " models like"],
    "prompts": ["compare", PROMPT, "Once upon a", "--max-new-tokens", "3"],
    "configs": ["compare", PROMPT, "--a", "top_k=2", "--a", "do_sample", "--seed", "1", "--max-length", "12"],
    "pair": ["compare", PROMPT, "--with-model", "smollm2", "--max-new-tokens", "3"],
}


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        def refuse(name: str) -> None:
            raise AssertionError(f"{name} in JSON")

        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture
def tokenglass(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command line in the world of `cli_world`, away from any terminal."""
    import tokenglass as library

    monkeypatch.setattr(library, "load", cli_world.load, raising=False)
    monkeypatch.setattr(library, "load_tokenizer", cli_world.load_tokenizer, raising=False)
    monkeypatch.setattr(models, "path", cli_world._path)
    row = models.ModelRow("smol\x1b[1mlm2", "added", Path("/m/x.gguf"), 98_000_000, "Apache-2.0", True, "ab")
    monkeypatch.setattr(models, "listing", lambda: [row])

    def ran(*argv: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(list(argv))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


# ---------------------------------------------------------------- which command


@pytest.mark.parametrize(
    ("argv", "routed"),
    [
        ([], Routed("help", ())),
        (["--help"], Routed("help", ())),
        (["--version"], Routed("version", ())),
        (["Once"], Routed("explore", ("Once",))),
        (["models"], Routed("models", ())),
        (["--", "models"], Routed("explore", ("--", "models"))),
        (["--json", "--", "models"], Routed("explore", ("--json", "--", "models"))),
        (["-m", "gpt2", "models"], Routed("models", ("-m", "gpt2"))),
        (["-m", "models", "Once"], Routed("explore", ("-m", "models", "Once"))),
        (["-m", "gpt2", "--json", "next", "Hi"], Routed("next", ("-m", "gpt2", "--json", "Hi"))),
        (["open", "t.jsonl"], Routed("open", ("t.jsonl",))),
        (["export", "t", "-o", "models"], Routed("export", ("t", "-o", "models"))),
        (
            ["compare", "a", "--a", "top_k=5", "--top-p", ".5"],
            Routed("compare", ("a", "--a", "top_k=5"), {"top_p": 0.5}),
        ),
        (["tokens", "models"], Routed("tokens", ("models",))),
        (["models and more"], Routed("explore", ("models and more",))),
        (["-"], Routed("explore", ("-",))),
        (["-5 degrees"], Routed("explore", ("-5 degrees",))),
        (["--top-k", "5", "next", "Hi"], Routed("next", ("Hi",), {"top_k": 5})),
        (["generate", "Hi", "--do-sample"], Routed("generate", ("Hi",), {"do_sample": True})),
        (["generate", "--no-do-sample", "Hi"], Routed("generate", ("Hi",), {"do_sample": False})),
        (["generate", "--eos-token-id=None", "Hi"], Routed("generate", ("Hi",), {"eos_token_id": None})),
        (["next", "Hi", "--no-repeat-ngram-size", "2"], Routed("next", ("Hi",), {"no_repeat_ngram_size": 2})),
        (["next", "Hi", "--bad-words-ids", "[[1, 2]]"], Routed("next", ("Hi",), {"bad_words_ids": [[1, 2]]})),
        (["next", "--lookup", "--top-k", "Hi"], Routed("next", ("--lookup", "--top-k", "Hi"))),
        (["next", "--", "--top-k", "5"], Routed("next", ("--", "--top-k", "5"))),
        (["next", "Hi", "--help"], Routed("next", ("Hi", "--help"))),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_route(argv: list[str], routed: Routed) -> None:
    assert route(argv) == routed


def test_routing_knows_every_option() -> None:
    """`routing` skips the value of an option to find the first word: it must agree with the parsers."""
    actions = [action for command in SUMMARIES for action in parser(command)._actions]
    own = {o: a for a in actions for o in a.option_strings if o not in offered()}
    assert {o for o, a in own.items() if a.nargs is None} == VALUED
    assert {o for o, a in own.items() if a.nargs == 0} | {"--version"} == FLAGS
    keywords = {o: a for a in actions for o in a.option_strings if o in offered()}
    assert set(keywords) == offered()
    for option, action in keywords.items():
        value = "true" if option == "--early-stopping" else "x"
        assert words_taken([option, value, "y"]) == (1 if action.nargs == 0 else 2), option


def test_overview_names_every_command() -> None:
    assert all(f"tokenglass {command}" in OVERVIEW for command in COMMANDS)


# ------------------------------------------------------------------- what is shown


@pytest.mark.parametrize("argv", COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_text_is_safe_and_calm(tokenglass, argv: list[str]) -> None:
    ran = tokenglass(*argv)
    assert (ran.code, ran.err) == (0, "")
    assert all(c == "\n" or c.isprintable() for c in ran.out)


@pytest.mark.parametrize("argv", COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_json_is_one_document(tokenglass, argv: list[str]) -> None:
    ran = tokenglass(*argv, "--json")
    assert (ran.code, ran.err) == (0, "") and ran.out.count("\n") == 1
    assert isinstance(ran.document, dict)


@pytest.mark.parametrize("argv", COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_twenty_columns_are_enough(tokenglass, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    lines = tokenglass(*argv).out.split("\n")
    if argv[0] not in (
        "generate",
        "models",
        "strategies",
    ):  # running text and a path are left to the terminal to wrap
        # two probabilities in one row, as comparisons have them, take a cell more
        assert max(map(cell_width, lines)) <= (21 if argv[0] == "compare" else 20)


@pytest.mark.parametrize(
    "command", ["explore", "tokens", "next", "generate", "strategies", "score", "compare"]
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_no_token_acts_on_the_screen(tokenglass, command: str, as_json: bool) -> None:
    """Every nasty token as a prompt: escape sequences, bidi, markup, tags, half characters."""
    for data in NASTY:
        prompt = data.decode("utf-8", "ignore") or "-"
        few = ["--only", "top_k"] if command == "strategies" else []
        argv = [prompt] if command == "explore" else [command, *few, prompt]
        if command == "score":
            words = [command, f"--text={prompt}", f"--options={prompt}", "--options=?", "--"]
        else:
            both = ["Once"] if command == "compare" else []
            words = [*argv[:-1], "--", *both, argv[-1]]
        ran = tokenglass(*(["--json"] if as_json else []), *words)
        assert ran.code == 0 and ran.err == ""
        assert all(c == "\n" or c.isprintable() for c in ran.out)


def test_next_says_what_the_table_is(tokenglass) -> None:
    ran = tokenglass("next", PROMPT, "-n", "2", "--lookup", " a")
    assert "next token after Once·upon·a·time,·generative·models" in ran.out
    assert " candidates · " in ran.out and " bits · about " in ran.out and " effective choices" in ran.out
    assert "·like" in ran.out and "·a" in ran.out and " others" in ran.out


def test_next_json_holds_the_numbers(tokenglass) -> None:
    document = tokenglass("next", PROMPT, "-n", "2", "--lookup", " a", "--json").document
    table = cli_world.load().next_tokens(PROMPT, n=2)
    assert [row["p"] for row in document["rows"]] == [row.p for row in table.rows]
    assert document["lookup"][0]["rank"] == table.lookup(" a").rank
    assert sum(row["p"] for row in document["rows"]) + document["rest_p"] == pytest.approx(1.0, abs=1e-6)


def test_position_shows_an_earlier_table(tokenglass) -> None:
    document = tokenglass("next", PROMPT, "--position", "0", "--json").document
    assert document["position"] == 0 and document["rows"][0]["token"] == "·upon"


def test_generate_writes_the_text(tokenglass) -> None:
    ran = tokenglass("generate", PROMPT, "--max-new-tokens", "2")
    assert ran.out == PROMPT + " like have\n"
    document = tokenglass("generate", PROMPT, "--json").document
    assert document["text"] == " like have were" and document["finish_reason"] == "eos"
    assert document["config"]["max_new_tokens"] == 20
    assert all(len(step["top"]) == 10 for step in document["sequences"][0]["steps"])


def test_generation_keywords_reach_the_library(tokenglass) -> None:
    document = tokenglass(
        "generate", PROMPT, "--stop-strings", "have", "--eos-token-id", "None", "--json"
    ).document
    assert document["text"] == " like have" and document["finish_reason"] == "stop_string"
    assert document["config"]["eos_token_id"] == []


def test_chat_renders_a_message(tokenglass) -> None:
    assert tokenglass("tokens", "--chat", "Hi", "--json").document["text"] == "[user]Hi:"
    assert tokenglass("tokens", "<|endoftext|>", "--parse-special", "--json").document["n_tokens"] == 1
    assert tokenglass("tokens", "<|endoftext|>", "--json").document["n_tokens"] == 13


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (b"Hi\n", "Hi"),
        (b"Hi\r\n", "Hi"),
        (b"Hi\n\n", "Hi\n"),
        (b"Hi", "Hi"),
        ("é".encode(), "é"),
        (b"\n", ""),
    ],
)
def test_dash_reads_standard_input(tokenglass, typed: bytes, text: str) -> None:
    assert tokenglass("tokens", "-", "--json", stdin=typed).document["text"] == text


def test_version_and_help(tokenglass) -> None:
    assert tokenglass("--version").out.startswith("tokenglass 0")
    assert tokenglass().out == tokenglass("--help").out == OVERVIEW + "\n"
    assert max(map(len, OVERVIEW.split("\n"))) <= 110
    for command in COMMANDS:
        ran = tokenglass(command, "--help")
        assert ran.code == 0 and SUMMARIES[command].split(" ")[0] in ran.out


# ------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["Once", "upon"], 2, 'put the prompt in quotes, as in "Once upon"'),
        (["next"], 2, "PROMPT"),
        (["next", "Hi", "-n", "0"], 2, "whole number of at least 1, got '0'"),
        (["next", "Hi", "--positon", "1"], 2, "did you mean --position?"),
        (["next", "Hi", "--num-beems", "3"], 2, "did you mean --num-beams?"),
        (["Hi", "--num-beams", "3"], 2, "stepping writes token by token, which beam search cannot"),
        (["generate", "Hi", "--top-p", "1.2"], 2, "top_p must be in [0, 1], got 1.2"),
        (["generate", "Hi", "--use-mtp"], 2, "use_mtp is not supported: models with multi-token"),
        (["generate", "Hi", "--stopping-criteria", "x"], 2, "use stop_strings, max_time or eos_token_id"),
        (["generate", "Hi", "--logits-processor", "f"], 2, "use model.generate(..., logits_processor=...)"),
        (["generate", "Hi", "--logit-bias", "{5: 1}"], 2, "not valid JSON at character 2"),
        (["generate", "Hi", "--num-beams", "3", "--mirostat", "2", "--do-sample"], 2, "mirostat must be 0"),
        (["generate", "Hi", "--num-return-sequences", "3"], 2, "set do_sample=True or num_beams"),
        (["generate", "Hi", "--preset", "vllm", "--mirostat", "2"], 2, "not part of preset 'vllm'"),
        (["strategies", "Hi", "--top-k", "5"], 2, "top_k is what the strategies differ in"),
        (["strategies", "Hi", "--only", "beam-search"], 2, "did you mean beam_search?"),
        (["score", "Hi", "--text", "Hi"], 2, "one FILE, or - for standard input, or --text TEXT"),
        (["score"], 2, "one FILE, or - for standard input, or --text TEXT"),
        (["score", "--text", "Hi", "--top", "-1"], 2, "whole number of at least 0, got '-1'"),
        (["score", "--text", "Hi", "--options", "a", "--options", "a"], 2, "options must differ"),
        (["score", "no such file"], 3, "there is no file no such file"),
        (["score", "/"], 3, "/"),
        (["score", "a\x00b"], 3, "no file can have this name"),
        (["compare", "Hi"], 2, "compare takes two prompts, or one with --a"),
        (["compare", "a", "b", "c"], 2, "got 3 of them"),
        (["compare", "a", "b", "--a", "top_k=5"], 2, "got 2 of them"),
        (["compare", "a", "--a", "top_k=5", "--with-model", "smollm2"], 2, "not both at once"),
        (["compare", "-", "-"], 2, "standard input can be one of the prompts"),
        (["compare", "a", "--a", "temperature"], 2, "as in --a temperature=VALUE"),
        (
            ["compare", "a", "--b", "top-kk=5"],
            2,
            "--b takes a generation keyword, got 'top-kk=5'; did you mean",
        ),
        (["compare", "a", "--a", "top_p=2"], 2, "top_p must be in [0, 1], got 2"),
        (["compare", "a", "--with-model", "missing"], 3, "tokenglass models pull missing"),
        (["compare", "a" * 65, "b"], 2, "the prompt has 65 tokens"),
        (["next", "Hi", "--num-beams"], 2, "--num-beams needs a value"),
        (["next", "Hi", "--position", "9"], 2, "position must be in [-2, 1], got 9"),
        (["next", "Hi", "--lookup", "nothing"], 2, "nothing"),
        (["next", "Hi", "--precision", "half"], 2, "choose from"),
        (["tokens", "Hi", "--frobnicate"], 2, "--frobnicate"),
        (["generate", "Hi", "--max-new-tokens", "many"], 2, "got 'many'"),
        (["generate", "Hi", "--max-length", "1"], 2, "max_length counts the prompt"),
        (["generate", "Hi", "--max-time", "nan"], 2, "max_time must be a number, got nan"),
        (["models", "frob"], 2, "frob"),
        (["models", "pull"], 2, "tokenglass models pull smollm2"),
        (["models", "list", "x"], 2, "takes no name"),
        (["a" * 100], 2, "the prompt has 100 tokens but the model's context holds 64"),
        (["Hi \udce2"], 2, "argument 1 is not valid UTF-8"),
        (["-m", "missing", "Hi"], 3, "tokenglass models pull missing"),
        (["-m", "damaged", "Hi"], 3, "fetch it again"),
        (["-m", "optional", "Hi"], 3, "pip install"),
        (["-m", "file", "tokens", "Hi"], 3, "No such file or directory: a⟨ESC⟩[31m.gguf"),
        (["doctor", "-m", "missing"], 3, "tokenglass models pull missing"),
        (["-m", "engine", "Hi"], 4, "load the model again"),
        (["-m", "nan", "Hi"], 4, "NaN"),
        (["-m", "memory", "Hi"], 4, "out of memory"),
        (["-m", "bug", "Hi"], 4, "unexpected KeyError: '⟨U+005C⟩x1b[2Jsecret'"),
    ],
    ids=lambda value: ascii(" ".join(value))[:40] if isinstance(value, list) else "",
)
def test_errors_are_one_line(tokenglass, argv: list[str], code: int, says: str) -> None:
    ran = tokenglass(*argv)
    says = says.replace("⟨U+005C⟩", "\\")
    assert ran.code == code and says in ran.err
    assert ran.err.startswith("tokenglass: ") and ran.err.count("\n") == 1
    assert all(c.isprintable() for c in ran.err[:-1])
    assert ran.out == "" or argv[0] == "doctor"


@pytest.mark.parametrize(
    "argv", [["next"], ["-m", "missing", "Hi"], ["-m", "bug", "Hi"], ["doctor", "-m", "missing"]]
)
def test_errors_with_json_are_a_document(tokenglass, argv: list[str]) -> None:
    ran = tokenglass(*argv, "--json")
    error = ran.document["error"]
    assert (error["exit_code"] == ran.code and error["message"] in ran.err) or argv[0] == "doctor"
    assert error["type"] and "\n" not in error["message"]


def test_invalid_utf8_on_standard_input(tokenglass) -> None:
    ran = tokenglass("next", "-", stdin=b"abc\xff")
    assert ran.code == 2 and "byte 0xff at offset 3" in ran.err


def test_context_overflow_is_refused_never_cut(tokenglass) -> None:
    ran = tokenglass("generate", "a" * 65, "--json")
    assert ran.code == 2 and ran.document["error"]["type"] == "ContextOverflow"


def test_empty_prompt_begins_a_text(tokenglass) -> None:
    assert tokenglass("next", "", "--json").document["prompt_ids"] == [cli_world.EOS]


def test_interrupted_while_loading(tokenglass, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_world, "load", interrupted)
    import tokenglass as library

    monkeypatch.setattr(library, "load", interrupted)
    ran = tokenglass("next", "Hi", "--json")
    assert ran.code == 130 and ran.document["error"]["exit_code"] == 130


def test_interrupted_generation_keeps_its_text(tokenglass, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the third forward pass: two tokens are there, in text and in the document."""
    calls = []

    def rule(ids):
        calls.append(ids)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return cli_world.rule(ids)

    monkeypatch.setitem(cli_world.RULES, "smollm2", rule)
    ran = tokenglass("generate", PROMPT)
    assert ran.code == 130 and ran.out == PROMPT + " like have\n"
    calls.clear()
    ran = tokenglass("generate", PROMPT, "--json")
    assert ran.code == 130 and ran.document["text"] == " like have"
    assert ran.document["finish_reason"] == "cancelled"


def test_models_actions_call_the_library(tokenglass, monkeypatch: pytest.MonkeyPatch) -> None:
    row = models.ModelRow("x", "added", Path("/m/x.gguf"), 98_226_784, "", True, "ab")
    checked = Checked("x", Path("/m/x.gguf"), 98_226_784, 272, 49152, 49152, "ab", True)
    monkeypatch.setattr(models, "add", lambda file: row)
    monkeypatch.setattr(models, "check", lambda name: checked)
    monkeypatch.setattr(models, "pull", lambda name, revision=None: row)
    for action in ("add", "check", "pull"):
        ran = tokenglass("models", action, "x")
        assert ran.code == 0 and "98.2 MB" in ran.out and "/m/x.gguf" in ran.out
        assert tokenglass("models", action, "x", "--json").document["n_bytes"] == 98_226_784
    assert tokenglass("models", "path", "x").out == "/models/x\n"


def test_doctor_measures_without_fetching(tokenglass, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tokenglass("doctor", "--json").document
    assert document["step_ms"] >= 0 and document["packages"]["numpy"] and document["resident_bytes"] != 0

    def absent(name: str) -> Path:
        raise ModelNotFound("not here; run tokenglass models pull smollm2")

    monkeypatch.setattr(models, "path", absent)
    ran = tokenglass("doctor")
    assert ran.code == 3 and "smollm2, not here" in ran.out
