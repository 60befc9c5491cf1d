"""Comparisons and experiments on models given as tables: numbers worked by hand, places, refusals, views."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from math import inf, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import support
from tests.unit import cli_world
from tokenglass.comparing import change_one_word, compare, word_order
from tokenglass.comparing.alignment import FirstBytes, byte_token, prompt_pairs
from tokenglass.comparing.measures import difference, js_bits, kl_bits, log_probs, tv
from tokenglass.model import Model
from tokenglass.types import Comparison, Token, Tokenization, WordChanges, WordOrder
from tokenglass.views.comparison import why

# The logits below are logarithms rounded to float32: 3e-8 off, and so are the divergences made of them.
NEAR = 2e-7


def row(**p: float) -> np.ndarray:
    """Logits over bytes: these probabilities, nothing else possible; `end` is the end of the text."""
    logits = np.full(support.SIZE, -np.inf, np.float32)
    for name, value in p.items():
        logits[support.EOS if name == "end" else ord(name)] = log(value)
    return logits


def following(rows: Mapping[str, np.ndarray]) -> Model:
    """A model whose next byte depends on the last one."""
    return support.model({support.EOS if k == "end" else ord(k): v for k, v in rows.items()})


X, Y = row(x=0.5, y=0.5), row(x=0.25, y=0.75)


@pytest.fixture(scope="module")
def prompts() -> Comparison:
    """A: x and y with 1/2 each; B: x 1/4, y 3/4. After x comes z, after y the end, after z the end."""
    end = row(end=1.0)
    model = following({"A": X, "B": Y, "x": row(z=1.0), "y": end, "z": end})
    return compare("A", "B", model=model)


def test_two_prompts_by_hand(prompts: Comparison) -> None:
    """KL(a||b) = 1/2 log2 2 + 1/2 log2 2/3; KL(b||a) = 1/4 log2 1/2 + 3/4 log2 3/2; TV = 1/4.

    JS: the mixture is 3/8, 5/8; half of 1/2 log2 4/3 + 1/2 log2 4/5, and half of 1/4 log2 2/3 + 3/4 log2 6/5.
    """
    end = prompts.prompt_end
    assert end.kl_ab_bits == pytest.approx(0.20751874963942, abs=NEAR)
    assert end.kl_ba_bits == pytest.approx(0.18872187554086, abs=NEAR)
    assert end.js_bits == pytest.approx(0.04879494069540, abs=NEAR)
    assert end.tv == pytest.approx(0.25, abs=NEAR)
    assert end.kl_ab_nats == pytest.approx(0.14384103622589, abs=NEAR)  # ln 2 / sqrt 3
    assert end.js_nats == pytest.approx(0.03382207556212, abs=NEAR)
    assert [m.token.bytes for m in end.movers] == [b"x", b"y"]  # they move alike; the lower id first
    mover = end.movers[0]
    assert (mover.p_a, mover.p_b) == (pytest.approx(0.5, abs=NEAR), pytest.approx(0.25, abs=NEAR))
    assert (mover.rank_a, mover.rank_b) == (1, 2)


def test_two_prompts_part_where_the_likeliest_differ(prompts: Comparison) -> None:
    """A writes x (the lower id of two equals), B writes y."""
    assert (prompts.kind, prompts.basis, prompts.outcomes, prompts.size) == (
        "prompts",
        "model",
        "tokens",
        257,
    )
    assert (prompts.a.generation.text, prompts.b.generation.text) == ("xz", "y")
    assert len(prompts.positions) == 1 and prompts.agreement == 0.0 and not prompts.prompt_end.agree
    parting = prompts.parting
    assert parting is not None and parting.a is not None and parting.b is not None
    assert (parting.index_a, parting.index_b) == (0, 0)
    assert (parting.a.token.bytes, parting.b.token.bytes) == (b"x", b"y")
    assert parting.a.p_b == pytest.approx(0.25, abs=NEAR) and parting.b.p_a == pytest.approx(0.5, abs=NEAR)
    assert why(prompts) == (
        "the texts part: a wrote x as token 1 (a 50.0 % b 25.0 %), b wrote y as token 1 (a 50.0 % b 75.0 %)"
    )


def test_prompts_that_go_on_alike_are_compared_along_their_common_text() -> None:
    """Both write m, n; then a, which read three ids, o and b, which read four, p."""

    def rule(ids: tuple[int, ...]) -> np.ndarray:
        last = chr(ids[-1]) if ids[-1] < 256 else ""
        if last in "m":
            return row(n=1.0)
        if last == "n":
            return row(o=0.9, p=0.1) if ids[0] == ord("A") else row(o=0.2, p=0.8)
        return row(end=1.0) if last in "op" else row(m=1.0)

    found = compare("A  ", "B   ", model=support.model(rule))
    assert [(r.index_a, r.index_b) for r in found.positions] == [(2, 3), (3, 4), (4, 5)]
    assert [r.agree for r in found.positions] == [True, True, False]
    assert [r.tv for r in found.positions] == [0.0, 0.0, pytest.approx(0.7, abs=NEAR)]
    assert [r.js_bits for r in found.positions[:2]] == [0.0, 0.0] and not found.positions[0].movers
    assert found.parting is not None and found.parting.index_a == found.parting.index_b == 2
    assert found.prompt_end is found.positions[0]


def test_same_prompts_do_not_part() -> None:
    model = support.model(support.writes("and on"))
    found = compare("a", "a", model=model)
    assert found.parting is None and found.agreement == 1.0
    assert len(found.positions) == len(found.a.generation.ids) == 6  # n, d, space, o, n, end
    assert all(r.kl_ab_bits == r.kl_ba_bits == r.js_bits == r.tv == 0.0 for r in found.positions)
    assert why(found) == "both wrote the same 6 tokens"


# ------------------------------------------------------------------------------------------ configurations


def test_two_configurations_compare_what_their_chains_leave() -> None:
    """Of 1/2, 1/4, 1/8, 1/8 top_k=2 leaves 2/3, 1/3; temperature 1/2 squares: 16/22, 4/22, 1/22, 1/22.

    KL(top_k||T) = 2/3 log2 11/12 + 1/3 log2 11/6; the other way it is endless, because T allows c and d.
    TV = 1/2 (|2/3 - 8/11| + |1/3 - 2/11| + 1/11) = 5/33.
    """
    model = following({"A": row(a=0.5, b=0.25, c=0.125, d=0.125), **dict.fromkeys("abcd", row(end=1.0))})
    options: dict[str, Any] = {"do_sample": True, "seed": 1, "max_new_tokens": 2}
    found = compare(
        {"top_k": 2},
        {"temperature": 0.5, "top_k": None},
        model=model,
        prompt="A",
        **options,
    )
    assert (found.kind, found.basis) == ("configs", "chain")
    end = found.prompt_end
    assert end.kl_ab_bits == pytest.approx(0.2078024583, abs=NEAR)
    assert end.kl_ba_bits == inf and end.kl_ba_nats == inf
    assert end.tv == pytest.approx(5 / 33, abs=NEAR)
    gone = next(m for m in end.movers if m.token.bytes == b"c")
    assert (gone.p_a, gone.rank_a, gone.rank_b) == (0.0, None, 3)
    as_dict = found.to_dict()["positions"][0]
    assert as_dict["kl_ba_bits"] is None and as_dict["kl_ba_bits_nonfinite"] == "inf"
    assert "∞" in str(found) and "∞" in found._repr_html_()


def test_configurations_have_one_luck_and_keep_their_own_keywords() -> None:
    model = following({"A": X, "x": row(end=1.0), "y": row(end=1.0)})
    found = compare({}, {}, model=model, prompt="A", do_sample=True)
    assert found.a.keywords["seed"] == found.b.keywords["seed"] and found.parting is None
    own = compare({"seed": 7}, {}, model=model, prompt="A", seed=8, do_sample=True)
    assert (own.a.keywords["seed"], own.b.keywords["seed"]) == (7, 8)


def test_what_a_selector_cuts_is_part_of_the_chain() -> None:
    """Mirostat cuts as it draws: from a target of 0.1 bits only the likeliest token is left."""
    rows = {"A": row(a=0.5, b=0.25, c=0.25), **dict.fromkeys("abc", row(end=1.0))}
    mirostat = {"mirostat": 2, "mirostat_tau": 0.1}
    found = compare(
        mirostat, {}, model=following(rows), prompt="A", do_sample=True, top_k=0, max_new_tokens=1
    )
    assert found.prompt_end.top_a.p_a == 1.0
    assert found.prompt_end.kl_ab_bits == pytest.approx(1.0, abs=NEAR)  # log2 of 1 / (1/2)
    assert found.a.generation.steps[0].p_final == 1.0


def test_searches_part_too() -> None:
    """Greedy takes a (0.6) and then 0.5 at best; two beams find b c with 0.4 * 1."""
    rows = {"A": row(a=0.6, b=0.4), "a": row(x=0.5, y=0.5), "b": row(c=1.0)}
    rows |= dict.fromkeys("xyc", row(end=1.0))
    found = compare({}, {"num_beams": 2}, model=following(rows), prompt="A", max_new_tokens=2)
    assert (found.a.generation.text, found.b.generation.text) == ("ax", "bc")
    parting = found.parting
    assert parting is not None and parting.b is not None and parting.index_b == 0
    assert parting.b.p_a == pytest.approx(0.4, abs=NEAR)
    assert found.prompt_end.tv == 0.0  # neither has a chain


def test_a_beam_searchs_chain_is_given_log_probabilities() -> None:
    """The penalty divides what is above 0 and multiplies what is below; A and b both have logit 2 - ln 2.

    Greedy: A has (2 - ln 2) / 1.5, so p = 1 / (1 + exp((2 - ln 2) / 3)) = 0.392786. Beams see -ln 2, times
    1.5: p = 2^-1.5 / (2^-1.5 + 2^-1) = 1 / (1 + sqrt 2).
    """
    rows = {"A": row(A=0.5, b=0.5) + np.float32(2.0), "b": row(end=1.0)}
    shared = {"repetition_penalty": 1.5, "max_new_tokens": 1}
    found = compare({}, {"num_beams": 2}, model=following(rows), prompt="A", **shared)
    penalised = next(m for m in found.prompt_end.movers if m.token.bytes == b"A")
    assert penalised.p_a == pytest.approx(0.392786, abs=1e-6)
    assert penalised.p_b == pytest.approx(1.0 / (1.0 + 2.0**0.5), abs=NEAR)


def test_a_text_that_ends_earlier() -> None:
    """One token against two: the texts part where the first had ended; nothing is made up for it."""
    model = support.model(support.writes("abc"))
    found = compare({"max_new_tokens": 1}, {"max_new_tokens": 2}, model=model, prompt="a")
    parting = found.parting
    assert parting is not None and parting.a is None and parting.b is not None
    assert (parting.index_a, parting.b.token.bytes, parting.b.p_a) == (1, b"c", None)
    assert parting.b.p_b == pytest.approx(found.b.generation.steps[1].p)
    assert len(found.positions) == 1
    assert why(found).startswith("the texts part: a had ended (length), b wrote c as token 2 (b ")


# ------------------------------------------------------------------------------------------------- models


def test_two_models_of_one_vocabulary_at_every_position() -> None:
    end = row(end=1.0)
    a = following({"A": X, "x": row(z=1.0), "y": end, "z": end})
    b = following({"A": Y, "x": row(z=0.5, end=0.5), "y": end, "z": end})
    found = compare(a, b, prompt="Ax")
    assert (found.kind, found.outcomes) == ("models", "tokens")
    assert [(r.index_a, r.index_b, r.token.bytes) for r in found.positions] == [
        (0, 0, b"A"),
        (1, 1, b"x"),
        (2, 2, b"z"),
    ]
    assert found.positions[0].kl_ab_bits == pytest.approx(0.20751874963942, abs=NEAR)
    assert found.prompt_end is found.positions[1]
    assert found.prompt_end.kl_ab_bits == pytest.approx(1.0, abs=NEAR)
    assert found.prompt_end.kl_ba_bits == inf  # a rules out the end that b allows
    assert found.parting is None  # z is the lower id of b's equals


def test_a_long_prompt_is_read_in_pieces_and_none_is_out_of_place() -> None:
    """After n tokens the first model says byte n; the prompt is longer than one piece of logits."""

    def rule(ids: tuple[int, ...]) -> np.ndarray:
        logits = np.zeros(support.SIZE, np.float32)
        logits[len(ids)] = 9.0
        return logits

    found = compare(
        support.model(rule), support.model(support.writes("")), prompt="a" * 150, max_new_tokens=1
    )
    assert [r.top_a.token.id for r in found.positions] == list(range(1, 151))
    assert [r.index_b for r in found.positions] == list(range(150))


def test_two_models_with_other_tokens_meet_at_bytes() -> None:
    """One has a token for each byte, the other words: they meet where a word of the second ends."""
    bytes_model, words = support.model(support.writes("is a model")), cli_world.load()
    prompt = "Once upon a time"
    found = compare(bytes_model, words, prompt=prompt, max_new_tokens=3)
    assert (found.outcomes, found.size) == ("next bytes", 257)
    ends = [t.span[1] for t in words.tokenize(prompt).tokens if t.span]
    before = [r for r in found.positions if r.index_a < len(prompt)]
    assert [r.offset for r in before] == ends
    assert [r.index_a for r in before] == [end - 1 for end in ends]  # one token for each byte
    assert [r.index_b for r in before] == list(range(len(ends)))
    assert found.prompt_end is before[-1]
    # by hand at the prompt's end: the second model's tokens summed by their first byte, one after the other
    logits = words.logits(prompt)[-1].astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum()
    sums = dict.fromkeys(range(257), 0.0)
    for token_id, each in enumerate(p):
        token = words.tokenizer.token(token_id)
        sums[256 if token.kind == "control" else token.bytes[0]] += float(each)
    for mover in found.prompt_end.movers:
        assert mover.p_b == pytest.approx(sums[mover.token.id], rel=1e-12)
    own = bytes_model.next_tokens(prompt).lookup(found.prompt_end.top_a.token.id)
    assert found.prompt_end.top_a.p_a == pytest.approx(own.p, rel=1e-6)


def test_texts_of_models_with_other_tokens_part_at_a_byte() -> None:
    """One writes "time flies" by bytes; the other's second word begins with another letter."""
    words = cli_world.load()
    prompt = "Once"
    text = words.generate(prompt, max_new_tokens=3)
    other = text.steps[0].token.bytes.decode() + "\u0001"
    found = compare(support.model(support.writes(other)), words, prompt=prompt, max_new_tokens=12)
    parting, shared = found.parting, len(text.steps[0].token.bytes)
    assert parting is not None and parting.a is not None and parting.b is not None
    assert (parting.index_a, parting.index_b) == (shared, 1)
    assert parting.a.token.bytes == b"\x01" and parting.a.p_b is None and parting.b.p_a is None
    assert parting.b.p_b == pytest.approx(found.b.generation.steps[1].p)
    last = found.positions[-1]  # where both had written the shared bytes, and both write on
    assert (last.offset, last.index_a, last.index_b) == (4 + shared, 3 + shared, found.prompt_end.index_b + 1)


def test_texts_that_end_alike_do_not_part() -> None:
    """Both write one more word and end the text, each with the end token of its own vocabulary."""
    words = cli_world.load()
    prompt = "Once upon a time, generative"
    rest = words.generate(prompt, max_new_tokens=20)
    assert rest.finish_reason == "eos"
    found = compare(support.model(support.writes(rest.text)), words, prompt=prompt, max_new_tokens=50)
    assert found.a.generation.text == found.b.generation.text and found.parting is None
    assert found.a.generation.ids[-1] != found.b.generation.ids[-1]


def test_prompts_meet_where_tokens_of_both_end_but_at_their_own_ends() -> None:
    """An added token, then ends at 2 3 5 6; at 3 4 5 6; at 3 6. The last positions are matched elsewhere."""

    def cut(*ends: int) -> Tokenization:
        tokens = [Token(0, b"", "control")]
        for start, end in pairwise((0, *ends)):
            tokens.append(Token(1, b"abcdef"[start:end], "normal", (start, end)))
        return Tokenization("abcdef", tuple(tokens))

    a, b, c = cut(2, 3, 5, 6), cut(3, 4, 5, 6), cut(3, 6)
    assert prompt_pairs(a, b) == [(2, 1, 3), (3, 3, 5)]
    assert prompt_pairs(a, c) == [(2, 1, 3)] and prompt_pairs(c, a) == [(1, 2, 3)]
    lost = cut(3)  # the rest of the text has no token: its last token ends where another of a does
    assert prompt_pairs(a, lost) == [] and prompt_pairs(lost, a) == []


def test_first_bytes_sum_exactly_and_nothing_underflows() -> None:
    """Twenty tokens with ln p = -800 each: exp underflows, but ln of their sum is ln 20 - 800."""
    logs = np.full(20, -800.0)
    (total,) = {float(v) for v in FirstBytes((65,) * 20).marginal(logs) if v > -inf}
    assert total == pytest.approx(log(20.0) - 800.0, abs=1e-12)
    assert byte_token(65) == Token(65, b"A", "byte") and byte_token(256).bytes == b""


# ---------------------------------------------------------------------------------------------- refusals


def test_refusals() -> None:
    model, other = support.model(support.writes("abc")), cli_world.load()
    wrong: list[tuple[type[Exception], str, tuple[Any, Any], dict[str, Any]]] = [
        (ValueError, "two prompts take model=", ("a", "b"), {}),
        (ValueError, "two prompts take model=", ("a", "b"), {"model": model, "prompt": "c"}),
        (ValueError, "two configurations take model=", ({}, {}), {"model": model}),
        (ValueError, "two configurations take model=", ({}, {}), {"prompt": "a"}),
        (ValueError, "two models take a prompt", (model, model), {}),
        (ValueError, "two models take a prompt", (model, model), {"prompt": "a", "model": model}),
        (TypeError, "compare takes two prompts .*; got str and dict", ("a", {}), {"model": model}),
        (TypeError, "got bytes and bytes", (b"a", b"b"), {"model": model}),
        (TypeError, "model must be what load", ("a", "b"), {"model": "smollm2"}),
        (ValueError, "n must be a whole number of at least 1, got 0", ("a", "b"), {"model": model, "n": 0}),
        (ValueError, "token_healing", ("a", "b"), {"model": model, "token_healing": True}),
        (ValueError, "have different tokens, so ids", (model, other), {"prompt": [97]}),
        (TypeError, "temprature", ("a", "b"), {"model": model, "temprature": 1.0}),
        (ValueError, "prompt is empty", ("", "b"), {"model": model}),
    ]
    for kind, message, sides, options in wrong:
        with pytest.raises(kind, match=message):
            compare(*sides, **options)


# ------------------------------------------------------------------------------------------- experiments


def test_change_one_word_ranks_by_total_variation() -> None:
    model = following({"A": X, "B": Y, "C": row(x=1.0), **dict.fromkeys("xy", row(end=1.0))})
    found = change_one_word(model, "to A", "A", ["B", "A", "C"])
    assert [(r.replacement, r.prompt_text) for r in found.rows] == [
        ("C", "to C"),
        ("B", "to B"),
        ("A", "to A"),
    ]
    assert [r.difference.tv for r in found.rows] == [pytest.approx(0.5), pytest.approx(0.25, abs=NEAR), 0.0]
    assert found.rows[1].difference.top_b.token.bytes == b"y"
    text = str(found)
    assert text.index("\nA ") < text.index("\nC ") < text.index("\nB ")
    for wrong in ("D", "", "to A B"):
        with pytest.raises(ValueError, match="word must stand exactly once in the prompt"):
            change_one_word(model, "to A", wrong, ["B"])
    with pytest.raises(ValueError, match="stands there 2 times"):
        change_one_word(model, "A or A", "A", ["B"])
    assert change_one_word(model, "aAa A", "A", ["B"]).rows[0].prompt_text == "aAa B"  # a whole word
    with pytest.raises(ValueError, match="replacements must be a list"):
        change_one_word(model, "to A", "A", "B")
    with pytest.raises(TypeError, match="prompt must be a text"):
        change_one_word(model, [65], "A", ["B"])  # type: ignore[arg-type]


def test_word_order_by_hand() -> None:
    """After the end token: a 0.3, b 0.7; after a: space; after b: space; after a space: a 0.2, b 0.8.

    p("a b") = 0.3 * 1 * 0.8 = 0.24 and p("b a") = 0.7 * 1 * 0.2 = 0.14, where a space always follows.
    """
    rows = {"end": row(a=0.3, b=0.7), "a": row(**{" ": 1.0}), "b": row(**{" ": 1.0}), " ": row(a=0.2, b=0.8)}
    table = {support.EOS if k == "end" else ord(k): v for k, v in rows.items()}
    found = word_order(support.model(table, bos_id=support.EOS), "b  a")
    assert (found.text, found.possible, found.seed) == ("b a", 2, None)
    assert found.given is not None and found.given.id == support.EOS
    assert [(r.text, r.scored) for r in found.rows] == [("a b", 3), ("b a", 3)]
    assert [r.logprob for r in found.rows] == [pytest.approx(log(p), abs=NEAR) for p in (0.24, 0.14)]
    assert found.rows[1].difference.tv == 0.0
    # without a begin-of-text token the first has no probability: 1 * 0.8 and 1 * 0.2 are left
    bare = word_order(support.model(table), "b a")
    assert bare.given is None and [r.scored for r in bare.rows] == [2, 2]
    assert [r.logprob for r in bare.rows] == [pytest.approx(log(p), abs=NEAR) for p in (0.8, 0.2)]
    assert "the first token of each is given, not scored" in str(bare)


def test_word_order_takes_all_orders_or_draws_some() -> None:
    model = support.model(support.writes("a"))
    every = word_order(model, "a b b c", n=12)  # 4! / 2!
    assert every.possible == 12 and len({r.text for r in every.rows}) == 12 and every.seed is None
    some = word_order(model, "a b b c", n=11, seed=5)
    assert len({r.text for r in some.rows}) == 11 and some.seed == 5
    assert "a b b c" in {r.text for r in some.rows}
    assert [r.text for r in word_order(model, "a b b c", n=11, seed=5).rows] == [r.text for r in some.rows]
    fresh = word_order(model, "a b c d e f", n=3)
    assert fresh.seed is not None and fresh.possible == 720 and len(fresh.rows) == 3
    with pytest.raises(ValueError, match="at least two different words, got 1"):
        word_order(model, "so so")
    with pytest.raises(ValueError, match="n must be a whole number of at least 2, got 1"):
        word_order(model, "a b", n=1)


def test_an_order_that_the_model_rules_out() -> None:
    """After a always a space, after a space always a: "a b" cannot be, "b a" is certain behind b."""
    always = {" ": row(a=1.0), "a": row(**{" ": 1.0}), "b": row(**{" ": 1.0})}
    found = word_order(following(always), "a b")
    assert [(r.text, r.logprob) for r in found.rows] == [("b a", 0.0), ("a b", -inf)]
    document = found.to_dict()["rows"][1]
    assert document["logprob"] is None and document["logprob_nonfinite"] == "-inf" and "-∞" in str(found)


# ------------------------------------------------------------------------------------------------- views


def test_views_hold_the_numbers(prompts: Comparison) -> None:
    document = prompts.to_dict()
    json.dumps(document, allow_nan=False)
    assert document["positions"] == prompts.to_dicts() and document["why"] == why(prompts)
    assert document["positions"][0]["js_bits"] == prompts.prompt_end.js_bits
    assert document["positions"][0]["movers"][0]["p_a"] == prompts.prompt_end.movers[0].p_a
    assert document["parting"]["a"]["bytes"] == b"x".hex()
    for text in (str(prompts), prompts._repr_html_()):
        assert "0.208" in text and "0.189" in text and "0.0488" in text and "0.250" in text
    assert "<script" not in prompts._repr_html_() and max(map(len, str(prompts).split("\n"))) <= 80


def test_nasty_text_is_safe_in_every_view() -> None:
    rule = following({"\x1b": row(**{"\x1b": 1.0}), "\n": row(**{"\n": 1.0}), " ": row(**{"\x1b": 1.0})})
    found = [
        compare("\x1b", "\n", model=rule, max_new_tokens=2),
        change_one_word(rule, "\x1b x\n", "x", ["\x1b"]),
        word_order(support.model(support.writes("<b>")), "\x1b <b>", n=2),
    ]
    for result in found:
        assert isinstance(result, Comparison | WordChanges | WordOrder)
        text, html = str(result), result._repr_html_()
        assert "\x1b" not in text + html and "<b>" not in html and "⟨ESC⟩" in text
        json.dumps(result.to_dict(), allow_nan=False)


# ------------------------------------------------------------------------------------------------- laws

SCORES = st.lists(st.one_of(st.floats(-40, 40), st.just(-inf)), min_size=5, max_size=5).filter(
    lambda row: max(row) > -inf
)


@settings(max_examples=200, deadline=None)
@given(SCORES, SCORES)
def test_laws(first: list[float], second: list[float]) -> None:
    """JS is symmetric and in [0, 1]; TV in [0, 1]; JS <= TV (Lin 1991); Pinsker: KL in nats >= 2 TV^2.

    Sums of five terms of at most 80 in float64: 1e-12 is far above their rounding.
    """
    a, b = log_probs(np.array(first)), log_probs(np.array(second))
    assert js_bits(a, b) == pytest.approx(js_bits(b, a), abs=1e-12) and 0.0 <= js_bits(a, b) <= 1.0
    assert 0.0 <= tv(a, b) == tv(b, a) <= 1.0
    assert js_bits(a, b) <= tv(a, b) + 1e-12
    assert kl_bits(a, b) * log(2.0) >= 2.0 * tv(a, b) ** 2 - 1e-12
    rules_out = bool(((a > -inf) & (b == -inf)).any())
    assert (kl_bits(a, b) == inf) == rules_out
    found = difference((0, 0), Token(0, b""), a, b, lambda i: Token(i, b""), 5)
    moved = [abs((m.p_a or 0.0) - (m.p_b or 0.0)) for m in found.movers]
    assert moved == sorted(moved, reverse=True) and sum(moved) == pytest.approx(2.0 * found.tv, abs=1e-12)


def test_what_is_too_small_for_a_float_still_counts() -> None:
    """B gives the second outcome e^-1000: no float, but KL(a||b) = 1/2 (1000 - 2 ln 2) to 1 / e^1000."""
    a, b = log_probs(np.array([0.0, 0.0])), log_probs(np.array([0.0, -1000.0]))
    assert kl_bits(a, b) * log(2.0) == pytest.approx(500.0 - log(2.0), rel=1e-12)
    assert js_bits(a, b) < 1.0 and kl_bits(b, a) == pytest.approx(1.0, rel=1e-12)
