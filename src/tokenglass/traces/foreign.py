"""What another program recorded of its tokens: as much as it said, and which distribution it spoke of.

Nothing is filled in. A number that a record does not hold is None, and `missing_p` says how much of the
probability nobody accounted for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tokenglass.text import safe_line, safe_text
from tokenglass.traces.rows import Kind, Row, Table

Distribution = Literal["model", "post_sampling", "unknown"]
Part = Literal["prompt", "completion"]

FOREIGN_COLUMNS: dict[str, Kind] = {
    "sequence": "int",
    "step": "int",
    "part": "text",
    "rank": "int",
    "token_id": "int",
    "token": "text",
    "bytes": "bytes",
    "logprob": "float",
    "p": "float",
    "very_unlikely": "bool",
    "chosen": "bool",
    "distribution": "text",
    "missing_p": "float",
}


@dataclass(frozen=True, slots=True)
class ForeignToken:
    """A token as a record names it.

    Attributes:
        id: None where only a text is given.
        text: as given, which is not always what it stands for; None where only an id is given.
        bytes: None where the record does not have them, or has those of a replacement character.
        logprob: natural log of `p`.
        p: probability in the step's distribution.
        rank: from 1, where the record says it.
        very_unlikely: the record said so (-9999) in place of a number, so that `logprob` and `p` are None.
    """

    id: int | None = None
    text: str | None = None
    bytes: bytes | None = None
    logprob: float | None = None
    p: float | None = None
    rank: int | None = None
    very_unlikely: bool = False

    @property
    def shown(self) -> str:
        """Safe display text; of a token that is only known by its id, the id."""
        if self.bytes is not None:
            return safe_text(self.bytes)
        return f"#{self.id}" if self.text is None else safe_text(self.text)


@dataclass(frozen=True, slots=True)
class ForeignStep:
    """One position of a recorded text.

    Attributes:
        index: in its sequence, from 0.
        part: of which the token is; None where the record does not tell where the prompt ends.
        chosen: the token that stands there.
        top: the candidates that were recorded, in the record's order.
        distribution: what the probabilities are of: the model's own, those after its sampling stages, or
            not said by the record.
        known_p: sum of the probabilities of different tokens that are known; None where none is.
        missing_p: 1 minus that, at least 0.
    """

    index: int
    part: Part | None
    chosen: ForeignToken
    top: tuple[ForeignToken, ...]
    distribution: Distribution
    known_p: float | None = None
    missing_p: float | None = None


@dataclass(frozen=True, slots=True)
class ForeignSequence:
    """One recorded text.

    Attributes:
        index: of several, as the record counts them.
        text: as given, or None.
        finish_reason: in the record's own words, or None.
        steps: in order.
    """

    index: int
    text: str | None
    finish_reason: str | None
    steps: tuple[ForeignStep, ...]


@dataclass(frozen=True, slots=True)
class ForeignRecord:
    """A record of another program.

    Attributes:
        model: as the record names it, or None.
        sequences: at least one.
    """

    model: str | None
    sequences: tuple[ForeignSequence, ...]

    def __repr__(self) -> str:
        steps = sum(len(sequence.steps) for sequence in self.sequences)
        return f"<ForeignRecord of {safe_line(self.model or 'an unnamed model')}: {steps} tokens>"


def foreign_table(record: ForeignRecord) -> Table:
    """One row for each recorded candidate, and one for a chosen token that is not among them."""
    return Table(FOREIGN_COLUMNS, lambda: _rows(record))


def _rows(record: ForeignRecord) -> Iterator[Row]:
    for sequence in record.sequences:
        for step in sequence.steps:
            found = next((token for token in step.top if same_token(token, step.chosen)), None)
            for token in (*step.top, *(() if found else (step.chosen,))):
                yield {
                    "sequence": sequence.index,
                    "step": step.index,
                    "part": step.part,
                    "rank": token.rank,
                    "token_id": token.id,
                    "token": token.shown,
                    "bytes": token.bytes,
                    "logprob": token.logprob,
                    "p": token.p,
                    "very_unlikely": token.very_unlikely,
                    "chosen": token is (found or step.chosen),
                    "distribution": step.distribution,
                    "missing_p": step.missing_p,
                }


def same_token(one: ForeignToken, other: ForeignToken) -> bool:
    """Whether two entries of one step are one token: by id; without ids by text, bytes and number together.

    Two tokens may have one text (halves of characters do), so a text alone decides nothing.
    """
    if one.id is not None and other.id is not None:
        return one.id == other.id
    return (one.text, one.bytes, one.p) == (other.text, other.bytes, other.p)
