"""Results made by hand for the tests of views: a small vocabulary with everything nasty in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tokenglass import numbers
from tokenglass.types import (
    Account,
    Chain,
    ChainStage,
    Effect,
    EngineInfo,
    Generation,
    NextTokens,
    OptionScore,
    OptionScores,
    Parting,
    Removal,
    Score,
    Sequence,
    SessionState,
    Showcase,
    Stage,
    Step,
    Strategy,
    Token,
    Tokenization,
    Tree,
)
from tokenglass.types.comparison import Comparison, Difference, Parted, Shift, Side
from tokenglass.types.growth import Expansion, Play, Samples
from tokenglass.types.scores import ScoreColumns
from tokenglass.types.settings import Setting, Settings

WORDS = [
    b"Once",
    b" upon",
    b" a",
    b" time",
    b",",
    b" gener",
    b"ative",
    b" models",
    b" like",
    b" have",
    b" were",
]
NASTY = [
    b"\n",
    b"\t\t",
    b"\xf0\x9f",
    b"\x98\x80",
    "漢字".encode(),
    "مرحبا".encode(),
    "\u202eevil".encode(),
    "\u0301".encode(),
    b"\x1b[31mred",
    b"\x1b]52;c;aGk=\x07",
    b"\xc2\x9b31m",
    b"[bold red]x[/bold red]",
    b"[/foo]",
    b"[@click=app.bell]x[/]",
    b"[link=file:///etc/passwd]x[/link]",
    b":boom:",
    b"<script>alert(1)</script>",
    b"<img src=x onerror=alert(1)>",
    b"\"'><svg onload=alert(1)>",
    b"</bdi></td></table>",
    b"&lt;b&gt;&amp;",
    b"=cmd|' /C calc'!A0",
    "\U000e0041\u200d\ufeff".encode(),
    "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff\x00",
    b" " * 40,
    b"internationalization" * 3,
    "👩‍👩‍👧".encode(),
    "\ufffd".encode(),
]
SPECIAL = [Token(len(WORDS) + len(NASTY), b"<|endoftext|>", "control")]


class Words:
    """A vocabulary: the words, the nasty ones, one special token."""

    def __init__(self) -> None:
        self.tokens = [Token(i, data) for i, data in enumerate(WORDS + NASTY)] + SPECIAL

    def __len__(self) -> int:
        return len(self.tokens)

    def token(self, token_id: int) -> Token:
        return self.tokens[token_id]

    def find(self, text: str) -> int:
        for token in self.tokens:
            if token.bytes == text.encode():
                return token.id
        raise ValueError(f"no single token stands for {text!r}; tokenize it to see its pieces")


VOCABULARY = Words()
SIZE = len(VOCABULARY)


def logits_of(probabilities: dict[int, float]) -> np.ndarray:
    """Logits (V,) with these probabilities; the rest of the mass spread evenly."""
    rest = (1.0 - sum(probabilities.values())) / (SIZE - len(probabilities))
    return np.log([probabilities.get(i, rest) for i in range(SIZE)]).astype(np.float32) + np.float32(17.0)


def tokenization(pieces: list[bytes]) -> Tokenization:
    tokens, start = [], 0
    for index, piece in enumerate(pieces):
        tokens.append(Token(index, piece, "normal", (start, start + len(piece))))
        start += len(piece)
    return Tokenization(b"".join(pieces).decode("utf-8", "replace"), tuple(tokens))


SENTENCE = tokenization(WORDS[:8])
NASTY_TEXT = Tokenization(
    b"".join(NASTY).decode("utf-8", "ignore"),
    (*tokenization(NASTY).tokens, Token(SIZE - 1, b"<s>", "control")),
)
PROMPT_IDS = tuple(range(8))

PLAIN = NextTokens(
    PROMPT_IDS, 7, logits_of({8: 0.2068, 9: 0.108, 10: 0.0952, 0: 0.045, 4: 0.00118}), 5, VOCABULARY
)
ALL_NASTY = NextTokens(PROMPT_IDS, 7, logits_of({8: 0.1}), SIZE, VOCABULARY)


@dataclass
class Kept:
    """Books written by hand."""

    removed: Mapping[int, Removal] = field(default_factory=dict)
    of_one: tuple[Effect, ...] = ()

    @property
    def names(self) -> list[str]:
        return sorted({removal.stage for removal in self.removed.values()})

    def removers(self, ids: np.ndarray) -> np.ndarray:
        known = (self.removed.get(i) for i in ids.tolist())
        return np.array([-1 if each is None else self.names.index(each.stage) for each in known])

    def effects(self, token_id: int) -> tuple[Effect, ...]:
        return self.of_one


BAN = "bad_words_ids"


def chained() -> NextTokens:
    """The same after a cut to the best two tokens, one of which a ban removes as well.

    0.2068 + 0.108 = 0.3148 of the mass survives the cut; of that, 0.2068 / 0.3148 = 0.6569 the ban.
    """
    final = np.full(SIZE, -np.inf, dtype=np.float32)
    final[[8]] = PLAIN.logits[[8]]
    return NextTokens(
        PROMPT_IDS,
        7,
        PLAIN.logits,
        4,
        VOCABULARY,
        final=final,
        stages=STAGES,
        config={"do_sample": True, "top_k": 2, "sequence_bias": [[[9], float("-inf")]]},
        books=Kept(
            {9: Removal(BAN, 2, 0.3431), 10: Removal("top_k", 3, 0.0952), 0: Removal("top_k", 4, 0.045)},
            (
                Effect("model", 14.77, 0.108, 2),
                Effect("top_k", 14.77, 0.3431, 2),
                Effect(BAN, float("-inf"), 0.0, None),
            ),
        ),
    )


STAGES = (
    Stage("model", {}, SIZE, 1.0, numbers.summarize(PLAIN.logits).entropy_bits, 8),
    Stage("top_k", {"top_k": 2}, 2, 0.3148, 0.9277, 8, removed=SIZE - 2, facts={"draw": 0.25}),
    Stage(BAN, {"bad_words_ids": [[9], list(range(11))]}, 1, 0.6569, 0.0, 8, removed=1),
)
CHAINED = chained()


def step(token_id: int, position: int = 8, **changes) -> Step:
    summary = numbers.summarize(PLAIN.logits)
    top = numbers.top_n(PLAIN.logits, 6)
    logit = float(PLAIN.logits[token_id])
    values = {
        "position": position,
        "token": VOCABULARY.token(token_id),
        "text": VOCABULARY.token(token_id).bytes.decode("utf-8", "ignore"),
        "logit": logit,
        "logprob": logit - summary.logsumexp,
        "rank": numbers.rank(PLAIN.logits, token_id),
        "entropy_bits": summary.entropy_bits,
        "p_final": float(np.exp(logit - summary.logsumexp)),
        "origin": "greedy",
        "margin": 0.65,
        "top_ids": top,
        "top_logits": PLAIN.logits[top],
        "top_final": numbers.softmax(PLAIN.logits)[top],
        "logsumexp": summary.logsumexp,
        "vocabulary": VOCABULARY,
    }
    return Step(**(values | changes))


GREEDY = step(8)
SAMPLED = step(9, origin="sampled", draw=0.4133, cdf=(0.344, 0.495), p_final=0.151)
FORCED = step(4, origin="forced", finish_reason="length")
# the favourite, ·like, is pushed from 20.68 % to 2 % by a penalty and then cut off; ·have is left alone
TRAIL = np.array(
    [
        [0.2068, 0.108, 0.0952, 0.045, 0.0151, 0.0151],
        [0.02, 0.31, 0.12, 0.06, 0.02, 0.02],
        [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    ],
    dtype=np.float32,
)
CUT = step(
    9,
    p_final=1.0,
    margin=float("inf"),
    top_final=TRAIL[-1].astype(np.float64),
    trail=TRAIL,
    removed={8: Removal("top_k", 9, 0.02), 10: Removal("top_k", 2, 0.12), 0: Removal("top_k", None, 0.06)}
    | dict.fromkeys([1, 2], Removal("top_k", 5, 0.02)),
    stages=(
        STAGES[0],
        Stage("repetition_penalty", {"penalty": 1.3}, SIZE, 1.0, 4.2, 9, changed=1),
        Stage("\x1b[2Jtop_k", {"k": 1, "tie": "keep_all"}, 1, 0.31, 0.0, 9, removed=SIZE - 1),
    ),
)
STEPS = tuple(step(i, 8 + n) for n, i in enumerate([8, 11, 4, 25]))
GENERATION = Generation(
    PROMPT_IDS,
    "Once upon a time, generative models",
    (Sequence((8, 11, 4, 25), " like\n,</bdi></td></table>", STEPS, "length"),),
    {"max_new_tokens": 4, "stop_strings": None, "top_p": float("nan")},
)
BEAMS = Generation(
    PROMPT_IDS,
    "Once upon a time, generative models",
    (
        Sequence((8, 4), " like,", STEPS[:2], "length", -1.25),
        Sequence((9, 4), " have\u202e,", STEPS[:2], "eos", float("-inf")),
    ),
)
INFO = EngineInfo(
    name="smollm2",
    family="llama",
    engine="onnx",
    precision="exact",
    parameters=134_515_008,
    vocab_size=49152,
    context_length=8192,
    eos_ids=(2,),
    bos_id=1,
    layers=30,
    hidden_size=576,
    weights="210 x Q4_1, 1 x Q8_0, 61 x F32",
    sha256="ab" * 32,
    threads=2,
    capabilities=frozenset({"tree", "hidden"}),
    source="/models/\x1b[2Jx.gguf",
)
ACCOUNT = CHAINED.account(9)
LEFT_ALONE = Account(
    VOCABULARY.token(13),
    (Effect("model", 2.5, 0.031, 7), Effect("temperature", 1.25, 0.0712, 4)),
)
CHAIN = Chain(
    mode="sample",
    preset="llama.cpp",
    stages=(
        ChainStage("top_k", {"k": 40, "tie": "cut"}, {"top_k": (40, "preset")}, "arXiv:1805.04833"),
        ChainStage("my\x1b[31mstage", {"f": len}),
        ChainStage(
            "temperature", {"t": 0.7}, {"temperature": (0.7, "you"), "dynatemp_range": (0.0, "default")}
        ),
    ),
    selection=ChainStage("sample", {"seed": 7}, {"seed": (7, "you"), "rng": ("tokenglass", "default")}),
    config={"top_k": 40, "temperature": 0.7, "seed": 7, "stop_strings": ["\n"]},
    sources={"top_k": "preset", "temperature": "you"},
    no_effect=("length_penalty", "num_beams"),
    warnings=("order changed\x07",),
    code="# drawn by other random numbers than torch's\noutput = model.generate(\n    **inputs,\n)",
)
BARE_CHAIN = Chain("greedy", "transformers", (), ChainStage("greedy", {}), {}, {})


def tree() -> Tree:
    """Two texts with a branch, labels, nasty tokens, a count, a pruned place and a lone long chain."""
    made = Tree(PROMPT_IDS, VOCABULARY)
    made.config_index({"do_sample": True, "top_p": float("nan")})
    like = made.add(made.root, step(8))
    comma = made.add(like, step(4, 9))
    made.add(made.add(comma, step(9, 10, p_final=0.5)), step(10, 11, p_final=0.25, finish_reason="length"))
    by_hand = made.add(comma, step(11, 10, origin="forced", p_final=0.0))
    drawn = made.add(made.root, step(9, origin="sampled", draw=0.4133, cdf=(0.344, 0.495), p_final=0.151))
    for token_id in range(11, 11 + len(NASTY)):
        by_hand = made.add(by_hand, step(token_id, 11, origin="forced"))
    ahead = [made.add(drawn, step(i, 9, origin="expanded")) for i in (8, 0)]
    made.prune(made.add(drawn, step(10, 9, origin="expanded")))
    drawn.count, ahead[0].count = 1234, 3
    like.name, ahead[1].name = "the \u202eodd\nway", "0"
    by_hand.notes += ["see\x1b[2J\nbelow", "漢字"]
    return made


TREE = tree()
BUSHY = Tree(PROMPT_IDS, VOCABULARY)
_place = BUSHY.root
for _depth in range(10):  # a comb, deeper than branches are drawn
    for _other in range(2):
        BUSHY.add(_place, step(_other, 8 + _depth))
    _place = BUSHY.add(_place, step(17, 8 + _depth))
_ENDS = TREE.leaves()
EXPANSION = Expansion(TREE.root, tuple(_ENDS), (0.25, 0.125, 1e-9, 0.0), 0.375000001, 3, "limit")
SAMPLED_ENDS = Samples(TREE.node(1), (TREE.node(4), TREE.node(2)), (1, 3), 2)
MANY_ENDS = Expansion(
    BUSHY.root, tuple(BUSHY.leaves()) + tuple(_ENDS[:2]), (0.03125,) * 23, 0.71875, 30, "depth"
)
PLAY = Play((GREEDY, SAMPLED), "watched", "\u202e<b> is at rank 3 with 9.52%")
_PROMPT = tuple(map(VOCABULARY.token, PROMPT_IDS))
SESSION = SessionState(
    "smollm2\x1b[2J",
    _PROMPT,
    TREE.node(35).steps(),
    CHAINED,
    TREE,
    35,
    {"do_sample": True, "stop_strings": ["\n"]},
)
_ONE_LINE = Tree(PROMPT_IDS, VOCABULARY)
_END = _ONE_LINE.add(_ONE_LINE.root, step(SIZE - 1, finish_reason="eos"))
ENDED = SessionState("smollm2", _PROMPT, _END.steps(), None, _ONE_LINE, 1, {}, "eos")


def score_of(ids: list[int]) -> Score:
    """A score of these ids, each read after the one table of probabilities; the first is not scored."""
    columns, summary = ScoreColumns.unscored(ids, 3), numbers.summarize(PLAIN.logits)
    top = numbers.top_n(PLAIN.logits, 3)
    for index, token_id in enumerate(ids[1:], start=1):
        columns.logprobs[index] = float(PLAIN.logits[token_id]) - summary.logsumexp
        columns.ranks[index] = numbers.rank(PLAIN.logits, token_id)
        columns.entropies[index], columns.logsumexps[index] = summary.entropy_bits, summary.logsumexp
        columns.contexts[index], columns.top_ids[index] = index, top
        columns.top_logits[index] = PLAIN.logits[top]
    data = b"".join(VOCABULARY.token(i).bytes for i in ids)
    return Score(data.decode("utf-8", "replace"), columns, VOCABULARY, len(data), 8192)


SCORE, LONG_SCORE = score_of([0, 8, 4, 11, 27, 39]), score_of([i % SIZE for i in range(420)])
OPTIONS = OptionScores(
    PROMPT_IDS,
    "Once upon a time, generative models",
    (
        OptionScore(" like", (VOCABULARY.token(8),), (-1.576,), 0.5, 0.4),
        OptionScore(
            "<script>\u202e", (VOCABULARY.token(27), VOCABULARY.token(4)), (-3.0, -0.25), 0.5, 0.6, ("odd",)
        ),
    ),
)


def _shift(token_id: int, p_a: float | None, p_b: float | None) -> Shift:
    return Shift(VOCABULARY.token(token_id), p_a, p_b, 1, None)


_APART = (0.34, float("inf"), 0.0631, 0.25, _shift(8, 0.5, 0.25), _shift(27, 0.25, 0.5))
COMPARISON = Comparison(
    "prompts",
    Side(INFO, {}, GENERATION),
    Side(INFO, {}, BEAMS),
    (Difference(7, 7, VOCABULARY.token(7), *_APART, movers=_APART[-2:]),),
    Parted(0, 0, _shift(8, 0.5, 0.25), None),
    "model",
    "tokens",
    SIZE,
)
SHOWCASE = Showcase(
    PROMPT_IDS,
    "Once upon a time, generative models",
    (
        Strategy("greedy", {"do_sample": False}, GENERATION, 0.5),
        Strategy("top_p", {"top_p": 0.9}, BEAMS, 0.75, parting=Parting(1, SAMPLED, FORCED)),
        Strategy("dola", {"dola_layers": "low"}, reason="this engine has no \x1blayers"),
    ),
    {"max_new_tokens": 4, "seed": 7},
)
RESULTS = {
    "sentence": SENTENCE,
    "nasty_text": NASTY_TEXT,
    "plain": PLAIN,
    "all_nasty": ALL_NASTY,
    "chained": CHAINED,
    "greedy": GREEDY,
    "sampled": SAMPLED,
    "forced": FORCED,
    "cut": CUT,
    "account": ACCOUNT,
    "left_alone": LEFT_ALONE,
    "chain": CHAIN,
    "bare_chain": BARE_CHAIN,
    "sequence": GENERATION.sequences[0],
    "generation": GENERATION,
    "beams": BEAMS,
    "info": INFO,
    "tree": TREE,
    "bushy_tree": BUSHY,
    "tree_expanded": EXPANSION,
    "tree_many_ends": MANY_ENDS,
    "tree_sampled": SAMPLED_ENDS,
    "tree_played": PLAY,
    "session": SESSION,
    "session_ended": ENDED,
    "score": SCORE,
    "score_long": LONG_SCORE,
    "options": OPTIONS,
    "comparison": COMPARISON,
    "showcase": SHOWCASE,
    "tree_not_played": Play((), "entropy", "entropy 5.21 bits"),
    "looked_up": PLAIN.lookup(27),
    "removed": CHAINED.lookup(9),
    "session_failed": replace(SESSION, next=None, failure="the server at ⟨ESC⟩ does not answer"),
    "settings": Settings(
        "sample",
        "transformers",
        (Setting("top_k", 50, "default"), Setting("stop_strings", ["<b>\x1b"], "you")),
        ("num_beams",),
    ),
}
