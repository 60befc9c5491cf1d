"""The public names, exactly: what is there, what it is called, what it takes. Programs rely on these."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

import tokenglass as tg
from tests.doc_blocks import signature

INIT = Path(tg.__file__)

# A parameter that disappears, moves or gets another default here breaks somebody's program.
SIGNATURES = {
    "load": "(source='smollm2', *, engine=None, precision='exact', revision=None, threads=None, "
    "add_prefix_space=None, tokenizer=None, dtype=None, device=None)",
    "compare": "(a, b, *, prompt=None, model=None, n=10, chat_template_kwargs=None, **config)",
    "open_session": "(path, model=None, **config)",
    "Model.score": "(text, **options)",
    "Model.score_options": "(prompt, options, *, space_variants=False)",
    "Model.strategies": "(prompt, names=None, **config)",
    "Model.map": "(prompts, task='next', *, lookahead=128, errors='raise', **config)",
    "Model.explore": "(prompt, **config)",
    "Session.goto": "(node)",
    "Session.expand": "(*, depth=1, mass=None, p=None, limit=1000)",
    "Session.sample": "(n, *, max_new_tokens=20)",
    "Session.leaves": "(n=None)",
    "Session.prune": "(node=None)",
    "Session.name": "(text, node=None)",
    "Session.note": "(text, node=None)",
    "Session.save": "(path, *, replace=False)",
    "load_tokenizer": "(source='smollm2', *, add_prefix_space=None, revision=None)",
    "Model.tokenize": "(prompt, *, add_special_tokens=True, parse_special=False, chat_template_kwargs=None)",
    "Model.detokenize": "(ids, *, skip_special_tokens=False)",
    "Model.logits": "(prompt)",
    "Model.next_tokens": "(prompt, n=10, position=-1, *, chat_template_kwargs=None, **config)",
    "Model.stream": "(prompt, *, chat_template_kwargs=None, **config)",
    "Model.generate": "(prompt, *, chat_template_kwargs=None, **config)",
    "Model.session": "(prompt, *, chat_template_kwargs=None, **config)",
    "Model.close": "()",
    "NextTokens.lookup": "(token)",
    "NextTokens.to_dict": "()",
    "NextTokens.to_dicts": "()",
    "NextTokens.to_pandas": "()",
    "Step.why": "()",
    "Model.search": "(prompt, *, chat_template_kwargs=None, **config)",
    "Model.chain": "(**config)",
    "Chain.as_transformers_code": "()",
    "NextTokens.account": "(token)",
    "Step.account": "(token)",
    "Session.step": "(n=1, token=None, reroll=False)",
    "Session.fork": "()",
    "Session.set": "(**config)",
    "Session.undo": "(n=1)",
    "Session.redo": "(n=1)",
    "Tokenizer.encode": "(text, *, add_special_tokens=True, parse_special=False)",
    "Tokenizer.decode": "(ids, *, skip_special_tokens=False)",
}
# Fields and properties; a result may have more, but never fewer.
MEMBERS = {
    "Token": "id bytes text kind span",
    "Tokenization": "ids tokens text",
    "Candidate": "rank id token text logit logprob p p_final removed_by",
    "NextTokens": "rows entropy_bits rest_p stages logits prompt_ids position config coverage",
    "Step": "position token id text logit logprob p p_final rank entropy_bits top stages draw cdf origin "
    "finish_reason",
    "Generation": "text full_text ids prompt_ids steps finish_reason config sequences search warnings "
    "healing",
    "Search": "sequences",
    "Chain": "mode preset stages selection config sources no_effect warnings code",
    "ChainStage": "name params sources paper",
    "Account": "token effects removed",
    "Effect": "stage score p rank",
    "Removal": "stage rank p",
    "Sequence": "ids text score steps finish_reason",
    "EngineInfo": "name family engine precision parameters vocab_size context_length eos_ids sha256 "
    "capabilities",
    "Model": "info",
    "Session": "ids text next steps finish_reason",
}


def _top_level(name: str) -> list[ast.stmt]:
    tree = ast.parse(INIT.read_text(encoding="utf-8"))
    return [node for node in tree.body if type(node).__name__ == name]


def test_all_is_literal_and_sorted() -> None:
    (value,) = (
        node.value
        for node in _top_level("Assign")
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    literal = ast.literal_eval(value)  # fails on anything computed
    assert literal == tg.__all__ == sorted(set(literal))


def test_all_is_exact() -> None:
    """Names for type checkers, names loaded on use and `__all__` are the same, from the same homes."""
    (checking,) = (node for node in _top_level("If") if isinstance(node, ast.If))
    assert ast.unparse(checking.test) == "TYPE_CHECKING"
    homes = {
        alias.name: (node.module or "").removeprefix("tokenglass.")
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert homes == tg._HOMES
    assert {*homes, "__version__"} == set(tg.__all__)
    assert dir(tg) == sorted(tg.__all__)


def test_there_is_nothing_else() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'generate'"):
        tg.generate  # noqa: B018


@pytest.mark.parametrize("name", [name for name in tg.__all__ if name != "__version__"])
def test_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(tg, name)
    assert thing.__name__ == name
    assert (thing.__doc__ or "").strip()
    assert "(" not in (thing.__doc__ or "(").partition("\n")[0][: len(name) + 1], (
        "a dataclass's made-up docstring"
    )
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{name}.{member}"


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name: str) -> None:
    owner, _, method = name.partition(".")
    thing = getattr(tg, owner)
    assert signature(getattr(thing, method) if method else thing) == SIGNATURES[name]


@pytest.mark.parametrize("name", MEMBERS)
def test_members(name: str) -> None:
    kind = getattr(tg, name)
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    assert set(MEMBERS[name].split()) <= fields | set(dir(kind))


def test_results_are_frozen() -> None:
    for name in (
        "Token",
        "Tokenization",
        "Candidate",
        "Stage",
        "NextTokens",
        "Step",
        "Sequence",
        "Generation",
    ):
        parameters = getattr(tg, name).__dataclass_params__
        assert parameters.frozen, name
