"""The loop that writes tokens, one at a time.

It knows token ids, logits and bytes; it does not know models, caches or screens. Read it top to bottom.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tokenglass import numbers
from tokenglass.config import GenerationConfig
from tokenglass.engines.base import Engine, Prefix
from tokenglass.errors import EngineError, NoTokenAllowed
from tokenglass.text import Utf8Stream
from tokenglass.types import FinishReason, Origin, Step, Token, Vocabulary

Floats = NDArray[np.float32]
TOP = 64  # candidates that a step remembers; the rest is known through logsumexp and entropy


def decode(
    engine: Engine, vocabulary: Vocabulary, prompt_ids: tuple[int, ...], config: GenerationConfig
) -> Iterator[Step]:
    """Write tokens after a prompt until something ends the text; yields each as it is chosen.

    Args:
        engine: gives logits for ids.
        vocabulary: names ids.
        prompt_ids: at least one id.
        config: when to stop.

    Raises:
        ContextOverflow: the prompt alone is longer than the context.
        NoTokenAllowed: every token was banned.
        EngineError: the model's logits hold a NaN or +inf.
    """
    started = time.monotonic()
    prefix = Prefix(prompt_ids)
    stream = Utf8Stream()
    tail = b"".join(vocabulary.token(i).bytes for i in prompt_ids[-_tail_tokens(config) :])
    for count in range(1, config.max_new_tokens + 1):
        # 1) the model reads the prefix
        forward = engine.forward([prefix])
        logits = checked(forward.logits, len(prefix.ids))  # (V,)
        # 2) one token is chosen
        token_id = int(logits.argmax())
        # 3) it becomes part of the text
        token = vocabulary.token(token_id)
        prefix = prefix.extended(token_id, forward.nodes[0])
        tail += token.bytes
        # 4) is this the end?
        reason = finish_reason(token, tail, count, len(prefix.ids), started, engine, config)
        text = piece(stream, token, ends=reason is not None)
        yield record(logits, token, len(prefix.ids) - 1, text, "greedy", vocabulary, reason)
        if reason is not None:
            return


def checked(logits: Floats | None, position: int) -> Floats:
    """The last row of a forward pass, refused where no honest choice can be made from it."""
    if logits is None:
        raise EngineError("this engine does not give logits for the full vocabulary")
    row: Floats = logits[0, -1]
    best = row.max()
    if np.isnan(best) or best == np.inf:
        raise EngineError(
            f"the model's logits at position {position} hold NaN or +inf; the weights are broken"
        )
    if best == -np.inf:
        raise NoTokenAllowed(position)
    return row


def piece(stream: Utf8Stream, token: Token, *, ends: bool = False) -> str:
    """The complete characters that a token finishes; control tokens are not text."""
    text = "" if token.kind == "control" else stream.feed(token.bytes)
    return text + stream.finish() if ends else text


def finish_reason(
    token: Token,
    tail: bytes,
    count: int,
    length: int,
    started: float,
    engine: Engine,
    config: GenerationConfig,
) -> FinishReason | None:
    """Why the text ends with this token, or None.

    Args:
        token: the one just written.
        tail: the last bytes of prompt and text, this token's included.
        count: tokens written so far.
        length: tokens in all.
        started: when writing began, by `time.monotonic`.
        engine: whose context is finite.
        config: the limits.
    """
    if token.id in config.eos_ids:
        return "eos"
    if any(stops(stop.encode(), tail, token) for stop in config.stop_strings):
        return "stop_string"
    if count >= config.max_new_tokens:
        return "length"
    if config.max_time is not None and time.monotonic() - started >= config.max_time:
        return "time"
    if length >= engine.info.context_length:
        return "context"
    return None


def stops(stop: bytes, tail: bytes, token: Token) -> bool:
    """Whether a stop string lies in the text and ends inside its last token.

    The text is kept whole, as transformers keeps it: the last token may reach beyond the stop string.
    """
    reach = len(stop) - 1 + len(token.bytes)
    return stop in tail[-reach:] if token.bytes else False


def record(
    logits: Floats,
    token: Token,
    position: int,
    text: str,
    origin: Origin,
    vocabulary: Vocabulary,
    reason: FinishReason | None = None,
) -> Step:
    """What is kept of a choice: the likeliest rows and the full-vocabulary sums, not the whole row."""
    summary = numbers.summarize(logits)
    top_ids = numbers.top_n(logits, TOP)
    top_logits = logits[top_ids]
    logit = float(logits[token.id])
    return Step(
        position=position,
        token=token,
        text=text,
        logit=logit,
        logprob=logit - summary.logsumexp,
        rank=numbers.rank(logits, token.id),
        entropy_bits=summary.entropy_bits,
        p_final=float(np.exp(logit - summary.logsumexp)),
        origin=origin,
        margin=float(top_logits[0] - top_logits[1]) if len(top_logits) > 1 else float("inf"),
        top_ids=top_ids,
        top_logits=top_logits,
        top_final=np.exp(top_logits.astype(np.float64) - summary.logsumexp),
        logsumexp=summary.logsumexp,
        vocabulary=vocabulary,
        finish_reason=reason,
    )


def _tail_tokens(config: GenerationConfig) -> int:
    """Tokens of the prompt that a stop string could reach back into: each has at least one byte."""
    return max((len(stop.encode()) for stop in config.stop_strings), default=1)
