"""How probable a model finds continuations of one prompt, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp
from typing import Any

from tokenglass.types.shown import Charted
from tokenglass.types.tokens import Token


@dataclass(frozen=True, slots=True)
class OptionScore:
    """One continuation of a prompt and its probability.

    Attributes:
        text: the continuation.
        tokens: its tokens, which are the ones that were scored.
        logprobs: natural log of each token's probability after the prompt and the tokens before it.
        share: its part of 1 among all options, by `p`.
        mean_share: its part of 1 by `mean_logprob`, which does not favour options of few tokens.
        notes: what to know before trusting the numbers, one line each; safe to print.
    """

    text: str
    tokens: tuple[Token, ...]
    logprobs: tuple[float, ...]
    share: float
    mean_share: float
    notes: tuple[str, ...] = ()

    @property
    def logprob(self) -> float:
        """Of all its tokens together: the sum."""
        return sum(self.logprobs)

    @property
    def p(self) -> float:
        """Probability that the model writes exactly these tokens next."""
        return exp(self.logprob)

    @property
    def mean_logprob(self) -> float:
        """`logprob` over the number of tokens."""
        return self.logprob / len(self.tokens)

    @property
    def n_bytes(self) -> int:
        """Bytes of text that its tokens stand for; control tokens stand for none."""
        return sum(len(token.bytes) for token in self.tokens if token.kind != "control")

    @property
    def logprob_per_byte(self) -> float | None:
        """`logprob` over the number of bytes; None for an option without any."""
        return self.logprob / self.n_bytes if self.n_bytes else None


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """Options that differ in white space at their edges only.

    Attributes:
        name: what they have in common.
        texts: the options.
        p: probability that the model writes one of them next.
        share: their shares together.
    """

    name: str
    texts: tuple[str, ...]
    p: float
    share: float


@dataclass(frozen=True, repr=False)
class OptionScores(Charted):
    """Continuations of one prompt, side by side.

    Attributes:
        prompt_ids: the ids before each option.
        prompt_text: those ids as text.
        rows: one for each option, in the order given.
    """

    prompt_ids: tuple[int, ...]
    prompt_text: str
    rows: tuple[OptionScore, ...]

    def __post_init__(self) -> None:
        import tokenglass.views.scores  # noqa: F401 - teaches the views this type

    @property
    def best(self) -> OptionScore:
        """The most probable option; the first of equal ones."""
        return max(self.rows, key=lambda row: row.logprob)

    @property
    def p(self) -> float:
        """Probability that the model writes one of them next."""
        return _one_of(self.rows)

    @cached_property
    def groups(self) -> tuple[OptionGroup, ...]:
        """Options that differ in white space at their edges only, together, in order of the first."""
        names: dict[str, list[OptionScore]] = {}
        for row in self.rows:
            names.setdefault(row.text.strip() or row.text, []).append(row)
        return tuple(
            OptionGroup(name, tuple(r.text for r in rows), _one_of(rows), sum(r.share for r in rows))
            for name, rows in names.items()
        )

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each option."""
        rows: list[dict[str, Any]] = self.to_dict()["rows"]
        return rows


def _one_of(rows: Sequence[OptionScore]) -> float:
    """Probability of any of these; one that begins with another is counted in that already."""
    ids = [tuple(token.id for token in row.tokens) for row in rows]
    return sum(
        row.p
        for row, own in zip(rows, ids, strict=True)
        if not any(own != other and own[: len(other)] == other for other in ids)
    )
