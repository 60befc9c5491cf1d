"""Two prompts, configurations or models side by side: how far their next-token distributions lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import Any, Literal

from tokenglass.types.engine import EngineInfo
from tokenglass.types.shown import Charted
from tokenglass.types.tokens import Token
from tokenglass.types.writing import Generation

_NATS = log(2.0)  # in a bit


def _nats(bits: float | None) -> float | None:
    return None if bits is None else bits * _NATS


@dataclass(frozen=True, slots=True)
class Shift:
    """One outcome, as a and as b see it.

    Attributes:
        token: the vocabulary entry. Where next bytes are compared, a byte: its id is the byte's value, and
            256, without bytes, stands for all tokens that write no text.
        p_a: its probability under a; None where a has no such token, had ended, or is a server that does not
            list it.
        p_b: the same under b.
        rank_a: its rank under a, from 1; None where a rules it out or nobody counted.
        rank_b: the same under b.
    """

    token: Token
    p_a: float | None
    p_b: float | None
    rank_a: int | None = None
    rank_b: int | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most that measures can be, where a server shows only its likeliest tokens.

    Attributes:
        kl_ab_bits: of KL(a||b); the most is inf unless all of b is known.
        kl_ba_bits: of KL(b||a); the most is inf unless all of a is known.
        js_bits: of the Jensen-Shannon divergence.
        tv: of the total variation distance.
        coverage_a: share of a's probability that is known.
        coverage_b: share of b's.
    """

    kl_ab_bits: tuple[float, float]
    kl_ba_bits: tuple[float, float]
    js_bits: tuple[float, float]
    tv: tuple[float, float]
    coverage_a: float
    coverage_b: float


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two next-token distributions lie apart, over all outcomes.

    What a server leaves open is None, with the least and the most it can be in `bounds`.

    Attributes:
        index_a: a's distribution is that after its token with this index, from 0, prompt and text together.
        index_b: the same for b.
        token: the last token that a had read there.
        kl_ab_bits: Kullback-Leibler divergence KL(a||b) in bits: what reading a's text with b's code costs
            more. inf where a gives a probability to what b rules out.
        kl_ba_bits: KL(b||a), in bits.
        js_bits: Jensen-Shannon divergence in bits, in [0, 1].
        tv: total variation distance in [0, 1]: the probability that would have to move.
        top_a: a's likeliest outcome.
        top_b: b's.
        movers: outcomes whose probabilities differ most, the largest difference first.
        offset: how many bytes of the same text both had read; None where positions are matched token by
            token, or the texts differ.
        bounds: where a server shows only its likeliest tokens; None where every number is known.
    """

    index_a: int
    index_b: int
    token: Token
    kl_ab_bits: float | None
    kl_ba_bits: float | None
    js_bits: float | None
    tv: float | None
    top_a: Shift
    top_b: Shift
    movers: tuple[Shift, ...]
    offset: int | None = None
    bounds: Bounds | None = None

    @property
    def kl_ab_nats(self) -> float | None:
        """KL(a||b) in nats."""
        return _nats(self.kl_ab_bits)

    @property
    def kl_ba_nats(self) -> float | None:
        """KL(b||a) in nats."""
        return _nats(self.kl_ba_bits)

    @property
    def js_nats(self) -> float | None:
        """Jensen-Shannon divergence in nats, in [0, ln 2]."""
        return _nats(self.js_bits)

    @property
    def agree(self) -> bool:
        """Whether the likeliest outcome is the same."""
        return self.top_a.token.id == self.top_b.token.id


@dataclass(frozen=True, slots=True)
class Parted:
    """Where two generated texts first differ.

    Attributes:
        index_a: of a's first different token among its new ones, from 0; how many there are where it had
            ended.
        index_b: the same for b.
        a: what a wrote there; None where its text had ended.
        b: what b wrote there; None where its text had ended.
    """

    index_a: int
    index_b: int
    a: Shift | None
    b: Shift | None


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two.

    Attributes:
        info: of its model.
        keywords: that it was run with.
        generation: what it wrote after the prompt.
    """

    info: EngineInfo
    keywords: Mapping[str, Any]
    generation: Generation

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """The ids it read first."""
        return self.generation.prompt_ids


@dataclass(frozen=True, repr=False)
class Comparison(Charted):
    """Two prompts, two configurations or two models, side by side.

    Attributes:
        kind: what differs.
        a: one side.
        b: the other.
        positions: of models, each position of the prompt that both have; then, for every kind, the prompt's
            end and the text, as long as both write the same.
        parting: where the texts first differ; None where they do not.
        basis: whose distributions these are: the models' own, or those that each configuration's chain
            leaves, which a token is chosen by. Configurations are compared by the latter.
        outcomes: what has the probabilities: the tokens, or where two models have different ones the next
            byte, summed over each vocabulary by its tokens' first bytes.
        size: number of outcomes.
    """

    kind: Literal["prompts", "configs", "models"]
    a: Side
    b: Side
    positions: tuple[Difference, ...]
    parting: Parted | None
    basis: Literal["model", "chain"]
    outcomes: Literal["tokens", "next bytes"]
    size: int

    def __post_init__(self) -> None:
        import tokenglass.views.comparison  # noqa: F401 - teaches the views this type

    @cached_property
    def prompt_end(self) -> Difference:
        """The difference at the end of the prompt: in what may come next."""
        return next(row for row in self.positions if row.index_a == len(self.a.prompt_ids) - 1)

    @property
    def agreement(self) -> float:
        """Share of the positions at which both find the same outcome likeliest."""
        return sum(row.agree for row in self.positions) / len(self.positions)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each position."""
        rows: list[dict[str, Any]] = self.to_dict()["positions"]
        return rows


@dataclass(frozen=True, slots=True)
class WordChange:
    """A prompt with one word replaced.

    Attributes:
        replacement: what stands in the word's place.
        prompt_text: the whole prompt.
        difference: in what may come next; a is the original prompt, b this one.
    """

    replacement: str
    prompt_text: str
    difference: Difference


@dataclass(frozen=True, repr=False)
class WordChanges(Charted):
    """What replacing one word does to the next token.

    Attributes:
        prompt_text: the original.
        word: that was replaced.
        rows: one for each replacement, the largest total variation distance first.
    """

    prompt_text: str
    word: str
    rows: tuple[WordChange, ...]

    def __post_init__(self) -> None:
        import tokenglass.views.experiments  # noqa: F401 - teaches the views this type


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The words of a sentence in one order.

    Attributes:
        text: the words with single spaces between.
        ids: its tokens, without `WordOrder.given`.
        logprob: natural log of the probability of the scored tokens, each after those before it.
        scored: how many tokens that counts.
        difference: in what may come next; a is the words as given, b this order.
    """

    text: str
    ids: tuple[int, ...]
    logprob: float
    scored: int
    difference: Difference


@dataclass(frozen=True, repr=False)
class WordOrder(Charted):
    """What the order of words does to a sentence's probability and to the next token.

    Attributes:
        text: the words as given, with single spaces between.
        rows: one for each order, the likeliest first.
        possible: how many different orders there are.
        given: the begin-of-text token that was read before every order; None where the tokenizer adds its
            own, or where there is none: then the first token has no probability and is not scored.
        seed: of the orders drawn; None where all are here.
    """

    text: str
    rows: tuple[Arrangement, ...]
    possible: int
    given: Token | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        import tokenglass.views.experiments  # noqa: F401 - teaches the views this type
