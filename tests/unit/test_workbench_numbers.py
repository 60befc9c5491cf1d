"""Every number of an answer is the library's own for the same step; the curve and its cuts by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from math import log2
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

import tokenglass as tg
from tests.support import model, writes
from tests.unit.workbench_calls import call, stream
from tokenglass.showcase import STRATEGIES
from tokenglass.workbench import Workbench

PROMPT = "Once upon a time, generative models"
SAMPLED = {"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.9, "min_p": 0.02, "seed": 7}
CONFIGS: list[dict[str, Any]] = [
    {},
    SAMPLED,
    {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
    {"preset": "llama.cpp", "seed": 3},
    {"preset": "vllm", "seed": 3, "top_p": 0.5},
    {"do_sample": True, "mirostat": 2, "seed": 5},
]
TABLE = model(writes("abc def ghi jkl"))


@pytest.fixture(scope="module", params=["bytes", "smollm2"])
def pair(request: Any) -> Iterator[tuple[Workbench, Any]]:
    """(the workbench, the same model outside of it)."""
    own = TABLE if request.param == "bytes" else request.getfixturevalue("smollm2")
    yield Workbench(own), own


def same(one: Any, other: Any) -> bool:
    """Equal as JSON; equal bit for bit, since the same engine ran on the same ids."""
    return bool(json.loads(json.dumps(one)) == json.loads(json.dumps(other)))


def session_of(own: Any, config: dict[str, Any], count: int) -> Any:
    session = own.session(PROMPT, **config)
    session.step(count)
    return session


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_state_is_the_librarys_session(pair: tuple[Workbench, Any], config: dict[str, Any]) -> None:
    bench, own = pair
    opened = call(bench, "open", prompt=PROMPT, config=config)
    row = call(bench, "step", session=opened["session"], count=3)
    session = session_of(own, {**config, "seed": opened["config"]["given"].get("seed")}, 3)
    table = session.next.to_dict()
    for each in row["next"]["rows"]:
        each.pop("trail", None)
    assert same({key: row["next"][key] for key in table}, table)
    assert same(row["last"], session.steps[-1].to_dict())
    assert same([node["p"] for node in row["tree"]["nodes"][1:]], [step.p for step in session.steps])
    assert row["text"] == session.text and row["finish_reason"] == session.finish_reason
    assert same(row["config"]["effective"], session.config.to_dict())
    written = [token for token in row["tokens"] if not token["is_prompt"]]
    for token, step in zip(written, session.steps, strict=True):
        assert (token["id"], token["rank"], token["logprob"]) == (step.id, step.rank, step.logprob)
        assert token["surprisal_bits"] == pytest.approx(-log2(step.p), rel=1e-9)


@pytest.mark.parametrize("config", CONFIGS[:4], ids=str)
def test_a_pick_is_what_a_step_writes(pair: tuple[Workbench, Any], config: dict[str, Any]) -> None:
    bench, _ = pair
    row = call(bench, "open", prompt=PROMPT, config=config)
    for _ in range(3):
        pick = row["next"]["pick"]
        row = call(bench, "step", session=row["session"])
        last = row["last"]
        assert (last["id"], last["draw"], last["cdf"]) == (pick["id"], pick["draw"], pick["cdf"])
        assert last["p_final"] == pytest.approx(pick["p_final"], rel=1e-12)


def test_a_rolled_number_falls_on_its_cell(pair: tuple[Workbench, Any]) -> None:
    """The line of cells that a state shows is the one that a step uses."""
    bench, _ = pair
    row = call(bench, "open", prompt=PROMPT, config=SAMPLED)
    cells = row["next"]["draw_preview"]
    assert len(cells) == 50 or sum(cell["end"] - cell["start"] for cell in cells) == pytest.approx(1.0)
    assert all(one["end"] <= other["start"] + 1e-12 for one, other in pairwise(cells))
    pick = row["next"]["pick"]
    drawn = next(([cell["start"], cell["end"]] for cell in cells if cell["id"] == pick["id"]), pick["cdf"])
    assert drawn == pytest.approx(pick["cdf"], abs=1e-12) and drawn[0] <= pick["draw"] < drawn[1]
    for cell in (cells[0], cells[len(cells) // 2], cells[-1]):
        rolled = call(bench, "step", session=row["session"], u=(cell["start"] + cell["end"]) / 2)
        assert rolled["last"]["p_final"] == pytest.approx(cell["end"] - cell["start"], rel=1e-6)
        assert (rolled["last"]["id"], rolled["last"]["origin"]) == (cell["id"], "forced")
        call(bench, "undo", session=row["session"])


def test_an_earlier_position_is_the_librarys_own(pair: tuple[Workbench, Any]) -> None:
    bench, own = pair
    session = call(bench, "open", prompt=PROMPT, config=SAMPLED)["session"]
    row = call(bench, "step", session=session, count=4)
    ids = [token["id"] for token in row["tokens"]]
    prompt = sum(token["is_prompt"] for token in row["tokens"])
    for position in (0, prompt - 2, prompt - 1, prompt, len(ids) - 1):
        found = call(bench, "at", session=session, position=position)
        known = own.session(ids[:prompt], **SAMPLED)
        for token in ids[prompt : position + 1]:
            known.step(token=token)
        if position < prompt - 1:
            expected = own.next_tokens(ids[: position + 1], **SAMPLED).to_dict()
        else:
            expected = known.next.to_dict()
        for each in found["next"]["rows"]:
            each.pop("trail", None)
        assert close(found["next"], expected), position
        came = ids[position + 1] if position + 1 < len(ids) else None
        assert (found["came"] or {"id": None})["id"] == came


def close(one: Any, other: Any) -> bool:
    """Equal but for another path through the cache: 5e-4 on logits, as the contract suite allows."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == pytest.approx(other, abs=5e-4) if isinstance(one, float) else bool(one == other)


def test_any_token_and_its_way_through_the_chain(pair: tuple[Workbench, Any]) -> None:
    bench, own = pair
    session = call(bench, "open", prompt=PROMPT, config=SAMPLED)["session"]
    table = own.session(PROMPT, **SAMPLED).next
    for token in (table.rows[0].id, table.rows[-1].id, 99):
        row = call(bench, "lookup", session=session, token=token)
        assert same(row["account"], table.account(token).to_dict())
        assert row["row"]["p"] == table.lookup(token).p and row["row"]["rank"] == table.lookup(token).rank
    with pytest.raises(ValueError, match="no single token"):
        bench.call("lookup", {"session": session, "token": "not one token at all"})
    chain = call(bench, "chain", session=session)
    assert same(chain["accounts"], [table.account(row.id).to_dict() for row in table.rows])
    assert same(chain["records"], table.to_dict()["stages"])
    described = own.session(PROMPT, **SAMPLED).plan.describe().to_dict()
    assert same({key: chain[key] for key in described}, described)


def test_the_code_of_a_chain_runs_and_writes_the_same() -> None:
    """The program that is shown, run as it is on the model that is here."""
    bench = Workbench(TABLE)
    session = call(bench, "open", prompt=PROMPT, config=SAMPLED)["session"]
    code = call(bench, "chain", session=session)["tokenglass_code"]
    row = call(bench, "step", session=session)

    class Library:
        @staticmethod
        def load(name: str) -> Any:
            assert name == "table"
            return TABLE

    found: dict[str, Any] = {"tg": Library}
    exec(code.replace("import tokenglass as tg\n", ""), found)
    assert found["session"].steps[-1].to_dict() == row["last"]


# ----------------------------------------------------------------------------------------------- the curve


def test_the_curve_is_every_probability_in_order(pair: tuple[Workbench, Any]) -> None:
    bench, own = pair
    session = call(bench, "open", prompt=PROMPT, config=SAMPLED)["session"]
    row = call(bench, "curve", session=session)
    exact = np.sort(softmax(own.logits(PROMPT)[-1].astype(np.float64)))[::-1]
    assert [rank for rank, _ in row["points"][:200]] == list(range(1, 201))
    assert row["points"][-1][0] == row["vocab_size"] == len(exact)
    for rank, p in row["points"]:
        # 5e-4 on a logit, as warm and cold runs may differ, is as much relative to the probability
        assert p == pytest.approx(exact[rank - 1], rel=1e-3)


def test_cuts_lie_where_the_textbook_has_them() -> None:
    """Probabilities 0.5, 0.25, 0.125, 0.0625 and 0.0625, by hand.

    top_k=4 keeps four, ties with the fourth too: all five. top_p=0.8 needs 0.5 + 0.25 + 0.125 = 0.875: three.
    min_p=0.3 then keeps what has at least 0.3 of the best: 0.25 / 0.5 = 0.5 yes, 0.125 / 0.5 = 0.25 no.
    """
    logits = np.full(257, -np.inf, np.float32)
    logits[[5, 9, 2, 7, 1]] = np.log([0.5, 0.25, 0.125, 0.0625, 0.0625])
    bench = Workbench(model(lambda ids: logits))
    config = {"do_sample": True, "top_k": 4, "top_p": 0.8, "min_p": 0.3, "seed": 1}
    row = call(bench, "curve", session=call(bench, "open", prompt="a", config=config)["session"])
    assert [(cut["stage"], cut["alive"], cut["rank"]) for cut in row["cuts"]] == [
        ("top_p", 3, 3),
        ("min_p", 2, 2),
    ]
    assert [cut["p"] for cut in row["cuts"]] == pytest.approx([0.125, 0.25])
    assert all(cut["is_prefix"] for cut in row["cuts"])
    assert [p for _, p in row["points"]] == pytest.approx([0.5, 0.25, 0.125, 0.0625, 0.0625])
    assert [p for _, p in row["final"]] == pytest.approx([2 / 3, 1 / 3])


def test_a_prompts_own_surprise_is_its_score(pair: tuple[Workbench, Any]) -> None:
    bench, own = pair
    session = call(bench, "open", prompt=PROMPT)["session"]
    rows = call(bench, "surprisal", session=session)["rows"]
    scored = own.score(PROMPT, top=0, bos=False).rows
    for row, known in zip(rows, scored, strict=True):
        assert (row["rank"], row["logprob"]) == (known.rank, known.logprob)
        assert row["surprisal_bits"] == known.surprisal_bits
    tokens = call(bench, "state", session=session)["tokens"]
    assert [token["logprob"] for token in tokens] == [row["logprob"] for row in rows]


# ------------------------------------------------------------------------------------------- whole texts


def test_a_stream_is_generate(pair: tuple[Workbench, Any]) -> None:
    bench, own = pair
    for config in (
        {"max_new_tokens": 4},
        {**SAMPLED, "max_new_tokens": 3, "num_return_sequences": 2},
        {"max_new_tokens": 3, "num_beams": 3, "num_return_sequences": 2},
        {"max_new_tokens": 2, "token_healing": True},
    ):
        if config.get("token_healing") and own is TABLE:
            continue
        items, end = stream(bench, "generate", prompt=PROMPT, config=config)
        known = own.generate(PROMPT, **config)
        expected = known.to_dict()
        for key in ("text", "ids", "prompt_ids", "finish_reason", "config", "warnings", "healing"):
            assert close(end[key], json.loads(json.dumps(expected[key]))), key
        assert [each["ids"] for each in end["sequences"]] == [list(each.ids) for each in known.sequences]
        if "num_beams" in config:
            assert len(items) == len(known.search)
        else:
            texts = ["".join(i["step"]["text"] for i in items if i["sample"] == s) for s in range(2)]
            assert texts[: len(known.sequences)] == [each.text for each in known.sequences]


@pytest.mark.parametrize(
    "config",
    [
        {"num_beams": 3},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "low"},
        {"prompt_lookup_num_tokens": 3},
    ],
    ids=str,
)
def test_a_film_is_the_search(smollm2: Any, config: dict[str, Any]) -> None:
    bench, config = Workbench(smollm2), {**config, "max_new_tokens": 3}
    items, end = stream(bench, "film", prompt=PROMPT, config=config)
    known = smollm2.generate(PROMPT, **config).to_dict()
    assert [item["kind"] for item in items] == [record["kind"] for record in known["search"]]
    for item, record in zip(items, known["search"], strict=True):
        named = item.pop("tokens")
        assert close(item, json.loads(json.dumps(record)))
        assert all(smollm2.tokenizer.token(int(i)).text == text for i, text in named.items())
    assert end["text"] == known["text"]


def test_strategies_are_the_librarys_showcase(pair: tuple[Workbench, Any]) -> None:
    bench, own = pair
    names = list(STRATEGIES) if own is TABLE else ["top_p", "beam_search", "contrastive"]
    config = {"max_new_tokens": 3, "seed": 5}
    items, end = stream(bench, "strategies", prompt=PROMPT, names=names, config=config)
    known = own.strategies(PROMPT, names, **config).to_dict()
    for row, expected in zip(end["strategies"], known["strategies"], strict=True):
        assert row["name"] == expected["name"] and row["reason"] == expected["reason"]
        assert row["parting"] == expected["parting"] and row["why"] == expected["why"]
        told = [item for item in items if item["strategy"] == row["name"]]
        if row["generation"] is None:
            continue
        assert row["generation"]["text"] == expected["generation"]["text"]
        if told and "token" in told[0]:
            assert "".join(item["token"]["text"] for item in told) == expected["generation"]["text"]
    able = [row["name"] for row in end["strategies"] if row["generation"] is not None]
    assert [item["strategy"] for item in items[: len(able)]] == able, "they write in turn"


def test_reading_is_the_librarys(pair: tuple[Workbench, Any]) -> None:
    bench, own = pair
    items, end = stream(bench, "score", text=PROMPT, top=3)
    known = own.score(PROMPT, top=3).to_dict()
    assert same([row for item in items for row in item["rows"]], known.pop("rows"))
    assert same(end, known) and items[-1]["n_done"] == items[-1]["n_tokens"] == end["n_tokens"]
    options = [" like", " have", " xyz"]
    row = call(bench, "options", prompt=PROMPT, options=options, space_variants=True)
    assert close(
        row, json.loads(json.dumps(own.score_options(PROMPT, options, space_variants=True).to_dict()))
    )


def test_comparing_is_the_librarys(pair: tuple[Workbench, Any]) -> None:
    bench, own = pair
    shared = {"max_new_tokens": 3, "seed": 3}
    two = [{"do_sample": True, "top_k": 5}, {"do_sample": True, "top_p": 0.9}]
    sides = [{"prompt": PROMPT, "config": config} for config in two]
    row = call(bench, "compare", a=sides[0], b=sides[1], config=shared, n=4)
    known = tg.compare(*two, model=own, prompt=PROMPT, n=4, **shared).to_dict()
    assert close(row["positions"], json.loads(json.dumps(known["positions"])))
    assert row["why"] == known["why"] and row["a"]["generation"]["ids"] == known["a"]["generation"]["ids"]
    row = call(bench, "compare", a={"prompt": "a b"}, b={"prompt": "a c"}, config=shared)
    known = tg.compare("a b", "a c", model=own, **shared).to_dict()
    assert row["kind"] == "prompts" and close(row["positions"], json.loads(json.dumps(known["positions"])))


def test_growing_is_the_librarys() -> None:
    bench = Workbench(TABLE)
    session = call(bench, "open", prompt="a", config=SAMPLED)["session"]
    own = TABLE.session("a", **SAMPLED)
    row = call(bench, "expand", session=session, depth=2, mass=0.5)
    assert same(row["expansion"], own.expand(depth=2, mass=0.5, limit=100).to_dict())
    row = call(bench, "sample", session=session, samples=5, max_new_tokens=4)
    assert same(row["samples"], own.sample(5, max_new_tokens=4).to_dict())
    shown = {node["node"]: node for node in row["tree"]["nodes"]}
    for node in own.tree.to_dict()["nodes"]:
        assert same({key: shown[node["node"]][key] for key in node}, node)
        parent = shown.get(node["parent"])
        assert shown[node["node"]]["depth"] == (0 if parent is None else parent["depth"] + 1)


def test_two_models_of_a_workbench_are_compared(smollm2: Any) -> None:
    bench = Workbench(smollm2, {"one": smollm2, "other": TABLE})
    row = call(
        bench,
        "compare",
        a={"prompt": "ab"},
        b={"prompt": "ab", "model": "other"},
        config={"max_new_tokens": 2},
    )
    assert (row["kind"], row["a"]["model"], row["b"]["model"]) == ("models", "smollm2", "table")
    assert call(bench, "info")["models"] == ["one", "other"]


def test_tokens_alone_are_the_tokenizers(smollm2: Any) -> None:
    bench, text = Workbench(smollm2), "Preposterous, I'm 😀!"
    ids = smollm2.tokenize(text).ids
    assert [token["id"] for token in call(bench, "words", text=text)["tokens"]] == ids
    merged = call(bench, "merges", text=text)["words"]
    assert [token_id for word in merged for token_id in word["ids"]] == ids
    sides = call(bench, "align", text=text, train_on=text * 3, vocab_size=270)
    assert [token["id"] for token in sides["a"]["tokens"]] == ids
    assert call(bench, "train", text=text * 3, vocab_size=270)["same"]
