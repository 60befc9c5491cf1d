"""Token healing: a prompt that ends inside a token takes its end back, and the model writes it anew.

"http:" ends in the token ":", after which a model that has read "://" as one token does not expect "//".
Healing takes tokens back from the end and lets the model choose among those that go on from there. Two ways:

- "transformers" strips the prompt of white space, cuts it into tokens anew and takes the last one back; then
  one greedy choice, with +10 for every token that begins with it and +11 for the token itself;
- "bytes" leaves the prompt's ids alone and takes back every token at the end whose bytes, with those after
  it, a longer token could begin with; then greedy choices under a mask, until the bytes are there again.

Knows how a prompt is healed; how it goes on afterwards is decoding's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tokenglass import numbers
from tokenglass.engines.base import Engine, Prefix
from tokenglass.errors import NoTokenAllowed
from tokenglass.recording import checked
from tokenglass.stages.base import BaseStage, Stage, require
from tokenglass.stages.biases import SequenceBias
from tokenglass.stages.context import Context
from tokenglass.stages.masks import only
from tokenglass.stages.row import MASKED, Row
from tokenglass.stages.spelling import spelling
from tokenglass.text import safe_text
from tokenglass.tokenizer.alphabet import from_byte_level
from tokenglass.types import Token, Vocabulary

if TYPE_CHECKING:
    from tokenglass.tokenizer import Tokenizer

Method = Literal["transformers", "bytes"]
_Ids = tuple[int, ...]
BIAS, OWN_BIAS = 10.0, 11.0  # for what begins with the token taken back, and for that token itself
_SHOWN = 10
_SINGLE = "the prompt is a single token, which is never taken back"


@dataclass(frozen=True, slots=True)
class HealingCandidate:
    """A token that could be written in place of what was taken back.

    Attributes:
        token: the vocabulary entry.
        p: the model's own probability, over the full vocabulary.
        p_final: probability after the bias or the mask.
        continues: its spelling agrees with the bytes taken back, so that it had the bias or passed the mask.
    """

    token: Token
    p: float
    p_final: float
    continues: bool


@dataclass(frozen=True, slots=True)
class HealingStep:
    """One choice.

    Attributes:
        rest: bytes taken back that were still to be written.
        chosen: the token written.
        candidates: the likeliest after the bias or mask, best first; then the token that was taken back,
            where it is not among them.
        n_candidates: how many tokens continue the bytes taken back.
    """

    rest: bytes
    chosen: HealingCandidate
    candidates: tuple[HealingCandidate, ...]
    n_candidates: int


@dataclass(frozen=True, slots=True)
class Healing:
    """What was done to a prompt.

    Attributes:
        method: the one that ran.
        original_ids: the prompt as it was given.
        original_text: its text.
        prompt_ids: the prompt to go on from: `kept_ids` and what was chosen.
        kept_ids: what was left of it.
        removed: the tokens taken back, in order; empty where there was nothing to heal.
        steps: the choices, in order.
        notes: what a reader should know about this prompt, one line each; safe to print.
    """

    method: Method
    original_ids: _Ids
    original_text: str
    prompt_ids: _Ids
    kept_ids: _Ids
    removed: tuple[Token, ...] = ()
    steps: tuple[HealingStep, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def removed_ids(self) -> _Ids:
        """Ids of the tokens taken back."""
        return tuple(token.id for token in self.removed)

    @property
    def removed_bytes(self) -> bytes:
        """The bytes taken back."""
        return b"".join(token.bytes for token in self.removed)

    @property
    def chosen(self) -> tuple[Token, ...]:
        """The tokens written in their place."""
        return tuple(step.chosen.token for step in self.steps)

    @property
    def summary(self) -> str:
        """One line, safe to print, such as "took back 'http', chose 'https' (0.61)": p after bias or mask."""
        if not self.steps:
            return "nothing to heal"
        choices = [step.chosen for step in self.steps]
        chosen = " + ".join(f"{_quoted(choice.token)} ({choice.p_final:.2f})" for choice in choices)
        return f"took back {' + '.join(map(_quoted, self.removed))}, chose {chosen}"


@dataclass(frozen=True)
class HealPrefix(BaseStage):
    """Forbid what contradicts the bytes taken back from the prompt, until they are written again.

    Allowed are tokens that begin with the bytes still missing, and tokens that are the beginning of these, as
    far as others can write the rest. Nothing is masked once the written bytes hold all of them, nor where a
    token forced by hand has contradicted them. Control tokens write nothing.

    Args:
        removed: the bytes taken back, at least one.
        vocabulary: bytes of the ids.

    Raises:
        ValueError: no bytes.

    Source: Lundberg 2023, "Prompt boundaries and token healing"; for several tokens, not only the last one.
    """

    removed: bytes
    vocabulary: Vocabulary = field(repr=False)
    name = "heal_prefix"

    def __post_init__(self) -> None:
        require(bool(self.removed), "removed", "at least one byte", self.removed)

    @cached_property
    def params(self) -> dict[str, Any]:
        """The bytes taken back, as text that is safe to print."""
        return {"removed": safe_text(self.removed)}

    def apply(self, row: Row, context: Context, state: Any) -> tuple[Row, Any]:
        """The row without what contradicts."""
        rest = self.rest(context.generated_ids)
        return (only(row, np.array(self.allowed(rest), dtype=np.int64)) if rest else row), state

    def rest(self, generated_ids: Iterable[int]) -> bytes:
        """The bytes taken back that the written tokens have not reached; b"" where they contradict them."""
        written = b""
        for token_id in generated_ids:
            if len(written) >= len(self.removed):
                break
            written += self.vocabulary.token(int(token_id)).bytes
        return self.removed[len(written) :] if self.removed.startswith(written) else b""

    def allowed(self, rest: bytes) -> list[int]:
        """Ids that may come while `rest`, an end of the bytes taken back, is missing."""
        known = spelling(self.vocabulary)
        ids = known.starting_with(rest)
        for end in range(1, len(rest)):
            if self._can_be_written[len(self.removed) - len(rest) + end]:
                ids += known.exactly(rest[:end])
        return ids

    @cached_property
    def _can_be_written(self) -> list[bool]:
        """For each place in the bytes taken back: whether tokens can write everything from there on."""
        known, n = spelling(self.vocabulary), len(self.removed)
        can = [False] * n + [True]
        for at in range(n - 1, -1, -1):
            can[at] = bool(known.starting_with(self.removed[at:])) or any(
                can[end] and known.exactly(self.removed[at:end]) for end in range(at + 1, n)
            )
        return can


def heal(
    engine: Engine, tokenizer: Tokenizer, prompt_ids: Sequence[int], *, method: Method = "transformers"
) -> Healing:
    """Heal the end of a prompt.

    "transformers" gives the ids that `generate(token_healing=True)` of transformers 5.23 goes on from, also
    for prompts that it leaves alone because its search knows neither spaces nor letters beyond ASCII. Where
    it would crash, or lose what the prompt holds, "bytes" runs instead and a note says so: a tokenizer that
    is no byte-level BPE or has no begin-of-text token; a prompt with control tokens (a chat, an added BOS),
    with half a character, of white space alone, or with an end whose spelling it mistakes for another.

    Args:
        engine: gives logits for ids.
        tokenizer: of the same model.
        prompt_ids: at least one; the first is never taken back.
        method: see the table above.

    Raises:
        ValueError: no ids, or an unknown method.
        ContextOverflow: the prompt is longer than the model's context.

    Source: transformers' `GenerationMixin.heal_tokens`; huggingface/transformers#36210 for the crash without
    a begin-of-text token, karpathy/llama2.c#248 for why one token is not enough.
    """
    ids = tuple(int(token_id) for token_id in prompt_ids)
    require(bool(ids), "prompt_ids", "at least one id", ids)
    require(method in ("transformers", "bytes"), "method", '"transformers" or "bytes"', method)
    if method == "bytes":
        return _by_bytes(engine, tokenizer, ids)
    read, obstacle = _read_anew(tokenizer, ids)
    extensions = [] if obstacle else _extensions(tokenizer, read[-1])
    if len(extensions) > 1 and read[-1] not in extensions:
        obstacle = f"it mistakes the spelling of {_quoted(tokenizer.token(read[-1]))}"
    if obstacle:
        note = f"healed by bytes, because transformers' way fails here: {obstacle}"
        return _by_bytes(engine, tokenizer, ids, note)
    return _as_transformers(engine, tokenizer, ids, read, extensions)


def _read_anew(tokenizer: Tokenizer, ids: _Ids) -> tuple[_Ids, str]:
    """The prompt as transformers cuts it into tokens again, and what forbids that, or ""."""
    if tokenizer.kind != "BPE byte-level":
        return (), f"the tokenizer is {tokenizer.kind}, whose spaces it loses"
    if tokenizer.bos_id is None:
        return (), "the tokenizer has no begin-of-text token"
    if not tokenizer.special_ids.isdisjoint(ids):
        return (), "the prompt holds control tokens, which it drops"
    try:
        text = tokenizer.decode_bytes(ids).decode().strip()
    except UnicodeDecodeError:
        return (), "the prompt holds half a character, which it replaces"
    read = tuple(tokenizer.encode(text, parse_special=True).ids)
    if not tokenizer.special_ids.isdisjoint(read):
        return (), "the tokenizer adds control tokens, which it replaces"
    return read, "" if read else "the prompt is nothing but white space"


def _extensions(tokenizer: Tokenizer, tail: int) -> list[int]:
    """The tokens that transformers takes for continuations of a token.

    It looks for the token's text where the vocabulary spells bytes as letters, after it has replaced spaces
    by the first letter of the unknown token's name, which it takes for the vocabulary's sign for a space.
    """
    text = tokenizer.decode([tail])
    if tokenizer.unk_id is not None:
        text = text.replace(" ", tokenizer.token_bytes(tokenizer.unk_id).decode()[:1])
    spelled = from_byte_level(text)
    named = [i for i in sorted(tokenizer.special_ids) if tokenizer.token_bytes(i).startswith(text.encode())]
    return (spelling(tokenizer).starting_with(spelled) if spelled is not None else []) + named


def _as_transformers(
    engine: Engine, tokenizer: Tokenizer, ids: _Ids, read: _Ids, extensions: Sequence[int]
) -> Healing:
    tail, text = tokenizer.token(read[-1]), tokenizer.decode(ids)
    notes = [] if read == ids else ["the prompt was stripped of white space and cut into tokens again"]
    if len(extensions) <= 1 or len(read) == 1:
        if len(read) == 1:
            notes.append(_SINGLE)
        elif spelling(tokenizer).goes_beyond(tail.bytes):
            notes.append(f"transformers does not find the tokens that begin with {_quoted(tail)}")
        else:
            notes.append(f"no other token begins with {_quoted(tail)}")
        return Healing("transformers", ids, text, read, read, notes=tuple(notes))
    kept = read[:-1]
    bias = SequenceBias(tuple(((i,), OWN_BIAS if i == tail.id else BIAS) for i in extensions))
    step, healed = _choose(engine, tokenizer, Prefix(kept), len(kept), bias, tail.bytes, extensions, tail.id)
    if not step.chosen.continues:
        chosen = _quoted(step.chosen.token)
        notes.append(f"{chosen} does not continue {_quoted(tail)}: the bias was too small to prevent it")
    return Healing("transformers", ids, text, healed.ids, kept, (tail,), (step,), tuple(notes))


def _by_bytes(engine: Engine, tokenizer: Tokenizer, ids: _Ids, *notes: str) -> Healing:
    text, start = tokenizer.decode(ids), _boundary(tokenizer, ids)
    if start == len(ids):
        why = _SINGLE if len(ids) == 1 else f"no other token begins with {_quoted(tokenizer.token(ids[-1]))}"
        return Healing("bytes", ids, text, ids, ids, notes=(*notes, why))
    removed = tuple(map(tokenizer.token, ids[start:]))
    mask = HealPrefix(b"".join(token.bytes for token in removed), tokenizer)
    # bytes from its first one to the end -> token that was there
    own = dict(zip(accumulate(len(t.bytes) for t in reversed(removed)), reversed(ids), strict=False))
    prefix, steps = Prefix(ids[:start]), []
    while rest := mask.rest(prefix.ids[start:]):
        allowed = mask.allowed(rest)
        step, prefix = _choose(engine, tokenizer, prefix, start, mask, rest, allowed, own.get(len(rest)))
        steps.append(step)
    return Healing("bytes", ids, text, prefix.ids, ids[:start], removed, tuple(steps), notes)


def _boundary(tokenizer: Tokenizer, ids: _Ids) -> int:
    """Index of the first token to take back: the earliest whose bytes, to the end, begin a longer token."""
    known, tail, start = spelling(tokenizer), b"", len(ids)
    for index in range(len(ids) - 1, 0, -1):
        token = tokenizer.token(ids[index])
        tail = token.bytes + tail
        if token.kind in ("control", "unknown") or len(tail) >= known.longest:
            break
        if known.goes_beyond(tail):
            start = index
    return start


def _choose(
    engine: Engine,
    tokenizer: Tokenizer,
    prefix: Prefix,
    start: int,
    stage: Stage,
    rest: bytes,
    continuing: Sequence[int],
    own: int | None,
) -> tuple[HealingStep, Prefix]:
    """One greedy choice through `stage`, and the prefix with it; the prompt ends at `start`."""
    forward = engine.forward([prefix])
    row = Row.of(checked(forward.logits, len(prefix.ids)))
    after, _ = stage.apply(row, Context(prefix.ids[:start], prefix.ids[start:]), None)
    if after.argmax < 0:
        raise NoTokenAllowed(len(prefix.ids), stage.name)
    shown = [int(i) for i in numbers.top_n(after.scores, _SHOWN) if after.scores[i] > MASKED]
    shown += [own] if own is not None and own not in shown else []
    agreeing, p, p_final = set(continuing), row.moments.probs(row.scores), after.moments.probs(after.scores)
    candidates = tuple(
        HealingCandidate(tokenizer.token(i), float(p[i]), float(p_final[i]), i in agreeing) for i in shown
    )
    step = HealingStep(rest, candidates[0], candidates, len(agreeing))
    return step, prefix.extended(candidates[0].token.id, forward.nodes[0])


def _quoted(token: Token) -> str:
    return f"'{token.text}'"
