"""The results tokenglass hands out: frozen values with derived properties only.

They hold ids, bytes and numbers; how they look is the business of `tokenglass.views`, which each result asks
only when it is shown. Probabilities are fractions of 1, `logprob` is a natural log, `_bits` are base 2.
What is unknown is None, never a filler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import exp
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.text import safe_text

if TYPE_CHECKING:
    import pandas

Kind = Literal["normal", "control", "byte", "unknown"]
Origin = Literal["greedy", "sampled", "forced", "draft"]
FinishReason = Literal["eos", "length", "stop_string", "time", "context", "cancelled"]


class Shown:
    """A result that shows itself: a table in a terminal, script-free HTML in a notebook, plain JSON rows."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """This result as plain JSON values: no NaN, no Infinity, bytes as hexadecimal."""
        from tokenglass.views import rows

        return rows.to_dict(self)

    def __str__(self) -> str:
        from tokenglass.views import terminal

        return terminal.to_text(self)

    def __rich__(self) -> Any:
        from tokenglass.views import terminal

        return terminal.to_rich(self)

    def _repr_html_(self) -> str:
        from tokenglass.views import html

        return html.to_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of a vocabulary, or one piece of a tokenized text.

    Attributes:
        id: the token id; with the bytes, the truth about a token.
        bytes: exactly what it stands for; may be half a UTF-8 character.
        kind: "normal", "control" (special: end of text, role marks), "byte" (a single-byte fallback) or
            "unknown" (the vocabulary's unknown token).
        span: (start, end) in the UTF-8 bytes of the text it came from; None for an entry of the vocabulary
            and for tokens that stand for no text (an added BOS).
    """

    id: int
    bytes: bytes
    kind: Kind = "normal"
    span: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        """Safe to put on any screen: white space and control characters visible, half characters as bytes."""
        return safe_text(self.bytes)


class Vocabulary(Protocol):
    """What results need to know of a tokenizer: names for ids, and ids for text."""

    def __len__(self) -> int: ...

    def token(self, token_id: int) -> Token:
        """The vocabulary entry of an id (span None)."""
        ...

    def find(self, text: str) -> int:
        """The id of the one token that stands for exactly `text`; ValueError when there is none."""
        ...


@dataclass(frozen=True)
class Tokenization(Shown):
    """A text cut into tokens.

    Attributes:
        text: the text as given.
        tokens: the pieces in order; concatenated bytes equal the text where the tokenizer is lossless.
    """

    text: str
    tokens: tuple[Token, ...]

    @cached_property
    def ids(self) -> list[int]:
        """The token ids."""
        return [token.id for token in self.tokens]

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[Token]:
        return iter(self.tokens)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each token."""
        rows: list[dict[str, Any]] = self.to_dict()["tokens"]
        return rows

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame with one row for each token."""
        return _frame(self.to_dicts())


@dataclass(frozen=True, slots=True)
class Candidate:
    """One token that may come next.

    Attributes:
        rank: 1 is the most likely by the model's own logits; equal logits rank by id.
        token: the vocabulary entry.
        logit: the model's own score.
        logprob: natural log of `p`.
        p: the model's own probability, over the full vocabulary.
        p_final: probability after the chain of stages; 0.0 when a stage removed it.
        removed_by: name of the stage that removed it, or None.
    """

    rank: int
    token: Token
    logit: float
    logprob: float
    p: float
    p_final: float
    removed_by: str | None = None

    @property
    def id(self) -> int:
        """The token id."""
        return self.token.id

    @property
    def text(self) -> str:
        """The token's safe display text."""
        return self.token.text


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage of the chain did at one step.

    Attributes:
        name: the stage's name, such as "top_k"; the first is always "model".
        params: its parameters.
        alive: tokens with a probability above zero afterwards.
        mass_kept: share of the incoming probability that survived, in [0, 1].
        entropy_bits: entropy afterwards; NaN where a score is NaN or infinite, so that there is no
            distribution.
        argmax: id of the most likely token afterwards; -1 when none is alive.
        removed: how many tokens it removed.
        changed: how many of the tokens alive afterwards have another score than before.
        facts: numbers of its own, such as the temperature it arrived at or the random number it drew.
    """

    name: str
    params: Mapping[str, Any]
    alive: int
    mass_kept: float
    entropy_bits: float
    argmax: int
    removed: int = 0
    changed: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class NextTokens(Shown):
    """Which tokens may come after a prompt, with numbers over the full vocabulary.

    Attributes:
        prompt_ids: the ids the model read, up to and including `position`.
        position: index in the prompt after which these tokens would stand, from 0.
        logits: (V,) float32, the model's own.
        n: how many rows the table shows.
        vocabulary: names the ids.
        final: (V,) float32 scores after the chain, or None where no stage changed anything.
        removed: token id -> name of the stage that removed it, asked lazily.
        stages: what each stage did, the model first.
        config: the effective configuration.
        coverage: share of the probability mass that is known; 1.0 unless a server shows only its best.
    """

    prompt_ids: tuple[int, ...]
    position: int
    logits: NDArray[np.float32]
    n: int
    vocabulary: Vocabulary
    final: NDArray[np.float32] | None = None
    removed: Mapping[int, str] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    coverage: float = 1.0

    @cached_property
    def _summary(self) -> numbers.Summary:
        return numbers.summarize(self.logits)

    @cached_property
    def _final_logsumexp(self) -> float:
        return self._summary.logsumexp if self.final is None else numbers.summarize(self.final).logsumexp

    @property
    def entropy_bits(self) -> float:
        """Entropy of the model's own distribution in bits; 2 to its power is the effective choices."""
        return self._summary.entropy_bits

    @cached_property
    def rows(self) -> tuple[Candidate, ...]:
        """The `n` most likely tokens by the model's own logits, best first."""
        ids = numbers.top_n(self.logits, self.n)
        return tuple(self._row(int(token_id), rank) for rank, token_id in enumerate(ids, start=1))

    @cached_property
    def rest_p(self) -> float:
        """The model's own probability of all tokens outside `rows`, so that rows and rest sum to 1."""
        ids = [row.id for row in self.rows]
        others = np.delete(self.logits, ids)
        if not len(others):
            return 0.0
        return float(np.exp(others.astype(np.float64) - self._summary.logsumexp).sum())

    def lookup(self, token: str | int) -> Candidate:
        """The row of any token, by id or by its exact text.

        Raises:
            ValueError: no such id, or no single token stands for exactly that text.
        """
        token_id = token if isinstance(token, int) else self.vocabulary.find(token)
        if not 0 <= token_id < len(self.logits):
            raise ValueError(f"token id must be in [0, {len(self.logits) - 1}], got {token_id}")
        return self._row(token_id, numbers.rank(self.logits, token_id))

    def _row(self, token_id: int, rank: int) -> Candidate:
        logit = float(self.logits[token_id])
        logprob = logit - self._summary.logsumexp
        p = exp(logprob)
        p_final = p if self.final is None else exp(float(self.final[token_id]) - self._final_logsumexp)
        removed_by = self.removed.get(token_id) if p_final == 0.0 else None
        return Candidate(rank, self.vocabulary.token(token_id), logit, logprob, p, p_final, removed_by)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each row."""
        rows: list[dict[str, Any]] = self.to_dict()["rows"]
        return rows

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame with one row for each candidate."""
        return _frame(self.to_dicts())


@dataclass(frozen=True, repr=False)
class Step(Shown):
    """One token that was written, and the choice it was.

    Attributes:
        position: index of the token in the whole sequence, from 0.
        token: the vocabulary entry.
        text: the complete characters that this token finished, for streaming; "" for half a character.
        logit: the model's own score of the token.
        logprob: natural log of `p`.
        rank: rank by the model's own logits, from 1.
        entropy_bits: entropy of the model's own distribution at this step.
        p_final: probability after the chain.
        origin: "greedy", "sampled", "forced" or "draft".
        margin: logit of the best token minus the runner-up's, after the chain; how near the choice was.
        top_ids: (M,) ids of the likeliest tokens by the model's own logits, best first.
        top_logits: (M,) their logits.
        top_final: (M,) their probabilities after the chain.
        logsumexp: over the full vocabulary, so that any stored logit gives its exact probability.
        vocabulary: names the ids.
        stages: what each stage of the chain did.
        removed: id -> stage name for removed tokens among the top.
        draw: the uniform number of a sampled token, else None.
        cdf: the interval of the draw's cell, else None.
        finish_reason: why generation ended with this token, else None.
    """

    position: int
    token: Token
    text: str
    logit: float
    logprob: float
    rank: int
    entropy_bits: float
    p_final: float
    origin: Origin
    margin: float
    top_ids: NDArray[np.int64]
    top_logits: NDArray[np.float32]
    top_final: NDArray[np.float64]
    logsumexp: float
    vocabulary: Vocabulary
    stages: tuple[Stage, ...] = ()
    removed: Mapping[int, str] = field(default_factory=dict)
    draw: float | None = None
    cdf: tuple[float, float] | None = None
    finish_reason: FinishReason | None = None

    @property
    def id(self) -> int:
        """The token id."""
        return self.token.id

    @property
    def p(self) -> float:
        """The model's own probability of the token, over the full vocabulary."""
        return exp(self.logprob)

    @cached_property
    def top(self) -> tuple[Candidate, ...]:
        """The likeliest tokens at this step, best first."""
        return tuple(self._candidate(i) for i in range(len(self.top_ids)))

    def _candidate(self, index: int) -> Candidate:
        token_id = int(self.top_ids[index])
        logit = float(self.top_logits[index])
        logprob = logit - self.logsumexp
        return Candidate(
            rank=index + 1,
            token=self.vocabulary.token(token_id),
            logit=logit,
            logprob=logprob,
            p=exp(logprob),
            p_final=float(self.top_final[index]),
            removed_by=self.removed.get(token_id),
        )

    def why(self) -> str:
        """One sentence, built from the numbers, that says why this token was written."""
        from tokenglass.views import rows

        return rows.why(self)


@dataclass(frozen=True, repr=False)
class Sequence(Shown):
    """One written continuation.

    Attributes:
        ids: the new ids, end-of-sequence included, never padding.
        text: the continuation as text.
        steps: one for each new id.
        finish_reason: why it ended.
        score: what a search ranked it by; None for a single greedy or sampled run.
    """

    ids: tuple[int, ...]
    text: str
    steps: tuple[Step, ...]
    finish_reason: FinishReason
    score: float | None = None


@dataclass(frozen=True, repr=False)
class Generation(Shown):
    """What `generate` wrote.

    Attributes:
        prompt_ids: the ids it started from.
        prompt_text: those ids as text.
        sequences: at least one; best first for searches, by sample index for samples.
        config: the effective configuration, defaults included.
    """

    prompt_ids: tuple[int, ...]
    prompt_text: str
    sequences: tuple[Sequence, ...]
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[int, ...]:
        """New ids of the first sequence."""
        return self.sequences[0].ids

    @property
    def text(self) -> str:
        """The first continuation, without the prompt."""
        return self.sequences[0].text

    @property
    def full_text(self) -> str:
        """Prompt and first continuation."""
        return self.prompt_text + self.text

    @property
    def steps(self) -> tuple[Step, ...]:
        """Steps of the first sequence."""
        return self.sequences[0].steps

    @property
    def finish_reason(self) -> FinishReason:
        """Why the first sequence ended."""
        return self.sequences[0].finish_reason

    def to_dicts(self) -> list[dict[str, Any]]:
        """One plain dict for each step of the first sequence."""
        steps: list[dict[str, Any]] = self.to_dict()["sequences"][0]["steps"]
        return steps

    def to_pandas(self) -> pandas.DataFrame:
        """A DataFrame with one row for each step of the first sequence."""
        return _frame([{k: v for k, v in row.items() if k != "top"} for row in self.to_dicts()])


@dataclass(frozen=True, repr=False)
class EngineInfo(Shown):
    """What is running.

    Attributes:
        name: the model as the user named it.
        family: "gpt2", "llama", "qwen2", "qwen3", "gpt_neox", or "table".
        engine: "onnx", "hf", "server" or "table".
        precision: "exact" (float32 activations) or "fast" (int8 activations).
        parameters: number of weights, each counted once (a tied embedding is one).
        vocab_size: rows of the logits.
        context_length: tokens the model can read.
        eos_ids: ids that end a text, by the model's own files.
        bos_id: the id that begins a text, or None.
        layers: transformer blocks.
        hidden_size: width of the residual stream.
        weights: how they are stored, such as "210 x Q4_1, 1 x Q8_0, 61 x F32".
        sha256: of the weights file, or of the shards' digests; "" where there is none.
        threads: of the computation.
        capabilities: what the engine can do beyond next-token logits, such as "hidden" or "tree".
        source: the file or folder that was loaded.
    """

    name: str
    family: str
    engine: str
    precision: str
    parameters: int
    vocab_size: int
    context_length: int
    eos_ids: tuple[int, ...] = ()
    bos_id: int | None = None
    layers: int = 0
    hidden_size: int = 0
    weights: str = ""
    sha256: str = ""
    threads: int = 1
    capabilities: frozenset[str] = frozenset()
    source: str = ""


def _frame(rows: list[dict[str, Any]]) -> pandas.DataFrame:
    from tokenglass.errors import MissingDependency

    try:
        import pandas
    except ImportError as error:
        raise MissingDependency("a DataFrame", "pip install 'tokenglass[data]'") from error
    return pandas.DataFrame(rows)
